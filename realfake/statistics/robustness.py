"""Effective robustness (Taori et al. 2020, arXiv 2007.00644): how classifiers do away beyond what home promises.

Accuracy on another test set minus what is expected of a model that is as accurate at home, which here is a line through
the real-only trials, accuracies as logits. A model can be better away merely because it is better at home; this is what
is left. Intervals are those of `away`. Not here: tables of it (`report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.intervals import Interval, withheld
from realfake.laws import Array
from realfake.statistics.away import CELL, class_subsets, over_seeds, paired, plain
from realfake.statistics.corrupted import corruptions
from realfake.statistics.trial_table import REAL_ONLY, FitError, Frame

LEAST_SIZES = 3  # of the real-only ladder: two are always on a line


@dataclass(frozen=True)
class Line:
    """logit(accuracy away) = intercept + slope · logit(accuracy at home)."""

    intercept: float
    slope: float

    def expected(self, home: Array) -> Array:
        """Return the accuracy away that is expected of accuracies at home, both in (0, 1)."""
        return 1 / (1 + np.exp(-(self.intercept + self.slope * logit(home))))


@dataclass(frozen=True)
class Away:
    """The t trials of one recipe on one other test set: accuracies at home and away, lifted off 0 and 1."""

    home: Array  # (t,)
    away: Array  # (t,)
    n_real: Array  # (t,)
    baseline: Array  # (t,) bool: real images alone
    seed: Array  # (t,) int

    def taken(self, rows: Array) -> Away:
        """The trials of these rows."""
        return Away(self.home[rows], self.away[rows], self.n_real[rows], self.baseline[rows], self.seed[rows])


def logit(share: Array) -> Array:
    """Return log(p / (1 − p))."""
    return np.log(share) - np.log1p(-np.asarray(share))


def fit_line(trials: Away) -> Line:
    """Return the least-squares line of logits through the real-only trials; FitError where they are too few sizes."""
    own = trials.taken(trials.baseline)
    if (sizes := len(np.unique(own.n_real))) < LEAST_SIZES:
        raise FitError(
            f"the real-only ladder has {sizes} size{'s' * (sizes != 1)} on this test set, and what accuracy at home "
            f"promises away takes {LEAST_SIZES}; evaluate real-only trials of more sizes on it"
        )
    if np.ptp(own.home) == 0:
        raise FitError("all real-only trials are equally accurate at home; add smaller or larger ones to the ladder")
    return _least_squares(own)


def _least_squares(own: Away) -> Line:
    x, y = logit(own.home), logit(own.away)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
    return Line(float(y.mean() - slope * x.mean()), slope)


def effective_robustness(trials: Away, cell: Array) -> Interval:
    """Return accuracy away minus the expected one, as a share, of the trials marked in ``cell`` (t,) bool.

    Withheld where they are more or less accurate at home than any size of the ladder: a line is no law. Raises FitError
    where the ladder is too short.
    """
    fit_line(trials)
    sizes = np.unique(trials.n_real[trials.baseline])
    rungs = [float(trials.home[trials.baseline & (trials.n_real == size)].mean()) for size in sizes]
    home = float(trials.home[cell].mean())
    if not min(rungs) <= home <= max(rungs):
        return withheld(
            f"accuracy at home ({home:.1%}) is beyond that of real images alone ({min(rungs):.1%} to {max(rungs):.1%})"
        )

    def excess(kept: Array) -> float:
        line, own = _least_squares(trials.taken(kept & trials.baseline)), trials.taken(kept & cell)
        return float((own.away - line.expected(own.home)).mean())

    return over_seeds(excess, trials.seed, cell)


# ------------------------------------------------------------------------------------------------- of a table of trials


def robustness(table: Frame) -> dict[str, Any]:
    """Return what a table of trials on several test sets says, as plain JSON.

    "effective": a row for every arm, size and other test set; "lines": what was expected there, or the "reason" why
    nothing is; "corruptions": errors of every cell over all its corrupted sets; "subsets": errors of every cell on sets
    of other classes. All empty where there is one test set, or none is of classifiers.
    """
    empty: dict[str, Any] = {"effective": [], "lines": [], "corruptions": [], "subsets": []}
    if not {"error", "test", "address", "status"} <= set(table):
        return empty
    pairs = paired(table)
    if not len(pairs):
        return empty
    found = [_of_set(own, str(base), str(test)) for (base, test), own in pairs.groupby(["base", "test"], sort=False)]
    effective = [row for _, rows in found for row in rows]
    more = {"corruptions": corruptions(pairs), "subsets": class_subsets(pairs)}
    return {"effective": effective, "lines": [line for line, _ in found], **more}


def _of_set(pairs: Frame, base: str, test: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    trials = looks(pairs)
    about = {"recipe": base, "test": test, "home": pairs["home"].iloc[0]}
    try:
        line = fit_line(trials)
    except FitError as error:
        return {**about, "reason": str(error)}, []
    rows = []
    synthetic = pairs["n_synthetic"].to_numpy() > 0
    for key, own in pairs[synthetic].groupby(CELL, sort=False):
        cell = (pairs[CELL] == list(key)).all(axis="columns").to_numpy()
        value = effective_robustness(trials, cell)
        told = {"home_error": float(own["home_error"].mean()), "error": float(own["error"].mean())}
        told["expected_error"] = 1 - float(line.expected(trials.home[cell]).mean())
        rows.append({**about, **plain(key), "replicates": len(own), **told, "robustness": value.to_json()})
    return {**about, "intercept": line.intercept, "slope": line.slope, "trials": int(trials.baseline.sum())}, rows


def looks(pairs: Frame) -> Away:
    """The trials of one recipe on one other test set, from `away.paired`."""
    return Away(
        _lifted(pairs["home_error"], pairs["home_n"]),
        _lifted(pairs["error"], pairs["n_test"]),
        pairs["n_real"].to_numpy(float),
        ((pairs["arm"] == REAL_ONLY) & (pairs["n_synthetic"] == 0)).to_numpy(),
        pairs["seed"].to_numpy(),
    )


def _lifted(error: Frame, n_test: Frame) -> Array:
    """Accuracies, at least half an image away from 0 and 1, so that they have logits."""
    half = 0.5 / np.maximum(n_test.to_numpy(float), 1)
    return np.clip(1 - error.to_numpy(float), half, 1 - half)
