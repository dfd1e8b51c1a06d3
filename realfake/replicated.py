"""What trials of one cell differ by, as text: a table of its sources of noise, and how often to repeat what.

Here: rows and sentences for the terminal and the report. Not here: the numbers (`statistics.components`).
"""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

from realfake.columns import grid
from realfake.intervals import Interval
from realfake.responses import RESPONSES
from realfake.tables import count, mixture, shown

TITLE = "What trials of one cell differ by"
HEADER = ("cell", "source", "seeds", "SD in %", "share of the variance")
READING = (
    "SD of a response by everything that is drawn anew, relative to the response, with its 95 % interval; the share is "
    "that of the variance of one trial. A source counts what changes only together with it."
)
AHEAD = 3  # draws, for which it is said how well they tell a mean


def rows(analysis: dict[str, Any]) -> list[list[str]]:
    """The sources of noise of every cell that tells them apart, under `HEADER`; none where no seeds are nested."""
    return [line for cell in analysis.get("components") or () for line in _lines(cell)]


def _lines(cell: dict[str, Any]) -> list[list[str]]:
    lines = []
    for part in cell["components"]:
        sd = shown(Interval.from_json(part["sd"]).scaled(100))
        lines.append(["" if lines else _name(cell), part["source"], count(part["count"]), sd, f"{part['share']:.0%}"])
    return lines


def _name(cell: dict[str, Any]) -> str:
    return f"{count(cell['n_real'])} {cell['arm']}" if not cell["n_synthetic"] else f"{mixture(cell)} {cell['arm']}"


def notes(analysis: dict[str, Any]) -> list[str]:
    """How to read the table, and for every cell what to repeat how often, where it is known what things cost."""
    found: list[dict[str, Any]] = analysis["components"]
    return [f"{READING} In {RESPONSES[found[0]['response']]}.", *(_advice(one) for one in found if one["replication"])]


def _advice(cell: dict[str, Any]) -> str:
    best = cell["replication"]
    names = list(best["each"])
    each = [f"{count(best['each'][name], name)} for each {around}" for around, name in itertools.pairwise(names)]
    *most, last = each
    made = " and ".join(filter(None, (", ".join(most), last)))
    costs = ", ".join(f"a {name} {seconds:.3g} s" for name, seconds in cell["costs"].items() if seconds)
    known = best["sd"] / AHEAD**0.5
    return (
        f"{_name(cell)}: for what things cost ({costs}), {made} tell most, {best['seconds']:.3g} s in "
        f"all; {AHEAD} such draws know the mean of the cell with an SD of {known:.1%}."
    )


def block(analysis: dict[str, Any], width: int) -> list[str]:
    """The table and what is said of it, as text of so many columns."""
    if not (table := rows(analysis)):
        return []
    below = [textwrap.fill(note, width, subsequent_indent="  ") for note in notes(analysis)]
    return ["\n".join([TITLE, *grid(HEADER, table, width), *below])]
