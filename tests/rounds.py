"""Simulated studies in rounds: fit, choose the trials that narrow the interval most, measure them, until all are run.

Here: the rounds, over any way to measure. Not here: which trials narrow an interval (`designs`), the specs of the
trials that a real study should run next (`proposals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from realfake.planning.designs import Choice, candidates, next_trials
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import fit_evidence, gather
from realfake.statistics.trial_table import Frame, Trials, normalised, select


@dataclass(frozen=True)
class Round:
    """The table so far, its fit, and the trials to measure next (none at the end)."""

    table: Frame
    fit: Fit
    chosen: tuple[Choice, ...]


def rounds(
    table: Frame,
    measure: Callable[[tuple[Choice, ...]], Frame],
    *,
    at: tuple[float, float],
    cells: Iterable[tuple[float, float, float]] | None = None,
    total: int,
    batch: int,
    law: str = "hyperbolic",
    response: str = "cross_entropy",
    arm: str | None = None,
    recipe: str | None = None,
    bootstrap: int = 100,
    seed: int = 0,
) -> Iterator[Round]:
    """Yield every round of a study that aims at the equivalent at `at` = (n, m), declared before it begins.

    `table` is the pilot's, a row a trial. A round chooses `batch` trials among `cells` (n_real, n_synthetic,
    n_generator; by default the pilot's own), under the replicates there are and new ones; `measure` runs them and gives
    their rows; the last round has `total` rows or no candidate left. A pilot of few cells is best: the two ends of the
    real-only ladder and its size at `at`, three volumes there, and two at another real size, once each; new cells cost
    the degrees of freedom that repeated ones give. Raises FitError where the pilot cannot be fitted.
    """
    offered = None if cells is None else list(cells)
    while True:
        trials = select(normalised(table), response=response, arm=arm, recipe=recipe)
        evidence = gather(trials, bootstrap=bootstrap, seed=seed)
        fit = fit_evidence(evidence, law=law)
        offered = _cells(trials) if offered is None else offered
        count = max(0, min(batch, total - len(table)))
        chosen = next_trials(fit, evidence, candidates(trials, offered, new=count), count, at=at)
        yield Round(table, fit, tuple(chosen))
        if not chosen:
            return
        table = pd.concat([table, measure(tuple(chosen))], ignore_index=True)


def _cells(trials: Trials) -> list[tuple[float, float, float]]:
    cells = trials.cells
    return list(zip(cells.n.tolist(), cells.m.tolist(), cells.n_generator.tolist(), strict=True))
