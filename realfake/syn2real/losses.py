"""The losses of a fit, step by step: kept, reported, checked. Which losses there are is said in each translator."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realfake.generators import Diverged
from realfake.store import write_whole

HISTORY = "history.jsonl"
LINES = 100
REPORT_SECONDS = 1.0

Report = Callable[[dict[str, Any]], None]


class TranslatorDiverged(Diverged):
    """The loss of a translator's fit is no longer finite. ``step``: how many steps had been made when that was seen."""

    def __init__(self, step: int) -> None:
        RuntimeError.__init__(
            self, f"the translator's loss is not finite after {step} steps; give a lower learning_rate"
        )
        self.step = step

    def __reduce__(self) -> Any:
        return TranslatorDiverged, (self.step,)


class Losses:
    """The mean losses of every hundredth of a fit, by name; ``loss`` is the one that is reported."""

    def __init__(self, report: Report, steps: int) -> None:
        self.report, self.steps = report, steps
        self.every = math.ceil(steps / LINES)
        self.lines: list[dict[str, float]] = []
        self.sums: dict[str, Any] = {}
        self.count = 0
        self.started = self.reported = time.monotonic()

    def add(self, step: int, **losses: Any) -> None:
        """Count one step's losses, tensors or numbers; raises TranslatorDiverged when a mean is not finite."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss
        self.count += 1
        if step % self.every and step != self.steps:
            return
        means = {name: float(total) / self.count for name, total in self.sums.items()}
        if not all(map(math.isfinite, means.values())):
            raise TranslatorDiverged(step)
        self.lines.append({"step": step, **means})
        self.sums, self.count = {}, 0
        now = time.monotonic()
        if now - self.reported >= REPORT_SECONDS or step == self.steps:
            self.report({"done": step, "total": self.steps, "unit": "steps", "loss": means["loss"]})
            self.reported = now

    def facts(self) -> dict[str, float]:
        """Return the mean loss of the first and of the last tenth of the lines, and the seconds since the start."""
        tenth = max(1, len(self.lines) // 10)
        first, last = self.lines[:tenth], self.lines[-tenth:]
        means = [sum(line["loss"] for line in part) / tenth for part in (first, last)]
        return {"first_loss": means[0], "final_loss": means[1], "seconds": time.monotonic() - self.started}

    def write(self, folder: Path) -> None:
        """Write one JSON line a hundredth of the fit."""
        write_whole(folder / HISTORY, "".join(f"{json.dumps(line)}\n" for line in self.lines))
