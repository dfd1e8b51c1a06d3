"""Errors under standard corruptions, summed up relative to real images alone (Hendrycks & Dietterich 2019).

CE of a corruption is the sum of errors over its severities divided by that of a baseline, here as many real images
alone; mCE is the mean of CE over corruptions, and the relative one takes the clean error off each error first. Over
other corruptions than the paper's fifteen, and with another baseline than its AlexNet, it is not the paper's number.
Not here: what corruptions do (`corruptions`).
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from realfake.intervals import Interval, withheld
from realfake.laws import Array
from realfake.outside import CORRUPTIONS
from realfake.statistics.away import CELL, over_seeds, plain
from realfake.statistics.trial_table import REAL_ONLY, SEEDS, Frame


def corruption_of(test: str) -> tuple[str, int] | None:
    """Return kind and severity from the name of a corrupted test set, None for any other."""
    kind, _, severity = test.rpartition(" ")[2].rpartition("-")
    return (kind, int(severity)) if kind in CORRUPTIONS and severity.isdecimal() else None


def mean_error(errors: Frame) -> float:
    """Return the mean error over corruptions of the mean over their severities (columns kind, severity, error)."""
    return float(errors.groupby("kind")["error"].mean().mean())


def mean_corruption_error(errors: Frame, baseline: Frame, relative: bool = False) -> float:
    """Return mCE: over corruptions, the mean of summed errors ÷ summed errors of the baseline (1: like the baseline).

    Both have columns kind, severity, error, home_error, with the same corruptions. ``relative`` takes the error at home
    off each error first, and is NaN where the baseline loses nothing.
    """
    own, other = (
        each.assign(lost=each["error"] - (each["home_error"] if relative else 0))
        .groupby(["kind", "severity"])["lost"]
        .mean()
        .groupby("kind")
        .sum()
        for each in (errors, baseline)
    )
    if set(own.index) != set(other.index) or not (other > 0).all():
        return math.nan
    return float((own / other).mean())


def corruptions(pairs: Frame) -> list[dict[str, Any]]:
    """Return a row for every cell that was tried on corrupted sets: its mean error, mCE, and relative mCE.

    The baseline are real images alone, as many as stand beside, or as the generator saw where none do.
    """
    named = [corruption_of(str(test)) for test in pairs["test"]]
    known = pairs[[name is not None for name in named]]
    if not len(known):
        return []
    kinds, severities = zip(*(name for name in named if name is not None), strict=True)
    known = known.assign(kind=kinds, severity=severities)
    rows = []
    for (base, *key), own in known.groupby(["base", *CELL], sort=False):
        _, n_real, _, n_generator = key
        alone = known["arm"].eq(REAL_ONLY) & known["base"].eq(base) & known["n_real"].eq(n_real or n_generator)
        rows.append({"recipe": str(base), **plain(key), **_corrupted(own, known[alone])})
    return rows


def _corrupted(own: Frame, alone: Frame) -> dict[str, Any]:
    both = pd.concat([own.assign(of="own"), alone.assign(of="alone")])
    seed, mine = both["seed"].to_numpy(), (both["of"] == "own").to_numpy()

    def ratio(relative: bool) -> Interval:
        def estimate(kept: Array) -> float:
            return mean_corruption_error(both[kept & mine], both[kept & ~mine], relative)

        value = over_seeds(estimate, seed, mine)
        lacking = "real images alone were not tried on the same corruptions, or lose nothing by one of them"
        return value if math.isfinite(value.point) else withheld(lacking)

    error = over_seeds(lambda kept: mean_error(both[kept & mine]), seed, mine)
    found = {"mean_error": error, "mce": ratio(False), "relative_mce": ratio(True)}
    sets = own[["kind", "severity"]].drop_duplicates()
    replicates = len(own[list(SEEDS)].drop_duplicates())
    counts = {"replicates": replicates, "corruptions": int(sets["kind"].nunique()), "sets": len(sets)}
    return {**counts, **{name: value.to_json() for name, value in found.items()}}
