"""How many closed-set synthetic digits are worth one real digit?

    realfake run studies/quickstart.py

9 generators, 18,432 images, 48 trials; 6 to 8 minutes on two cores. Images are not varied (augment="none"): in a probe
random shifts were worth more than synthetic images, and made their worth vanish (LOG.md).

Result 2026-11-21: 3,200 images from a generator fitted on 200 real ones were worth 363 [233, 497] more real images
beside these 200; 800 from one fitted on 50 were worth 33 [8, 60] beside these 50, three in four of them being copies.
"""

from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

train, test = Dataset(name="mnist5k", pixels=14), Dataset(name="mnist5k", split="test", pixels=14)
recipe = Recipe(model="test_resnet", examples_seen=20_000, augment="none")
seeds = (0, 1, 2)


def trial(size, seed, ratio=0):
    """Return one trial: `size` real images, and `ratio` times as many synthetic ones made from them alone."""
    real = Subset(of=train, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, network="unet-xs", steps=800, seed=seed), sampling_steps=8, seed=seed)
    synthetic = (Subset(of=pool, size=ratio * size),) if ratio else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)


ladder = (trial(size, seed) for size in (25, 50, 100, 200, 400, 800, 1600) for seed in seeds)
mixtures = (trial(size, seed, ratio) for size in (50, 100, 200) for ratio in (1, 4, 16) for seed in seeds)
study = Study(name="quickstart", trials=(*ladder, *mixtures))
