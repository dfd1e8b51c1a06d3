"""torchvision's RetinaNet, FCOS and Faster R-CNN in the shape of our own detector: same training loop, same features.

Trained by their own losses; boxes are decoded here, not there, because the place that a kept box comes from has to be
known. Penultimate features: what the last 3 × 3 classification layer sees at a box's place (256 values; its 9 anchors
share them), and in Faster R-CNN the box head's 1024 values of the proposal. A score is then not exactly linear in them,
and Faster R-CNN's is a softmax. Images are not resized. Anchors begin at 8 pixels, a quarter of the usual, for people
seen from the air. Their losses know no ignored regions: objects marked as crowd are left out.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from realfake.spec import DetectionRecipe, External
from realfake.tasks.anchor_free import Raw, within
from realfake.tasks.assignment import Truth
from realfake.tasks.models import WeightsError
from realfake.values import SpecError

NAMES = ("retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2")
ANCHORS = (8, 16, 32, 64, 128)  # pixels, one a level
RATIOS = (0.5, 1.0, 2.0)
BACKBONE = "backbone.body."


class TorchvisionTargets(NamedTuple):
    """What each image of a batch teaches, as torchvision wants it."""

    objects: list[dict[str, torch.Tensor]]


class TorchvisionDetector(nn.Module):
    """One of ``NAMES``: ``images`` (b, c, h, w) of values 0 … 255 in; a loss out where targets are given, else Raws."""

    def __init__(self, name: str, classes: int, frozen: bool = False) -> None:
        super().__init__()
        self.frozen, self.two_stage, self.classes = frozen, name.startswith("faster"), classes
        self.model: Any = _build(name, classes)
        self.channels, self.feature_width = 3, 1024 if self.two_stage else 256
        self._seen: list[torch.Tensor] = []  # what the last classification layer saw of each level
        if not self.two_stage:
            self.model.head.classification_head.cls_logits.register_forward_pre_hook(self._remember)
        if frozen:
            self.model.backbone.body.requires_grad_(False)

    def train(self, mode: bool = True) -> "TorchvisionDetector":
        """Train all but a frozen body, which stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.backbone.body.eval()
        return self

    def forward(self, images: torch.Tensor, targets: TorchvisionTargets | None = None) -> Any:
        pixels, size = list(images / 255), images.shape[2:]
        self.model.transform.min_size, self.model.transform.max_size = (min(size),), max(size)  # images as they are
        if targets is not None:
            return sum(self.model(pixels, targets.objects).values())
        return self._two_stage_raws(pixels) if self.two_stage else self._dense_raws(pixels)

    def targets(
        self,
        truth: Truth,
        weight: torch.Tensor,
        size: tuple[int, int],
        device: torch.device,
        among: tuple[Truth, int] | None = None,
    ) -> TorchvisionTargets:
        """Return what a batch teaches; these losses are means over images, so every image weighs the same."""
        counts = ~truth.crowd & (truth.label >= 0)
        corners = np.concatenate([truth.box[:, :2], truth.box[:, :2] + truth.box[:, 2:]], axis=1).astype(np.float32)
        rows = [np.flatnonzero(counts & (truth.image == i)) for i in range(len(weight))]
        first = int(self.two_stage)  # its class 0 is the background
        parts = [
            {"boxes": torch.from_numpy(corners[r]), "labels": torch.from_numpy(truth.label[r] + first)} for r in rows
        ]
        return TorchvisionTargets([{name: part.to(device) for name, part in p.items()} for p in parts])

    def level_of(self, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the level ``(g,)`` whose anchors are nearest in size to boxes ``(g, 4)``."""
        sides = np.sqrt(box[:, 2:].prod(axis=1, initial=1.0))
        return np.abs(np.log2(np.maximum(sides, 1e-3))[:, None] - np.log2(ANCHORS)).argmin(axis=1)

    def _remember(self, layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if not self.training:
            self._seen.append(inputs[0])

    def _dense_raws(self, pixels: list[torch.Tensor]) -> list[Raw]:
        images, _ = self.model.transform(pixels)
        self._seen.clear()
        maps = list(self.model.backbone(images.tensors).values())
        said = self.model.head(maps)
        shapes = [seen.shape[2:] for seen in self._seen]
        feature = torch.cat([seen.flatten(2).transpose(1, 2) for seen in self._seen], dim=1)
        self._seen.clear()
        anchors = self.model.anchor_generator(images, maps)[0]  # images of one size have the same
        several = len(anchors) // feature.shape[1]
        score, coder = said["cls_logits"].sigmoid(), self.model.box_coder
        if "bbox_ctrness" in said:
            score = (score * said["bbox_ctrness"].sigmoid()).sqrt()
        decode = getattr(coder, "decode_single", coder.decode)
        place = torch.arange(len(anchors), device=anchors.device) // several
        middles = (anchors[::several, :2] + anchors[::several, 2:]) / 2
        level = torch.cat([torch.full((int(h * w),), i, device=anchors.device) for i, (h, w) in enumerate(shapes)])
        size = images.image_sizes[0]
        boxes = [within(decode(sides, anchors), size) for sides in said["bbox_regression"]]
        return [Raw(s, box, place, f, middles, level) for s, box, f in zip(score, boxes, feature, strict=True)]

    def _two_stage_raws(self, pixels: list[torch.Tensor]) -> list[Raw]:
        images, _ = self.model.transform(pixels)
        maps = self.model.backbone(images.tensors)
        proposals, _ = self.model.rpn(images, maps)
        heads, counts = self.model.roi_heads, [len(part) for part in proposals]
        feature = heads.box_head(heads.box_roi_pool(maps, proposals, images.image_sizes))
        logits, sides = heads.box_predictor(feature)
        boxes = within(heads.box_coder.decode(sides, proposals)[:, 1:], images.image_sizes[0])  # (r, k, 4)
        scores = logits.softmax(dim=-1)[:, 1:]
        level = heads.box_roi_pool.map_levels(proposals)
        parts = zip(*(part.split(counts) for part in (scores, boxes, feature, level)), proposals, strict=True)
        return [_of_proposals(*part) for part in parts]


def _of_proposals(
    score: torch.Tensor, box: torch.Tensor, feature: torch.Tensor, level: torch.Tensor, proposal: torch.Tensor
) -> Raw:
    """A proposal has a box for every class, which says nothing of the other classes."""
    proposals, classes = score.shape
    place = torch.arange(proposals, device=score.device).repeat_interleave(classes)
    own = torch.eye(classes, device=score.device).repeat(proposals, 1)
    middles = (proposal[:, :2] + proposal[:, 2:]) / 2
    return Raw(score[place] * own, box.flatten(0, 1), place, feature, middles, level)


def _build(name: str, classes: int) -> Any:
    from torchvision.models import detection
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    background = name.startswith("faster")
    options = {"weights": None, "weights_backbone": None, "num_classes": classes + background}
    model = getattr(detection, name)(**options)
    if name.startswith("retinanet"):
        sizes = tuple(tuple(int(side * 2 ** (third / 3)) for third in range(3)) for side in ANCHORS)
        model.anchor_generator = AnchorGenerator(sizes, (RATIOS,) * len(ANCHORS))
    if background:
        model.rpn.anchor_generator = AnchorGenerator(tuple((side,) for side in ANCHORS), (RATIOS,) * len(ANCHORS))
    return model


def build_torchvision(recipe: DetectionRecipe, classes: int, weights: Mapping[str, Path]) -> TorchvisionDetector:
    """Return one of ``NAMES`` without weights, or with those of a file that ``recipe.init`` names.

    The file is a state dict of the same detector, or of a torchvision ResNet-50 for its body; what has another shape
    (the last layers, for other classes) stays as it is. Raises WeightsError for a file that is not there or not that,
    SpecError for losses that weigh images differently.
    """
    if recipe.mixing == "weighted" and recipe.synthetic_weight != 0.5:
        raise SpecError(
            f"DetectionRecipe(model={recipe.model!r}): torchvision's losses are of whole batches, so synthetic images "
            "cannot weigh differently; write synthetic_weight=0.5"
        )
    made = TorchvisionDetector(recipe.model, classes, recipe.frozen)
    if recipe.init is not None:
        _load_file(made.model, recipe.model, recipe.init, weights)
    return made


def _load_file(model: Any, name: str, init: External, weights: Mapping[str, Path]) -> None:
    path = weights.get(init.name) or weights.get(init.fingerprint)
    if path is None or not path.is_file():
        raise WeightsError(
            f"weights {init.name!r} of {name!r} are a file, and there is none at {path or 'any place given'}; "
            f'write {init.name!r} = "PATH" under [data] in the --on file'
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if init.fingerprint and found != init.fingerprint:
        raise WeightsError(
            f"weights {init.name!r}: {path} has sha256 {found[:12]}…, the spec says {init.fingerprint[:12]}…; "
            "correct the path in the --on file or the fingerprint in the study"
        )
    given, own = _read(path), model.state_dict()
    given = {key if key in own else BACKBONE + key: value for key, value in given.items()}
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    missing = [key for key in own if key.startswith(BACKBONE) and key not in fitting and "num_batches" not in key]
    if missing:
        raise WeightsError(f"{path} holds no ResNet-50 of a {name!r}: {len(missing)} tensors lack, as {missing[0]!r}")
    model.load_state_dict(fitting, strict=False)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
