"""All measures of two sets of features, with intervals, against the plain way to get their points alone.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_fidelity [--images 2000 --features 128]

Plain: scipy's matrix root for the Fréchet distance, scikit-learn's kernels for KID and MMD², the ``prdc`` library for
k = 3 and 5, and scikit-learn's nearest neighbours for copies: each measure once, no interval, no permutation. Prints
a JSON document: CPU seconds of each (of all threads), and the largest difference of the points.
"""

import argparse
import contextlib
import io
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from realfake import fidelity
from realfake.fidelity.kernels import median_distance

Pair = tuple[np.ndarray, np.ndarray]


def ours(a: np.ndarray, b: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Every measure as a call that returns its points."""
    return {
        "frechet": lambda: [fidelity.frechet_distance(a, b).point],
        "kernel": lambda: [fidelity.kernel_distance(a, b).point],
        "mmd": lambda: [fidelity.maximum_mean_discrepancy(a, b).value.point],
        "precision_recall": lambda: [one.point for one in fidelity.precision_recall(a, b)],
        "density_coverage": lambda: [one.point for one in fidelity.density_coverage(a, b)],
        "copies": lambda: fidelity.copies(b, a).made,
        "separability": lambda: [fidelity.separability(a, b).auc.point],
    }


def plain(a: np.ndarray, b: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The same points by the usual means; separability has none, for its null is what is measured."""
    from prdc import compute_prdc
    from scipy.linalg import sqrtm
    from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
    from sklearn.neighbors import NearestNeighbors

    def frechet() -> list[float]:
        s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        return [float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * np.real(sqrtm(s @ t))))]

    def mmd(kernel: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[float]:
        x, y, n, m = kernel(a, a), kernel(b, b), len(a), len(b)
        within = (x.sum() - np.trace(x)) / (n * (n - 1)) + (y.sum() - np.trace(y)) / (m * (m - 1))
        return [float(within - 2 * kernel(a, b).mean())]

    def gaussian() -> list[float]:
        sigma = median_distance(np.concatenate([a, b]))
        return mmd(lambda x, y: rbf_kernel(x, y, 1 / (2 * sigma**2)))

    def prdc(k: int, *names: str) -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = compute_prdc(a, b, k)
        return [float(found[name]) for name in names]

    def copies() -> Any:
        made = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(a).kneighbors(b)[0].ravel()
        NearestNeighbors(n_neighbors=2, algorithm="brute").fit(a).kneighbors(a)
        return np.quantile(made, fidelity.copying.QUANTILES)

    return {
        "frechet": frechet,
        "kernel": lambda: mmd(lambda x, y: polynomial_kernel(x, y, 3, 1 / x.shape[1], 1)),
        "mmd": gaussian,
        "precision_recall": lambda: prdc(3, "precision", "recall"),
        "density_coverage": lambda: prdc(5, "density", "coverage"),
        "copies": copies,
    }


def timed(calls: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """CPU seconds and answers of each."""
    seconds, answers = {}, {}
    for name, call in calls.items():
        started = time.process_time()
        answers[name] = call()
        seconds[name] = round(time.process_time() - started, 2)
    return seconds, answers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--features", type=int, default=128)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    mixing = random.normal(size=(64, given.features))  # features of networks lie near few directions
    a, b = (random.normal(shift, 1, (given.images, 64)) @ mixing / 8 for shift in (0, 0.1))
    a, b = (rows + random.normal(0, 0.3, rows.shape) for rows in (a, b))
    seconds, answers = timed(ours(a, b))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    plain_seconds, expected = timed(plain(a, b))
    shared = sum(seconds[name] for name in plain_seconds)
    apart = {name: float(np.abs(np.subtract(answers[name], expected[name])).max()) for name in expected}
    found: dict[str, Any] = {"images": given.images, "features": given.features, "cpu_seconds": seconds}
    found |= {"plain_cpu_seconds": plain_seconds, "largest_difference": apart, "peak_mb": round(memory)}
    found |= {"all_seconds": sum(seconds.values()), "shared_over_plain": shared / sum(plain_seconds.values())}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
