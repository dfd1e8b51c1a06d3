"""Real-Fake (arXiv 2310.10402), as its code was released and as it was meant: what are its images worth?

    realfake run studies/realfake_reproduction.py --on your.toml

Stable Diffusion 1.5, aligned to ImageNette by an adapter, distribution matching, captions, CLIP tokens, real latents;
a ResNet-50 from scratch on 1, 2, 5 or 10 images for each real one, alone and beside them, tried on ImageNet-V2 and
-Sketch too. Under [data] in your.toml say where data and weights are: imagefolder = "…" (ImageNet: train/ and val/, a
folder a WordNet id), imagenet-sketch = "…" and so on; the first run prints fingerprints, to be written below. Without
a network, also "stable-diffusion-v1-5/stable-diffusion-v1-5" = "…" and the other two `External`. Ten classes, 12,894
and 500 images as in the paper's code, not fast.ai's split. For ImageNet-1K set `CLASSES` to (), `IMAGES` to 1_281_167,
`NAMES` to all thousand in the order of ids, add imagenet-r and imagenet-a to `FINGERPRINTS` (ImageNette has one and
two of their classes), and have 2.1 TB of memory: trials hold their images.

*As released*: the adapter sees a half, which LiRA's split left behind, the rest sees all; the matching term is a sum
over the batch, in noise, over mixed time steps, at 0.003. *As intended*: no split, the mean at 0.192 (as much, of 8
images), one time step a batch, gathered over workers; then each component is left out. Not reproduced: tokens that
were scrambled at sampling, files that did not fit each other. All adapters take 81,000 steps: 100 epochs of a half.

It departs: BLIP for BLIP-2, whose captions were not released; photos cropped and resized to 224 pixels before anything
sees them; AdamW and a cosine without label smoothing, crops and colours for SGD with steps; bf16 for fp16. One draw of
the images, for at full size there is no other. Two budgets: 200 epochs, where ten times the images are ten times the
training, and equally many examples. Most of the paper's tables could not be read: its numbers are not beside ours.

18 adapters, 2 sets of captions, 1,124,352 images, 222 trials, 444 evaluations. Declared 2026-11-21, with its claims,
before any run; it has not been run yet, so there is no result: neither weights nor photos can be shipped.
"""

from realfake import (
    Captions,
    Claim,
    Dataset,
    Evaluation,
    External,
    LatentPrior,
    Lora,
    Matching,
    OpenSet,
    Pool,
    Prompts,
    Recipe,
    Study,
    Subset,
    Trial,
    VisualGuidance,
)

CLASSES = (
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
)
NAMES = (
    *("tench", "English springer", "cassette player", "chain saw", "church"),
    *("French horn", "garbage truck", "gas pump", "golf ball", "parachute"),
)
POOR = "distorted, unrealistic, blurry, out of frame, cropped, deformed"
IMAGES, SEEDS = 12_894, (0, 1, 2)
FINGERPRINTS = {"imagefolder": "", "imagenet-v2-matched-frequency": "", "imagenet-sketch": ""}  # of your folders


def dataset(name, split="test", classes=()):
    """Return one split of one of the sets."""
    return Dataset(name=name, split=split, pixels=224, fingerprint=FINGERPRINTS[name], classes=classes, problems="skip")


train, test = dataset("imagefolder", "train", CLASSES), dataset("imagefolder", "test", CLASSES)
base = External(name="stable-diffusion-v1-5/stable-diffusion-v1-5")  # how many images it has seen is not known here
captioner = External(name="Salesforce/blip-image-captioning-large")
visual, prior = VisualGuidance(encoder=External(name="openai/clip-vit-large-patch14")), LatentPrior(strength=0.75)
released, intended = Matching(weight=0.003, reduction="sum"), Matching(weight=0.192, times="shared", gather="global")
common = {"model": "resnet50", "batch_size": 512, "augment": "flip-shift", "precision": "bf16"}
recipes = (Recipe(**common, epochs=200.0), Recipe(**common, examples_seen=200 * IMAGES))


def generators(real, seed):
    """Return the pipelines: as intended, as released, and as intended without each of the components."""
    captions = Captions(of=real, model=captioner)
    words = Prompts(templates=("photo of {}, {caption}",), names=NAMES, captions=captions)
    asked = Prompts(templates=(f"{words.templates[0]}, best quality",), names=NAMES, captions=captions, negative=POOR)

    def adapter(of=real, **parts):
        return Lora(base=base, real=of, prompts=words, steps=81_000, precision="bf16", seed=seed, **parts)

    def drawn(lora, **parts):
        return OpenSet(base=base, real=real, prompts=asked, lora=lora, lora_scale=0.5, **parts)

    whole, both = adapter(matching=intended, visual=visual), {"visual": visual, "prior": prior}
    return (
        drawn(whole, **both),
        drawn(adapter(Subset(of=train, size=real.size // 2), matching=released, visual=visual), **both),
        drawn(None, **both),
        drawn(adapter(visual=visual), **both),
        drawn(adapter(matching=intended), prior=prior),
        drawn(whole, visual=visual),
    )


def trials(seed, recipe):
    """Yield everything under one seed of generators and trials, and one budget."""

    def trial(size=0, synthetic=()):
        real = Subset(of=train, size=size) if size else None
        return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)

    yield from (trial(IMAGES // part) for part in (16, 8, 4, 2, 1))
    for size, times in ((IMAGES // 4, (1, 3, 10)), (IMAGES, (1, 2, 5, 10))):
        for i, generator in enumerate(generators(Subset(of=train, size=size), seed)):
            ways = {"guidance": 2.0, "sampling_steps": 30, "solver": "unipc", "labels": "proportional"}
            pool = Pool(generator=generator, seed=seed, **ways)
            if i < 2:  # the others are compared at one image for each real one of all
                for volume in (k * size for k in times):
                    yield from (trial(beside, (Subset(of=pool, size=volume),)) for beside in (0, size))
            elif size == IMAGES:
                yield trial(0, (Subset(of=pool, size=size),))


FULL = "open-set + lora + matching + visual + prior + captions lora matching="
INTENDED, RELEASED = f"{FULL}weight=0.192 times=shared gather=global", f"{FULL}reduction=sum"
LEFT = {"the adapter": "visual + prior", "distribution matching": "lora + visual + prior"}
LEFT |= {"visual guidance": "lora + matching + prior", "the latent prior": "lora + matching + visual"}


def less(name, at, on="imagefolder", **than):
    """Return the claim that the images as intended leave less error than something else, by a hundredth or more."""
    recipe = f"resnet50 {200 * IMAGES} examples seen on {on} {FINGERPRINTS[on][:6]}".strip()
    given = {"quantity": "error", "arm": INTENDED, "below": 0.0, "smallest_effect": 0.01}
    return Claim(name=name, at=(at,), recipe=recipe, **given, **than)


real, as_many, ten = (IMAGES, 0), (0, IMAGES), (0, 10 * IMAGES)
claims = (
    *(less(f"{part} helps", as_many, minus_arm=f"open-set + {left} + captions") for part, left in LEFT.items()),
    less("as intended beats as released", as_many, minus_arm=RELEASED),
    less("ten times the images beat as many", ten, minus=(as_many,)),
    *(less(f"beside real images, on {on}", (IMAGES, 10 * IMAGES), on, minus=(real,)) for on in FINGERPRINTS),
)
found = tuple(trial for recipe in recipes for seed in SEEDS for trial in trials(seed, recipe))
away = tuple(Evaluation(of=trial, on=dataset(name)) for trial in found for name in tuple(FINGERPRINTS)[1:])
study = Study(name="realfake_reproduction", trials=found, evaluations=away, claims=claims)
