"""The loop that trains adapters: the student, the losses, the steps, and the checkpoint between them.

What a step draws is in ``alignment_material``; which parts there are, and what becomes of files, in ``lora``; the
matching term is in ``matching``, the forward process in ``noising``.
"""

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import torch

from realfake.alignment import Matching, VisualGuidance
from realfake.generators import Diverged, visual
from realfake.generators.alignment_material import Batch, Material, Part, draw
from realfake.generators.matching import features_of, gathered, matching_loss, points
from realfake.generators.noising import loss_weights, noised, prediction_of
from realfake.kinds import Lora
from realfake.store import write_whole

HISTORY_LINES = 100
CHECKPOINT_SECONDS = 20.0
REPORT_SECONDS = 1.0
LARGEST_NORM = 1.0  # gradients are cut to it, as in the released recipe
CHECKPOINT = "checkpoint.pt"


@dataclass
class Progress:
    """How far a fit is: all that a checkpoint keeps besides weights and the optimizer."""

    part: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(2))  # of diffusion and matching loss since a line
    summed: int = 0


class Student(torch.nn.Module):
    """A UNet with adapters, and what is trained beside it: text encoder and visual projection where there are such."""

    def __init__(
        self, unet: Any, text_encoder: Any, guidance: VisualGuidance | None, projection: Any, drops: bool
    ) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.projection = unet, text_encoder, projection
        self.guidance, self.drops = guidance, drops

    def forward(
        self, noisy: torch.Tensor, times: torch.Tensor, words: torch.Tensor, tokens: Any, kept: torch.Tensor
    ) -> torch.Tensor:
        """Return the prediction ``(b, c, h, w)`` for noisy latents, words (states or token ids) and tokens (b, d)."""
        states = words if self.text_encoder is None else self.text_encoder(words)[0]
        mask = None
        if self.guidance is not None:
            states, mask = self._with_tokens(states, tokens, kept)
        states = states.to(noisy.dtype)
        return self.unet(noisy, times, encoder_hidden_states=states, encoder_attention_mask=mask).sample

    def _with_tokens(
        self, states: torch.Tensor, tokens: torch.Tensor, kept: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return states with tokens, and the mask that hides them where words were dropped (``visual.with_null``)."""
        assert self.guidance is not None
        found = visual.inject(states, tokens, self.guidance, self.projection)
        if not self.drops:
            return found, None
        if found.shape[1] == states.shape[1]:
            return torch.where(kept[:, None, None], found, states), None
        mask = torch.ones(found.shape[:2], device=found.device, dtype=found.dtype)
        mask[:, -1] = kept.to(mask.dtype)
        return found, mask


@dataclass(frozen=True)
class Run:
    """What all steps of a fit share. ``model`` is the student as the accelerator prepared it."""

    spec: Lora
    pipeline: Any
    student: Student
    model: torch.nn.Module
    material: Material
    report: Callable[[dict[str, Any]], None]
    checkpoint: Path | None
    accelerator: accelerate.Accelerator


def align(run: Run, part: Part, progress: Progress, state: dict[str, Any] | None) -> None:
    """Train the student's adapters on one part, from ``state`` on if there is one; ``progress`` is kept up to date.

    Raises Diverged when the loss is no longer finite.
    """
    spec, student, accelerator = run.spec, run.student, run.accelerator
    trained = {name: weight for name, weight in student.named_parameters() if weight.requires_grad}
    rate, decay = spec.learning_rate, spec.weight_decay
    optimizer = torch.optim.AdamW(trained.values(), lr=rate, weight_decay=decay, fused=True)
    if state is not None:
        load_trained(student, state["model"])
        optimizer.load_state_dict(state["optimizer"])
    progress.part, progress.step = part.number, max(progress.step, part.first)
    progress.sums = progress.sums.to(accelerator.device)
    loss_of = _losses(run)
    line_steps = math.ceil(spec.steps / HISTORY_LINES)

    def save() -> None:
        if run.checkpoint is not None and accelerator.is_main_process:
            weights = {name: weight.detach() for name, weight in trained.items()}
            _write_checkpoint(run.checkpoint, {"model": weights, "optimizer": optimizer.state_dict(), **vars(progress)})

    saved = reported = time.monotonic()
    settled = True  # False while an update is half made: such a state is never kept
    try:
        while progress.step < part.last:
            batch = draw(spec, run.pipeline.scheduler, run.material, part, progress.step, accelerator)
            diffusion, matching = loss_of(batch)
            accelerator.backward(diffusion + matching if spec.matching and spec.matching.weight else diffusion)
            settled = False
            torch.nn.utils.clip_grad_norm_(trained.values(), LARGEST_NORM, foreach=True)
            optimizer.step()
            optimizer.zero_grad()
            progress.sums += torch.stack([diffusion.detach(), matching.detach()])
            progress.step, progress.summed = progress.step + 1, progress.summed + 1
            if progress.step % line_steps == 0 or progress.step == part.last:
                _add_line(progress, accelerator)
            settled = True
            now = time.monotonic()
            done = progress.step == spec.steps
            if accelerator.is_main_process and progress.history and (now - reported >= REPORT_SECONDS or done):
                loss = progress.history[-1]["loss"]
                run.report({"done": progress.step, "total": spec.steps, "unit": "steps", "loss": loss})
                reported = now
            if now - saved >= CHECKPOINT_SECONDS:
                save()
                saved = now
    except KeyboardInterrupt:
        if settled:
            save()
        raise


def _losses(run: Run) -> Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]:
    """Return what computes the diffusion loss and the matching term of a worker's share, two scalars in fp32."""
    spec, pipeline, accelerator = run.spec, run.pipeline, run.accelerator
    prediction, scheduler = prediction_of(pipeline.scheduler), pipeline.scheduler
    matching: Matching | None = spec.matching if spec.matching and spec.matching.weight else None
    to_features = features_of(pipeline) if matching and matching.space == "feature" else None
    gather = gathered(accelerator) if matching and matching.gather == "global" else None
    dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
    alphas = scheduler.alphas_cumprod.to(accelerator.device)

    def losses(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        truth = noised(alphas, batch.clean, batch.noise, batch.times)
        read = run.material.words(batch.texts)
        with accelerator.autocast():
            tokens = None if batch.tokens is None else batch.tokens.to(dtype)
            said = run.model(truth.noisy.to(dtype), batch.times, read, tokens, batch.kept)
        predicted = said.float()
        errors = (predicted - truth.target(prediction)).square().mean(dim=(1, 2, 3))
        diffusion = (loss_weights(truth.snr, spec.snr_gamma, prediction) * errors).mean()
        if matching is None:
            return diffusion, torch.zeros_like(diffusion)
        compared = points(matching, truth.noise_of(predicted, prediction), truth, spec.snr_gamma, to_features)
        parts = (compared.predicted, compared.target, compared.weights, batch.labels)
        return diffusion, matching_loss(*parts, matching, gather)

    return losses


def _add_line(progress: Progress, accelerator: accelerate.Accelerator) -> None:
    """Add the mean losses since the last line to the history; raises Diverged when they are not finite."""
    total: Any = accelerator.reduce(progress.sums.clone(), "mean")  # over the processes
    diffusion, matching = (total / progress.summed).tolist()
    if not math.isfinite(diffusion + matching):
        raise Diverged(progress.step)
    line = {"step": progress.step, "loss": diffusion, "matching": matching}
    progress.history.append(line if matching else {"step": progress.step, "loss": diffusion})
    progress.sums.zero_()
    progress.summed = 0


# --------------------------------------------------------------------------------------------------------- checkpoints


def load_trained(student: Student, weights: dict[str, torch.Tensor]) -> None:
    """Put trained weights, by their names, into a student."""
    held = dict(student.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            held[name].copy_(weight)


def _write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(folder / CHECKPOINT, buffer.getvalue())


def read_checkpoint(folder: Path | None) -> dict[str, Any] | None:
    """Return the last state that was kept in a folder, if any."""
    path = None if folder is None else folder / CHECKPOINT
    return torch.load(path, map_location="cpu", weights_only=True) if path and path.is_file() else None
