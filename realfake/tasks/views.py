"""What a detector sees at each training step: images flipped and lit at random, and their objects moved along.

A view depends on (seed, step) alone, whatever the device or number of workers. Which rows a step sees is in
``batches``; what is learned from the objects in ``assignment``.
"""

from dataclasses import dataclass

import numpy as np
import torch

from realfake.objects import Objects
from realfake.samples import Samples, seed_of
from realfake.tasks.assignment import Truth
from realfake.tasks.batches import Plan, batch

LIGHT = (0.7, 1.3)  # brightness is multiplied by something between
ON_DEVICE = 8 * 2**30  # bytes of images that are kept on a device; more stay in the machine's memory


@dataclass(frozen=True)
class View:
    """How b images are seen: rows ``(b,)``, weights ``(b,)`` of losses, ``flip (b,)`` bool, ``light (b,)``."""

    rows: np.ndarray
    weights: np.ndarray
    flip: np.ndarray
    light: np.ndarray

    def slice(self, rank: int, workers: int) -> "View":
        """Return the part of one of several workers."""
        part = np.s_[rank::workers]
        return View(self.rows[part], self.weights[part], self.flip[part], self.light[part])


def view(plan: Plan, step: int, augment: str) -> View:
    """Return what a step sees; ``augment`` is "none", "flip" (left and right, half of the time) or "flip-light"."""
    chosen = batch(plan, step, pixels=0)
    random = np.random.default_rng(seed_of("view", plan.seed, step))
    flip = random.random(len(chosen.rows)) < (0.5 if augment != "none" else 0.0)
    light = random.uniform(*LIGHT, size=len(flip)) if augment == "flip-light" else np.ones(len(flip))
    return View(chosen.rows, chosen.weights, flip, light.astype(np.float32))


@dataclass(frozen=True)
class Scenes:
    """Training images ``(n, h, w, c)`` uint8 on a device, and their objects."""

    pixels: torch.Tensor
    objects: Objects
    device: torch.device

    @classmethod
    def on(cls, device: torch.device, samples: Samples) -> "Scenes":
        """Put samples on a device, or beside it when they are many."""
        assert samples.objects is not None
        here = device if samples.images.nbytes <= ON_DEVICE else torch.device("cpu")
        return cls(torch.from_numpy(samples.images).to(here), samples.objects, device)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def images(self, seen: View) -> torch.Tensor:
        """Return images ``(b, c, h, w)`` float of values 0 … 255, channels last in memory."""
        pixels = self.pixels[torch.from_numpy(seen.rows).to(self.pixels.device)].to(self.device)
        if seen.flip.any():
            flip = torch.from_numpy(seen.flip).to(self.device).view(-1, 1, 1, 1)
            pixels = torch.where(flip, pixels.flip(2), pixels)
        lit = pixels * torch.from_numpy(seen.light).to(self.device).view(-1, 1, 1, 1)
        return lit.clamp_(max=255).permute(0, 3, 1, 2)

    def truth(self, seen: View) -> Truth:
        """Return the objects of a view."""
        shown = self.objects.take(seen.rows)
        image, box = shown.image, shown.box
        left = np.where(seen.flip[image], self.size[1] - box[:, 0] - box[:, 2], box[:, 0])
        return Truth(image, shown.label, np.column_stack([left, box[:, 1:]]), shown.crowd)
