"""Progress of a run on a terminal (one line that moves) or in a log (a line now and then), with rate and time left.

Reads the board; changes nothing. Always on stderr, so that results on stdout stay clean.
"""

import sys
import threading
import time
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


def line(board: Board, lanes: int, elapsed_seconds: float) -> str:
    """Return the state of a run in one line: what is made of how much, at what rate, and the time left."""
    with board.lock:
        done, total = board.tally, board.total
        left = time_left(board, lanes)
        failed = len(board.failed)
        now = sorted({name.split("-")[0] for name in board.running})
    parts = [f"{what} {done[what]:,}/{total[what]:,}" for what in total if total[what]]
    rate = done["images"] / max(elapsed_seconds, 1e-9)
    parts += [f"{rate:.0f} images/s"] if 0 < done["images"] < total["images"] else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"in hand: {', '.join(now)}"] if now else []
    return f"{clock(elapsed_seconds)}  {' · '.join(parts)} · {left}"


def time_left(board: Board, lanes: int) -> str:
    """Return the time left in words, from the measured seconds of each kind.

    What is in hand counts by its own progress since it was first heard of. As long as a kind that is still to come
    has not been measured, the answer is a lower bound and says so.
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
    if not any(left.values()):
        return "done"
    if not measured:
        return "starting"
    begun = sum(time.time() - event["started"] for event in board.running.values())
    work = max(sum(left[kind] * mean for kind, mean in measured.items()) - begun, 0.0)
    unknown = any(count and kind not in measured for kind, count in left.items())
    return f"{'more than' if unknown else 'about'} {clock(work / lanes)} left"


def clock(seconds: float) -> str:
    """Return seconds as 0:42, 12:05 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
