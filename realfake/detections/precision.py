"""Precision, recall and average precision, from what each detection found.

The curve functions take flags in any ranking, so that detections may be ranked by something other than their score.
COCO's numbers here are our own arithmetic; the ones to report come from `library`, and tests hold the two and
pycocotools equal. VisDrone's protocol is in `visdrone`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from realfake.detections.boxes import Detections, GroundTruth, refuse
from realfake.detections.matching import IOU_THRESHOLDS, Matches, match
from realfake.laws import Array

RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True)
class Accumulated:
    """Precision and recall in a area ranges, at t IoU thresholds, for k classes; NaN where a class has no objects."""

    thresholds: Array  # (t,)
    areas: tuple[str, ...]  # a names
    max_detections: tuple[int, ...]  # m
    precision: Array  # (a, t, k, 101) at the recalls 0, 0.01, …, 1, with the last of max_detections
    recall: Array  # (a, t, k, m) of all detections

    def average_precision(self, area: str = "all", threshold: float | None = None) -> float:
        """Return the mean over classes, recalls and thresholds (or at one); NaN where no class has objects."""
        return mean(self.precision[self.areas.index(area), self._levels(threshold)])

    def average_recall(self, most: int, area: str = "all") -> float:
        """Return the mean over classes and thresholds with at most that many detections an image and class."""
        return mean(self.recall[self.areas.index(area), :, :, self.max_detections.index(most)])

    def _levels(self, threshold: float | None) -> Array:
        return np.isclose(self.thresholds, threshold) if threshold else np.ones(len(self.thresholds), dtype=bool)


def precision_recall(correct: Array, false: Array, n_objects: ArrayLike) -> tuple[Array, Array]:
    """Return precision and recall (…, n) after each of n detections in the order given, by flags (…, n).

    ``n_objects`` (…) is how many there were to find. A detection that is neither correct nor false repeats the point
    before it.
    """
    true, wrong = correct.cumsum(axis=-1, dtype=float), false.cumsum(axis=-1, dtype=float)
    return true / (true + wrong + np.spacing(1)), true / np.asarray(n_objects, dtype=float)[..., None]


def interpolated(precision: Array, recall: Array) -> Array:
    """Return (101,) the best precision of (n,) at each of `RECALLS` or a higher recall, 0 beyond the last.

    Its mean is COCO's average precision.
    """
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(best, 0.0)[np.searchsorted(recall, RECALLS, side="left")]


def all_points(precision: Array, recall: Array) -> float:
    """Return the area under the interpolated precision (n,) over recall (n,), as PASCAL VOC has it from 2010 on."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


def accumulate(
    truth: GroundTruth,
    found: Detections,
    matches: Matches,
    categories: ArrayLike,
    *,
    max_detections: Sequence[int] = MAX_DETECTIONS,
) -> Accumulated:
    """Return COCO's precision and recall (pycocotools 2.0.11, ``accumulate``) of each of k ``categories``.

    All images are ranked together by score; of equal scores the smaller image id first, then the order given. Raises
    ValueError for classes of objects or detections that are not in ``categories``.
    """
    classes = check_categories(truth, found, categories)
    most, correct, false = tuple(sorted(max_detections)), matches.correct, matches.false
    shape = (*correct.shape[:2], len(classes))
    precision, recall = np.full((*shape, len(RECALLS)), np.nan), np.full((*shape, len(most)), np.nan)
    for k, ranked in enumerate(ranked_by_class(found, matches, classes)):
        counts = (~matches.uncounted[:, truth.category == classes[k]]).sum(axis=1)
        for a in np.flatnonzero(counts):
            right, wrong = correct[a][:, ranked], false[a][:, ranked]
            early = [(right & (matches.rank[ranked] < m)).sum(axis=1) / counts[a] for m in most]
            recall[a, :, k] = np.stack(early, axis=-1)
            curves = zip(*precision_recall(right, wrong, counts[a]), strict=True)
            precision[a, :, k] = [interpolated(*curve) for curve in curves]
    return Accumulated(matches.thresholds, matches.areas, most, precision, recall)


def ranked_by_class(found: Detections, matches: Matches, classes: Array) -> list[Array]:
    """Return for each class the rows of its detections, highest score first."""
    order = np.lexsort((matches.rank, found.image, -found.score, found.category))
    first, last = (np.searchsorted(found.category[order], classes, side=side) for side in ("left", "right"))
    return [order[start:end] for start, end in zip(first, last, strict=True)]


def check_categories(truth: GroundTruth, found: Detections, categories: ArrayLike) -> Array:
    """Return the class ids (k,) in increasing order; raises ValueError when objects or detections have others."""
    classes = np.unique(np.asarray(categories, dtype=np.int64))
    for what, ids in (("true objects", truth.category), ("detections", found.category)):
        other = ~np.isin(ids, classes)
        named = ", ".join(map(str, np.unique(ids[other])[:5]))
        refuse(other, f"{what} are of classes that are not evaluated (ids {named})", "list those classes or drop these")
    return classes


def coco_summary(
    truth: GroundTruth,
    found: Detections,
    images: ArrayLike,
    categories: ArrayLike,
    *,
    max_detections: Sequence[int] = MAX_DETECTIONS,
) -> dict[str, float]:
    """Return COCO's `summary` by our own arithmetic; equal to `headline`. Raises ValueError as `match` does."""
    matches = match(truth, found, images, thresholds=IOU_THRESHOLDS, max_detections=max(max_detections))
    return summary(accumulate(truth, found, matches, categories, max_detections=max_detections))


def summary(accumulated: Accumulated) -> dict[str, float]:
    """Return average precision and recall as shares: ``ap`` is AP[.5:.95], ``ar_10`` recall with at most 10 an image.

    NaN, not 0, where there is nothing to find.
    """
    return {
        "ap": accumulated.average_precision(),
        "ap50": accumulated.average_precision(threshold=0.5),
        "ap75": accumulated.average_precision(threshold=0.75),
        **{f"ap_{area}": accumulated.average_precision(area) for area in accumulated.areas if area != "all"},
        **{f"ar_{most}": accumulated.average_recall(most) for most in accumulated.max_detections},
    }


def mean(values: Array) -> float:
    """Return the mean of those values that are not NaN, NaN where there is none."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
