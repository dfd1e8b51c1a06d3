"""Is one adapter a class better than one for all, and are real images worth more weight than their images?

    realfake run studies/datadream.py

DataDream (arXiv 2407.10910) on the small pair of `openset_tiny`: a pipeline pretrained on MNIST is aligned to 4 or 16
images a class of scikit-learn's digits by an adapter for the data set, or by one for each class, and a classifier is
trained on both kinds with the loss 0.8 · real + 0.2 · synthetic. As there: LoRA of rank 16 on UNet and text encoder,
one template, guidance 2, the few real images repeated until they are as many as the others (half of every batch).
Pooling both is the arm without the weights.

It departs from what the released code does: Stable Diffusion 2.1 is a miniature, 200 steps for an adapter (shared out
among classes) are its 200 epochs, 12 sampling steps its 50, and our test_resnet from scratch its CLIP with adapters,
without its augmentations. It logs the best epoch on the test set and its images of all classes share their noise;
here neither happens. Its table by data set was not found, so nothing is compared with it.

1 pretraining, 12 adapters, 9,216 images, 66 trials. Declared 2026-11-21, with its claims, before any run; it has not
been run yet, so there is no result.
"""

import dataclasses

from realfake import Claim, Dataset, Lora, OpenSet, Pool, Pretrained, Prompts, Recipe, Study, Subset, Trial

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES, VOLUMES, SEEDS = (40, 160), (160, 640), (0, 1, 2)

train, test = Dataset(name="digits", pixels=16), Dataset(name="digits", split="test", pixels=16)
base = Pretrained(
    real=Subset(of=Dataset(name="mnist5k", pixels=16), size=3500),
    without=(train, test),
    prompts=Prompts(templates=("a handwritten {}", "the digit {}", "a {} in ink"), names=WORDS),
    network="sd-mini",
    autoencoder_steps=300,
    text_steps=250,
    steps=1000,
    batch_size=32,
    learning_rate=2e-3,
)
prompts = Prompts(templates=("a handwritten {}",), names=WORDS)
pooled = Recipe(model="test_resnet", examples_seen=10_000, augment="none")
weighted = dataclasses.replace(pooled, mixing="weighted", synthetic_weight=0.2)


def images(real, scope, seed):
    """Return the images of the pipeline with one adapter for all classes, or with one for each."""
    fitted = {"rank": 16, "text_encoder": True, "steps": 200, "batch_size": 8, "learning_rate": 1e-3}
    lora = Lora(base=base, real=real, prompts=prompts, scope=scope, seed=seed, **fitted)
    generator = OpenSet(base=base, prompts=prompts, lora=lora)
    return Pool(generator=generator, guidance=2.0, sampling_steps=12, solver="dpm++", seed=seed)


def trials(seed):
    """Yield everything of one draw of the real images."""
    for size in (20, 40, 80, 160, 320, 640):
        yield Trial(real=Subset(of=train, size=size, seed=seed), test=test, recipe=pooled, seed=seed)
    for size in SIZES:
        real = Subset(of=train, size=size, seed=seed)
        for pool in (images(real, scope, seed) for scope in ("data set", "class")):
            for volume in VOLUMES:
                synthetic = (Subset(of=pool, size=volume),)
                for recipe in (weighted, pooled):
                    yield Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)


def arm(scope, mixing="mixing=weighted synthetic_weight=0.2"):
    """Return what an arm is called."""
    return f"open-set + lora lora scope={scope} {mixing}"


def more(name, arm, than=""):
    """Return the claim that an arm's images are worth real ones, or more than another's, beside both sizes."""
    at = tuple((size, VOLUMES[1]) for size in SIZES)
    return Claim(name=name, quantity="added equivalent", at=at, arm=arm, minus_arm=than, above=0.0, smallest_effect=5.0)


claims = (
    more("images of the adapter for all are worth real ones", arm("data set")),
    more("one adapter a class beats one for all", arm("class"), arm("data set")),
    more("0.8 : 0.2 beats pooling", arm("data set"), arm("data set", "mixing=pool synthetic_weight=0.5")),
)
study = Study(name="datadream", trials=tuple(t for seed in SEEDS for t in trials(seed)), claims=claims)
