"""Progress of a run on a terminal (one line that moves) or in a log (a line now and then), with rate and time left.

Reads the board; changes nothing. Always on stderr, so that results on stdout stay clean.
"""

import re
import sys
import threading
import time
from dataclasses import dataclass, fields
from typing import Any, TextIO

from realfake.board import Board
from realfake.samples import SHARD_ROWS

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 15.0


class Progress:
    """Shows how far a run is. Use as a context manager; call it with every event of the run."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self.out = out
        self.moving = out.isatty()
        self.board: Board | None = None
        self.lanes = 1
        self.started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            self._finish()

    def _finish(self) -> None:
        """Show the last state of a board, to stay."""
        board, self.board = self.board, None
        if board:
            self._show(line(board, self.lanes, time.monotonic() - self.started), last=True)

    def __call__(self, event: dict[str, Any]) -> None:
        if event["kind"] == "dataset":
            self.say(f"imported {event['name']} ({event['split']}): {event['n']:,} images")
        elif event["kind"] == "round":
            self._finish()
            self.say(f"{event['new']} trials more were chosen: {event['trials']} of {event['of']}")
        elif event["kind"] == "begin":
            self.board, self.lanes, self.started = event["board"], event["lanes"], time.monotonic()
            if not self._thread.is_alive():
                self._thread.start()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        print(f"\r\x1b[K{text}" if self.moving else text, file=self.out, flush=True)

    def _tick(self) -> None:
        while not self._stop.wait(TERMINAL_SECONDS if self.moving else LOG_SECONDS):
            if board := self.board:
                self._show(line(board, self.lanes, time.monotonic() - self.started))

    def _show(self, text: str, last: bool = False) -> None:
        if self.moving:
            print(f"\r\x1b[K{text}", end="\n" if last else "", file=self.out, flush=True)
        else:
            print(text, file=self.out, flush=True)


@dataclass(frozen=True)
class State:
    """How far a run is. ``seconds_left`` is None before anything was measured, and ``at_least`` so much while a kind
    that is still to come was not; ``in_hand`` are the kinds that are being made.
    """

    seconds: float
    done: dict[str, int]
    total: dict[str, int]
    failed: int = 0
    in_hand: tuple[str, ...] = ()
    images_per_second: float | None = None
    seconds_left: float | None = None
    at_least: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to be made (what failed is not made)."""
        return self.done == self.total

    def __str__(self) -> str:
        """One line: what is made of how much, at what rate, and the time left. ``read`` reads it again."""
        parts = [f"{what} {self.done[what]:,}/{self.total[what]:,}" for what in self.total if self.total[what]]
        rate = self.images_per_second
        parts += [f"{rate:.{0 if rate >= 10 else 1}f} images/s"] if rate else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"in hand: {', '.join(self.in_hand)}"] if self.in_hand else []
        return f"{clock(self.seconds)}  {' · '.join(parts)} · {self.left}"

    @property
    def left(self) -> str:
        """The time left, in words."""
        if self.over:
            return "done"
        if self.seconds_left is None:
            return "starting"
        return f"{'more than' if self.at_least else 'about'} {clock(self.seconds_left)} left"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "in_hand": list(self.in_hand)}


def state(board: Board, lanes: int, elapsed_seconds: float) -> State:
    """Return how far a run is."""
    with board.lock:
        done, total = dict(board.tally), dict(board.total)
        left, at_least = _left(board, lanes)
        failed = len(board.failed)
        now = tuple(sorted({name.split("-")[0] for name in board.running}))
    making = 0 < done["images"] < total["images"]
    rate = done["images"] / max(elapsed_seconds, 1e-9) if making else None
    return State(elapsed_seconds, done, total, failed, now, rate, left, at_least)


def line(board: Board, lanes: int, elapsed_seconds: float) -> str:
    """Return the state of a run in one line: what is made of how much, at what rate, and the time left."""
    return str(state(board, lanes, elapsed_seconds))


def time_left(board: Board, lanes: int) -> str:
    """Return the time left in words."""
    return state(board, lanes, 0.0).left


def _left(board: Board, lanes: int) -> tuple[float | None, bool]:
    """Return the seconds left, from the measured seconds of each kind, and whether that is a lower bound.

    What is in hand counts by its own progress since it was first heard of. As long as a kind that is still to come
    has not been measured, the answer is a lower bound.
    """
    in_hand: dict[str, list[float]] = {kind: [] for kind in board.total}
    for name, event in board.running.items():
        share = (event.get("done", 0) - event.get("first", 0)) / max(event.get("total", 1), 1)
        if share > 0.02:
            in_hand[board.kind(name)].append((time.time() - event["first_heard"]) / share)
    unit = {kind: SHARD_ROWS if kind in ("images", "distances") else 1 for kind in board.total}
    left = {kind: (board.total[kind] - board.tally[kind]) // unit[kind] for kind in unit}
    measured = {
        kind: (board.seconds[kind] + sum(guesses)) / (board.tally[kind] // unit[kind] + len(guesses))
        for kind, guesses in in_hand.items()
        if board.tally[kind] or guesses
    }
    if not any(left.values()) or not measured:
        return (None if any(left.values()) else 0.0), False
    begun = sum(time.time() - event["started"] for event in board.running.values())
    work = max(sum(left[kind] * mean for kind, mean in measured.items()) - begun, 0.0)
    return work / lanes, any(count and kind not in measured for kind, count in left.items())


# ----------------------------------------------------------------------------------------------------- read from a log

_CLOCK = r"(?:\d+:)?\d+:\d\d"
_LINE = re.compile(rf"(?P<clock>{_CLOCK})  (?P<parts>.+) · (?P<left>done|starting|(about|more than) {_CLOCK} left)")
_COUNT = re.compile(r"(?P<what>\w+) (?P<done>[\d,]+)/(?P<total>[\d,]+)")


def read(log: str) -> State | None:
    """Return the last state of a run that a log tells of; None if it tells of none."""
    said = next((found for text in reversed(log.splitlines()) if (found := _LINE.fullmatch(text.strip()))), None)
    if said is None:
        return None
    parts = said["parts"].split(" · ")
    counts = {c["what"]: (_int(c["done"]), _int(c["total"])) for part in parts if (c := _COUNT.fullmatch(part))}
    rate = next((float(part.split()[0]) for part in parts if part.endswith(" images/s")), None)
    failed = next((int(part.split()[0]) for part in parts if re.fullmatch(r"\d+ failed", part)), 0)
    now = next((part.removeprefix("in hand: ") for part in parts if part.startswith("in hand: ")), "")
    told = re.search(_CLOCK, said["left"])
    return State(
        seconds=_seconds(said["clock"]),
        done={what: done for what, (done, _) in counts.items()},
        total={what: total for what, (_, total) in counts.items()},
        failed=failed,
        in_hand=tuple(now.split(", ")) if now else (),
        images_per_second=rate,
        seconds_left=_seconds(told[0]) if told else 0.0 if said["left"] == "done" else None,
        at_least=said["left"].startswith("more than"),
    )


def _int(text: str) -> int:
    return int(text.replace(",", ""))


def _seconds(text: str) -> float:
    """Read what ``clock`` wrote."""
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def clock(seconds: float) -> str:
    """Return seconds as 0:42, 12:05 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
