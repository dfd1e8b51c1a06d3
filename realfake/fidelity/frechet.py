"""The Fréchet distance of two sets of features: the formula of the FID, in any feature space.

It is a distance of Gaussians of the same two moments, and with few images too large: the bias falls with 1/n, and
``at_infinity`` extrapolates it away. A number is comparable only with others of the same space, and with published FIDs
only where the space is theirs (the Inception weights of 2015, 299 pixels). Distances that need no Gaussian are in
``kernels``.
"""

from typing import Any

import numpy as np

from realfake.fidelity.resampling import BLOCKS, block_count, blocks_of, jackknife, two_sets
from realfake.intervals import Interval

POINTS, SMALLEST = 15, 0.1  # of the extrapolation: 15 sizes from 5,000 to 50,000 in Chong and Forsyth 2020


def frechet_distance(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    at_infinity: bool = False,
    vary: str = "synthetic",
    blocks: int = BLOCKS,
    seed: int = 0,
) -> Interval:
    """Return the squared Fréchet distance of features ``(n, d)`` and ``(m, d)`` with its 95 % interval over images.

    |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) with covariances over n − 1 (Heusel et al. 2017, arXiv 1706.08500, equation
    6; called FID there, of Inception's features). The interval leaves out blocks of both sets, and says nothing of
    the bias. ``at_infinity`` is FID∞ (Chong and Forsyth 2020, arXiv 1911.07023): the intercept of a line through the
    distances of 15 random subsets of m/10 … m synthetic images against 1/size, which takes the synthetic set's
    bias away, and with ``vary="both"`` that of a real set cut in proportion, too. Sizes of at most d bend the line.
    Raises ValueError for fewer than 4 images, values that are not finite, and for spaces that differ.
    """
    a, b = two_sets(real, synthetic)
    if vary not in ("synthetic", "both"):
        raise ValueError(f"vary={vary!r} says which set is cut to smaller sizes; write 'synthetic' or 'both'")

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return _extrapolated(x, y, vary == "both", seed) if at_infinity else _between(moments(x), moments(y))

    count = block_count(blocks, len(a), len(b))
    of_a, of_b = blocks_of(len(a), count, seed), blocks_of(len(b), count, seed + 1)
    left_out = np.array([distance(a[of_a != k], b[of_b != k]) for k in range(count)])
    return jackknife(distance(a, b), left_out, low=-np.inf if at_infinity else 0.0)


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean ``(d,)`` of features ``(n, d)`` and a factor F ``(min(n, d), d)`` of their covariance FᵀF."""
    mean = features.mean(0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    triangle: Any = np.linalg.qr(factor, mode="r") if len(factor) > factor.shape[1] else factor
    return mean, triangle


def _between(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the distance of moments. With Σ = FᵀF, tr (Σ₁Σ₂)^½ is the sum of the singular values of F₁F₂ᵀ: no root
    of a matrix, which for few images has no accurate one."""
    shared = np.linalg.svd(a[1] @ b[1].T, compute_uv=False).sum()
    return max(0.0, float(((a[0] - b[0]) ** 2).sum() + (a[1] ** 2).sum() + (b[1] ** 2).sum() - 2 * shared))


def _extrapolated(a: np.ndarray, b: np.ndarray, both: bool, seed: int) -> float:
    """Return the intercept of the distance over 1/size; every size has its own random subset."""
    random = np.random.default_rng(seed)
    shares = np.linspace(SMALLEST, 1, POINTS)
    whole = moments(a)
    distances, inverse = [], []
    for share in shares:
        size = max(2, round(share * len(b)))
        x = moments(random.permutation(a)[: max(2, round(share * len(a)))]) if both else whole
        distances.append(_between(x, moments(random.permutation(b)[:size])))
        inverse.append(1 / size)
    return float(np.polyfit(inverse, distances, 1)[1])
