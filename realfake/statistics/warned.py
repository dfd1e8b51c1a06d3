"""The warnings of an analysis, each said once with all whom it concerns.

A warning begins with its arm, response and recipe; what many of them say alike is said once here, for people. Here:
that. Not here: what is warned of (`analysis`, `readings`), where it is printed (`tables`, `report`).
"""

from __future__ import annotations

from typing import Any

from realfake.responses import RESPONSES
from realfake.statistics.currencies import setting
from realfake.statistics.trial_table import REAL_ONLY

Whom = tuple[str, str, str]  # arm, response, recipe; no recipe: every one
MOST_NAMED = 2  # recipes; the others are counted


def warned(analysis: dict[str, Any]) -> list[str]:
    """Every warning of an analysis once, in the order in which it comes: "these arms (on these test sets): …"."""
    known = _known(analysis)
    told: dict[str, list[Whom]] = {}
    for warning in analysis["warnings"]:
        whom = next((one for one in known if warning.startswith(f"{_prefix(one)}: ")), None)
        text = warning if whom is None else _impersonal(warning.removeprefix(f"{_prefix(whom)}: "), whom)
        told.setdefault(text, []).extend([] if whom is None else [whom])
    return [f"{_concerned(whom, analysis)}: {text}" if whom else text for text, whom in told.items()]


def _known(analysis: dict[str, Any]) -> list[Whom]:
    """Whom a warning may begin with, the longest first."""
    found = [
        (arm, response, recipe)
        for arm in _arms(analysis)
        for response in analysis["settings"].get("responses") or ()
        for recipe in ("", *_recipes(analysis))
    ]
    return sorted(found, key=lambda whom: -len(_prefix(whom)))


def _arms(analysis: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys([*(cell["arm"] for cell in analysis["cells"]), REAL_ONLY]))


def _recipes(analysis: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["recipe"] for row in (*analysis["ladder"], *analysis["cells"]) if row["recipe"]))


def _prefix(whom: Whom) -> str:
    return ", ".join(part for part in whom if part)


def _impersonal(text: str, whom: Whom) -> str:
    """What is said, without the names in it that stand before it anyway."""
    arm, response, _ = whom
    own = f"not in the intervals; {RESPONSES[response]} is"
    return text.replace(f"the arm '{arm}'", "the arm").replace(own, "not in the intervals; the response is")


def _concerned(found: list[Whom], analysis: dict[str, Any]) -> str:
    """Whom a warning concerns: arms of which the same is said together; what is said of all needs no name."""
    of_arms: dict[str, list[tuple[str, str]]] = {}
    for arm, response, recipe in found:
        of_arms.setdefault(arm, []).append((response, recipe))
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for arm, where in of_arms.items():
        alike.setdefault(tuple(dict.fromkeys(where)), []).append(arm)
    names = {tuple(arms): _listed(arms) if set(arms) < set(_arms(analysis)) else "every arm" for arms in alike.values()}
    return "; ".join(f"{names[tuple(arms)]}{_where(where, analysis)}" for where, arms in alike.items())


def _where(where: tuple[tuple[str, str], ...], analysis: dict[str, Any]) -> str:
    responses = list(dict.fromkeys(RESPONSES[response] for response, _ in where))
    recipes = list(dict.fromkeys(recipe for _, recipe in where if recipe))
    every = len(responses) == len(analysis["settings"]["responses"]) > 1
    everywhere = not recipes or len(recipes) == len(_recipes(analysis))
    named = [] if everywhere else [f" ({_counted([_short(recipe) for recipe in recipes])})"]
    return "".join([*([] if every else [f", {_listed(responses)}"]), *named])


def _short(recipe: str) -> str:
    """A recipe by what tells it from the others of a study with several test sets."""
    known = setting(recipe)
    return f"on {known.test}{' in its own images' * known.own}" if known.test else recipe


def _counted(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) <= MOST_NAMED:
        return _listed(names)
    return f"{names[0]} and {len(names) - 1} more"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
