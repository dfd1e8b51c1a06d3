"""Where the neighbourhoods of real and synthetic images overlap: precision and recall, density and coverage.

A set's neighbourhoods are balls around its images that reach to their k-th nearest other image, so all four depend on
how many images there are: compare numbers of equal counts only. Distances to the nearest real image, and what they say
of copies, are in ``copying``.
"""

from dataclasses import dataclass

import numpy as np

from realfake.fidelity.copying import CHUNK, squared_distances
from realfake.fidelity.resampling import BLOCKS, block_count, blocks_of, jackknife, share_interval, two_sets
from realfake.intervals import Interval, spanning


@dataclass(frozen=True)
class Overlap:
    """``precision``: share of synthetic images in a neighbourhood of real ones; ``recall``: of real images in one of
    synthetic ones; ``density``: real neighbourhoods that a synthetic image lies in, over k, so 1 on average for equal
    sets; ``coverage``: share of real images with a synthetic one in their neighbourhood."""

    precision: Interval
    recall: Interval
    density: Interval
    coverage: Interval


def precision_recall(
    real: np.ndarray, synthetic: np.ndarray, *, k: int = 3, blocks: int = BLOCKS, seed: int = 0
) -> tuple[Interval, Interval]:
    """Return improved precision and recall of features ``(n, d)`` and ``(m, d)``, with 95 % intervals over images.

    Kynkäänniemi et al. 2019 (arXiv 1904.06991, equations 1 and 2), k = 3 as there. Errors: ``overlaps``.
    """
    found = overlaps(real, synthetic, k=k, blocks=blocks, seed=seed)
    return found.precision, found.recall


def density_coverage(
    real: np.ndarray, synthetic: np.ndarray, *, k: int = 5, blocks: int = BLOCKS, seed: int = 0
) -> tuple[Interval, Interval]:
    """Return density and coverage of features ``(n, d)`` and ``(m, d)``, with 95 % intervals over images.

    Naeem et al. 2020 (arXiv 2002.09797), k = 5 as there. Errors: ``overlaps``.
    """
    found = overlaps(real, synthetic, k=k, blocks=blocks, seed=seed)
    return found.density, found.coverage


def overlaps(real: np.ndarray, synthetic: np.ndarray, *, k: int, blocks: int = BLOCKS, seed: int = 0) -> Overlap:
    """Return precision, recall, density and coverage for one k, with 95 % intervals over images.

    Balls are closed. Intervals leave out blocks of both sets, and are nowhere shorter than what the count of images
    behind a share allows by itself. Raises ValueError unless both sets have more than k + 1 images, and for what
    ``frechet_distance`` refuses.
    """
    a, b = two_sets(real, synthetic, least=k + 3)
    g = block_count(blocks, (len(a) - 1) // 2, (len(b) - 1) // 2)
    of_a, of_b = _without(len(a), g, seed), _without(len(b), g, seed + 1)
    found = _shares(a, b, _radii(a, of_a, k), _radii(b, of_b, k), (of_a, of_b), k)
    tops = {"precision": 1.0, "recall": 1.0, "density": np.inf, "coverage": 1.0}
    intervals = {name: jackknife(found[name][0], found[name][1:], 0.0, top) for name, top in tops.items()}
    for name, n in (("precision", len(b)), ("recall", len(a)), ("coverage", len(a))):
        intervals[name] = spanning([intervals[name], share_interval(round(found[name][0] * n), n)])
    return Overlap(**intervals)


def _without(n: int, g: int, seed: int) -> np.ndarray:
    """Return which images are there ``(g + 1, n)``: all of them, then all but those of each block."""
    block = blocks_of(n, g, seed)
    return np.concatenate([np.full((1, n), True), block != np.arange(g)[:, None]])


def _radii(rows: np.ndarray, there: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance ``(g + 1, n)`` from each image to the k-th nearest other one that is ``there``."""
    n, listed = len(rows), min(len(rows) - 1, 4 * k + 16)
    radii = np.empty((len(there), n))
    for first in range(0, n, CHUNK):
        squared = squared_distances(rows[first : first + CHUNK], rows)
        own = np.arange(len(squared))
        squared[own, first + own] = np.inf
        near = np.argpartition(squared, listed - 1, axis=1)[:, :listed]  # enough unless a block took nearly all
        distances = np.take_along_axis(squared, near, axis=1)
        for turn, kept in enumerate(there):
            left = np.where(kept[near], distances, np.inf)
            if (np.isfinite(left).sum(1) < k).any():
                left = np.where(kept, squared, np.inf)
            radii[turn, first : first + CHUNK] = np.partition(left, k - 1, axis=1)[:, k - 1]
    return radii


def _shares(
    a: np.ndarray,
    b: np.ndarray,
    reach_a: np.ndarray,
    reach_b: np.ndarray,
    there: tuple[np.ndarray, np.ndarray],
    k: int,
) -> dict[str, np.ndarray]:
    """Return each measure ``(g + 1,)``: of all images, then without each block."""
    of_a, of_b = there
    turns = len(of_a)
    hits, covered, recalled = np.zeros((turns, len(b))), np.zeros(turns), np.zeros(turns)
    for first in range(0, len(a), CHUNK):
        part = slice(first, first + CHUNK)
        squared = squared_distances(a[part], b)
        for turn in range(turns):
            kept = of_a[turn, part]
            inside = squared[kept] <= reach_a[turn, part][kept, None]
            hits[turn] += inside.sum(0)
            covered[turn] += inside[:, of_b[turn]].any(1).sum()
            recalled[turn] += (squared[kept][:, of_b[turn]] <= reach_b[turn, of_b[turn]]).any(1).sum()
    n, m = of_a.sum(1), of_b.sum(1)
    return {
        "precision": ((hits > 0) & of_b).sum(1) / m,
        "recall": recalled / n,
        "density": (hits * of_b).sum(1) / (k * m),
        "coverage": covered / n,
    }
