"""Records and analyses mirrored into MLflow, and curves queried back from it: the only place that knows MLflow.

A study is an experiment; a run is found by the address in its tags, so mirroring again adds nothing. Trial runs never
change. The address of a curve holds the digest of its analysis: a new analysis makes new curves and marks the old ones
superseded. Here: writing a study and reading curves. What runs say is in ``runs``, how they are written in ``mirror``,
how a server is reached in ``server``, logging while a run goes on in ``live``; when to mirror, in ``results``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realfake.tracking.live import LiveLog as LiveLog
from realfake.tracking.mirror import EXPERIMENT, open_mirror, search
from realfake.tracking.runs import (
    CELLS,
    DIGEST,
    KIND,
    SUPERSEDED,
    columns,
    curve_runs,
    flat,
    joined,
    study_run,
    trial_run,
)
from realfake.tracking.server import TrackingError, client_of, explained
from realfake.values import nearest

if TYPE_CHECKING:
    import pandas as pd


def track(
    study_name: str,
    question: str,
    records: list[dict[str, Any]],
    table: pd.DataFrame,
    analysis: dict[str, Any],
    *,
    uri: str,
    artifacts: Path | None = None,
    datasets: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Mirror a study into MLflow: its trial records, the curves and sentences of its analysis, the files of a folder.

    ``table`` has a row a trial (joined by ``address``), ``datasets`` says name, digest and licence by address. What is
    there already is left alone; what a killed process left half made is made again. Returns the counts trials_new,
    trials_known, curves_new, superseded, and the experiment_id. Raises TrackingError when MLflow is out of reach.
    """
    rows = {row["address"]: row for row in table.to_dict("records")}
    trials = [trial_run(record, rows.get(record["address"], {}), datasets or {}) for record in records]
    study = study_run(study_name, question, analysis, records)
    with explained(uri, study_name):
        mirror = open_mirror(uri, study_name)
        mirror.remove_half_made()
        known = mirror.known.get(study.address)
        parent = known.info.run_id if known else mirror.waiting_study_run()
        trials_new = sum(mirror.add(trial, parent) for trial in trials)
        curves_new = sum(mirror.add(curve, parent) for curve in curve_runs(study_name, analysis))
        if known is None:
            if artifacts is not None and artifacts.is_dir():
                mirror.client.log_artifacts(parent, str(artifacts))
            mirror.write(parent, study)
        superseded = mirror.supersede(analysis["digest"], study.address, parent)
    return {
        "trials_new": trials_new,
        "trials_known": len(trials) - trials_new,
        "curves_new": curves_new,
        "superseded": superseded,
        "experiment_id": mirror.experiment_id,
    }


def curves(
    *, study: str | None = None, n_real: int | None = None, arm: str | None = None, uri: str, all: bool = False
) -> pd.DataFrame:
    """Return the curves that MLflow holds, a row a cell, read from the tracking server alone.

    Columns: study, arm, recipe, n_real, n_synthetic, n_generator, replicates, diverged, equivalent_by, the digest of
    the analysis, and for every quantity its point, ``_low`` and ``_high``. Of a censored one the point is NaN,
    ``_censored`` says "above" or "below" and ``_bound`` of what; "withheld" is no answer. The real-only ladder is the
    arm "real-only", at n_synthetic 0. ``all`` adds the curves of superseded analyses.
    Raises TrackingError for an unknown study, naming the nearest, and when MLflow is out of reach.
    """
    import pandas as pd

    with explained(uri, study or "STUDY"):
        client = client_of(uri, create=False)
        found = client.search_experiments(filter_string=f"name LIKE '{EXPERIMENT}%'")
        names = {experiment.experiment_id: experiment.name.removeprefix(EXPERIMENT) for experiment in found}
        if study is not None and study not in names.values():
            raise TrackingError(f"MLflow at {uri} has no study {study!r}; {nearest(study, names.values())}")
        wanted = [key for key, name in names.items() if study in (None, name)]
        runs = search(client, wanted, f"tags.`{KIND}` = 'curve' AND attributes.status = 'FINISHED'")
    rows = [
        {"study": names[run.info.experiment_id], **flat(cell), "digest": run.data.tags[DIGEST]}
        for run in runs
        if all or SUPERSEDED not in run.data.tags
        for cell in joined(CELLS, run.data.tags)
        if n_real in (None, cell["n_real"]) and arm in (None, cell["arm"])
    ]
    tidy = pd.DataFrame(rows, columns=["study", *columns(), "digest"])
    order = ["study", "digest", "recipe", "arm", "n_real", "n_generator", "n_synthetic"]
    return tidy.sort_values(order, kind="stable", ignore_index=True)


def ui_command(uri: str) -> str:
    """Return what to type to look at the curves: the ``mlflow ui`` command, or the address of the server itself."""
    return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
