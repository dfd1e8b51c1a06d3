"""What was measured, as rows of the figures' tables: the columns that all of them have, cells, and their trials.

A row is the value of `quantity` at (n_real, n_synthetic), and `kind` says what stands behind it:

    mean, trial, diverged       a cell with its interval, one trial, one trial without a number
    law                         a point of the fitted law, with its band
    inversion                   an equivalent read off the real-only ladder, beside the law's
    contour, budget, cheapest   a point of a line of equal response (its band is that of n_real), of a line of equal
                                cost at a price of synthetic images, and the cheapest mix at that price
    in the set, outside the set, set    one law's answer, and what the laws of the set span together

`point` is empty where a value is censored or withheld: the bound then stands in `bound`, and `censored` says on which
side the truth lies.

Here: these rows. Not here: rows of fitted laws (`fitted`), which rows a figure shows (`figures`).
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from realfake.intervals import Interval
from realfake.report.fitted import Row, parts
from realfake.responses import RESPONSES
from realfake.tables import interval

Frame = Any  # a pandas table or column; pandas' own types refuse much that it does
COLUMNS = (
    *("quantity", "recipe", "series", "kind", "law"),
    *("n_real", "n_real_low", "n_real_high", "n_synthetic", "n_generator", "real_budget", "replicates", "price"),
    *("point", "low", "high", "bound", "censored", "reason", "floor", "ceiling"),
)
TEXTS = ("quantity", "recipe", "series", "kind", "law", "censored", "reason")


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


def mean_row(quantity: str, series: str, cell: Row, budget: float, value: Interval) -> Row:
    """A cell with the interval of one of its quantities."""
    about = {"quantity": quantity, "series": series, "kind": "mean", "replicates": cell["replicates"]}
    return {**about, **identity(cell), "real_budget": budget, **parts(value)}


def identity(cell: Row) -> Row:
    """The sizes of a cell; real-only ones have no generator."""
    generator = cell.get("n_generator") if cell.get("n_synthetic") else None
    return {"n_real": cell["n_real"], "n_synthetic": cell.get("n_synthetic", 0), "n_generator": generator}


def response_rows(table: Frame, series: str, arm: str | None, recipe: str, cell: Row, budget: float) -> list[Row]:
    """The mean of a cell in each response, and a row for each of its trials."""
    trials = cell_trials(table, arm, recipe, cell["n_real"], cell.get("n_synthetic", 0))
    rows = []
    for response in (name for name in RESPONSES if name in table and name in cell):
        value = interval(cell, response)
        rows += [] if value is None else [mean_row(response, series, cell, budget, value)]
        about = {"quantity": response, "series": series, **identity(cell)}
        for _, trial in trials.iterrows():
            point = math.nan if trial.get("status") == "diverged" else float(trial[response])
            kind = "trial" if math.isfinite(point) else "diverged"
            rows.append({**about, "real_budget": budget, "kind": kind, "replicates": 1, "point": point})
    return rows


def tidy(rows: list[Row]) -> Frame:
    """Rows as a table of `COLUMNS`, numbers as floats with NaN for nothing and for an unbounded side."""
    table: Frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name not in TEXTS]
    finite = table[numbers].apply(pd.to_numeric).replace([math.inf, -math.inf], math.nan)
    return table.assign(**finite, **{name: table[name].fillna("") for name in TEXTS})
