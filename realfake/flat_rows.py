"""Every cell of an analysis as a flat row of plain values, for CSV and JSON.

Here: columns and rows. Not here: the same as text (`tables`), the rows of trials (`records`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from realfake.intervals import Interval
from realfake.tables import REAL_ONLY, arms, columns, interval, responses

IDENTITY = ("arm", "recipe", "n_real", "n_synthetic", "n_generator", "replicates", "diverged")


def csv_rows(analysis: dict[str, Any]) -> list[dict[str, Any]]:
    """One flat row a cell, real-only cells included, of plain values.

    A quantity x fills x, x_low, x_high, x_bound, x_censored and x_reason; x is None where it is censored or withheld
    (the bound is in x_bound), and a side is None where it is unbounded.
    """
    real_only = [{**row, "arm": REAL_ONLY, "n_synthetic": 0} for row in analysis["ladder"]]
    synthetic = [cell for arm in arms(analysis) for cell in arm.cells]
    equivalents = [f"equivalent.{name}" for name in responses(analysis)]
    quantities = (*columns(analysis), *equivalents, "value", "average_value", "resolution")
    return [_flat(cell, quantities) for cell in (*real_only, *synthetic)]


def _flat(cell: dict[str, Any], quantities: Iterable[str]) -> dict[str, Any]:
    row = {name: cell.get(name) for name in IDENTITY} | {"equivalent_by": cell.get("equivalent_by")}
    for quantity in quantities:
        row |= flat_interval(interval(cell, quantity), quantity.replace(".", "_"))
    return row


def flat_interval(value: Interval | None, name: str) -> dict[str, Any]:
    """An interval as columns; the point of a censored one is a bound, and stands apart so that no one averages it."""
    parts = {} if value is None else value.to_json()
    censored = parts.get("censored", "")
    bound = parts.get("point") if censored in ("above", "below") else None
    return {
        name: None if censored else parts.get("point"),
        f"{name}_low": parts.get("low"),
        f"{name}_high": parts.get("high"),
        f"{name}_bound": bound,
        f"{name}_censored": censored,
        f"{name}_reason": parts.get("reason", ""),
    }
