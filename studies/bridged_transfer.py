"""Is a word for the style of the real images worth learning, and should synthetic images come before the real ones?

    realfake run studies/bridged_transfer.py

Bridged transfer and dataset style inversion (Li et al. 2024, arXiv 2403.19866) on the small pair of `openset_tiny`,
with its base: a pipeline that was pretrained on MNIST learns one word, "<style>", from 50 or 150 of scikit-learn's
digits, and is otherwise left as it is. A classifier is trained on ten times as many synthetic images and then on the
real ones, or on both at once; images of the pipeline without the word are the arm to compare with. As there: textual
inversion with one word for the data set, synthetic then real, naive pooling as the baseline.

It departs from the paper: Stable Diffusion is a miniature, the word begins at the mean of all words, the classifier is
our test_resnet from scratch where theirs were trained on ImageNet before, and its head is not begun anew between
the two. Their guidance, volumes and tables were not found, so nothing is compared with them.

1 pretraining (that of `openset_tiny`), 6 adapters of one word each, 10,752 images, 45 trials; about 21 minutes on one
core by estimate. Declared 2026-11-21, with its claims, before any run; it has not been run yet, so there is no result.
"""

import dataclasses

from realfake import Claim, Dataset, Lora, OpenSet, Pool, Pretrained, Prompts, Recipe, Study, Subset, Trial

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES, TIMES, SEEDS = (50, 150), 10, (0, 1, 2)

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
styled = Prompts(templates=("a handwritten {} in <style>",), names=WORDS)
pooled = Recipe(model="test_resnet", examples_seen=10_000, augment="none")
bridged = dataclasses.replace(pooled, mixing="synthetic_then_real")


def generators(real, seed):
    """Return the pipeline as it is, and with a word that it has learned from these real images."""
    fitted = {"rank": 0, "steps": 200, "batch_size": 16, "learning_rate": 1e-2, "weight_decay": 0.0}
    word = Lora(base=base, real=real, prompts=styled, token="<style>", seed=seed, **fitted)
    return OpenSet(base=base, prompts=plain, like=train), OpenSet(base=base, prompts=styled, lora=word)


def trials(seed):
    """Yield everything of one draw of the real images."""
    for size in (25, 50, 100, 150, 300, 600, 1200):
        yield Trial(real=Subset(of=train, size=size, seed=seed), test=test, recipe=pooled, seed=seed)
    for size in SIZES:
        real = Subset(of=train, size=size, seed=seed)
        for generator in generators(real, seed):
            pool = Pool(generator=generator, guidance=2.0, sampling_steps=12, solver="dpm++", seed=seed)
            for recipe in (bridged, pooled):
                synthetic = (Subset(of=pool, size=TIMES * size),)
                yield Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)


def more(name, arm, than):
    """Return the claim that an arm's images are worth more real ones than another's, beside both sizes."""
    at = tuple((size, TIMES * size) for size in SIZES)
    return Claim(name=name, quantity="added equivalent", at=at, arm=arm, minus_arm=than, above=0.0, smallest_effect=5.0)


BRIDGED, POOLED = "mixing=synthetic_then_real", "mixing=pool"
claims = (
    more("synthetic then real beats pooling", f"open-set {BRIDGED}", f"open-set {POOLED}"),
    more("so it does with the learned word", f"open-set + token {BRIDGED}", f"open-set + token {POOLED}"),
    more("the learned word helps", f"open-set + token {BRIDGED}", f"open-set {BRIDGED}"),
)
study = Study(name="bridged_transfer", trials=tuple(t for seed in SEEDS for t in trials(seed)), claims=claims)
