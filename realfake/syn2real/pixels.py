"""Crops as torch tensors and back, and training batches of them: what the translators that are networks share."""

from typing import Any

import numpy as np
import torch

from realfake.samples import seed_of


def scaled(crops: np.ndarray) -> torch.Tensor:
    """Return uint8 ``(k, s, s, 3)`` as float32 ``(k, 3, s, s)`` in [−1, 1]."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def levels(x_bchw: torch.Tensor) -> np.ndarray:
    """Return float ``(k, 3, s, s)`` in [−1, 1] as uint8 ``(k, s, s, 3)``."""
    grey = ((x_bchw.float() + 1) * 127.5).round().clamp(0, 255)
    return grey.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def step_random(name: str, seed: int, step: int) -> torch.Generator:
    """Return the CPU generator of a training step: its draws are the same on any device and after any other."""
    return torch.Generator().manual_seed(seed_of(name, "step", seed, step))


def batch(x_bchw: torch.Tensor, size: int, random: torch.Generator) -> torch.Tensor:
    """Return ``size`` crops drawn with replacement, half of them mirrored."""
    chosen = x_bchw[torch.randint(len(x_bchw), (size,), generator=random)]
    mirrored = torch.rand(size, generator=random) < 0.5
    return torch.where(mirrored[:, None, None, None], chosen.flip(-1), chosen)


def noise(pixels: int, seed: int) -> torch.Tensor:
    """Return standard noise ``(1, 3, s, s)`` that belongs to the seed, drawn on the CPU: the same on any device."""
    return torch.randn(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(int(seed)))


def seeded(make: Any, *names: Any) -> Any:
    """Return ``make()`` with weights drawn from a seed of these names, leaving torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(*names))
        return make()
