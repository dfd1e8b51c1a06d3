"""What an analysis answers at any (n, m), and how likely one answer beats another.

An answer is read off the draws of the fitted law; where that law fails its lack-of-fit test, off the measured cell;
where there is none either, it is withheld and says why. Here: one curve, one question, pairs of answers. Not here:
where analyses are read (`tracking`), how a query is worded (`queries`), how answers are printed (`listing`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from realfake.intervals import Interval, withheld
from realfake.responses import PRINTED, SHARES
from realfake.statistics.equivalence import INVERSION, Fit
from realfake.statistics.sentences import disagreement, in_doubt
from realfake.tracking import Analysed, TrackingError
from realfake.values import nearest

MEASURED = PRINTED  # smaller is better; of the others larger is
SPANNED = ("equivalent", "effective", "average_value")  # by law and real-only ladder, where the law is in doubt
METRICS = ("equivalent", "effective", "value", "average_value", *MEASURED)

Array = np.ndarray
Point = tuple[float, ...]  # (n_real, n_synthetic) or (n_real, n_synthetic, n_generator)


@dataclass(frozen=True)
class Question:
    """Which quantity, from which response ("": that of the headline), by which law ("": the one that was chosen)."""

    metric: str = "equivalent"
    response: str = ""
    law: str = ""

    def response_of(self, analysed: Analysed) -> str:
        """The response that the answer rests on."""
        if self.metric in MEASURED:
            return self.metric
        return self.response or next(iter(analysed.responses), "cross_entropy")


@dataclass(frozen=True)
class Curve:
    """One arm under one recipe in one analysis of a study."""

    analysed: Analysed
    recipe: str
    arm: str

    @cached_property
    def cells(self) -> tuple[dict[str, Any], ...]:
        """Its measured cells, by size."""
        own = [cell for cell in self.analysed.cells if (cell["recipe"], cell["arm"]) == (self.recipe, self.arm)]
        return tuple(sorted(own, key=lambda cell: (cell["n_real"], cell["n_generator"], cell["n_synthetic"])))

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """(n_real, n_synthetic) of its cells."""
        return tuple(dict.fromkeys((cell["n_real"], cell["n_synthetic"]) for cell in self.cells))

    def laws(self, response: str) -> dict[str, Fit]:
        """Every fit that is kept, by the name of its law; each alone, without the laws that predict as well."""
        found: dict[str, Fit] = {}
        for kept in (fit for fits in self._fits for fit in fits if fit.response == response):
            for fit in (kept, *kept.alternatives):
                found.setdefault(fit.law, replace(fit, alternatives=()))
        return found

    def unfitted(self, response: str) -> dict[str, str]:
        """Why each law that was tried in vain could not be fitted."""
        own = {"recipe": self.recipe, "arm": self.arm, "response": response}
        return {one["law"]: one["why"] for one in self.analysed.unfitted if own.items() <= one.items()}

    def fit(self, response: str, law: str = "") -> tuple[Fit | None, str]:
        """The fit that answers ("": the one that the analysis stands on), or None and why there is none."""
        if law:
            laws, vain = self.laws(response), self.unfitted(response)
            kept = f"no fit of the law '{law}' to {response} was kept; {nearest(law, laws)}"
            return laws.get(law), vain.get(law, kept)
        fit = next((fit for fit in self._fits[0] if fit.response == response), None)
        if fit is None:
            return None, self._why_no_fit(response)
        if fit.answered_by[0] == INVERSION and fit.lack_of_fit is not None:
            p = f"{fit.lack_of_fit.p:.2g}"
            return None, f"the law '{fit.law}' does not fit (p = {p}), so only measured cells answer; or name a law"
        return fit, ""

    @cached_property
    def _fits(self) -> tuple[list[Fit], list[Fit]]:
        """The fits that the analysis stands on, and those that it keeps beside them."""
        try:
            return self._own(self.analysed.fits), self._own(self.analysed.other_fits)
        except KeyError as error:
            raise TrackingError(
                f"the fits of the study '{self.analysed.study}' in MLflow lack {error}: another version of realfake "
                "wrote them; run `realfake track STUDY` with this one"
            ) from error

    def _own(self, fits: Sequence[dict[str, Any]]) -> list[Fit]:
        return [Fit.from_json(fit) for fit in fits if (fit["recipe"], fit["arm"]) == (self.recipe, self.arm)]

    def _why_no_fit(self, response: str) -> str:
        starts = (f"{self.arm}, {response}: ", f"{self.arm}, {response}, {self.recipe}: ")
        said = [text.split(": ", 1)[1] for text in self.analysed.warnings if text.startswith(starts)]
        return "; ".join(said) or f"no law was fitted to {response}"


@dataclass(frozen=True)
class Answer:
    """What a curve says at one point."""

    curve: Curve
    n_real: float
    n_synthetic: float
    n_generator: float  # nan where it cannot be known
    question: Question
    interval: Interval
    by: str = ""  # "law" | "inversion" | both | "measured" | "" where the answer is withheld
    laws: tuple[str, ...] = ()  # by which laws: the first gave the point, the interval spans them all
    draws: tuple[Array, ...] = ()  # (b,) of each law

    @property
    def identity(self) -> dict[str, str]:
        """Whose answer it is."""
        return {"study": self.curve.analysed.study, "arm": self.curve.arm, "recipe": self.curve.recipe}


def answers(curve: Curve, at: Point, question: Question, *, measured: bool = False) -> list[Answer]:
    """What a curve says at a point; several answers where several generators were measured and none is named.

    `measured` reads a response off the cell itself, not off the law.
    """
    response = question.response_of(curve.analysed)
    off_cells = measured and question.metric in MEASURED and not question.law
    fit, why = (None, "it was not measured") if off_cells else curve.fit(response, question.law)
    n, m, *given = at
    if fit is not None:
        found = [_by_law(curve, fit, (n, m, generator), question) for generator in _generators(fit, n, given)]
        return [_with_doubt(answer, fit, response) for answer in found]
    cells = [cell for cell in curve.cells if (cell["n_real"], cell["n_synthetic"]) == (n, m)]
    own = [cell for cell in cells if given in ([], [cell["n_generator"]]) and not question.law]
    refused = Answer(curve, n, m, given[0] if given else math.nan, question, withheld(why))
    return [_by_cell(curve, cell, response, question, why) for cell in own] or [refused]


def _generators(fit: Fit, n: float, given: Sequence[float]) -> list[float]:
    """n_generator of the answers: the one given, those measured alone, or the one of the study at n; nan if unknown."""
    if given:
        return list(given)
    if n == 0:
        return sorted(set(fit.measured.alone)) or [math.nan]
    try:
        return [fit.measured.generator(n)]
    except ValueError:
        return [math.nan]


def _by_law(curve: Curve, fit: Fit, at: tuple[float, float, float], question: Question) -> Answer:
    n, m, generator = at
    interval = _asked(fit, question.metric, n, m, generator)
    if interval.censored == "withheld":
        return Answer(curve, n, m, generator, question, interval)
    if fit.rejected and fit.lack_of_fit is not None:  # asked for by name
        interval = _noted(interval, f"the law does not fit (p = {fit.lack_of_fit.p:.2g})")
    if question.metric in ("equivalent", "average_value") and len(fit.alternatives):
        said = disagreement(fit.signs(n, m, generator))
        interval = _noted(interval, f"no verdict, {said}" if said else "")
    able = [one for one in (fit, *fit.alternatives) if n or one.formula.synthetic_alone]
    draws = tuple(_draws(one, question.metric, n, m, generator) for one in able)
    return Answer(curve, n, m, generator, question, interval, "law", tuple(one.law for one in able), draws)


def _noted(interval: Interval, note: str) -> Interval:
    return replace(interval, reason="; ".join(filter(None, (interval.reason, note))))


def _with_doubt(answer: Answer, fit: Fit, response: str) -> Answer:
    """The answer of a law that may or may not fit: at a measured cell it spans what the real-only ladder says too."""
    metric = answer.question.metric
    if answer.question.law or INVERSION not in fit.answered_by or metric not in SPANNED or not answer.by:
        return answer
    at = (answer.n_real, answer.n_synthetic, answer.n_generator)
    for cell in answer.curve.cells:
        if (cell["n_real"], cell["n_synthetic"], cell["n_generator"]) == at and response in cell.get("equivalent", {}):
            interval = _of_equivalent(Interval.from_json(cell["equivalent"][response]), metric, *at[:2])
            return replace(answer, interval=_noted(interval, in_doubt(fit)), by=" and ".join(fit.answered_by))
    return replace(answer, interval=_noted(answer.interval, f"{in_doubt(fit)}, in measured cells alone"))


def _of_equivalent(worth: Interval, metric: str, n: float, m: float) -> Interval:
    """A quantity that follows from the equivalent."""
    return {"effective": worth.shifted(n), "average_value": worth.scaled(1 / m)}.get(metric, worth)


def _asked(fit: Fit, metric: str, n: float, m: float, generator: float) -> Interval:
    if n == 0 and not fit.measured.alone:
        return withheld("no trial was trained on synthetic images alone")
    if math.isnan(generator):
        return withheld(f"no generator was measured at n_real {n:g}; give its size too, as n,m,n_generator")
    if metric == "average_value" and m == 0:
        return withheld("an average over no images does not exist")
    if metric in MEASURED:
        return fit.error(n, m, generator)
    return getattr(fit, metric)(n, m, generator)


def _draws(fit: Fit, metric: str, n: float, m: float, generator: float) -> Array:
    """The quantity under every draw of the parameters of a law, beyond the measured range too."""
    parameters = np.array(fit.draws).T
    quantity = {"value": fit.formula.value, **dict.fromkeys(MEASURED, fit.formula.error)}
    drawn = np.asarray(quantity.get(metric, fit.formula.equivalent)(parameters, n, m, generator), dtype=float)
    drawn = np.minimum(drawn, 1.0) if metric in SHARES else drawn
    return drawn + n if metric == "effective" else drawn / m if metric == "average_value" else drawn


def _by_cell(curve: Curve, cell: dict[str, Any], response: str, question: Question, why: str) -> Answer:
    """The answer of a measured cell: its mean, or its equivalent read off the real-only ladder."""
    n, m, metric = cell["n_real"], cell["n_synthetic"], question.metric
    if metric in MEASURED:
        interval = Interval.from_json(cell[metric]) if metric in cell else withheld(why)
    elif metric == "value" or response not in cell.get("equivalent", {}):
        interval = withheld(why)
    else:
        interval = _of_equivalent(Interval.from_json(cell["equivalent"][response]), metric, n, m)
    stated = cell.get("equivalent_by_response", {}).get(response, INVERSION)
    by = "" if interval.censored == "withheld" else "measured" if metric in MEASURED else stated
    return Answer(curve, n, m, cell["n_generator"], question, interval, by)


# ----------------------------------------------------------------------------------------------------- one or the other


def chance(a: Answer, b: Answer) -> dict[str, Any]:
    """The probability that `a` is better than `b`: the share of pairs of their draws, which count as independent.

    Ties count half. Draws beyond the real-only ladder of either are worth its end, for nothing was measured there.
    "low" and "high" are the least and the largest over the laws of both; "why" says why there is no probability.
    """
    for answer in (a, b):
        if not answer.draws:
            how = answer.interval.reason or "it is read off a measured cell"
            return {"probability": None, "low": None, "high": None, "why": f"{answer.identity['study']}: {how}"}
    floor = max(a.interval.floor, b.interval.floor)
    ceiling = min(a.interval.ceiling, b.interval.ceiling)
    if floor > ceiling:
        return {"probability": None, "low": None, "high": None, "why": "their real-only ladders do not overlap"}
    sign = -1 if a.question.metric in MEASURED else 1
    sides = [[sign * np.clip(draws, floor, ceiling) for draws in answer.draws] for answer in (a, b)]
    shares = [share_above(x, y) for x in sides[0] for y in sides[1]]
    return {"probability": shares[0], "low": min(shares), "high": max(shares), "why": ""}


def share_above(a: Array, b: Array) -> float:
    """The share of all pairs of a draw of `a` and one of `b` in which `a` is larger; ties count half.

    A draw that is not a number may be anything: its pairs count half.
    """
    known, others = a[~np.isnan(a)], np.sort(b[~np.isnan(b)])
    sure = np.searchsorted(others, known, "left").sum() + np.searchsorted(others, known, "right").sum()
    unknown = a.size * b.size - known.size * others.size
    return float((sure + unknown) / 2 / (a.size * b.size))
