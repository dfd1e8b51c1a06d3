"""The numbers behind each figure, as tidy tables: what is drawn, and what is written as CSV beside the drawing.

Here: which cells, trials, curves and bounds each figure shows. Not here: the columns and rows of what was measured
(`cell_rows`) and of fitted laws (`fitted`), matplotlib (`drawing`), or any estimate (`fits`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from realfake.intervals import withheld
from realfake.report.cell_rows import Frame, mean_row, real_budget, response_rows, tidy
from realfake.report.fitted import Row, answers, bands, expected, fit_of, fits_of, plane, real_curve
from realfake.statistics.currencies import setting
from realfake.statistics.equivalence import Fit
from realfake.tables import REAL_ONLY, Arm, arms, interval, inverted, ladder, main_response, recipes
from realfake.tables import responses as responses_of


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
        for response in responses_of(analysis):
            about = (table, analysis, arm, f"equivalent.{response}")
            fit = fit_of(fits, recipe=arm.recipe, response=response, arm=arm.name)
            rows += _apart([*_law(fit, about[3], arm, analysis), *_equivalent_rows(*about)], arm)
    return tidy(rows)


def values(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """Value of one more synthetic image in every cell, and by the law in between; nothing where no law was fitted."""
    rows: list[Row] = []
    for arm in arms(analysis):
        held = [(cell, value) for cell in arm.cells if (value := interval(cell, "value")) is not None]
        fit = fit_of(fits, recipe=arm.recipe, response=main_response(analysis), arm=arm.name)
        told = any(value.censored != "withheld" for _, value in held)
        rows += _apart(_law(fit, "value", arm, analysis) if told else [], arm)
        own = [mean_row("value", arm.title, cell, _budget(table, arm, cell), value) for cell, value in held]
        rows += _apart(own, arm)
    return tidy(rows if fits or any(row["censored"] != "withheld" for row in rows) else [])


def responses(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """Every response of every cell with its trials, the law, and real-only cells at the same real sizes.

    What is priced in images of the tested domain too stands here once.
    """
    rows: list[Row] = []
    shown = [arm for arm in arms(analysis) if arm.title == arm.name or not setting(arm.recipe).own]
    for arm in shown:
        for response in responses_of(analysis):
            fit = fit_of(fits, recipe=arm.recipe, response=response, arm=arm.name)
            rows += _apart(_law(fit, response, arm, analysis), arm)
        for cell in arm.cells:
            own = response_rows(table, arm.title, arm.name, arm.recipe, cell, _budget(table, arm, cell))
            rows += _apart(own, arm)
    for recipe in {arm.recipe: None for arm in shown}:
        mixed = {cell["n_real"] for arm in shown if arm.recipe == recipe for cell in arm.cells}
        named = {"recipe": recipe if len(recipes(analysis)) > 1 else ""}
        for cell in ladder(analysis, recipe):
            if cell["n_real"] in mixed:
                own = response_rows(table, REAL_ONLY, None, recipe, cell, cell["n_real"])
                rows += [{**row, **named} for row in own]
    return tidy(rows)


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
    return tidy(rows)


def residuals(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """How far every cell and trial lies from the law of its arm, in per cent of what the law expects."""
    rows: list[Row] = []
    for arm in arms(analysis):
        fit = fit_of(fits, recipe=arm.recipe, response=main_response(analysis), arm=arm.name)
        if fit is not None:
            rows += _residual_rows(table, analysis, arm, fit)
    return tidy(rows)


def law_answers(analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """The main equivalent of each arm at its operating point, as each law that was tried has it."""
    rows: list[Row] = []
    for arm in arms(analysis):
        asked = {"recipe": arm.recipe, "arm": arm.name, "response": main_response(analysis)}
        for comparison in analysis.get("comparisons") or ():
            if asked.items() <= comparison.items() and comparison["at"][1]:
                rows += answers(comparison, fit_of(fits, **asked), arm.title)
    return tidy(rows)


def real_ladder(table: Frame, analysis: dict[str, Any], fits: list[Fit]) -> Frame:
    """Every response of every real-only cell with its trials, and the real-only curve of the first fit."""
    rows: list[Row] = []
    for recipe in recipes(analysis):
        title, cells = _real_title(analysis, recipe), ladder(analysis, recipe)
        for response in responses_of(analysis):
            fit = fit_of(fits, recipe=recipe, response=response)
            sizes = [cell["n_real"] for cell in cells]
            rows += real_curve(fit, title, sizes) if fit is not None and sizes else []
        for cell in cells:
            rows += response_rows(table, title, None, recipe, cell, cell["n_real"])
    return tidy(rows)


# ------------------------------------------------------------------------------------------------------------- rows


def _apart(rows: list[Row], arm: Arm) -> list[Row]:
    """Rows by arm and recipe, which has panels of its own, where there are several."""
    return rows if arm.title == arm.name else [{**row, "series": arm.name, "recipe": arm.recipe} for row in rows]


def _budget(table: Frame, arm: Arm, cell: Row) -> float:
    return real_budget(table, arm.name, arm.recipe, cell["n_real"], cell["n_synthetic"])


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
                row = mean_row(quantity, arm.title, cell, _budget(table, arm, cell), value)
                yield {**row, **limits, "kind": kind}


def _cell_row(response: str, arm: Arm, cell: Row) -> Row:
    """A measured cell in the plane, with its mean response."""
    value = interval(cell, response) or withheld("not measured")
    return mean_row(response, arm.title, cell, math.nan, value)


def _residual_rows(table: Frame, analysis: dict[str, Any], arm: Arm, fit: Fit) -> list[Row]:
    rows: list[Row] = []
    for cell in (*ladder(analysis, arm.recipe), *arm.cells):
        name = arm.name if cell.get("n_synthetic") else None
        at = (cell["n_real"], cell.get("n_synthetic", 0), cell.get("n_generator") or cell["n_real"])
        law = expected(fit, *at)
        own = response_rows(table, arm.title, name, arm.recipe, cell, math.nan)
        found = [row for row in own if row["quantity"] == fit.response and row["kind"] in ("mean", "trial")]
        rows += [{**row, "law": fit.law, **_off(row, law)} for row in found if math.isfinite(law)]
    return rows


def _off(row: Row, law: float) -> Row:
    """A row's response as per cent above what the law expects."""
    read = {name: row.get(name) for name in ("point", "low", "high")}
    off = {name: math.nan if value is None else 100 * (value / law - 1) for name, value in read.items()}
    return {"quantity": f"residual.{row['quantity']}", **off, "floor": math.nan, "ceiling": math.nan}


def _measured_range(analysis: dict[str, Any], recipe: str, n_real: float) -> dict[str, float]:
    """The added equivalents at which the real-only ladder ends: beyond them an answer is censored."""
    sizes = [row["n_real"] for row in ladder(analysis, recipe)] or [math.nan]
    return {"floor": min(sizes) - n_real, "ceiling": max(sizes) - n_real}
