"""The course of a training: the learning rate of each step, its loss, what is told on the way, and what was spent.

Which rows a step sees is in ``batches``; the loops themselves are in ``classification`` and ``detection``.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from realfake.samples import seed_of
from realfake.spec import Trial, address
from realfake.tasks.batches import Plan, plan
from realfake.values import SpecError

HISTORY_LINES = 100
WARM_UP = 0.05


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate of a step: linear up over the first 5 % of ``steps``, then a cosine down to 0 at ``steps``."""
    rising = max(1, math.ceil(WARM_UP * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def planned(trial: Trial, n_real: int, n: int, workers: int, each: int = 1) -> Plan:
    """Return the plan of a trial on ``n`` images, the first ``n_real`` of them real.

    Raises SpecError when its batches are too small to give each of several workers ``each`` examples.
    """
    found = plan(trial.recipe, n_real, n - n_real, seed_of("batches", address(trial)))
    if workers > 1 and found.examples // found.steps < each * workers:
        size = trial.recipe.batch_size
        raise SpecError(f"Recipe.batch_size={size} is too small for {workers} workers; give them fewer")
    return found


class Course:
    """How a training goes, from its making on: at most a hundred lines of history, and the examples and seconds spent.

    Losses stay on the device between lines: reading one every step would stall a GPU.
    """

    def __init__(self, plan: Plan, accelerator: Any, report: Callable[[dict[str, Any]], None]) -> None:
        self.plan, self.accelerator, self.report = plan, accelerator, report
        self.losses = torch.zeros(plan.steps, device=accelerator.device)
        self.every = math.ceil(plan.steps / HISTORY_LINES)
        self.history: list[dict[str, Any]] = []
        self.told = self.real_seen = 0
        self.started = self.ended = time.perf_counter()

    def begin(self, optimizer: torch.optim.Optimizer, step: int, rows: np.ndarray) -> None:
        """Give the optimizer the rate of a step that sees these rows ``(b,)``, real ones first."""
        for group in optimizer.param_groups:
            group["lr"] = self._rate(step)
        self.real_seen += int((rows < self.plan.n_real).sum())

    def end(self, step: int, loss: torch.Tensor) -> dict[str, Any] | None:
        """Keep the loss of a step; return the result of a training that diverged once that is known, else None."""
        self.losses[step] = loss.detach()
        if (step + 1) % self.every and step + 1 < self.plan.steps:
            return None
        since = self.accelerator.reduce(self.losses[self.told : step + 1], "mean")
        if not since.isfinite().all():
            return diverged(self.told + int((~since.isfinite()).nonzero()[0]) + 1)
        self.told, self.ended = step + 1, time.perf_counter()
        self.history.append({"step": self.told, "loss": float(since.mean()), "learning_rate": self._rate(step)})
        seen = self.plan.span(step)[1]
        self.report({**self.history[-1], "done": self.told, "total": self.plan.steps, "examples_seen": seen})
        return None

    def write(self, folder: Path) -> None:
        """Write ``history.jsonl``: step, mean loss since the last line, learning rate."""
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.history))

    def spent(self) -> dict[str, Any]:
        """Return the facts for a record: steps, examples, real ones among them, seconds and examples per second."""
        seconds = self.ended - self.started
        return {
            "steps": self.plan.steps,
            "examples_seen": self.plan.examples,
            "real_examples_seen": self.real_seen,
            "train_seconds": seconds,
            "examples_per_second": self.plan.examples / seconds,
        }

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.plan.steps, self.plan.recipe.learning_rate)


def diverged(step: int) -> dict[str, Any]:
    """Return the result of a training whose numbers were no longer finite at a step: a result, not an error."""
    return {"status": "diverged", "step": step}
