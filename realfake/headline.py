"""The answer of a study with several recipes at a glance: arms down, test sets and currencies across.

Here: this table as plain cells, its sentences by recipe, and both as text for the terminal. Not here: tables of single
arms (`tables`), their markup (`report`), the sentences (`statistics.sentences`).
"""

from __future__ import annotations

import textwrap
from typing import Any

from realfake.columns import grid
from realfake.statistics.currencies import setting
from realfake.tables import (
    HEADER_LETTERS,
    LABEL_LETTERS,
    NOTHING,
    arms,
    count,
    interval,
    main_response,
    mark,
    recipes,
    shown,
)

Place = tuple[str, int, int]  # arm, n_real, n_synthetic
MANY = 12  # sentences, beyond which the table is the answer and they stand apart


def title(recipe: str, analysis: dict[str, Any]) -> str:
    """A recipe by test set and currency; with its own name where the study has several."""
    known = setting(recipe)
    several = len({setting(name).recipe for name in recipes(analysis)}) > 1
    return f"{known.recipe} {known.title}" if several and known.test else known.title


def header(analysis: dict[str, Any]) -> list[str]:
    """What stands over `rows`."""
    return ["worth of", *dict.fromkeys(title(arm.recipe, analysis) for arm in arms(analysis))]


def rows(analysis: dict[str, Any]) -> list[list[str]]:
    """The main equivalent of each arm at its largest volume beside each real size; none where there is one recipe."""
    if len({arm.recipe for arm in arms(analysis)}) < 2:
        return []
    across = header(analysis)[1:]
    found: dict[Place, dict[str, str]] = {}
    for recipe, cell in _largest(analysis):
        place = (cell["arm"], cell["n_real"], cell["n_synthetic"])
        found.setdefault(place, {})[title(recipe, analysis)] = _worth(cell, main_response(analysis))
    return [[_named(place), *(own.get(name, NOTHING) for name in across)] for place, own in found.items()]


def _largest(analysis: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The cell with the largest volume of each recipe, arm and real size that has a trial which did not diverge."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for arm in arms(analysis):
        for cell in (cell for cell in arm.cells if cell.get("equivalent") and cell["replicates"]):
            found[arm.recipe, arm.name, cell["n_real"]] = cell  # they come by volume
    return [(recipe, cell) for (recipe, _, _), cell in found.items()]


def _worth(cell: dict[str, Any], response: str) -> str:
    value = shown(interval(cell, f"equivalent.{response}"), cell["replicates"])
    return value + (mark(cell, response) if value != NOTHING else "")


def _named(place: Place) -> str:
    arm, n_real, n_synthetic = place
    return f"{count(n_synthetic)} from {arm} " + (f"beside {count(n_real)}" if n_real else "alone")


def grouped(analysis: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The sentences under the title of their recipe; under none where there is one recipe."""
    of = analysis.get("sentence_recipes") or []
    if len(set(of)) < 2:
        return [("", list(analysis["sentences"]))]
    told: dict[str, list[str]] = {}
    for recipe, text in zip(of, analysis["sentences"], strict=True):
        told.setdefault(title(recipe, analysis), []).append(text)
    return [(f"{name[:1].upper()}{name[1:]}", texts) for name, texts in told.items()]


def many(analysis: dict[str, Any]) -> bool:
    """Say whether there are so many sentences that the table above them is the answer, and they stand apart."""
    return len(analysis["sentences"]) > MANY and bool(rows(analysis))


def blocks(analysis: dict[str, Any], width: int) -> list[str]:
    """The answer as plain text: the sentences; with several recipes a table leads, and each has its heading."""
    if not (own := rows(analysis)):
        return [textwrap.fill(text, width) for text in analysis["sentences"]]
    above = ["\n".join(textwrap.wrap(name, HEADER_LETTERS)) for name in header(analysis)]
    named = [["\n".join(textwrap.wrap(row[0], LABEL_LETTERS)), *row[1:]] for row in own]
    leads = "\n".join(["At the largest volume:", *grid(above, named, width)])
    if many(analysis):
        return [leads, f"The report says each of these {count(len(analysis['sentences']))} answers in a sentence."]
    told = [leads]
    for name, texts in grouped(analysis):
        told += [*([f"{name}:"] if name else []), *(textwrap.fill(text, width) for text in texts)]
    return told
