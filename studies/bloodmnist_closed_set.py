"""What are closed-set synthetic images of blood cells worth, and is c2 about 3.88, as published?

    realfake run studies/bloodmnist_closed_set.py --on FILE

BloodMNIST (CC BY 4.0): 11,959 cells of eight kinds to train on, 1,712 to validate and 3,421 to test on, 28 pixels. Its
release, one file of at most 40 MB, is downloaded; without a network, FILE says under [data] where it is
(`bloodmnist = "FILE or DIR"`). A study of Wang et al. 2025 (arXiv 2508.09550), whose fitted c2 is 3.88 second-hand:
as cited by others, for the paper's own table was not at hand. Generators see exactly the real images that their own
are added to; "leaky" ones saw all that there are. Three draws, and a ladder of real images to beyond four times the
largest base. Images are mirrored and shifted while classifiers train: a cell has no upside. Claims were declared before
any run.

Reduced: small networks, three bases (set `whole = True` for a GPU). 12 generators, 178,176 images, 105 trials.
Result 2026-11-22: not run: the file is not at hand where this was written.
"""

from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial, wang_claims

whole = False
network, steps, batch_size = ("unet-m", 50_000, 128) if whole else ("unet-xs", 2000, 32)
model, examples = ("resnet18", 2_000_000) if whole else ("test_resnet", 60_000)
train, test = Dataset(name="bloodmnist"), Dataset(name="bloodmnist", split="test")
recipe = Recipe(model=model, examples_seen=examples, augment="flip-shift")
IMAGES, seeds, ratios = 11_959, (0, 1, 2), (0.5, 1, 2, 4, 8, 16)
bases = (200, 500, 1000, 2000, 2800) if whole else (100, 400, 1600)
ladder_sizes = (100, 200, 400, 800, 1600, 3200, 6400, IMAGES)


def strict(size, seed):
    """Return the images of a generator that saw `size` real images, and nothing else."""
    settings = {"network": network, "steps": steps, "batch_size": batch_size, "flip": True, "seed": seed}
    generator = ClosedSet(real=Subset(of=train, size=size, seed=seed), **settings)
    return Pool(generator=generator, sampling_steps=18 if whole else 8, labels="proportional", seed=seed)


def trial(size, seed, ratio=0.0, images=None):
    """Return one trial: `size` real images, and `ratio` times as many of a pool (default: the strict one)."""
    some = (Subset(of=images or strict(size, seed), size=round(ratio * size)),) if ratio else ()
    return Trial(real=Subset(of=train, size=size, seed=seed), synthetic=some, test=test, recipe=recipe, seed=seed)


trials = (
    *(trial(size, seed) for size in sorted({*ladder_sizes, *bases}) for seed in seeds),
    *(trial(size, seed, ratio) for size in bases for ratio in ratios for seed in seeds),
    *(trial(size, seed, ratio, strict(IMAGES, seed)) for size in bases for ratio in (1, 4, 16) for seed in seeds),
)
claims = wang_claims(bases, (1, 4, 16), smallest_price=1.0, smallest_value=0.02, arm="closed-set")
study = Study(name="bloodmnist_closed_set", trials=trials, claims=claims)
