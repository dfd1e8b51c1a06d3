"""Which images make up a step's batch, at which learning rate, and how arrays become tensors: what fits share.

All of it follows from the spec's seed and the step's number. What else is drawn for a step (noise levels, latents) is
in ``closed_set`` and ``gan``; histories, checkpoints and reports are in ``fitting``.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import accelerate
import numpy as np
import torch

from realfake.samples import Samples, seed_of

WARM_UP_STEPS = 50


def batch_rows(n: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Return which of ``n`` images make up a step's batch: one endless row of shuffled epochs, cut into batches."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    return np.array([_epoch(n, seed, int(p) // n)[p % n] for p in positions])


@functools.lru_cache(maxsize=4)
def _epoch(n: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(seed_of("closed-set", "epoch", seed, epoch)).permutation(n)


def schedule(step: int, steps: int) -> float:
    """Return the factor on the learning rate: a linear warm-up, and a cosine to 0 over the whole fit."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 + math.cos(math.pi * step / steps)) / 2


def mirrored(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Return images ``(n, c, h, w)``, each mirrored with probability one half."""
    chosen = torch.rand(len(images), generator=random) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def normal(seeds: Sequence[int], *shape: int) -> torch.Tensor:
    """Return standard normal numbers ``(n, *shape)``, each sample's from its own generator on the CPU: the same on any
    device and in any batch."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(int(s))) for s in seeds])


def shape_of(samples: Samples) -> tuple[int, int, int]:
    """Return (height, width, channels)."""
    _, height, width, channels = samples.images.shape
    return height, width, channels


def scaled(images: np.ndarray) -> torch.Tensor:
    """Return uint8 ``(n, h, w, c)`` as float ``(n, c, h, w)`` in [−1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def pixels(x_nchw: torch.Tensor) -> np.ndarray:
    """Return float ``(n, c, h, w)`` in [−1, 1] as uint8 ``(n, h, w, c)``."""
    levels = ((x_nchw + 1) * 127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def share(part: torch.Tensor, accelerator: accelerate.Accelerator) -> torch.Tensor:
    """Return what this process takes of a whole batch, on its device."""
    return part[accelerator.process_index :: accelerator.num_processes].to(accelerator.device)


def states(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states of the parts of a fit, by name."""
    return {name: part.state_dict() for name, part in parts.items()}


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters of an optimizer this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
