"""VisDrone's own protocol, as its toolkit has it (VisDrone2018-DET-toolkit: dropObjectsInIgr, evalRes, calcAccuracy).

It differs from COCO's in five ways. Objects and detections that lie half or more in ignored regions are dropped before
anything is matched. The first 1, 10, 100 or 500 detections of an image count, over all classes together. Average
precision is that of all points, with 500. Recall is out of all objects of a class, ignored ones too. A class without
objects counts as 0. Thresholds here are `IOU_THRESHOLDS`; the toolkit's may differ in their last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from realfake.detections.boxes import Detections, GroundTruth
from realfake.detections.matching import match
from realfake.detections.precision import all_points, check_categories, precision_recall, ranked_by_class
from realfake.laws import Array

MAX_DETECTIONS = (1, 10, 100, 500)
Rows = TypeVar("Rows", GroundTruth, Detections)


def visdrone_summary(
    truth: GroundTruth, found: Detections, images: ArrayLike, categories: ArrayLike
) -> dict[str, float]:
    """Return average precision and recall as shares: ``ap``, ``ap50``, ``ap75``, and ``ar_1`` to ``ar_500``.

    Objects that the annotation says to ignore (score 0) are ``crowd`` in ``truth``; drop what lies in ignored regions
    first (`without_ignored_regions`). ``categories`` are all that the mean is over, ten in the benchmark. Raises
    ValueError for images and classes that are not listed, and without any class.
    """
    classes = check_categories(truth, found, categories)
    if not len(classes):
        raise ValueError("categories are empty, and the mean is over classes; list those of the benchmark")
    whole = {"all": (0.0, np.inf)}
    matches = match(truth, found, images, areas=whole, max_detections=MAX_DETECTIONS[-1], across_classes=True)
    correct, false = matches.correct[0], matches.false[0]  # (t, d)
    precision = np.zeros((len(classes), len(matches.thresholds)))
    recall = np.zeros((len(MAX_DETECTIONS), *precision.shape))
    for k, ranked in enumerate(ranked_by_class(found, matches, classes)):
        n_objects = max(1, int((truth.category == classes[k]).sum()))
        curves = zip(*precision_recall(correct[:, ranked], false[:, ranked], n_objects), strict=True)
        precision[k] = [all_points(*curve) for curve in curves]
        for m, most in enumerate(MAX_DETECTIONS):
            recall[m, k] = (correct[:, ranked] & (matches.rank[ranked] < most)).sum(axis=1) / n_objects
    at = {level: np.isclose(matches.thresholds, level) for level in (0.5, 0.75)}
    average = {"ap": precision.mean(), "ap50": precision[:, at[0.5]].mean(), "ap75": precision[:, at[0.75]].mean()}
    average |= {f"ar_{most}": found_share.mean() for most, found_share in zip(MAX_DETECTIONS, recall, strict=True)}
    return {name: float(value) for name, value in average.items()}


def without_ignored_regions(
    truth: GroundTruth,
    found: Detections,
    regions: Mapping[int, ArrayLike],
    sizes: Mapping[int, tuple[int, int]],
) -> tuple[GroundTruth, Detections]:
    """Return both without what lies half or more in ignored regions.

    ``regions`` are boxes (r, 4) by image id, ``sizes`` (height, width) in pixels. Raises ValueError for an image with
    regions but no size.
    """
    lacking = sorted(image for image in regions if image not in sizes)
    if lacking:
        named = ", ".join(map(str, lacking[:5]))
        raise ValueError(
            f"{len(lacking)} images with ignored regions have no size (ids {named}); give height and width"
        )
    kept_truth, kept_found = np.ones(len(truth.image), dtype=bool), np.ones(len(found.image), dtype=bool)
    for image, boxes in regions.items():
        for kept, objects in ((kept_truth, truth), (kept_found, found)):
            here = np.flatnonzero(objects.image == image)
            kept[here] = outside_regions(objects.box[here], np.asarray(boxes, dtype=float), *sizes[image])
    return _only(truth, kept_truth), _only(found, kept_found)


def outside_regions(boxes: Array, regions: Array, height: int, width: int) -> Array:
    """Return (n,) bool: less than half of each of ``boxes`` (n, 4) lies in the union of ``regions`` (r, 4).

    On whole pixels counted from 1, as in the toolkit: coordinates are rounded, at least 1, and cut at the image's edge;
    a region covers both its first and last pixel, a box its last but not its first; the share is of the uncut box.
    """
    if not len(regions):
        return np.ones(len(boxes), dtype=bool)
    covered = np.zeros((height + 1, width + 1), dtype=np.int64)
    for left, top, wide, high in _whole(regions):
        covered[top : min(height, top + high) + 1, left : min(width, left + wide) + 1] = 1
    total = covered.cumsum(axis=0).cumsum(axis=1)
    left, top, wide, high = _whole(boxes).T
    x, y = left.clip(max=width), top.clip(max=height)
    right, bottom = (x + wide).clip(max=width), (y + high).clip(max=height)
    inside = total[y, x] + total[bottom, right] - total[y, right] - total[bottom, x]
    return inside / (high * wide) < 0.5


def _whole(boxes: Array) -> Array:
    """Boxes in whole numbers of at least 1; halves are rounded up."""
    return np.maximum(1, np.floor(boxes + 0.5)).astype(np.int64)


def _only(objects: Rows, kept: Array) -> Rows:
    return replace(objects, **{field.name: getattr(objects, field.name)[kept] for field in fields(objects)})
