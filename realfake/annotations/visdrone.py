"""VisDrone-DET labels, and the rule by which its toolkit leaves out what lies in ignored regions.

A text file an image, a line a box: ``left,top,width,height,score,category,truncation,occlusion``. A category 0 box is
an ignored region, and a box of score 0 is ignored. The official evaluation has two rules for them, and both are kept:
ignored boxes match any number of detections by the share of the detection they cover (as COCO crowds do: they are
crowds here), and whatever lies by half or more in the regions is left out before (``in_regions``; COCO has no such
rule). Matching and AP are not here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from realfake.annotations.checks import Policy, assemble
from realfake.annotations.reading import Found, image_sizes, lines_of, paired
from realfake.annotations.table import NO_CLASS, Annotations
from realfake.annotations.yolo import Images

CATEGORIES = (
    *("ignored regions", "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle"),
    *("bus", "motor", "others"),
)
CLASSES = CATEGORIES[1:11]
PERSON = {"pedestrian": "person", "people": "person"}
REGION, OTHERS = 0, 11


def read_visdrone(
    images: Images,
    labels: Path,
    *,
    names: Mapping[str, str] | None = PERSON,
    others: Literal["ignore", "drop"] = "ignore",
    sequence: str | None = None,
    problems: Policy = "refuse",
) -> Annotations:
    """Return the boxes of VisDrone-DET, pedestrians and people as one class unless ``names`` says otherwise.

    With names=None there are all ten classes. ``images`` is their folder, or the (width, height) of each by its file
    name. Regions belong to every class; boxes of score 0 are crowds of their class. Objects of category 11 ("others")
    are crowds of every class, or with ``others="drop"`` left out and counted, as in the official evaluation, which
    looks at categories 1 to 10 alone. The official files hold three boxes without a size, a problem like any other.
    Raises DatasetError for problems unless they are to be skipped.
    """
    found = Found()
    sizes = image_sizes(images, found) if isinstance(images, Path) else dict(images)
    for name, file in paired(sizes, labels, ".txt", found):
        stem = file.relative_to(labels).with_suffix("").as_posix()
        if (lines := lines_of(found, file, "read_visdrone")) is None:
            continue
        row = {"id": stem, "file_name": name, "width": sizes[name][0], "height": sizes[name][1], "domain": "visdrone"}
        found.images.append(row)
        for number, line in lines:
            _box(found, line, f"{stem}:{number}", stem, others)
    return assemble(found, CLASSES, str(labels), problems=problems, names=names, sequence=sequence)


def in_regions(boxes: np.ndarray, regions: np.ndarray, width: int, height: int, share: float = 0.5) -> np.ndarray:
    """Return which ``boxes (n, 4)`` lie in the union of ``regions (m, 4)`` by a ``share`` of their area or more.

    The answer is ``(n,)``. All are left, top, width, height in pixels, of one image. As the VisDrone-DET toolkit has
    it (dropObjectsInIgr.m), pixel by pixel: coordinates are rounded half up, at least 1 and counted from 1; a region
    includes its last row and column, a box excludes its first; a box beyond the image is judged by its whole area.
    """
    if not len(boxes) or not len(regions):
        return np.zeros(len(boxes), bool)
    mask = np.zeros((height, width), np.int64)
    for left, top, w, h in np.floor(np.maximum(1, regions)).astype(np.int64):
        mask[top - 1 : min(height, top + h), left - 1 : min(width, left + w)] = 1
    sums = mask.cumsum(0).cumsum(1)
    left, top, w, h = np.maximum(1, np.floor(np.asarray(boxes, np.float64) + 0.5)).astype(np.int64).T
    x, y = np.minimum(width, left), np.minimum(height, top)
    right, bottom = np.minimum(width, x + w), np.minimum(height, y + h)
    covered = sums[y - 1, x - 1] + sums[bottom - 1, right - 1] - sums[y - 1, right - 1] - sums[bottom - 1, x - 1]
    return covered / (h * w) >= share


def drop_in_regions(annotations: Annotations, share: float = 0.5) -> Annotations:
    """Return the annotations without the boxes that lie in ignored regions; the regions themselves stay.

    ``left_out`` counts them. Detections are to be judged by ``in_regions`` in the same way.
    """
    starts, boxes, region = annotations.starts(), annotations.xywh(), annotations.column("region")
    sides = np.stack([annotations.images[name].to_numpy() for name in ("width", "height")], 1)
    dropped = np.zeros(len(boxes), bool)
    for i, (width, height) in enumerate(sides.tolist()):
        rows = slice(starts[i], starts[i + 1])
        of_image = region[rows]
        dropped[rows] = in_regions(boxes[rows], boxes[rows][of_image], width, height, share) & ~of_image
    left_out = {**annotations.left_out, "boxes in ignored regions": int(dropped.sum())}
    kept = annotations.boxes.filter(pa.array(~dropped))
    return Annotations(
        annotations.images, kept, annotations.classes, annotations.origin, annotations.problems, left_out
    )


def _box(found: Found, line: str, name: str, image: str, others: str) -> None:
    values = line.removesuffix(",").split(",")
    try:
        x, y, width, height = map(float, values[:4])
        score, category, truncation, occlusion = map(int, values[4:])
    except ValueError:
        found.wrong("malformed", name)
        return
    if not 0 <= category < len(CATEGORIES):
        found.wrong("wrong_category", f"{name}: {category}")
    elif category == OTHERS and others == "drop":
        found.left_out["boxes of class others"] += 1
    elif not -1 <= min(truncation, occlusion) <= max(truncation, occlusion) <= 127:
        found.wrong("malformed", name)
    else:
        crowd = score == 0 or category in (REGION, OTHERS)
        label = NO_CLASS if category in (REGION, OTHERS) else category - 1
        row = {"image": image, "label": label, "id": name, "source_class": CATEGORIES[category]}
        row |= {"x": x, "y": y, "width": width, "height": height, "truncation": truncation, "occlusion": occlusion}
        found.boxes.append(row | {"crowd": crowd, "ignore": crowd, "region": category == REGION})
