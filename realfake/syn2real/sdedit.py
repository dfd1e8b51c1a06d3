"""SDEdit (Meng et al. 2022, arXiv 2108.01073): noise a synthetic person, and let a model of real people denoise it.

A small diffusion model (Ho et al. 2020, 200 noise levels of the squared cosine) is fitted on the real crops alone. A
crop is then noised to ``strength`` and denoised by deterministic DDIM steps (Song et al. 2021): low strengths keep the
pose and change the look, at 0.45 and above bodies begin to dissolve. The virtual crops play no part in the fit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file, save_file
from torch.nn import functional

from realfake.samples import seed_of
from realfake.syn2real.crops import People
from realfake.syn2real.losses import Losses, Report
from realfake.syn2real.pixels import batch, levels, noise, scaled, seeded, step_random
from realfake.syn2real.settings import Settings, divisible

FILE = "sdedit.safetensors"
WIDTHS = (24, 48, 48)
NOISE_LEVELS = 200
SCHEDULE: dict[str, Any] = {"num_train_timesteps": NOISE_LEVELS, "beta_schedule": "squaredcos_cap_v2"}
LEARNING_RATE = 1e-3
WARM_UP_STEPS = 20


@dataclass(frozen=True)
class Fitted:
    """A denoiser on its device, and how it is to be used."""

    unet: Any  # UNet2DModel
    settings: Settings
    device: torch.device


def fit(
    settings: Settings,
    source: People,
    target: People,
    folder: Path,
    *,
    report: Report,
    seed: int,
    warm_start: Path | None,
    device: str,
) -> dict[str, Any]:
    """Fit the denoiser on the real crops; ``warm_start`` is the folder of an earlier fit whose weights it begins with.

    Returns first and final loss, ``parameters``, ``seconds``. Raises TranslatorDiverged, and SpecError for crops whose
    side is no multiple of 4.
    """
    divisible(target.pixels, 2 ** (len(WIDTHS) - 1), "sdedit")
    unet = new_unet(seed).to(device)
    if warm_start is not None:
        unet.load_state_dict(load_file(warm_start / FILE))
    unet.train()
    optimizer = torch.optim.AdamW(unet.parameters(), lr=settings.learning_rate or LEARNING_RATE)
    images, losses = scaled(target.crops), Losses(report, settings.steps)
    scheduler: Any = DDPMScheduler(**SCHEDULE)
    for step in range(1, settings.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = (settings.learning_rate or LEARNING_RATE) * _schedule(step, settings.steps)
        clean, added, time = draw(images, settings.batch_size, seed, step)
        noisy = scheduler.add_noise(clean, added, time)
        predicted = unet(noisy.to(device), time.to(device), return_dict=False)[0]
        loss = functional.mse_loss(predicted, added.to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.add(step, loss=loss.detach())
    save_file({name: part.cpu().contiguous() for name, part in unet.state_dict().items()}, folder / FILE)
    losses.write(folder)
    return {**losses.facts(), "parameters": sum(part.numel() for part in unet.parameters())}


def draw(images: torch.Tensor, size: int, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a step's clean crops and noise ``(b, 3, s, s)`` and noise levels ``(b,)``."""
    random = step_random("sdedit", seed, step)
    clean = batch(images, size, random)
    time = torch.randint(NOISE_LEVELS, (size,), generator=random)
    return clean, torch.randn(clean.shape, generator=random), time


def new_unet(seed: int) -> Any:
    """Return the network with fresh weights: 0.6 million parameters for crops of any size divisible by 4."""
    blocks = len(WIDTHS)
    return seeded(
        lambda: UNet2DModel(
            block_out_channels=WIDTHS,
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * blocks,
            up_block_types=("UpBlock2D",) * blocks,
            attention_head_dim=16,
            norm_num_groups=8,
        ),
        "sdedit",
        "weights",
        seed,
    )


def _schedule(step: int, steps: int) -> float:
    return min(1.0, step / WARM_UP_STEPS) * (1 + math.cos(math.pi * (step - 1) / steps)) / 2


def load(folder: Path, settings: Settings, device: str) -> Fitted:
    """Return the fitted denoiser."""
    unet = new_unet(0)
    unet.load_state_dict(load_file(folder / FILE))
    return Fitted(unet.to(device).eval(), settings, torch.device(device))


@torch.inference_mode()
def transform(fitted: Fitted, people: People, seeds: Sequence[int]) -> np.ndarray:
    """Return the crops ``(k, s, s, 3)``; one at a time: sums round differently in another batch."""
    if not fitted.settings.executed_steps:
        return people.crops.copy()
    pairs = zip(scaled(people.crops), seeds, strict=True)
    return levels(torch.cat([_one(fitted, crop[None], int(seed)) for crop, seed in pairs]))


def _one(fitted: Fitted, crop_1chw: torch.Tensor, seed: int) -> torch.Tensor:
    solver: Any = DDIMScheduler(**SCHEDULE)
    solver.set_timesteps(fitted.settings.sampling_steps)
    times = solver.timesteps[len(solver.timesteps) - fitted.settings.executed_steps :]
    added = noise(crop_1chw.shape[-1], seed_of("sdedit", seed))
    x = solver.add_noise(crop_1chw, added, times[:1]).to(fitted.device)
    for time in times:
        predicted = fitted.unet(x, time.to(fitted.device), return_dict=False)[0]
        x = solver.step(predicted, time, x, return_dict=False)[0]
    return x
