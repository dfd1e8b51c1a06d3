"""Records and analyses mirrored into MLflow and read back from it: the only place that knows MLflow.

A study is an experiment; a run is found by the address in its tags, so mirroring again adds nothing. Trial runs never
change. The address of a curve holds the digest of its analysis: a new analysis makes new curves and marks the old ones
superseded. Here: writing a study. What runs say is in ``runs``, how they are written in ``mirror`` and read in
``reading``, how a server is reached in ``server``, logging while a run goes on in ``live``. Not here: when to mirror
(``results``), what is asked of what was read (``queries``).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realfake.tracking.live import LiveLog as LiveLog
from realfake.tracking.mirror import open_mirror
from realfake.tracking.reading import Analysed as Analysed
from realfake.tracking.reading import analyses as analyses
from realfake.tracking.reading import attack_rows as attack_rows
from realfake.tracking.reading import trial_rows as trial_rows
from realfake.tracking.runs import ATTACKS, attack_runs, curve_runs, study_run, trial_run
from realfake.tracking.runs import columns as columns
from realfake.tracking.runs import flat as flat
from realfake.tracking.server import TrackingError as TrackingError
from realfake.tracking.server import explained

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
    membership: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Mirror a study into MLflow: its trial records, the curves, fits and sentences of its analysis, a folder of files.

    ``table`` has a row a trial (joined by ``address``), ``datasets`` says name, digest and licence by address. The file
    fits.json of the study run holds the whole analysis. ``membership`` is what attacks on its audits reached
    (``privacy.kept_membership``), a run an attack. What is there already is left alone; what a killed process left half
    made is made again. Returns the counts trials_new, trials_known, curves_new, attacks_new, superseded, and the
    experiment_id. Raises TrackingError when MLflow is out of reach.
    """
    rows = {row["address"]: row for row in table.to_dict("records")}
    trials = [trial_run(record, rows.get(record["address"], {}), datasets or {}) for record in records]
    study = study_run(study_name, question, analysis, records, rows)
    with explained(uri, study_name):
        mirror = open_mirror(uri, study_name)
        mirror.remove_half_made()
        known = mirror.known.get(study.address)
        parent = known.info.run_id if known else mirror.waiting_study_run()
        trials_new = sum(mirror.add(trial, parent) for trial in trials)
        curves_new = sum(mirror.add(curve, parent) for curve in curve_runs(study_name, analysis))
        attacks_new = 0
        if membership:
            attacks_new = sum(mirror.add(attack, parent) for attack in attack_runs(study_name, membership))
            mirror.supersede_views(ATTACKS, membership["key"], study.address)
        if known is None:
            mirror.client.log_text(parent, json.dumps({"analysis": analysis}, allow_nan=False), "fits.json")
            if artifacts is not None and artifacts.is_dir():
                mirror.client.log_artifacts(parent, str(artifacts))
            mirror.write(parent, study)
        superseded = mirror.supersede(analysis["digest"], study.address, parent)
    return {
        "trials_new": trials_new,
        "trials_known": len(trials) - trials_new,
        "curves_new": curves_new,
        "attacks_new": attacks_new,
        "superseded": superseded,
        "experiment_id": mirror.experiment_id,
    }


def ui_command(uri: str) -> str:
    """Return what to type to look at the curves: the ``mlflow ui`` command, or the address of the server itself."""
    return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
