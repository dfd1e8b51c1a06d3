"""Scaling laws class by class: which classes' synthetic images teach more the more there are of them, and which do not.

Fan et al. 2024 (arXiv 2312.04567) are reported to sort classes into easy, scaling and poor ones; their rule was not
found. Ours, for synthetic images alone, in this order:

    easy       the error of the class at the largest volume is at most 10 %
    scaling    its slope is surely above 0
    poor       its slope is not shown to be above 0, and surely below that of real images of the class
    undecided  neither can be told from these trials

Beside each class stand the recognisability and the diversity of its synthetic images where they were measured, with
rank correlations over classes. Here: these. Not here: lines (`lines`), all classes together (`slopes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from realfake.intervals import Interval, withheld
from realfake.laws import Array
from realfake.statistics.budgets import less
from realfake.statistics.by_class import DRAWS, of_class_alone
from realfake.statistics.inversion import response_interval
from realfake.statistics.lines import FEWEST
from realfake.statistics.ranks import spearman
from realfake.statistics.slopes import scaled_trials
from realfake.statistics.trial_table import FitError, Frame, normalised

PerImage = Mapping[str, Mapping[str, Array]]
EASY = 0.1
FEWEST_CLASSES = 5  # to rank
Row = dict[str, Any]


def class_slopes(
    table: Frame, per_image: PerImage, labels: Array, classes: Sequence[str], *, response: str = "cross_entropy"
) -> list[Row]:
    """A row for every line of synthetic-only trials and class: slope, that of real images, last error, and type.

    `labels` (n_test,) are the classes of the test images, the same for every trial; `per_image` as in `fit`, with
    cross_entropy and error. A class whose table cannot be read has its reason instead.
    """
    rows, found = normalised(table), []
    alone = rows[(rows["n_real"] == 0) & (rows["n_synthetic"] > 0)]
    volumes = alone.groupby(["recipe", "arm", "n_generator"])["n_synthetic"].nunique().reset_index()
    pairs = volumes[volumes["n_synthetic"] >= FEWEST][["recipe", "arm"]].drop_duplicates()
    for recipe, arm in pairs.itertuples(index=False):
        of_arm = rows[(rows["recipe"] == recipe) & ((rows["n_synthetic"] == 0) | (rows["arm"] == arm))]
        for number, name in enumerate(classes):
            n_test = int((labels == number).sum())
            named = {"class": name, "recipe": str(recipe), "arm": str(arm), "response": response, "n_test": n_test}
            try:
                found += [{**named, **row} for row in _of_class(of_arm, per_image, labels == number, response)]
            except FitError as error:
                found.append({**named, "reason": str(error)})
    return found


def _of_class(rows: Frame, per_image: PerImage, of_class: Array, response: str) -> list[Row]:
    """The lines of one class in one arm. Raises FitError where its test images cannot be read."""
    recipe, arm = (str(rows[rows["n_synthetic"] > 0][name].iloc[0]) for name in ("recipe", "arm"))
    asked, images = of_class_alone(rows, per_image, of_class, response)
    given = {"recipe": recipe, "arm": arm, "bootstrap": DRAWS, "seed": 0}
    scaled = scaled_trials(asked, response=response, per_image=images, **given)
    real, found = scaled.line(scaled.real), []
    slope_real = real.slope if len(real.sizes) >= FEWEST else withheld("the real-only ladder is too short")
    errors = _errors(rows, per_image, of_class, given)
    for n_generator, of in scaled.synthetic().items():
        line = scaled.line(of)
        if len(line.sizes) >= FEWEST:
            volume = int(line.sizes[-1])
            row = {"slope": line.slope, "slope_real": slope_real, "error": errors(volume, n_generator)}
            told = {"type": class_type(row["error"].point, line.slope, slope_real), "straight": line.straight}
            sizes = {"n_generator": n_generator, "n_synthetic": volume}
            found.append({**sizes, **{k: v.to_json() for k, v in row.items()}, **told})
    return found


def class_type(error: float, slope: Interval, slope_real: Interval) -> str:
    """ "easy", "scaling", "poor" or "undecided", by the rule of this module."""
    if error <= EASY:
        return "easy"
    if slope.sign == "more":
        return "scaling"
    known = slope_real.censored != "withheld"
    return "poor" if known and less(slope, slope_real).high < 0 else "undecided"


def _errors(rows: Frame, per_image: PerImage, of_class: Array, given: dict[str, Any]) -> Callable[[int, int], Interval]:
    """The mean error of a class with its interval, at a volume of synthetic images alone by generator size."""
    wrong, images = of_class_alone(rows, per_image, of_class, "error")
    try:
        scaled = scaled_trials(wrong, response="error", per_image=images, **given)
    except FitError:  # such as a class on which nobody errs
        scaled = None

    def error(volume: int, n_generator: int) -> Interval:
        at = (wrong["n_real"] == 0) & (wrong["n_synthetic"] == volume) & (wrong["n_generator"] == n_generator)
        values = wrong.loc[at, "error"].to_numpy(float)
        if scaled is None or scaled.deviations is None:
            return Interval(float(values.mean()), -np.inf, np.inf, reason="one seed")
        cells = scaled.trials.cells
        cell = (cells.n == 0) & (cells.m == volume) & (cells.n_generator == n_generator)
        return response_interval(values, scaled.deviations[:, np.flatnonzero(cell)[0]], 1.0)

    return error


# -------------------------------------------------------------------------- beside recognisability and diversity


def measured_by_class(fidelities: Iterable[Row]) -> list[Row]:
    """The measures of single classes that records of ``Fidelity`` keep, the mean over the pools of an arm.

    A row for every arm, n_generator, measure, space and class, with its value and the number of pools.
    """
    import pandas as pd

    keys = ["arm", "n_generator", "measure", "space", "class"]
    kept = [{**one, **{k: record[k] for k in keys[:2]}} for record in fidelities for one in record.get("classes", ())]
    if not kept:
        return []
    of_class: Any = pd.DataFrame(kept).groupby(keys, sort=False)["value"]
    means = of_class.agg(["mean", "count"]).reset_index().rename(columns={"mean": "value", "count": "pools"})
    return means.to_dict("records")


def class_correlations(slopes: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """Spearman's rank correlation over classes of the slope with each measure, for every line.

    Rows hold recipe, arm, n_generator, measure, space, classes and "correlation"; the interval takes classes for
    independent, and does not know that slopes and measures are estimates, which draws it towards 0.
    """
    found = []
    lines = dict.fromkeys((row["recipe"], row["arm"], row["n_generator"]) for row in slopes if "slope" in row)
    for recipe, arm, n_generator in lines:
        of_line = {
            row["class"]: Interval.from_json(row["slope"]).point
            for row in slopes
            if "slope" in row and (row["recipe"], row["arm"], row["n_generator"]) == (recipe, arm, n_generator)
        }
        named = {"recipe": recipe, "arm": arm, "n_generator": n_generator}
        own = [row for row in measured if (row["arm"], row["n_generator"]) == (arm, n_generator)]
        for measure, space in dict.fromkeys((row["measure"], row["space"]) for row in own):
            values = {row["class"]: row["value"] for row in own if (row["measure"], row["space"]) == (measure, space)}
            found.append({**named, "measure": measure, "space": space, **_correlation(of_line, values)})
    return found


def _correlation(slopes: dict[str, float], values: dict[str, float]) -> Row:
    shared = [name for name in slopes if name in values and np.isfinite(slopes[name])]
    x, y = (np.array([of[name] for name in shared]) for of in (slopes, values))
    few = withheld(f"{len(shared)} classes are too few to rank; {FEWEST_CLASSES} are needed")
    found = few if len(shared) < FEWEST_CLASSES else spearman(x, y)
    return {"classes": len(shared), "correlation": found.to_json()}
