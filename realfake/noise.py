"""How much trials of one cell differ, what they share, and simulated tables that differ as much.

Log responses of trial t, in cell c, of subset draw s, at real size n, are modelled as

    cell value + scale_c · (shared by all trials of s  +  shared by all trials of s at n  +  the trial's own)

because a subset draw is nested: the same draw serves every size and every volume. The three variances come from an
analysis of variance of the deviations from cell means, so a law that does not fit cannot inflate them. With three
draws their mean squares are themselves uncertain; each simulated table therefore uses mean squares divided by a draw of
χ²/df (generalised inference, as in Weerahandi 1995), which widens intervals the way t-quantiles do.

From twenty complete replicates on, whole replicates are resampled instead, which assumes nothing about the noise; at
twelve that still covers less (0.89 of simulated equivalents, random effects 0.92).
Test images, where known one by one, are resampled jointly for all trials in both cases.
Here: these draws. Not here: what is fitted to them (`fits`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from realfake.laws import Array
from realfake.trial_table import Trials, cell_means

ENOUGH_REPLICATES = 20
SMALLEST_SD = 1e-9


@dataclass(frozen=True)
class MeanSquare:
    """A sum of squares and its degrees of freedom."""

    sum: float
    df: float

    def draws(self, rng: np.random.Generator, count: int) -> Array:
        """(count,) plausible expected mean squares; 0 where there are no degrees of freedom.

        One from each of `count` equally likely strata: at two degrees of freedom the tail is so heavy that plain draws
        would leave the ends of an interval to chance.
        """
        from scipy.special import chdtri

        if self.df < 1:
            return np.zeros(count)
        quantiles = (rng.permutation(count) + rng.random(count)) / count
        return self.sum / np.maximum(chdtri(self.df, np.maximum(quantiles, 1e-12)), 1e-3 * self.df)

    @property
    def mean(self) -> float:
        return self.sum / self.df if self.df > 0 else 0.0


@dataclass(frozen=True)
class Noise:
    """The noise of a table of t trials in c cells."""

    scale: Array  # (t,) relative noise SD of each trial's cell, around 1
    deviations: Array  # (t,) log response minus cell mean, in units of the scale
    between_draws: MeanSquare
    draws_by_size: MeanSquare
    own: MeanSquare
    trials_per_draw: float  # coefficients of the expected mean squares
    trials_per_draw_and_size: float
    overlap: float
    method: str  # "replicates resampled" | "random effects" | "residuals of the fit" | "none"

    def trial_sd(self) -> Array:
        """(t,) noise SD of one trial's log response."""
        own, by_size, by_draw = _components(self, self.between_draws.mean, self.draws_by_size.mean, self.own.mean)
        sd = float(np.sqrt(own + by_size + by_draw))
        return np.maximum(sd * self.scale, SMALLEST_SD)


def _components(noise: Noise, between, by_size, own):
    """Variances (own, shared at a size, shared by the draw) from expected mean squares, clipped at 0."""
    size_variance = np.maximum(by_size - own, 0.0) / max(noise.trials_per_draw_and_size, 1e-12)
    draw_variance = np.maximum(between - own - noise.overlap * size_variance, 0.0) / max(noise.trials_per_draw, 1e-12)
    return own, size_variance * (noise.draws_by_size.df > 0), draw_variance * (noise.between_draws.df > 0)


def estimate(trials: Trials) -> Noise:
    """The noise seen between replicates of the same cells; method "none" where no cell has two."""
    cell_count, trial_count = len(trials.cells.n), len(trials.values)
    scale = _relative_scale(trials)
    raw = trials.log_response - trials.cell_means[trials.cells.of_trial]
    deviations = raw / scale
    replicate, draw_count = trials.replicate, trials.n_replicates
    _, size = np.unique(trials.draw_size, return_inverse=True)
    pair = replicate * (size.max() + 1) + size
    draw_sum, pair_sum = _group_sum(deviations, replicate), _group_sum(deviations, pair)
    by_pair = _draws_a_size(replicate, size) - 1
    df_draw, df_pair = draw_count - 1, by_pair.sum() - (draw_count - 1)
    df_own = trial_count - cell_count - by_pair.sum()
    if df_own < 1:  # too few trials to tell the sources apart: all of it is the trial's own
        df_draw, df_pair, df_own, draw_sum, pair_sum = 0, 0, trial_count - cell_count, 0.0, 0.0
    per_pair = np.bincount(size) / _draws_a_size(replicate, size)
    overlap = float((per_pair**2).sum() / per_pair.sum())
    sizes = max(len(per_pair) - 1, 1)
    return Noise(
        scale=scale,
        deviations=deviations,
        between_draws=MeanSquare(draw_sum, df_draw),
        draws_by_size=MeanSquare(max(pair_sum - draw_sum, 0.0), df_pair),
        own=MeanSquare(max(float((deviations**2).sum()) - pair_sum, 0.0), df_own),
        trials_per_draw=float(per_pair.sum()),
        trials_per_draw_and_size=(float(per_pair.sum()) - overlap) / sizes,
        overlap=overlap,
        method=_method(trials, df_own),
    )


def from_residuals(noise: Noise, residuals: Array, df: int) -> Noise:
    """The noise when no cell was repeated: what a fit leaves over, lack of fit included."""
    own = MeanSquare(float((residuals**2).sum()), max(df, 1))
    values = {**noise.__dict__, "own": own, "method": "residuals of the fit", "scale": np.ones_like(noise.scale)}
    return Noise(**values)


def simulate(noise: Noise, trials: Trials, count: int, rng: np.random.Generator) -> Array:
    """(count, t) deviations of log responses from their cell values, as another run of the study would have them.

    Random effects come in pairs of a study and its mirror image, so that few draws do not shift an interval.
    """
    if noise.method == "replicates resampled":
        return _resampled_replicates(noise, trials, count, rng)
    half = _random_effects(noise, trials, (count + 1) // 2, rng)
    return np.concatenate([half, -half])[:count]


def _random_effects(noise: Noise, trials: Trials, count: int, rng: np.random.Generator) -> Array:
    """(count, t) normal deviations with plausible variances."""
    draws = [square.draws(rng, count) for square in (noise.between_draws, noise.draws_by_size, noise.own)]
    own, by_size, by_draw = (np.sqrt(variance)[:, None] for variance in _components(noise, *draws))
    _, pair = np.unique(np.stack([trials.replicate, trials.draw_size]), axis=1, return_inverse=True)
    pair = pair.ravel()
    total = own * rng.standard_normal((count, len(trials.values)))
    total += by_size * rng.standard_normal((count, pair.max() + 1))[:, pair]
    total += by_draw * rng.standard_normal((count, trials.n_replicates))[:, trials.replicate]
    return total * noise.scale


def _resampled_replicates(noise: Noise, trials: Trials, count: int, rng: np.random.Generator) -> Array:
    """Whole replicates drawn with replacement; √(k/(k−1)) restores the variance that centring took."""
    k, cells = trials.n_replicates, trials.cells
    table = np.zeros((k, len(cells.n)))
    table[trials.replicate, cells.of_trial] = noise.deviations * noise.scale
    chosen = rng.integers(k, size=(count, k))
    return table[chosen[:, trials.replicate], cells.of_trial] * np.sqrt(k / (k - 1))


def image_deviations(
    trials: Trials, per_image: Mapping[str, Mapping[str, Array]], count: int, rng: np.random.Generator
) -> Array:
    """(count, t) changes of log responses when the test images are drawn anew, the same images for every trial.

    Raises KeyError for a trial without per-image values and ValueError where trials differ in their test images.
    """
    values = np.stack([np.asarray(per_image[address][trials.response], dtype=float) for address in trials.address])
    images = values.shape[1]
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=count) @ values.T / images
    smallest = 0.5 / images if trials.response == "error" else 1e-12
    return np.log(np.maximum(drawn, smallest)) - np.log(np.maximum(values.mean(axis=1), smallest))


def pure_error(log_response: Array, trials: Trials, scale: Array) -> Array:
    """Scaled sum of squares of trials about their cell means, (…,), for log responses (…, t)."""
    deviations = log_response - cell_means(log_response, trials.cells)[..., trials.cells.of_trial]
    return ((deviations / scale) ** 2).sum(axis=-1)


def _method(trials: Trials, df_own: float) -> str:
    pairs = np.stack([trials.replicate, trials.cells.of_trial])
    complete = np.unique(pairs, axis=1).shape[1] == len(trials.values) == trials.n_replicates * len(trials.cells.n)
    if complete and trials.n_replicates >= ENOUGH_REPLICATES:
        return "replicates resampled"
    return "random effects" if df_own >= 1 else "none"


def _relative_scale(trials: Trials) -> Array:
    """(t,) relative noise SD: exp of a line in the mean log response, its slope shrunk by its own uncertainty."""
    counts, means = trials.counts, trials.cell_means
    raw = trials.log_response - means[trials.cells.of_trial]
    variance = np.bincount(trials.cells.of_trial, raw**2, len(counts)) / np.maximum(counts - 1, 1)
    usable = (counts > 1) & (variance > 0)
    if usable.sum() < 8:
        return np.ones(len(trials.values))
    x, weight = means - means[usable].mean(), usable * (counts - 1)
    centred = x - (weight * x).sum() / weight.sum()
    spread = (weight * centred**2).sum()
    log_variance = np.log(np.where(usable, variance, 1.0))
    slope = (weight * centred * log_variance).sum() / spread if spread > 0 else 0.0
    # ln χ²_k/k has variance near 2/k + 1/k² times up to 1.3 for small k; 3/k is safe from k = 1 on.
    shrink = max(0.0, 1 - (3 / spread) / slope**2) if slope and spread > 0 else 0.0
    return np.exp(np.clip(0.5 * slope * shrink * centred, -2, 2))[trials.cells.of_trial]


def _group_sum(deviations: Array, group: Array) -> float:
    """Σ over groups of (sum of deviations)² / size."""
    sizes = np.bincount(group)
    return float((np.bincount(group, deviations) ** 2 / np.maximum(sizes, 1)).sum())


def _draws_a_size(replicate: Array, size: Array) -> Array:
    """(sizes,) different draws seen at each size."""
    return np.array([len(np.unique(replicate[size == which])) for which in range(size.max() + 1)])
