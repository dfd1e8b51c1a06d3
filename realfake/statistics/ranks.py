"""Rank correlations with intervals: of independent pairs, of pairs that share what they were made from, within strata.

Spearman's coefficient asks for order alone, so it needs no scale for either quantity. Here: coefficients and their
intervals. Not here: what is ranked (`pool_worths`, `class_slopes`, ``fidelity.pools``).
"""

from __future__ import annotations

import numpy as np

from realfake.intervals import COVERAGE, Interval, withheld
from realfake.laws import Array

FEWEST = 5  # clusters
CONSTANT = "one of the two does not vary"


def spearman(x: Array, y: Array) -> Interval:
    """Spearman's coefficient of independent pairs, its interval that of Bonett and Wright 2000 (Psychometrika 65:23).

    A perfect order has no width in their formula, so it counts as one swap short of perfect; three pairs say nothing.
    """
    if constant(x, y):
        return withheld(CONSTANT)
    rho, n = coefficient(x, y), len(x)
    return _fisher(rho, np.sqrt((1 + rho**2 / 2) / (n - 3)) if n > 3 else np.inf, n, None)


def clustered(x: Array, y: Array, clusters: Array, strata: Array | None = None) -> Interval:
    """Spearman's coefficient of pairs that share what they were made from; with `strata`, within these.

    Pairs of one cluster (n,) move together: the interval is a jackknife over clusters of Fisher's z, with Student's t.
    """
    names = np.unique(clusters)
    if len(names) < FEWEST:
        return withheld(f"{len(names)} clusters are too few for an interval; {FEWEST} are needed")
    rho = coefficient(x, y, strata)
    if not np.isfinite(rho):
        return withheld(CONSTANT)
    g, most = len(names), _most(len(x))
    left_out = [_without((x, y), clusters != name, strata) for name in names]
    z = np.arctanh(np.clip([rho, *left_out], -most, most))
    deviations = np.nan_to_num(z[1:] - z[1:].mean())
    return _fisher(rho, np.sqrt((g - 1) / g * float(deviations @ deviations)), len(x), g - 1)


def coefficient(x: Array, y: Array, strata: Array | None = None) -> float:
    """Spearman's coefficient; with `strata` the correlation of ranks within each, over its size + 1 (van Elteren's)."""
    groups = np.zeros(len(x)) if strata is None else strata
    a, b = within(x, groups), within(y, groups)
    lengths = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / lengths if lengths > 0 else float("nan")


def within(values: Array, strata: Array) -> Array:
    """(n,) ranks within each stratum about their middle, over its size + 1; 0 of one that stands alone."""
    from scipy.stats import rankdata

    found = np.zeros(len(values))
    for one in np.unique(strata):
        at = strata == one
        found[at] = (rankdata(np.asarray(values)[at]) - (at.sum() + 1) / 2) / (at.sum() + 1)
    return found


def _without(order: tuple[Array, Array], keep: Array, strata: Array | None) -> float:
    return coefficient(order[0][keep], order[1][keep], None if strata is None else strata[keep])


def constant(x: Array, y: Array) -> bool:
    """Whether one of the two has the same value everywhere, so that it orders nothing."""
    return len(x) < 2 or min(np.ptp(x), np.ptp(y)) == 0


def _most(n: int) -> float:
    return 1 - 12 / max(n * (n**2 - 1), 13)  # one swap short of perfect


def _fisher(rho: float, error: float, n: int, df: int | None) -> Interval:
    from scipy.stats import norm, t

    most = _most(n)
    quantile = float(norm.ppf(0.5 + COVERAGE / 2) if df is None else t.ppf(0.5 + COVERAGE / 2, df))
    low, high = np.tanh(np.arctanh(np.clip(rho, -most, most)) + np.array([-1, 1]) * quantile * error)
    return Interval(rho, float(min(low, rho)), float(max(high, rho)))
