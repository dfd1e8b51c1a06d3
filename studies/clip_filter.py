"""Do varied prompts, a CLIP filter and real images to begin at make pretrained pictures worth more?

    realfake run studies/clip_filter.py

The three measures of He et al. (arXiv 2210.07574) on the small pair of `openset_tiny`, one after another: language
enhancement, CLIP filter, real guidance. Zero-shot, a classifier is trained on 512 images of a pipeline that was
pretrained on MNIST and has seen no digit of scikit-learn's. Few-shot, it sees 4 or 16 of those a class too, half of
every batch from either kind with losses 1 : 1; with real guidance, images begin at noised latents of the same few.

It departs: GLIDE is a miniature of Stable Diffusion; six sentences that we wrote stand for 200 a class by a T5 model;
the filter keeps the best of 4 candidates by CLIP score, where theirs chooses over a whole pool by a probability above
one over the number of classes, so that no prefix of it were one; one strength stands for their start steps by the
number of shots, whose place on our schedule we do not know; there are no soft targets of a CLIP teacher, and our
test_resnet from scratch stands for its frozen encoder. Their code reports the best epoch on the set that it
evaluates; here nothing is chosen on the test set.

1 pretraining, 7,680 images kept of 21,504 drawn, 51 trials. Declared 2026-11-21, with its claims, before any run; it
has not been run yet, so there is no result.
"""

from realfake import (
    BestOf,
    Claim,
    Dataset,
    LatentPrior,
    OpenSet,
    Pool,
    Pretrained,
    Prompts,
    Recipe,
    Study,
    Subset,
    Trial,
)

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SENTENCES = (
    *("a handwritten {}", "somebody wrote a {} in ink", "the digit {}, written by hand in a hurry"),
    *("a {} drawn with a thick pen", "a small and slanted {}", "a page with the number {} on it"),
)
SHOTS, VOLUME, SEEDS = (40, 160), 512, (0, 1, 2)  # 4 and 16 of each class

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
plain = Prompts(templates=("a handwritten {}",), names=WORDS)
varied = Prompts(templates=SENTENCES, names=WORDS)
recipe = Recipe(model="test_resnet", examples_seen=10_000, augment="none", mixing="weighted", synthetic_weight=0.5)


def filtered(generator):
    """Return the best of four candidates of each image, by the encoders that were trained with the pipeline."""
    return BestOf(generator=generator, k=4, by="clip score", critic=base)


enhanced = OpenSet(base=base, prompts=varied, like=train)
ZERO_SHOT = (OpenSet(base=base, prompts=plain, like=train), enhanced, filtered(enhanced))


def synthetic(generator, seed):
    """Return the images of a generator."""
    pool = Pool(generator=generator, guidance=3.0, sampling_steps=12, solver="dpm++", seed=seed)
    return (Subset(of=pool, size=VOLUME),)


def trials(seed):
    """Yield everything of one draw of the real images."""
    for size in (20, 40, 80, 160, 320, 640):
        yield Trial(real=Subset(of=train, size=size, seed=seed), test=test, recipe=recipe, seed=seed)
    for generator in ZERO_SHOT:
        yield Trial(synthetic=synthetic(generator, seed), test=test, recipe=recipe, seed=seed)
    for shots in SHOTS:
        real, prior = Subset(of=train, size=shots, seed=seed), LatentPrior(of="same class", strength=0.75)
        guided = filtered(OpenSet(base=base, prompts=varied, real=real, prior=prior))
        for generator in (*ZERO_SHOT, guided):
            yield Trial(real=real, synthetic=synthetic(generator, seed), test=test, recipe=recipe, seed=seed)


# -------------------------------------------------------------------------------------------------- what is claimed


def bare(prompts):
    """Return what the arm without filter and guidance is called."""
    return f"open-set prompts=templates={prompts.templates} names={WORDS}"


ZERO, FEW = ((0, VOLUME),), tuple((shots, VOLUME) for shots in SHOTS)
error = {"quantity": "error", "at": ZERO, "below": 0.0, "smallest_effect": 0.02}
worth = {"quantity": "added equivalent", "at": FEW, "above": 0.0, "smallest_effect": 5.0}
claims = (
    Claim(name="varied prompts help, zero-shot", arm=bare(varied), minus_arm=bare(plain), **error),
    Claim(name="the CLIP filter helps, zero-shot", arm="best of 4 open-set", minus_arm=bare(varied), **error),
    Claim(name="images help beside a few real ones", arm="best of 4 open-set", **worth),
    Claim(name="real guidance helps", arm="best of 4 open-set + prior", minus_arm="best of 4 open-set", **worth),
)
study = Study(name="clip_filter", trials=tuple(t for seed in SEEDS for t in trials(seed)), claims=claims)
