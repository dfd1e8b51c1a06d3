"""What a format cannot carry: refused, or left out and counted. Which one carries what is said in its own module."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from realfake.annotations.checks import Policy
from realfake.annotations.table import NO_CLASS, Annotations
from realfake.sources import DatasetError


def without(
    annotations: Annotations, what: str, *, crowd: bool, ignore: bool, problems: Policy
) -> tuple[Annotations, dict[str, int]]:
    """Return the annotations without crowds and without (other) ignored boxes, and how many there were of each.

    Raises DatasetError if there are any and ``problems`` is "refuse", or if two images share a name but for its suffix:
    they would share a label file.
    """
    stems = [Path(name).with_suffix("").as_posix() for name in annotations.images["file_name"].to_pylist()]
    if len(set(stems)) < len(stems):
        again = sorted({stem for stem in stems if stems.count(stem) > 1})[:5]
        raise DatasetError(f"{what} has one file an image, and {', '.join(again)} names two; give them other names")
    is_crowd = annotations.column("crowd") | (annotations.column("label") == NO_CLASS)
    is_ignored = annotations.column("ignore") & ~is_crowd
    dropped = (is_crowd & crowd) | (is_ignored & ignore)
    counts = {"crowds": int(is_crowd.sum()) * crowd, "ignored boxes": int(is_ignored.sum()) * ignore}
    lost = {reason: count for reason, count in counts.items() if count}
    if lost and problems == "refuse":
        raise DatasetError(
            f"{what} cannot carry {' and '.join(f'{count} {reason}' for reason, count in lost.items())}; write COCO, "
            "or set problems='skip' to leave them out"
        )
    boxes = annotations.boxes.filter(pa.array(np.logical_not(dropped)))
    return Annotations(annotations.images, boxes, annotations.classes, annotations.origin), lost
