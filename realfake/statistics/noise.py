"""How much trials of one cell differ, what they share, and simulated tables that differ as much.

Log responses of trial t, in cell c, of subset draw s, at real size n, are modelled as

    cell value + scale_c · (shared by all trials of s + shared by all trials of s at n + shared by all of a generator
                            + the trial's own)

because a subset draw is nested: the same draw serves every size and every volume. Seeds that change together count as
one source, the coarsest. The variances come from an analysis of variance of the deviations from cell means (sequential
sums of squares, equated to their expectations under the design at hand: Henderson's method I), so a law that does not
fit cannot inflate them. With three draws their mean squares are themselves uncertain; each simulated table therefore
uses mean squares divided by a draw of χ²/df (generalised inference, as in Weerahandi 1995), which widens intervals the
way t-quantiles do.

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
from realfake.statistics.regression import Cells
from realfake.statistics.trial_table import Trials, cell_means

ENOUGH_REPLICATES = 20
SMALLEST_SD = 1e-9
OWN = "trial"


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
class Level:
    """One source of noise: the trials that share it, and what the analysis of variance found for it."""

    name: str
    group: Array  # (t,) int: trials with one number share one effect; -1 where there is none
    square: MeanSquare  # what it explains beyond the coarser levels
    coefficients: Array  # (levels,) E[sum of squares] = Σ coefficient · variance, coarse to fine


@dataclass(frozen=True)
class Noise:
    """The noise of a table of t trials in c cells."""

    scale: Array  # (t,) relative noise SD of each trial's cell, around 1
    deviations: Array  # (t,) log response minus cell mean, in units of the scale
    levels: tuple[Level, ...]  # coarse to fine; the last is the trial's own
    method: str  # "replicates resampled" | "random effects" | "residuals of the fit" | "none"

    def __str__(self) -> str:
        sources = ", ".join(level.name for level in self.levels if level.square.df >= 1)
        return f"{self.method} ({sources})" if self.method == "random effects" else self.method

    def variances(self) -> Array:
        """(levels,) the estimated variance of each level, in units of the scale."""
        return components(self.levels, np.array([[level.square.sum] for level in self.levels]))[:, 0]

    def trial_sd(self) -> Array:
        """(t,) noise SD of one trial's log response."""
        return np.maximum(float(np.sqrt(self.variances().sum())) * self.scale, SMALLEST_SD)


def components(levels: tuple[Level, ...], sums: Array) -> Array:
    """Variances (levels, b) that explain the sums of squares (levels, b), from the finest level up, clipped at 0."""
    found = np.zeros_like(sums)
    for position in reversed(range(len(levels))):
        coefficients = levels[position].coefficients
        if levels[position].square.df >= 1 and coefficients[position] > 0:
            rest = coefficients[position + 1 :] @ found[position + 1 :]
            found[position] = np.maximum(sums[position] - rest, 0.0) / coefficients[position]
    return found


def estimate(trials: Trials) -> Noise:
    """The noise seen between replicates of the same cells; method "none" where no cell has two."""
    scale = _relative_scale(trials)
    deviations = (trials.log_response - trials.cell_means[trials.cells.of_trial]) / scale
    levels = _levels(trials, deviations, sources_of(trials))
    if levels[-1].square.df < 1:  # too few trials to tell the sources apart: all of it is the trial's own
        levels = _levels(trials, deviations, {OWN: np.arange(len(deviations))})
    return Noise(scale, deviations, levels, _method(trials, levels[-1].square.df))


def sources_of(trials: Trials) -> dict[str, Array]:
    """The trials that share each source of noise, coarse to fine. A source that is tied to another is not one."""
    pair = numbered(trials.replicate, trials.draw_size)
    groups = {"subset draw": trials.replicate, "subset draw at a size": pair}
    fitted = trials.generator >= 0
    by_generator = np.where(fitted, numbered(pair, trials.generator), -1)
    several = len(np.unique(by_generator[fitted])) > len(np.unique(pair[fitted]))
    return {**groups, **({"generator": by_generator} if several else {}), OWN: np.arange(len(pair))}


def _levels(trials: Trials, deviations: Array, groups: dict[str, Array]) -> tuple[Level, ...]:
    return levels_of(trials.cells, deviations, groups)


def levels_of(cells: Cells, deviations: Array, groups: dict[str, Array]) -> tuple[Level, ...]:
    """Sequential sums of squares, each with its expectation as a combination of variances, computed from the design.

    `deviations` (t,) are from the means of their `cells`; `groups` name the sources of noise, coarse to fine, each with
    the number (t,) of what every trial shares of it.
    """
    spaces = [numbered(*(group for group in list(groups.values())[: depth + 1])) for depth in range(len(groups))]
    effects = [_centred_effect(cells, group) for group in groups.values()]
    columns = (deviations[:, None], *effects)
    explained = np.array([[squares_between(column, space) for column in columns] for space in spaces])
    added = np.diff(explained, axis=0, prepend=0.0)  # (levels, 1 + levels): the first column is what was measured
    found = zip(groups.items(), added, strict=True)
    return tuple(
        Level(name, group, MeanSquare(max(float(row[0]), 0.0), round(float(row[-1]), 6)), row[1:])
        for (name, group), row in found
    )


def _centred_effect(cells: Cells, group: Array) -> Array:
    """(t, groups) indicators of a level's groups less their cell means: how one unit of each effect shows."""
    indicators = (group[:, None] == np.unique(group[group >= 0])).astype(float)
    return indicators - cell_means(indicators.T, cells).T[cells.of_trial]


def squares_between(values: Array, group: Array) -> float:
    """Σ over columns and groups of (sum in the group)² / size: the squared length of (t, k) after group means."""
    membership = (group[:, None] == np.unique(group)).astype(float)
    return float(((membership.T @ values) ** 2 / membership.sum(axis=0)[:, None]).sum())


def numbered(*keys: Array) -> Array:
    """(t,) one number for each combination of keys."""
    return np.unique(np.stack(keys), axis=1, return_inverse=True)[1].ravel()


def from_residuals(noise: Noise, residuals: Array, df: int) -> Noise:
    """The noise when no cell was repeated: what a fit, to all trials or some, leaves over, lack of fit included."""
    count, square = len(noise.scale), MeanSquare(float((residuals**2).sum()), max(df, 1))
    own = Level(OWN, np.arange(count), square, np.array([square.df]))
    return Noise(np.ones(count), noise.deviations, (own,), "residuals of the fit")


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
    sums = np.stack([level.square.draws(rng, count) * level.square.df for level in noise.levels])
    total = np.zeros((count, len(trials.values)))
    for level, variance in zip(noise.levels, components(noise.levels, sums), strict=True):
        effects = rng.standard_normal((count, level.group.max() + 1))
        total += np.sqrt(variance)[:, None] * np.where(level.group >= 0, effects[:, level.group], 0.0)
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
