"""Does every stage work? How many closed-set synthetic digits are worth one real digit, in miniature.

    realfake run studies/smoke.py

Scikit-learn's digits at 8 px: 4 generators, 3,584 images, 24 trials. Too small to answer anything: a few hundred test
images and two draws cannot resolve an exchange rate. It shows that generators, pools, trials, fits, MLflow and the
report work on this machine. Result 2026-11-21: 400 synthetic images beside 100 real ones were worse than none.
"""

from realfake import ClosedSet, Dataset, Pool, Recipe, Relabel, Repeat, Study, Subset, Trial

train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
recipe = Recipe(model="test_resnet", examples_seen=6_000)
seeds = (0, 1)


def trial(size, seed, generator=None, volume=0):
    """Return one trial: `size` real images, and `volume` synthetic ones beside them."""
    real = Subset(of=train, size=size, seed=seed)
    synthetic = (Subset(of=Pool(generator=generator, sampling_steps=8, seed=seed), size=volume),) if volume else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)


def mixed(size, seed):
    """Yield the mixtures beside one real subset, with the two controls at the larger volume."""
    generator = ClosedSet(real=Subset(of=train, size=size, seed=seed), network="unet-xs", steps=300, seed=seed)
    for ratio in (1, 4):
        yield trial(size, seed, generator, ratio * size)
    if size == 100:
        yield trial(size, seed, Repeat(real=generator.real), 4 * size)
        yield trial(size, seed, Relabel(generator=generator), 4 * size)


ladder = (trial(size, seed) for size in (25, 50, 100, 200, 400, 800) for seed in seeds)
mixtures = (one for size in (50, 100) for seed in seeds for one in mixed(size, seed))
study = Study(name="smoke", trials=(*ladder, *mixtures))
