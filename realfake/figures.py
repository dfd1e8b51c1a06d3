"""The numbers behind each figure, as tidy tables: what is drawn, and what is written as CSV beside the drawing.

Here: which cells, trials and bounds each figure shows. Not here: matplotlib (`drawing`), or any estimate (`fits`).

Every table has the columns of `COLUMNS`. `kind` says what a row is: "mean" (a cell with its interval), "trial" (one
trial), "diverged" (one trial without a number) or "law" (a point of the fitted curve). `point` is empty where a value
is censored or withheld: the bound then stands in `bound`, and `censored` says on which side the truth lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from realfake.intervals import Interval
from realfake.laws import REAL_NAMES, real_error
from realfake.tables import REAL_ONLY, RESPONSES, Arm, arms, flat_interval, interval, ladder, main_response, recipes

Frame = Any  # a pandas table or column; pandas' own types refuse much that it does
COLUMNS = (
    "quantity",
    "series",
    "n_real",
    "n_synthetic",
    "real_budget",
    "kind",
    "replicates",
    "point",
    "low",
    "high",
    "bound",
    "censored",
    "reason",
    "floor",
    "ceiling",
)


def figure_tables(table: Frame, analysis: dict[str, Any]) -> dict[str, Frame]:
    """The tables of all figures that have something to show, by name, the most important first."""
    made = {
        "equivalent": equivalents(table, analysis),
        "response": responses(table, analysis),
        "value": values(table, analysis),
        "ladder": real_ladder(table, analysis),
    }
    return {name: data for name, data in made.items() if len(data)}


def equivalents(table: Frame, analysis: dict[str, Any]) -> Frame:
    """Added real equivalent of every cell, in each response; floor and ceiling are the ends of the real-only ladder."""
    rows = []
    for arm, cell, budget in _cells(table, analysis):
        for response in _ordered(analysis):
            value = interval(cell, f"equivalent.{response}")
            if value is not None:
                limits = _measured_range(analysis, arm.recipe, cell["n_real"])
                rows.append(_mean_row(f"equivalent.{response}", arm.title, cell, budget, value) | limits)
    return _tidy(rows)


def values(table: Frame, analysis: dict[str, Any]) -> Frame:
    """Value of one more synthetic image in every cell."""
    read = [(arm, cell, budget, interval(cell, "value")) for arm, cell, budget in _cells(table, analysis)]
    return _tidy([_mean_row("value", arm.title, cell, budget, v) for arm, cell, budget, v in read if v is not None])


def responses(table: Frame, analysis: dict[str, Any]) -> Frame:
    """Cross-entropy and error of every cell with its trials, and of the real-only cells at the same real sizes."""
    rows: list[dict[str, Any]] = []
    for arm, cell, budget in _cells(table, analysis):
        rows += _response_rows(table, arm.title, arm.name, arm.recipe, cell, budget)
    for recipe in {arm.recipe: None for arm in arms(analysis)}:
        mixed = {cell["n_real"] for arm in arms(analysis) if arm.recipe == recipe for cell in arm.cells}
        for cell in ladder(analysis, recipe):
            if cell["n_real"] in mixed:
                rows += _response_rows(table, _real_title(analysis, recipe), None, recipe, cell, cell["n_real"])
    return _tidy(rows)


def real_ladder(table: Frame, analysis: dict[str, Any]) -> Frame:
    """Cross-entropy and error of every real-only cell with its trials, and the fitted real-only law."""
    rows: list[dict[str, Any]] = []
    for recipe in recipes(analysis):
        title = _real_title(analysis, recipe)
        for cell in ladder(analysis, recipe):
            rows += _response_rows(table, title, None, recipe, cell, cell["n_real"])
        for response in RESPONSES:
            rows += _law_rows(analysis, recipe, response, title)
    return _tidy(rows)


def real_budget(table: Frame, arm: str | None, recipe: str, n_real: float, n_synthetic: float) -> float:
    """Most real images that any trial of a cell saw, directly or through its generator; NaN if the table has none."""
    rows = cell_trials(table, arm, recipe, n_real, n_synthetic)
    return float(rows["real_budget"].astype(float).max()) if "real_budget" in rows and len(rows) else math.nan


def cell_trials(table: Frame, arm: str | None, recipe: str, n_real: float, n_synthetic: float) -> Frame:
    """The trials of one cell; `arm` None for real-only ones, whose arm may have any name."""
    chosen = (table["n_real"] == n_real) & (table["n_synthetic"] == n_synthetic)
    for column, wanted in (("arm", arm), ("recipe", recipe)):
        if wanted is not None and column in table:
            chosen &= table[column].fillna("").astype(str) == wanted
    return table[chosen]


# ------------------------------------------------------------------------------------------------------------- rows


def _cells(table: Frame, analysis: dict[str, Any]) -> Iterator[tuple[Arm, dict[str, Any], float]]:
    for arm in arms(analysis):
        for cell in arm.cells:
            yield arm, cell, real_budget(table, arm.name, arm.recipe, cell["n_real"], cell["n_synthetic"])


def _ordered(analysis: dict[str, Any]) -> list[str]:
    return sorted(RESPONSES, key=lambda response: response != main_response(analysis))


def _real_title(analysis: dict[str, Any], recipe: str) -> str:
    return f"{REAL_ONLY}, {recipe}" if len(recipes(analysis)) > 1 else REAL_ONLY


def _mean_row(quantity: str, series: str, cell: dict[str, Any], budget: float, value: Interval) -> dict[str, Any]:
    flat = {name.removeprefix("x_"): part for name, part in flat_interval(value, "x").items()}
    identity = {"n_real": cell["n_real"], "n_synthetic": cell.get("n_synthetic", 0), "real_budget": budget}
    limits = {"floor": value.floor, "ceiling": value.ceiling}
    about = {"quantity": quantity, "series": series, "kind": "mean", "replicates": cell["replicates"]}
    return {**about, **identity, **flat, **limits, "point": flat["x"]}


def _response_rows(
    table: Frame, series: str, arm: str | None, recipe: str, cell: dict[str, Any], budget: float
) -> list[dict[str, Any]]:
    """The mean of a cell in each response, and a row for each of its trials."""
    n_synthetic = cell.get("n_synthetic", 0)
    trials = cell_trials(table, arm, recipe, cell["n_real"], n_synthetic)
    rows = []
    for response in (name for name in RESPONSES if name in table):
        value = interval(cell, response)
        rows += [] if value is None else [_mean_row(response, series, cell, budget, value)]
        about = {"quantity": response, "series": series, "n_real": cell["n_real"], "n_synthetic": n_synthetic}
        for _, trial in trials.iterrows():
            point = math.nan if trial.get("status") == "diverged" else float(trial[response])
            kind = "trial" if math.isfinite(point) else "diverged"
            rows.append({**about, "real_budget": budget, "kind": kind, "replicates": 1, "point": point})
    return rows


def _law_rows(analysis: dict[str, Any], recipe: str, response: str, series: str) -> list[dict[str, Any]]:
    """The real-only curve of the first fit of this recipe and response, at its point estimate."""
    parameters = _real_parameters(analysis, recipe, response)
    sizes = [row["n_real"] for row in ladder(analysis, recipe)]
    if parameters is None or len(sizes) < 2:
        return []
    grid = np.geomspace(min(sizes), max(sizes), 60)
    about = {"quantity": response, "series": series, "n_synthetic": 0, "kind": "law"}
    curve = real_error(parameters, grid)
    return [{**about, "n_real": n, "real_budget": n, "point": y} for n, y in zip(grid, curve, strict=True)]


def _real_parameters(analysis: dict[str, Any], recipe: str, response: str) -> list[float] | None:
    for fit in analysis["fits"]:
        held = [(fit.get("parameters") or {}).get(name) for name in REAL_NAMES]
        points = [value["point"] for value in held if value and not value.get("censored")]
        asked = (fit["recipe"], fit["response"]) == (recipe, response)
        if asked and len(points) == len(REAL_NAMES) and None not in points:
            return points
    return None


def _measured_range(analysis: dict[str, Any], recipe: str, n_real: float) -> dict[str, float]:
    """The added equivalents at which the real-only ladder ends: beyond them an answer is censored."""
    sizes = [row["n_real"] for row in ladder(analysis, recipe)] or [math.nan]
    return {"floor": min(sizes) - n_real, "ceiling": max(sizes) - n_real}


def _tidy(rows: list[dict[str, Any]]) -> Frame:
    """Rows as a table of `COLUMNS`, numbers as floats with NaN for nothing and for an unbounded side."""
    table: Frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name not in ("quantity", "series", "kind", "censored", "reason")]
    finite = table[numbers].apply(pd.to_numeric).replace([math.inf, -math.inf], math.nan)
    return table.assign(**finite, censored=table["censored"].fillna(""), reason=table["reason"].fillna(""))
