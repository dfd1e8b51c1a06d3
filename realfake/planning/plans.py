"""What to buy: the mix of real labels and synthetic images that reaches a response for least, or the best for a budget.

The mix with the smallest cost of all whose expected response meets the target, over the measured real-only ladder and
up to 4 times the measured volume. At an optimum inside that range one more synthetic image is worth what it costs:
value = cost of a synthetic image / cost of a real one, where nothing else of the cost changes with n.

The point fit names the mix. Every draw then says what *that* purchase (its m, and as many labels as the draw needs)
costs beside labels alone, so a saving may be a loss; P is the share of draws in which it is a saving. The intervals of
n and m are where each draw has its own cheapest mix. Where several laws predict as well, intervals span theirs and P is
that of the least sure one. "Buy labels only" and "cannot be reached" are answers. Synthetic images alone (n = 0) are
not considered.

Here: `plan`, `Plan`. Not here: costs (`costs`), the grid (`surface`), wording (`advice`), what to run next (`designs`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realfake.intervals import COVERAGE, Interval, spanning, withheld
from realfake.laws import Array
from realfake.planning.contours import budget_line, contours, levels, real_sizes, responses, spanned
from realfake.planning.costs import Costs, PlanError
from realfake.planning.surface import Surface
from realfake.statistics.equivalence import Fit

__all__ = ["LABELS", "MIX", "UNREACHED", "Costs", "Plan", "PlanError", "Purchase", "plan"]

MIX, LABELS, UNREACHED = "mix", "labels only", "cannot be reached"
ENOUGH = 0.5  # the probability of a saving below which a mix is not advised


@dataclass(frozen=True)
class Purchase:
    """So many real and synthetic images, the response to expect of them, and what they cost with all that is needed."""

    n_real: Interval
    n_synthetic: Interval
    response: Interval
    cost: Interval

    def to_json(self) -> dict[str, Any]:
        return {name: value.to_json() for name, value in self.__dict__.items()}


@dataclass(frozen=True)
class Plan:
    """What to buy, and how sure that is. `verdict` is "mix", "labels only" or "cannot be reached"."""

    fit: Fit = field(repr=False)
    target: float | None
    budget: float | None
    costs: Costs
    verdict: str
    mix: Purchase  # the best one by the point fit, whatever the verdict; where unreached, the best response there is
    labels_only: Purchase
    saving: Interval  # of cost against labels only; for a budget, what the response is lower by
    probability: float  # share of draws in which the mix beats labels only; of the least sure law where there are more
    contours: tuple[dict[str, Any], ...] = field(repr=False)
    budget_lines: tuple[dict[str, Any], ...] = field(repr=False)
    inside: Purchase | None  # the best mix of no more synthetic images than were measured, where `mix` has more

    @property
    def best(self) -> Purchase:
        """What the verdict says to buy."""
        return self.labels_only if self.verdict == LABELS else self.mix

    def to_json(self) -> dict[str, Any]:
        """Plain values, strict JSON; unbounded sides and unknown sizes are None."""
        from realfake.planning.advice import notes, sentence

        named = {name: getattr(self.fit, name) for name in ("arm", "recipe", "response", "law")}
        plain = {name: getattr(self, name) for name in ("target", "budget", "verdict", "probability")}
        intervals = {name: getattr(self, name).to_json() for name in ("mix", "labels_only", "saving", "costs")}
        lists = {name: list(getattr(self, name)) for name in ("contours", "budget_lines")}
        told = {"sentence": sentence(self), "notes": notes(self), "inside": self.inside and self.inside.to_json()}
        return {**named, **plain, **intervals, **lists, **told}

    def to_text(self, width: int = 120) -> str:
        """The plan for a terminal: labels only and the mix side by side, what to buy, the costs, what to beware of."""
        from realfake.planning.advice import terminal

        return terminal(self, width)


def plan(
    fit: Fit,
    *,
    target: float | None = None,
    budget: float | None = None,
    costs: Costs | None = None,
    n_generator: float | None = None,
) -> Plan:
    """The cheapest purchase whose expected response (`fit.response`) is at most `target`, or the best for a `budget`.

    Exactly one of the two. Without `costs` a real image costs 1 and everything else nothing. `n_generator` is the real
    images behind the generator (default: as in the study). Raises PlanError, in one sentence, where nothing was asked,
    or the fit knows no synthetic images, or the budget pays for less than was ever measured.
    """
    if (target is None) == (budget is None):
        raise PlanError("a plan needs a target response or a budget, and not both; give target=… or budget=…")
    asked = budget if target is None else target
    if asked is None or not asked > 0:
        raise PlanError(f"the target or budget is {asked}; it must be above 0")
    costs, answered = costs or Costs(), _cheapest if budget is None else _best_for
    surfaces = [Surface(each, n_generator) for each in (fit, *fit.alternatives)]
    found, inside = answered(surfaces, costs, asked), None
    if found["mix"].n_synthetic.point > fit.measured.m_max:
        inside = answered(surfaces, costs, asked, limit=fit.measured.m_max)
    bought = [purchase.cost for purchase in (found["mix"], found["labels_only"])]
    lines = sorted({cost.point for cost in bought if not cost.censored})
    return Plan(
        fit=fit,
        target=target,
        budget=budget,
        costs=costs,
        contours=contours(surfaces, levels(surfaces[0], target)),
        budget_lines=tuple(budget_line(surfaces[0], costs, line) for line in lines),
        inside=inside["mix"] if inside and inside["verdict"] != UNREACHED else None,
        **found,
    )


# ------------------------------------------------------------------------------------------------- the two questions


def _cheapest(surfaces: list[Surface], costs: Costs, target: float, limit: float = np.inf) -> dict[str, Any]:
    """Verdict, mix (of at most `limit` synthetic images), labels only, saving and probability for a target response."""
    n_max = surfaces[0].fit.measured.n_max
    owns = [_own_cheapest(surface, costs, target, limit) for surface in surfaces]
    volume = float(owns[0][1][0])
    if np.isinf(owns[0][0][0]):
        return _unreached(surfaces, costs)
    needed = {m: [surface.needed(np.array([m]), target)[:, 0] for surface in surfaces] for m in (0.0, volume)}
    paid = {m: [_cost(surface, costs, n, m) for surface, n in zip(surfaces, needed[m], strict=True)] for m in needed}
    most = {m: float(_cost(surfaces[0], costs, n_max, m)) for m in needed}  # at the end of the ladder
    least_sure, savings = _compared(paid[0.0], paid[volume], most[0.0])
    mix = Purchase(
        n_real=real_sizes(surfaces, [n for n, _ in owns]),
        n_synthetic=spanned([m for _, m in owns]),
        response=responses(surfaces, float(needed[volume][0][0]), volume),
        cost=spanned(paid[volume], ceiling=most[volume]),
    )
    labels = Purchase(
        n_real=real_sizes(surfaces, needed[0.0]),
        n_synthetic=_exactly(0.0),
        response=responses(surfaces, min(float(needed[0.0][0][0]), n_max), 0.0),
        cost=spanned(paid[0.0], ceiling=most[0.0]),
    )
    only_mix = labels.n_real.censored == "above"  # labels alone do not reach the target within the ladder
    verdict = MIX if only_mix or (volume > 0 and least_sure >= ENOUGH) else LABELS
    return {"verdict": verdict, "mix": mix, "labels_only": labels, "saving": savings, "probability": least_sure}


def _best_for(surfaces: list[Surface], costs: Costs, budget: float, limit: float = np.inf) -> dict[str, Any]:
    """The same for a budget: the lowest expected response that it pays for."""
    first, least = surfaces[0], surfaces[0].fit.measured.n_min
    most = float(first.affordable(np.zeros(1), budget, costs)[0, 0])
    if np.isnan(most):
        raise PlanError(
            f"a budget of {budget:g} buys less than the smallest real-only size that was measured, {least:g} images "
            f"for {float(_cost(first, costs, least, 0.0)):g}; nothing is known below it"
        )
    owns = [_own_best(surface, costs, budget, limit) for surface in surfaces]
    n, volume = float(owns[0][0][0]), float(owns[0][1][0])
    mixed = [surface.response(n, volume)[:, 0] for surface in surfaces]
    alone = [surface.response(most, 0.0)[:, 0] for surface in surfaces]
    probability = min(float((one[1:] < other[1:]).mean()) for one, other in zip(mixed, alone, strict=True))
    mix = Purchase(
        n_real=real_sizes(surfaces, [n for n, _ in owns]),
        n_synthetic=spanned([m for _, m in owns]),
        response=spanned(mixed),
        cost=_exactly(float(_cost(first, costs, n, volume))),
    )
    cost = _exactly(float(_cost(first, costs, most, 0.0)))
    return {
        "verdict": MIX if volume > 0 and probability >= ENOUGH else LABELS,
        "mix": mix,
        "labels_only": Purchase(_exactly(most), _exactly(0.0), spanned(alone), cost),
        "saving": spanned([other - one for one, other in zip(mixed, alone, strict=True)]),
        "probability": probability,
    }


def _unreached(surfaces: list[Surface], costs: Costs) -> dict[str, Any]:
    """No purchase in the measured range meets the target: the best response there is, at the ladder's end."""
    first, n_max = surfaces[0], surfaces[0].fit.measured.n_max
    volumes = first.smallest(lambda m: first.response(n_max, m))

    def bought(m: float) -> Purchase:
        cost = _exactly(float(_cost(first, costs, n_max, m)))
        return Purchase(_exactly(n_max), _exactly(m), responses(surfaces, n_max, m), cost)

    return {
        "verdict": UNREACHED,
        "mix": bought(float(volumes[0])),
        "labels_only": bought(0.0),
        "saving": withheld("the target cannot be reached within what was measured"),
        "probability": 0.0,
    }


def _own_cheapest(surface: Surface, costs: Costs, target: float, limit: float) -> tuple[Array, Array]:
    """((b,) real, (b,) synthetic images) of the cheapest mix of each row; inf real ones where none meets the target."""
    volumes = surface.smallest(lambda m: _cost(surface, costs, surface.needed(m, target), m), limit)
    return surface.needed(volumes[:, None], target)[:, 0], volumes


def _own_best(surface: Surface, costs: Costs, budget: float, limit: float) -> tuple[Array, Array]:
    """((b,) real, (b,) synthetic images) of the mix with the lowest response of all that the budget pays for."""

    def response(m: Array) -> Array:
        n = surface.affordable(m, budget, costs)
        return np.where(np.isnan(n), np.inf, surface.response(np.where(np.isnan(n), 1.0, n), m))

    volumes = surface.smallest(response, limit)
    return surface.affordable(volumes[:, None], budget, costs)[:, 0], volumes


def _cost(surface: Surface, costs: Costs, n: Any, m: Any) -> Array:
    return costs.of(n, m, surface.generator(n))


def _compared(labels: list[Array], mixes: list[Array], limit: float) -> tuple[float, Interval]:
    """(P that the mix is cheaper, of the least sure law; what it saves), from (b,) costs of each law.

    Where labels alone need more than the ladder has, they cost `limit` at least, and so much is saved at least.
    """
    pairs = list(zip(labels, mixes, strict=True))
    probability = min(float((mix[1:] < only[1:]).mean()) for only, mix in pairs)
    tail, found = (1 - COVERAGE) / 2, []
    for only, mix in pairs:
        beyond = np.isinf(only)
        least = np.where(beyond, limit, only) - mix
        low = float(np.quantile(least[1:], tail, method="inverted_cdf"))
        high = float(np.quantile(np.where(beyond, np.inf, least)[1:], 1 - tail, method="inverted_cdf"))
        point = float(least[0])
        found.append(Interval(point, min(low, point), max(high, point), "above" if beyond[0] else ""))
    return probability, spanning(found)


def _exactly(value: float) -> Interval:
    """What is decided, not measured."""
    return Interval(value, value, value)
