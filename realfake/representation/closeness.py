"""AP_t2t: are the test detections near the training set the right ones?

Average precision of arXiv 2408.14559 when detections are ranked by train2test distance, the nearest first, instead of
by score, at several least scores. High: near detections are right and far ones wrong. Its full text was not available;
what it does not pin is a switch, and both normalisations should be reported, for they can disagree.
Matched flags come from outside: from matching in order of score as COCO does, or anew in order of distance.
Here: AP_t2t. Not here: its curve and intervals (``closeness_curves``), distances (``representation``), matching.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Normalisation = Literal["ground truth", "true positives"]
Interpolation = Literal["101-point", "all-point"]
# COCO's own expression: 0.07 of it is 0.07000000000000001, and some APs turn on that.
RECALLS = np.linspace(0.0, 1.00, int(np.round((1.00 - 0.0) / 0.01)) + 1, endpoint=True)


def average_precision_t2t(
    distance: np.ndarray,
    score: np.ndarray,
    matched: np.ndarray,
    n_ground_truth: int,
    threshold: float,
    *,
    below: float = math.inf,
    normalisation: Normalisation = "ground truth",
    interpolation: Interpolation = "101-point",
    ignored: np.ndarray | None = None,
) -> float:
    """Return AP_t2t, in [0, 1], of the detections of one class with ``threshold`` ≤ score < ``below``.

    ``distance (n,)``, ``score (n,)``; ``matched (n,)`` bool, or ``(n, t)`` at t IoU thresholds, over which AP_t2t is
    averaged; ``ignored (n,)`` or ``(n, t)`` bool detections count neither way. Ranked by ascending distance, then
    descending score, then order. Recall is of ``n_ground_truth`` objects, comparable to AP and bounded by the recall at
    the threshold, or of the "true positives" among these detections: 1 if and only if each is nearer than each false
    one. Precision is the largest at that recall or more, zero beyond the largest recall; "101-point" averages it at
    recalls 0, 0.01 … 1, "all-point" integrates it. NaN when there is nothing to recall.

    With distance = −score and no ``below``, this is COCO's AP of these detections. Raises ValueError for arrays of
    unequal length, distances that are not numbers, and more matched detections than ground truth.
    """
    found = Detected.of_one(distance, score, matched, n_ground_truth, ignored)
    return Ranking.of(found, threshold, below, normalisation, interpolation).value(np.ones(1))


@dataclass(frozen=True)
class Detected:
    """What a detector found on i test images: n detections of one class.

    Matched and ignored may be ``(n,)`` or ``(n, t)``, at t IoU thresholds. Raises ValueError if they do not fit.
    """

    image: np.ndarray  # (n,) which of the i images
    distance: np.ndarray  # (n,) train2test
    score: np.ndarray  # (n,)
    matched: np.ndarray  # (n, t) bool
    ground_truths: np.ndarray  # (i,) objects in each image, also in those without a detection
    ignored: np.ndarray = None  # type: ignore[assignment]  # (n, t) bool; none is, unless given

    def __post_init__(self) -> None:
        for name in ("image", "distance", "score", "matched", "ground_truths"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        ignored = np.zeros(self.matched.shape, bool) if self.ignored is None else np.asarray(self.ignored, bool)
        object.__setattr__(self, "matched", _columns(self.matched.astype(bool)))
        object.__setattr__(self, "ignored", _columns(ignored))
        self._check()
        object.__setattr__(self, "ignored", np.broadcast_to(self.ignored, self.matched.shape))

    def _check(self) -> None:
        n = len(self.distance)
        lengths = {name: len(getattr(self, name)) for name in ("image", "distance", "score", "matched", "ignored")}
        if set(lengths.values()) != {n} or self.distance.ndim != 1 or self.score.ndim != 1:
            raise ValueError(f"a detection has one of each, and their numbers differ: {lengths}; give n of all")
        if unknown := int(np.isnan(self.distance).sum() + np.isnan(self.score).sum()):
            raise ValueError(f"{unknown} distances or scores are not numbers and cannot be ranked; leave them out")
        if n and not (self.image.min() >= 0 and self.image.max() < len(self.ground_truths)):
            raise ValueError(
                f"a detection is on image {self.image.max()}, and ground truth is known of {len(self.ground_truths)}; "
                "number the images from 0 and give each its count"
            )
        if self.ignored.shape[1] not in (1, self.matched.shape[1]):
            raise ValueError(
                f"ignored has {self.ignored.shape[1]} IoU thresholds and matched {self.matched.shape[1]}; "
                "give one column, or one for each"
            )
        true = (self.matched & ~self.ignored).sum(0).max(initial=0)
        if true > self.ground_truths.sum():
            raise ValueError(
                f"{true} detections are matched to {self.ground_truths.sum()} objects, and each can be matched once; "
                "give the count over all images"
            )

    @classmethod
    def of_one(cls, distance: Any, score: Any, matched: Any, n_ground_truth: int, ignored: Any = None) -> "Detected":
        """Return detections as if all were on one image, whose objects are counted."""
        return cls(np.zeros(len(distance), int), distance, score, matched, np.array([n_ground_truth]), ignored)


# ------------------------------------------------------------------------------------------------------------ the sweep


@dataclass(frozen=True)
class Ranking:
    """Detections between two scores, the nearest first, ready to be weighted by how often their image was drawn."""

    columns: tuple[tuple[np.ndarray, np.ndarray], ...]  # for each IoU threshold: image (k,) and whether right (k,)
    ground_truths: np.ndarray
    of_found: bool  # recall is of the true positives
    area: Callable[[np.ndarray, np.ndarray], float]

    @classmethod
    def of(
        cls, found: Detected, threshold: float, below: float, normalisation: Normalisation, interpolation: Interpolation
    ) -> "Ranking":
        _one_of("normalisation", normalisation, get_args(Normalisation))
        _one_of("interpolation", interpolation, get_args(Interpolation))
        kept = np.flatnonzero((found.score >= threshold) & (found.score < below))
        order = kept[np.lexsort((-found.score[kept], found.distance[kept]))]
        columns = []
        for right, ignored in zip(found.matched.T, found.ignored.T, strict=True):
            rows = order[~ignored[order]]
            columns.append((found.image[rows], right[rows]))
        area = _at_101_recalls if interpolation == "101-point" else _under_envelope
        return cls(tuple(columns), found.ground_truths, normalisation == "true positives", area)

    def value(self, weights: np.ndarray) -> float:
        """AP_t2t when image j counts ``weights[j]`` times, as if its detections and objects were there as often."""
        objects = float(weights @ self.ground_truths)
        return float(np.mean([self._average(weights[image], right, objects) for image, right in self.columns]))

    def _average(self, weight: np.ndarray, right: np.ndarray, objects: float) -> float:
        true = np.cumsum(weight * right)
        total = (float(true[-1]) if len(true) else 0.0) if self.of_found else objects
        if not total:
            return math.nan
        rows = np.flatnonzero(right & (weight > 0))
        precision = true[rows] / np.cumsum(weight)[rows]
        return self.area(true[rows] / total, np.maximum.accumulate(precision[::-1])[::-1])

    def counts(self) -> tuple[int, int]:
        right = self.columns[0][1]
        return int(right.sum()), int((~right).sum())


def _at_101_recalls(recall: np.ndarray, envelope: np.ndarray) -> float:
    return float(np.append(envelope, 0.0)[np.searchsorted(recall, RECALLS, side="left")].mean())


def _under_envelope(recall: np.ndarray, envelope: np.ndarray) -> float:
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _columns(flags: np.ndarray) -> np.ndarray:
    return flags[:, None] if flags.ndim == 1 else flags


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r} is none of its values; use one of {known}")
