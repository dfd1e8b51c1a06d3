"""Controls: what a synthetic pool must beat. The real images again, and images under labels that mean nothing.

Neither is fitted. A generator that adds no more than ``Repeat`` added views, not information; one whose images help
as much after ``Relabel`` taught the classifier textures, not classes. The fitted generators are beside this module.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.samples import Samples, load, pool_labels, seed_of
from realfake.spec import Pool, Relabel, Repeat, real_of
from realfake.store import Store


@dataclass(frozen=True)
class Relabelled:
    """A loaded generator, and how many images of each class it was made from ``(classes,)``."""

    inner: Any
    class_counts: np.ndarray


def load_repeat(generator: Repeat, store: Store) -> Samples:
    """Return the real subset, in its order."""
    return load(store, generator.real)


def load_relabel(generator: Relabel, store: Store, inner: Any) -> Relabelled:
    """Return the loaded generator with the class counts that its labels are drawn by."""
    real = real_of(generator)
    return Relabelled(inner, np.ones(1, np.int64) if real is None else _class_counts(load(store, real)))


def repeat(real: Samples, pool: Pool, labels: Sequence[int] | np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """Return for each sample the row ``(n,)`` of the next real image of its class, over and over.

    A balanced pool brings every class once a block, so sample i is the (i // classes)-th of its class; a proportional
    one brings the whole subset once a block. Raises ValueError for a class without a real image.
    """
    counts = _class_counts(real)
    of_class = [np.flatnonzero(real.labels == label) for label in range(len(counts))]
    rows = []
    for label, index in zip(np.asarray(labels).tolist(), np.asarray(indices).tolist(), strict=True):
        if not counts[label]:
            raise ValueError(f"class {real.classes[label]!r} has no image among the {len(real)} real ones to repeat")
        rows.append(of_class[label][_turn(pool, tuple(counts.tolist()), label, index) % counts[label]])
    return np.array(rows, np.int64)


def permuted_labels(loaded: Relabelled, generator: Relabel, pool: Pool, seeds: Sequence[int]) -> np.ndarray:
    """Return the labels ``(n,)`` that images are really made for: drawn by each sample's seed, whatever it is called.

    Drawn as the pool's own labels are, over the classes that are there: as many images of each class as before.
    """
    weights = loaded.class_counts if pool.labels == "proportional" else (loaded.class_counts > 0).astype(np.int64)
    edges = np.cumsum(weights)
    drawn = [seed_of("relabel", generator.seed, int(seed)) % int(edges[-1]) for seed in seeds]
    return np.searchsorted(edges, drawn, side="right")


def _turn(pool: Pool, counts: tuple[int, ...], label: int, index: int) -> int:
    """Return how many samples of this class a pool brings before ``index``."""
    if pool.labels == "balanced":
        return index // sum(count > 0 for count in counts)
    block, place = divmod(index, sum(counts))
    return block * counts[label] + int((_block(pool, counts, block)[:place] == label).sum())


@functools.lru_cache(maxsize=4)
def _block(pool: Pool, counts: tuple[int, ...], block: int) -> np.ndarray:
    return pool_labels(pool, block * sum(counts), sum(counts), np.array(counts))


def _class_counts(real: Samples) -> np.ndarray:
    return np.bincount(real.labels, minlength=len(real.classes))
