"""A law fitted to a table of trials: one surface through the real-only ladder and an arm's mixtures.

The point fit minimises a soft-L1 loss of log residuals in units of the noise between replicates, from many starts. The
interval comes from refits to simulated tables (`noise`): what the study would have measured with other subset draws,
seeds and (where per-image results are given) test images. The lack-of-fit test asks whether cell means scatter about
the law more than replicates explain; its p-value is the share of simulated studies, in which the law is true, with a
larger F, so shared subset draws do not spoil it.

How honest the interval is: with three replicates it rests on few degrees of freedom, which the χ² draws of `noise`
account for; it assumes that the law holds and that draws act alike on neighbouring sizes. Here: one law on gathered
evidence. Not here: which law (`choice`), questions to a fit (`equivalence`), the whole report (`analysis`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realfake.laws import LAWS, PEAKED, POWER, Array, Law
from realfake.responses import MEANS, RESPONSES
from realfake.statistics import counts as counting
from realfake.statistics import noise as noises
from realfake.statistics.counts import Counts
from realfake.statistics.equivalence import Fit, LackOfFit, Measured
from realfake.statistics.regression import (
    Solution,
    coordinate_bounds,
    log_jacobian,
    log_prediction,
    refine,
    robust_loss,
    search,
    to_coordinates,
)
from realfake.statistics.trial_table import FitError, Trials, cell_means, restricted

__all__ = ["Evidence", "Fit", "FitError", "Outcome", "fit_evidence", "fit_law", "gather"]

PROVISIONAL_SD = 0.05  # of a log response, until a first fit has told
FEWEST_DRAWS = 20
SIGNIFICANT_DIGITS = 8  # of stored draws

PerImage = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Evidence:
    """Trials, their noise, and (b, t) simulated deviations of their log responses from the cell values.

    Where errors are so few that they are fitted as counts, log responses and deviations are relative ones (`counts`).
    """

    trials: Trials
    noise: noises.Noise
    deviations: Array
    counts: Counts | None = None

    def only(self, keep: Array) -> Evidence:
        """The trials marked in `keep` (t,)."""
        scale = replace(self.noise, scale=self.noise.scale[keep], deviations=self.noise.deviations[keep])
        counts = self.counts.only(keep) if self.counts else None
        return Evidence(restricted(self.trials, keep), scale, self.deviations[:, keep], counts)

    @property
    def means(self) -> Array:
        """(t,) the mean response of each trial's cell: exp of its mean log response."""
        return np.exp(self.trials.cell_means)[self.trials.cells.of_trial]

    @property
    def ladder(self) -> Evidence:
        """The real-only trials."""
        return self.only(self.trials.ladder[self.trials.cells.of_trial])


@dataclass(frozen=True)
class Outcome:
    """A law's parameters (p,), their draws (b, p), and how far to trust them."""

    law: Law
    point: Array
    draws: Array
    status: str
    reason: str
    lack_of_fit: LackOfFit | None


def gather(trials: Trials, *, bootstrap: int, seed: int, per_image: PerImage | None = None) -> Evidence:
    """The trials with their noise and simulated deviations. Raises FitError where per-image results do not match."""
    if per_image is not None and trials.response not in MEANS:
        raise FitError(f"{RESPONSES[trials.response]} is no mean over test images, so they cannot be drawn one by one")
    if bootstrap < FEWEST_DRAWS:
        raise FitError(f"bootstrap is {bootstrap}; an interval needs at least {FEWEST_DRAWS} draws, 400 is usual")
    rng = np.random.default_rng(seed)
    if counting.are_few(trials):
        return _gather_counts(counting.about_cell_means(trials), bootstrap, rng, per_image)
    noise = _noise_of_residuals(trials, noises.estimate(trials))
    deviations = noises.simulate(noise, trials, bootstrap, rng)
    if per_image is not None:
        deviations = deviations + _of_images(noises.image_deviations, trials, per_image, bootstrap, rng)
    return Evidence(trials, noise, deviations)


def _gather_counts(trials: Trials, bootstrap: int, rng: np.random.Generator, per_image: PerImage | None) -> Evidence:
    """Evidence whose simulated studies are counts of errors; chance already covers the choice of test images."""
    correlation = 0.0 if per_image is None else _of_images(counting.image_correlation, trials, per_image)
    noise, chance = counting.beyond_chance(trials, correlation)
    if noise.method == "none":
        noise = _noise_of_residuals(trials, noise)
        chance = counting.chance_of_residuals(trials, noise)
    counts = counting.simulate(noise, chance, trials, bootstrap, rng, correlation)
    means = np.exp(trials.cell_means)[trials.cells.of_trial]
    return Evidence(trials, noise, counts.simulated(means) / means - 1, counts)


def _of_images(compute: Callable[..., Any], trials: Trials, per_image: PerImage, *more: Any) -> Any:
    """What `compute` makes of the test images; raises FitError where they are not known for every trial."""
    missing = [address for address in trials.address if trials.response not in per_image.get(address, {})]
    if missing:
        raise FitError(f"per_image has no {trials.response} of the trial '{missing[0]}'; give all or none")
    try:
        return compute(trials, per_image, *more)
    except ValueError as error:
        raise FitError("trials were tested on different numbers of images; they cannot be resampled jointly") from error


def _noise_of_residuals(trials: Trials, noise: noises.Noise) -> noises.Noise:
    """Where no cell was repeated, the residuals of the joint fit, or of the ladder if that cannot be fitted, stand in.

    Raises FitError where neither can.
    """
    if noise.method != "none":
        return noise
    for law, part in ((PEAKED, trials), (POWER, restricted(trials, trials.ladder[trials.cells.of_trial]))):
        free, held, _ = freedom(law, part)
        df = len(part.values) - int(free.sum())
        if df < 1 or (law is PEAKED and part.ladder.all()):
            continue
        start_sd = np.full(len(part.values), PROVISIONAL_SD)
        found = search(law, part.cells, part.log_response, free=free, held=held, noise_sd=start_sd)
        residuals = part.log_response - log_prediction(law, found.parameters, part.cells)[0, part.cells.of_trial]
        return noises.from_residuals(noise, residuals, df)
    raise FitError("every cell was run once and there are too few cells for a fit; nothing says how much trials differ")


def fit_evidence(evidence: Evidence, *, law: str = PEAKED.name) -> Fit:
    """The fit of a named law to gathered evidence. Raises FitError where the trials cannot carry it."""
    if law not in LAWS:
        raise FitError(f"there is no law '{law}'; known are auto, {', '.join(LAWS)}")
    chosen = LAWS[law]
    used = (
        evidence
        if chosen.synthetic_alone
        else evidence.only(evidence.trials.cells.n[evidence.trials.cells.of_trial] > 0)
    )
    outcome = fit_law(used, chosen)
    trials = evidence.trials
    return Fit(
        law=chosen.name,
        response=trials.response,
        arm=trials.arm,
        recipe=trials.recipe,
        point=tuple(float(value) for value in outcome.point),
        draws=tuple(tuple(float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in row) for row in outcome.draws),
        status=outcome.status,
        reason=outcome.reason,
        lack_of_fit=outcome.lack_of_fit,
        measured=_measured(trials),
        noise=str(evidence.noise),
        noise_half_widths=_noise_half_widths(used, outcome),
        n_trials=len(used.trials.values),
        n_diverged=trials.n_diverged,
        n_replicates=trials.n_replicates,
        notes=trials.notes,
    )


def fit_law(evidence: Evidence, law: Law) -> Outcome:
    """Point fit, refits to the simulated tables, status and lack-of-fit test of one law. Raises FitError."""
    trials = evidence.trials
    free, held, reasons = freedom(law, trials)
    _refuse_too_few_cells(law, trials, free)
    found = _best(evidence, law, free, held)
    refits, simulated = _refits(evidence, law, found.solution.parameters, free, found.noise_sd)
    converged = bool(found.solution.converged[0])
    status, why = _status(law, found.solution.parameters, trials, free, found.noise_sd, converged)
    return Outcome(
        law=law,
        point=found.solution.parameters[0],
        draws=refits.parameters,
        status=status,
        reason="; ".join([*why, *reasons]),
        lack_of_fit=_lack_of_fit(evidence, law, found, simulated, refits.parameters, int(free.sum())),
    )


@dataclass(frozen=True)
class _Best:
    """The point fit (one row), the log responses it was fitted to (1, t) and their noise SD (t,)."""

    solution: Solution
    log_response: Array
    noise_sd: Array
    scale: Array  # (t,) the same, relative


def _best(evidence: Evidence, law: Law, free: Array, held: Array) -> _Best:
    trials, counts = evidence.trials, evidence.counts
    noise_sd = evidence.noise.trial_sd() if counts is None else counts.sd(evidence.means)
    found = search(law, trials.cells, trials.log_response, free=free, held=held, noise_sd=noise_sd)
    if counts is None:
        return _Best(found, trials.log_response[None], noise_sd, evidence.noise.scale)
    rows = {"free": free, "counts": counts}
    found, working = counting.quasi_likelihood(law, trials.cells, trials.values[None], found.parameters, **rows)
    noise_sd = counts.sd(np.exp(log_prediction(law, found.parameters, trials.cells))[0, trials.cells.of_trial])
    return _Best(found, working, noise_sd, noise_sd)


def _refits(evidence: Evidence, law: Law, point: Array, free: Array, noise_sd: Array) -> tuple[Solution, Array]:
    """The law fitted to every simulated study, and the log responses (b, t) it was fitted to."""
    trials, counts = evidence.trials, evidence.counts
    prediction = log_prediction(law, point, trials.cells)[0, trials.cells.of_trial]
    start = np.repeat(point, len(evidence.deviations), axis=0)
    if counts is not None:
        studies = counts.simulated(np.exp(prediction))
        return counting.quasi_likelihood(law, trials.cells, studies, start, free=free, counts=counts)
    simulated = prediction + evidence.deviations
    return refine(law, trials.cells, simulated, start, free=free, noise_sd=noise_sd), simulated


def point_fit(evidence: Evidence, law: Law) -> Array:
    """The parameters (p,) of a law fitted to the evidence, without draws. Raises FitError where it cannot be."""
    trials = evidence.trials
    free, held, _ = freedom(law, trials)
    _refuse_too_few_cells(law, trials, free)
    return _best(evidence, law, free, held).solution.parameters[0]


def freedom(law: Law, trials: Trials) -> tuple[Array, Array, list[str]]:
    """(free (p,), values of the held ones (p,), why they are held). Raises FitError where one cannot be held."""
    free = np.ones(len(law.parameters), dtype=bool)
    held = np.sqrt(np.maximum([low for low, _ in law.bounds], 1e-6) * [high for _, high in law.bounds])
    ladder_sizes = len(np.unique(trials.cells.n[trials.ladder]))
    generators = np.unique(trials.cells.n_generator[~trials.ladder])
    generator_sizes = int((generators > 0).sum())
    reasons = []
    for position, parameter in enumerate(law.parameters):
        need, value = parameter.need(ladder_sizes, generator_sizes), parameter.neutral(generator_sizes)
        if need and value is None:
            raise FitError(f"the law '{law.name}' needs {need} for its {parameter.name}; measure more or ask another")
        if need:
            free[position], held[position] = False, value
            reasons.append(f"{parameter.name} held at {value:g}: it needs {need}")
    return free, held, reasons


def _refuse_too_few_cells(law: Law, trials: Trials, free: Array) -> None:
    mixed, worths = int((~trials.ladder).sum()), int(free[law.told_by_mixtures].sum())
    if worths and mixed <= worths:
        raise FitError(
            f"the arm '{trials.arm}' has {mixed} mixed cell{'s' * (mixed != 1)}, too few for "
            f"the {worths} parameters of the law '{law.name}'; measure more volumes or real sizes"
        )


def _status(
    law: Law, parameters: Array, trials: Trials, free: Array, noise_sd: Array, converged: bool
) -> tuple[str, list[str]]:
    """("converged" | "at a bound" | "not identifiable", why)."""
    where, (low, high) = to_coordinates(law, parameters)[0], coordinate_bounds(law)
    margin = 1e-9 * np.maximum(1.0, np.abs(where))
    ends = [(low, "lower"), (high, "upper")]
    at = {i: (end[i], side) for end, side in ends for i in np.flatnonzero(free & (np.abs(where - end) <= margin))}
    inside = np.array([i for i in np.flatnonzero(free) if i not in at])
    loose = _loose(law, parameters, trials, inside, noise_sd, high - low)
    if loose:
        return "not identifiable", [f"the data do not fix {name}" for name in loose]
    if not converged:
        return "not identifiable", ["the search did not settle"]
    bounds = np.array(law.bounds)
    texts = [
        f"{law.parameter_names[i]} at its {side} bound {bounds[i][int(side == 'upper')]:g}"
        for i, (_, side) in at.items()
    ]
    return ("at a bound" if texts else "converged"), texts


def _loose(law: Law, parameters: Array, trials: Trials, inside: Array, noise_sd: Array, widths: Array) -> list[str]:
    """Parameters whose standard error exceeds a quarter of their whole range."""
    prediction, jacobian = log_jacobian(law, parameters, trials.cells)
    _, weights = robust_loss(trials.log_response - prediction[:, trials.cells.of_trial], noise_sd)
    rooted = jacobian[0][trials.cells.of_trial][:, inside] * np.sqrt(weights[0])[:, None]
    lengths = np.linalg.norm(rooted, axis=0)
    _, singular, rotation = np.linalg.svd(rooted / np.maximum(lengths, 1e-300), full_matrices=False)
    with np.errstate(over="ignore"):  # a parameter without any effect has no length
        spread = np.linalg.norm(rotation / np.maximum(singular, 1e-12)[:, None], axis=0) / np.maximum(lengths, 1e-300)
    return [law.parameter_names[i] for i, error in zip(inside, spread, strict=True) if error > widths[i] / 4]


def _lack_of_fit(
    evidence: Evidence, law: Law, found: _Best, simulated: Array, refits: Array, free: int
) -> LackOfFit | None:
    """F of cell means about the law over replicates about cell means, and the share of simulated studies above it."""
    trials, scale = evidence.trials, found.scale
    df = (len(trials.cells.n) - free, len(trials.values) - len(trials.cells.n))
    if min(df) < 1 or evidence.noise.method == "residuals of the fit":
        return None

    def ratio(log_response: Array, fitted: Array) -> Array:
        off = (cell_means(log_response, trials.cells) - log_prediction(law, fitted, trials.cells)) ** 2
        between = (trials.counts * off / cell_means(scale, trials.cells) ** 2).sum(axis=-1) / df[0]
        within = noises.pure_error(log_response, trials, scale) / df[1]
        return between / np.maximum(within, noises.SMALLEST_SD**2)

    observed = float(ratio(found.log_response, found.solution.parameters)[0])
    larger = int((ratio(simulated, refits) >= observed - 1e-9).sum())  # an exact table differs by rounding alone
    return LackOfFit(observed, df, (1 + larger) / (1 + len(simulated)))


def _measured(trials: Trials) -> Measured:
    cells, ladder = trials.cells, trials.ladder
    pairs = {(float(n), float(g)) for n, g in zip(cells.n[~ladder], cells.n_generator[~ladder], strict=True)}
    sizes = cells.n[ladder]
    return Measured(float(sizes.min()), float(sizes.max()), float(cells.m.max()), tuple(sorted(pairs)))


def _noise_half_widths(evidence: Evidence, outcome: Outcome) -> tuple[tuple[float, float], ...]:
    """At each mixed real size: half the 95 % width of (mean log response of a mixture − ln f), median over volumes."""
    cells, ladder = evidence.trials.cells, evidence.trials.ladder
    means = cell_means(evidence.deviations, cells)
    widths: list[tuple[float, float]] = []
    for n in np.unique(cells.n[~ladder & (cells.n > 0)]):
        curve = np.log(outcome.law.curve.error(outcome.draws.T[:, :, None], np.array([n])))
        low, high = np.quantile(means[:, ~ladder & (cells.n == n)] - curve, [0.025, 0.975], axis=0)
        widths.append((float(n), float(np.median(high - low) / 2)))
    return tuple(widths)
