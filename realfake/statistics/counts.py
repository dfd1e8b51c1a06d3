"""Errors that are counts: where a cell expects so few that their logarithm misleads, and none at all is an observation.

With fewer than ten errors expected in some cell, the error of trial t with n_test images is a count of expected value
f_θ·e^u, u the levels of `noise` and e^u of mean 1, so its relative variance is

    Var(y)/ŷ² = σ² + (1 − ŷ)/(ŷ·n_test)        σ: what trials vary by beyond chance, relative to the error

The point fit solves the quasi-likelihood equations of that variance with a logarithmic link (McCullagh & Nelder 1989,
ch. 9) by reweighting: the search of `regression` is given the working responses ln ŷ + (y − ŷ)/ŷ, finite at y = 0 and
unbiased, until they no longer move. At σ = 0 it is the binomial maximum likelihood. It is least squares: clipping long
tails, as the fits of logarithms do, would bias a skewed count. Variances beyond chance come from the same analysis of
variance as `noise`, less what chance alone adds to each sum of squares. Simulated studies draw binomial counts, zeros
included; where per-image results are known, counts of two trials are as correlated as their errors on the test images.

Here: when counts are few, their noise, their fit. Not here: what is done with the draws (`fits`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from realfake.laws import Array, Law
from realfake.statistics.noise import OWN, Level, MeanSquare, Noise, components, numbered, sources_of, squares_between
from realfake.statistics.regression import Cells, Solution, log_prediction, refine
from realfake.statistics.trial_table import Trials, cell_means

FEW = 10  # errors expected in a cell; below, counts are fitted
METHOD = "counts of errors"
FIRST_VARIANCE = 0.05**2  # beyond chance, for the weights of its own estimate
LARGEST_VARIANCE = 1.0  # beyond chance, of a simulated study
LEAST_SQUARES = 100.0  # noise SDs so many times too large keep a robust loss quadratic
ROUNDS = 40


@dataclass(frozen=True)
class Counts:
    """The test sizes of t trials, what they vary by beyond chance, and b simulated studies."""

    n_test: Array  # (t,)
    variance: float  # σ²
    effects: Array  # (b, t) logarithms of the factors on the expected error
    luck: Array  # (b, t) standard normal: where a simulated count lies in its binomial distribution

    def only(self, keep: Array) -> Counts:
        """The trials marked in `keep` (t,)."""
        return Counts(self.n_test[keep], self.variance, self.effects[:, keep], self.luck[:, keep])

    def sd(self, expected: Array) -> Array:
        """SD of y/ŷ at expected errors (…, t)."""
        return np.sqrt(self.variance + chance_variance(expected, self.n_test))

    def simulated(self, expected: Array) -> Array:
        """(b, t) errors of simulated studies with expected errors (t,): counts, so some are 0."""
        from scipy.special import ndtr
        from scipy.stats import binom

        rate = np.clip(expected * np.exp(self.effects), 0.0, 1.0)
        return binom.ppf(np.clip(ndtr(self.luck), 1e-12, 1 - 1e-12), self.n_test, rate) / self.n_test


def chance_variance(expected: Array, n_test: Array) -> Array:
    """(1 − ŷ)/(ŷ·n_test), the relative variance of a binomial error; at least a hundredth of an error is expected."""
    rate = np.clip(expected, 0.01 / n_test, 0.99)
    return (1 - rate) / (rate * n_test)


def are_few(trials: Trials) -> bool:
    """Whether the errors are counts, of known test sets, and some cell expects fewer than ten."""
    if trials.response != "error" or trials.n_test is None:
        return False
    return bool(cell_means(trials.values * trials.n_test, trials.cells).min() < FEW)


def about_cell_means(trials: Trials) -> Trials:
    """`trials` with ln ȳ + (y − ȳ)/ȳ as log responses, ȳ the mean error of the cell: finite, and its mean is ln ȳ.

    A cell without any error counts as half an error in all its trials together.
    """
    n_test = _test_sizes(trials)
    smallest = 0.5 / (n_test @ trials.cells.membership)
    means = np.maximum(cell_means(trials.values, trials.cells), smallest)[trials.cells.of_trial]
    expected = float((means * n_test).min())
    notes = [note for note in trials.notes if not note.endswith("half an error")]
    said = f"errors are fitted as counts: a cell expects {expected:.2g} among {n_test.max():,.0f} test images"
    log_response = np.log(means) + trials.values / means - 1
    empty = cell_means(trials.values, trials.cells)[trials.cells.of_trial] == 0
    return replace(trials, log_response=np.where(empty, np.log(means), log_response), notes=(*notes, said))


def _test_sizes(trials: Trials) -> Array:
    assert trials.n_test is not None
    return trials.n_test


def beyond_chance(trials: Trials, correlation: float = 0.0) -> tuple[Noise, Array]:
    """The noise between replicates, and what chance adds to each level's sum of squares (levels,).

    `trials` are those of `about_cell_means`; `correlation` is that of two trials' counts over their test images, which
    replicates share. Deviations are weighted by their SD, so cells of many errors tell most; see `noise` for the rest.
    """
    means = np.exp(trials.cell_means)[trials.cells.of_trial]
    raw = trials.log_response - trials.cell_means[trials.cells.of_trial]
    chance = (1 - correlation) * chance_variance(means, _test_sizes(trials))
    told = cell_means(trials.values, trials.cells)[trials.cells.of_trial] > 0  # no errors, no relative deviations
    weight = told / np.sqrt(chance + FIRST_VARIANCE)
    levels, added = _levels(trials, sources_of(trials), raw, weight, chance)
    if levels[-1].square.df < 1:
        levels, added = _levels(trials, {OWN: np.arange(len(raw))}, raw, weight, chance)
    method = METHOD if levels[-1].square.df >= 1 else "none"
    return Noise(np.ones(len(raw)), raw, levels, method), added


def _levels(
    trials: Trials, sources: dict[str, Array], raw: Array, weight: Array, chance: Array
) -> tuple[tuple[Level, ...], Array]:
    """Sequential sums of squares of weighted deviations, with what each variance and chance contribute on average."""
    each = np.arange(len(raw))
    shown = [_effect(trials, group, weight) for group in (*sources.values(), each)]
    own = _effect(trials, each, (weight > 0).astype(float))
    columns = [(raw * weight)[:, None], *shown[:-1], shown[-1] * np.sqrt(chance), own]
    spaces = [numbered(*list(sources.values())[: depth + 1]) for depth in range(len(sources))]
    added = np.diff([[squares_between(column, space) for column in columns] for space in spaces], axis=0, prepend=0.0)
    found = tuple(
        Level(name, group, MeanSquare(max(float(row[0]), 0.0), round(float(row[-1]), 6)), row[1:-2])
        for (name, group), row in zip(sources.items(), added, strict=True)
    )
    return found, added[:, -2]


def _effect(trials: Trials, group: Array, weight: Array) -> Array:
    """(t, groups) how one unit of each group's effect shows in the weighted deviations from cell means."""
    indicators = (group[:, None] == np.unique(group[group >= 0])).astype(float)
    centred = indicators - cell_means(indicators.T, trials.cells).T[trials.cells.of_trial]
    return centred * weight[:, None]


def chance_of_residuals(trials: Trials, noise: Noise) -> Array:
    """(1,) what chance adds to the sum of squared residuals of a fit, where no cell was repeated."""
    means = np.exp(trials.cell_means)[trials.cells.of_trial]
    return np.array([noise.levels[-1].square.df * chance_variance(means, _test_sizes(trials)).mean()])


def simulate(
    noise: Noise, chance: Array, trials: Trials, count: int, rng: np.random.Generator, correlation: float = 0.0
) -> Counts:
    """`count` simulated studies: effects with plausible variances beyond chance, and luck; in mirrored pairs."""
    half = (count + 1) // 2
    sums = np.stack([level.square.draws(rng, half) * level.square.df for level in noise.levels])
    variances = components(noise.levels, sums - chance[:, None])
    variances = variances * np.minimum(1.0, LARGEST_VARIANCE / np.maximum(variances.sum(axis=0), 1e-300))
    total = np.zeros((half, len(trials.values)))
    for level, variance in zip(noise.levels, variances, strict=True):
        shared = rng.standard_normal((half, level.group.max() + 1))
        total += np.sqrt(variance)[:, None] * np.where(level.group >= 0, shared[:, level.group], 0.0)
    common = rng.standard_normal((half, 1))
    luck = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal(total.shape)
    centre = 0.5 * variances.sum(axis=0)[:, None]
    measured = components(noise.levels, np.array([[level.square.sum] for level in noise.levels]) - chance[:, None])
    return Counts(
        n_test=_test_sizes(trials),
        variance=float(measured.sum()),
        effects=np.concatenate([total - centre, -total - centre])[:count],
        luck=np.concatenate([luck, -luck])[:count],
    )


def image_correlation(trials: Trials, per_image: Mapping[str, Mapping[str, Array]]) -> float:
    """Mean correlation of two trials' errors over the test images, at least 0.

    Raises KeyError for a trial without per-image errors and ValueError where trials differ in their test images.
    """
    wrong = np.stack([np.asarray(per_image[address]["error"], dtype=float) for address in trials.address])
    wrong = wrong[wrong.std(axis=1) > 0]
    if len(wrong) < 2:
        return 0.0
    standard = (wrong - wrong.mean(axis=1, keepdims=True)) / wrong.std(axis=1, keepdims=True)
    pairs = (standard.sum(axis=0) ** 2).mean() - len(wrong)
    return float(np.clip(pairs / (len(wrong) * (len(wrong) - 1)), 0.0, 0.99))


def quasi_likelihood(
    law: Law, cells: Cells, errors: Array, start: Array, *, free: Array, counts: Counts
) -> tuple[Solution, Array]:
    """The fits to `errors` (b, t) from `start` (b, p), and the working log responses (b, t) about them.

    A row has converged when its predictions move by less than a thousandth in the last round.
    """
    parameters, live, moved = start.copy(), np.arange(len(start)), np.full(len(start), np.inf)
    loss, searched = np.zeros(len(start)), np.zeros(len(start), dtype=bool)
    for _ in range(ROUNDS):
        before, working = _working(law, cells, errors[live], parameters[live])
        noise_sd = LEAST_SQUARES * counts.sd(np.exp(before))
        found = refine(law, cells, working, parameters[live], free=free, noise_sd=noise_sd)
        parameters[live], loss[live], searched[live] = found.parameters, found.loss, found.converged
        after = log_prediction(law, found.parameters, cells)[:, cells.of_trial]
        moved[live] = np.abs(after - before).max(axis=1)
        live = live[moved[live] > 1e-7]
        if not len(live):
            break
    return Solution(parameters, loss, searched & (moved < 1e-3)), _working(law, cells, errors, parameters)[1]


def _working(law: Law, cells: Cells, errors: Array, parameters: Array) -> tuple[Array, Array]:
    """(ln ŷ, ln ŷ + (y − ŷ)/ŷ), each (b, t)."""
    prediction = log_prediction(law, parameters, cells)[:, cells.of_trial]
    return prediction, prediction + errors / np.exp(prediction) - 1
