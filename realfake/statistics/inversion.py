"""The equivalent of one cell without a law for synthetic images: its mean response, read off the real-only curve.

The curve is a power law through the ladder; where that fails its lack-of-fit test, log-linear interpolation between
monotone ladder means. Beyond the ladder the answer is a bound. Here: this, and the interval of a cell's mean response.
Not here: laws over volumes (`fits`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realfake.intervals import Interval, interval_of_draws
from realfake.laws import POWER, Array
from realfake.responses import SHARES
from realfake.statistics.fits import Evidence, FitError, fit_law
from realfake.statistics.trial_table import cell_means


@dataclass(frozen=True)
class RealCurve:
    """f of one table as measured and as simulated, inverted."""

    method: str  # "power law" | "interpolation"
    n_min: float
    n_max: float
    size: Callable[[Array], Array]  # log response -> real images
    sizes: Callable[[Array], Array]  # (b,) log responses, one for each simulated study -> real images (b,)


def real_curve(evidence: Evidence) -> RealCurve:
    """The real-only curve of the ladder alone."""
    ladder = evidence.ladder
    n = ladder.trials.cells.n
    try:
        outcome = fit_law(ladder, POWER)
    except FitError:
        return _interpolated(ladder)
    if outcome.lack_of_fit is not None and outcome.lack_of_fit.fails:
        return _interpolated(ladder)
    columns = outcome.draws.T
    return RealCurve(
        method="power law",
        n_min=float(n.min()),
        n_max=float(n.max()),
        size=lambda log_response: POWER.curve.size(outcome.point, np.exp(log_response)),
        sizes=lambda log_responses: POWER.curve.size(columns, np.exp(log_responses)),
    )


def _interpolated(ladder: Evidence) -> RealCurve:
    """Log-linear interpolation between ladder means made monotone; 0 and infinity beyond its ends."""
    n, means = ladder.trials.cells.n, ladder.trials.cell_means
    simulated = means + cell_means(ladder.deviations, ladder.trials.cells)
    weights = ladder.trials.counts

    def size(log_response: Array, of: Array = means) -> Array:
        curve = _falling(of, weights)
        found = np.interp(-np.asarray(log_response), -curve, np.log(n), left=-np.inf, right=np.inf)
        return np.where(np.isfinite(found), np.clip(np.exp(found), n.min(), n.max()), np.exp(found))  # against rounding

    return RealCurve(
        method="interpolation",
        n_min=float(n.min()),
        n_max=float(n.max()),
        size=size,
        sizes=lambda responses: np.array([size(one, curve) for one, curve in zip(responses, simulated, strict=True)]),
    )


def _falling(means: Array, weights: Array) -> Array:
    from scipy.optimize import isotonic_regression

    return isotonic_regression(means, weights=weights, increasing=False).x


def invert(evidence: Evidence, curve: RealCurve) -> list[Interval]:
    """The equivalent of every cell: its mean log response, read off the real-only curve, minus its n_real."""
    trials = evidence.trials
    means, deviations = trials.cell_means, cell_means(evidence.deviations, trials.cells)
    intervals = []
    for cell, n in enumerate(trials.cells.n):
        point = float(curve.size(means[cell])) - n
        draws = curve.sizes(means[cell] + deviations[:, cell]) - n
        limits = {"floor": curve.n_min - n, "ceiling": curve.n_max - n}
        intervals.append(interval_of_draws(point, draws, **limits, reason=f"read off the ladder by {curve.method}"))
    return intervals


def mean_response(evidence: Evidence, cell: int) -> Interval:
    """The mean response of a cell with the interval of the simulated studies; its reason may be "one seed"."""
    trials = evidence.trials
    rows = trials.cells.of_trial == cell
    most = 1.0 if trials.response in SHARES else np.inf
    return response_interval(trials.values[rows], evidence.deviations[:, rows].mean(axis=1), most)


def response_interval(values: Array, log_deviations: Array, most: float = np.inf) -> Interval:
    """The mean of `values` times exp of its simulated log deviations (b,), up to `most`."""
    point, reason = float(values.mean()), "" if len(values) > 1 else "one seed"
    return interval_of_draws(point, np.minimum(point * np.exp(log_deviations), most), reason=reason)
