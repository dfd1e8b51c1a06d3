"""From the records of a study, or a table from anywhere, to a plan and the trials to run next: the verb ``plan``.

Here: which fit answers, what costs count, how the next trials print. Not here: the plan (`planning`), the choice of
trials (`designs`), their specs (`proposals`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from realfake import records, results
from realfake.columns import grid
from realfake.planning.costs import Costs, PlanError, measured_costs
from realfake.planning.designs import half_width_now, largest_mixture
from realfake.planning.plans import Plan, plan
from realfake.planning.proposals import Proposal, next_specs
from realfake.resources import Where
from realfake.responses import RESPONSES
from realfake.spec import Trial, address
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import FEWEST_DRAWS, gather
from realfake.statistics.trial_table import normalised, read_csv, responses_of, select
from realfake.store import Store
from realfake.studyfile import StudyFile

NEXT = 6  # trials that are proposed


@dataclass(frozen=True)
class Question:
    """What is asked of a plan: a target or a budget, of which fit, at what costs (None: not given)."""

    target: float | None = None
    budget: float | None = None
    real: float | None = None
    synthetic: float | None = None
    generator: float | None = None
    training: float | None = None
    response: str | None = None  # of what the target is: error where it was measured, else the main response
    arm: str | None = None
    recipe: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The costs that are given beside that of a real image."""
        named = {name: getattr(self, name) for name in ("synthetic", "generator", "training")}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def real_cost(self) -> float:
        """What a label costs. Raises PlanError where it was not said, for nothing measures it."""
        if self.real is None:
            raise PlanError("nothing measures what a label costs; say it: --real-cost 30")
        return self.real


@dataclass(frozen=True)
class Advice:
    """A plan, and the trials that would make the equivalent at `at` surer, whose half width is `now`."""

    plan: Plan
    at: tuple[float, float]
    now: float
    proposals: tuple[Proposal, ...]

    def to_json(self) -> dict[str, Any]:
        rows = [
            {**records.sizes(proposal.trial), "address": address(proposal.trial), "half_width": proposal.half_width}
            for proposal in self.proposals
        ]
        return {**self.plan.to_json(), "next": {"at": list(self.at), "half_width": self.now, "trials": rows}}

    def to_text(self, width: int = 120) -> str:
        n, m = self.at
        title = (
            f"Trials that would narrow the effective size at {n:,.0f} + {m:,.0f} images most, of their own draws "
            f"(seed); it is known to ± {self.now:.0%} now:"
        )
        table = grid(
            ("real", "synthetic", "seed", "then known to"), [_row(proposal) for proposal in self.proposals], width
        )
        text = self.plan.to_text(width)
        return "\n\n".join([text, "\n".join([*textwrap.wrap(title, width), *table])]) if self.proposals else text


def of_study(file: StudyFile, where: Where, question: Question) -> Advice:
    """The plan of a study from what is made of it. Raises PlanError or FitError, in one sentence."""
    import pandas as pd

    real = question.real_cost
    rows, analysis, _ = results.answer(file, where)
    question = _worded(question, analysis["settings"]["responses"])
    fit = _fit([Fit.from_json(values) for values in analysis["fits"]], question)
    own = _own(file.study.trials, fit)
    costs = Costs(real=real, **question.given) if question.given else measured_costs(own, Store(where.store), real=real)
    bought = plan(fit, target=question.target, budget=question.budget, costs=costs)
    chosen = select(normalised(pd.DataFrame(rows)), response=fit.response, arm=fit.arm, recipe=fit.recipe)
    evidence, at = gather(chosen, bootstrap=FEWEST_DRAWS, seed=0), largest_mixture(chosen)
    proposals = next_specs(file.study, fit, evidence, NEXT, at=at)
    return Advice(bought, at, half_width_now(fit, evidence, *at), tuple(proposals))


def of_table(path: str, question: Question) -> Plan:
    """The plan of a CSV of trials; costs that are not given are 0."""

    from realfake import fit

    costs = Costs(real=question.real_cost, **question.given)
    table = read_csv(path)
    asked = _worded(question, responses_of(table))
    named: dict[str, Any] = {"response": asked.response, "arm": asked.arm, "recipe": asked.recipe}
    return plan(fit(table, **named), target=question.target, budget=question.budget, costs=costs)


def _worded(question: Question, responses: Sequence[str]) -> Question:
    """The question with its response named."""
    usual = "error" if "error" in responses or not responses else responses[0]
    return replace(question, response=question.response or usual)


def _fit(fits: list[Fit], question: Question) -> Fit:
    """The one fit that is asked for."""
    of_response = [fit for fit in fits if fit.response == question.response]
    asked = {"arm": question.arm, "recipe": question.recipe}
    found = [fit for fit in of_response if all(want in (None, getattr(fit, name)) for name, want in asked.items())]
    if len(found) == 1:
        return found[0]
    name = RESPONSES[question.response or ""]
    known = "; ".join(f"--arm '{fit.arm}' --recipe '{fit.recipe}'" for fit in of_response)
    raise PlanError(
        f"{len(found)} fits of the study answer that in {name}, and a plan needs one; there is {known or 'none'}"
    )


def _own(trials: tuple[Trial, ...], fit: Fit) -> list[Trial]:
    """The trials that a fit rests on: its recipe's real-only ones and its arm's."""
    arm, recipe = records.arms(trials), records.recipes(trials)
    names = (records.REAL_ONLY, fit.arm)
    return [t for t in trials if recipe[address(t)] == fit.recipe and arm[address(t)] in names]


def _row(proposal: Proposal) -> list[str]:
    sizes = records.sizes(proposal.trial)
    seed = str(proposal.trial.seed)
    return [f"{sizes['n_real']:,}", f"{sizes['n_synthetic']:,}", seed, f"± {proposal.half_width:.1%}"]
