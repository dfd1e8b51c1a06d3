"""A law fitted to a table of trials: one surface through the real-only ladder and an arm's mixtures.

The point fit minimises a soft-L1 loss of log residuals in units of the noise between replicates, from many starts. The
interval comes from refits to simulated tables (`noise`): what the study would have measured with other subset draws,
seeds and (where per-image results are given) test images. The lack-of-fit test asks whether cell means scatter about
the law more than replicates explain; its p-value is the share of simulated studies, in which the law is true, with a
larger F, so shared subset draws do not spoil it.

How honest the interval is: with three replicates it rests on few degrees of freedom, which the χ² draws of `noise`
account for; it assumes that the law holds and that draws act alike on neighbouring sizes, and it does not cover the
choice of law. Here: `fit` and its parts. Not here: questions to a fit (`equivalence`), the whole report (`analysis`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realfake import noise as noises
from realfake.equivalence import Fit, LackOfFit, Measured
from realfake.laws import HYPERBOLIC, LAWS, POWER, Array, Law
from realfake.regression import (
    coordinate_bounds,
    log_jacobian,
    log_prediction,
    refine,
    robust_loss,
    search,
    to_coordinates,
)
from realfake.trial_table import FitError, Frame, Trials, cell_means, normalised, restricted, select

__all__ = ["Evidence", "Fit", "FitError", "Outcome", "fit", "fit_evidence", "fit_law", "gather"]

PROVISIONAL_SD = 0.05  # of a log response, until a first fit has told
FEWEST_DRAWS = 20
SIGNIFICANT_DIGITS = 8  # of stored draws

PerImage = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Evidence:
    """Trials, their noise, and (b, t) simulated deviations of their log responses from the cell values."""

    trials: Trials
    noise: noises.Noise
    deviations: Array

    def only(self, keep: Array) -> Evidence:
        """The trials marked in `keep` (t,)."""
        scale = replace(self.noise, scale=self.noise.scale[keep], deviations=self.noise.deviations[keep])
        return Evidence(restricted(self.trials, keep), scale, self.deviations[:, keep])

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


def fit(
    table: Frame,
    *,
    law: str = "auto",
    response: str = "cross_entropy",
    bootstrap: int = 400,
    seed: int = 0,
    arm: str | None = None,
    recipe: str | None = None,
    per_image: PerImage | None = None,
) -> Fit:
    """Fit a law to all trials of one recipe and arm, with `bootstrap` refits for the intervals.

    `table` has a row a trial: n_real, n_synthetic, the response, and optionally n_generator (default n_real), arm,
    recipe, the seeds, n_test, status, address. `law` is "auto" (hyperbolic with harm) or a name in `LAWS`. `per_image`
    maps a trial's address to {"cross_entropy", "error"}: (n_test,) arrays, which makes the interval cover the choice of
    test images too. `seed` fixes every draw. Raises FitError, in one sentence, for a table that cannot answer.
    """
    trials = select(normalised(table), response=response, arm=arm, recipe=recipe)
    return fit_evidence(gather(trials, bootstrap=bootstrap, seed=seed, per_image=per_image), law=law)


def gather(trials: Trials, *, bootstrap: int, seed: int, per_image: PerImage | None = None) -> Evidence:
    """The trials with their noise and simulated deviations. Raises FitError where per-image results do not match."""
    if bootstrap < FEWEST_DRAWS:
        raise FitError(f"bootstrap is {bootstrap}; an interval needs at least {FEWEST_DRAWS} draws, 400 is usual")
    rng = np.random.default_rng(seed)
    noise = noises.estimate(trials)
    if noise.method == "none":
        noise = _noise_of_residuals(trials, noise)
    if noise.method == "none":
        raise FitError(
            "every cell was run once and there are too few cells for a fit; nothing says how much trials differ"
        )
    deviations = noises.simulate(noise, trials, bootstrap, rng)
    if per_image is not None:
        deviations = deviations + _image_deviations(trials, per_image, bootstrap, rng)
    return Evidence(trials, noise, deviations)


def _image_deviations(trials: Trials, per_image: PerImage, bootstrap: int, rng: np.random.Generator) -> Array:
    missing = [address for address in trials.address if trials.response not in per_image.get(address, {})]
    if missing:
        raise FitError(f"per_image has no {trials.response} of the trial '{missing[0]}'; give all or none")
    try:
        return noises.image_deviations(trials, per_image, bootstrap, rng)
    except ValueError as error:
        raise FitError("trials were tested on different numbers of images; they cannot be resampled jointly") from error


def _noise_of_residuals(trials: Trials, noise: noises.Noise) -> noises.Noise:
    """No cell was repeated: the residuals of the joint fit stand in, or of the ladder where that cannot be fitted."""
    for law, part in ((HYPERBOLIC, trials), (POWER, restricted(trials, trials.ladder[trials.cells.of_trial]))):
        free, held, _ = _freedom(law, part)
        df = len(part.values) - int(free.sum())
        if df < 1 or (law is HYPERBOLIC and part.ladder.all()):
            continue
        start_sd = np.full(len(part.values), PROVISIONAL_SD)
        found = search(law, part.cells, part.log_response, free=free, held=held, noise_sd=start_sd)
        residuals = part.log_response - log_prediction(law, found.parameters, part.cells)[0, part.cells.of_trial]
        return noises.from_residuals(noise, residuals, df)
    return noise


def fit_evidence(evidence: Evidence, *, law: str = "auto") -> Fit:
    """The fit of a named law to gathered evidence. Raises FitError where the trials cannot carry it."""
    if law != "auto" and law not in LAWS:
        raise FitError(f"there is no law '{law}'; known are auto, {', '.join(LAWS)}")
    chosen = LAWS["hyperbolic" if law == "auto" else law]
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
        noise=evidence.noise.method,
        noise_half_widths=_noise_half_widths(used, outcome),
        n_trials=len(used.trials.values),
        n_diverged=trials.n_diverged,
        n_replicates=trials.n_replicates,
        notes=trials.notes,
    )


def fit_law(evidence: Evidence, law: Law) -> Outcome:
    """Point fit, refits to the simulated tables, status and lack-of-fit test of one law. Raises FitError."""
    trials, noise_sd = evidence.trials, evidence.noise.trial_sd()
    free, held, reasons = _freedom(law, trials)
    _refuse_too_few_cells(law, trials, free)
    found = search(law, trials.cells, trials.log_response, free=free, held=held, noise_sd=noise_sd)
    prediction = log_prediction(law, found.parameters, trials.cells)[0]
    simulated = prediction[trials.cells.of_trial] + evidence.deviations
    start = np.repeat(found.parameters, len(simulated), axis=0)
    refits = refine(law, trials.cells, simulated, start, free=free, noise_sd=noise_sd)
    status, why = _status(law, found.parameters, trials, free, noise_sd, bool(found.converged[0]))
    return Outcome(
        law=law,
        point=found.parameters[0],
        draws=refits.parameters,
        status=status,
        reason="; ".join([*why, *reasons]),
        lack_of_fit=_lack_of_fit(evidence, law, found.parameters, simulated, refits.parameters, int(free.sum())),
    )


def _freedom(law: Law, trials: Trials) -> tuple[Array, Array, list[str]]:
    """(free (p,), values of the held ones (p,), why they are held)."""
    free = np.ones(len(law.parameter_names), dtype=bool)
    held = np.sqrt(np.maximum([low for low, _ in law.bounds], 1e-6) * [high for _, high in law.bounds])
    reasons = []
    if len(np.unique(trials.cells.n[trials.ladder])) < 3:
        free[law.index("floor")], held[law.index("floor")] = False, 0.0
        reasons.append("floor held at 0: it needs three real-only sizes")
    if "generator_exponent" in law.parameter_names:
        sizes = np.unique(trials.cells.n_generator[~trials.ladder])
        if (sizes > 0).sum() < 3:
            # With no real images behind the generator (open-set) its bias is fixed, so its worth ends at a fixed
            # volume; fitted on n_generator images (closed-set) it holds their information; the volume grows too.
            value = 1.0 if (sizes > 0).any() else 0.0
            free[law.index("generator_exponent")], held[law.index("generator_exponent")] = False, value
            reasons.append(f"generator_exponent held at {value:g}: it needs three generator sizes")
    return free, held, reasons


def _refuse_too_few_cells(law: Law, trials: Trials, free: Array) -> None:
    mixed, worths = int((~trials.ladder).sum()), int(free[3:].sum())
    if worths and mixed <= worths:
        raise FitError(
            f"the arm '{trials.arm}' has {mixed} mixed cells, too few for the {worths} parameters of the law "
            f"'{law.name}'; measure more volumes or real sizes"
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
    spread = np.sqrt(((rotation / np.maximum(singular, 1e-12)[:, None]) ** 2).sum(axis=0)) / np.maximum(lengths, 1e-300)
    return [law.parameter_names[i] for i, error in zip(inside, spread, strict=True) if error > widths[i] / 4]


def _lack_of_fit(
    evidence: Evidence, law: Law, parameters: Array, simulated: Array, refits: Array, free: int
) -> LackOfFit | None:
    """F of cell means about the law over replicates about cell means, and the share of simulated studies above it."""
    trials, scale = evidence.trials, evidence.noise.scale
    df = (len(trials.cells.n) - free, len(trials.values) - len(trials.cells.n))
    if min(df) < 1 or evidence.noise.method not in ("random effects", "replicates resampled"):
        return None

    def ratio(log_response: Array, fitted: Array) -> Array:
        off = (cell_means(log_response, trials.cells) - log_prediction(law, fitted, trials.cells)) ** 2
        between = (trials.counts * off / cell_means(scale, trials.cells) ** 2).sum(axis=-1) / df[0]
        within = noises.pure_error(log_response, trials, scale) / df[1]
        return between / np.maximum(within, noises.SMALLEST_SD**2)

    observed = float(ratio(trials.log_response[None], parameters)[0])
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
        at: dict[str, Any] = {"n": np.array([n]), "m": np.zeros(1), "n_generator": np.array([n])}
        curve = np.log(outcome.law.error(outcome.draws.T[:, :, None], **at))
        low, high = np.quantile(means[:, ~ladder & (cells.n == n)] - curve, [0.025, 0.975], axis=0)
        widths.append((float(n), float(np.median(high - low) / 2)))
    return tuple(widths)
