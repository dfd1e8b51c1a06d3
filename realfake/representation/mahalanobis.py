"""The Mahalanobis distance to a Gaussian under every stated switch, and the distance that is to be expected.

A covariance from few training detections is inverted into distances that are too long for new ones, by a factor that
is known exactly (``expected_distance``); without it, any added image seems to bring the test set nearer.
Here: covariances, distances, their expectation. Not here: the moments they come from (``gaussians``), and what a
distance says about a training set (``representation``).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from realfake.representation.gaussians import CHUNK, Gaussian, finite_rows, ledoit_wolf

Covariance = Literal["full", "ledoit-wolf", "diagonal", "pseudo-inverse", "principal"]
Divisor = Literal["n", "n-1"]
CURE = "set ridge=1e-3 or covariance='ledoit-wolf'"


@dataclass(frozen=True)
class Switches:
    """How a Mahalanobis distance is measured; the defaults are equations 2 and 3 of PTL (arXiv 2211.01778).

    ``ridge`` adds ``ridge · trace(Σ) / d`` to the diagonal of any covariance. ``components`` is the number of
    directions of greatest variance that "principal" keeps. Raises ValueError for a value that is none of these.
    """

    squared: bool = True  # (x−μ)ᵀΣ⁻¹(x−μ), as printed; False: its root
    covariance: Covariance = "full"
    divisor: Divisor = "n"
    ridge: float = 0.0
    components: int | None = None

    def __post_init__(self) -> None:
        for name, kind in (("covariance", Covariance), ("divisor", Divisor)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name}={getattr(self, name)!r} is none of its values; use one of {get_args(kind)}")
        if not (self.ridge >= 0 and math.isfinite(self.ridge)):
            raise ValueError(f"ridge={self.ridge} would take variance away; use 0 or a small number such as 1e-3")
        if (self.components is not None) != (self.covariance == "principal") or (self.components or 1) < 1:
            raise ValueError(
                f"components={self.components} with covariance={self.covariance!r}: 'principal' keeps that many "
                "directions and the others keep all; give both, with components of 1 or more, or neither"
            )


@dataclass(frozen=True)
class Mahalanobis:
    """The distance to a Gaussian, ready to be measured, and how well it could be determined."""

    center: np.ndarray  # (2, d) the mean, and what rounding left out of it
    scale: np.ndarray  # (d,) features are divided by it, so that their units do not matter
    factor: np.ndarray  # (d, d) lower triangle to solve, or (d, r) to multiply by
    triangular: bool
    squared: bool
    count: int  # training detections
    rank: int  # directions that count
    condition: float  # largest over smallest eigenvalue of the covariance in use
    shrinkage: float  # share of Σ that Ledoit and Wolf replace by a sphere; 0 without
    expected: float  # of a new detection from the same distribution; NaN where no closed form is known

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the distances ``(n,)`` of features ``(n, d)``. Raises ValueError if d is not the Gaussian's."""
        rows = finite_rows(features, "features")
        if rows.shape[1] != len(self.scale):
            raise ValueError(
                f"the features to measure have {rows.shape[1]} values and the training ones {len(self.scale)}; "
                "take both from the same layer of the same detector"
            )
        parts = [self._squares(rows[first : first + CHUNK]) for first in range(0, len(rows), CHUNK)]
        squares = np.concatenate([np.empty(0), *parts])
        return squares if self.squared else np.sqrt(squares)

    def _squares(self, rows: np.ndarray) -> np.ndarray:
        from scipy.linalg import solve_triangular

        away = (rows.astype(np.float64) - self.center[0] - self.center[1]) / self.scale
        if not self.triangular:
            return ((away @ self.factor) ** 2).sum(1)
        return (solve_triangular(self.factor, away.T, lower=True, check_finite=False) ** 2).sum(0)

    def facts(self) -> dict[str, Any]:
        """What to log beside every value."""
        names = ("count", "rank", "condition", "shrinkage", "expected")
        return {"dimension": len(self.scale), **{name: getattr(self, name) for name in names}}


def mahalanobis(fitted: Gaussian, switches: Switches | None = None) -> Mahalanobis:
    """Return the Mahalanobis distance to a Gaussian.

    Raises ValueError when the covariance cannot be inverted, or not well enough to expect any distance: without
    regularisation at n ≤ d + 2 (n ≤ 3 if it is diagonal).
    """
    switches = switches or Switches()
    matrix, shrinkage = covariance(fitted, switches)
    _refuse_singular(fitted, matrix, switches)
    values = np.linalg.eigvalsh(matrix)
    scale, factor, kept = _factor(matrix, switches, fitted.count)
    return Mahalanobis(
        center=np.stack([fitted.mean, fitted.rest]),
        scale=scale,
        factor=factor,
        triangular=kept is None,
        squared=switches.squared,
        count=fitted.count,
        rank=fitted.dimension if kept is None else len(kept),
        condition=float(values[-1] / values[0] if kept is None else kept.max() / kept.min()),
        shrinkage=shrinkage,
        expected=_expectation(fitted, switches),
    )


def covariance(fitted: Gaussian, switches: Switches) -> tuple[np.ndarray, float]:
    """Return the covariance ``(d, d)`` and its Ledoit–Wolf shrinkage; raises ValueError for too few rows."""
    left = fitted.count - (switches.divisor == "n-1")
    if left < 1:
        raise ValueError(f"{fitted.count} training detections have no covariance; {CURE} and give two or more")
    matrix, shrinkage = fitted.scatter / left, 0.0
    sphere = np.trace(matrix) / fitted.dimension * np.eye(fitted.dimension)
    if switches.covariance == "diagonal":
        matrix = np.diag(np.diag(matrix))
    if switches.covariance == "ledoit-wolf":
        shrinkage = ledoit_wolf(fitted)
        matrix = (1 - shrinkage) * matrix + shrinkage * sphere
    return matrix + switches.ridge * sphere, shrinkage


def _factor(matrix: np.ndarray, switches: Switches, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the scale, the factor, and the eigenvalues kept where only some directions count."""
    if switches.covariance not in ("pseudo-inverse", "principal"):
        scale = np.sqrt(np.diag(matrix))
        return scale, np.linalg.cholesky(matrix / np.outer(scale, scale)), None
    values, vectors = np.linalg.eigh(matrix)
    kept = values > values[-1] * _rounding(matrix, count)
    if switches.components is not None:
        if switches.components > kept.sum():
            raise ValueError(
                f"components={switches.components}, but the features vary in {kept.sum()} directions; ask for fewer"
            )
        kept[: -switches.components] = False
    return np.ones(len(matrix)), vectors[:, kept] / np.sqrt(values[kept]), values[kept]


def _rounding(matrix: np.ndarray, count: int) -> float:
    return max(len(matrix), count) * float(np.finfo(np.float64).eps)


def _refuse_singular(fitted: Gaussian, matrix: np.ndarray, switches: Switches) -> None:
    n, d = fitted.count, fitted.dimension
    if not np.trace(matrix) > 0:
        raise ValueError(f"all {n} training detections have the same features, so no distance has a scale; give others")
    if switches.covariance in ("pseudo-inverse", "principal"):
        return
    constant = int((np.diag(matrix) <= 0).sum())
    if constant:
        raise ValueError(
            f"the covariance is singular: {constant} of {d} features are equal in all {n} detections; {CURE}"
        )
    plain = switches.ridge == 0 and switches.covariance in ("full", "diagonal")
    needed = 3 if switches.covariance == "diagonal" else d + 2
    if plain and n <= needed:
        raise ValueError(
            f"{n} training detections cannot give a {switches.covariance} covariance of {d} features: a new detection "
            f"has a finite expected distance only from {needed + 1} on; {CURE}"
        )
    scale = np.sqrt(np.diag(matrix))
    values = np.linalg.eigvalsh(matrix / np.outer(scale, scale))
    if values[0] <= values[-1] * _rounding(matrix, n):
        raise ValueError(f"the covariance of {n} detections in {d} features is singular; {CURE}")


# --------------------------------------------------------------------------------------- what a distance should be


def expected_distance(count: int, dimension: int, *, squared: bool = True, divisor: Divisor = "n") -> float:
    """Return the expected distance of a new detection that comes from the training detections' own Gaussian.

    With ``count`` = n training detections of ``dimension`` d, a squared distance with covariance scatter / n is
    d (n + 1) / (n − d) times an F(d, n − d) variable (Hotelling 1931), with mean d (n + 1) / (n − d − 2), where the
    training detections themselves average d. Raises ValueError for n ≤ d + 2, where that mean does not exist.
    """
    n, d = count, dimension
    if n <= d + 2:
        raise ValueError(
            f"with {n} training detections in {d} features a new one has no finite expected distance; "
            f"give {d + 3} or more, or {CURE} and compare with held-out detections"
        )
    unit = (n + 1) * (1.0 if divisor == "n" else (n - 1) / n)
    if squared:
        return d * unit / (n - d - 2)
    logs = math.lgamma((d + 1) / 2) + math.lgamma((n - d - 1) / 2) - math.lgamma(d / 2) - math.lgamma((n - d) / 2)
    return math.sqrt(unit) * math.exp(logs)


def _expectation(fitted: Gaussian, switches: Switches) -> float:
    """NaN under regularisation: what it leaves depends on the true covariance."""
    n, d = fitted.count, fitted.dimension
    if switches.ridge == 0 and switches.covariance == "full":
        return expected_distance(n, d, squared=switches.squared, divisor=switches.divisor)
    if switches.ridge == 0 and switches.covariance == "diagonal" and switches.squared:
        return d * expected_distance(n, 1, divisor=switches.divisor)  # a sum of d one-dimensional ones
    return math.nan
