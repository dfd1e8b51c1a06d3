"""Kernel distances of two sets of features: KID, and the maximum mean discrepancy over all images or class by class.

All are unbiased estimates of MMD², so they may be below 0 and do not grow when images are few. One pass over the kernel
matrix, a chunk of rows at a time, gives the value, its interval and the permutations it is to be read beside.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realfake.fidelity.resampling import BLOCKS, block_count, blocks_of, feature_rows, jackknife, two_sets
from realfake.intervals import COVERAGE, Interval

CHUNK = 512  # rows of the kernel matrix at once: 512 × 10,000 values are 40 MB
MEDIAN_OF = 2000  # images whose pairs set the bandwidth
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (a, d), (b, d) → (a, b)


@dataclass(frozen=True)
class Discrepancy:
    """MMD² with its interval, and what the same images give when nothing but chance tells the two sets apart.

    ``null``: 0, and the 95 % range of MMD² over ``permutations`` of the images; ``p_value``: how often one was as large
    (with the images as they are among them, so never 0). ``bandwidth``: σ of the kernel, in units of the features.
    """

    value: Interval
    null: Interval
    p_value: float
    bandwidth: float
    permutations: int


def kernel_distance(real: np.ndarray, synthetic: np.ndarray, *, blocks: int = BLOCKS, seed: int = 0) -> Interval:
    """Return the KID of features ``(n, d)`` and ``(m, d)`` with its 95 % interval over images.

    The unbiased MMD² with the kernel (x·y / d + 1)³ (Bińkowski et al. 2018, arXiv 1801.01401, section 4), over all
    pairs rather than the mean of random subsets; the interval leaves out blocks of both sets. Errors:
    ``frechet_distance``.
    """
    a, b = two_sets(real, synthetic)
    cut = _Blocks.of(len(a), len(b), block_count(blocks, len(a), len(b)), seed)
    sums = _sums(a, b, lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3, cut, np.zeros((len(a) + len(b), 0)))
    return jackknife(sums.value(), sums.left_out())


def maximum_mean_discrepancy(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    bandwidth: float | None = None,
    permutations: int = 200,
    blocks: int = BLOCKS,
    seed: int = 0,
) -> Discrepancy:
    """Return the unbiased MMD² of features ``(n, d)`` and ``(m, d)``, with its interval and a permutation test.

    Gretton et al. 2012 (JMLR 13:723, equation 3) with exp(−|x − y|² / 2σ²); σ is the median distance of pairs of
    pooled images (of 2,000 of them, drawn by ``seed``) unless ``bandwidth`` gives it. Errors: ``frechet_distance``.
    """
    a, b = two_sets(real, synthetic)
    sigma = _bandwidth(bandwidth, np.concatenate([a, b]), seed)
    shuffled = _shuffled(len(a), len(b), permutations, seed)
    cut = _Blocks.of(len(a), len(b), block_count(blocks, len(a), len(b)), seed)
    sums = _sums(a, b, gaussian_kernel(sigma), cut, shuffled)
    return _discrepancy([sums], sigma, permutations)


def class_discrepancy(
    real: np.ndarray,
    real_labels: np.ndarray,
    synthetic: np.ndarray,
    synthetic_labels: np.ndarray,
    *,
    bandwidth: float | None = None,
    permutations: int = 200,
    blocks: int = BLOCKS,
    seed: int = 0,
) -> Discrepancy:
    """Return the MMD² of real and synthetic images of the same class, averaged over the classes of the real ones.

    As ``maximum_mean_discrepancy``, with one bandwidth for all classes (that of all images) and images permuted within
    their class. ``real_labels (n,)`` and ``synthetic_labels (m,)``; raises ValueError for a class with fewer than 4
    images of either kind.
    """
    a, b = two_sets(real, synthetic)
    sigma = _bandwidth(bandwidth, np.concatenate([a, b]), seed)
    found = []
    for k, label in enumerate(np.unique(real_labels).tolist()):
        x = feature_rows(a[np.asarray(real_labels) == label], f"real, class {label},", 4)
        y = feature_rows(b[np.asarray(synthetic_labels) == label], f"synthetic, class {label},", 4)
        cut = _Blocks.of(len(x), len(y), blocks, seed + k)
        found.append(_sums(x, y, gaussian_kernel(sigma), cut, _shuffled(len(x), len(y), permutations, seed + k)))
    return _discrepancy(found, sigma, permutations)


def gaussian_kernel(sigma: float) -> Kernel:
    """Return k(x, y) = exp(−|x − y|² / 2σ²) of rows ``(a, d)`` and ``(b, d)``."""

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * (x @ y.T)
        return np.exp(np.maximum(squared, 0, out=squared) / (-2 * sigma**2))

    return kernel


def median_distance(features: np.ndarray, seed: int = 0) -> float:
    """Return the median Euclidean distance of the pairs of at most 2,000 rows of ``features (n, d)``."""
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(np.random.default_rng(seed).permutation(features)[:MEDIAN_OF])))


# --------------------------------------------------------------------------------------------- sums of a kernel matrix


@dataclass(frozen=True)
class _Sums:
    """Sums of kernel values over pairs of different images.

    ``counts (2, g)`` images of each block, real and synthetic; ``pairs (2g, 2g)`` sums over pairs of blocks, real
    blocks first; ``permuted (p,)`` MMD² of each permutation.
    """

    counts: np.ndarray
    pairs: np.ndarray
    permuted: np.ndarray

    def value(self, without: int | None = None) -> float:
        """Return MMD², of all images or without one block of each set."""
        g = self.counts.shape[1]
        kept = np.arange(g) != without
        (n, m), a, b = self.counts[:, kept].sum(1), np.r_[kept, np.zeros(g, bool)], np.r_[np.zeros(g, bool), kept]
        within = self.pairs[np.ix_(a, a)].sum() / (n * (n - 1)) + self.pairs[np.ix_(b, b)].sum() / (m * (m - 1))
        return float(within - 2 * self.pairs[np.ix_(a, b)].sum() / (n * m))

    def left_out(self) -> np.ndarray:
        """Return MMD² without each block ``(g,)``."""
        return np.array([self.value(k) for k in range(self.counts.shape[1])])


@dataclass(frozen=True)
class _Blocks:
    """The blocks of real images ``(n,)`` and synthetic ones ``(m,)``, 0 … ``count`` − 1 in each; some may be empty."""

    real: np.ndarray
    synthetic: np.ndarray
    count: int

    @classmethod
    def of(cls, n: int, m: int, count: int, seed: int) -> "_Blocks":
        return cls(blocks_of(n, count, seed), blocks_of(m, count, seed + 1), count)


def _sums(a: np.ndarray, b: np.ndarray, kernel: Kernel, cut: _Blocks, drawn: np.ndarray) -> _Sums:
    """Walk once over the kernel matrix of all n + m images; ``drawn (n + m, p)`` as ``_shuffled`` returns it."""
    rows, (n, m), g = np.concatenate([a, b]), (len(a), len(b)), cut.count
    of_block = np.eye(2 * g)[np.concatenate([cut.real, g + cut.synthetic])]
    weights = np.concatenate([of_block, drawn], axis=1)
    pairs, inside, crossing = np.zeros((2 * g, 2 * g)), np.zeros(drawn.shape[1]), np.zeros(drawn.shape[1])
    for first in range(0, n + m, CHUNK):
        part = slice(first, first + CHUNK)
        values = kernel(rows[part], rows)
        values[np.arange(len(values)), np.arange(first, first + len(values))] = 0  # an image is no pair with itself
        summed = values @ weights
        pairs += of_block[part].T @ summed[:, : 2 * g]
        inside += (drawn[part] * summed[:, 2 * g :]).sum(0)
        crossing += ((1 - drawn[part]) * summed[:, 2 * g :]).sum(0)
    permuted = (pairs.sum() - inside - 2 * crossing) / (n * (n - 1)) + inside / (m * (m - 1)) - 2 * crossing / (n * m)
    counts = np.stack([np.bincount(cut.real, minlength=g), np.bincount(cut.synthetic, minlength=g)])
    return _Sums(counts, pairs, permuted)


def _shuffled(n: int, m: int, permutations: int, seed: int) -> np.ndarray:
    """Return for every permutation which of the n + m images count as synthetic, ``(n + m, permutations)``."""
    if permutations < 1:
        raise ValueError(f"permutations={permutations}: a test by chance needs some; give 200")
    random = np.random.default_rng([seed, n, m])
    plain = np.repeat([0.0, 1.0], [n, m])
    return np.stack([random.permutation(plain) for _ in range(permutations)], axis=1)


def _discrepancy(parts: list[_Sums], sigma: float, permutations: int) -> Discrepancy:
    """Return the mean over parts (classes), each part with its own permutations and blocks left out."""
    value = float(np.mean([part.value() for part in parts]))
    left_out = np.mean([part.left_out() for part in parts], axis=0)
    permuted = np.mean([part.permuted for part in parts], axis=0)
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(permuted, [tail, 1 - tail])
    p = (1 + int((permuted >= value).sum())) / (1 + permutations)
    return Discrepancy(jackknife(value, left_out), Interval(0.0, float(low), float(high)), p, sigma, permutations)


def _bandwidth(given: float | None, pooled: np.ndarray, seed: int) -> float:
    sigma = median_distance(pooled, seed) if given is None else given
    if not sigma > 0:
        raise ValueError(f"the bandwidth is {sigma:g}: most images are alike in this space; give bandwidth=…, above 0")
    return sigma
