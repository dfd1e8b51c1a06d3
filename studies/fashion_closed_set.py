"""What are closed-set synthetic images of clothes worth, over one and a half decades of real ones?

    realfake run studies/fashion_closed_set.py

Fashion-MNIST (MIT; a Debian package, or downloaded). Generators see exactly the real images that their own are added
to; "leaky" ones saw 6,400, "repeat" shows real images again, "permuted" gives synthetic ones another's label. Volumes
from half to sixteen times the real images, three draws of real images, five at the corners; a ladder of real images
to four times the largest base. Claims were declared before the run.

Reduced: 14 of 28 pixels, small networks, 40,000 examples seen (set `whole = True` for a GPU, or a night). 22
generators, 309,760 images, 210 trials; 74 minutes of one core.

Result 2026-11-22: cross-entropy and error disagree. In cross-entropy 4,480 images beside 280 real ones were worth 860
[379, 1,007], 10,560 beside 660 were worth 1,601 [1,386, 1,853], 6,400 beside 1,600 were worth 1,579 [1,329, 1,920] and
25,600 only 1,066 [870, 1,346]; beside 50 and 120 nothing was gained, and beside 280 up to 1,120 did harm, -73 [-147,
-22]. In error those 4,480 were worth 179 [98, 280], nothing was gained beside 660, and 25,600 beside 1,600 did harm,
-597 [-1,030, -449]. Leaky generators made 50 real images worth 193 [146, 243] more in error, strict ones 19.4 [10.7,
34.8] (800 images each); repeated images were worth nothing, mislabelled ones did harm. No law fits, so the three
claims, which are about slopes, stay undecided; c2 by matched pairs is 4.48 [2.72, 4.92] in cross-entropy.
"""

from realfake import ClosedSet, Dataset, Fidelity, Pool, Recipe, Relabel, Repeat, Study, Subset, Trial, wang_claims

whole = False
pixels, network, steps = (28, "unet-m", 8000) if whole else (14, "unet-xs", 1200)
model, examples = ("resnet10t", 200_000) if whole else ("test_resnet", 40_000)
train = Dataset(name="fashion", pixels=pixels, holdout=5000)
test = Dataset(name="fashion", split="test", pixels=pixels)
recipe = Recipe(model=model, examples_seen=examples, augment="none")
draws, more_draws = (0, 1, 2), (3, 4)
bases, ratios = (50, 120, 280, 660, 1600), (0.5, 1, 2, 4, 8, 16)
ladder_sizes = (50, 80, 120, 180, 280, 430, 660, 1000, 1600, 3200, 6400)


def subset(size, seed):
    """Return the first `size` train images in the order of a draw: smaller ones lie inside larger ones."""
    return Subset(of=train, size=size, seed=seed)


def pool(generator, seed):
    """Return the images of a generator."""
    return Pool(generator=generator, sampling_steps=8, seed=seed)


def strict(size, seed):
    """Return the images of a generator that saw `size` real images, and nothing else."""
    return pool(ClosedSet(real=subset(size, seed), network=network, steps=steps, seed=seed), seed)


def trial(size, seed, ratio=0, images=None, alone=False):
    """Return one trial: `size` real images, and `ratio` times as many of a pool (default: the strict one)."""
    some = (Subset(of=images or strict(size, seed), size=round(ratio * size)),) if ratio else ()
    return Trial(real=None if alone else subset(size, seed), synthetic=some, test=test, recipe=recipe, seed=seed)


def controls(size, seed):
    """Return the trials of what is no strict generator: leaky, repeated, and mislabelled images."""
    for ratio in (1, 4, 16):
        yield trial(size, seed, ratio, strict(6400, seed))
    yield trial(size, seed, 4, pool(Repeat(real=subset(size, seed)), seed))
    yield trial(size, seed, 4, pool(Relabel(generator=strict(size, seed).generator, seed=seed), seed))


trials = (
    *(trial(size, seed) for size in ladder_sizes for seed in draws),
    *(trial(size, seed, ratio) for size in bases for ratio in ratios for seed in draws),
    *(trial(size, seed, ratio) for size in (50, 1600) for ratio in (0, 0.5, 16) for seed in more_draws),
    *(trial(size, seed, ratio, alone=True) for size in (280, 1600) for ratio in (1, 2, 4, 8, 16) for seed in draws),
    *(control for size in (50, 280, 1600) for seed in draws for control in controls(size, seed)),
)
judge = trial(6400, 0)  # whose features likeness is measured in
compared = (*((strict(size, seed), subset(size, seed)) for size in bases for seed in draws),)
compared += (*((strict(6400, seed), subset(6400, seed)) for seed in draws),)
study = Study(
    name="fashion_closed_set",
    trials=trials,
    fidelities=tuple(
        Fidelity(of=Subset(of=made, size=800), real=real, space=judge, classifier=judge) for made, real in compared
    ),
    claims=wang_claims(bases, (1, 4, 16), smallest_price=1.0, smallest_value=0.02, arm="closed-set"),
)
