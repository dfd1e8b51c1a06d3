"""Detections against true objects: what found what, and average precision.

`boxes` holds the arrays and their checks, `matching` COCO's matching, `precision` the average precision that follows,
`visdrone` the same by VisDrone's own protocol, `library` by faster-coco-eval (the numbers to report), and `table` the
detections as rows for Parquet. Not here: reading boxes from files, and the model that makes them.
"""

from realfake.detections.boxes import Detections, GroundTruth
from realfake.detections.library import coco_format, headline
from realfake.detections.matching import AREAS, IOU_THRESHOLDS, Matches, match, overlap
from realfake.detections.precision import (
    RECALLS,
    Accumulated,
    accumulate,
    all_points,
    coco_summary,
    interpolated,
    precision_recall,
    summary,
)
from realfake.detections.table import rows, schema
from realfake.detections.visdrone import outside_regions, visdrone_summary, without_ignored_regions

__all__ = [
    "AREAS",
    "IOU_THRESHOLDS",
    "RECALLS",
    "Accumulated",
    "Detections",
    "GroundTruth",
    "Matches",
    "accumulate",
    "all_points",
    "coco_format",
    "coco_summary",
    "headline",
    "interpolated",
    "match",
    "outside_regions",
    "overlap",
    "precision_recall",
    "rows",
    "schema",
    "summary",
    "visdrone_summary",
    "without_ignored_regions",
]
