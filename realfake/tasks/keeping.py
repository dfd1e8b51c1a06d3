"""Which of a detector's boxes are kept, with the penultimate features of each: ``detect`` and ``features_at``.

Boxes are kept by score and non-maximum suppression, and of every one kept the place it was said at is known, so no
second look is needed for its features. Always in float32, whatever the training. Detectors are in ``anchor_free`` and
``torchvision_detectors``; distances in ``detection_measures``.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torchvision.ops import batched_nms

from realfake.detections import Detections
from realfake.objects import Objects
from realfake.spec import DetectionRecipe
from realfake.tasks.anchor_free import Raw

IMAGES_AT_ONCE = 16
CANDIDATES = 10  # times as many boxes as may be kept compete in an image, but at least 1000


@dataclass(frozen=True)
class Keep:
    """Which boxes are kept: those of ``score_threshold`` or more, without those that overlap a better one of the same
    class by more than ``nms_iou``, and of these the best ``max_detections`` an image."""

    score_threshold: float = 0.01
    nms_iou: float = 0.5
    max_detections: int = 100

    @classmethod
    def of(cls, recipe: DetectionRecipe) -> "Keep":
        """Return what a recipe says."""
        return cls(*(getattr(recipe, field.name) for field in fields(cls)))


@dataclass(frozen=True)
class Found:
    """d boxes in images, each with what the detector saw there; by image, then by falling score."""

    image: np.ndarray  # (d,) int64 row of the image
    category: np.ndarray  # (d,) int64 class
    box: np.ndarray  # (d, 4) float64 left, top, width, height in pixels
    score: np.ndarray  # (d,) float64
    feature: np.ndarray  # (d, width) float32 penultimate features
    level: np.ndarray  # (d,) int64 level of the pyramid, from the finest

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: np.ndarray) -> "Found":
        """Return these detections."""
        return Found(*(getattr(self, field.name)[rows] for field in fields(self)))

    def detections(self, ids: np.ndarray) -> Detections:
        """Return them as the arrays that are judged, with the id ``ids[row]`` of each image."""
        return Detections.of(ids[self.image], self.category, self.box, self.score)


def detect(model: Any, images: np.ndarray, keep: Keep | None = None) -> Found:
    """Return what a detector finds in images ``(n, h, w, c)`` uint8.

    The same in any division into batches up to the last bits of a float32, and the same to the last bit when repeated.
    """
    return _joined([_kept(raw, row, keep or Keep()) for row, raw in _raws(model, images)], model)


def features_at(model: Any, images: np.ndarray, objects: Objects) -> Found:
    """Return one row an object, in their order: the features where a detector would most likely have found it.

    That is the place of the highest score for its class (of any class for label −1) of those whose middle lies inside
    its box; when none lies inside, the place nearest its middle, on the level that its size belongs to. ``score`` is
    the score there, whatever box the detector puts there; ``box`` is the object's.
    """
    size = (images.shape[1], images.shape[2])
    return _joined([_at(model, raw, row, objects, size) for row, raw in _raws(model, images)], model)


def detect_and_features_at(model: Any, images: np.ndarray, objects: Objects, keep: Keep) -> tuple[Found, Found]:
    """Return what ``detect`` and ``features_at`` return, in one pass over the images."""
    size = (images.shape[1], images.shape[2])
    both = [(_kept(raw, row, keep), _at(model, raw, row, objects, size)) for row, raw in _raws(model, images)]
    return _joined([found for found, _ in both], model), _joined([at for _, at in both], model)


@torch.no_grad()
def _raws(model: Any, images: np.ndarray) -> Iterator[tuple[int, Raw]]:
    """Yield every image's row and what the detector says of it."""
    model.eval()
    device = next(model.parameters()).device
    for first in range(0, len(images), IMAGES_AT_ONCE):
        part = torch.from_numpy(images[first : first + IMAGES_AT_ONCE]).to(device)
        with _usual_kernels():
            raws = model(part.permute(0, 3, 1, 2).float())
        yield from enumerate(raws, start=first)


@contextlib.contextmanager
def _usual_kernels() -> Iterator[None]:
    """Turn oneDNN on, which training in bf16 turns off: with and without it, last bits differ."""
    before, torch.backends.mkldnn.enabled = torch.backends.mkldnn.enabled, True
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def _kept(raw: Raw, row: int, keep: Keep) -> Found:
    classes = raw.score.shape[1]
    score = raw.score.flatten()
    rows = (score >= keep.score_threshold).nonzero()[:, 0]
    order = score[rows].argsort(descending=True, stable=True)[: max(1000, CANDIDATES * keep.max_detections)]
    rows = rows[order]
    box = raw.box[rows // classes].double()  # double: NMS shifts classes apart, and that must not move overlaps
    rows, box = (part[(box[:, 2:] > box[:, :2]).all(dim=1)] for part in (rows, box))
    kept = batched_nms(box, score[rows].double(), rows % classes, keep.nms_iou)
    kept = kept.sort().values[: keep.max_detections]  # rows fall by score already; the library's order of ties is free
    rows, box, place = rows[kept], box[kept], raw.place[rows[kept] // classes]
    return _found(row, rows % classes, torch.cat([box[:, :2], box[:, 2:] - box[:, :2]], dim=1), score[rows], raw, place)


def _at(model: Any, raw: Raw, row: int, objects: Objects, size: tuple[int, int]) -> Found:
    box, label = objects.box[objects.of_image(row)], objects.label[objects.of_image(row)]
    best = torch.zeros(len(raw.level), raw.score.shape[1], device=raw.score.device)
    best = best.scatter_reduce(0, raw.place[:, None].expand_as(raw.score), raw.score, "amax").cpu().numpy()
    scores = np.where(label[:, None] < 0, best.max(axis=1)[None], best[:, label.clip(0)].T)  # (g, p)
    point, level = raw.point.double().cpu().numpy(), raw.level.cpu().numpy()
    inside = np.all((point > box[:, None, :2]) & (point < box[:, None, :2] + box[:, None, 2:]), axis=2)
    away = ((point - (box[:, None, :2] + box[:, None, 2:] / 2)) ** 2).sum(axis=2)
    away[level != model.level_of(box, size)[:, None]] += 1e12  # another level only where its own has no place
    place = np.where(inside.any(1), np.where(inside, scores, -1).argmax(1), away.argmin(1))
    score = torch.tensor(scores[np.arange(len(box)), place])
    return _found(row, torch.tensor(label), torch.tensor(box), score, raw, torch.tensor(place))


def _found(row: int, category: Any, box: Any, score: Any, raw: Raw, place: torch.Tensor) -> Found:
    place = place.to(raw.level.device)
    columns = (category, box.double(), score.double(), raw.feature[place], raw.level[place])
    return Found(np.full(len(place), row), *(column.cpu().numpy() for column in columns))


def _joined(parts: list[Found], model: Any) -> Found:
    nothing = np.empty(0, np.int64)
    features = np.empty((0, model.feature_width), np.float32)
    parts = [Found(nothing, nothing, np.empty((0, 4)), np.empty(0), features, nothing), *parts]
    return Found(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Found)))
