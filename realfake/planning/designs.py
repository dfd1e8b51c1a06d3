"""Which trials to run next: those that narrow one chosen interval most.

The chosen quantity is q = ln(n + a(n, m)), the effective size at one operating point. About the fitted law, the log
responses are a Gaussian linear model in the law's coordinates θ, with the noise of `noise`: what a subset draw shares,
what it shares at one real size, what the images of one generator share, and the trial's own,

    z = J·θ + ε,   M = Jᵀ V⁻¹ J + prior,   Var(q) = cᵀ M⁻¹ c,   c = ∂q/∂θ,

and the trial that is chosen is the one that leaves the smallest t·√Var(q), t being the 97.5 % quantile of Student's t
for the degrees of freedom of the noise (a trial in a new cell adds none): a c-optimal design, greedy, for the law where
it is now (Chaloner & Verdinelli 1995). The prior says no more than that a coordinate lies inside its bounds; without it
nothing could be said while the data do not fix one.

The expected half width is the interval of the fit as it is now, shrunk as t·√Var(q) shrinks. Here: the choice. Not
here: studies in rounds of it (`rounds`), the specs of the chosen trials (`proposals`), noise (`noise`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.laws import Array
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import Evidence
from realfake.statistics.regression import Cells, coordinate_bounds, log_jacobian, log_prediction
from realfake.statistics.trial_table import FitError, Trials

STEP = 1e-4  # of ln n, for the slope of the real-only curve
DRAW, SIZE, GENERATOR, OWN = "subset draw", "subset draw at a size", "generator", "trial"


@dataclass(frozen=True)
class Candidate:
    """A trial that could be run; `replicate` is the number of its subset draw: one there is, or a new one above."""

    n_real: float
    n_synthetic: float
    n_generator: float
    replicate: int


@dataclass(frozen=True)
class Choice:
    """A candidate that was chosen, and the expected half width of q once it and those before it are measured."""

    candidate: Candidate
    half_width: float  # of ln(n + a): 0.1 is 10 % of the effective size


@dataclass(frozen=True)
class Rows:
    """t trials in the linear model."""

    jacobian: Array  # (t, p) ∂ ln y / ∂ coordinates
    scale: Array  # (t,) relative noise SD
    replicate: Array  # (t,) int
    size: Array  # (t,) real images whose draw the trial depends on
    mixed: Array  # (t,) bool

    def take(self, which: Array | slice) -> Rows:
        return Rows(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def joined(self, other: Rows) -> Rows:
        names = self.__dataclass_fields__
        return Rows(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


def next_trials(
    fit: Fit, evidence: Evidence, candidates: Iterable[Candidate], count: int, *, at: tuple[float, float] | None = None
) -> list[Choice]:
    """The `count` candidates, best first, that narrow ln(n + a(n, m)) at the operating point `at` most.

    `evidence` is what `fit` was fitted to. `at` is (n, m), by default the largest mixed cell. Candidates that are
    measured already are passed over, and fewer than `count` come back where they run out.
    """
    known = measured(evidence.trials)
    left = [candidate for candidate in dict.fromkeys(candidates) if candidate not in known]
    if not left:
        return []
    n, m = at or largest_mixture(evidence.trials)
    rows, offered = trial_rows(fit, evidence), candidate_rows(fit, evidence, left)
    direction, variances = gradient(fit, n, m), noise_variances(evidence)
    precision = information(rows, variances) + _prior(fit)
    freedom, cells = _freedom(fit, evidence), {_cell(candidate) for candidate in known}
    now = _t(freedom) * float(np.sqrt(direction @ np.linalg.solve(precision, direction)))
    half_width, chosen, open_ = _half_width(fit, n, m, now), [], np.ones(len(left), dtype=bool)
    while len(chosen) < count and open_.any():
        added = _added(rows, offered, variances)
        repeated = np.array([_cell(candidate) in cells for candidate in left])
        after = _t(freedom + repeated) * np.sqrt(_variance_after(precision, direction, added))
        after = np.where(open_, after, np.inf)
        best = int(np.flatnonzero(after <= after.min() * (1 + 1e-9))[0])  # rounding must not choose among equals
        precision = precision + np.outer(added[best], added[best])
        rows, open_[best] = rows.joined(offered.take(slice(best, best + 1))), False
        freedom, cells = freedom + bool(repeated[best]), cells | {_cell(left[best])}
        chosen.append(Choice(left[best], half_width * float(after[best]) / now))
    return chosen


def half_width_now(fit: Fit, evidence: Evidence, n: float, m: float) -> float:
    """The half width of ln(n + a(n, m)) before any further trial."""
    direction = gradient(fit, n, m)
    precision = information(trial_rows(fit, evidence), noise_variances(evidence)) + _prior(fit)
    sd = float(np.sqrt(direction @ np.linalg.solve(precision, direction)))
    return _half_width(fit, n, m, _t(_freedom(fit, evidence)) * sd)


def candidates(trials: Trials, cells: Iterable[tuple[float, float, float]], new: int = 1) -> list[Candidate]:
    """Cells (n, m, n_generator) under every replicate there is and under `new` further ones; measured ones left out."""
    replicates = range(trials.n_replicates + new)
    found = (Candidate(float(n), float(m), float(g), replicate) for n, m, g in cells for replicate in replicates)
    return [candidate for candidate in dict.fromkeys(found) if candidate not in measured(trials)]


def measured(trials: Trials) -> set[Candidate]:
    """The trials that are measured, as candidates."""
    cells, of = trials.cells, trials.cells.of_trial
    columns = (cells.n[of], cells.m[of], cells.n_generator[of], trials.replicate)
    return {Candidate(float(n), float(m), float(g), int(r)) for n, m, g, r in zip(*columns, strict=True)}


def largest_mixture(trials: Trials) -> tuple[float, float]:
    """(n, m) of the mixed cell with the most real images, and of those the most synthetic ones."""
    mixed = [(float(n), float(m)) for n, m in zip(trials.cells.n, trials.cells.m, strict=True) if n > 0 and m > 0]
    if not mixed:
        raise FitError("the table has no mixture beside real images, so there is no equivalent to narrow")
    return max(mixed)


# -------------------------------------------------------------------------------------------------- the linear model


def gradient(fit: Fit, n: float, m: float) -> Array:
    """∂ ln(n + a(n, m)) / ∂ coordinates (p,), 0 for parameters that are held.

    f(N) = y(n, m) defines N = n + a, so ∂ ln N = (∂ ln y(n, m) − ∂ ln f(N)) / (d ln f / d ln N).
    """
    law, point, generator = fit.formula, np.array([fit.point]), fit.measured.generator(n)
    effective = n + float(law.equivalent(fit.point, n, m, generator))
    if not np.isfinite(effective) or effective <= 0:
        raise FitError(f"the effective size at {n:g} + {m:g} images is {effective:g}; it cannot be narrowed")
    sides = effective * np.exp(np.array([-STEP, STEP]))
    low, high = log_prediction(law, point, _cells(sides, 0 * sides, sides))[0]
    slope = (high - low) / (2 * STEP)
    _, jacobian = log_jacobian(law, point, _cells([n, effective], [m, 0], [generator, effective]))
    return (jacobian[0, 0] - jacobian[0, 1]) / slope * _free(fit)


def trial_rows(fit: Fit, evidence: Evidence) -> Rows:
    """The rows of the trials that a fit rests on."""
    trials, cells = evidence.trials, evidence.trials.cells
    jacobian = log_jacobian(fit.formula, np.array([fit.point]), cells)[1][0] * _free(fit)
    of = cells.of_trial
    rows = Rows(jacobian[of], evidence.noise.scale, trials.replicate, trials.draw_size, (cells.m > 0)[of])
    return rows if fit.formula.synthetic_alone else rows.take((cells.n > 0)[of])


def candidate_rows(fit: Fit, evidence: Evidence, offered: list[Candidate]) -> Rows:
    """The rows of trials that are not measured; their noise is that of trials with about their response."""
    n, m, generator = np.array([[c.n_real, c.n_synthetic, c.n_generator] for c in offered], dtype=float).T
    point = np.array([fit.point])
    response, jacobian = log_jacobian(fit.formula, point, _cells(n, m, generator))
    measured_response = log_prediction(fit.formula, point, evidence.trials.cells)[0, evidence.trials.cells.of_trial]
    by_response = np.argsort(measured_response)
    scale = np.interp(response[0], measured_response[by_response], evidence.noise.scale[by_response])
    replicate, size = np.array([c.replicate for c in offered]), np.where(n > 0, n, generator)
    return Rows(jacobian[0] * _free(fit), scale, replicate, size, m > 0)


def noise_variances(evidence: Evidence) -> dict[str, float]:
    """The variance of each source of noise, by name, in units of the scale; 0 where none was found."""
    found = zip(evidence.noise.levels, evidence.noise.variances(), strict=True)
    return {DRAW: 0.0, SIZE: 0.0, GENERATOR: 0.0, **{level.name: float(variance) for level, variance in found}}


def covariance(one: Rows, other: Rows, variances: dict[str, float]) -> Array:
    """(t, t') covariance of the log responses of different trials.

    Mixtures of one draw at one size are taken to come from one generator.
    """
    at_size = one.size[:, None] == other.size
    mixed = at_size & one.mixed[:, None] & other.mixed
    shared = variances[DRAW] + variances[SIZE] * at_size + variances[GENERATOR] * mixed
    return (one.replicate[:, None] == other.replicate) * shared * one.scale[:, None] * other.scale


def information(rows: Rows, variances: dict[str, float]) -> Array:
    """Jᵀ V⁻¹ J, (p, p), replicate by replicate, for different ones share nothing."""
    total = np.zeros((rows.jacobian.shape[1],) * 2)
    for replicate in np.unique(rows.replicate):
        own = rows.take(rows.replicate == replicate)
        noise = covariance(own, own, variances) + np.diag(variances[OWN] * own.scale**2)
        total += own.jacobian.T @ np.linalg.solve(noise, own.jacobian)
    return total


def _added(rows: Rows, offered: Rows, variances: dict[str, float]) -> Array:
    """(c, p) rows u: measuring a candidate adds u uᵀ to the information, what the trials do not foretell of it."""
    added = np.zeros_like(offered.jacobian)
    for replicate in np.unique(offered.replicate):
        new, old = offered.replicate == replicate, rows.take(rows.replicate == replicate)
        fresh = offered.take(new)
        own = (variances[DRAW] + variances[SIZE] + variances[GENERATOR] * fresh.mixed + variances[OWN]) * fresh.scale**2
        shared = covariance(fresh, old, variances)
        noise = covariance(old, old, variances) + np.diag(variances[OWN] * old.scale**2)
        weights = np.linalg.solve(noise, shared.T).T
        rest = np.maximum(own - (weights * shared).sum(axis=1), 1e-6 * own)
        added[new] = (fresh.jacobian - weights @ old.jacobian) / np.sqrt(rest)[:, None]
    return added


def _prior(fit: Fit) -> Array:
    """The precision of knowing that a coordinate lies inside its bounds: 4 SDs wide; held ones are known."""
    low, high = coordinate_bounds(fit.formula)
    return np.diag(np.where(_free(fit), (4 / (high - low)) ** 2, 1.0))


def _free(fit: Fit) -> Array:
    """(p,) bool: a parameter that is held is equal in every draw."""
    return np.ptp(np.array([fit.point, *fit.draws]), axis=0) > 0


def _half_width(fit: Fit, n: float, m: float, linear: float) -> float:
    """Of ln(n + a) as the fit has it now; that of the linear model where an end is open."""
    now = fit.effective(n, m)
    if now.censored or not (now.low > 0 and np.isfinite(now.high)):
        return linear
    return float(np.log(now.high / now.low) / 2)


def _freedom(fit: Fit, evidence: Evidence) -> int:
    """Degrees of freedom of the noise: trials less cells, or less parameters where no cell is repeated."""
    trials, cells = len(evidence.trials.values), len(evidence.trials.cells.n)
    return max(trials - (cells if trials > cells else int(_free(fit).sum())), 1)


def _t(freedom: Any) -> Any:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return stdtrit(freedom, 0.975)


def _variance_after(precision: Array, direction: Array, added: Array) -> Array:
    """(c,) variance of q once a candidate is measured (Sherman & Morrison 1950)."""
    spread = np.linalg.solve(precision, np.column_stack([direction, added.T]))
    now, gained = direction @ spread[:, 0], (added @ spread[:, 0]) ** 2
    return now - gained / (1 + (added * spread[:, 1:].T).sum(axis=1))


def _cell(candidate: Candidate) -> tuple[float, float, float]:
    return candidate.n_real, candidate.n_synthetic, candidate.n_generator


def _cells(n, m, generator) -> Cells:
    n, m, generator = (np.asarray(values, dtype=float) for values in (n, m, generator))
    return Cells(n, m, generator, np.arange(len(n)))
