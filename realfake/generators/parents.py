"""Which real image a sample of an open-set pool begins at: its caption, its embedding, its first latents.

Sample i of class c has an *own parent*: the t-th real image of its class modulo their number, where t is how many
samples of class c the pool brings before i. A pool thus goes through the real images of a class once a pass, k passes
are k samples of each, and a longer prefix holds a shorter one. What is taken of another image of the class is drawn by
the sample's own seed. All of it is recomputed from the pool's spec; no shard holds a parent.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from realfake.generators import controls
from realfake.samples import Samples, class_counts, image_seeds, load, pool_labels, seed_of
from realfake.spec import BestOf, OpenSet, Pool, Relabel, real_of, root_generator
from realfake.store import Store
from realfake.values import SpecError

Of = Literal["own", "visual", "latent"]


def begins_at_real(generator: OpenSet) -> bool:
    """Tell whether samples have a parent: a real image that gives its caption, its embedding or its latents."""
    return bool(generator.visual or generator.prior or generator.prompts.captions)


def own_rows(real: Samples, pool: Pool, labels: np.ndarray, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the row ``(n,)`` of each sample's own parent among the real images: the next of its class, in turn.

    A balanced pool brings every class once a block; a proportional one the whole real subset once a block, so that a
    block is a pass in which each image comes once. Raises ValueError for a class without a real image.
    """
    return controls.repeat(real, pool, labels, [int(i) for i in indices])


def others(labels: np.ndarray, rows: np.ndarray, seeds: Sequence[int], use: str) -> np.ndarray:
    """Return another image ``(n,)`` of the class of each row, by the sample's own seed and never by its batch.

    ``labels (m,)`` are of all real images, ``use`` tells draws of one seed apart. All others of the class are equally
    likely; of a class of one image it is that image.
    """
    found = []
    for row, seed in zip(np.asarray(rows).tolist(), seeds, strict=True):
        same = np.flatnonzero(labels == labels[row])
        same = same[same != row] if len(same) > 1 else same
        found.append(same[seed_of("other", use, int(seed)) % len(same)])
    return np.array(found, np.int64)


def parents(pool: Pool, store: Store, indices: Sequence[int] | np.ndarray, of: Of = "own") -> np.ndarray:
    """Return the id ``(n,)`` of the real image that each of these samples of a pool begins at.

    ``of`` "own" is the image whose caption it has; "visual" the one whose embedding, and "latent" the one whose
    latents: the mean of a class is of no image (−1), and neither is what the generator does not use. Raises SpecError
    for a pool whose samples begin at no real image, and for the drawn images of ``BestOf``, which its critic chose.
    """
    root, subset = root_generator(pool.generator), real_of(pool.generator)
    if not isinstance(root, OpenSet) or subset is None or not begins_at_real(root):
        raise SpecError(
            "parents: samples of this pool begin at no real image; those of OpenSet(prior=LatentPrior(…)) do, or of "
            "one with visual guidance or captions"
        )
    real, indices = load(store, subset), np.asarray(indices, np.int64)
    labels, seeds = _asked(pool, store, indices)
    rows = own_rows(real, pool, labels, indices)
    chosen = {"own": "own", "visual": root.visual and root.visual.of, "latent": root.prior and root.prior.of}[of]
    if chosen in {None, "class mean"}:
        return np.full(len(rows), -1, np.int64)
    if chosen in {"same class", "class sample"}:
        if isinstance(pool.generator, BestOf):
            raise SpecError("parents: which candidate was chosen is known to the critic alone; ask for of='own'")
        rows = others(real.labels, rows, seeds, of)
    return real.ids[rows]


def _asked(pool: Pool, store: Store, indices: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return labels ``(n,)`` and seeds of samples, as their generator gets them."""
    counts = class_counts(store, pool)
    seeds = [image_seeds(pool, int(i), 1)[0] for i in indices]
    labels = np.array([pool_labels(pool, int(i), 1, counts)[0] for i in indices], np.int64)
    if isinstance(pool.generator, Relabel):
        loaded = controls.load_relabel(pool.generator, store, None)
        labels = controls.permuted_labels(loaded, pool.generator, pool, seeds)
    return labels, seeds
