"""How few trials tell what 3,200 closed-set synthetic digits are worth beside 200 real ones?

    realfake run studies/adaptive.py

A pilot of 8 trials, then rounds of 4, each of the trials that narrow this one interval most, until there are 16: a
third of the quickstart's. What the quickstart has made already is not made again; the rest takes about 7 minutes.

Result 2026-11-21: worth 327 [39, > 1,400] more real images, where the quickstart's 48 trials say 363 [233, 497]. A
third of the trials was too few for real noise: one replicate of most cells tells little of how much trials differ.
"""

from realfake import Adaptive, ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

train, test = Dataset(name="mnist5k", pixels=14), Dataset(name="mnist5k", split="test", pixels=14)
recipe = Recipe(model="test_resnet", examples_seen=20_000, augment="none")


def trial(size, ratio=0, seed=0):
    """Return one trial: `size` real images, and `ratio` times as many synthetic ones made from them alone."""
    real = Subset(of=train, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, network="unet-xs", steps=800, seed=seed), sampling_steps=8, seed=seed)
    synthetic = (Subset(of=pool, size=ratio * size),) if ratio else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)


pilot = (
    trial(25),
    trial(200),
    trial(1600),
    trial(200, 1),
    trial(200, 4),
    trial(200, 16),
    trial(100, 4),
    trial(100, 16),
)
study = Study(name="adaptive", trials=pilot, adaptive=Adaptive(at=(200, 3200), trials=16, batch=4))
