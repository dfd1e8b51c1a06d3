"""Where the noise of one cell comes from: the draw of real images, the generator, its pool, the training.

Log responses of the trials of a cell, on a nested design, are modelled as

    y = cell mean + subset draw + generator within draw + pool within generator + training within pool

(real-only cells: draw + training), all effects independent. Variances come from the sequential sums of squares of
``noise``, equated to their expectations; in a balanced design these are the estimates of restricted maximum likelihood
where none of them is negative, else 0 (Searle, Casella & McCulloch 1992, Variance Components, ch. 3 and 4.8). Intervals
are generalised ones: every sum of squares is divided by a draw of its χ² and the equations are solved again (Weerahandi
1995), so that of the finest level is exact. A seed that changes only together with a coarser one is no source of its
own: what it adds counts there.

``noise`` asks the same of a whole table, to simulate it: it pools cells, adds how a draw acts anew at each size, and
leaves pools and trainings together as the trial's own. This asks one cell, for what the answer is good for: how often
to repeat what. Here: the variances, and the cheapest replication. Not here: how they print (`replicated`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.intervals import Interval, interval_of_draws
from realfake.laws import Array
from realfake.statistics.noise import Level, components, levels_of, numbered
from realfake.statistics.regression import Cells
from realfake.statistics.trial_table import SEEDS, Frame, normalised, responses_of

SOURCES = dict(zip(SEEDS, ("subset draw", "generator", "pool", "training"), strict=True))  # coarse to fine
SECONDS = {"generator": "generator_seconds", "pool": "pool_seconds", "training": "seconds"}  # columns; a draw is free
DRAWS = 4000
MOST = 12  # of one thing within one of the next coarser that is ever advised
FREE = 1e-9


@dataclass(frozen=True)
class Component:
    """One source of noise of a cell: how often it was drawn anew, and the SD that it gives to a log response.

    An SD of 0.05 is about 5 % of the response. `share` is that of the variance of one trial.
    """

    source: str
    count: int
    df: float
    sd: Interval
    share: float


@dataclass(frozen=True)
class Replication:
    """How many of each thing to make within one of the next coarser, for the least variance at a given cost.

    `sd` is that of the mean log response over one such draw, with everything in it; of k draws it is sd / √k.
    `seconds` is what one such draw costs.
    """

    each: dict[str, int]
    sd: float
    seconds: float


def variance_components(table: Frame, *, response: str = "", seed: int = 0) -> list[dict[str, Any]]:
    """What the trials of each cell differ by, source by source, for every cell where two sources can be told apart.

    `table` has a row a trial with the columns subset_seed, generator_seed, pool_seed and trial_seed, and is checked as
    for a fit; "" is its main response. Each row found holds the cell, its trials, "components" (`Component`, plain
    values, the SD as `Interval.to_json`) and "replication" (`Replication`; None where the columns generator_seconds,
    pool_seconds and seconds do not say what things cost). Diverged trials are left out, and cells with a response of 0.
    Raises FitError for a table that makes no sense.
    """
    ordered = normalised(table)
    response = response or responses_of(ordered)[0]
    used = ordered[(ordered["status"] != "diverged") & (ordered[response] > 0)]
    keys = ["recipe", "arm", "n_real", "n_synthetic", "n_generator"]
    found = []
    for key, rows in used.groupby(keys, sort=True):
        sources = nested(rows)
        if len(sources) > 1:
            named = dict(zip(keys, (*key[:2], *map(int, key[2:])), strict=True))
            found.append({**named, "response": response, "trials": len(rows), **_told(rows, sources, response, seed)})
    return found


def nested(rows: Frame) -> dict[str, Array]:
    """The sources that can be told apart in the trials of a cell, coarse to fine: the number (t,) of each trial's.

    A source of one kind, or one that goes with a coarser one throughout, cannot.
    """
    found: dict[str, Array] = {}
    before = np.zeros(len(rows), int)
    for position, name in enumerate(SEEDS):
        groups = numbered(*rows[list(SEEDS[: position + 1])].to_numpy().T)
        if len(np.unique(groups)) > len(np.unique(before)):
            found[SOURCES[name]] = before = groups
    return found


def estimate(values: Array, sources: Mapping[str, Array], seed: int = 0) -> list[Component]:
    """The components of the log responses (t,) of one cell, coarse to fine."""
    one = np.zeros(1)
    cell = Cells(one, one, one, np.zeros(len(values), int))
    levels = levels_of(cell, values - values.mean(), dict(sources))
    points = components(levels, np.array([[level.square.sum] for level in levels]))[:, 0]
    draws = components(levels, _plausible(levels, seed))
    return [
        Component(
            source=level.name,
            count=len(np.unique(level.group)),
            df=level.square.df,
            sd=interval_of_draws(math.sqrt(point), np.sqrt(drawn)),
            share=float(point / points.sum()) if points.sum() else 0.0,
        )
        for level, point, drawn in zip(levels, points, draws, strict=True)
    ]


def _plausible(levels: Sequence[Level], seed: int) -> Array:
    """(levels, draws) sums of squares whose expectations are plausible in the light of those that were found."""
    rng = np.random.default_rng(seed)
    return np.stack([level.square.draws(rng, DRAWS) * level.square.df for level in levels])


def replicate(variances: Mapping[str, float], costs: Mapping[str, float]) -> Replication:
    """The numbers of each thing, within one of the next coarser, that give the least variance of a mean at its cost.

    Variances and costs are by source, coarse to fine; a cost is that of one more, without what it holds. Without bounds
    and rounding, n_k = √(c_{k−1} V_k / (c_k V_{k−1})) for every k but the coarsest, of which one makes as many as the
    money buys (Cochran 1977, Sampling Techniques, ch. 10); here whole numbers up to `MOST` are tried. Where one more
    costs nothing and tells nothing, one is made.
    """
    names = list(variances)
    tried = itertools.product(range(1, MOST + 1), repeat=len(names) - 1)
    best = min(((1, *counts) for counts in tried), key=lambda counts: _variance_times_cost(counts, variances, costs))
    made = list(itertools.accumulate(best, int.__mul__))
    variance = sum(variances[name] / count for name, count in zip(names, made, strict=True))
    seconds = sum(costs[name] * count for name, count in zip(names, made, strict=True))
    return Replication(dict(zip(names, best, strict=True)), math.sqrt(variance), seconds)


def _variance_times_cost(
    counts: Sequence[int], variances: Mapping[str, float], costs: Mapping[str, float]
) -> tuple[float, int]:
    """Variance × cost of one draw, which the number of draws does not change; fewer things first where it is equal."""
    made = list(itertools.accumulate(counts, int.__mul__))
    variance = sum(variances[name] / count for name, count in zip(variances, made, strict=True))
    cost = sum(costs[name] * count for name, count in zip(variances, made, strict=True))
    return round(variance * max(cost, FREE), 15), made[-1]


def _told(rows: Frame, sources: Mapping[str, Array], response: str, seed: int) -> dict[str, Any]:
    found = estimate(np.log(rows[response].to_numpy(float)), sources, seed)
    variances = {one.source: one.sd.point**2 for one in found}
    costs = dict(_costs(rows, list(sources)))
    advised = replicate(variances, costs) if len(costs) == len(sources) and sum(variances.values()) else None
    return {
        "components": [{**vars(one), "sd": one.sd.to_json()} for one in found],
        "costs": costs,
        "replication": vars(advised) if advised else None,
    }


def _costs(rows: Frame, sources: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Mean seconds of one more of each source, where known: with those of finer ones that go with it throughout."""
    synthetic = bool((rows["n_synthetic"] > 0).all())
    order = [name for name in SOURCES.values() if synthetic or name not in ("generator", "pool")]
    for position, name in enumerate(sources):
        last = order.index(sources[position + 1]) if position + 1 < len(sources) else len(order)
        within = [SECONDS[one] for one in order[order.index(name) : last] if one in SECONDS]
        if all(column in rows and np.isfinite(rows[column]).all() for column in within):
            yield name, float(sum(rows[column].mean() for column in within))
