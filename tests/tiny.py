"""Small real inputs for tests of training: some of scikit-learn's digits, and pools written by hand."""

import functools

import numpy as np

from realfake import samples
from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Repeat, Subset, Trial
from realfake.store import Store

TRAIN, TEST = Dataset(name="tiny"), Dataset(name="tiny", split="test")
CPU = Training(device="cpu")
RECIPE = Recipe(model="test_resnet", examples_seen=128, batch_size=32)


@functools.cache
def digits() -> Samples:
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images * 15.9).astype(np.uint8)[..., None]
    return Samples(images, data.target.astype(np.int64), np.arange(len(images)), tuple("0123456789"))


def import_digits(root, n_train=300, n_test=200) -> Store:
    """Return a store that holds the first digits as a training set and the next ones as a test set."""
    store = Store(root)
    for dataset, rows in ((TRAIN, slice(0, n_train)), (TEST, slice(n_train, n_train + n_test))):
        part = digits().take(rows)
        with store.making(dataset) as (folder, result):
            samples.write_table(samples.to_table(part.images, part.labels, part.ids), folder / "0.parquet")
            result |= {"classes": list(part.classes), "n": len(part), "pixels": 8, "channels": 1}
    return store


def write_pool(store: Store, pool: Pool, size: int) -> None:
    """Write the shards of a pool's prefix: real images of the right labels under some noise."""
    rows = samples.SHARD_ROWS
    for first in samples.shards_of(size):
        labels = samples.pool_labels(pool, first, rows, samples.class_counts(store, pool))
        random = np.random.default_rng(first)
        originals = digits().images[:300]
        of_class = [random.choice(np.flatnonzero(digits().labels[:300] == label)) for label in labels]
        images = (originals[of_class] // 2 + random.integers(0, 100, originals[of_class].shape)).astype(np.uint8)
        store.folder(pool).mkdir(parents=True, exist_ok=True)
        table = samples.to_table(images, labels, np.arange(first, first + rows))
        samples.write_table(table, store.folder(pool) / samples.shard_name(first))


def real(size=50, seed=0) -> Subset:
    return Subset(of=TRAIN, size=size, seed=seed)


def repeat_pool(size=50, seed=0) -> Pool:
    return Pool(generator=Repeat(real=real(size, seed)))


def closed_set(**fields) -> ClosedSet:
    return ClosedSet(**{"real": real(), "steps": 4, "batch_size": 16, **fields})


def trial(**fields) -> Trial:
    return Trial(**{"real": real(), "test": TEST, "recipe": RECIPE, **fields})
