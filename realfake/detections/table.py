"""Detections as a table, one row each, with what each of them found. The matching itself is in `matching`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from realfake.detections.boxes import Detections, GroundTruth
from realfake.detections.matching import Matches, overlap
from realfake.laws import Array


def schema(thresholds: Sequence[float] | Array) -> pa.Schema:
    """Return the columns of `rows`: those that depend on the IoU threshold are lists, one item a threshold."""
    t = len(thresholds)
    fields = [
        pa.field("image", pa.int64()),
        pa.field("category", pa.int64()),
        pa.field("box", _list(pa.float64(), 4)),  # left, top, width, height in pixels
        pa.field("score", pa.float64()),
        pa.field("area", pa.float64()),  # of the box, pixels²
        pa.field("rank", pa.int64()),  # by score, from 0, among those it was counted with
        pa.field("matched", _list(pa.bool_(), t)),  # found an object; correct if not ignored as well
        pa.field("ignored", _list(pa.bool_(), t)),  # counts neither as correct nor as false
        pa.field("truth", _list(pa.int32(), t)),  # row of the true object; null where none
        pa.field("iou", _list(pa.float64(), t)),  # with that object (share inside, for a crowd); null where none
    ]
    return pa.schema(fields, metadata={"iou_thresholds": " ".join(f"{float(level):.10g}" for level in thresholds)})


def rows(truth: GroundTruth, found: Detections, matches: Matches, *, area: str = "all") -> pa.Table:
    """Return one row a detection, in the order given, by `schema`: ready for Parquet.

    Flags are those of the area range named. Raises ValueError for a range that was not matched.
    """
    if area not in matches.areas:
        raise ValueError(f"no area range {area!r} was matched; name one of {', '.join(matches.areas)}")
    chosen, ignored = matches.truth[matches.areas.index(area)].T, matches.ignored[matches.areas.index(area)].T
    hit, shared = chosen >= 0, np.full(chosen.shape, np.nan)
    true = chosen[hit]
    shared[hit] = overlap(found.box[np.nonzero(hit)[0]], truth.box[true], truth.crowd[true])
    wanted = schema(matches.thresholds)
    flat = (found.image, found.category, found.box.ravel(), found.score, found.area, matches.rank)
    lists = (
        pa.array(hit.ravel()),
        pa.array(ignored.ravel()),
        *(pa.array(x.ravel(), mask=~hit.ravel()) for x in (chosen, shared)),
    )
    return pa.table(
        [_column(field.type, values) for field, values in zip(wanted, (*flat, *lists), strict=True)], wanted
    )


def _list(kind: pa.DataType, length: int) -> pa.DataType:
    return pa.list_(pa.field("element", kind), length)  # the name that Parquet gives items when it is read back


def _column(kind: pa.DataType, values: Array | pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values), type=kind)
    return pa.array(values, kind)
