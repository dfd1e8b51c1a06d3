"""A study that spends its trials where they tell most: rounds of fitting, choosing and running.

The trials of a round follow from the records of the rounds before it and from nothing else, so nothing is kept beside
them: asking again grows the same study, and an interrupted one goes on. Here: the study as it has grown. Not here:
which trials narrow an interval (`designs`), their specs (`proposals`), running them (`execution`).
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from realfake import records
from realfake.planning.proposals import next_specs
from realfake.spec import Study, Trial
from realfake.statistics.fits import fit_evidence, gather
from realfake.statistics.trial_table import normalised, select
from realfake.store import Store

DRAWS = 100  # of a round's fit: they set the expected half width, not which trial is best


def grown(study: Study, store: Store) -> Study:
    """The study with the trials of every round whose predecessors are made; the study itself if it is not adaptive.

    Raises FitError where the pilot, the trials that the file names, cannot be fitted.
    """
    while study.adaptive and len(study.trials) < study.adaptive.trials and all(map(store.has, study.trials)):
        chosen = _next_round(study, store)
        if not chosen:
            break
        study = replace(study, trials=(*study.trials, *chosen))
    return study


def _next_round(study: Study, store: Store) -> tuple[Trial, ...]:
    aim = study.adaptive
    assert aim is not None
    table = pd.DataFrame(records.table(study.trials, store))
    evidence = gather(select(normalised(table), response=aim.response), bootstrap=DRAWS, seed=0)
    count = min(aim.batch, aim.trials - len(study.trials))
    proposals = next_specs(study, fit_evidence(evidence, law=aim.law), evidence, count, at=aim.at)
    return tuple(proposal.trial for proposal in proposals)
