"""A run in MLflow that says how far a run of a study is, while it goes on: one "progress" run for each.

Its kind is a tag of its own, and it has no address, so that no query for trials or curves ever sees it. Here: what is
logged, as metrics over time. Not here: when (``watching``), and in which thread (``live``).
"""

import contextlib
import time
from typing import Any

from realfake.tracking.mirror import Mirror, metrics_of, search
from realfake.tracking.runs import KIND, NOTE, STUDY

PROGRESS, STAGE = "progress", "realfake.stage"


class Going:
    """The progress run of one run of a study, begun by the first ``log``. Raises what MLflow raises.

    Progress runs that still seem to go on, of processes that were killed, are ended then. If two runs of a study go on
    at once, the first thus seems to be killed; its metrics go on.
    """

    def __init__(self, mirror: Mirror) -> None:
        self.mirror, self.began = mirror, time.time()
        self.run_id = ""
        self._meters: list[Any] = []

    def log(self, event: dict[str, Any]) -> None:
        """Log ``progress`` (numbers by name), ``said`` in words, and the ``stage``; with ``ended``, end the run."""
        from mlflow.entities import RunTag

        numbers = {**event["progress"], **self._system()}
        if not self.run_id:
            self._begin()
        second = round(time.time() - self.began)
        points = [(name, value, second) for name, value in numbers.items()]
        tags = [RunTag(STAGE, event["stage"]), RunTag(NOTE, event["said"])]
        self.mirror.client.log_batch(self.run_id, metrics_of(points, time.time()), tags=tags)
        if event.get("ended"):
            self.mirror.client.set_terminated(self.run_id, event["ended"])

    def _begin(self) -> None:
        client, mirror = self.mirror.client, self.mirror
        going_on = f"tags.`{KIND}` = '{PROGRESS}' AND attributes.status = 'RUNNING'"
        for run in search(client, [mirror.experiment_id], going_on):
            client.set_terminated(run.info.run_id, "KILLED")
        tags = {KIND: PROGRESS, STUDY: mirror.study, "mlflow.parentRunId": mirror.waiting_study_run()}
        name = f"progress {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.began))}"
        created = client.create_run(mirror.experiment_id, int(1000 * self.began), tags, name)
        self.run_id, self._meters = created.info.run_id, meters()

    def _system(self) -> dict[str, float]:
        """Return how busy this machine was since the last look, as MLflow's page of system metrics names it; at first
        nothing, for there was none.
        """
        found: dict[str, float] = {}
        for meter in self._meters:
            meter.collect_metrics()
            found |= meter.aggregate_metrics()
            meter.clear_metrics()
        return {f"system/{name}": value for name, value in found.items()}


def meters() -> list[Any]:
    """Return MLflow's own meters of processor and memory, and of GPUs where nvidia-ml-py finds some.

    MLflow's monitor that would call them has a thread of its own, and ends for good when the server is once out of
    reach; so they are read here.
    """
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    found: list[Any] = [CPUMonitor()]
    with contextlib.suppress(ImportError, RuntimeError):  # no nvidia-ml-py, or no GPU that it knows
        found.append(GPUMonitor())
    for meter in found:
        meter.collect_metrics()  # the first look, from which on the use of a processor is counted
        meter.clear_metrics()
    return found
