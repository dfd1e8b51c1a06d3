"""Curves read back from MLflow, as aligned text. Which rows there are is the business of `queries`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from realfake.columns import grid
from realfake.intervals import Interval
from realfake.responses import PRINTED, RESPONSES, SHARES, heading, measured
from realfake.tables import count, mixture

TITLES = {
    "equivalent": "added real\nequivalent",
    "effective": "effective\nsize",
    "value": "value of\none more",
    "average_value": "average\nvalue",
    **{name: heading(name) for name in RESPONSES},
}
INDEPENDENT = "Probabilities are shares of pairs of draws; the draws of two curves count as independent."


def curves(rows: Iterable[dict[str, Any]], width: int = 120) -> str:
    """Rows of ``queries.curves``, a row a cell, as aligned text, an interval in one column."""
    rows = list(rows)
    there = measured(name for name in RESPONSES for row in rows if not math.isnan(row.get(name, math.nan)))
    quantities = (*(name for name in PRINTED if name in there), "equivalent", "value")
    printed = [[*_labels(row), *(_read_back(row, name) for name in quantities)] for row in rows]
    return "\n".join(
        grid(("study", "arm", "real", "synthetic", *(TITLES[name] for name in quantities)), printed, width)
    )


def _labels(row: dict[str, Any]) -> list[str]:
    return [str(row["study"]), str(row["arm"]), count(row["n_real"]), count(row["n_synthetic"])]


def _read_back(row: dict[str, Any], name: str) -> str:
    censored = row[f"{name}_censored"] if isinstance(row.get(f"{name}_censored"), str) else ""
    point = row[f"{name}_bound"] if censored in ("above", "below") else row[name]
    if point != point and censored != "withheld":  # NaN: a real-only row has no equivalent
        return "–"
    value = Interval(point, row[f"{name}_low"], row[f"{name}_high"], censored)
    return str(value.scaled(100) if name in SHARES else value)


def answers(rows: list[dict[str, Any]], width: int = 120) -> str:
    """Rows of ``queries.curves``, a row an answer, as aligned text; below it who is better, and what was withheld."""
    if not rows:
        return "nothing was measured there"
    metric, several = rows[0]["metric"], len({row["recipe"] for row in rows}) > 1
    recipe = ("recipe",) if several else ()
    header = ("study", "arm", *recipe, "real", "synthetic", TITLES[metric], "by")
    printed = [
        [row["study"], row["arm"], *(row[name] for name in recipe), *_labels(row)[2:], _worth(row), _by(row)]
        for row in rows
    ]
    said = [*_odds(rows), *(f"{_name(row, rows)} at {mixture(row)}: {row['reason']}." for row in rows if row["reason"])]
    below = [textwrap.fill(text, width, subsequent_indent="  ") for text in said]
    return "\n".join([*grid(header, printed, width), *(["", *below] if below else [])])


def _worth(row: dict[str, Any]) -> str:
    point = row["bound"] if row["censored"] in ("above", "below") else row["point"]
    limits = {name: row[name] for name in ("low", "high", "censored", "reason", "floor", "ceiling")}
    value = Interval(point, **limits)
    return str(value.scaled(100) if row["metric"] in SHARES else value)


def _by(row: dict[str, Any]) -> str:
    """How an answer was found: "law peaked (and 1 more), cross-entropy"; nothing where there is none."""
    if not row["by"]:
        return ""
    others = len(row["spanned_laws"].split(", ")) if row["spanned_laws"] else 0
    also = f" (and {others} more)" if others else ""
    law = f"law {row['law']}{also}"
    how = row["by"].replace("law", law) if row["law"] else row["by"]
    response = "" if row["metric"] == row["response"] else RESPONSES[row["response"]]
    return ", ".join(filter(None, (how, response)))


def _name(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What tells a curve from the others: its study, its arm or its recipe."""
    parts = [name for name in ("study", "arm", "recipe") if len({other[name] for other in rows}) > 1]
    return " ".join(row[name] for name in parts or ["arm"])


def _odds(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A line for every pair of answers at one point."""
    pairs = [(row, other) for i, row in enumerate(rows) for other in _versus(row, rows[i + 1 :])]
    if pairs:
        yield INDEPENDENT
    for row, (other, odds) in pairs:
        better = f"At {mixture(row)}, {_name(row, rows)} is better than {_name(other, rows)}"
        if odds["probability"] is None:
            yield f"{better}: no probability ({odds['why']})."
            continue
        low, high = _share(odds["low"]), _share(odds["high"])
        by_law = f" ({low} to {high} by the laws that predict as well)" if low != high else ""
        yield f"{better} with probability {_share(odds['probability'])}{by_law}."


def _versus(row: dict[str, Any], later: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The later rows at the same point, each with what `row` holds against it."""
    if not row["versus"]:
        return
    at = [other for other in later if (other["n_real"], other["n_synthetic"]) == (row["n_real"], row["n_synthetic"])]
    yield from zip(at, row["versus"][len(row["versus"]) - len(at) :], strict=True)


def _share(probability: float) -> str:
    """Two digits, and never certainty: draws do not carry it."""
    return "< 0.01" if probability < 0.005 else "> 0.99" if probability > 0.995 else f"{probability:.2f}"
