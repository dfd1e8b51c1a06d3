"""The answer as text: a table an arm for the terminal.

Here: how an analysis (the plain dict that a fit leaves behind) is read, and how its cells are printed, censored and
withheld ones as words. Not here: the numbers themselves (`fits`), flat rows (`flat_rows`), figures, the HTML page.
"""

from __future__ import annotations

import math
import shutil
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from realfake.columns import grid
from realfake.intervals import Interval
from realfake.responses import PRINTED, RESPONSES, SHARES, heading, measured
from realfake.statistics.currencies import setting
from realfake.statistics.sentences import budget_limits, disagreement
from realfake.statistics.warned import warned

REAL_ONLY = "real-only"
NOTHING = "–"
THROUGHOUT = " withheld throughout: "
HEADER_LETTERS, LABEL_LETTERS = 24, 36  # of a line of a column's head, of a row's


# -------------------------------------------------------------------------------------------------- reading an analysis


class Arm(NamedTuple):
    """The cells of one arm under one recipe, by n_real, then n_synthetic; `title` names the recipe if it must."""

    name: str
    recipe: str
    title: str
    cells: tuple[dict[str, Any], ...]


def arms(analysis: dict[str, Any]) -> list[Arm]:
    """The arms of an analysis that hold synthetic images, in the order in which they come."""
    synthetic = [cell for cell in analysis["cells"] if cell["n_synthetic"] > 0]
    keys = list(dict.fromkeys((cell["arm"], cell["recipe"]) for cell in synthetic))
    several = len(recipes(analysis)) > 1
    return [
        Arm(name, recipe, f"{name}, {recipe}" if several else name, _cells_of(synthetic, name, recipe))
        for name, recipe in keys
    ]


def _cells_of(cells: Iterable[dict[str, Any]], arm: str, recipe: str) -> tuple[dict[str, Any], ...]:
    own = [cell for cell in cells if (cell["arm"], cell["recipe"]) == (arm, recipe)]
    return tuple(sorted(own, key=lambda cell: (cell["n_real"], cell["n_synthetic"])))


def recipes(analysis: dict[str, Any]) -> list[str]:
    """The recipes of an analysis, in the order in which they come."""
    return list(dict.fromkeys(row["recipe"] for row in (*analysis["ladder"], *analysis["cells"])))


def ladder(analysis: dict[str, Any], recipe: str) -> list[dict[str, Any]]:
    """The real-only cells of a recipe, by n_real."""
    return sorted((row for row in analysis["ladder"] if row["recipe"] == recipe), key=lambda row: row["n_real"])


def responses(analysis: dict[str, Any]) -> tuple[str, ...]:
    """The responses that were measured, the main one first."""
    return measured(analysis["settings"].get("responses") or ())


def main_response(analysis: dict[str, Any]) -> str:
    """The response that the headline numbers stand on: the first one measured."""
    return responses(analysis)[0]


def columns(analysis: dict[str, Any]) -> tuple[str, ...]:
    """The responses that were measured, in the order of columns."""
    return tuple(name for name in PRINTED if name in responses(analysis))


def interval(cell: dict[str, Any], quantity: str) -> Interval | None:
    """A quantity of a cell, None where the analysis has none; "equivalent.error" looks inside "equivalent"."""
    held: Any = cell
    for part in quantity.split("."):
        held = (held or {}).get(part)
    return None if held is None else Interval.from_json(held)


# --------------------------------------------------------------------------------------------------- numbers as words


def shown(value: Interval | None, replicates: int | None = None) -> str:
    """A quantity with its interval or its bound; without an interval, the words that say so.

    `replicates` is how many trials stand behind it, None for a quantity that has no interval by nature.
    """
    if value is None:
        return NOTHING
    if value.censored or not _bare(value):
        return str(value)
    note = {1: " (one seed)", None: ""}.get(replicates, " (no interval)")
    return str(value).partition(" [")[0] + note


def _bare(value: Interval) -> bool:
    limits = (value.low, value.high, value.floor, value.ceiling)
    return value.low == value.high or not any(math.isfinite(limit) for limit in limits)


def shown_response(cell: dict[str, Any], response: str) -> str:
    """The mean response of a cell, a share in per cent."""
    value = interval(cell, response)
    return shown(value.scaled(100) if value is not None and response in SHARES else value, cell["replicates"])


def count(number: float, noun: str = "") -> str:
    """A number of images with thousands apart; with a noun, "1 trial" or "2 trials"."""
    text = f"{number:,.0f}"
    return f"{text} {noun}{'' if number == 1 else 's'}" if noun else text


def mixture(cell: dict[str, Any]) -> str:
    """The name of a cell: "50 + 800"."""
    return f"{count(cell['n_real'])} + {count(cell['n_synthetic'])}"


def inverted(cell: dict[str, Any], response: str) -> bool:
    """Say whether the equivalent of a cell was read off the real-only ladder, and not off the law."""
    return _by(cell, response) == "inversion"


def mark(cell: dict[str, Any], response: str) -> str:
    """The mark of an equivalent that does not stand on the law alone: * the ladder, † both."""
    return {"inversion": "*", "law": ""}.get(_by(cell, response), "†")


def _by(cell: dict[str, Any], response: str) -> str:
    return (cell.get("equivalent_by_response") or {}).get(response, cell.get("equivalent_by")) or "law"


def notes(arm: Arm, response: str) -> list[str]:
    """What the numbers of an arm need beside them: how they were found, what was withheld and why, what diverged."""
    named = {name: f"{RESPONSES[name][:1].upper()}{RESPONSES[name][1:]}" for name in PRINTED}
    printed = {**named, f"equivalent.{response}": "Equivalent", "value": "Value"}
    withheld = [line for quantity, name in printed.items() for line in _withheld(arm, name, quantity)]
    found = [*_method(arm, response), *withheld, *_each(arm, _no_verdict), *_each(arm, budget_limits)]
    diverged = [f"{cell['diverged']} at {mixture(cell)}" for cell in arm.cells if cell.get("diverged")]
    return found + ([f"Diverged trials, left out of the numbers: {', '.join(diverged)}."] if diverged else [])


def _withheld(arm: Arm, name: str, quantity: str) -> list[str]:
    """Where a quantity was withheld, a line for each reason."""
    where: dict[str, list[str]] = {}
    for cell in arm.cells:
        value = interval(cell, quantity)
        if value is not None and value.censored == "withheld":
            where.setdefault(value.reason or "no reason was given", []).append(mixture(cell))
    everywhere = {reason: len(places) == len(arm.cells) for reason, places in where.items()}
    return [
        f"{name}{THROUGHOUT if everywhere[reason] else ' withheld at ' + ', '.join(places) + ': '}{reason}."
        for reason, places in where.items()
    ]


def _method(arm: Arm, response: str) -> list[str]:
    marks = [mark(cell, response) for cell in arm.cells]
    if not any(marks):
        return ["Equivalents by the fitted law."]
    others = "; the others by the fitted law" if "" in marks else ""
    meanings = {
        "*": "by inversion of the real-only ladder, cell by cell",
        "†": "by the law and by inversion of the real-only ladder, spanning both, for whether the law fits is in doubt",
    }
    return [f"{sign} {said}{others}." for sign, said in meanings.items() if sign in marks]


def _no_verdict(cell: dict[str, Any]) -> list[str]:
    said = disagreement(cell.get("signs") or {})
    return [f"no verdict, {said}"] if said else []


def _each(arm: Arm, ask: Callable[[dict[str, Any]], list[str]]) -> list[str]:
    """What is said of single cells, those of which the same is said together."""
    where: dict[str, list[str]] = {}
    for cell in arm.cells:
        for text in ask(cell):
            where.setdefault(text, []).append(mixture(cell))
    return [f"At {', '.join(places)}: {text}." for text, places in where.items()]


def fitted_on(arm: Arm) -> str:
    """What the generators of an arm were fitted on, in words."""
    if all(cell.get("n_generator") in (None, cell["n_real"]) for cell in arm.cells):
        return "generators fitted on each trial's own real images"
    sizes = dict.fromkeys(count(cell["n_generator"]) for cell in arm.cells if cell.get("n_generator") is not None)
    return f"generators fitted on {', '.join(sizes)} real images"


def counted_in(arm: Arm) -> str:
    """Whose images the equivalents of an arm count, where a study has several test sets."""
    known = setting(arm.recipe)
    return f", counted in {known.currency}" if known.test and arm.title != arm.name else ""


# ----------------------------------------------------------------------------------------------------------- terminal


def terminal(analysis: dict[str, Any], facts: dict[str, Any], width: int | None = None) -> str:
    """The whole answer as plain text: a table an arm, the sentences, the warnings.

    `width` in columns is that of the terminal unless given, and 120 in a pipe; a table that is too wide for it prints
    each interval below its number.
    """
    from realfake import headline, replicated
    from realfake.statistics.slopes import sentences

    width = width or min(shutil.get_terminal_size((120, 24)).columns, 120)
    blocks = [textwrap.fill(": ".join(filter(None, (facts["study"], facts["question"]))), width)]
    shared = _shared_notes(analysis)
    blocks += [_arm_block(analysis, arm, width, shared) for arm in arms(analysis)]
    blocks += [textwrap.fill(text, width, subsequent_indent="  ") for text in shared.values()]
    if not arms(analysis):
        blocks += [_ladder_block(analysis, recipe, width) for recipe in recipes(analysis)]
    said = (f"{note[:1].upper()}{note[1:]}." for note in analysis.get("controls", ()))
    blocks += headline.blocks(analysis, width)
    blocks += [textwrap.fill(text, width) for text in said]
    blocks += [_claims_block(analysis, width)] if analysis.get("claims") else []
    blocks += replicated.block(analysis, width)
    blocks += [textwrap.fill(text, width) for text in sentences(analysis.get("slopes") or [], main_response(analysis))]
    blocks += [textwrap.fill(text, width) for text in (facts.get("membership") or {}).get("sentences", ())]
    told = [*_unmade(facts), *(f"Warning: {warning}" for warning in warned(analysis))]
    return "\n\n".join([*blocks, *(textwrap.fill(text, width, subsequent_indent="  ") for text in told)])


CLAIM_HEADER = ("claim", "claimed", "estimate", "verdict")


def claim_rows(analysis: dict[str, Any]) -> list[list[str]]:
    """The claims of the study as rows under `CLAIM_HEADER`."""
    return [
        [claim["name"], _claimed(claim), shown(Interval.from_json(claim["estimate"])), claim["verdict"]]
        for claim in analysis.get("claims") or ()
    ]


def _claimed(claim: dict[str, Any]) -> str:
    what = f"{claim['quantity']}{' difference' if ' minus ' in claim['points'][0] else ''}"
    return f"{what} {claim['direction']} {claim['bound']:g} (smallest effect {claim['smallest_effect']:g})"


def claim_notes(analysis: dict[str, Any]) -> list[str]:
    """How the claims were judged, and what decided each."""
    found = analysis.get("claims") or []
    whole = f"Intervals and verdicts are adjusted for {count(len(found), 'declared claim')} (Holm)."
    said = [f"{claim['name']}: {claim['why']}{_based(claim['basis'])}." for claim in found]
    return [whole, *(f"{note[:1].upper()}{note[1:]}" for note in said)]


def _based(basis: str) -> str:
    return f" (by {basis})" if basis else ""


def _claims_block(analysis: dict[str, Any], width: int) -> str:
    rows = [[*("\n".join(textwrap.wrap(text, 36)) for text in row[:2]), *row[2:]] for row in claim_rows(analysis)]
    below = [textwrap.fill(note, width, subsequent_indent="  ") for note in claim_notes(analysis)]
    return "\n".join(["Claims of the study", *grid(CLAIM_HEADER, rows, width), *below])


def _unmade(facts: dict[str, Any]) -> list[str]:
    """A line for trials that diverged (a result: they are not run again), and one for those that are not made yet."""
    diverged, missing = facts.get("diverged", 0), facts.get("missing", 0)
    lines = [f"{count(diverged, 'trial')} diverged: a result, so not run again and left out of the numbers."]
    return (lines if diverged else []) + ([f"{count(missing, 'trial')} not made yet."] if missing else [])


def _shared_notes(analysis: dict[str, Any]) -> dict[str, str]:
    """What is withheld throughout of several arms for one reason, by its note: said once below all of them."""
    lines = Counter(one for arm in arms(analysis) for one in notes(arm, main_response(analysis)) if THROUGHOUT in one)
    of = f"{THROUGHOUT[:-2]} in {{}} of the {count(len(arms(analysis)), 'arm')} above: "
    return {line: line.replace(THROUGHOUT, of.format(times)) for line, times in lines.items() if times > 1}


def _arm_block(analysis: dict[str, Any], arm: Arm, width: int, elsewhere: Collection[str] = ()) -> str:
    response = main_response(analysis)
    rows: list[list[str]] = []
    for n_real in dict.fromkeys(cell["n_real"] for cell in arm.cells):
        own = [cell for cell in arm.cells if cell["n_real"] == n_real]
        alone = [row for row in ladder(analysis, arm.recipe) if row["n_real"] == n_real]
        lines = [_terminal_row({**row, "n_synthetic": 0}, analysis) for row in alone]
        lines += [_terminal_row(cell, analysis) for cell in own]
        rows += [[count(n_real) if line is lines[0] else "", *line] for line in lines]
    title = f"{arm.title} ({fitted_on(arm)}; equivalents in {RESPONSES[response]}{counted_in(arm)})"
    told = (*_resolution(arm), *(note for note in notes(arm, response) if note not in elsewhere))
    below = [textwrap.fill(note, width, subsequent_indent="  ") for note in told]
    header = ("real", "synthetic", *ladder_header(analysis)[1:], "added real\nequivalent", "value of\none more")
    return "\n".join([*textwrap.wrap(title, width), *grid(header, rows, width), *below])


def _resolution(arm: Arm) -> list[str]:
    """One line on the smallest equivalents that could be told from 0; a real size has one, or each of its cells."""
    where: dict[int, dict[str, str]] = {}
    for cell in arm.cells:
        value = interval(cell, "resolution")
        if value is not None and value.censored != "withheld":
            where.setdefault(cell["n_real"], {})[mixture(cell)] = shown(value)
    parts = []
    for n_real, cells in where.items():
        alike = {f"beside {count(n_real)}": text for text in cells.values()} if len(set(cells.values())) == 1 else {}
        parts += [f"{text} {place}" for place, text in (alike or {f"at {c}": t for c, t in cells.items()}).items()]
    return [f"Resolution, the smallest equivalent that could be told from 0: {', '.join(parts)}."] if parts else []


def _terminal_row(cell: dict[str, Any], analysis: dict[str, Any]) -> list[str]:
    replicates, response = cell["replicates"], main_response(analysis)
    equivalent = shown(interval(cell, f"equivalent.{response}"), replicates)
    return [
        count(cell["n_synthetic"]),
        count(replicates),
        *(shown_response(cell, name) for name in columns(analysis)),
        equivalent + (mark(cell, response) if equivalent != NOTHING else ""),
        shown(interval(cell, "value"), replicates),
    ]


def ladder_header(analysis: dict[str, Any]) -> tuple[str, ...]:
    """What stands over `ladder_rows`."""
    return ("real", "seeds", *(heading(name) for name in columns(analysis)))


def ladder_rows(analysis: dict[str, Any], recipe: str) -> list[list[str]]:
    """The real-only cells of a recipe as rows under `ladder_header`."""
    return [
        [count(row["n_real"]), count(row["replicates"]), *(shown_response(row, name) for name in columns(analysis))]
        for row in ladder(analysis, recipe)
    ]


def _ladder_block(analysis: dict[str, Any], recipe: str, width: int) -> str:
    title = ", ".join(filter(None, ("real images only", recipe)))
    return "\n".join([title, *grid(ladder_header(analysis), ladder_rows(analysis, recipe), width)])
