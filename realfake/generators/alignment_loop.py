"""The loop that trains adapters: the student, the losses, and the steps.

What a step draws is in ``alignment_material``; which parts there are, and what becomes of files, in ``lora``; the
matching term is in ``matching``, the forward process in ``noising``, checkpoints in ``fitting``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import torch

from realfake.alignment import Matching, VisualGuidance
from realfake.generators import visual, xl
from realfake.generators.alignment_material import Batch, Material, Part, draw
from realfake.generators.fitting import Pace, Progress, telling
from realfake.generators.matching import features_of, gathered, matching_loss, points
from realfake.generators.noising import loss_weights, noised, prediction_of
from realfake.kinds import Lora

LARGEST_NORM = 1.0  # gradients are cut to it, as in the released recipe


class Student(torch.nn.Module):
    """A UNet with adapters, and what is trained beside it: text encoder or a word, visual projection."""

    def __init__(
        self, unet: Any, text_encoder: Any, guidance: VisualGuidance | None, projection: Any, drops: bool
    ) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.projection = unet, text_encoder, projection
        self.guidance, self.drops = guidance, drops

    def forward(
        self, noisy: torch.Tensor, times: torch.Tensor, words: Any, tokens: Any, kept: torch.Tensor
    ) -> torch.Tensor:
        """Return the prediction ``(b, c, h, w)`` for noisy latents, words (``Material``) and tokens (b, d)."""
        states, added = self._read(words, kept)
        mask = None
        if self.guidance is not None:
            states, mask = self._with_tokens(states, tokens, kept)
        states = states.to(noisy.dtype)
        options = {"encoder_attention_mask": mask, "added_cond_kwargs": added}
        return self.unet(noisy, times, encoder_hidden_states=states, **options).sample

    def _read(self, words: Any, kept: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """Return the states that the UNet reads, and what it reads beside them."""
        return (words if self.text_encoder is None else self.text_encoder(words)[0]), None

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


class StudentXL(Student):
    """That of an XL, with both text encoders or none; ``zeros``: dropped words are zeros, as in sampling."""

    def __init__(self, unet: Any, text_encoders: tuple[Any, Any], pixels: int, zeros: bool) -> None:
        super().__init__(unet, text_encoders[0], None, None, drops=False)
        self.text_encoder_2, self.pixels, self.zeros = text_encoders[1], pixels, zeros

    def _read(self, words: Any, kept: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        trained = self.text_encoder is not None
        states, pooled = xl.encoded(self.text_encoder, self.text_encoder_2, words) if trained else words
        if self.zeros:
            states, pooled = states * kept[:, None, None], pooled * kept[:, None]
        return states, xl.added(pooled, self.pixels)


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
    loss_of = _losses(run)

    def kept() -> dict[str, Any]:
        weights = {name: weight.detach() for name, weight in trained.items()}
        return {"model": weights, "optimizer": optimizer.state_dict(), "part": part.number}

    tell = telling(run.report, accelerator, spec.steps)
    with Pace(progress, spec.steps, part.last, tell, kept, accelerator, run.checkpoint) as pace:
        while progress.step < part.last:
            batch = draw(spec, run.pipeline.scheduler, run.material, part, progress.step, accelerator)
            diffusion, matching = loss_of(batch)
            accelerator.backward(diffusion + matching if spec.matching and spec.matching.weight else diffusion)
            with pace.update():
                torch.nn.utils.clip_grad_norm_(trained.values(), LARGEST_NORM, foreach=True)
                optimizer.step()
                optimizer.zero_grad()
                if (means := pace.counted(torch.stack([diffusion, matching]))) is not None:
                    progress.history.append(_line(progress.step, *means.float().tolist()))
            pace.rest()


def _line(step: int, diffusion: float, matching: float) -> dict[str, Any]:
    """Return a line of the history, which tells of the matching term where there is one."""
    return {"step": step, "loss": diffusion, **({"matching": matching} if matching else {})}


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


def load_trained(student: Student, weights: dict[str, torch.Tensor]) -> None:
    """Put trained weights, by their names, into a student."""
    held = dict(student.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            held[name].copy_(weight)
