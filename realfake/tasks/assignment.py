"""Which points of a detector's maps answer for which object: targets of a single-stage, anchor-free detector.

As in FCOS (arXiv 1904.01355): an object is learned at the points within 1.5 strides of its centre that lie inside it,
on the level that its size belongs to; of several objects at a point the smallest wins. Unlike there, the point
nearest an object's centre always answers for it, even when a small object lies between points. NumPy only: a batch has
few objects, and their number is then known without asking the device. Losses are in ``anchor_free``.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

SIDE_STRIDES = 5.0  # a box whose longer side is up to so many strides belongs to a level: 20 pixels at stride 4
AROUND = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])  # (9, 2) cells within 1.5 strides


@dataclass(frozen=True)
class Grid:
    """All p points of all levels of an image: level after level, row after row."""

    strides: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]  # rows and columns of each level
    starts: np.ndarray  # (levels,) first point of each
    point: np.ndarray  # (p, 2) float32 x, y in pixels
    stride: np.ndarray  # (p,) float32
    level: np.ndarray  # (p,) int64

    def __len__(self) -> int:
        return len(self.level)

    def level_of(self, box: np.ndarray) -> np.ndarray:
        """Return the level ``(g,)`` that boxes ``(g, 4)`` left, top, width, height belong to by their longer side."""
        limits = SIDE_STRIDES * np.array(self.strides[:-1])
        return np.searchsorted(limits, box[:, 2:].max(axis=1, initial=0.0), side="left")


@functools.lru_cache(maxsize=32)
def grid(height: int, width: int, strides: tuple[int, ...]) -> Grid:
    """Return the points of images of ``height`` × ``width`` pixels; a level's points are the middles of its cells."""
    shapes = tuple((math.ceil(height / stride), math.ceil(width / stride)) for stride in strides)
    points = [
        (np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2) + 0.5) * stride
        for stride, (rows, columns) in zip(strides, shapes, strict=True)
    ]
    counts = [len(part) for part in points]
    return Grid(
        strides=strides,
        shapes=shapes,
        starts=np.cumsum([0, *counts[:-1]]),
        point=np.concatenate(points).astype(np.float32),
        stride=np.repeat(np.array(strides, np.float32), counts),
        level=np.repeat(np.arange(len(strides)), counts),
    )


@dataclass(frozen=True)
class Truth:
    """The g objects of a batch of images: what a view shows, before any detector looks."""

    image: np.ndarray  # (g,) int64 place in the batch
    label: np.ndarray  # (g,) int64 class, −1 for a region of every class
    box: np.ndarray  # (g, 4) float64 left, top, width, height in pixels
    crowd: np.ndarray  # (g,) bool: a region where nothing is learned


@dataclass(frozen=True)
class Positives:
    """The t points of a batch that answer for an object, and the logits that are not asked.

    ``point (t,)`` is image · p + point, in increasing order and each once; ``category (t,)``; ``box (t, 4)`` float32
    left, top, right, bottom; ``ignored (c,)`` is (image · p + point) · classes + class.
    """

    point: np.ndarray
    category: np.ndarray
    box: np.ndarray
    ignored: np.ndarray


def assign(truth: Truth, points: Grid, classes: int) -> Positives:
    """Return who answers for what. Objects too small or outside the image are still answered for, at its border."""
    countable = ~truth.crowd & (truth.label >= 0)
    image, label, box = truth.image[countable], truth.label[countable], truth.box[countable]
    at, who = _claims(image, box, points)
    smallest_first = np.lexsort((who, box[who, 2] * box[who, 3]))
    at, first = np.unique(at[smallest_first], return_index=True)
    who = who[smallest_first[first]]
    corners = np.concatenate([box[who, :2], box[who, :2] + box[who, 2:]], axis=1).astype(np.float32)
    return Positives(at, label[who], corners, _ignored(truth, ~countable, points, classes, at))


def _claims(image: np.ndarray, box: np.ndarray, points: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return each point (q,) that an object wants, and which object (q,) it is."""
    level = points.level_of(box)
    stride = np.array(points.strides)[level][:, None]
    shape = np.array(points.shapes)[level][:, ::-1]  # columns, rows
    middle = np.floor((box[:, :2] + box[:, 2:] / 2) / stride).astype(np.int64).clip(0, shape - 1)
    cell = middle[:, None] + AROUND  # (g, 9, 2)
    place = (cell + 0.5) * stride[:, None]
    inside = np.all((place > box[:, None, :2]) & (place < (box[:, :2] + box[:, 2:])[:, None]), axis=2)
    inside[:, len(AROUND) // 2] = True
    wanted = inside & ((cell >= 0) & (cell < shape[:, None])).all(axis=2)
    at = image[:, None] * len(points) + points.starts[level][:, None] + cell[..., 1] * shape[:, :1] + cell[..., 0]
    return at[wanted], np.nonzero(wanted)[0]


def _ignored(truth: Truth, crowd: np.ndarray, points: Grid, classes: int, answering: np.ndarray) -> np.ndarray:
    """Return the logits (c,) at points inside crowds, of the crowd's class or of all, that answer for no object."""
    parts = [np.empty(0, np.int64)]
    for row in np.flatnonzero(crowd):
        low, high = truth.box[row, :2], truth.box[row, :2] + truth.box[row, 2:]
        inside = np.flatnonzero(((points.point >= low) & (points.point <= high)).all(axis=1))
        at = np.setdiff1d(truth.image[row] * len(points) + inside, answering, assume_unique=True)
        kinds = np.arange(classes) if truth.label[row] < 0 else truth.label[row : row + 1]
        parts.append((at[:, None] * classes + kinds).ravel())
    return np.unique(np.concatenate(parts))
