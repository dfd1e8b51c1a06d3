"""How much of what trials differ by comes from the real images drawn, the generator, its images, and the training?

    realfake run studies/variance.py

One mixed cell of the quickstart's, 100 real images and 400 synthetic ones, and the same 100 alone, on a nested design:
5 draws of the real images, 2 generators fitted on each, 2 pools of each generator, 2 trainings on each pool; and 4
trainings on each draw alone. In a cell no seed is used twice at a level: what two trials share is what the design says.

10 generators, 10,240 images, 60 trials.

Result 2026-11-22, SD of the cross-entropy in % by source: beside synthetic images subset draw 5.5 [0.0, 18.7],
generator 3.3 [0.0, 12.6], pool 4.7 [0.0, 10.5], training 6.2 [4.8, 9.0]; real images alone subset draw 3.7 [0.0,
15.7], training 8.6 [6.4, 13.3]. For what things cost here (a generator 238 s, a pool 13 s, a training 42 s, on a
loaded machine) the least noise for the money comes from 1 generator for each subset draw, 3 pools for each generator,
1 training for each pool, and more draws.
"""

from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

train, test = Dataset(name="mnist5k", pixels=14), Dataset(name="mnist5k", split="test", pixels=14)
recipe = Recipe(model="test_resnet", examples_seen=20_000, augment="none")
SIZE, VOLUME = 100, 400
DRAWS, GENERATORS, POOLS, TRAININGS, ALONE = 5, 2, 2, 2, 4


def within(outer, count):
    """Return the seeds of one level inside one seed of the level around it: others in each."""
    return range(outer * count, (outer + 1) * count)


def trials(draw):
    """Yield everything of one draw of the real images."""
    real = Subset(of=train, size=SIZE, seed=draw)
    for seed in within(draw, ALONE):
        yield Trial(real=real, test=test, recipe=recipe, seed=seed)
    for generator in within(draw, GENERATORS):
        fitted = ClosedSet(real=real, network="unet-xs", steps=800, seed=generator)
        for pool in within(generator, POOLS):
            images = Subset(of=Pool(generator=fitted, sampling_steps=8, seed=pool), size=VOLUME)
            for seed in within(pool, TRAININGS):
                yield Trial(real=real, synthetic=(images,), test=test, recipe=recipe, seed=seed)


study = Study(name="variance", trials=tuple(trial for draw in range(DRAWS) for trial in trials(draw)))
