"""What is wrong with annotations: boxes judged, problems counted and named, refused or left out.

A reader collects rows and problems (``Found``) and hands them to ``assemble``. Nothing is dropped silently: what is
wrong is refused, or with ``problems="skip"`` left out (a box that sticks out is trimmed instead), counted and named in
the result; what a stated rule leaves out is counted in ``left_out``. Files are read in ``reading`` and in the modules
of the formats; whether the pixels of an image can be decoded is judged nowhere here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from realfake.annotations.reading import Found, size_of
from realfake.annotations.table import BOXES, IMAGES, NO_CLASS, Annotations, to_columns
from realfake.sources import DatasetError

Policy = Literal["refuse", "skip"]
TOLERANCE = 0.1  # pixels: six decimals of a share of 6,000 pixels are wrong by 0.01
SMALLEST = 1.0  # pixels a side
SAID = {
    "unreadable_files": ("annotation file that cannot be read", "annotation files that cannot be read"),
    "malformed": ("row that is not in the format", "rows that are not in the format"),
    "missing_images": ("annotation whose image is missing", "annotations whose image is missing"),
    "missing_labels": ("image without an annotation file", "images without an annotation file"),
    "unreadable_images": ("unreadable image", "unreadable images"),
    "no_image_size": ("image of unknown size", "images of unknown size"),
    "wrong_image_size": ("image of another size than stated", "images of another size than stated"),
    "repeated_images": ("image listed again", "images listed again"),
    "no_sequence": ("image of which no sequence can be told", "images of which no sequence can be told"),
    "unknown_images": ("box of an image that is not listed", "boxes of images that are not listed"),
    "wrong_category": ("box of an unknown category", "boxes of unknown categories"),
    "no_size": ("box without a positive size", "boxes without a positive size"),
    "outside": ("box outside its image", "boxes outside their image"),
    "sticking_out": ("box that sticks out of its image", "boxes that stick out of their image"),
    "under_a_pixel": ("box of less than a pixel", "boxes of less than a pixel"),
    "repeated_boxes": ("box that is there twice", "boxes that are there twice"),
    "empty_classes": ("class without a box", "classes without a box"),
}


def assemble(
    found: Found,
    classes: Sequence[str],
    origin: str,
    *,
    problems: Policy,
    names: Mapping[str, str] | None = None,
    sequence: str | None = None,
    images: Path | None = None,
) -> Annotations:
    """Return what a reader found as checked tables.

    Rows of boxes name their class in ``label`` (an index in ``classes``) or NO_CLASS. ``names`` maps classes to the
    ones wanted and leaves the others out; ``sequence`` is a regular expression whose first group, in the file name,
    is the sequence; ``images`` is the folder in which every image must be, with the size that is stated.
    Raises DatasetError for problems unless they are to be skipped, and if no image is left.
    """
    _sequences(found, sequence)
    kept = _usable_images(found, images)
    columns = to_columns(_boxes_of(found, kept), BOXES)
    rows, columns = _judge(found, columns, kept)
    columns, wanted = _renamed(found, {name: column[rows] for name, column in columns.items()}, classes, names)
    boxes = pa.table({name: columns[name] for name in BOXES.names}, schema=BOXES)
    seen = set(columns["label"][~columns["ignore"]].tolist())
    if names is not None or not seen:
        found.problems["empty_classes"] = [name for label, name in enumerate(wanted) if label not in seen]
    noted = {kind: tuple(found.problems[kind]) for kind in SAID if found.problems.get(kind)}
    if noted and problems == "refuse":
        raise DatasetError(
            f"{origin}: {'; '.join(in_words(noted))}; mend them, or read with problems='skip' to leave them out "
            "(or trimmed to the image) and have them counted"
        )
    if not kept:
        raise DatasetError(
            f"{origin} has no usable image ({'; '.join(in_words(noted)) or 'none is listed'}); give another"
        )
    table = pa.table(to_columns(kept, IMAGES), schema=IMAGES)
    return Annotations(table, boxes, wanted, origin, noted, dict(found.left_out))


def in_words(problems: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what is wrong, counted and with the first five names: '2 unreadable images (a.png, b.png)'."""
    return [
        f"{len(names)} {SAID[kind][len(names) != 1]} ({', '.join(names[:5])}{', …' * (len(names) > 5)})"
        for kind, names in problems.items()
        if names
    ]


# -------------------------------------------------------------------------------------------------------------- images


def _sequences(found: Found, pattern: str | None) -> None:
    for row in found.images if pattern else ():
        match = re.search(str(pattern), row["file_name"])
        if match is None:
            found.wrong("no_sequence", row["file_name"])
        row["sequence"] = match.group(1) if match else None


def _usable_images(found: Found, folder: Path | None) -> list[dict[str, Any]]:
    """Return the rows of images that are listed once and have a size, and that of their file where there is one."""
    kept: dict[str, dict[str, Any]] = {}
    for row in found.images:
        stated = (row.get("width") or 0, row.get("height") or 0)
        size = _file_size(found, folder / row["file_name"]) if folder else stated
        if row["id"] in kept:
            found.wrong("repeated_images", row["id"])
        elif size is None:
            continue
        elif abs(row.get("frame") or 0) >= 1 << 63:
            found.wrong("malformed", f"{row['file_name']}: frame {row['frame']}")
        elif not 0 < min(size) <= max(size) < 1 << 31:
            found.wrong("no_image_size", row["file_name"])
        elif min(stated) > 0 and size != stated:
            found.wrong("wrong_image_size", f"{row['file_name']}: {size[0]}×{size[1]}, not {stated[0]}×{stated[1]}")
        else:
            kept[row["id"]] = {**row, "width": size[0], "height": size[1]}
    return list(kept.values())


def _file_size(found: Found, file: Path) -> tuple[int, int] | None:
    if not file.is_file():
        found.wrong("missing_images", str(file.name))
        return None
    if (size := size_of(file)) is None:
        found.wrong("unreadable_images", str(file.name))
    return size


# --------------------------------------------------------------------------------------------------------------- boxes


def _boxes_of(found: Found, kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the boxes of usable images, ``image`` now the row of the image; boxes of no listed image are noted."""
    rows = {row["id"]: i for i, row in enumerate(kept)}
    listed = {row["id"] for row in found.images}
    boxes = []
    for box in found.boxes:
        if box["image"] in rows:
            boxes.append({**box, "image": rows[box["image"]]})
        elif box["image"] in listed:
            found.left_out["boxes of images left out"] += 1
        else:
            found.wrong("unknown_images", box["id"])
    return sorted(boxes, key=lambda box: box["image"])  # stable: in an image they stay in the source's order


def _judge(
    found: Found, columns: dict[str, Any], images: list[dict[str, Any]]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return which boxes ``(usable,)`` are usable, and the columns of all with boxes trimmed to their image."""
    arrays = {name: np.array(column, _dtype(name)) for name, column in columns.items()}
    ids, low = arrays["id"], np.stack([arrays["x"], arrays["y"]], 1)
    size = np.stack([arrays["width"], arrays["height"]], 1)
    side = np.array([(row["width"], row["height"]) for row in images], np.float64).reshape(-1, 2)[arrays["image"]]
    sized = (np.isfinite(low) & np.isfinite(size) & (size > 0)).all(1)
    first = low.clip(min=0)
    with np.errstate(all="ignore"):
        last = np.minimum(low + size, side)
        beyond = np.maximum(-low, low + size - side).max(1, initial=0)
    inside = sized & (last > first).all(1)
    trimmed = np.where((beyond > 0)[:, None], last - first, size)  # others keep every bit
    large = inside & (trimmed >= SMALLEST).all(1)
    arrays["area"] = _areas(arrays["area"], size, trimmed)
    arrays["x"], arrays["y"] = np.where((beyond > 0)[:, None], first, low).T
    arrays["width"], arrays["height"] = trimmed.T
    again = _repeated(arrays) & large
    _note(found, "no_size", ids[~sized])
    _note(found, "outside", ids[sized & ~inside])
    _note(found, "sticking_out", ids[inside & (beyond > TOLERANCE)])
    _note(found, "under_a_pixel", ids[inside & ~large])
    _note(found, "repeated_boxes", ids[again])
    return np.flatnonzero(large & ~again), arrays


def _areas(stated: np.ndarray, size: np.ndarray, trimmed: np.ndarray) -> np.ndarray:
    """Return the areas ``(boxes,)``: as stated where it is finite, in proportion for a mask cut with its box."""
    with np.errstate(all="ignore"):  # of boxes that are not usable anyway
        whole, left = size.prod(1), trimmed.prod(1)
        cut = np.where(whole == left, stated, stated * left / whole)
    return np.where(np.isfinite(stated) & (stated != whole), cut, left)


def _dtype(name: str) -> Any:
    kind = BOXES.field(name).type
    return object if pa.types.is_string(kind) else kind.to_pandas_dtype()


def _note(found: Found, kind: str, names: Iterable[str]) -> None:
    for name in names:
        found.wrong(kind, str(name))


def _repeated(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return which boxes ``(boxes,)`` equal an earlier one in image, class, place and flags."""
    keys = [arrays[name] for name in ("height", "width", "y", "x", "crowd", "ignore", "label", "image")]
    order = np.lexsort(keys)  # stable, so the first of equal ones stays first
    same = np.all([key[order][1:] == key[order][:-1] for key in keys], 0)
    again = np.zeros(len(order), bool)
    again[order[1:]] = same
    return again


def _renamed(
    found: Found, columns: dict[str, np.ndarray], classes: Sequence[str], names: Mapping[str, str] | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the columns with the labels of the classes wanted, and those; boxes of other classes are counted."""
    source = np.array([*classes, ""], object)[columns["label"]]  # NO_CLASS is the last: no name
    columns["source_class"] = np.where(
        [given is None for given in columns["source_class"]], source, columns["source_class"]
    )
    if names is None:
        return columns, tuple(classes)
    wanted = tuple(dict.fromkeys(names.values()))
    new = np.array([wanted.index(names[name]) if name in names else -2 for name in classes] + [NO_CLASS], np.int32)
    labels = new[columns["label"]]
    found.left_out.update(f"boxes of class {name}" for name in source[labels == -2])
    columns["label"] = labels
    return {name: column[labels != -2] for name, column in columns.items()}, wanted
