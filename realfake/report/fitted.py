"""What fitted laws say, as rows of the figures' tables: bands over volumes, lines of equal response and cost, answers.

Every fit is read back from the analysis with its draws, so a band is what the fit itself answers, and spans the laws
that predict as well. A law that its lack-of-fit test rejects keeps its curve and loses its band. Here: rows, as plain
dicts of the columns that `figures` names. Not here: measured cells (`figures`), the laws (`laws`), drawing (`planes`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from realfake.flat_rows import flat_interval
from realfake.intervals import Interval
from realfake.laws import LAWS, POWER
from realfake.planning.contours import contours, levels
from realfake.planning.costs import Costs, PlanError
from realfake.planning.plans import UNREACHED, plan
from realfake.planning.surface import Surface
from realfake.statistics.equivalence import Fit

Row = dict[str, Any]
POINTS, LINE_POINTS = 28, 120  # of a curve, of a line of equal cost, which is steep at its end
PRICES = (1.0, 0.1, 0.01)  # of a synthetic image, a real one costing 1
NEAREST_LEVELS = 0.08  # of the ladder, on a log scale: a contour that is nearer to the one of the target is left out
POINT_DRAWS = 20  # of a fit that is asked for its point alone
REJECTED = "the law does not fit"


def fits_of(analysis: dict[str, Any]) -> list[Fit]:
    """The fits of an analysis that hold all that is needed to ask them; older documents hold less."""
    return [Fit.from_json(values) for values in analysis["fits"] if _complete(values)]


def _complete(values: dict[str, Any]) -> bool:
    law = {**LAWS, POWER.name: POWER}.get(values["law"])
    held = all(field.name in values for field in dataclasses.fields(Fit))
    known = law is not None and held and len(values["point"]) == len(law.parameter_names)
    return known and all(map(_complete, values["alternatives"]))


def fit_of(fits: Iterable[Fit], *, recipe: str, response: str, arm: str | None = None) -> Fit | None:
    """The fit of a recipe and response; of this arm, or the first one."""
    asked = (fit for fit in fits if (fit.recipe, fit.response) == (recipe, response))
    return next((fit for fit in asked if arm is None or fit.arm == arm), None)


def rejected(fit: Fit) -> bool:
    """Say whether the lack-of-fit test rejects the law."""
    return fit.lack_of_fit is not None and fit.lack_of_fit.fails


def parts(value: Interval) -> Row:
    """An interval as the columns of a figure's table."""
    flat = {name.removeprefix("x_"): part for name, part in flat_interval(value, "x").items()}
    point = flat.pop("x")
    return {**flat, "point": point, "floor": value.floor, "ceiling": value.ceiling}


# -------------------------------------------------------------------------------------------------------------- bands


def bands(fit: Fit, quantity: str, series: str, cells: Iterable[Row]) -> list[Row]:
    """The law between the smallest and largest measured volume of every real size and generator of `cells`.

    `quantity` is that of the figure: a response, "equivalent.<response>" or "value".
    """
    volumes: dict[tuple[float, float], list[float]] = {}
    for cell in cells:
        volumes.setdefault((cell["n_real"], cell["n_generator"]), []).append(cell["n_synthetic"])
    grids = {key: np.geomspace(min(m), max(m), POINTS) for key, m in volumes.items() if len(set(m)) > 1}
    return [_law_row(fit, quantity, series, n, m, generator) for (n, generator), grid in grids.items() for m in grid]


def real_curve(fit: Fit, series: str, sizes: Iterable[float]) -> list[Row]:
    """The real-only curve of the law over the real-only ladder."""
    grid = np.geomspace(min(sizes := list(sizes)), max(sizes), POINTS)
    return [_law_row(fit, fit.response, series, n, 0, n) for n in grid] if len(set(sizes)) > 1 else []


def _law_row(fit: Fit, quantity: str, series: str, n: float, m: float, generator: float) -> Row:
    ask: dict[str, Callable[..., Interval]] = {"equivalent": fit.equivalent, "value": fit.value}
    answer = ask.get(quantity.partition(".")[0], fit.error)(n, m, generator)
    at = {"n_real": n, "n_synthetic": m, "n_generator": generator}
    return {"quantity": quantity, "series": series, "kind": "law", "law": fit.law, **at, **_believed(fit, answer)}


def _believed(fit: Fit, answer: Interval) -> Row:
    """An answer without its interval where the law is rejected."""
    if not rejected(fit):
        return parts(answer)
    return {"point": parts(answer)["point"], "censored": answer.censored, "reason": REJECTED}


def expected(fit: Fit, n: float, m: float, generator: float) -> float:
    """The response that the law itself expects, at its point estimate; not that of laws that predict as well."""
    return float(fit.formula.error(fit.point, n, m, generator))


# ------------------------------------------------------------------------------------------ the plane of n_real and m


def plane(fit: Fit, series: str, at: tuple[float, float]) -> list[Row]:
    """Lines of equal response, and for each of `PRICES` the line of equal cost through the cheapest mix.

    That mix reaches what the law expects `at` (n, m). Nothing where no mixture was measured beside real images, or
    where the generator of a mixture in between is not known.
    """
    if not any(n > 0 for n, _ in fit.measured.generator_sizes):
        return []
    try:
        surfaces = [Surface(one) for one in (fit, *fit.alternatives)]
    except PlanError:
        return []
    target = expected(fit, *at, fit.measured.generator(at[0]))
    common = {"series": series, "law": fit.law}
    rows = [row for line in contours(surfaces, _levels(surfaces[0], target)) for row in _contour(fit, line)]
    rows += [] if rejected(fit) else [row for price in PRICES for row in _budget(fit, price, target)]
    return [{**common, **row} for row in rows]


def _levels(surface: Surface, target: float) -> list[float]:
    """The target and responses of the ladder that lie far enough from it for their lines to be told apart."""
    measured = surface.fit.measured
    sizes = {y: surface.needed(np.zeros(1), y)[0, 0] for y in levels(surface, target)}
    apart = (measured.n_max / measured.n_min) ** NEAREST_LEVELS
    return [y for y, n in sizes.items() if y == target or not 1 / apart < n / sizes[target] < apart]


def _contour(fit: Fit, line: dict[str, Any]) -> list[Row]:
    banded = not rejected(fit)
    return [
        {
            "quantity": fit.response,
            "kind": "contour",
            "point": line["response"],
            "n_synthetic": m,
            "n_real": n,
            "n_real_low": low if banded else None,
            "n_real_high": high if banded else None,
            "reason": "" if banded else REJECTED,
        }
        for m, n, low, high in zip(*(line[key] for key in ("n_synthetic", "n_real", "low", "high")), strict=True)
    ]


def _budget(fit: Fit, price: float, target: float) -> list[Row]:
    """The cheapest mix that reaches the target if a synthetic image costs `price`, and all that costs as much."""
    costs = Costs(real=1.0, synthetic=price)
    alone = dataclasses.replace(fit, draws=fit.draws[:POINT_DRAWS], alternatives=())
    found = plan(alone, target=target, costs=costs)
    if found.verdict == UNREACHED:
        return []
    cost, mix = found.mix.cost.point, found.mix
    best = {"n_real": mix.n_real.point, "n_synthetic": mix.n_synthetic.point}
    cheapest = {"kind": "cheapest", "quantity": fit.response, "point": target, "price": price, **best}
    about = {"kind": "budget", "quantity": "cost", "point": cost, "price": price}
    return [cheapest, *({**about, **place} for place in _line(Surface(alone), costs, cost))]


def _line(surface: Surface, costs: Costs, cost: float) -> list[Row]:
    """Where so much is spent, inside the ladder."""
    _, first, *_, last = surface.volumes
    grid = np.append(0.0, np.geomspace(first, last, LINE_POINTS))
    sizes = surface.affordable(grid, cost, costs)[0]
    inside = np.isfinite(sizes) & (sizes < surface.fit.measured.n_max)
    return [{"n_synthetic": m, "n_real": n} for m, n in zip(grid[inside], sizes[inside], strict=True)]


# ------------------------------------------------------------------------------------------------------ law by law


def answers(comparison: dict[str, Any], fit: Fit | None, series: str) -> list[Row]:
    """The equivalent at the operating point as each law of a comparison has it, and as all laws of the set span it."""
    n, m = comparison["at"]
    about = {"quantity": f"equivalent.{comparison['response']}", "series": series, "n_real": n, "n_synthetic": m}
    rows = [
        {**about, "law": law["law"], "kind": "in the set" if law["in_set"] else "outside the set"}
        | parts(Interval.from_json(law["equivalent"]))
        for law in comparison["laws"]
        if law["equivalent"]
    ]
    whole = [] if fit is None else [{**about, "law": fit.law, "kind": "set", **parts(fit.equivalent(n, m))}]
    return rows + whole
