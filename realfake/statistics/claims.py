"""The verdict on every claim of a study: supported, contradicted, equivalent to none, or undecided.

A claim over several points stands or falls with its weakest one: the contrast that is least as claimed. At level 1 − α
the near end of its interval is the weakest near end at tail α/2 (every point must hold, which needs no correction), the
far end the weakest far end at tail α/(2k) over k points (any one may contradict). The claim is

    supported           where that interval lies beyond the bound in the claimed direction
    contradicted        where it lies on the other side
    equivalent to none  where it, and that of every other point, lies within the smallest effect of the bound
    undecided           otherwise, and where the quantity cannot be had

in this order, with α by Holm's step-down (1979) over all claims that were declared, those without an answer included.
Intervals span the laws of the set, so a verdict is one that all of them give, and where they differ there is none.
Tails so thin need more simulated studies than a 95 % interval does, so claims simulate their own.

Here: the verdicts. Not here: `Claim` itself (`hypotheses`), its draws (`contrasts`), intervals of cells (`analysis`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from realfake.hypotheses import MEASURED, Claim
from realfake.intervals import Interval, withheld
from realfake.laws import Array
from realfake.spec import Study
from realfake.statistics.contrasts import Bounds, Side, contrast
from realfake.statistics.fits import Evidence, PerImage, gather
from realfake.statistics.trial_table import REAL_ONLY, FitError, Frame, Trials, normalised, responses_of, select
from realfake.values import SpecError, nearest

ALPHA = 0.05
DRAWS_IN_TAIL = 4  # simulated studies in the thinnest tail that a claim may need
MOST_DRAWS = 10_000

Key = tuple[str, str, str]  # recipe, arm, response


@dataclass(frozen=True)
class Weakest:
    """The contrasts of a claim at its k points, turned so that more is more as claimed; or why there are none."""

    claim: Claim
    points: tuple[Bounds, ...] = ()
    basis: str = ""
    trouble: str = ""

    @property
    def sign(self) -> float:
        return 1.0 if self.claim.direction == "above" else -1.0

    @cached_property
    def estimate(self) -> tuple[float, float]:
        """The ends between which the estimate of the weakest point is known to lie."""
        return min(float(p.lower[0]) for p in self.points), min(float(p.upper[0]) for p in self.points)

    @property
    def name(self) -> str:
        """The weakest point in words."""
        position = int(np.argmin([point.lower[0] for point in self.points]))
        several = f", the weakest of {len(self.points)}" if len(self.points) > 1 else ""
        return self.claim.named(self.claim.contrasts[position]) + several

    def beyond(self, bound: float) -> float:
        """One-sided p of "every point lies above `bound`": that of the weakest."""
        if self.estimate[0] <= bound:
            return 1.0
        return max(_share(point.lower[1:] <= bound) for point in self.points)

    def near(self, bound: float, effect: float) -> float:
        """One-sided p of "every point lies within `effect` of `bound`": that of the worst end (two one-sided tests)."""
        ends = [(point.lower, point.upper) for point in self.points]
        if any(lower[0] <= bound - effect or upper[0] >= bound + effect for lower, upper in ends):
            return 1.0
        return max(
            max(_share(lower[1:] <= bound - effect), _share(upper[1:] >= bound + effect)) for lower, upper in ends
        )

    def short(self, bound: float) -> float:
        """One-sided p of "some point lies below `bound`": the smallest, Bonferroni over the points."""
        if self.estimate[1] >= bound:
            return 1.0
        return min(1.0, len(self.points) * min(_share(point.upper[1:] >= bound) for point in self.points))

    @cached_property
    def p_values(self) -> dict[str, float]:
        """The two-sided p of each verdict: the smallest α at which the intervals give it."""
        if self.trouble:
            return {}
        bound, effect = self.sign * self.claim.bound, self.claim.smallest_effect
        none = self.near(bound, effect)
        one_sided = {"supported": self.beyond(bound), "contradicted": self.short(bound), "equivalent to none": none}
        return {verdict: min(1.0, 2 * p) for verdict, p in one_sided.items()}

    def ends(self, alpha: float) -> tuple[float, float]:
        """The interval of the weakest point at level 1 − alpha, its estimate included."""
        low = min(_low_end(point.lower[1:], alpha / 2) for point in self.points)
        high = min(-_low_end(-point.upper[1:], alpha / 2 / len(self.points)) for point in self.points)
        return min(low, self.estimate[0]), max(high, self.estimate[1])

    def interval(self, alpha: float) -> Interval:
        """Estimate and interval of the weakest point, as the claim states it: not turned."""
        if self.trouble:
            return withheld(self.trouble)
        (lower, upper), (low, high) = self.estimate, self.ends(alpha)
        if self.sign < 0:
            lower, upper, low, high = -upper, -lower, -high, -low
        if lower == upper and math.isfinite(lower):
            return Interval(lower, low, high)
        above = upper == math.inf  # an infinite price, or beyond the ladder: what it exceeds is known
        bound = next((end for end in ((lower, low) if above else (upper, high)) if math.isfinite(end)), None)
        if bound is None:
            return withheld("infinite, or beyond all that was measured")
        return Interval(bound, low, math.inf, "above") if above else Interval(bound, -math.inf, high, "below")


def _share(draws: Array) -> float:
    """The share of True among simulated studies, with the study itself counted as one (Davison & Hinkley 1997)."""
    return (1 + int(draws.sum())) / (1 + len(draws))


def _low_end(draws: Array, tail: float) -> float:
    """The draw that lies above a bound exactly where the `_share` of draws up to that bound is within `tail`."""
    rank = math.floor(tail * (1 + len(draws)) + 1e-9)
    return float(np.partition(draws, rank - 1)[rank - 1]) if rank >= 1 else -math.inf


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> tuple[list[float], list[float]]:
    """(adjusted p, the α of each one's interval) by Holm's step-down; from the first failure on, α stays."""
    count = len(p_values)
    adjusted, alphas = [1.0] * count, [alpha] * count
    largest, passed = 0.0, 0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index], alphas[index] = largest, alpha / (count - passed)
        passed += largest <= alpha
    return adjusted, alphas


def judge(
    claims: Sequence[Claim],
    table: Frame,
    *,
    per_image: PerImage | None = None,
    bootstrap: int = 400,
    seed: int = 0,
    laws: Mapping[Key, Sequence[str]] | None = None,
    others: int = 0,
) -> list[dict[str, Any]]:
    """One row of plain values for each claim, in the order given: estimate, verdict, why.

    ``others`` is how many claims were declared beside these and are judged elsewhere (``effects``).

    `table`, `per_image`, `bootstrap` and `seed` are those of `realfake.fit`. `laws` names who answers for each (recipe,
    arm, response), as `contrasts.who_answers` does: laws, "inversion" (also where it names none), or both; without it
    they are chosen by the rule of `realfake.fit`. A claim that cannot be answered is undecided and says why. Raises
    FitError for a table that makes no sense at all.
    """
    ordered = normalised(table)
    responses = responses_of(ordered)
    draws = draws_needed(claims, bootstrap)
    sides: dict[Key, Side] = {}

    def side(arm: str, recipe: str, response: str) -> Side:
        key = (recipe, arm, response)
        if key not in sides:
            trials = select(ordered, response=response, arm=arm or None, recipe=recipe or None)
            evidence = _gathered(trials, per_image, bootstrap, draws, seed)
            known = None if laws is None else tuple(laws.get((trials.recipe, trials.arm, response), ()))
            sides[key] = Side(evidence, known, bootstrap)
        return sides[key]

    found = [_weakest(claim, side, responses, seed) for claim in claims]
    adjusted, alphas = holm([*(min(one.p_values.values(), default=1.0) for one in found), *[1.0] * others])
    return [_row(*one) for one in zip(found, adjusted, alphas, strict=False)]


def draws_needed(claims: Sequence[Claim], bootstrap: int) -> int:
    """Simulated studies that leave DRAWS_IN_TAIL of them in the thinnest tail, within MOST_DRAWS."""
    tails = [ALPHA / 2 / len(claims) / len(claim.at) for claim in claims]
    return max(bootstrap, min(MOST_DRAWS, math.ceil(DRAWS_IN_TAIL / min(tails, default=1.0))))


def _gathered(trials: Trials, per_image: PerImage | None, bootstrap: int, draws: int, seed: int) -> Evidence:
    """Evidence with many draws in parts of `bootstrap`: the first is the analysis's own, and memory stays small.

    Test images are resampled where their results are complete, as in the analysis, which warns where they are not.
    """
    complete = per_image is not None and all(trials.response in per_image.get(name, {}) for name in trials.address)
    images = per_image if complete else None
    seeds = range(seed, seed + math.ceil(draws / bootstrap))
    parts = [gather(trials, bootstrap=bootstrap, seed=each, per_image=images) for each in seeds]
    return replace(parts[0], deviations=np.concatenate([part.deviations for part in parts]))


def _weakest(claim: Claim, side: Callable[[str, str, str], Side], responses: Sequence[str], seed: int) -> Weakest:
    response = "error" if claim.quantity == "error" else claim.response or responses[0]
    arm = claim.arm or (REAL_ONLY if claim.real_only and claim.quantity in MEASURED else "")
    try:
        first = side(arm, claim.recipe, response)
        other = (claim.minus_arm or arm, claim.minus_recipe or claim.recipe, response)
        second = side(*other) if claim.other_side else first
        basis = first.readers(claim.quantity)[0]
        points = [contrast(claim.quantity, first, second, *pair, seed) for pair in claim.contrasts]
    except FitError as error:
        return Weakest(claim, trouble=str(error))
    return Weakest(claim, tuple(p if claim.direction == "above" else p.negated() for p in points), basis)


def _row(weakest: Weakest, adjusted: float, alpha: float) -> dict[str, Any]:
    claim, estimate = weakest.claim, weakest.interval(alpha)
    given = [verdict for verdict, p in weakest.p_values.items() if adjusted <= ALPHA and p <= alpha]
    fields = ("name", "quantity", "direction", "bound", "smallest_effect")
    return {
        **{name: getattr(claim, name) for name in fields},
        "points": [claim.named(pair) for pair in claim.contrasts],
        "estimate": estimate.to_json(),
        "level": 1 - alpha,
        "p": adjusted,
        "verdict": given[0] if given else "undecided",
        "why": weakest.trouble
        or f"{weakest.name}: {estimate}, {_found(claim, given)}{'' if given else _disagreement(weakest, alpha)}",
        "basis": weakest.basis,
    }


def _disagreement(weakest: Weakest, alpha: float) -> str:
    """What each law alone would say at that level, where they do not say the same: why nothing was decided."""
    laws = {len(point.each) for point in weakest.points}
    if len(laws) != 1 or not max(laws):  # one law, or some are silent at some points
        return ""
    alone = [Weakest(weakest.claim, points) for points in zip(*(point.each for point in weakest.points), strict=True)]
    said = [next((name for name, p in one.p_values.items() if p <= alpha), "undecided") for one in alone]
    counted = ", ".join(f"{said.count(verdict)} {verdict}" for verdict in dict.fromkeys(said))
    return f"; the laws disagree: by themselves {counted}" if len(set(said)) > 1 else ""


def _found(claim: Claim, given: list[str]) -> str:
    """Where the interval lies, in words."""
    several = len(claim.at) > 1
    near = f"within {claim.smallest_effect:g} of {claim.bound:g}"
    other = "below" if claim.direction == "above" else "above"
    said = {
        "supported": f"{claim.direction} {claim.bound:g}",
        "contradicted": f"{other} {claim.bound:g}",
        "equivalent to none": near,
    }
    undecided = f"not surely on one side of {claim.bound:g}, nor {'is every point surely ' if several else ''}{near}"
    return " and ".join(said[verdict] for verdict in given) or undecided


def refuse_unknown_arms(study: Study) -> None:
    """Refuse claims about arms and recipes that the trials of a study do not have, before they run: SpecError."""
    from realfake import records

    arms = (set(records.arms(study.trials).values()) | records.chosen_arms(study)) - {REAL_ONLY}
    recipes = records.groups(study)
    for claim in study.claims:
        first = [("arm", claim.arm, arms), ("recipe", claim.recipe, recipes)]
        second = [("arm", claim.minus_arm, arms), ("recipe", claim.minus_recipe, recipes)]
        for kind, name, known in (*first, *second):
            if name and name not in known:
                raise SpecError(f"Claim {claim.name!r}: the study has no {kind} {name!r}; {nearest(name, known)}")
        for kind, name, known in first:
            if not name and len(known) > 1 and not (kind == "arm" and claim.real_only):
                raise SpecError(f"Claim {claim.name!r}: the study has {len(known)} {kind}s; {nearest('', known)}")
