"""How the runs of a study went: a line for each thing that a run made, and what the lines say of its lanes.

``timeline.jsonl`` beside a study is only appended to, by a thread of the driver, so that no lane waits for it. It is an
account, never a source: nothing decides from it what to make. Not here: figures and words (``report.timeline``).
"""

import contextlib
import json
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realfake.spec import Study
from realfake.store import Store

if TYPE_CHECKING:
    import pandas as pd

FILE, FLUSH_SECONDS = "timeline.jsonl", 2.0
MADE = ("fit", "images", "distances", "trial", "evaluation")  # kinds of bars, in the order of a run
OF_ACTORS = ("images", "distances")

Event = dict[str, Any]
Span = tuple[float, float]  # from, to, in seconds since 1970


# ------------------------------------------------------------------------------------------------- kept as a run goes


class Timeline:
    """Takes the events of a run and appends them to the file of its study, two seconds late at most.

    A disk that takes nothing costs the account, not the run. Each piece begins with a newline, so that half a line,
    left by a process that was killed, spoils no other.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.run = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        self.started = time.time()
        self._lines: deque[Event] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="timeline", daemon=True)

    def __call__(self, event: Event) -> None:
        """Take an event of ``execution.run``: the first to begin something makes the file."""
        if event["kind"] == "begin":
            sizes = {"lanes": event["lanes"], "actors": event.get("actors", 0)}
            self._add({"kind": "run", "started": self.started, "begun": time.time(), **sizes})
            if not self._thread.is_alive():
                self._thread.start()
        elif "process" in event:
            self._add(_line(event))

    def end(self) -> None:
        """Write that the run ended, and all that is not written yet; nothing, if nothing was begun."""
        if self._thread.is_alive():
            self._add({"kind": "end", "ended": time.time()})
            self._stop.set()
            self._thread.join(timeout=10)

    def _add(self, line: Event) -> None:
        self._lines.append({"run": self.run, **line})

    def _write(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [json.dumps(self._lines.popleft()) for _ in range(len(self._lines))]
        if lines:
            with contextlib.suppress(OSError):  # a full disk, say: the run itself meets it, and says so
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "ab") as file:
                    file.write("\n".join(["", *lines]).encode())


@contextlib.contextmanager
def kept(folder: Path, on_event: Callable[[Event], None]) -> Iterator[Callable[[Event], None]]:
    """Yield what takes the events of a run: it keeps its timeline, and passes them on."""
    timeline = Timeline(folder)

    def both(event: Event) -> None:
        timeline(event)
        on_event(event)

    try:
        yield both
    finally:
        timeline.end()


def _line(event: Event) -> Event:
    lane = f"{event.get('node', '')}:{event['process']}"
    told = {name: event[name] for name in ("first", "rows", "status") if name in event}
    times = {"started": event["started"], "seconds": event["seconds"]}
    return {"kind": event["kind"], "address": event["address"], **told, "lane": lane, **times}


# ------------------------------------------------------------------------------------------------------------ read back


@dataclass(frozen=True)
class Bar:
    """Something made: by which process (``lane``, host:process), from when to when, in seconds since 1970."""

    kind: str
    address: str
    lane: str
    started: float
    ended: float
    first: int | None = None
    rows: int = 0
    status: str = "ok"


@dataclass(frozen=True)
class Run:
    """A run that made something. ``begun`` is when lanes could first be asked for work, each round again;
    ``complete`` says whether its end was told, or it was killed.
    """

    name: str
    started: float
    begun: tuple[float, ...]
    ended: float
    complete: bool
    lanes: int
    actors: int
    bars: tuple[Bar, ...]

    @property
    def busy(self) -> float:
        """Seconds that all processes spent making things."""
        return sum(bar.ended - bar.started for bar in self.bars)


def runs(folder: Path) -> list[Run]:
    """Return the runs of the study in whose folder a timeline lies, in the order of time; none without one."""
    lines: dict[str, list[Event]] = {}
    for line in _lines(folder / FILE):
        lines.setdefault(line["run"], []).append(line)
    found = [_run(name, own) for name, own in lines.items()]
    return sorted((run for run in found if run.bars), key=lambda run: run.started)


def timeline(study: Study | str, store: Store | str | os.PathLike = "store") -> "pd.DataFrame":
    """Return a row for each thing that runs of a study made: run, kind, address, lane, started, seconds, first, rows.

    ``lane`` is host:process, ``started`` in seconds since 1970; of images, ``first`` is the index of the first.
    """
    import pandas as pd

    store = store if isinstance(store, Store) else Store(str(store))
    folder = store.study_folder(study if isinstance(study, str) else study.name)
    columns = ["run", "kind", "address", "lane", "started", "seconds", "first", "rows", "status"]
    return pd.DataFrame([line for line in _lines(folder / FILE) if line["kind"] in MADE], columns=columns)


def _lines(path: Path) -> Iterator[Event]:
    """Yield the whole lines of a timeline."""
    try:
        text = path.read_bytes().decode(errors="replace")
    except OSError:
        return
    for piece in text.split("\n"):
        with contextlib.suppress(json.JSONDecodeError):  # half a line of a process that was killed
            line = json.loads(piece)
            if isinstance(line, dict) and "run" in line:
                yield line


def _run(name: str, lines: list[Event]) -> Run:
    bars = tuple(_bar(line) for line in lines if line["kind"] in MADE)
    heads = [line for line in lines if line["kind"] == "run"]
    ends = [line["ended"] for line in lines if line["kind"] == "end"]
    first = min((bar.started for bar in bars), default=0.0)
    return Run(
        name=name,
        started=min([head["started"] for head in heads], default=first),
        begun=tuple(head["begun"] for head in heads) or (first,),
        ended=max([*ends, *(bar.ended for bar in bars)], default=0.0),
        complete=bool(ends),
        lanes=max((head["lanes"] for head in heads), default=0),
        actors=max((head["actors"] for head in heads), default=0),
        bars=bars,
    )


def _bar(line: Event) -> Bar:
    plain = {
        name: line[name] for name in ("kind", "address", "lane", "started", "first", "rows", "status") if name in line
    }
    return Bar(**plain, ended=line["started"] + line["seconds"])


# ---------------------------------------------------------------------------------------------------------------- spans


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the same seconds as spans that do not touch, in the order of time."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif end > start:
            found.append((start, end))
    return found


def length(spans: Iterable[Span]) -> float:
    """Return the seconds of spans that do not touch."""
    return sum(end - start for start, end in spans)


def outside(spans: list[Span], start: float, end: float) -> list[Span]:
    """Return what of [start, end] lies outside spans that do not touch."""
    edges = [start, *(edge for span in spans for edge in span), end]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return union((max(a, start), min(b, end)) for a, b in pairs)


def common(one: list[Span], other: list[Span]) -> list[Span]:
    """Return what two unions of spans have in common."""
    found, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            found.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found
