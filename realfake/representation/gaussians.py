"""Gaussians of feature vectors that merge exactly.

A Gaussian is fitted to any shards of the features, in float64, and shards are merged in any order to the same answer:
means carry what their rounding leaves out, so that features far from zero lose nothing. The third and fourth moments
that Ledoit and Wolf's shrinkage needs are merged too, so it needs no second look at the features.
Here: moments. Not here: covariances and distances (``mahalanobis``), and which features to fit (``representation``).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

CHUNK = 4096  # rows at once: 8 MiB of 256 features


@dataclass(frozen=True)
class Gaussian:
    """The moments of ``count`` feature vectors of dimension d, float64. With y = x − mean and q = |y|²:"""

    count: int
    mean: np.ndarray  # (d,)
    rest: np.ndarray  # (d,) what rounding left out of the mean: the mean is mean + rest
    scatter: np.ndarray  # (d, d) Σ y yᵀ
    third: np.ndarray  # (d,) Σ q y
    fourth: float  # Σ q²

    @property
    def dimension(self) -> int:
        return len(self.mean)


def gaussian(features: np.ndarray) -> Gaussian:
    """Return the Gaussian of features ``(n, d)``, n ≥ 0. Raises ValueError if they are no table of finite numbers."""
    rows = finite_rows(features, "features")
    return merged((_moments(rows[first : first + CHUNK]) for first in range(0, len(rows), CHUNK)), rows.shape[1])


def merged(shards: Iterable[Gaussian], dimension: int | None = None) -> Gaussian:
    """Return the Gaussian of all features of all shards, in whatever order they come.

    ``dimension`` says what an empty sequence has. Raises ValueError for no shards, or for unequal dimensions.
    """
    total = None if dimension is None else _moments(np.empty((0, dimension)))
    for shard in shards:
        total = shard if total is None else _merge(total, shard)
    if total is None:
        raise ValueError("there is no Gaussian to merge, so its dimension is not known; give one or more")
    return total


def _moments(rows: np.ndarray) -> Gaussian:
    """Two passes: what the first mean leaves is taken off before squares are summed."""
    rows = rows.astype(np.float64)
    count, dimension = rows.shape
    if not count:
        return Gaussian(0, np.zeros(dimension), np.zeros(dimension), np.zeros((dimension,) * 2), np.zeros(dimension), 0)
    mean = rows.mean(0)
    rows -= mean
    rest = rows.mean(0)
    rows -= rest
    q = np.einsum("nd,nd->n", rows, rows)
    return Gaussian(count, *_two_sum(mean, rest), rows.T @ rows, q @ rows, float(q @ q))


def _merge(a: Gaussian, b: Gaussian) -> Gaussian:
    """Chan, Golub and LeVeque's update of means and scatters, carried on to the third and fourth moments."""
    if a.dimension != b.dimension:
        raise ValueError(
            f"Gaussians of {a.dimension} and {b.dimension} features cannot be merged; use one detector for all shards"
        )
    count = a.count + b.count
    if not a.count or not b.count:
        return a if a.count else b
    between = (b.mean - a.mean) + (b.rest - a.rest)
    mean, rest = _two_sum(a.mean, a.rest + between * (b.count / count))
    moved = [_about(a, -between * (b.count / count)), _about(b, between * (a.count / count))]
    scatter = a.scatter + b.scatter + np.outer(between, between) * (a.count * b.count / count)
    return Gaussian(count, mean, rest, scatter, moved[0][0] + moved[1][0], moved[0][1] + moved[1][1])


def _about(part: Gaussian, shift: np.ndarray) -> tuple[np.ndarray, float]:
    """The third and fourth moments about a point from which the part's mean lies ``shift`` away."""
    square, along, trace = shift @ shift, part.scatter @ shift, np.trace(part.scatter)
    third = part.third + shift * trace + 2 * along + part.count * square * shift
    fourth = part.fourth + 4 * part.third @ shift + 4 * shift @ along + 2 * square * trace + part.count * square**2
    return third, float(fourth)


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a + b rounded, and what the rounding left out (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def finite_rows(features: np.ndarray, name: str) -> np.ndarray:
    """Return features ``(n, d)`` as an array; raises ValueError if they are no table of finite numbers."""
    rows = np.asarray(features)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} has shape {rows.shape}, and a distance needs (detections, features); reshape it")
    if wrong := len(rows) - int(np.isfinite(rows).all(1).sum()):
        raise ValueError(f"{wrong} of {len(rows)} rows of {name} are not finite, so distances are not; leave them out")
    return rows


def ledoit_wolf(fitted: Gaussian) -> float:
    """Return the share, 0 to 1, of the covariance that is best replaced by a sphere (Ledoit and Wolf 2004)."""
    n, d = fitted.count, fitted.dimension
    sigma = fitted.scatter / n
    square = float((sigma**2).sum())
    apart = square - np.trace(sigma) ** 2 / d  # |Σ − mI|²
    noise = (fitted.fourth / n - square) / n  # the mean of |yyᵀ − Σ|², over n
    return float(np.clip(noise / apart, 0, 1)) if apart > 0 else 0.0
