"""What are closed-set synthetic images worth beside ImageNet-100, and does c2 lie near 37.84, as published?

    realfake run studies/imagenet100_closed_set.py --on FILE

FILE says under [data] where ImageNet-100 is (`imagenet100 = "DIR"`): as Kaggle hands it out (`train.X1` … `train.X4`
and `val.X`, some 15 GB behind an account, under ImageNet's terms), or `train/` and `val/` with a folder a WordNet id.
The first run prints the fingerprint of those images, to be written below: there are several choices of a hundred
classes.

A study of Wang et al. 2025 (arXiv 2508.09550). Second-hand, as cited by others, its fitted c2 is 37.84 for closed-set
images and 1.68 for open-set ones (Stable Diffusion), which are not made here; the paper's own table, its choice of
classes and its sides were not at hand. Here photographs have 64 pixels, and generators are a small DiT (the paper's is
DiT-XL/2), which sees exactly the real images that its own are added to; "leaky" ones saw 120,000. 5,000 train images
are held out to validate on. Three draws, and a ladder of real images to four times the largest base. Claims were
declared before any run.

12 generators, 3,960,576 images, 99 trials: for several GPUs. Trials hold their images, 12 kB each: 6 GB at the
most.
Result 2026-11-22: not run: neither photographs nor GPUs were at hand.
"""

from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial, wang_claims

FINGERPRINT = ""  # of your folder
network, steps, batch_size = "dit-b-64", 200_000, 256
train = Dataset(name="imagenet100", pixels=64, fingerprint=FINGERPRINT, holdout=5000)
test = Dataset(name="imagenet100", pixels=64, fingerprint=FINGERPRINT, split="test")
recipe = Recipe(model="resnet18", examples_seen=12_800_000, batch_size=256, augment="flip-shift", precision="bf16")
IMAGES, seeds, bases, ratios = 120_000, (0, 1, 2), (7500, 15_000, 30_000), (0.5, 1, 2, 4, 8, 16)
ladder_sizes = (3750, 7500, 15_000, 30_000, 60_000, IMAGES)


def strict(size, seed):
    """Return the images of a generator that saw `size` real images, and nothing else."""
    settings = {"network": network, "steps": steps, "batch_size": batch_size, "learning_rate": 1e-4}
    settings |= {"ema_decay": 0.9999, "flip": True, "precision": "bf16", "seed": seed}
    generator = ClosedSet(real=Subset(of=train, size=size, seed=seed), **settings)
    return Pool(generator=generator, sampling_steps=18, guidance=1.5, seed=seed)


def trial(size, seed, ratio=0.0, images=None):
    """Return one trial: `size` real images, and `ratio` times as many of a pool (default: the strict one)."""
    some = (Subset(of=images or strict(size, seed), size=round(ratio * size)),) if ratio else ()
    return Trial(real=Subset(of=train, size=size, seed=seed), synthetic=some, test=test, recipe=recipe, seed=seed)


trials = (
    *(trial(size, seed) for size in ladder_sizes for seed in seeds),
    *(trial(size, seed, ratio) for size in bases for ratio in ratios for seed in seeds),
    *(trial(size, seed, ratio, strict(IMAGES, seed)) for size in bases for ratio in (1, 4, 16) for seed in seeds),
)
claims = wang_claims(bases, (1, 4, 16), smallest_price=1.0, smallest_value=0.02, arm="closed-set")
study = Study(name="imagenet100_closed_set", trials=trials, claims=claims)
