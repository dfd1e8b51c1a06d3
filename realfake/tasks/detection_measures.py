"""What is measured of a detector: average precision, train2test distance and AP_t2t of its detections in a test set.

One look at a test set, as numbers and as rows. How boxes are matched is in ``detections``, the Gaussian that distances
are measured to in ``feature_gaussians``, distances that sample size does not move in ``comparable_distances``, what a
distance means in ``representation``.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from realfake.detections import (
    Detections,
    GroundTruth,
    Matches,
    headline,
    match,
    rows,
    visdrone_summary,
    without_ignored_regions,
)
from realfake.measures import SCORES
from realfake.objects import Objects
from realfake.representation.closeness import average_precision_t2t
from realfake.representation.distances import distribution_gap
from realfake.representation.gaussians import Gaussian
from realfake.samples import Samples
from realfake.spec import DetectionRecipe
from realfake.tasks.comparable_distances import of_equal_counts, relative_to
from realfake.tasks.feature_gaussians import Population, Ruler
from realfake.tasks.keeping import Found, Keep, detect_and_features_at


def measures(
    model: Any,
    test: Samples,
    trained: Population,
    recipe: DetectionRecipe,
    home: Mapping[str, float] | None = None,
) -> tuple[dict[str, Any], pa.Table]:
    """Return the numbers of one look at a test set, and its detections as rows with ``distance`` and ``level``.

    Average precision by the recipe's protocol, distances and AP_t2t; None for what cannot be known. ``home`` are the
    ``true_medians`` in the test set of the trained domain, which distances are told relative to: empty if this set is
    that one, None where there is none.
    """
    fitted = trained.gaussians
    assert test.objects is not None
    found, at_objects = detect_and_features_at(model, test.images, test.objects, Keep.of(recipe))
    detections, truth = found.detections(test.ids), ground_truth(test)
    matches = match(truth, detections, test.ids, max_detections=recipe.max_detections)
    ruler = Ruler.of(fitted, recipe.distance)
    distance = ruler.distance(found)
    table = rows(truth, detections, matches)
    table = table.append_column("distance", pa.array(distance, from_pandas=True))
    table = table.append_column("level", pa.array(found.level))
    numbers = {
        **_precision(truth, detections, test, recipe),
        "n_objects": int((~truth.crowd).sum()),
        "n_test": len(test),
        "n_detections": len(found),
        **_of_gaussian(fitted, ruler),
        **_of_distances(found, distance, ruler, matches),
        **of_equal_counts(found, trained.sample, recipe.distance, matches),
        **_of_closeness(found, distance, matches, truth),
        **_of_objects(test.objects, ruler.distance(at_objects), matches),
    }
    if home is not None:
        numbers |= relative_to(home or numbers, numbers)
    return {name: _or_none(value) for name, value in numbers.items()}, table


def ground_truth(test: Samples) -> GroundTruth:
    """Return a test set's objects row by row, and after them copies of regions of every class for classes 1, 2, …"""
    objects = test.objects
    assert objects is not None
    regions = np.flatnonzero(objects.label < 0)
    others = np.repeat(np.arange(1, len(test.classes)), len(regions))
    at = np.concatenate([np.arange(len(objects.label)), np.tile(regions, len(test.classes) - 1)])
    category = np.concatenate([objects.label.clip(0), others])
    crowd = objects.crowd | (objects.label < 0)
    image = test.ids[objects.image]
    return GroundTruth.of(image[at], category, objects.box[at], crowd=crowd[at], area=objects.area[at])


def _precision(truth: GroundTruth, found: Detections, test: Samples, recipe: DetectionRecipe) -> dict[str, float]:
    """Average precision by the recipe's protocol; by the other one too where there are regions to ignore."""
    most = (*(n for n in (1, 10) if n < recipe.max_detections), recipe.max_detections)
    classes = range(len(test.classes))
    coco = headline(truth, found, test.ids, classes, max_detections=most)
    regions = _regions(test)
    numbers = {"coco": coco}
    if regions or recipe.protocol == "visdrone":
        numbers["visdrone"] = _visdrone(found, test, regions)
    chosen = numbers.pop(recipe.protocol)
    named = {"ap": "average_precision", "ap50": "average_precision_50", "ap75": "average_precision_75"}
    out = {name: chosen[key] for key, name in named.items()}
    out |= {f"average_precision_{area}": coco[f"ap_{area}"] for area in ("small", "medium", "large")}
    out["average_recall"] = coco[f"ar_{most[-1]}"]
    out |= {"ap_error": 1 - chosen["ap"], "ap50_error": 1 - chosen["ap50"]}
    for protocol, other in numbers.items():
        out |= {f"{named[key]}_{protocol}": other[key] for key in ("ap", "ap50")}
    return out


def _regions(test: Samples) -> dict[int, np.ndarray]:
    """Regions of every class by image id, left, top, width, height."""
    objects = test.objects
    assert objects is not None
    rows_ = np.flatnonzero(objects.label < 0)
    image = objects.image[rows_]
    return {int(test.ids[i]): objects.box[rows_[image == i]] for i in np.unique(image)}


def _visdrone(found: Detections, test: Samples, regions: Mapping[int, np.ndarray]) -> dict[str, float]:
    objects = test.objects
    assert objects is not None
    own = objects.label >= 0
    truth = GroundTruth.of(
        test.ids[objects.image][own],
        objects.label[own],
        objects.box[own],
        crowd=objects.crowd[own],
        area=objects.area[own],
    )
    size = test.images.shape[1:3]
    truth, found = without_ignored_regions(truth, found, regions, dict.fromkeys(regions, (size[0], size[1])))
    return visdrone_summary(truth, found, test.ids, range(len(test.classes)))


def _of_gaussian(fitted: Mapping[int, Gaussian], ruler: Ruler) -> dict[str, Any]:
    """How well distances could be determined: of several classes the one that is determined worst."""
    return {
        "distance_status": ruler.status,
        "n_population": sum(part.count for part in fitted.values()),
        "dimension": next(iter(fitted.values())).dimension,
        "distance_condition": max((part.condition for part in ruler.measured.values()), default=math.nan),
        "distance_shrinkage": max((part.shrinkage for part in ruler.measured.values()), default=math.nan),
        "distance_expected": max((part.expected for part in ruler.plain.values()), default=math.nan),
    }


def _of_distances(found: Found, distance: np.ndarray, ruler: Ruler, matches: Matches) -> dict[str, float]:
    """Medians of true and false positives at IoU 0.5, and ρ: the median of true ones, unregularised, over expected."""
    right, wrong = matches.correct[0, 0], matches.false[0, 0]
    ratio = np.full(len(found), np.nan)
    for k, measure in ruler.plain.items():
        of_class = found.category == k
        ratio[of_class] = measure(found.feature[of_class]) / measure.expected
    out = {}
    for least in SCORES:
        sure = found.score >= least
        out[f"distance_true_{least}"] = _median(distance[sure & right])
        out[f"distance_false_{least}"] = _median(distance[sure & wrong])
        out[f"rho_{least}"] = _median(ratio[sure & right])
    return out


def _of_closeness(found: Found, distance: np.ndarray, matches: Matches, truth: GroundTruth) -> dict[str, float]:
    """AP_t2t at each least score and between them: of all objects, and (``…_of_true_…``) of the true positives."""
    bands = [(least, math.inf, f"{least}") for least in SCORES]
    bands += [(low, high, f"{low}_to_{high}") for low, high in zip(SCORES, (*SCORES[1:], 1), strict=True)]
    out = {}
    for low, high, name in bands:
        below = math.inf if high == 1 else high
        for kind, of in (("ap_t2t", "ground truth"), ("ap_t2t_of_true", "true positives")):
            values = [_closeness(found, distance, matches, truth, k, low, below, of) for k in np.unique(truth.category)]
            known = [value for value in values if not math.isnan(value)]
            out[f"{kind}_{name}"] = float(np.mean(known)) if known else math.nan
    return out


def _closeness(
    found: Found,
    distance: np.ndarray,
    matches: Matches,
    truth: GroundTruth,
    category: int,
    least: float,
    below: float,
    of: Any,
) -> float:
    here = found.category == category
    if np.isnan(distance[here]).any():
        return math.nan
    return average_precision_t2t(
        distance[here],
        found.score[here],
        matches.correct[0, 0, here],
        int((~matches.uncounted[0] & (truth.category == category)).sum()),
        least,
        below=below,
        normalisation=of,
        ignored=matches.ignored[0, 0, here],
    )


def _of_objects(objects: Objects, away: np.ndarray, matches: Matches) -> dict[str, Any]:
    """The distribution gap (arXiv 2405.15203), read as the mean over true objects; medians of these and those missed.

    ``away (g,)`` is the distance at each object, whether it was found or not.
    """
    counted = ~objects.crowd & (objects.label >= 0)
    hit = np.zeros(len(counted), bool)
    hit[matches.truth[0, 0][matches.correct[0, 0]]] = True
    known = counted & ~np.isnan(away)
    return {
        "distribution_gap": distribution_gap(away[known]) if known.any() else math.nan,
        "n_missed": int((counted & ~hit).sum()),
        "distance_missed": _median(away[counted & ~hit]),
        "distance_objects": _median(away[counted]),
    }


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
