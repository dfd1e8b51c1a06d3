"""Average precision by faster-coco-eval: the numbers to report are made by the library that others use.

Here: our arrays in its format, and the call. What each detection found is in `matching`, by our own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from realfake.detections.boxes import Detections, GroundTruth, check_images
from realfake.detections.matching import AREAS
from realfake.detections.precision import MAX_DETECTIONS, Accumulated, check_categories, summary


def coco_format(
    truth: GroundTruth, found: Detections, images: ArrayLike, categories: ArrayLike
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what COCO's JSON files hold: the true objects with images and classes, and the list of detections.

    Object ids count from 1, for evaluators read id 0 as "no match". Raises ValueError for images and classes that are
    not listed.
    """
    known, classes = check_images(truth, found, images), check_categories(truth, found, categories)
    columns = (truth.image, truth.category, truth.box, truth.area, truth.crowd.astype(int))
    objects = [
        {"id": n, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": crowd}
        for n, (image, category, box, area, crowd) in enumerate(_rows(*columns), start=1)
    ]
    detected = [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in _rows(found.image, found.category, found.box, found.score)
    ]
    described = {
        "info": {},
        "images": [{"id": image} for image in known.tolist()],
        "categories": [{"id": category, "name": str(category)} for category in classes.tolist()],
        "annotations": objects,
    }
    return described, detected


def headline(
    truth: GroundTruth,
    found: Detections,
    images: ArrayLike,
    categories: ArrayLike,
    *,
    max_detections: Sequence[int] = MAX_DETECTIONS,
) -> dict[str, float]:
    """Return COCO's `summary` (AP[.5:.95], AP50, AP by size, …), computed by faster-coco-eval.

    Any ``max_detections`` will do: it is read from the library's arrays, whose own summary wants three that hold 100.
    Raises ValueError for images and classes that are not listed.
    """
    return summary(accumulate_by_library(truth, found, images, categories, max_detections=max_detections))


def accumulate_by_library(
    truth: GroundTruth,
    found: Detections,
    images: ArrayLike,
    categories: ArrayLike,
    *,
    max_detections: Sequence[int] = MAX_DETECTIONS,
) -> Accumulated:
    """Return the precision and recall that faster-coco-eval computes; see `headline`."""
    from faster_coco_eval import COCO, COCOeval_faster

    described, detected = coco_format(truth, found, images, categories)
    objects = COCO(described)
    evaluation = COCOeval_faster(objects, objects.loadRes(detected), "bbox")
    evaluation.params.maxDets = sorted(max_detections)
    evaluation.params.areaRng = [list(limits) for limits in AREAS.values()]
    evaluation.params.areaRngLbl = list(AREAS)
    evaluation.evaluate()
    evaluation.accumulate()
    return from_coco_arrays(evaluation, tuple(sorted(max_detections)))


def from_coco_arrays(evaluation: Any, most: tuple[int, ...]) -> Accumulated:
    """Return an evaluator's arrays, as pycocotools shapes them and with −1 for "no objects", in our shape."""
    precision = np.moveaxis(np.asarray(evaluation.eval["precision"])[..., -1], (3, 0, 2, 1), (0, 1, 2, 3))
    recall = np.moveaxis(np.asarray(evaluation.eval["recall"]), (2, 0, 1, 3), (0, 1, 2, 3))
    precision, recall = (np.where(array < 0, np.nan, array) for array in (precision, recall))
    return Accumulated(np.asarray(evaluation.params.iouThrs), tuple(AREAS), most, precision, recall)


def _rows(*columns: np.ndarray) -> Any:
    """Rows of plain Python numbers and lists."""
    return zip(*(column.tolist() for column in columns), strict=True)
