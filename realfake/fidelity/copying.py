"""Copies: how near synthetic images lie to the real ones of their generator, on the scale of how near fresh ones do.

A generator fitted on few images may hand them back. The nearest-real copy rate says how often, and the nearest pairs
are there to look at (``sheets``). What a trained model gives away of its images is measured by attacks, not here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.fidelity.resampling import feature_rows, share_interval, two_sets
from realfake.intervals import Interval

CHUNK = 512  # images compared at once: 512 × 10,000 distances are 40 MB
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 1.0)


def pixels(images: np.ndarray) -> np.ndarray:
    """Return images ``(n, h, w, c)`` uint8 as vectors in [0, 1] ``(n, h·w·c)``."""
    return images.reshape(len(images), -1) / 255.0


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances ``(n, m)`` of rows ``(n, d)`` and ``(m, d)``; rounding may leave −1e-12."""
    return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T


def nearest(images: np.ndarray, real: np.ndarray, own: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row of ``images (m, d)`` the Euclidean distance to its nearest row of ``real (n, d)``, and which.

    In float64 and from differences of squares: an exact copy is nearer than about 1e-6. ``own (m,)`` is a row of
    ``real`` that does not count for each image, such as itself.
    """
    distances, rows = np.empty(len(images)), np.empty(len(images), dtype=np.int64)
    for first in range(0, len(images), CHUNK):
        squared = squared_distances(images[first : first + CHUNK], real)
        if own is not None:
            squared[np.arange(len(squared)), own[first : first + CHUNK]] = np.inf
        rows[first : first + CHUNK] = squared.argmin(1)
        distances[first : first + CHUNK] = np.sqrt(squared.min(1).clip(min=0))
    return distances, rows


def copy_rate(
    synthetic: np.ndarray,
    real: np.ndarray,
    held_out: np.ndarray,
    *,
    quantile: float = 0.01,
    features: Callable[[np.ndarray], np.ndarray] = pixels,
) -> dict[str, Any]:
    """Return the share of ``synthetic`` images that lie nearer to a ``real`` training image than fresh ones do.

    All images are uint8 ``(·, h, w, c)``; ``held_out`` are real images that the generator never saw. The threshold is
    the ``quantile`` of their distances to the nearest training image, so ``null_rate``, the same share among them, is
    about ``quantile`` by construction, and a ``copy_rate`` well above it means copies. Distances are Euclidean between
    ``features`` (images → ``(n, d)``; pixels in [0, 1] unless given). ``median_ratio`` is the median synthetic distance
    over the median held-out one: 1 for fresh images, 0 for copies. Raises ValueError when one of the three is empty.
    """
    for name, images in (("synthetic", synthetic), ("real", real), ("held_out", held_out)):
        if not len(images):
            raise ValueError(f"copy_rate: there are no {name} images, and the rate compares three sets; give some")
    train = features(real)
    made, fresh = nearest(features(synthetic), train)[0], nearest(features(held_out), train)[0]
    threshold = float(np.quantile(fresh, quantile))
    return {
        "copy_rate": float((made <= threshold).mean()),
        "null_rate": float((fresh <= threshold).mean()),
        "threshold": threshold,
        "quantile": quantile,
        "median_ratio": float(np.median(made) / np.median(fresh)) if np.median(fresh) else float("nan"),
        "n_synthetic": len(synthetic),
        "n_real": len(real),
        "n_held_out": len(held_out),
    }


@dataclass(frozen=True)
class Pair:
    """A synthetic image and its nearest real one, by row; ``rarity``: the share of real images that lie as near."""

    synthetic: int
    real: int
    distance: float
    rarity: float


@dataclass(frozen=True)
class Copies:
    """``rate``: synthetic images within ``threshold`` of a real one, of which ``null_rate`` of the real images are.

    ``quantiles`` are those that ``made`` (synthetic to nearest real) and ``fresh`` (real to nearest real) distances are
    given at. ``pairs``: the nearest first. ``parent``: the share of synthetic images whose nearest real image is the
    one that they were made from, and the share that lies within the threshold of it, where parents are known.
    """

    rate: Interval
    null_rate: float
    threshold: float
    baseline: str
    quantiles: tuple[float, ...]
    made: tuple[float, ...]
    fresh: tuple[float, ...]
    pairs: tuple[Pair, ...]
    parent: tuple[Interval, Interval] | None


def copies(
    synthetic: np.ndarray,
    real: np.ndarray,
    held_out: np.ndarray | None = None,
    *,
    parents: np.ndarray | None = None,
    quantile: float = 0.01,
    top: int = 8,
) -> Copies:
    """Return how often features ``synthetic (m, d)`` lie nearer to ``real (n, d)`` than real images to one another.

    Fresh are the distances of ``held_out (h, d)`` images that the generator never saw or, without any, of each real
    image to the nearest other one; the threshold is their ``quantile``, as in ``copy_rate``. The interval is over
    synthetic images, at this threshold. ``parents (m,)`` are rows of ``real`` that images were made from (image to
    image). Raises ValueError for fewer than 2 images and for spaces that differ.
    """
    made_from, there = two_sets(real, synthetic, least=2)
    made, rows = nearest(there, made_from)
    if held_out is None:
        fresh, baseline = nearest(made_from, made_from, np.arange(len(made_from)))[0], "each real image left out"
    else:
        fresh, baseline = nearest(feature_rows(held_out, "held_out"), made_from)[0], "held-out real images"
    threshold = float(np.quantile(fresh, quantile))
    hits = int((made <= threshold).sum())
    return Copies(
        rate=share_interval(hits, len(made)),
        null_rate=float((fresh <= threshold).mean()),
        threshold=threshold,
        baseline=baseline,
        quantiles=QUANTILES,
        made=tuple(np.quantile(made, QUANTILES).tolist()),
        fresh=tuple(np.quantile(fresh, QUANTILES).tolist()),
        pairs=_nearest_pairs(made, rows, fresh, top),
        parent=None if parents is None else _of_parents(there, made_from, rows, np.asarray(parents), threshold),
    )


def _nearest_pairs(made: np.ndarray, rows: np.ndarray, fresh: np.ndarray, top: int) -> tuple[Pair, ...]:
    closest = np.argsort(made, kind="stable")[:top]
    return tuple(Pair(int(i), int(rows[i]), float(made[i]), float((fresh <= made[i]).mean())) for i in closest)


def _of_parents(
    synthetic: np.ndarray, real: np.ndarray, rows: np.ndarray, parents: np.ndarray, threshold: float
) -> tuple[Interval, Interval]:
    if parents.shape != (len(synthetic),):
        raise ValueError(f"parents has shape {parents.shape} for {len(synthetic)} synthetic images; give one of each")
    near = np.linalg.norm(synthetic - real[parents], axis=1) <= threshold
    found = int((rows == parents).sum()), int(near.sum())
    return share_interval(found[0], len(synthetic)), share_interval(found[1], len(synthetic))
