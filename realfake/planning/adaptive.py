"""A study that spends its trials where they tell most: rounds of fitting, choosing and running.

The trials of a round follow from the records of the rounds before it and from nothing else, so nothing is kept beside
them: asking again grows the same study, and an interrupted one goes on. Here: the study as it has grown. Not here:
which trials narrow an interval (`designs`), their specs (`proposals`), running them (`execution`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from realfake import records
from realfake.planning.proposals import next_specs
from realfake.spec import Study, Trial, address
from realfake.statistics.fits import fit_evidence, gather
from realfake.statistics.trial_table import normalised, select
from realfake.store import Store

DRAWS = 100  # of a round's fit: they set the expected half width, not which trial is best


def grown(study: Study, store: Store) -> Study:
    """The study with the trials of every round whose predecessors are made; the study itself if it is not adaptive.

    Raises FitError where the pilot, the trials that the file names, cannot be fitted.
    """
    return _grown(study, store.has, lambda trials: records.table(trials, store))


def grown_from(study: Study, rows: Iterable[Mapping[str, Any]]) -> Study:
    """The same from a table of its trials, such as lies beside a study file, and no store."""
    told = {row["address"]: row for row in rows}
    return _grown(study, lambda trial: address(trial) in told, lambda trials: [told[address(t)] for t in trials])


def _grown(study: Study, made: Callable[[Trial], bool], table: Callable[[tuple[Trial, ...]], list]) -> Study:
    while study.adaptive and len(study.trials) < study.adaptive.trials and all(map(made, study.trials)):
        chosen = _next_round(study, table(study.trials))
        if not chosen:
            break
        study = replace(study, trials=(*study.trials, *chosen))
    return study


def _next_round(study: Study, rows: list[Mapping[str, Any]]) -> tuple[Trial, ...]:
    aim = study.adaptive
    assert aim is not None
    evidence = gather(select(normalised(pd.DataFrame(rows)), response=aim.response), bootstrap=DRAWS, seed=0)
    count = min(aim.batch, aim.trials - len(study.trials))
    proposals = next_specs(study, fit_evidence(evidence, law=aim.law), evidence, count, at=aim.at)
    return tuple(proposal.trial for proposal in proposals)
