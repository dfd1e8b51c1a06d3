"""A small single-stage detector whose last classification layer is linear in one shared feature vector.

A backbone, a feature pyramid, and one head for all levels: two towers of 3 × 3 convolutions, then a **1 × 1**
classification layer, so that a score is exactly sigmoid(w · f + b) of the penultimate features f that the train2test
distance is measured in (arXiv 2408.14559 asks for the penultimate layer and sigmoid outputs; PTL, arXiv 2211.01778, for
one sub-network on all levels). Focal and GIoU losses. Which points learn what is in ``assignment``, which boxes are
kept in ``keeping``, and other people's detectors in ``torchvision_detectors``.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork, generalized_box_iou_loss, sigmoid_focal_loss

from realfake.tasks.assignment import Grid, Truth, assign, grid

PRIOR = 0.01  # the score of everything before training (RetinaNet, arXiv 1708.02002)
ALPHA, GAMMA = 0.25, 2.0
GROUPS = 8


@dataclass(frozen=True)
class Targets:
    """What `assign` found on a device, the weight ``(b,)`` of each image's losses, and what losses are divided by."""

    point: torch.Tensor
    category: torch.Tensor
    box: torch.Tensor
    ignored: torch.Tensor
    weight: torch.Tensor
    count: float


class Raw(NamedTuple):
    """What a detector says of one image: q boxes, k classes, at p places with d features.

    ``score (q, k)``; ``box (q, 4)`` left, top, right, bottom in pixels; ``place (q,)``: the place that a box is said
    at; of each place ``feature (p, d)``, ``point (p, 2)`` x, y of its middle, and the ``level (p,)`` of the pyramid.
    """

    score: torch.Tensor
    box: torch.Tensor
    place: torch.Tensor
    feature: torch.Tensor
    point: torch.Tensor
    level: torch.Tensor


class TinyBody(nn.Module):
    """Maps of an image at strides 4, 8 and 16, with width, 2 × width and 2 × width channels."""

    strides = (4, 8, 16)

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 2 * width)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(block(channels, width, 2), block(width, width, 2), block(width, width)),
                nn.Sequential(block(width, 2 * width, 2), block(2 * width, 2 * width)),
                block(2 * width, 2 * width, 2),
            ]
        )

    def forward(self, x_bchw: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for stage in self.stages:
            x_bchw = stage(x_bchw)
            maps.append(x_bchw)
        return maps


def block(channels: int, out: int, stride: int = 1, smooth: bool = False) -> nn.Sequential:
    """Return convolution, group normalisation (batches are small) and ReLU, or SiLU where ``smooth``.

    The penultimate features are smooth: after ReLU some of them are 0 for every object (seen after 300 steps on 100
    scenes), and a covariance with a constant feature cannot be inverted.
    """
    convolution = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
    activation = nn.SiLU(inplace=True) if smooth else nn.ReLU(inplace=True)
    return nn.Sequential(convolution, nn.GroupNorm(math.gcd(GROUPS, out), out), activation)


class AnchorFree(nn.Module):
    """The detector: ``images`` (b, c, h, w) of values 0 … 255 in; the loss out where targets are given, else Raws.

    ``strides`` are the levels that boxes are found on, which the body must have; it may have coarser ones for context.
    ``mean`` and ``std`` are those of 0 … 1 pixels that the body was made for.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        body: Any,
        classes: int,
        width: int,
        strides: tuple[int, ...],
        statistics: tuple[torch.Tensor, torch.Tensor],
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.body, self.strides, self.classes, self.frozen = body, strides, classes, frozen
        self.channels, self.feature_width = len(statistics[0]), width
        first = body.strides.index(strides[0])
        self.used = slice(first, None)
        self.pyramid = FeaturePyramidNetwork(list(body.channels[self.used]), width)
        for level in range(len(strides), len(self.pyramid.layer_blocks)):
            self.pyramid.layer_blocks[level] = nn.Identity()  # only context: nothing is found there
        self.class_tower = nn.Sequential(block(width, width), block(width, width, smooth=True))
        self.side_tower = nn.Sequential(block(width, width), block(width, width))
        self.scores = nn.Conv2d(width, classes, 1)
        self.sides = nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.scores.weight, std=0.01)
        self.scores.bias.data.fill_(-math.log((1 - PRIOR) / PRIOR))  # type: ignore[union-attr]
        for name, values in zip(("mean", "std"), statistics, strict=True):
            self.register_buffer(name, 255 * values.view(1, -1, 1, 1), persistent=False)
        if frozen:
            self.body.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "AnchorFree":
        """Train the head; a frozen body stays in evaluation mode, with its running statistics."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def grid(self, images: torch.Tensor) -> Grid:
        """Return the points of images of this size."""
        return grid(images.shape[2], images.shape[3], self.strides)

    def forward(
        self, images: torch.Tensor, targets: Targets | None = None, maps: list[torch.Tensor] | None = None
    ) -> Any:
        """``maps`` are those of the body where they are known already."""
        features, sides = self._towers(self.maps(images) if maps is None else maps)
        device = images.device.type
        with torch.autocast(device, enabled=False):  # the last layers in float32: scores are exact in the features
            feature = torch.cat([_flat(f.float()) for f in features], dim=1)
            side = torch.cat([_flat(self.sides(s.float())) for s in sides], dim=1)
            logit = functional.linear(feature, self.scores.weight.flatten(1), self.scores.bias)
            points = _on(self.grid(images), images.device)
            if targets is not None:
                return losses(logit, side, points, targets)
            return _raws(logit, side, feature, points, images.shape[2:])

    def level_of(self, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the level ``(g,)`` that boxes ``(g, 4)`` in images of ``size`` (height, width) are learned on."""
        return grid(*size, self.strides).level_of(box)

    def targets(
        self,
        truth: Truth,
        weight: torch.Tensor,
        size: tuple[int, int],
        device: torch.device,
        among: tuple[Truth, int] | None = None,
    ) -> Targets:
        """Return what images of ``size`` (height, width) teach, each by its weight ``(b,)``.

        Where they are one worker's, ``among`` is the whole batch and the number of workers: the mean of their losses is
        then the loss of the whole.
        """
        points = grid(*size, self.strides)
        found = assign(truth, points, self.classes)
        count = float(len(found.point)) if among is None else len(assign(among[0], points, 1).point) / among[1]
        arrays = (found.point, found.category, found.box, found.ignored)
        point, category, box, ignored = (torch.from_numpy(array).to(device) for array in arrays)
        return Targets(point, category, box, ignored, weight.to(device), count or 1.0)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return what the body says of images, from the finest level that is used; a frozen one learns nothing."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.body((images - self.mean) / self.std)[self.used]

    def _towers(self, maps: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        levels = self.pyramid(OrderedDict((str(i), level) for i, level in enumerate(maps)))
        levels = list(levels.values())[: len(self.strides)]
        return [self.class_tower(level) for level in levels], [self.side_tower(level) for level in levels]


def losses(logit: torch.Tensor, side: torch.Tensor, points: "Points", targets: Targets) -> torch.Tensor:
    """Return focal loss of all logits ``(b, p, k)`` plus GIoU loss of the boxes that answer, over their number.

    ``side (b, p, 4)`` are raw distances to left, top, right and bottom.
    """
    p, k = logit.shape[1:]
    truth = torch.zeros_like(logit).flatten()
    truth[targets.point * k + targets.category] = 1.0
    each = sigmoid_focal_loss(logit.flatten(), truth, ALPHA, GAMMA)
    if len(targets.ignored):
        each = each.index_fill(0, targets.ignored, 0.0)
    at = targets.point % p
    boxes = decode(side.flatten(0, 1)[targets.point], points.point[at], points.stride[at])
    apart = generalized_box_iou_loss(boxes, targets.box)
    weighted = (each.view(logit.shape[0], -1).sum(dim=1) * targets.weight).sum()
    return (weighted + (apart * targets.weight[targets.point // p]).sum()) / targets.count


def decode(side: torch.Tensor, point: torch.Tensor, stride: torch.Tensor) -> torch.Tensor:
    """Return boxes ``(…, 4)`` left, top, right, bottom that hold their ``point (…, 2)``, from raw sides ``(…, 4)``."""
    reach = functional.softplus(side) * stride[..., None]
    return torch.cat([point - reach[..., :2], point + reach[..., 2:]], dim=-1)


class Points(NamedTuple):
    """A grid's points on a device."""

    point: torch.Tensor
    stride: torch.Tensor
    level: torch.Tensor


_placed: dict[tuple[Any, ...], Points] = {}  # a few sizes a process; copying points every step would stall a GPU


def _on(points: Grid, device: torch.device) -> Points:
    key = (points.strides, points.shapes, str(device))
    if key not in _placed:
        point, stride, level = (torch.from_numpy(p).to(device) for p in (points.point, points.stride, points.level))
        _placed[key] = Points(point, stride, level)
    return _placed[key]


def _raws(
    logit: torch.Tensor, side: torch.Tensor, feature: torch.Tensor, points: Points, size: torch.Size
) -> list[Raw]:
    boxes = within(decode(side, points.point, points.stride), size)
    place = torch.arange(len(points.level), device=logit.device)
    said = zip(logit.sigmoid(), boxes, feature, strict=True)
    return [Raw(score, box, place, features, points.point, points.level) for score, box, features in said]


def within(boxes: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Return boxes ``(…, 4)`` left, top, right, bottom cut at the borders of an image of ``size`` (height, width)."""
    height, width = size
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def _flat(x_bchw: torch.Tensor) -> torch.Tensor:
    """``(b, c, h, w)`` as ``(b, h · w, c)``."""
    return x_bchw.flatten(2).transpose(1, 2)
