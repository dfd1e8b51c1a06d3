"""The verdict on every effect of a study: supported, contradicted, equivalent to none, or undecided.

The sum of an effect's terms is taken within every replicate (the trials of one subset seed), so that what replicates
share cancels; over replicates it has a Student t interval. Verdicts are those of ``claims``, by Holm's step-down over
all that a study declared, effects and claims, those without an answer included; in the one's adjustment the other's
count as never rejected, which is the safe side.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from realfake.effects import Effect, Term
from realfake.intervals import Interval, withheld
from realfake.measures import BY_COUNT, known, near, words
from realfake.spec import DetectionRecipe, Study, address
from realfake.statistics.claims import ALPHA, holm
from realfake.statistics.trial_table import REAL_ONLY
from realfake.values import SpecError, nearest

BY_ITSELF = "and raw distances fall by themselves as training detections become more: see rho_0.1 and …_relative"


def judge_effects(
    effects: Sequence[Effect], rows: Iterable[Mapping[str, Any]], others: int = 0
) -> list[dict[str, Any]]:
    """Return one row of plain values for each effect, in the order given, as ``claims.judge`` does for claims.

    ``rows`` are those of the table of trials. An effect with fewer than two replicates that have all its terms is
    undecided and says so. ``others`` is how many claims were declared beside these and are judged elsewhere.
    """
    cells = _cells(rows)
    found = [_sums(effect, cells) for effect in effects]
    p_values = [_p_values(effect, values) for effect, values in zip(effects, found, strict=True)]
    adjusted, alphas = holm([*(min(p.values(), default=1.0) for p in p_values), *[1.0] * others])
    return [_row(*one) for one in zip(effects, found, p_values, adjusted, alphas, strict=False)]


def refuse_unknown_cells(study: Study) -> None:
    """Refuse effects about cells that the trials of a study do not have, or about what is not measured: SpecError."""
    from realfake import naming, records

    _refuse_unknown_measures(study)
    arms = naming.arms(study.trials)
    recipe_of = naming.recipes(study.trials)
    tried = [(trial, trial.test) for trial in study.trials] + [(e.of, e.on) for e in records.tried_on(study)]
    cells: dict[tuple[str, str, int, int], set[str]] = defaultdict(set)
    for trial, test in tried:
        if trial.added is None:
            place = (naming.test_name(test), arms[address(trial)], trial.n_real, trial.n_synthetic)
            cells[place].add(recipe_of[address(trial)])
    tests = {test for test, *_ in cells}
    for effect, term in ((one, term) for one in study.effects for term in one.terms):
        test = term.test or (next(iter(tests)) if len(tests) == 1 else "")
        arm = term.arm or naming.REAL_ONLY
        there = cells.get((test, arm, term.n_real, term.n_synthetic), set())
        if len(there) > 1 and not term.recipe:
            raise SpecError(f"Effect {effect.name!r}: several recipes have {_written(term)}; {nearest('', there)}")
        if not there or (term.recipe and term.recipe not in there):
            hint = nearest(term.recipe, there) if there else _hint(cells, test, arm)
            raise SpecError(f"Effect {effect.name!r}: the study has no trial for {_written(term)}; {hint}")


def _refuse_unknown_measures(study: Study) -> None:
    """Refuse terms of a column that no trial of the study will have, with the names that are near."""
    kinds = {isinstance(trial.recipe, DetectionRecipe) for trial in study.trials}
    there = {name for detector in kinds for name in known(detector)}
    for effect, term in ((one, term) for one in study.effects for term in one.terms):
        if term.measure not in there:
            alike = near(term.measure, there)
            hint = f"did you mean {' or '.join(alike)}?" if alike else f"there are {', '.join(sorted(there))}"
            what = "detectors" if kinds == {True} else "classifiers" if kinds == {False} else "its trials"
            raise SpecError(
                f"Effect {effect.name!r}: Term(measure={term.measure!r}) is nothing that is measured of {what}; {hint}"
            )


def _hint(cells: Collection[tuple[str, str, int, int]], test: str, arm: str) -> str:
    """Return what there is instead: the nearest arm, the tests, or the sizes of that arm on that test."""
    if arm not in (names := {name for _, name, *_ in cells}):
        return nearest(arm, names)
    sizes = sorted((n, m) for of_test, of_arm, n, m in cells if (of_test, of_arm) == (test, arm))
    if not sizes:
        return f"tests: {', '.join(sorted({test for test, *_ in cells}))}"
    return f"sizes: {', '.join(f'{n:,} + {m:,}' for n, m in sizes)}"


Cells = dict[tuple[str, str, int, int], dict[int, list[Mapping[str, Any]]]]  # test, arm, sizes; seed; trials


def _cells(rows: Iterable[Mapping[str, Any]]) -> Cells:
    cells: Cells = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["status"] == "ok" and ":target" not in str(row["address"]):
            place = (row.get("test", ""), row["arm"], int(row["n_real"]), int(row["n_synthetic"]))
            cells[place][int(row["subset_seed"])].append(row)
    return cells


def _sums(effect: Effect, cells: Cells) -> np.ndarray:
    """Return the sum of the terms in every replicate that has them all ``(replicates,)``."""
    of_terms = [_of_term(term, cells) for term in effect.terms]
    seeds = set.intersection(*(set(values) for values in of_terms))
    return np.array([sum(values[seed] for values in of_terms) for seed in sorted(seeds)])


def _of_term(term: Term, cells: Cells) -> dict[int, float]:
    arm = term.arm or REAL_ONLY
    tests = {test for test, _, _, _ in cells}
    test = term.test or (next(iter(tests)) if len(tests) == 1 else "")
    means = {}
    for seed, trials in cells.get((test, arm, term.n_real, term.n_synthetic), {}).items():
        own = [trial for trial in trials if not term.recipe or _is_of(trial["recipe"], term)]
        values = [_number(trial.get(term.measure)) for trial in own]
        if values and all(math.isfinite(value) for value in values):
            means[seed] = term.weight * float(np.mean(values))
    return means


def _is_of(recipe: str, term: Term) -> bool:
    """Say whether a row's recipe, which may name its test set, is that of a term."""
    return recipe.split(" on ")[0] == term.recipe


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _p_values(effect: Effect, values: np.ndarray) -> dict[str, float]:
    """Return the two-sided p of each verdict; nothing where there is no spread to judge by."""
    from scipy.stats import t

    if len(values) < 2 or not values.std():
        return {}
    sign = 1.0 if effect.direction == "above" else -1.0
    error, degrees = values.std(ddof=1) / math.sqrt(len(values)), len(values) - 1
    away = sign * (values.mean() - effect.bound)
    beyond, short = t.sf(away / error, degrees), t.cdf(away / error, degrees)
    none = max(t.sf((away + d) / error if d > 0 else -(away + d) / error, degrees) for d in _ends(effect))
    one_sided = {"supported": beyond, "contradicted": short, "equivalent to none": none}
    return {verdict: min(1.0, 2 * float(p)) for verdict, p in one_sided.items()}


def _ends(effect: Effect) -> tuple[float, float]:
    return effect.smallest_effect, -effect.smallest_effect


def _row(
    effect: Effect, values: np.ndarray, p_values: dict[str, float], adjusted: float, alpha: float
) -> dict[str, Any]:
    estimate = _interval(values, alpha)
    given = [verdict for verdict, p in p_values.items() if adjusted <= ALPHA and p <= alpha]
    measures = list(dict.fromkeys(words(term.measure) for term in effect.terms))
    return {
        "name": effect.name,
        "quantity": ", ".join(measures),
        "direction": effect.direction,
        "bound": effect.bound,
        "smallest_effect": effect.smallest_effect,
        "points": [_written(term) for term in effect.terms],
        "estimate": estimate.to_json(),
        "level": 1 - alpha,
        "p": adjusted,
        "verdict": given[0] if given else "undecided",
        "why": _why(effect, len(values), given, estimate.reason),
        "basis": "replicates",
    }


def _why(effect: Effect, replicates: int, given: list[str], withheld_for: str) -> str:
    """What an effect is a sum of, and over how many replicates; an estimate stands beside it already."""
    terms, first = effect.terms, effect.terms[0]
    measure = words(first.measure) if len({term.measure for term in terms}) == 1 else ""
    sums = " ".join(_written(term, named=not measure) for term in terms)
    told = [f"{measure}: {sums}" if measure else sums, withheld_for or f"over {replicates} replicates"]
    told += [" and ".join(given)] if len(given) > 1 else []
    told += [BY_ITSELF] if _by_count(terms) else []
    return ", ".join(told)


def _by_count(terms: Sequence[Term]) -> bool:
    """Say whether raw distances of cells that differ in their training images are weighed against each other."""
    sizes = {(term.n_real, term.n_synthetic, term.arm) for term in terms if term.measure in BY_COUNT}
    return len(sizes) > 1


def _interval(values: np.ndarray, alpha: float) -> Interval:
    from scipy.stats import t

    if len(values) < 2:
        return withheld(f"{len(values)} replicates have all of it, and two are needed")
    half = float(t.ppf(1 - alpha / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)


def _written(term: Term, named: bool = True) -> str:
    sign = "+" if term.weight > 0 else "−"
    factor = "" if abs(term.weight) == 1 else f"{abs(term.weight):g}·"
    what = f"{factor}{words(term.measure)} at" if named else f"{factor.replace('·', ' times that ')}at"
    where = f" on {term.test}" if term.test else ""
    return f"{sign} {what} {term.n_real:,} + {term.n_synthetic:,} ({term.arm or REAL_ONLY}){where}"
