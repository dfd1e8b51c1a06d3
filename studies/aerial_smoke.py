"""Does detection work, from rendered scenes to the report? Rendered people beside real-like ones, in miniature.

    realfake run studies/aerial_smoke.py

A stand-in: no photograph is in it. A detector of people is trained on scenes of one rendered domain (it plays VisDrone)
and tried there and on another (it plays Okutama-Action); beside them come rendered people of another look (gap 0.5), as
they are, at random but with real people's colours, and by two rounds of progressive transformation learning. Too small
to answer anything: it shows that import, rendering, detectors, distances, translation and the report work here.

6 translations, 2,048 images, 20 trials, 20 evaluations; 4 minutes on two cores. Result 2026-11-21: with two replicates
nothing could be told from 0: 40 images of two rounds were worth -0.4 [-8.5, 12.1] more scenes beside 20.
"""

from realfake import Dataset, DetectionRecipe, Evaluation, Pool, Procedural, Study, Subset, Translation, Trial, ptl

size = {"pixels": 96, "zoom": 3.0}  # people of about 15 × 30 pixels
train, test = Dataset(name="aerial-urban", **size), Dataset(name="aerial-urban", split="test", **size)
target, target_train = Dataset(name="aerial-park", split="test", **size), Dataset(name="aerial-park", **size)
recipe = DetectionRecipe(width=24, learning_rate=5e-3, examples_seen=1_600)
virtual = Subset(of=Pool(generator=Procedural(gap=0.5, **size)), size=512)


def trial(n, seed, **given):
    """Return one trial: `n` real-like scenes, and what else is given."""
    return Trial(real=Subset(of=train, size=n, seed=seed), test=test, recipe=recipe, seed=seed, **given)


def trials(seed):
    """Yield the ladder, the ladder in images of the other domain, and three ways to use 40 rendered images."""
    for n in (10, 20, 40, 80):
        yield trial(n, seed)
    for k in (10, 40):
        yield trial(20, seed, added=Subset(of=target_train, size=k, seed=seed))
    real = Subset(of=train, size=20, seed=seed)
    yield trial(20, seed, synthetic=(Subset(of=virtual.of, size=40),))
    random = Translation(real=real, virtual=virtual, seed=seed)
    yield trial(20, seed, synthetic=(Subset(of=Pool(generator=random, seed=seed), size=40),))
    chain = {"test": test, "recipe": recipe, "seed": seed}
    yield from ptl(real=real, virtual=virtual, iterations=2, per_iteration=20, **chain)


found = tuple(trial for seed in (0, 1) for trial in trials(seed))
study = Study(name="aerial_smoke", trials=found, evaluations=tuple(Evaluation(of=t, on=target) for t in found))
