"""Do the three claims of Wang et al. 2025 (arXiv 2508.09550) hold on digits, and does the quickstart replicate?

    realfake run studies/wang.py

The quickstart's design with draws that it has not seen: 9 generators, 18,432 images, 48 trials. The claims, in our
words, were declared before any of these trials ran, with the smallest effects that would matter: a synthetic image is
worth less than a real one; the price of a real image grows with the base size; the gain shrinks with the volume.

Result 2026-11-21: the quickstart replicates, 3,200 images beside 200 real ones were worth 373 [271, 454] (363 [233,
497] there). The first and the third claim are supported (a real image cost 3.02 [2.21, 4.97] synthetic ones at the
least); that the price grows with the base size is undecided, and leans the other way (-79 [-192, 0] at the weakest of
six steps).
"""

from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial, wang_claims

train, test = Dataset(name="mnist5k", pixels=14), Dataset(name="mnist5k", split="test", pixels=14)
recipe = Recipe(model="test_resnet", examples_seen=20_000, augment="none")
seeds, bases, ratios = (3, 4, 5), (50, 100, 200), (1, 4, 16)


def trial(size, seed, ratio=0):
    """Return one trial: `size` real images, and `ratio` times as many synthetic ones made from them alone."""
    real = Subset(of=train, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, network="unet-xs", steps=800, seed=seed), sampling_steps=8, seed=seed)
    synthetic = (Subset(of=pool, size=ratio * size),) if ratio else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)


ladder = (trial(size, seed) for size in (25, 50, 100, 200, 400, 800, 1600) for seed in seeds)
mixtures = (trial(size, seed, ratio) for size in bases for ratio in ratios for seed in seeds)
claims = wang_claims(bases, ratios, smallest_price=1.0, smallest_value=0.02)
study = Study(name="wang", trials=(*ladder, *mixtures), claims=claims)
