"""Train2test distances that may be compared between training sets of unequal size: at equal counts, and relative.

A raw distance falls as training detections become more, whatever they show (``representation.mahalanobis``, expected
distance). Raw distances and ρ are in ``detection_measures``; which measures are safe is said in ``realfake.measures``.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from realfake.detections import Matches
from realfake.measures import COUNTS, KINDS, SCORES, SURE
from realfake.representation.distances import at_equal_counts
from realfake.representation.mahalanobis import Switches
from realfake.spec import DistanceRule
from realfake.tasks.keeping import Found

CUTS = 10  # of the training detections, whose distances are averaged where there are more than the count


def of_equal_counts(
    found: Found, sample: Mapping[int, np.ndarray], rule: DistanceRule, matches: Matches
) -> dict[str, float]:
    """Medians to Gaussians of so many training detections of each class, ``CUTS`` cuts of them averaged.

    NaN where a class has fewer, and where so few cannot give a covariance (≤ d + 2) without regularisation.
    """
    kinds, sure, out = (matches.correct[0, 0], matches.false[0, 0]), found.score >= SURE, {}
    for count in COUNTS:
        away = np.full(len(found), np.nan)
        for k in np.unique(found.category[sure]).tolist():
            here = np.flatnonzero(sure & (found.category == k))
            away[here] = _at_count(sample.get(k), found.feature[here], count, rule)
        for kind, which in zip(KINDS, kinds, strict=True):
            out[f"distance_{kind}_{SURE}_at_{count}"] = _median(away[sure & which])
    return out


def _at_count(rows: np.ndarray | None, feature: np.ndarray, count: int, rule: DistanceRule) -> np.ndarray | float:
    if rows is None or len(rows) < count or count <= rows.shape[1] + 2:
        return math.nan
    switches = Switches(rule.squared, rule.covariance, ridge=rule.ridge)
    try:
        return at_equal_counts({"": rows}, feature, count=count, repeats=CUTS, switches=switches)[""]
    except ValueError:  # some features are equal in all of a cut
        return math.nan


def true_medians(table: pa.Table) -> dict[str, float]:
    """Return ``distance_true_…`` once more, from the rows of a look."""
    score, distance = (table[name].to_numpy(zero_copy_only=False).astype(float) for name in ("score", "distance"))
    matched, ignored = (_at_lowest_iou(table[name]) for name in ("matched", "ignored"))
    right = matched & ~ignored & ~np.isnan(distance)
    return {f"distance_true_{least}": _median(distance[(score >= least) & right]) for least in SCORES}


def _at_lowest_iou(column: Any) -> np.ndarray:
    flags = column.combine_chunks()
    return flags.flatten().to_numpy(zero_copy_only=False)[:: flags.type.list_size].astype(bool)


def relative_to(home: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, float]:
    """Return distances over the median of true positives in the trained domain's own test set, at the same score.

    Both are measured by one Gaussian, so the factor that its few detections put on any distance cancels.
    """
    return {
        f"distance_{kind}_{least}_relative": numbers[f"distance_{kind}_{least}"]
        / (home[f"distance_true_{least}"] or math.nan)
        for kind in KINDS
        for least in SCORES
    }


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan
