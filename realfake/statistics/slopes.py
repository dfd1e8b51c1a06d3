"""Scaling laws of synthetic images: how fast a response falls with real images alone, and with synthetic ones alone.

Fan et al. 2024 (arXiv 2312.04567) report L ∝ D^−k for the loss on D training images and call k the scaling ability;
the law holds over a range of sizes only, so each line says whether it is rejected. Synthetic-only trials (n_real 0) of
three volumes or more have a line for every recipe, arm and size of the generator's real set; so has each ladder.
Two lines are compared over the sizes that both were measured at, where those suffice: a bent curve has another slope
elsewhere. Here: which trials are on which line, and the comparison. Not here: the line itself (`lines`), single classes
(`class_slopes`), equivalents (`fits`: a line's ratio of slopes is an exponent, not a worth).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.intervals import Interval, interval_of_draws, withheld
from realfake.laws import Array
from realfake.responses import RESPONSES
from realfake.statistics import noise as noises
from realfake.statistics.fits import FitError, PerImage, gather
from realfake.statistics.inversion import response_interval
from realfake.statistics.lines import FEWEST, Line
from realfake.statistics.trial_table import REAL_ONLY, Frame, Trials, cell_means, normalised, responses_of, select

BAND = 25  # sizes at which a line is drawn


@dataclass(frozen=True)
class Scaled:
    """The trials of one recipe and arm with the ladder, and (b, c) simulated deviations of their cells' means."""

    trials: Trials
    deviations: Array | None  # None where no cell was repeated

    def line(self, of: Array, within: tuple[float, float] = (0.0, np.inf)) -> Line:
        """The line through the cells marked in `of` (c,) whose sizes lie `within`."""
        cells = self.trials.cells
        size = np.where(cells.n > 0, cells.n, cells.m)
        at = np.flatnonzero(of & (size >= within[0]) & (size <= within[1]))
        at = at[np.argsort(size[at])]
        drawn = None if self.deviations is None else self.deviations[:, at]
        return Line(size[at], self.trials.cell_means[at], drawn)

    @property
    def real(self) -> Array:
        """(c,) True for cells of real images alone."""
        return self.trials.ladder & (self.trials.cells.n > 0)

    def synthetic(self) -> dict[int, Array]:
        """The cells of synthetic images alone, (c,) by the real images that their generators saw."""
        cells = self.trials.cells
        alone = (cells.n == 0) & (cells.m > 0)
        return {int(g): alone & (cells.n_generator == g) for g in np.unique(cells.n_generator[alone])}


def scaling_slopes(
    table: Frame, *, per_image: PerImage | None = None, bootstrap: int = 400, seed: int = 0
) -> list[dict[str, Any]]:
    """A row for every line of a table of trials, in every response: k of L = c·D^−k, with 95 % intervals.

    Rows hold recipe, arm, n_generator (None of real images), response, sizes, replicates (trials of each size),
    "slope" (k), "scale" (c), "bend" (by how much k changes at ten times the size), lack_of_fit (p, None without
    repeated trials), straight (False where a straight line is rejected), method, "points" and "band" for drawing, and
    of synthetic lines "beside_real": k_synthetic − k_real and k_synthetic / k_real over the sizes of both. Intervals
    are over draws, seeds and, with `per_image` as in `fit`, test images; with a single seed by Student's t from what
    the line leaves over. What has no line has a "reason"; one volume alone is not told of. Raises FitError for a table
    that makes no sense at all.
    """
    rows, found = normalised(table), []
    for recipe, own in rows.groupby("recipe", sort=True):
        alone = own[(own["n_real"] == 0) & (own["n_synthetic"] > 0)]
        volumes = alone.groupby(["arm", "n_generator"])["n_synthetic"].nunique()
        several = volumes[volumes > 1].index.get_level_values("arm")
        for arm in (REAL_ONLY, *sorted(several.unique())):
            for response in responses_of(rows):
                key = (str(recipe), str(arm), response)
                found += _of_arm(rows, key, per_image, bootstrap, seed)
    return found


def _of_arm(rows: Frame, key: tuple[str, str, str], per_image: PerImage | None, bootstrap: int, seed: int) -> list:
    recipe, arm, response = key
    named = {"recipe": recipe, "arm": arm, "response": response}
    try:
        scaled = scaled_trials(rows, *key, per_image=per_image, bootstrap=bootstrap, seed=seed)
    except FitError as error:
        return [{**named, "n_generator": None, "reason": str(error)}]
    if arm == REAL_ONLY:
        return [{**named, "n_generator": None, **_line(scaled, scaled.real)}]
    made = []
    for n_generator, of in scaled.synthetic().items():
        if of.sum() < 2:
            continue
        told = _line(scaled, of)
        told |= {} if "reason" in told else {"beside_real": beside_real(scaled, of, seed)}
        made.append({**named, "n_generator": n_generator, **told})
    return made


def scaled_trials(
    rows: Frame, recipe: str, arm: str, response: str, *, per_image: PerImage | None, bootstrap: int, seed: int
) -> Scaled:
    """The trials of an arm, with draws of their cells' means where any was repeated; FitError without a ladder."""
    trials = select(rows, response=response, arm=arm, recipe=recipe)
    if noises.estimate(trials).method == "none":
        return Scaled(trials, None)
    try:
        evidence = gather(trials, bootstrap=bootstrap, seed=seed, per_image=per_image)
    except FitError:  # a response that is no mean over test images, or images that are not known for every trial
        evidence = gather(trials, bootstrap=bootstrap, seed=seed)
    return Scaled(evidence.trials, cell_means(evidence.deviations, evidence.trials.cells))


def _line(scaled: Scaled, of: Array) -> dict[str, Any]:
    line = scaled.line(of)
    sizes = {"sizes": [int(size) for size in line.sizes]}
    if len(line.sizes) < FEWEST:
        needed = f"{len(line.sizes)} sizes; a line that could be seen to be none needs {FEWEST} or more"
        return {**sizes, "reason": needed}
    return {
        **sizes,
        "replicates": [int(scaled.trials.counts[at]) for at in np.flatnonzero(of)],
        **{name: getattr(line, name).to_json() for name in ("slope", "scale", "bend")},
        "lack_of_fit": line.lack_of_fit,
        "straight": line.straight,
        "method": line.method,
        "points": _points(scaled, of),
        "band": [
            {"size": float(d), **_ends(line.height(d))} for d in np.geomspace(line.sizes[0], line.sizes[-1], BAND)
        ],
    }


def _points(scaled: Scaled, of: Array) -> list[dict[str, Any]]:
    """The mean response of each cell, with its interval where any trial was repeated."""
    cells, found = scaled.trials.cells, []
    for at in np.flatnonzero(of):
        mean = np.exp(scaled.trials.cell_means[at : at + 1])
        nothing = Interval(float(mean[0]), float(mean[0]), float(mean[0]))
        own = nothing if scaled.deviations is None else response_interval(mean, scaled.deviations[:, at])
        found.append({"size": int(cells.n[at] or cells.m[at]), **_ends(own)})
    return found


def _ends(found: Interval) -> dict[str, float]:
    return {"value": found.point, "low": found.low, "high": found.high}


# -------------------------------------------------------------------------------------------- synthetic beside real


def beside_real(scaled: Scaled, of: Array, seed: int) -> dict[str, Any]:
    """k_synthetic − k_real and k_synthetic / k_real, over the sizes that both were measured at if those suffice.

    Where both have fewer than three sizes in common range, each line is taken whole and "same_range" is False.
    """
    lines = (scaled.line(of), scaled.line(scaled.real))
    low, high = max(line.sizes[0] for line in lines), min(line.sizes[-1] for line in lines)
    near = tuple(scaled.line(part, (low, high)) for part in (of, scaled.real))
    same = min(len(line.sizes) for line in near) >= FEWEST
    ours, real = near if same else lines
    given = {"same_range": same, "over": [[int(line.sizes[0]), int(line.sizes[-1])] for line in (ours, real)]}
    if len(real.sizes) < FEWEST:
        reason = withheld(f"the real-only ladder has {len(real.sizes)} sizes; it needs {FEWEST}").to_json()
        return {**given, "difference": reason, "ratio": reason}
    rng = np.random.default_rng(seed)
    k, k_real = (line.slopes(4000, rng) for line in (ours, real))
    points = ours.slope.point, real.slope.point
    return {
        **given,
        "slope": ours.slope.to_json(),
        "slope_real": real.slope.to_json(),
        "straight": [ours.straight, real.straight],
        "difference": interval_of_draws(points[0] - points[1], k - k_real).to_json(),
        "ratio": _ratio(points, k, k_real).to_json(),
    }


def _ratio(points: tuple[float, float], k: Array, k_real: Array) -> Interval:
    """k / k_real; a study whose real images may do nothing at all bounds no ratio."""
    if points[1] <= 0 or (k_real <= 0).mean() > 0.025:
        return withheld("whether real images help is not told from their slope, so nothing can be divided by it")
    return interval_of_draws(points[0] / points[1], np.where(k_real > 0, k / np.maximum(k_real, 1e-12), np.nan))


# ----------------------------------------------------------------------------------------------------------- sentences


def sentences(rows: list[dict[str, Any]], response: str) -> list[str]:
    """A sentence for every line of synthetic images alone in a response: k, that of real images, and their ratio."""
    several = len({row["recipe"] for row in rows}) > 1
    lines = [row for row in rows if row["response"] == response and "beside_real" in row]
    return [_sentence(row, several) for row in lines]


def _sentence(row: dict[str, Any], several: bool) -> str:
    saw = f", fitted on {row['n_generator']:,}" if row["n_generator"] else ""
    recipe = f", {row['recipe']}" if several and row["recipe"] else ""
    beside, sizes, ratio = row["beside_real"], row["sizes"], Interval.from_json(row["beside_real"]["ratio"])
    told = (
        f"Images from {row['arm']}{saw}{recipe}, alone: {RESPONSES[row['response']]} falls as D^−k with "
        f"k = {Interval.from_json(row['slope'])} from {sizes[0]:,} to {sizes[-1]:,} images"
    )
    bent = "" if row["straight"] else ", an average, for a straight line is rejected"
    if ratio.censored:
        return f"{told}{bent}."
    low, high = beside["over"][0]
    where = f"from {low:,} to {high:,}" if beside["same_range"] else "over all sizes of each"
    return f"{told}{bent}; k over that of real images, {where}: {ratio}."
