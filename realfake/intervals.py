"""A number with its interval, censored where the measurement ends.

Here: the value type that every quantity of a fit is reported as, how it prints and how it is stored as JSON.
Not here: where the draws behind an interval come from (`noise`, `fits`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A point and its 95 % interval; `censored` says that the true value lies beyond what was measured.

    `floor` and `ceiling` are the ends of the measured range: an unbounded side is printed as `< floor` or `> ceiling`.
    A censored point has its interval too, `> 240 [110, > 240]`, unless all of that lies beyond the same end: `> 240`.
    """

    point: float  # the bound itself when censored
    low: float  # -inf when unbounded below
    high: float  # +inf when unbounded above
    censored: str = ""  # "" | "above" | "below" | "withheld" (no answer; reason says why)
    reason: str = ""
    floor: float = -math.inf
    ceiling: float = math.inf

    def __post_init__(self) -> None:
        if self.censored not in ("", "above", "below", "withheld"):
            raise ValueError(f"censored is {self.censored!r}; it must be '', 'above', 'below' or 'withheld'")

    def __str__(self) -> str:
        if self.censored == "withheld":
            return "withheld"
        decimals = self._decimals()
        point = _number(self.point, decimals)
        if self.censored:
            point = f"{'>' if self.censored == 'above' else '<'} {point}"
            if self.surely:
                return point
        low = _number(self.low, decimals) if math.isfinite(self.low) else _open_end("<", self.floor, decimals)
        high = _number(self.high, decimals) if math.isfinite(self.high) else _open_end(">", self.ceiling, decimals)
        return f"{point} [{low}, {high}]"

    def _decimals(self) -> int:
        """Decimals that show two digits of the shorter side, or three digits of the point without one."""
        finite = [abs(side - self.point) for side in (self.low, self.high) if math.isfinite(side)]
        widths = [width for width in finite if width > 0]
        width, digits = (min(widths), 1) if widths else (abs(self.point), 2)
        return min(12, max(0, digits - math.floor(math.log10(width)))) if width > 0 else 0

    @property
    def surely(self) -> bool:
        """Whether it is censored with its whole interval: all of it lies beyond the same end of the measured range."""
        return (self.censored == "above" and self.low >= self.point) or (
            self.censored == "below" and self.high <= self.point
        )

    @property
    def sign(self) -> str:
        """ "more" than 0, "less", "unclear" where the interval holds 0, or "withheld"."""
        if self.censored == "withheld":
            return "withheld"
        less = self.high < 0 or (self.censored == "below" and self.surely and self.point <= 0)
        return "more" if self.low > 0 else "less" if less else "unclear"

    def scaled(self, factor: float) -> Interval:
        """The interval of `factor` (> 0) times the quantity."""
        return self._mapped(lambda value: value * factor)

    def shifted(self, by: float) -> Interval:
        """The interval of the quantity plus `by`."""
        return self._mapped(lambda value: value + by)

    def _mapped(self, change) -> Interval:
        names = ("point", "low", "high", "floor", "ceiling")
        return replace(self, **{name: change(getattr(self, name)) for name in names})

    def to_json(self) -> dict[str, Any]:
        """Plain values; an unbounded side (and the point of a withheld answer) is None, so the JSON is strict."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _finite(value) if isinstance(value, float) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Interval:
        open_ends: dict[str, float] = {
            "point": math.nan,
            "low": -math.inf,
            "high": math.inf,
            "floor": -math.inf,
            "ceiling": math.inf,
        }
        filled: dict[str, Any] = {name: open_ends[name] if value is None else value for name, value in values.items()}
        return cls(**filled)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interval) and self.to_json() == other.to_json()  # a withheld point is NaN

    def __hash__(self) -> int:
        return hash(tuple(self.to_json().items()))


def withheld(reason: str) -> Interval:
    """No answer, and why."""
    return Interval(math.nan, -math.inf, math.inf, censored="withheld", reason=reason)


def interval_of_draws(
    point: float, draws: np.ndarray, *, floor: float = -math.inf, ceiling: float = math.inf, reason: str = ""
) -> Interval:
    """The 95 % percentile interval of `draws` (infinite draws allowed), censored at the measured range.

    A side beyond `floor` or `ceiling` is unbounded; a point beyond one is that bound, censored.
    A draw that is not a number counts as unbounded on both sides.
    """
    tail = (1 - COVERAGE) / 2
    unknown = np.isnan(draws)
    low = float(np.quantile(np.where(unknown, -np.inf, draws), tail, method="inverted_cdf"))
    high = float(np.quantile(np.where(unknown, np.inf, draws), 1 - tail, method="inverted_cdf"))
    low, high = min(low, point), max(high, point)
    open_low, open_high = (-math.inf if low < floor else low), (math.inf if high > ceiling else high)
    limits: dict[str, Any] = {"reason": reason, "floor": floor, "ceiling": ceiling}
    if math.isnan(point):
        return withheld(reason or "the value cannot be computed")
    if point > ceiling:
        return Interval(ceiling, min(open_low, ceiling), math.inf, "above", **limits)
    if point < floor:
        return Interval(floor, -math.inf, max(open_high, floor), "below", **limits)
    return Interval(point, open_low, open_high, **limits)


def share_interval(hits: float, n: int) -> Interval:
    """`hits` of `n` as a share with its exact 95 % interval (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    tail = (1 - COVERAGE) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return Interval(hits / n, low, high)


def spanning(answers: Sequence[Interval]) -> Interval:
    """The first answer with its interval widened to span the others; withheld ones are left out."""
    first = answers[0]
    if first.censored == "withheld":
        return first
    given = [answer for answer in answers if answer.censored != "withheld"]
    return replace(first, low=min(answer.low for answer in given), high=max(answer.high for answer in given))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text  # no "-0"


def _open_end(sign: str, limit: float, decimals: int) -> str:
    return f"{sign} {_number(limit, decimals)}" if math.isfinite(limit) else {"<": "-∞", ">": "∞"}[sign]
