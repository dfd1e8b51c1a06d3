"""What a tracking server is told while a study runs: trials as they finish, and how far the run is, now and then.

Nothing here waits for the server (``tracking.LiveLog``). What a terminal is shown is in ``progress``; what is mirrored
once all is made, in ``results``.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from realfake import records, results, tracking
from realfake.board import Board
from realfake.planning import adaptive
from realfake.progress import State, state
from realfake.resources import Where
from realfake.spec import address
from realfake.store import Store
from realfake.studyfile import StudyFile
from realfake.timelines import OF_ACTORS

TELL_SECONDS = 15.0  # between two points of progress
CLOSE_SECONDS = 10.0  # in which a server may still take what is queued, at the end of a run
STAGES = {"fits": "fitting generators", "images": "making images", "distances": "measuring distances"}
STAGES |= {"trials": "training trials", "evaluations": "evaluating"}
OF_LANES = {"trial": "trials", **dict.fromkeys(("evaluation", "audit", "fidelity"), "evaluations")}  # others are fits

Event = dict[str, Any]


@contextlib.contextmanager
def watched(file: StudyFile, where: Where, on_event: Callable[[Event], None]) -> Iterator[Callable[[Event], None]]:
    """Yield what takes the events of a run: it passes them on, and tells a tracking server (a local file waits for the
    end of the run).
    """
    if not where.tracking_uri().startswith("http"):
        yield on_event
        return
    store = Store(where.store)
    live = tracking.LiveLog(file.study.name, where.tracking_uri(), datasets=results.tracked_datasets(file, store))
    trials, told = _Trials(file, store, live), _Told(live)

    def every(event: Event) -> None:
        on_event(event)
        if event["kind"] == "trial":
            trials.finished(event["address"])
        elif event["kind"] == "begin":
            told.begin(event["board"], event["lanes"])

    ended = "FAILED"
    try:
        yield every
        ended = "FAILED" if told.failed else "FINISHED"
    except KeyboardInterrupt:
        ended = "KILLED"
        raise
    finally:
        told.end(ended)
        live.close(timeout_seconds=CLOSE_SECONDS)


class _Trials:
    """Logs the trials of a study as they finish, with their rows."""

    def __init__(self, file: StudyFile, store: Store, live: tracking.LiveLog) -> None:
        self.file, self.store, self.live = file, store, live
        self.known = {address(trial): trial for trial in file.study.trials}

    def finished(self, name: str) -> None:
        if name not in self.known and self.file.study.adaptive:  # of a later round
            self.known |= {address(trial): trial for trial in adaptive.grown(self.file.study, self.store).trials}
        if name in self.known:  # and not a critic that the study does not ask about
            trial = self.known[name]
            (row,) = records.table([trial], self.store, named_among=tuple(self.known.values()))
            self.live.log({"record": self.store.record(trial), "row": row})


class _Told:
    """Tells how far a run is when it begins, every now and then, and when it ends; nothing of a run without a board."""

    def __init__(self, live: tracking.LiveLog) -> None:
        self.live, self.board, self.lanes, self.began = live, None, 1, time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress to MLflow", daemon=True)

    @property
    def failed(self) -> bool:
        return self.board is not None and bool(self.board.failed)

    def begin(self, board: Board, lanes: int) -> None:
        self.board, self.lanes, self.began = board, lanes, time.monotonic()
        self.tell()
        if not self._thread.is_alive():
            self._thread.start()

    def end(self, how: str) -> None:
        self._stop.set()
        self.tell(ended=how)

    def tell(self, ended: str = "") -> None:
        if self.board:
            now = state(self.board, self.lanes, time.monotonic() - self.began)
            said = {"progress": numbers(now), "said": str(now), "stage": ended.lower() or stage(now)}
            self.live.log({**said, "ended": ended})

    def _tick(self) -> None:
        while not self._stop.wait(TELL_SECONDS):
            self.tell()


def numbers(now: State) -> dict[str, float]:
    """Return how far a run is as metrics; what is not known is left out, and a bound is called one."""
    found: dict[str, float] = {"failed": now.failed}
    for what, total in now.total.items():
        if total:
            found |= {f"{what}_done": now.done[what], f"{what}_total": total}
    left = "seconds_left_at_least" if now.at_least else "seconds_left"
    known = {"images_per_second": now.images_per_second, left: now.seconds_left}
    return found | {name: value for name, value in known.items() if value is not None}


def stage(now: State) -> str:
    """Return in words what is being made: what lanes have in hand, and images once some are there; or what is first."""
    lacking = [what for what in now.total if now.done[what] < now.total[what]]
    in_hand = {OF_LANES.get(kind, "fits") for kind in now.in_hand}
    begun = [what for what in lacking if what in in_hand or (what in OF_ACTORS and now.done[what])]
    return ", ".join(STAGES[what] for what in begun or lacking[:1]) or "done"
