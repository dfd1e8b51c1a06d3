"""The answer in plain words: one sentence for each arm and real size, at its largest volume.

Here: wording. Not here: numbers (`analysis` hands them in).
"""

from __future__ import annotations

from typing import Any

from realfake.intervals import Interval
from realfake.responses import RESPONSES
from realfake.statistics.currencies import setting
from realfake.statistics.equivalence import LAW, Fit

CONTROLS = {
    "repeat": "repeats real images, so a generator is worth something only beyond it",
    "permuted": "has permuted labels, so whatever it is worth is not information about the classes",
}


SIGNS = {"more": "more", "less": "less", "unclear": "not distinguishable"}


def disagreement(signs: dict[str, str]) -> str:
    """The verdicts of the laws of a set, where they are not all one: then there is none. A silent law has no say."""
    given = [sign for sign in signs.values() if sign in SIGNS]
    if len(set(given)) < 2:
        return ""
    first, *others = [f"{given.count(sign)} {{}}{said}" for sign, said in SIGNS.items() if sign in given]
    verb = "say " if not first.startswith("1 ") else "says "
    return f"the laws disagree: {', '.join([first.format(verb), *(other.format('') for other in others)])}"


def in_doubt(fit: Fit) -> str:
    """That law and ladder both answer, because the law may or may not fit."""
    first = "law" if fit.answered_by[0] == LAW else "ladder"
    return (
        f"whether the law fits is in doubt (p = {fit.support:.2g}); equivalents span law and real-only ladder, and "
        f"their points are those of the {first}"
    )


def sentences(cells: list[dict[str, Any]], fits: list[Fit], context: dict[str, Any]) -> dict[str, list[str]]:
    """By recipe, one sentence for each (arm, n_real), at the largest volume with a trial that did not diverge.

    Where there are several recipes, a sentence names its own, its test set and whose images it counts: `context` knows
    the first one's alone.
    """
    largest: dict[tuple[str, str, int], dict[str, Any]] = {}
    for cell in cells:
        key = (cell["recipe"], cell["arm"], cell["n_real"])
        usable = "equivalent" in cell and cell["replicates"]
        if usable and (key not in largest or cell["n_synthetic"] > largest[key]["n_synthetic"]):
            largest[key] = cell
    several = len({recipe for recipe, *_ in largest}) > 1
    told: dict[str, list[str]] = {}
    for cell in largest.values():
        said = sentence(cell, _fit_of(cell, fits), {**context, **(_own(cell) if several else {})})
        told.setdefault(cell["recipe"], []).append(said)
    return told


def _own(cell: dict[str, Any]) -> dict[str, str]:
    """What a cell knows of its setting, in the place of that of the first trial."""
    known = setting(cell["recipe"])
    tested = f"tested on {known.test}" if known.test else ""
    return {"model": known.recipe, "init": tested, "budget": "", "images": known.currency}


def sentence(cell: dict[str, Any], fit: Fit | None, context: dict[str, Any]) -> str:
    """What the synthetic images of one cell were worth, with the setting, the interval and the measured range."""
    words = [context[name] for name in ("model", "init", "budget") if context.get(name)]
    place = f"On {context.get('data', 'this data set')}" + (f" with {', '.join(words)}" if words else "")
    generator = context.get("generators", {}).get(cell["arm"], f"the generator '{cell['arm']}'")
    fitted = f", fitted on {_images(cell['n_generator'])}," if cell["n_generator"] else ""
    beside = f"beside {cell['n_real']:,} real ones" if cell["n_real"] else "alone"
    response, worth = next(iter(cell["equivalent"].items()))
    images = context.get("images", "real images")
    verdict = _verdict(
        Interval.from_json(worth), beside_real=bool(cell["n_real"]), signs=cell.get("signs", {}), images=images
    )
    replicates = f"{cell['replicates']} replicates" if cell["replicates"] > 1 else "one seed"
    by = cell["equivalent_by"].split(" and ")
    basis = ", beside ".join(_basis(fit) if fit is not None and source == LAW else source for source in by)
    basis += "," * (len(by) > 1)
    measured = (
        f", measured to {_images(fit.measured.n_max)} real and {fit.measured.m_max:,.0f} synthetic" if fit else ""
    )
    source = f"{cell['n_synthetic']:,} images from {generator}{fitted} {beside}"
    whole = f"{place}, {source} {verdict} ({replicates}, {basis} in {RESPONSES[response]}{measured})."
    return " ".join([whole, *(f"{text[:1].upper()}{text[1:]}." for text in budget_limits(cell))])


def budget_limits(cell: dict[str, Any]) -> list[str]:
    """What a cell answers under each budget rule that moves its answer by more than its interval."""
    return [
        f"budget-limited: under {other['budget']} it is {Interval.from_json(other['there'])}"
        + ("" if other["quantity"] == "equivalent" else f" in response to real images alone, here {_here(other)}")
        for other in cell.get("other_budgets", ())
        if other["limited"]
    ]


def _here(other: dict[str, Any]) -> str:
    return str(Interval.from_json(other["here"]))


def _basis(fit: Fit) -> str:
    others = len(fit.alternatives)
    spanned = f" and {others} more that predict{'s' * (others == 1)} as well" if others else ""
    return f"law '{fit.law}'{spanned}"


def _verdict(worth: Interval, *, beside_real: bool, signs: dict[str, str], images: str = "real images") -> str:
    more = f"more {images}" if beside_real else images
    if worth.censored == "withheld":
        return f"have no measured worth: {worth.reason}"
    if said := disagreement(signs):
        return f"have no verdict, for {said}: worth {worth} {more}"
    if worth.sign == "less":
        return f"were worse than none: worth {worth} {more}"
    if worth.sign == "unclear" and (beside_real or worth.censored != "below"):
        return f"were not distinguishable from 0: worth {worth} {more}"
    beyond = {"above": ", beyond the ladder", "below": ", below the ladder"}.get(worth.censored, "")
    return f"were worth {worth} {more}{beyond}"


def controls(cells: list[dict[str, Any]]) -> list[str]:
    """What each control arm shows, at the largest volume of each real size."""
    notes = []
    for name, meaning in CONTROLS.items():
        found = [cell for cell in cells if name in cell["arm"].lower() and "equivalent" in cell]
        for n in sorted({cell["n_real"] for cell in found}):
            cell = max((cell for cell in found if cell["n_real"] == n), key=lambda cell: cell["n_synthetic"])
            worth = Interval.from_json(next(iter(cell["equivalent"].values())))
            notes.append(f"control '{cell['arm']}', {cell['n_synthetic']:,} beside {n:,}: worth {worth}; it {meaning}")
    return notes


def _fit_of(cell: dict[str, Any], fits: list[Fit]) -> Fit | None:
    response = next(iter(cell["equivalent"]))
    wanted = (cell["recipe"], cell["arm"], response)
    return next((fit for fit in fits if (fit.recipe, fit.arm, fit.response) == wanted), None)


def _images(count: float) -> str:
    return f"{count:,.0f}"
