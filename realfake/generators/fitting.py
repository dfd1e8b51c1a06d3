"""What the fits of generators share: their history, reports, checkpoints, and what is asked of their accelerator.

What is learned from which batches is in ``closed_set``, ``stages`` and ``alignment_loop``. The fits of translators take
seconds and keep nothing in between: theirs is ``syn2real.losses``.
"""

import contextlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch

from realfake.generators import Diverged
from realfake.kinds import ClosedSet, Gan, Lora, Pretrained
from realfake.store import write_whole
from realfake.values import SpecError

HISTORY_LINES = 100
CHECKPOINT_SECONDS = 20.0
REPORT_SECONDS = 1.0
HISTORY, CHECKPOINT = "history.jsonl", "checkpoint.pt"
FORMAT = 2  # of a checkpoint; to be raised when what it holds changes: one of another format is not gone on from


def check_accelerator(spec: ClosedSet | Gan | Pretrained | Lora, accelerator: accelerate.Accelerator) -> None:
    """Raise SpecError for a batch that its processes cannot share, and ValueError where its precision is another."""
    kind, workers = type(spec).__name__, accelerator.num_processes
    if spec.batch_size % workers:
        raise SpecError(
            f"{kind}.batch_size {spec.batch_size} cannot be shared equally by {workers} workers, and unequal shares "
            "would weigh images unequally; choose a multiple"
        )
    precision = "bf16" if spec.precision == "bf16" else "no"
    if accelerator.mixed_precision != precision:
        raise ValueError(
            f"the accelerator computes in {accelerator.mixed_precision!r} and {kind}.precision is {spec.precision!r}; "
            f"make it with Accelerator(mixed_precision={precision!r})"
        )


# -------------------------------------------------------------------------------------------------------------- steps


@dataclass
class Progress:
    """How far a fit is: what a checkpoint keeps beside weights. ``sums`` are of its losses since the last line."""

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(()))

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self.step, self.history, self.sums = state["step"], state["history"], state["sums"]


@dataclass
class Pace:
    """A fit's steps up to ``last`` of ``steps`` in all: when it writes a line, reports, and keeps its ``state``.

    ``with pace:`` around the loop keeps the state when it is interrupted, ``with pace.update():`` around all that makes
    an update keeps none that is half made. ``tell`` is called with the step and the loss of the last line; only the
    main process writes, into ``name`` in the folder ``checkpoint`` (None: nowhere).
    """

    progress: Progress
    steps: int
    last: int
    tell: Callable[[int, float], None]
    state: Callable[[], dict[str, Any]]
    accelerator: accelerate.Accelerator
    checkpoint: Path | None
    name: str = CHECKPOINT
    settled: bool = field(default=True, init=False)
    told: float = field(default_factory=time.monotonic, init=False)
    saved: float = field(default_factory=time.monotonic, init=False)

    def __enter__(self) -> "Pace":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self.settled:
            self.save(self.state())

    @contextlib.contextmanager
    def update(self) -> Iterator[None]:
        """Whatever ends it early leaves a state that is not kept."""
        self.settled = False
        yield
        self.settled = True

    def counted(self, losses: torch.Tensor) -> torch.Tensor | None:
        """Count a step and its losses; return their means since the last line (fp64) when another is due, else None.

        The means are over all processes. Raises Diverged when they are not finite.
        """
        progress = self.progress
        progress.sums = progress.sums.to(losses.device) + losses.detach()
        progress.step += 1
        if progress.step % math.ceil(self.steps / HISTORY_LINES) and progress.step != self.last:
            return None
        since = progress.history[-1]["step"] if progress.history else 0
        total: Any = self.accelerator.reduce(progress.sums, "mean")
        means = total.double() / (progress.step - since)
        if not means.isfinite().all():
            raise Diverged(progress.step)
        progress.sums = torch.zeros_like(progress.sums)
        return means

    def rest(self) -> None:
        """Report, and keep the state, if it is time to: both go on between updates only."""
        progress, now = self.progress, time.monotonic()
        done = progress.step == self.last
        if progress.history and (now - self.told >= REPORT_SECONDS or done):
            self.tell(progress.step, progress.history[-1]["loss"])
            self.told = now
        if now - self.saved >= CHECKPOINT_SECONDS and not done:
            self.save(self.state())
            self.saved = now

    def save(self, state: dict[str, Any]) -> None:
        """Write a state with how far the fit is, if checkpoints are kept here."""
        if self.checkpoint is not None and self.accelerator.is_main_process:
            write_state(self.checkpoint, {**state, **vars(self.progress)}, self.name)


def telling(
    report: Callable[[dict[str, Any]], None],
    accelerator: accelerate.Accelerator,
    total: int,
    before: int = 0,
    **also: str,
) -> Callable[[int, float], None]:
    """Return what reports, on the main process alone, a step of ``total`` in all and its loss.

    ``before``: how many steps earlier stages have made; ``also`` goes into each event.
    """

    def tell(step: int, loss: float) -> None:
        if accelerator.is_main_process:
            report({"done": before + step, "total": total, "unit": "steps", "loss": loss, **also})

    return tell


# -------------------------------------------------------------------------------------------------------------- files


def write_state(folder: Path, state: dict[str, Any], name: str = CHECKPOINT) -> None:
    """Write a checkpoint, whole or not at all."""
    buffer = io.BytesIO()
    torch.save({**state, "format": FORMAT}, buffer)
    write_whole(folder / name, buffer.getvalue())


def read_state(folder: Path | None, name: str = CHECKPOINT) -> dict[str, Any] | None:
    """Return the last state that was kept in a folder, its tensors on the CPU, if any; one that another version of this
    code kept in another format is none, and the fit begins anew."""
    path = folder / name if folder else None
    if not path or not path.is_file():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state if state.pop("format", 1) == FORMAT else None


def restore(parts: Mapping[str, Any], progress: Progress, checkpoint: Path | None, device: torch.device) -> None:
    """Put the last state that was kept, if any, into the parts of a fit ("average" is one) and into its progress."""
    if state := read_state(checkpoint):
        for name, part in parts.items():
            part.load_state_dict(state[name])
        parts["average"].to(device)
        progress.resume(state)


def write_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON line for each entry."""
    write_whole(folder / HISTORY, "".join(f"{json.dumps(line)}\n" for line in history))


def final_loss(history: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean loss of the last tenth of a history."""
    return float(np.mean([line["loss"] for line in history[-max(1, len(history) // 10) :]]))
