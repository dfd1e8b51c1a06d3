"""Which detection found which object, by COCO's rules.

Detections choose one by one in order of score, here for all images, IoU thresholds and area ranges at once: only pairs
that overlap enough for the lowest threshold are looked at, and the first detections of all images choose together,
then the second ones. Not here: what follows from the matching (`precision`, `visdrone`, `table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from realfake.detections.boxes import Detections, GroundTruth, check_images, refuse
from realfake.laws import Array

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}  # pixels²
PAIRS_AT_ONCE = 1_000_000  # overlaps computed at once: about 100 MB
HIGHEST = 1 - 1e-10  # a threshold of 1 still accepts an equal box whose overlap was rounded, as in COCO


@dataclass(frozen=True)
class Matches:
    """What became of d detections of g true objects, in each of a area ranges and at each of t IoU thresholds.

    A detection that is neither correct nor false is *ignored*: it found a crowd or an object of another size, found
    nothing and is itself of another size, or came after the most detections allowed.
    """

    thresholds: Array  # (t,)
    areas: tuple[str, ...]  # a names
    truth: Array  # (a, t, d) int32 row of the true object that it found, -1 where none
    ignored: Array  # (a, t, d) bool
    uncounted: Array  # (a, g) bool: true objects that need not be found: crowds, and other sizes
    rank: Array  # (d,) place among the detections that it was counted with, by score, from 0

    @property
    def matched(self) -> Array:
        """(a, t, d) bool: found something, counted or not."""
        return self.truth >= 0

    @property
    def correct(self) -> Array:
        """(a, t, d) bool: true positives."""
        return self.matched & ~self.ignored

    @property
    def false(self) -> Array:
        """(a, t, d) bool: false positives."""
        return ~self.matched & ~self.ignored


def overlap(detected: Array, true: Array, crowd: Array) -> Array:
    """Return the overlap (…,) of boxes (…, 4): intersection over union, or over the detected area where `crowd`."""
    low = np.maximum(detected[..., :2], true[..., :2])
    high = np.minimum(detected[..., :2] + detected[..., 2:], true[..., :2] + true[..., 2:])
    shared = np.maximum(high - low, 0.0).prod(axis=-1)
    area = detected[..., 2] * detected[..., 3]
    return shared / np.where(crowd, area, area + true[..., 2] * true[..., 3] - shared)


def match(
    truth: GroundTruth,
    found: Detections,
    images: ArrayLike,
    *,
    thresholds: ArrayLike = IOU_THRESHOLDS,
    areas: Mapping[str, tuple[float, float]] = AREAS,
    max_detections: int = 100,
    across_classes: bool = False,
) -> Matches:
    """Return which detection found which true object, by COCO's rules (pycocotools 2.0.11, ``evaluateImg``).

    In each image and class, detections choose in order of score (equal ones in the order given): the object that
    overlaps most, at least by the threshold, of those not taken; of equal overlaps the last; objects that count before
    those that do not. Crowds are never used up, and a detection overlaps one by the share of it that lies inside.
    ``areas`` are ranges in pixels², both ends included. The first ``max_detections`` of an image and class are
    counted, or with ``across_classes`` those of an image. ``images`` (i,) lists every image, the empty ones too.

    Raises ValueError for thresholds outside (0, 1], less than one detection, and images that are not listed.
    """
    levels = np.atleast_1d(np.asarray(thresholds, dtype=float))
    refuse(~((levels > 0) & (levels <= 1)), "IoU thresholds are outside (0, 1]", "give shares of overlap, as 0.5")
    if max_detections < 1:
        raise ValueError(f"max_detections is {max_detections}, so nothing can be found; give 1 or more")
    check_images(truth, found, images)
    groups_true, groups_found = _groups(truth, found)
    rank = _ranks(found.image if across_classes else groups_found, found.score)
    low, high = np.array(list(areas.values())).T[:, :, None]
    uncounted = truth.crowd | (truth.area < low) | (truth.area > high)
    rows = np.flatnonzero(rank < max_detections)
    pairs = _pairs(truth, found, groups_true, groups_found, rows, min(levels.min(), HIGHEST))
    turns = _ranks(groups_found, -rank.astype(float))
    chosen = _choose(pairs, turns, truth.crowd, uncounted, np.minimum(levels, HIGHEST))
    other_size = (found.area < low) | (found.area > high)
    passed = np.take_along_axis(np.pad(uncounted, ((0, 0), (0, 1))), chosen.reshape(len(areas), -1), axis=1)
    ignored = np.where(chosen >= 0, passed.reshape(chosen.shape), other_size[:, None]) | (rank >= max_detections)
    return Matches(levels, tuple(areas), chosen, ignored, uncounted, rank)


@dataclass(frozen=True)
class _Pairs:
    """p pairs of a detection and a true object that overlap enough, those of a detection together, best first."""

    detection: Array  # (q,) rows of the detections that have any pair
    first: Array  # (q,) where its pairs begin
    count: Array  # (q,)
    truth: Array  # (p,) rows of true objects
    overlap: Array  # (p,)
    total: int  # d, all detections


def _groups(truth: GroundTruth, found: Detections) -> tuple[Array, Array]:
    """(g,) and (d,): one number for each image and class."""
    image = np.unique(np.concatenate([truth.image, found.image]), return_inverse=True)[1].ravel()
    classes, category = np.unique(np.concatenate([truth.category, found.category]), return_inverse=True)
    both = image * len(classes) + category.ravel()
    return both[: len(truth.image)], both[len(truth.image) :]


def _ranks(group: Array, score: Array) -> Array:
    """(d,) place of each row in its group by falling score, equal ones in the order given."""
    order = np.lexsort((-score, group))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    return rank


def _pairs(
    truth: GroundTruth, found: Detections, groups_true: Array, groups_found: Array, rows: Array, smallest: float
) -> _Pairs:
    """Every detection of `rows` with every object of its group that it overlaps by `smallest` or more."""
    order = np.argsort(groups_true, kind="stable")
    first, last = (np.searchsorted(groups_true[order], groups_found[rows], side=side) for side in ("left", "right"))
    several = last > first
    rows, first, count = rows[several], first[several], (last - first)[several]
    parts = []
    for part in np.array_split(np.arange(len(rows)), 1 + int(count.sum()) // PAIRS_AT_ONCE):
        place = np.repeat(first[part] - np.cumsum(count[part]) + count[part], count[part])
        detection, true = np.repeat(rows[part], count[part]), order[place + np.arange(len(place))]
        shared = overlap(found.box[detection], truth.box[true], truth.crowd[true])
        enough = shared >= smallest
        parts.append((detection[enough], true[enough], shared[enough]))
    detection, true, shared = (np.concatenate(column) for column in zip(*parts, strict=True))
    best_first = np.lexsort((-true, -shared, detection))  # of equal overlaps, COCO keeps the last
    those, starts, counts = np.unique(detection[best_first], return_index=True, return_counts=True)
    return _Pairs(those, starts, counts, true[best_first], shared[best_first], len(found.image))


def _choose(pairs: _Pairs, turns: Array, crowd: Array, uncounted: Array, levels: Array) -> Array:
    """(a, t, d) int32 row of the object that each detection takes, -1 for none; `turns` (d,) is its place in line."""
    thresholds, passed = np.tile(levels, len(uncounted)), np.repeat(uncounted.T, len(levels), axis=1)  # (a·t,) (g, a·t)
    taken = np.zeros((len(crowd) + 1, len(thresholds)), dtype=bool)  # the last row is where -1 points
    chosen = np.full((pairs.total, len(thresholds)), -1, dtype=np.int32)
    turn = turns[pairs.detection]
    in_line = np.argsort(turn, kind="stable")
    for now in np.split(in_line, np.flatnonzero(np.diff(turn[in_line])) + 1):
        if not len(now):
            continue
        column = np.arange(pairs.count[now].max())
        inside = column < pairs.count[now][:, None]  # (n, k): n detections, one of a group, with up to k pairs
        place = np.where(inside, pairs.first[now][:, None] + column, 0)
        true, shared = pairs.truth[place], np.where(inside, pairs.overlap[place], 0.0)
        free = crowd[true][..., None] | ~taken[true]
        good = free & (shared[..., None] >= thresholds)  # (n, k, a·t)
        best = (good.astype(np.int8) + (good & ~passed[true])).argmax(axis=1)  # (n, a·t): counted ones come first
        hit = np.take_along_axis(good, best[:, None], axis=1)[:, 0]
        mine = np.where(hit, np.take_along_axis(true, best, axis=1), -1)
        chosen[pairs.detection[now]] = mine
        taken[mine, np.arange(len(thresholds))] = True
    return chosen.T.reshape(len(uncounted), len(levels), pairs.total)
