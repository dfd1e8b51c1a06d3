"""Strong augmentation of training views: RandAugment (Cubuk et al. 2020, arXiv 1909.13719), by torchvision.

Each view has a seed of its own, so that it is the same whatever batch or process it is seen in. Shifts and flips, which
come first, are in ``batches`` and ``classification``. TrivialAugment was tried and left: it moves images by up to 32
pixels whatever their size, all the way out of small ones; RandAugment moves by a share of the width.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

OPERATIONS, MAGNITUDE = 2, 9  # of 31 magnitudes: torchvision's defaults, near the paper's for CIFAR with small networks


def randaugment(images_bhwc: torch.Tensor, seeds: Sequence[int] | np.ndarray) -> torch.Tensor:
    """Return uint8 images ``(b, h, w, c)``, each changed by two operations that its own seed draws.

    What a move or turn uncovers is black. torch's random state is left as it was.
    """
    change, channels_first = _transform(), images_bhwc.permute(0, 3, 1, 2)
    seen = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(channels_first, seeds, strict=True):
            torch.default_generator.manual_seed(int(seed))  # of the CPU alone, where torchvision draws
            seen.append(change(image))
    return torch.stack(seen).permute(0, 2, 3, 1)


@functools.cache
def _transform() -> Any:
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops=OPERATIONS, magnitude=MAGNITUDE)
