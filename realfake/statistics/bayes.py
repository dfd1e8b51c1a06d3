"""Posterior draws of a law's parameters: the Bayesian alternative to refitting simulated tables.

The model of the log response of trial t, in cell c:

    ln y_t = ln f_θ(c) + scale_c · (u of its subset draw + u of the draw at its size + u of its generator + ε_t)

with normal terms, each level with an SD of its own. The levels are those that `noise` has degrees of freedom for, and
the scale is its estimate. Shared terms are nested, so they are integrated out exactly (`log_likelihood`) and only θ and
the logarithms of the SDs are sampled. A trial that lies z > 3 times as far from the robust point fit as is usual (in
robust SDs, from the median distance) gets an ε_t of z/3 times the SD, so that an outlier counts little here too.

Priors, all cut off at the law's bounds:

    log-scaled parameters (amplitude, half, …)       flat in the logarithm
    exponent                                         normal, 0.5 ± 0.5
    others that the response is linear in            half-Cauchy, scale: the median response (floor, harm)
    others from 0 to 10 or more                      half-Cauchy, scale: the largest start of a search (rate: 2)
    the rest                                         flat
    SD of every level                                half-Cauchy, scale 0.1 of a log response, up to e³

Chains: emcee's ensemble sampler (Foreman-Mackey et al. 2013) with differential-evolution moves, run until they are 50
autocorrelation times long (Goodman & Weare 2010) and no walker is stuck apart from the others. Here: the model and its
chains. Not here: the point fit, its status and its lack-of-fit test, which a fit with posterior draws keeps (`fits`),
and what is asked of draws (`equivalence`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType

import numpy as np

from realfake.laws import Array, Law
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import SIGNIFICANT_DIGITS, Evidence, freedom
from realfake.statistics.noise import SMALLEST_SD, Level
from realfake.statistics.regression import Cells, coordinate_bounds, from_coordinates, log_prediction, to_coordinates
from realfake.statistics.trial_table import FitError

NOISE = "Bayesian posterior"
SD_SCALE = 0.1  # of the prior of every noise SD
LN_SD_RANGE = (-14.0, 3.0)
FARTHEST_RESIDUAL = 3.0  # robust SDs; beyond it a trial is an outlier
WALKERS = 48
FIRST_STEPS, MOST_STEPS = 1000, 20_000
LONG_ENOUGH = 50  # autocorrelation times
FEWEST_EFFECTIVE = 1000  # independent draws
FARTHEST_APART = 0.1  # variance of walkers' means over that of draws: 0.02 when settled, more if walkers are stuck


@dataclass(frozen=True)
class Sharing:
    """A level of shared noise: which items of the next finer level (at first trials) belong to which group."""

    members: Array  # (items, groups) 0 or 1
    shared: Array  # (groups,) 0 for the group of a trial that the level does not reach, which then shares nothing


@dataclass(frozen=True)
class Posterior:
    """The density of (free parameters in coordinates, ln SD of ε, ln SD of each level from fine to coarse)."""

    law: Law
    cells: Cells
    log_response: Array  # (t,)
    scale: Array  # (t,) relative noise SD
    own_factor: Array  # (t,) ≥ 1, above it for outliers
    levels: tuple[Sharing, ...]  # fine to coarse
    free: Array  # (p,) bool
    held: Array  # (p,) parameters; those that are free are not read

    @property
    def dimensions(self) -> int:
        return int(self.free.sum()) + 1 + len(self.levels)

    def coordinates(self, where: Array) -> Array:
        """(b, p) coordinates of the law's parameters at the positions (b, dimensions)."""
        coordinates = np.repeat(to_coordinates(self.law, self.held[None]), len(where), axis=0)
        coordinates[:, self.free] = where[:, : int(self.free.sum())]
        return coordinates

    @cached_property
    def scales(self) -> Array:
        """(p,) of the half-Cauchy priors."""
        return prior_scales(self.law, self.cells, float(np.exp(np.median(self.log_response))))

    def log_density(self, where: Array) -> Array:
        """Log prior plus log likelihood (b,) at the positions (b, dimensions), up to a constant; −inf out of bounds."""
        count = int(self.free.sum())
        low, high = (np.append(end[self.free], [limit] * (1 + len(self.levels))) for end, limit in self._ends())
        inside = ((where >= low) & (where <= high)).all(axis=1)
        density = np.full(len(where), -np.inf)
        if inside.any():
            kept = where[inside]
            prior = log_prior(self.law, self.coordinates(kept), self.scales) + log_sd_prior(kept[:, count:])
            density[inside] = prior + self._log_likelihood(kept)
        return np.where(np.isfinite(density), density, -np.inf)

    def _ends(self) -> list[tuple[Array, float]]:
        return list(zip(coordinate_bounds(self.law), LN_SD_RANGE, strict=True))

    def _log_likelihood(self, where: Array) -> Array:
        with np.errstate(all="ignore"):  # a proposal may have no finite prediction; its density is then 0
            parameters = from_coordinates(self.law, self.coordinates(where))
            prediction = log_prediction(self.law, parameters, self.cells)[:, self.cells.of_trial]
            variances = np.exp(2 * where[:, int(self.free.sum()) :])
            residuals = (self.log_response - prediction) / self.scale
            own = variances[:, :1] * self.own_factor**2
            return log_likelihood(residuals, own, self.levels, variances[:, 1:])


def log_likelihood(residuals: Array, own: Array, levels: Sequence[Sharing], spreads: Array) -> Array:
    """ln N(residuals; 0, diag(own) + Σ over levels of spread · [same group]) for nested levels: (b,).

    `residuals` and the variances `own` are (b, t), `spreads` (b, levels), fine to coarse. Integrating out the effect of
    a group leaves its trials' precision-weighted mean, with precision W / (1 + spread · W): an item of the next level.
    """
    precision, value = np.broadcast_to(1 / own, residuals.shape), residuals
    total = 0.5 * np.log(precision / (2 * np.pi)).sum(axis=1)
    for level, spread in zip(levels, spreads.T, strict=True):
        weight = precision @ level.members
        mean = (precision * value) @ level.members / weight
        within = (precision * (value - mean @ level.members.T) ** 2).sum(axis=1)
        shrink = 1 + spread[:, None] * level.shared * weight
        total = total - 0.5 * (within + np.log(shrink).sum(axis=1))
        precision, value = weight / shrink, mean
    return total - 0.5 * (precision * value**2).sum(axis=1)


def prior_scales(law: Law, cells: Cells, response: float) -> Array:
    """(p,) scales of the half-Cauchy priors, infinite for a parameter whose prior is another one."""
    starts = law.starts(cells.n, cells.m, cells.n_generator)
    scales = np.full(len(law.bounds), np.inf)
    for position, (name, (low, high)) in enumerate(zip(law.parameter_names, law.bounds, strict=True)):
        if name in law.log_scaled or name == "exponent":
            continue
        if name in law.linear:
            scales[position] = response
        elif low == 0 and high >= 10 and name in starts:
            scales[position] = max(starts[name])
    return scales


def log_prior(law: Law, coordinates: Array, scales: Array) -> Array:
    """The log prior density (b,) of coordinates (b, p), up to a constant."""
    exponent = coordinates[:, law.index("exponent")]
    return -0.5 * ((exponent - 0.5) / 0.5) ** 2 - np.log1p((coordinates / scales) ** 2).sum(axis=1)


def log_sd_prior(log_sd: Array) -> Array:
    """Half-Cauchy densities of SDs, as densities of their logarithms (b, levels), summed: (b,)."""
    return (log_sd - np.log1p((np.exp(log_sd) / SD_SCALE) ** 2)).sum(axis=1)


@dataclass(frozen=True)
class Chains:
    """Draws (k, dimensions) after burn-in, whether the chains are long enough, and the slowest autocorrelation time."""

    draws: Array
    settled: bool
    steps: int
    autocorrelation: float  # steps
    effective: float  # independent draws


def sample(log_density: Callable[[Array], Array], start: Array, *, seed: int, most_steps: int = MOST_STEPS) -> Chains:
    """Run an ensemble of walkers from `start` (walkers, dimensions) until it has settled, or for `most_steps`.

    The first quarter is burn-in. Raises FitError where emcee is not installed.
    """
    emcee = _emcee()
    # Not DESnookerMove: up to emcee 3.1.6 its acceptance ratio is wrong, and variances come out 5 to 10 % too small.
    moves = [(emcee.moves.DEMove(), 0.9), (emcee.moves.DEMove(gamma0=1.0), 0.1)]  # the second jumps between modes
    sampler = emcee.EnsembleSampler(*start.shape, log_density, vectorize=True, moves=moves)
    sampler.random_state = np.random.RandomState(seed).get_state()
    state, steps = start, min(FIRST_STEPS, most_steps)
    while True:
        state = sampler.run_mcmc(state, steps - sampler.iteration)
        burn = steps // 4
        slowest = float(np.max(sampler.get_autocorr_time(discard=burn, tol=0)))
        effective = (steps - burn) * len(start) / slowest
        chain = sampler.get_chain(discard=burn)
        apart = float(np.max(chain.mean(axis=0).var(axis=0) / chain.var(axis=(0, 1))))
        settled = steps - burn >= LONG_ENOUGH * slowest and effective >= FEWEST_EFFECTIVE and apart < FARTHEST_APART
        if settled or steps >= most_steps:
            return Chains(chain.reshape(-1, chain.shape[2]), settled, steps, slowest, effective)
        wanted = 1.4 * LONG_ENOUGH * slowest / 0.75 if np.isfinite(slowest) else 2 * steps
        steps = min(most_steps, 2 * steps, max(int(wanted), steps + FIRST_STEPS // 2))


def _emcee() -> ModuleType:
    try:
        import emcee
    except ImportError as error:
        raise FitError(
            "method 'bayes' samples with emcee, which is not installed; type pip install 'realfake[bayes]', or "
            "uv sync --extra bayes in a checkout"
        ) from error
    return emcee


def with_posterior(fit: Fit, evidence: Evidence, *, seed: int = 0) -> Fit:
    """`fit` with as many posterior draws as it had refits, and so its alternatives; the point stays the best fit.

    `evidence` is what it was fitted to. Chains that have not settled make it "not identifiable", with the reason.
    Raises FitError for a table of few errors, whose noise is not log-normal, or where emcee is not installed.
    """
    if evidence.counts is not None:
        raise FitError(
            "method 'bayes' takes responses as log-normal, and this table has cells that expect fewer than 10 errors; "
            "use method='bootstrap', or response='cross_entropy'"
        )
    posterior = posterior_of(fit, evidence)
    chains = sample(posterior.log_density, _starts(posterior, fit, evidence, seed), seed=seed)
    chosen = np.random.default_rng(seed).choice(len(chains.draws), size=len(fit.draws), replace=False)
    draws = from_coordinates(posterior.law, posterior.coordinates(chains.draws[chosen]))
    trouble = f"the chains have not settled: {chains.steps} steps are {chains.steps / chains.autocorrelation:.0f} τ"
    reasons = [*([] if chains.settled else [trouble]), *([fit.reason] if fit.reason else [])]
    return replace(
        fit,
        draws=tuple(tuple(float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in row) for row in draws),
        noise=NOISE,
        status=fit.status if chains.settled else "not identifiable",
        reason="; ".join(reasons),
        alternatives=tuple(with_posterior(other, evidence, seed=seed) for other in fit.alternatives),
    )


def posterior_of(fit: Fit, evidence: Evidence) -> Posterior:
    """The posterior of the law of `fit`, given the trials that it is defined for."""
    law, sizes = fit.formula, evidence.trials.cells.n[evidence.trials.cells.of_trial]
    keep = np.ones(len(sizes), dtype=bool) if law.synthetic_alone else sizes > 0
    used = evidence.only(keep)
    trials, point = used.trials, np.array(fit.point)
    prediction = log_prediction(law, point[None], trials.cells)[0, trials.cells.of_trial]
    distance = np.abs(trials.log_response - prediction) / used.noise.scale
    usual = max(1.4826 * float(np.median(distance)), SMALLEST_SD)  # an SD that outliers do not inflate
    free, _, _ = freedom(law, trials)
    return Posterior(
        law=law,
        cells=trials.cells,
        log_response=trials.log_response,
        scale=used.noise.scale,
        own_factor=np.maximum(distance / (FARTHEST_RESIDUAL * usual), 1.0),
        levels=nested(evidence.noise.levels, keep),
        free=free,
        held=point,
    )


def nested(levels: Sequence[Level], keep: Array) -> tuple[Sharing, ...]:
    """The shared levels of the trials marked in `keep` (t,) that have degrees of freedom, from fine to coarse."""
    found: list[Sharing] = []
    item = np.arange(int(keep.sum()))
    for level in reversed(levels[:-1]):
        if level.square.df < 1:
            continue
        group, present = level.group[keep], level.group[keep] >= 0
        alone = group.max() + 1 + np.arange(len(group))
        _, first, number = np.unique(np.where(present, group, alone), return_index=True, return_inverse=True)
        number = number.ravel()
        members = number[np.unique(item, return_index=True)[1], None] == np.arange(len(first))
        found.append(Sharing(members.astype(float), present[first].astype(float)))
        item = number
    return tuple(found)


def _starts(posterior: Posterior, fit: Fit, evidence: Evidence, seed: int) -> Array:
    """(walkers, dimensions): the densest of many points between the point fit and its refits, jittered.

    Refits alone would not do: where an outlier inflates the simulated noise, walkers far off get stuck.
    """
    rng, law, free = np.random.default_rng(seed), posterior.law, posterior.free
    low, high = (end[free] for end in coordinate_bounds(law))
    point, refits = (to_coordinates(law, np.atleast_2d(rows))[:, free] for rows in (fit.point, fit.draws))
    share = 10 ** rng.uniform(-2, -0.5, (10 * WALKERS, 1))
    width = 0.3 * refits.std(axis=0) + 1e-3 * np.minimum(1.0, high - low)
    away = (
        refits[rng.integers(len(refits), size=len(share))] - point + width * rng.standard_normal((len(share), len(low)))
    )
    moved = point + share * away
    moved = np.clip(np.where(moved > high, 2 * high - moved, low + np.abs(moved - low)), low, high)  # back inside
    starts = np.concatenate([moved, _sd_starts(posterior, evidence, rng)], axis=1)
    return starts[np.argsort(-posterior.log_density(starts), kind="stable")[:WALKERS]]


def _sd_starts(posterior: Posterior, evidence: Evidence, rng: np.random.Generator) -> Array:
    """(10 walkers, 1 + levels) logarithms of noise SDs."""
    levels = evidence.noise.levels
    known = [level.square.df >= 1 for level in levels[:-1]] + [True]
    estimates = np.sqrt(evidence.noise.variances()[known][::-1])
    centre = np.log(np.maximum(estimates, 0.1 * estimates.max() + 1e-5))
    return centre + 0.5 * rng.standard_normal((10 * WALKERS, 1 + len(posterior.levels)))
