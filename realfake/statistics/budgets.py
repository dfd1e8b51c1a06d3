"""Whether an answer hangs on the budget rule: the same arm and cell under recipes that differ in their budget alone.

Equal examples seen, equal epochs and equal passes over the real images are different experiments: an arm that is worth
much under one and little under another measures the budget as well as the images. For every cell and every such recipe
the difference of the two answers is formed, with the interval that follows from theirs (MOVER: Zou & Donner 2008,
Statistics in Medicine 27:1693, eq. for θ₁ − θ₂ of independent estimates). Both share subsets, pools and test images,
which narrows the difference and is left out: the safe side. Where that interval leaves out 0, the cell is
*budget-limited*. Where equivalents cannot tell (withheld, or both beyond the ladder), the difference of the mean
response to that of the real images alone is compared.

Here: these comparisons, from cells of the document and the budgets of its recipes. Not here: what is declared
beforehand, with an adjustment for many comparisons (`Claim(minus_recipe=…)`, in `claims`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from realfake.intervals import Interval, withheld
from realfake.statistics.trial_table import REAL_ONLY, Frame

Cell = dict[str, Any]


def budgets_of(table: Frame) -> dict[str, str]:
    """The budget rule of every recipe of a `normalised` table that has one: {"cnn 60 epochs": "epochs=60"}."""
    found = {str(recipe): set(rows["budget"].astype(str)) - {""} for recipe, rows in table.groupby("recipe")}
    return {recipe: next(iter(rules)) for recipe, rules in found.items() if len(rules) == 1}


def without_budget(recipe: str, budget: str) -> str:
    """The name of a recipe without its budget, which it holds as "60 epochs" (`records.recipes`)."""
    rule, _, amount = budget.partition("=")
    told = f"{amount} {rule.replace('_', ' ')}"
    return f" {recipe} ".replace(f" {told} ", " ").strip()


def alike(budgets: dict[str, str]) -> dict[str, list[str]]:
    """For every recipe the others that differ from it in their budget alone."""
    rest = {recipe: without_budget(recipe, budget) for recipe, budget in budgets.items()}
    return {
        recipe: [other for other in budgets if rest[other] == rest[recipe] and budgets[other] != budgets[recipe]]
        for recipe in budgets
    }


def add_other_budgets(cells: list[Cell], budgets: dict[str, str], response: str) -> None:
    """Give every mixed cell `other_budgets`: a row for each recipe that has it and differs in its budget alone."""
    at = {_place(cell, cell["recipe"]): cell for cell in cells}
    others = alike(budgets)
    for cell in (cell for cell in cells if cell["arm"] != REAL_ONLY):
        there = [at.get(_place(cell, recipe)) for recipe in others.get(cell["recipe"], ())]
        cell["other_budgets"] = [
            {"recipe": other["recipe"], "budget": budgets[other["recipe"]], **_compared(cell, other, at, response)}
            for other in there
            if other is not None
        ]


def _place(cell: Cell, recipe: str) -> tuple[Any, ...]:
    generator = [cell["n_generator"]] if cell["n_synthetic"] else []
    return recipe, cell["arm"], cell["n_real"], cell["n_synthetic"], *generator


def _compared(cell: Cell, other: Cell, at: dict[tuple[Any, ...], Cell], response: str) -> dict[str, Any]:
    """The first pair of answers that can be compared, their difference, and whether it leaves out 0."""
    for quantity, here, there in _answers(cell, other, at, response):
        difference = less(there, here)
        if not math.isnan(difference.point):
            limited = bool(difference.low > 0 or difference.high < 0)  # plain, for JSON
            found = {"here": here, "there": there, "difference": difference}
            return {"quantity": quantity, **{k: v.to_json() for k, v in found.items()}, "limited": limited}
    return {"quantity": "", "limited": False}


def _answers(
    cell: Cell, other: Cell, at: dict[tuple[Any, ...], Cell], response: str
) -> Iterator[tuple[str, Interval, Interval]]:
    """The equivalents of both cells, and the differences of their response to that of the real images alone."""
    here, there = (Interval.from_json(one["equivalent"][response]) for one in (cell, other))
    if not here.censored or here.censored != there.censored:
        yield "equivalent", here, there
    gains = [_gain(one, at.get((one["recipe"], REAL_ONLY, cell["n_real"], 0)), response) for one in (cell, other)]
    yield "response", gains[0], gains[1]


def _gain(cell: Cell, alone: Cell | None, response: str) -> Interval:
    """The mean response of a cell less that of the real images alone."""
    if alone is None:
        return withheld("no real-only trial")
    return less(Interval.from_json(cell[response]), Interval.from_json(alone[response]))


def less(a: Interval, b: Interval) -> Interval:
    """a − b of independent estimates, its interval from theirs (MOVER). A bound counts as the value nearest to it."""
    point = a.point - b.point
    down, up = (a.point - a.low, b.high - b.point), (a.high - a.point, b.point - b.low)
    return Interval(point, point - math.hypot(*down), point + math.hypot(*up))
