"""Looks of classifiers at test sets beside their own, each beside the error at home, and intervals over seeds.

Intervals are 95 %, for these test images: each seed is left out in turn, everywhere at once, and Student's t has as
many degrees of freedom as seeds but one. Here too: errors where a set has other classes than the trial. Not here: what
is expected away (`robustness`) and the summary over corruptions (`corrupted`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from realfake.intervals import COVERAGE, Interval
from realfake.laws import Array
from realfake.statistics.currencies import setting
from realfake.statistics.trial_table import SEEDS, Frame

CELL = ["arm", "n_real", "n_synthetic", "n_generator"]
TRIAL = ["base", *CELL, *SEEDS]
OF_CLASSES = ("error_masked", "error_full", "error_own_masked")


def paired(table: Frame) -> Frame:
    """Return every look at another test set with the trial's ``home_error``: on its own test set.

    Where the sets share some classes only, both errors are among those. ``base`` is the recipe without the test set,
    ``home`` the name of the own one, ``seed`` the first of the seeds that varies.
    """
    known = table[(table["status"] == "ok") & table["error"].notna()]
    known = known[~known["address"].str.endswith((":target", ":chosen"))]
    known = known.assign(base=[setting(str(name)).recipe for name in known["recipe"]])
    at_home = known["address"].str.startswith("trial-")
    home = known.loc[at_home, [*TRIAL, "error", "n_test", "test"]]
    home = home.rename(columns={"error": "home_error", "n_test": "home_n", "test": "home"})
    away = known[~at_home].merge(home, on=TRIAL, how="inner")
    away = away[away["test"] != away["home"]].copy()
    if "error_own_masked" in away:
        away["home_error"] = away["error_own_masked"].astype(float).fillna(away["home_error"])
    varying = next((name for name in SEEDS if len(away) and away[name].nunique() > 1), SEEDS[0])
    return away.assign(seed=away[varying])


def over_seeds(estimate: Callable[[Array], float], seed: Array, cell: Array) -> Interval:
    """Return an estimate with its interval: the jackknife over seeds, by Student's t.

    ``estimate`` takes which trials are kept (t,) bool; ``cell`` (t,) bool are those that it is about. One seed has no
    interval.
    """
    from scipy.special import stdtrit

    whole = np.ones(len(seed), bool)
    point, seeds = estimate(whole), np.unique(seed[cell])
    s = len(seeds)
    if s < 2:
        return Interval(point, -math.inf, math.inf)
    without = np.array([estimate(seed != one) for one in seeds])
    error = math.sqrt((s - 1) / s * float(((without - without.mean()) ** 2).sum()))
    reach = float(stdtrit(s - 1, 0.5 + COVERAGE / 2)) * error
    return Interval(point, point - reach, point + reach)


def class_subsets(pairs: Frame) -> list[dict[str, Any]]:
    """Return a row for every cell on every set that shares some classes only: errors among those and among all."""
    if "n_classes_shared" not in pairs:
        return []
    known, rows = pairs[pairs["n_classes_shared"].notna()], []
    for (base, test, *key), own in known.groupby(["base", "test", *CELL], sort=False):
        about = {"recipe": str(base), "test": str(test), **plain(key), "replicates": len(own)}
        about["n_classes_shared"] = int(own["n_classes_shared"].iloc[0])
        rows.append({**about, **{name: _mean(own, name).to_json() for name in OF_CLASSES if own[name].notna().all()}})
    return rows


def _mean(own: Frame, name: str) -> Interval:
    values, seed = own[name].to_numpy(float), own["seed"].to_numpy()
    return over_seeds(lambda kept: float(values[kept].mean()), seed, np.ones(len(own), bool))


def plain(key: Sequence[Any]) -> dict[str, Any]:
    """The cell of a row: its arm, and its sizes as whole numbers."""
    arm, *sizes = key
    return {"arm": str(arm), **{name: int(size) for name, size in zip(CELL[1:], sizes, strict=True)}}
