"""How many VisDrone images are rendered people worth to a detector of people, on four other aerial sets?

    realfake run studies/ptl_visdrone.py --on your.toml

The study of arXiv 2408.14559 as far as it is known: N VisDrone images, with and without progressive transformation
learning (PTL, 2211.01778: five rounds of 100, temperature 5), tested on Okutama-Action, the Semantic Drone set (ICG),
HERIDAL and SARD. It has not been run (2026-11-21): none of these sets can be shipped. Put their folders under [data]
in your.toml (visdrone = "…", okutama = "…", …); `realfake new --images FOLDER` prints the fingerprint of each, to be
written below, for a path is no identity.

What the paper does not say, or what was not found, is ours: N beyond 20 and 50, which classes count as people, the
resolution, the detector's backbone and schedule, and the virtual images: rendered scenes stand for Archangel-Synthetic,
whose format is not public. Weights from ImageNet, if you have them, go into `init` and count as external budget.
"""

from realfake import Dataset, DetectionRecipe, Evaluation, Pool, Procedural, Study, Subset, Trial, ptl

FINGERPRINTS = {"visdrone": "", "okutama": "", "icg": "", "heridal": "", "sard": ""}  # of your folders
PIXELS = 640


def dataset(name, split):
    """Return one split of one of the sets, fitted into squares."""
    return Dataset(name=name, split=split, pixels=PIXELS, fingerprint=FINGERPRINTS[name], problems="skip")


train, test = dataset("visdrone", "train"), dataset("visdrone", "test")
others = tuple(dataset(name, "test") for name in FINGERPRINTS if name != "visdrone")
recipe = DetectionRecipe(
    model="retinanet_resnet50_fpn_v2", examples_seen=24_000, learning_rate=1e-4, max_detections=500, precision="bf16"
)
virtual = Subset(of=Pool(generator=Procedural(gap=1.0, pixels=PIXELS)), size=17_280)
seeds = range(5)


def trials(seed):
    """Yield the ladder of real images, naive merge, and the rounds of PTL."""
    for n in (10, 20, 50, 100, 200, 400, 800):
        yield Trial(real=Subset(of=train, size=n, seed=seed), test=test, recipe=recipe, seed=seed)
    for n in (20, 50, 100, 200):
        real = Subset(of=train, size=n, seed=seed)
        merged = (Subset(of=virtual.of, size=500),)
        yield Trial(real=real, synthetic=merged, test=test, recipe=recipe, seed=seed)
        chain = {"iterations": 5, "per_iteration": 100, "translator": "cyclegan", "steps": 5000, "warm_start": True}
        yield from ptl(real=real, virtual=virtual, test=test, recipe=recipe, seed=seed, **chain)


found = tuple(trial for seed in seeds for trial in trials(seed))
study = Study(
    name="ptl_visdrone",
    trials=found,
    evaluations=tuple(Evaluation(of=trial, on=other) for trial in found for other in others),
)
