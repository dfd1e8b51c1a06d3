"""What a frozen backbone says of training images, computed once: nothing of it changes while a head is trained.

Only where images are seen as they are or mirrored, and where that is less work than looking anew at every step. How
images are varied is in ``views``, the detector in ``anchor_free``.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from realfake.tasks.anchor_free import AnchorFree
from realfake.tasks.batches import Plan
from realfake.tasks.views import Scenes, View

IMAGES_AT_ONCE = 16
MOST_BYTES = 2 * 2**30  # an EfficientNet-Lite0 says 50 kB of an image of 96 pixels from stride 8 on


@dataclass(frozen=True)
class FrozenMaps:
    """Every level ``(n, c, h, w)`` of n images, or ``(2 n, c, h, w)`` with the mirrored ones after them."""

    levels: tuple[torch.Tensor, ...]
    n: int

    def __call__(self, seen: View) -> list[torch.Tensor]:
        """Return every level ``(b, c, h, w)`` of what a step sees."""
        rows = torch.from_numpy(seen.rows + self.n * seen.flip).to(self.levels[0].device)
        return [level[rows].contiguous(memory_format=torch.channels_last) for level in self.levels]


@torch.no_grad()
def frozen_maps(model: Any, scenes: Scenes, schedule: Plan) -> FrozenMaps | None:
    """Return what a frozen body says of all images; None where it learns, images vary, or it would be no saving."""
    n, augment = len(scenes.pixels), schedule.recipe.augment
    views = n * (1 if augment == "none" else 2)
    if not isinstance(model, AnchorFree) or not model.frozen or augment not in ("none", "flip"):
        return None
    if views >= schedule.examples or views * _bytes_an_image(model, scenes) > MOST_BYTES:
        return None
    parts = [model.maps(scenes.images(seen)) for seen in _all_views(n, views)]
    return FrozenMaps(tuple(torch.cat(level) for level in zip(*parts, strict=True)), n)


def _all_views(n: int, views: int) -> list[View]:
    rows = np.arange(views)
    parts = np.array_split(rows, math.ceil(views / IMAGES_AT_ONCE))
    return [View(part % n, np.ones(len(part)), part >= n, np.ones(len(part), np.float32)) for part in parts]


def _bytes_an_image(model: AnchorFree, scenes: Scenes) -> int:
    (one,) = _all_views(1, 1)
    return sum(level.nbytes for level in model.maps(scenes.images(one)))
