"""A straight line through mean log responses against log sizes: ln L = ln c − k·ln D, so L = c·D^−k.

Least squares on the means of cells, each counted once. Slope, scale, bend and height are linear in those means, so
their draws are too: where cells were repeated, intervals stand on simulated studies (`noise`); where each was run once,
on what the line leaves over, by Student's t. Here: this line. Not here: which trials are on it (`slopes`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from realfake.intervals import COVERAGE, Interval, interval_of_draws, withheld
from realfake.laws import Array

FEWEST = 3  # sizes, for a line that could be seen to be none
BENT = 0.01  # a line with a smaller p of its lack of fit is rejected
ROUNDING = 1e-9  # of a bend: that of an exact table
BY_REPLICATES, BY_RESIDUALS = "differences of replicates", "residuals of the line (each size was run once)"


@dataclass(frozen=True)
class Line:
    """Mean log responses `heights` (s,) at s `sizes`, and the deviations (b, s) of simulated studies, None without."""

    sizes: Array
    heights: Array
    deviations: Array | None = None

    @property
    def method(self) -> str:
        return BY_RESIDUALS if self.deviations is None else BY_REPLICATES

    @property
    def slope(self) -> Interval:
        """k: positive where more images help."""
        return self._estimate(1, np.array([0.0, -1.0]))

    @property
    def scale(self) -> Interval:
        """c, the response that the line has at one image."""
        return _exponential(self._estimate(1, np.array([1.0, 0.0])))

    @property
    def bend(self) -> Interval:
        """By how much k changes at ten times the size, by a parabola: below 0 where the gain dries up."""
        return self._estimate(2, np.array([0.0, 0.0, -2 * math.log(10)]))

    def height(self, size: float) -> Interval:
        """The response that the line has at a size."""
        return _exponential(self._estimate(1, np.array([1.0, math.log(size)])))

    @cached_property
    def lack_of_fit(self) -> float | None:
        """The share of simulated studies on a straight line that scatter about theirs as much; None without any."""
        if self.deviations is None or len(self.sizes) < FEWEST:
            return None
        off = np.eye(len(self.sizes)) - self._basis(1) @ self._solver(1)
        observed, simulated = float(((off @ self.heights) ** 2).sum()), ((self.deviations @ off) ** 2).sum(axis=1)
        rounding = 1e-12 * float((self.heights**2).sum())  # an exact table is off by that alone
        return (1 + int((simulated >= observed - rounding).sum())) / (1 + len(simulated))

    @property
    def straight(self) -> bool:
        """Whether nothing speaks against a straight line: its bend may be 0, and it fits well enough."""
        fits = self.lack_of_fit is None or self.lack_of_fit > BENT
        bend = self.bend
        return fits and (bend.sign in ("unclear", "withheld") or abs(bend.point) < ROUNDING)

    def slopes(self, count: int, rng: np.random.Generator) -> Array:
        """(count,) slopes of simulated studies, or as many of Student's t; in the order of the studies."""
        if self.deviations is not None:
            return self.slope.point - self.deviations @ self._solver(1)[1]
        from scipy.stats import t

        sd, df = self._residual(1)
        quantiles = (rng.permutation(count) + 0.5) / count
        return self.slope.point + sd * float(np.linalg.norm(self._solver(1)[1])) * t.ppf(quantiles, max(df, 1))

    def _basis(self, degree: int) -> Array:
        return np.log(self.sizes)[:, None] ** np.arange(degree + 1)

    def _solver(self, degree: int) -> Array:
        """(degree + 1, s): coefficients of a polynomial from heights."""
        return np.linalg.pinv(self._basis(degree))

    def _residual(self, degree: int) -> tuple[float, int]:
        """SD of the heights about a polynomial, and its degrees of freedom."""
        off = self.heights - self._basis(degree) @ self._solver(degree) @ self.heights
        df = len(self.sizes) - degree - 1
        return math.sqrt(float(off @ off) / max(df, 1)), df

    def _estimate(self, degree: int, of: Array) -> Interval:
        """A linear combination of a polynomial's coefficients."""
        if len(self.sizes) < degree + 1:
            return withheld(f"{len(self.sizes)} sizes cannot tell; measure {degree + 1} or more")
        weights = of @ self._solver(degree)
        point = float(weights @ self.heights)
        if self.deviations is not None:
            return interval_of_draws(point, point + self.deviations @ weights)
        return _by_residuals(point, weights, *self._residual(degree))


def _by_residuals(point: float, weights: Array, sd: float, df: int) -> Interval:
    from scipy.stats import t

    if df < 1:
        return withheld(f"{len(weights)} sizes, each run once, leave nothing over to tell; measure more, or again")
    half = float(t.ppf(0.5 + COVERAGE / 2, df)) * sd * float(np.linalg.norm(weights))
    return Interval(point, point - half, point + half, reason="one seed")


def _exponential(found: Interval) -> Interval:
    point, low, high = (math.exp(min(value, 700.0)) for value in (found.point, found.low, found.high))
    return found if found.censored else Interval(point, low, high, reason=found.reason)
