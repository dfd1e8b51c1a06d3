"""Intervals by leaving images out, and what every comparison of two sets of features asks of its input.

Images are left out in blocks, never drawn twice: a repeated image would be its own nearest neighbour and its own pair.
What is computed from the rest is in ``frechet``, ``kernels``, ``neighbourhoods`` and ``by_class``.
"""

import numpy as np

from realfake.intervals import COVERAGE, Interval
from realfake.intervals import share_interval as share_interval

BLOCKS = 20


def feature_rows(features: np.ndarray, name: str, least: int = 2) -> np.ndarray:
    """Return features ``(n, d)`` as float64; raises ValueError unless they are a table of ``least`` finite rows."""
    rows = np.asarray(features)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} has shape {rows.shape}, and a comparison needs (images, features); reshape it")
    if len(rows) < least:
        raise ValueError(f"{name} has {len(rows)} images, too few to compare; give {least} or more")
    if wrong := len(rows) - int(np.isfinite(rows).all(1).sum()):
        raise ValueError(f"{wrong} of {len(rows)} rows of {name} are not finite, so no distance is; leave them out")
    return rows.astype(np.float64)


def two_sets(real: np.ndarray, synthetic: np.ndarray, least: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 ``(n, d)`` and ``(m, d)``; raises ValueError when they are not of one feature space."""
    pair = feature_rows(real, "real", least), feature_rows(synthetic, "synthetic", least)
    if pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(
            f"real images have {pair[0].shape[1]} features and synthetic ones {pair[1].shape[1]}, so they lie in "
            "different spaces; compute both in one"
        )
    return pair


def blocks_of(n: int, blocks: int, seed: int) -> np.ndarray:
    """Return for each of ``n`` images the block ``(n,)`` that it is left out with: random ones, equal within one."""
    return np.random.default_rng([seed, n]).permutation(n) % blocks


def block_count(blocks: int, *counts: int) -> int:
    """Return how many blocks sets of these sizes are cut into: never so many that one holds less than an image."""
    if blocks < 2:
        raise ValueError(f"blocks={blocks}, and one block left out leaves nothing to compare; give 2 or more")
    return min(blocks, *counts)


def jackknife(point: float, left_out: np.ndarray, low: float = -np.inf, high: float = np.inf) -> Interval:
    """Return ``point`` with its 95 % interval, from the same quantity with each block left out, ``left_out (g,)``.

    The delete-a-group jackknife: variance (g − 1) / g · Σ (θ_k − mean θ)², and Student's t of g − 1 degrees of freedom
    (Shao and Tu 1995, The Jackknife and Bootstrap). The ends are cut to [``low``, ``high``], the range
    of the quantity.
    """
    from scipy.stats import t

    g = len(left_out)
    error = np.sqrt((g - 1) / g * ((left_out - left_out.mean()) ** 2).sum())
    half = float(t.ppf(0.5 + COVERAGE / 2, g - 1) * error)
    return Interval(float(point), max(low, float(point) - half), min(high, float(point) + half))
