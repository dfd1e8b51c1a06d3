"""What each pool was worth, and whether any measure of its images foretold it.

A pool belongs to one generator and one draw, so its worth is that of few trials: those at its largest volume beside n
real images, their mean log response read off the fitted real-only curve, minus n. It is noisy, and that draws every
correlation towards 0; beyond the ladder it is the ladder's end, a tie. Ranks are correlated three ways: with the
equivalent a; with a / n, because n drives both a and most measures; and within each n, which takes n out altogether.
Here: worths, the classification accuracy score, correlations. Not here: what is measured of images (``fidelity``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from realfake.intervals import Interval, share_interval
from realfake.laws import Array
from realfake.statistics import ranks
from realfake.statistics.fits import FitError, gather
from realfake.statistics.inversion import RealCurve, real_curve
from realfake.statistics.trial_table import REAL_ONLY, Frame, normalised, responses_of, select

DRAWS = 20  # of the ladder: the curve's point alone is used
SCORE = "classification accuracy score"
Row = dict[str, Any]
AS_LIKE = {"equivalent": None, "relative": None, "within_n": "n_real"}  # what is ranked, and within what


def pool_worths(table: Frame, pools: Mapping[str, str], *, response: str = "") -> list[Row]:
    """A row for every recipe, pool and real size beside it: the equivalent at its largest volume there, and that / n.

    `pools` holds the pool of each trial, by addresses. Rows hold recipe, arm, pool, n_real, n_synthetic, n_generator,
    subset_seed, response, trials, equivalent, relative and censored (beyond the ladder, whose end then counts).
    """
    rows = normalised(table)
    response = response or responses_of(rows)[0]
    rows = rows.assign(pool=rows["address"].map(pools))
    known = rows[rows["pool"].notna() & (rows["n_real"] > 0) & (rows["status"] != "diverged")]
    found: list[Row] = []
    for recipe, own in known.groupby("recipe", sort=True):
        curve = _curve(rows, str(recipe), response)
        if curve is not None:
            groups = own.groupby(["arm", "n_real", "pool"], sort=True)
            found += [{"recipe": str(recipe), **_worth(of, response, curve)} for _, of in groups]
    return found


def _curve(rows: Frame, recipe: str, response: str) -> RealCurve | None:
    """The real-only curve of a recipe, None where its ladder carries none."""
    try:
        return real_curve(
            gather(select(rows, response=response, arm=REAL_ONLY, recipe=recipe), bootstrap=DRAWS, seed=0)
        )
    except FitError:
        return None


def _worth(trials: Frame, response: str, curve: RealCurve) -> Row:
    """The worth of one pool beside one real size, by its trials at the largest volume."""
    trials = trials[trials["n_synthetic"] == trials["n_synthetic"].max()]
    values = np.maximum(trials[response].to_numpy(float), 1e-9)
    size = float(curve.size(np.log(values).mean()))
    n, ends = float(trials["n_real"].iloc[0]), (curve.n_min, curve.n_max)
    worth = float(np.clip(size, *ends)) - n
    names = ("arm", "pool", "n_real", "n_synthetic", "n_generator", "subset_seed")
    first = {name: _plain(trials[name].iloc[0]) for name in names}
    told = {"equivalent": worth, "relative": worth / n, "censored": not ends[0] <= size <= ends[1]}
    return {**first, "response": response, "trials": len(trials), **told}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)


# ------------------------------------------------------------------------------------ classification accuracy score


def accuracy_scores(table: Frame, pools: Mapping[str, str]) -> list[Row]:
    """The classification accuracy score of each pool and volume (Ravuri and Vinyals 2019, arXiv 1905.10887).

    It is the accuracy on real test images of a classifier that was trained on synthetic images alone, the mean of its
    synthetic-only trials (n_real 0); theirs are as many as the real training set, ours say how many. "real": the mean
    accuracy of real-only trials of n_generator images, of the same draw where there is one. Shares of test images,
    intervals exact over test images of one trial, and not over seeds. None for detectors.
    """
    rows = normalised(table)
    if "error" not in rows or "n_test" not in rows:
        return []
    rows = rows.assign(pool=rows["address"].map(pools))
    rows = rows[(rows["status"] != "diverged") & rows["error"].notna() & (rows["n_test"] > 0)]
    alone, ladder = rows[rows["pool"].notna() & (rows["n_real"] == 0)], rows[rows["n_synthetic"] == 0]
    found = []
    for (recipe, arm, pool, m), own in alone.groupby(["recipe", "arm", "pool", "n_synthetic"], sort=True):
        n, seed = int(own["n_generator"].iloc[0]), int(own["subset_seed"].iloc[0])
        real = ladder[(ladder["recipe"] == recipe) & (ladder["n_real"] == n)]
        same = real[real["subset_seed"] == seed]
        named = {"recipe": str(recipe), "arm": str(arm), "pool": str(pool), "n_synthetic": int(m), "n_generator": n}
        scores = {"score": _accuracy(own), "real": _accuracy(same if len(same) else real)}
        found.append({**named, "subset_seed": seed, "trials": len(own), **scores})
    return found


def _accuracy(trials: Frame) -> Row | None:
    if not len(trials):
        return None
    n = int(trials["n_test"].iloc[0])
    return share_interval((1 - float(trials["error"].mean())) * n, n).to_json()


def as_measures(scores: Iterable[Row]) -> list[Row]:
    """The scores at the largest volume of each pool as measures of it, in rows like those of ``Fidelity`` records."""
    largest: dict[tuple[str, str], Row] = {}
    for score in sorted(scores, key=lambda score: score["n_synthetic"]):
        largest[score["recipe"], score["pool"]] = score
    return [
        {"arm": one["arm"], "pool": one["pool"], "measures": [{"measure": SCORE, "space": recipe, **_flat(one)}]}
        for (recipe, _), one in largest.items()
    ]


def _flat(score: Row) -> Row:
    return {"value": score["score"]["point"]}


# ------------------------------------------------------------------------------------------------------ correlations


def worth_correlations(worths: Iterable[Row], measured: Iterable[Row], controls: Iterable[str] = ()) -> list[Row]:
    """Spearman's rank correlation of every measure with the worth of the pools, for every recipe, measure and space.

    `measured` are rows with a pool and its "measures"; `controls` are arms whose images are no generator's own (real
    images again, permuted labels): where some have a worth, "among" says whether they count. Rows hold recipe, among,
    measure, space, pools, clusters, and the correlations "equivalent", "relative", "within_n". Pools whose generators
    saw the same real images move together: intervals are jackknives over real subsets (draw and size). Those of one
    draw lie inside each other and still count as several, so pools are fewer than even these intervals know.
    """
    values: dict[tuple[str, str], dict[str, float]] = {}
    for one in measured:
        for row in (row for row in one["measures"] if row.get("value") is not None):
            values.setdefault((row["measure"], row["space"]), {})[one["pool"]] = row["value"]
    found, worths, left_out = [], list(worths), set(controls)
    for recipe in dict.fromkeys(row["recipe"] for row in worths):
        of_recipe = [row for row in worths if row["recipe"] == recipe]
        own = [row for row in of_recipe if row["arm"] not in left_out]
        seen = set().union(*values.values())
        has_controls = any(row["pool"] in seen and row["arm"] in left_out for row in of_recipe)
        groups = {"every pool": of_recipe, "without controls": own if has_controls else []}
        for among, group in groups.items():
            for (measure, space), of_pool in values.items():
                rows = [row for row in group if row["pool"] in of_pool]
                named = {"recipe": recipe, "among": among, "measure": measure, "space": space}
                found += [{**named, **_correlations(rows, of_pool)}] if rows else []
    return found


def _correlations(rows: list[Row], value: Mapping[str, float]) -> Row:
    x = np.array([value[row["pool"]] for row in rows])
    subsets = np.array([f"{row['subset_seed']} {row['n_generator']}" for row in rows])
    counts = {"pools": len({row["pool"] for row in rows}), "clusters": len(set(subsets))}
    return {**counts, **{name: _ranked(rows, x, subsets, name, by).to_json() for name, by in AS_LIKE.items()}}


def _ranked(rows: list[Row], x: Array, subsets: Array, name: str, by: str | None) -> Interval:
    """The correlation with one kind of worth; within n, a and a / n have the same ranks."""
    y = np.array([row["equivalent" if by else name] for row in rows])
    return ranks.clustered(x, y, subsets, np.array([row[by] for row in rows]) if by else None)
