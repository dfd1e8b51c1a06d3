"""The numbers behind each figure, as tidy tables: what is drawn, and what is written as CSV beside the drawing.

Here: which cells, trials and bounds each figure shows. Not here: rows of fitted laws (`fitted`), matplotlib
(`drawing`), or any estimate (`fits`).

Every table has the columns of `COLUMNS`, and a row is the value of `quantity` at (n_real, n_synthetic). `kind` says
what the row is:

    mean, trial, diverged       a cell with its interval, one trial, one trial without a number
    law                         a point of the fitted law, with its band
    inversion                   an equivalent read off the real-only ladder, beside the law's
    contour, budget, cheapest   a point of a line of equal response (its band is that of n_real), of a line of equal
                                cost at a price of synthetic images, and the cheapest mix at that price
    in the set, outside the set, set    one law's answer, and what the laws of the set span together

`point` is empty where a value is censored or withheld: the bound then stands in `bound`, and `censored` says on which
side the truth lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from realfake.equivalence import Fit
from realfake.fitted import Row, answers, bands, expected, fit_of, fits_of, parts, plane, real_curve
from realfake.intervals import Interval, withheld
from realfake.tables import REAL_ONLY, RESPONSES, Arm, arms, interval, inverted, ladder, main_response, recipes

Frame = Any  # a pandas table or column; pandas' own types refuse much that it does
COLUMNS = (
    *("quantity", "series", "kind", "law"),
    *("n_real", "n_real_low", "n_real_high", "n_synthetic", "n_generator", "real_budget", "replicates", "price"),
    *("point", "low", "high", "bound", "censored", "reason", "floor", "ceiling"),
)
TEXTS = ("quantity", "series", "kind", "law", "censored", "reason")


def figure_tables(table: Frame, analysis: dict[str, Any]) -> dict[str, Frame]:
    """The tables of all figures that have something to show, by name, the most important first."""
    fits = fits_of(analysis)
    made = {
        "equivalent": equivalents(table, analysis, fits),
        "response": responses(table, analysis, fits),
        "value": values(table, analysis, fits),
        "contours": planes(table, analysis, fits),
        "laws": law_answers(analysis, fits),
        "residuals": residuals(table, analysis, fits),
        "ladder": real_ladder(table, analysis, fits),
    }
    return {name: data for name, data in made.items() if len(data)}


def equivalents(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """Added real equivalent of every cell, in each response; floor and ceiling are the ends of the real-only ladder."""
    rows = []
    for arm in arms(analysis):
        for response in _ordered(analysis):
            about = (table, analysis, arm, f"equivalent.{response}")
            fit = fit_of(fits, recipe=arm.recipe, response=response, arm=arm.name)
            rows += [*_law(fit, about[3], arm, analysis), *_equivalent_rows(*about)]
    return _tidy(rows)


def values(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """Value of one more synthetic image in every cell, and by the law in between."""
    rows: list[Row] = []
    for arm in arms(analysis):
        held = [(cell, value) for cell in arm.cells if (value := interval(cell, "value")) is not None]
        fit = fit_of(fits, recipe=arm.recipe, response=main_response(analysis), arm=arm.name)
        told = any(value.censored != "withheld" for _, value in held)
        rows += _law(fit, "value", arm, analysis) if told else []
        rows += [_mean_row("value", arm.title, cell, _budget(table, arm, cell), value) for cell, value in held]
    return _tidy(rows)


def responses(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """Cross-entropy and error of every cell with its trials, the law, and real-only cells at the same real sizes."""
    rows: list[Row] = []
    for arm in arms(analysis):
        for response in RESPONSES:
            fit = fit_of(fits, recipe=arm.recipe, response=response, arm=arm.name)
            rows += _law(fit, response, arm, analysis)
        for cell in arm.cells:
            rows += _response_rows(table, arm.title, arm.name, arm.recipe, cell, _budget(table, arm, cell))
    for recipe in {arm.recipe: None for arm in arms(analysis)}:
        mixed = {cell["n_real"] for arm in arms(analysis) if arm.recipe == recipe for cell in arm.cells}
        for cell in ladder(analysis, recipe):
            if cell["n_real"] in mixed:
                rows += _response_rows(table, _real_title(analysis, recipe), None, recipe, cell, cell["n_real"])
    return _tidy(rows)


def planes(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """For each arm the lines of equal main response and of equal cost, and the measured cells."""
    rows: list[Row] = []
    for arm in arms(analysis):
        fit = fit_of(fits, recipe=arm.recipe, response=main_response(analysis), arm=arm.name)
        beside = [cell for cell in arm.cells if cell["n_real"]]
        if fit is None or not beside:
            continue
        at = max((cell["n_synthetic"], cell["n_real"]) for cell in beside)[::-1]
        if lines := plane(fit, arm.title, at):
            cells = [*ladder(analysis, arm.recipe), *beside]
            rows += [*lines, *(_cell_row(fit.response, arm, cell) for cell in cells)]
    return _tidy(rows)


def residuals(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """How far every cell and trial lies from the law of its arm, in per cent of what the law expects."""
    rows: list[Row] = []
    for arm in arms(analysis):
        fit = fit_of(fits, recipe=arm.recipe, response=main_response(analysis), arm=arm.name)
        if fit is not None:
            rows += _residual_rows(table, analysis, arm, fit)
    return _tidy(rows)


def law_answers(analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """The main equivalent of each arm at its operating point, as each law that was tried has it."""
    rows: list[Row] = []
    for arm in arms(analysis):
        asked = {"recipe": arm.recipe, "arm": arm.name, "response": main_response(analysis)}
        for comparison in analysis.get("comparisons") or ():
            if asked.items() <= comparison.items() and comparison["at"][1]:
                rows += answers(comparison, fit_of(fits, **asked), arm.title)
    return _tidy(rows)


def real_ladder(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """Cross-entropy and error of every real-only cell with its trials, and the real-only curve of the first fit."""
    rows: list[Row] = []
    for recipe in recipes(analysis):
        title, cells = _real_title(analysis, recipe), ladder(analysis, recipe)
        for response in RESPONSES:
            fit = fit_of(fits, recipe=recipe, response=response)
            sizes = [cell["n_real"] for cell in cells]
            rows += real_curve(fit, title, sizes) if fit is not None and sizes else []
        for cell in cells:
            rows += _response_rows(table, title, None, recipe, cell, cell["n_real"])
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


def _budget(table: Frame, arm: Arm, cell: Row) -> float:
    return real_budget(table, arm.name, arm.recipe, cell["n_real"], cell["n_synthetic"])


def _ordered(analysis: dict[str, Any]) -> list[str]:
    return sorted(RESPONSES, key=lambda response: response != main_response(analysis))


def _real_title(analysis: dict[str, Any], recipe: str) -> str:
    return f"{REAL_ONLY}, {recipe}" if len(recipes(analysis)) > 1 else REAL_ONLY


def _law(fit: Fit | None, quantity: str, arm: Arm, analysis: dict[str, Any]) -> list[Row]:
    """The law's rows of an arm; those of equivalents with the ends of the real-only ladder."""
    rows = [] if fit is None else bands(fit, quantity, arm.title, arm.cells)
    if not quantity.startswith("equivalent"):
        return rows
    return [row | _measured_range(analysis, arm.recipe, row["n_real"]) for row in rows]


def _equivalent_rows(table: Frame, analysis: dict[str, Any], arm: Arm, quantity: str) -> Iterator[Row]:
    """The answer of every cell, and beside the law's what the ladder alone says."""
    response = quantity.partition(".")[2]
    for cell in arm.cells:
        limits = _measured_range(analysis, arm.recipe, cell["n_real"])
        for name, kind in ((quantity, "mean"), (f"inversion.{response}", "inversion")):
            value = interval(cell, name)
            if value is not None and not (kind == "inversion" and inverted(cell, response)):
                row = _mean_row(quantity, arm.title, cell, _budget(table, arm, cell), value)
                yield {**row, **limits, "kind": kind}


def _mean_row(quantity: str, series: str, cell: Row, budget: float, value: Interval) -> Row:
    about = {"quantity": quantity, "series": series, "kind": "mean", "replicates": cell["replicates"]}
    return {**about, **_identity(cell), "real_budget": budget, **parts(value)}


def _identity(cell: Row) -> Row:
    generator = cell.get("n_generator") if cell.get("n_synthetic") else None
    return {"n_real": cell["n_real"], "n_synthetic": cell.get("n_synthetic", 0), "n_generator": generator}


def _cell_row(response: str, arm: Arm, cell: Row) -> Row:
    """A measured cell in the plane, with its mean response."""
    value = interval(cell, response) or withheld("not measured")
    return _mean_row(response, arm.title, cell, math.nan, value)


def _residual_rows(table: Frame, analysis: dict[str, Any], arm: Arm, fit: Fit) -> list[Row]:
    rows: list[Row] = []
    for cell in (*ladder(analysis, arm.recipe), *arm.cells):
        name = arm.name if cell.get("n_synthetic") else None
        at = (cell["n_real"], cell.get("n_synthetic", 0), cell.get("n_generator") or cell["n_real"])
        law = expected(fit, *at)
        own = _response_rows(table, arm.title, name, arm.recipe, cell, math.nan)
        found = [row for row in own if row["quantity"] == fit.response and row["kind"] in ("mean", "trial")]
        rows += [{**row, "law": fit.law, **_off(row, law)} for row in found if math.isfinite(law)]
    return rows


def _off(row: Row, law: float) -> Row:
    """A row's response as per cent above what the law expects."""
    read = {name: row.get(name) for name in ("point", "low", "high")}
    off = {name: math.nan if value is None else 100 * (value / law - 1) for name, value in read.items()}
    return {"quantity": f"residual.{row['quantity']}", **off, "floor": math.nan, "ceiling": math.nan}


def _response_rows(table: Frame, series: str, arm: str | None, recipe: str, cell: Row, budget: float) -> list[Row]:
    """The mean of a cell in each response, and a row for each of its trials."""
    trials = cell_trials(table, arm, recipe, cell["n_real"], cell.get("n_synthetic", 0))
    rows = []
    for response in (name for name in RESPONSES if name in table):
        value = interval(cell, response)
        rows += [] if value is None else [_mean_row(response, series, cell, budget, value)]
        about = {"quantity": response, "series": series, **_identity(cell)}
        for _, trial in trials.iterrows():
            point = math.nan if trial.get("status") == "diverged" else float(trial[response])
            kind = "trial" if math.isfinite(point) else "diverged"
            rows.append({**about, "real_budget": budget, "kind": kind, "replicates": 1, "point": point})
    return rows


def _measured_range(analysis: dict[str, Any], recipe: str, n_real: float) -> dict[str, float]:
    """The added equivalents at which the real-only ladder ends: beyond them an answer is censored."""
    sizes = [row["n_real"] for row in ladder(analysis, recipe)] or [math.nan]
    return {"floor": min(sizes) - n_real, "ceiling": max(sizes) - n_real}


def _tidy(rows: list[Row]) -> Frame:
    """Rows as a table of `COLUMNS`, numbers as floats with NaN for nothing and for an unbounded side."""
    table: Frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name not in TEXTS]
    finite = table[numbers].apply(pd.to_numeric).replace([math.inf, -math.inf], math.nan)
    return table.assign(**finite, **{name: table[name].fillna("") for name in TEXTS})
