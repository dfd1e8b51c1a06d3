"""A plan in plain words, and its table for a terminal. Here: wording. Not here: numbers (`planning` hands them in)."""

from __future__ import annotations

import math
import textwrap

from realfake.columns import grid
from realfake.intervals import Interval
from realfake.planning.plans import MIX, UNREACHED, Plan, Purchase
from realfake.responses import RESPONSES
from realfake.statistics.equivalence import FARTHEST_EXTRAPOLATION, Fit


def sentence(plan: Plan) -> str:
    """What to buy, beside what labels alone would cost, how sure that is, and what it rests on."""
    if plan.verdict == UNREACHED:
        said = _unreached(plan)
    elif plan.budget is not None:
        said = _for_a_budget(plan, plan.budget)
    else:
        said = _for_a_target(plan)
    return f"{said} ({_basis(plan.fit)})."


def terminal(plan: Plan, width: int) -> str:
    """Labels only and the mix side by side, then what to buy, the costs, and what to beware of."""
    unit = f", {plan.costs.unit}" if plan.costs.unit else ""
    header = ("", "real images", "synthetic images", f"expected\n{_response(plan.fit)}", f"cost{unit}")
    name = "best reachable" if plan.verdict == UNREACHED else "best mix" if plan.budget is not None else "cheapest mix"
    rows = [["labels only", *_cells(plan.labels_only)], [name, *_cells(plan.mix)]]
    rows += [[f"{name}\nas far as measured", *_cells(plan.inside)]] if plan.inside else []
    told = [sentence(plan), f"Costs: {plan.costs}.", *(f"Beware: {note}." for note in notes(plan))]
    blocks = [
        "\n".join(grid(header, rows, width)),
        *(textwrap.fill(text, width, subsequent_indent="  ") for text in told),
    ]
    return "\n\n".join(blocks)


def notes(plan: Plan) -> list[str]:
    """What to beware of: what is extrapolated, what the ladder's ends hide, a fit that is known to be off."""
    fit, measured, n, m = plan.fit, plan.fit.measured, plan.mix.n_real.point, plan.mix.n_synthetic.point
    beside = [size for size, _ in measured.generator_sizes if size > 0] or [n]
    near = min(beside) * (1 - 1e-9) <= n <= max(beside) * (1 + 1e-9)
    span = f"{min(beside):,.0f} to {max(beside):,.0f}"
    rejected = fit.lack_of_fit if fit.lack_of_fit is not None and fit.lack_of_fit.fails else None
    said = {
        f"the mix is extrapolated: no more than {measured.m_max:,.0f} synthetic images were measured": (
            m > measured.m_max
        ),
        "the mix is at the largest volume that a law is asked for, 4 times the measured one": (
            m >= FARTHEST_EXTRAPOLATION * measured.m_max * (1 - 1e-6)
        ),
        f"the mix is extrapolated: mixtures were measured beside {span} real images": m > 0 and not near,
        f"the smallest size that was measured, {measured.n_min:,.0f} real images, is enough; fewer might do": (
            plan.best.n_real.censored == "below"
        ),
        f"the budget buys the whole ladder of {measured.n_max:,.0f} real images; nothing was measured beyond": (
            plan.budget is not None and plan.best.n_real.point >= measured.n_max
        ),
        f"the law does not fit the cells (p = {rejected.p if rejected else 1:.2g}), and the plan rests on it": (
            rejected is not None
        ),
        f"the fit is not identifiable: {fit.reason}": fit.status == "not identifiable",
    }
    return [text for text, holds in said.items() if holds]


def _cells(bought: Purchase) -> list[str]:
    return [images(bought.n_real), images(bought.n_synthetic), amount(bought.response), amount(bought.cost)]


def _for_a_target(plan: Plan) -> str:
    reach = f"To reach an expected {_response(plan.fit)} of {plan.target:g}{_with(plan.fit)}"
    labels = f"{images(plan.labels_only.n_real)} real images for {_paid(plan, plan.labels_only.cost)}"
    if plan.verdict == MIX:
        return (
            f"{reach}, buy {_mix(plan)}, for {_paid(plan, plan.mix.cost)} against {_paid(plan, plan.labels_only.cost)} "
            f"for labels only ({images(plan.labels_only.n_real)} real images); it saves {_paid(plan, plan.saving)}, "
            f"and saves anything in {_share(plan)}"
        )
    if plan.mix.n_synthetic.point == 0:
        return f"{reach}, buy labels only: {labels}; no mix is cheaper"
    return (
        f"{reach}, buy labels only: {labels}; the mix that would be cheapest, {_mix(plan)}, saves "
        f"{_paid(plan, plan.saving)}, and saves anything in {_share(plan)} only"
    )


def _for_a_budget(plan: Plan, budget: float) -> str:
    spend = f"For {_number(budget)}{_unit(plan)}{_with(plan.fit)}"
    name, alone = _response(plan.fit), images(plan.labels_only.n_real)
    responses = (amount(plan.mix.response), amount(plan.labels_only.response))
    better = f"lower by {amount(plan.saving)}, and lower at all in {_share(plan)}"
    if plan.verdict == MIX:
        return (
            f"{spend}, buy {_mix(plan)}: an expected {name} of {responses[0]}, against {responses[1]} with labels only "
            f"({alone} real images); {better}"
        )
    only = f"{spend}, buy labels only: {alone} real images, an expected {name} of {responses[1]}"
    return f"{only}; " + ("no mix is better" if plan.mix.n_synthetic.point == 0 else f"{_mix(plan)} is {better} only")


def _unreached(plan: Plan) -> str:
    name, best, floor = _response(plan.fit), plan.mix, plan.fit.parameters.get("floor")
    below = floor is not None and plan.target is not None and plan.target <= floor.point
    why = f"it is below the floor of the fitted curve, {amount(floor)}; " if below and floor is not None else ""
    return (
        f"An expected {name} of {plan.target:g}{_with(plan.fit)} cannot be reached within what was measured: {why}"
        f"the lowest is {amount(best.response)}, by {_mix(plan)} for {_paid(plan, best.cost)}"
    )


def _mix(plan: Plan) -> str:
    real, synthetic = plan.mix.n_real, plan.mix.n_synthetic
    made = f" and {images(synthetic)} synthetic ones from '{plan.fit.arm}'" if synthetic.point > 0 else ""
    return f"{images(real)} real images{made}"


def _share(plan: Plan) -> str:
    least = ", by the least sure law" if plan.fit.alternatives else ""
    return f"{plan.probability:.0%} of the draws{least}"


def _basis(fit: Fit) -> str:
    others = [f"'{other.law}'" for other in fit.alternatives]
    laws = f"law '{fit.law}'" + (f" and, predicting as well, {', '.join(others)}," if others else "")
    replicates = "one seed" if fit.n_replicates == 1 else f"{fit.n_replicates} replicates"
    range_ = f"measured to {fit.measured.n_max:,.0f} real and {fit.measured.m_max:,.0f} synthetic"
    return f"{replicates}, {laws} in {_response(fit)}, {range_}"


def _response(fit: Fit) -> str:
    return RESPONSES[fit.response]


def _with(fit: Fit) -> str:
    return f" with {fit.recipe}" if fit.recipe else ""


def _paid(plan: Plan, cost: Interval) -> str:
    return f"{amount(cost)}{_unit(plan)}"


def _unit(plan: Plan) -> str:
    return f" {plan.costs.unit}" if plan.costs.unit else ""


def images(value: Interval) -> str:
    """A number of images with its interval; one that is decided, and not measured, has none."""
    return f"{value.point:,.0f}" if _decided(value) else str(value)


def amount(value: Interval) -> str:
    """Any other number with its interval, if it has one."""
    return _number(value.point) if _decided(value) else str(value)


def _decided(value: Interval) -> bool:
    return not value.censored and value.low == value.high


def _number(value: float) -> str:
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"
