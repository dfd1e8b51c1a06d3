"""Trials, and how far the run is, logged to MLflow while a study runs, without ever holding it up.

What is missed of trials, ``track`` adds later; of progress it is gone.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from realfake.tracking.going import Going
from realfake.tracking.mirror import Mirror, open_mirror
from realfake.tracking.runs import trial_run
from realfake.tracking.server import TrackingError, explained

SILENT_SECONDS = 60.0  # after a failure


class LiveLog:
    """Logs trials as they finish, and progress, in one daemon thread. It never makes its caller wait and never raises.

    What finds the queue full or the server out of reach is dropped and counted in ``dropped`` (``problem`` says why):
    ``track`` adds it later, and knows by its address what was logged here. The first event is the first to need MLflow.
    """

    def __init__(
        self, study: str, uri: str, datasets: Mapping[str, dict[str, Any]] | None = None, capacity: int = 1000
    ) -> None:
        self.study, self.uri, self.datasets = study, uri, datasets or {}
        self.logged, self.dropped, self.problem = 0, 0, ""
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(capacity)
        self._stopped = threading.Event()
        self._mirror: Mirror | None = None
        self._going: Going | None = None
        self._silent_until = 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def log(self, event: dict[str, Any]) -> None:
        """Take an event: ``{"record", "row"}`` of a trial (its row of the table), or progress (``Going.log``)."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_seconds: float) -> None:
        """Log what is queued, for at most so long; then drop the rest and end."""
        deadline = time.monotonic() + timeout_seconds
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_seconds)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._stopped.set()

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            if self._stopped.is_set() or time.monotonic() < self._silent_until:
                self.dropped += 1
                continue
            try:
                with explained(self.uri, self.study):
                    self._send(event)
            except TrackingError as error:
                self.problem, self._silent_until = str(error), time.monotonic() + SILENT_SECONDS
                self.dropped += 1

    def _send(self, event: dict[str, Any]) -> None:
        self._mirror = self._mirror or open_mirror(self.uri, self.study)
        if event.get("record"):
            trial = trial_run(event["record"], event.get("row", {}), self.datasets)
            self.logged += self._mirror.add(trial, self._mirror.waiting_study_run())
        elif "progress" in event:
            self._going = self._going or Going(self._mirror)
            self._going.log(event)
