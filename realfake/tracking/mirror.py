"""One study's experiment in MLflow: what is in it, and runs written into it, by explicit run ids.

What a run says is decided in ``runs``. MLflow's active run belongs to the caller and is never touched.
"""

import json
from dataclasses import dataclass
from typing import Any

from realfake.tracking.runs import ADDRESS, DIGEST, KIND, NAME, STUDY, SUPERSEDED, Run
from realfake.tracking.server import TrackingError, client_of, sqlite_file

EXPERIMENT = "realfake/"  # and the name of the study


@dataclass
class Mirror:
    """The experiment of a study: its complete runs by address, and what is not complete."""

    client: Any
    experiment_id: str
    study: str
    known: dict[str, Any]
    half_made: list[str]  # run ids: what a killed process left, and the second copies of two at once
    waiting: list[str]  # run ids: study runs that a run began and that no analysis has filled yet

    def add(self, run: Run, parent: str) -> bool:
        """Log a run unless its address is there; say whether it was new."""
        if run.address in self.known:
            return False
        tags = {KIND: run.kind, STUDY: self.study, ADDRESS: run.address, "mlflow.parentRunId": parent}
        created = self.client.create_run(self.experiment_id, int(1000 * run.started), tags, run.name)
        self.write(created.info.run_id, run)
        self.known[run.address] = created
        return True

    def write(self, run_id: str, run: Run) -> None:
        """Fill a run, then end it: a run that has ended is complete."""
        from mlflow.entities import Param, RunTag

        metrics = metrics_of(run.metrics, run.started)
        params = [Param(name, str(value)) for name, value in run.params.items()]
        tags = [RunTag(name, value) for name, value in {NAME: run.name, **run.tags}.items()]
        while metrics or params or tags:  # a batch holds 1000 metrics, 100 parameters and 100 tags, 1000 in all
            self.client.log_batch(run_id, metrics[:800], params[:100], tags[:100])
            metrics, params, tags = metrics[800:], params[100:], tags[100:]
        if run.inputs:
            self.client.log_inputs(run_id, [_dataset_input(dataset) for dataset in run.inputs])
        self.client.set_terminated(run_id, run.status, int(1000 * (run.started + run.seconds)))

    def waiting_study_run(self) -> str:
        """Return the study run that the next analysis will fill, and begin one if there is none."""
        if not self.waiting:
            tags = {KIND: "study", STUDY: self.study}
            created = self.client.create_run(self.experiment_id, tags=tags, run_name=self.study)
            self.waiting.append(created.info.run_id)
        return self.waiting[0]

    def remove_half_made(self) -> None:
        """Delete the runs that are not complete, so that they are made again."""
        for run_id in self.half_made:
            self.client.delete_run(run_id)
        self.half_made = []

    def supersede(self, digest: str, by: str, study_run_id: str) -> int:
        """Mark the curves and study runs of other analyses, unmark those of this one; return how many were marked."""
        left = [run_id for run_id in self.waiting if run_id != study_run_id]
        for run_id in left:
            self.client.set_terminated(run_id)
            self.client.set_tag(run_id, SUPERSEDED, by)
        return self.supersede_views(DIGEST, digest, by)

    def supersede_views(self, tag: str, digest: str, by: str) -> int:
        """Mark the runs whose tag holds another digest, unmark those with this one; return how many were marked."""
        views = [run for run in self.known.values() if tag in run.data.tags]
        old = [run.info.run_id for run in views if run.data.tags[tag] != digest and SUPERSEDED not in run.data.tags]
        again = [run.info.run_id for run in views if run.data.tags[tag] == digest and SUPERSEDED in run.data.tags]
        for run_id in again:
            self.client.delete_tag(run_id, SUPERSEDED)
        for run_id in old:
            self.client.set_tag(run_id, SUPERSEDED, by)
        return len(old)


def open_mirror(uri: str, study: str) -> Mirror:
    """The experiment of a study, made if need be, with what is in it: one search."""
    client = client_of(uri, create=True)
    experiment_id = _experiment(client, uri, study)
    mirror = Mirror(client, experiment_id, study, known={}, half_made=[], waiting=[])
    for run in sorted(search(client, [experiment_id], ""), key=lambda run: (run.info.start_time, run.info.run_id)):
        running, address = run.info.status == "RUNNING", run.data.tags.get(ADDRESS)
        if address is None and running and run.data.tags.get(KIND) == "study":
            mirror.waiting.append(run.info.run_id)
        elif address is not None and (running or address in mirror.known):
            mirror.half_made.append(run.info.run_id)
        elif address is not None:
            mirror.known[address] = run
    return mirror


def _experiment(client: Any, uri: str, study: str) -> str:
    from mlflow.exceptions import MlflowException

    name, found = f"{EXPERIMENT}{study}", client.get_experiment_by_name(f"{EXPERIMENT}{study}")
    if found is None:
        file = sqlite_file(uri)  # without a server, files would go to the folder where the command was typed
        beside = (file.parent / "mlartifacts").as_uri() if file else None
        try:
            return client.create_experiment(name, artifact_location=beside)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process came first
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {name!r} was deleted from MLflow at {uri}; bring it back with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
        )
    return found.experiment_id


def search(client: Any, experiment_ids: list[str], filter_string: str) -> list[Any]:
    """All runs of the experiments that the filter lets through."""
    runs, token = [], None
    while experiment_ids:
        page = client.search_runs(experiment_ids, filter_string, max_results=5000, page_token=token)
        runs, token = [*runs, *page], page.token
        if not token:
            break
    return runs


def metrics_of(points: list[tuple[str, float, int]], seconds: float) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(name, float(value), int(1000 * seconds), step) for name, value, step in points]


def _dataset_input(dataset: dict[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({name: dataset.get(name) for name in ("address", "split", "n", "licence")})
    digest = str(dataset["digest"])[:36]  # the longest that MLflow takes
    described = Dataset(dataset["name"], digest, source_type="realfake", source=source)
    return DatasetInput(described, [InputTag("mlflow.data.context", dataset["use"])])
