"""How real an image looks: the realism score of Kynkäänniemi et al. 2019 (arXiv 1904.06991, equation 3).

R(φ_g) = max over real φ_r of ‖φ_r − NN_k(φ_r)‖ / ‖φ_g − φ_r‖, in some feature space: 1 or more where φ_g lies in the
neighbourhood of a real image. Real images with larger neighbourhoods than the median are left out, as there, for
they are outliers that everything is near to. It says nothing of whether an image shows what was asked for. How it
chooses is in ``best_of``; shares of a whole pool inside such neighbourhoods are ``fidelity.precision_recall``.
"""

from dataclasses import dataclass

import numpy as np

from realfake.fidelity.copying import squared_distances

K = 3  # neighbours, as in the paper


@dataclass(frozen=True)
class Neighbourhoods:
    """Real images as features ``(n, d)`` that are kept, and the radius ``(n,)`` of each one's neighbourhood."""

    features: np.ndarray
    radii: np.ndarray


def neighbourhoods(real: np.ndarray) -> Neighbourhoods:
    """Return the neighbourhoods of real features ``(n, d)`` that are no larger than the median.

    Raises ValueError with fewer than K + 2 images, which have no K-th neighbour to speak of.
    """
    if len(real) < K + 2:
        raise ValueError(f"realism asks for {K + 2} real images or more, and there are {len(real)}; give a larger set")
    squared = squared_distances(real.astype(np.float64), real.astype(np.float64))
    np.fill_diagonal(squared, np.inf)
    radii = np.sqrt(np.maximum(np.partition(squared, K - 1, axis=1)[:, K - 1], 0))
    kept = radii <= np.median(radii)
    return Neighbourhoods(real[kept].astype(np.float64), radii[kept])


def realism(around: Neighbourhoods, images: np.ndarray) -> np.ndarray:
    """Return the realism score ``(m,)`` of features ``(m, d)``; infinite for one that equals a real image."""
    distances = np.sqrt(np.maximum(squared_distances(images.astype(np.float64), around.features), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nanmax(around.radii / distances, axis=1)
