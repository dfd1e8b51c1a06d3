"""Lines in the plane of real and synthetic images: equal response (with its band) and equal cost; and their intervals.

Rows are those of a `Surface`: the point first, then the draws; several surfaces are laws that predict as well, whose
intervals span each other's. Here: the lines, as plain lists. Not here: which purchase is best (`planning`), figures.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realfake.intervals import Interval, interval_of_draws, spanning
from realfake.laws import Array
from realfake.planning.costs import Costs
from realfake.planning.surface import Surface

LEVELS = 4  # contours beside that of the target


def levels(surface: Surface, target: float | None) -> list[float]:
    """Responses to draw, high to low: the target, and those of labels alone at sizes between the ladder's ends."""
    measured = surface.fit.measured
    sizes = np.geomspace(measured.n_min, measured.n_max, LEVELS + 2)[1:-1]
    between = [float(f"{value:.2g}") for value in surface.response(sizes, np.zeros(LEVELS))[0]]
    return sorted({*between, *([] if target is None else [target])}, reverse=True)


def contours(surfaces: list[Surface], responses: list[float]) -> tuple[dict[str, Any], ...]:
    """For each response the (n, m) expected to give it; n_real, low and high are None where the ladder ends."""
    volumes, lines = surfaces[0].volumes, []
    for response in responses:
        needed = [surface.needed(volumes, response) for surface in surfaces]
        sizes = [real_sizes(surfaces, [rows[:, at] for rows in needed]) for at in range(len(volumes))]
        n_real = [None if size.censored else size.point for size in sizes]
        sides = {side: [size.to_json()[side] for size in sizes] for side in ("low", "high")}
        lines.append({"response": response, "n_synthetic": volumes.tolist(), "n_real": n_real, **sides})
    return tuple(lines)


def budget_line(surface: Surface, costs: Costs, cost: float) -> dict[str, Any]:
    """The (n, m) that cost so much; n_real is None where that is outside the ladder."""
    volumes = surface.volumes
    sizes = surface.affordable(volumes, cost, costs)[0]
    inside = np.isfinite(sizes) & (sizes < surface.fit.measured.n_max)
    found = [float(n) if shown else None for n, shown in zip(sizes, inside, strict=True)]
    return {"cost": cost, "n_synthetic": volumes.tolist(), "n_real": found}


def real_sizes(surfaces: list[Surface], rows: list[Array]) -> Interval:
    """The interval of real sizes (b,), one array a law, censored where the ladder ends: at its start fewer might do."""
    measured = surfaces[0].fit.measured
    fewer = [np.where(row <= measured.n_min * (1 + 1e-9), -np.inf, row) for row in rows]
    return spanned(fewer, floor=measured.n_min, ceiling=measured.n_max)


def responses(surfaces: list[Surface], n: float, m: float) -> Interval:
    """The interval of the expected response at (n, m)."""
    return spanned([surface.response(n, m)[:, 0] for surface in surfaces])


def spanned(rows: list[Array], floor: float = -np.inf, ceiling: float = np.inf) -> Interval:
    """The interval of rows (b,), point first, one array a law, spanning all of them."""
    return spanning([interval_of_draws(float(row[0]), row[1:], floor=floor, ceiling=ceiling) for row in rows])
