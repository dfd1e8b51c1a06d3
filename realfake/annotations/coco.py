"""COCO JSON, read and written (format: https://cocodataset.org/#format-data).

What COCO has no key for (domain, sequence, frame, grades of occlusion, ids that are not numbers) is written under keys
of our own that other readers pass over. Masks, key points and captions are not read; a mask's area is kept. A region
that belongs to every class is written as one crowd box a class, which is how COCO's own evaluation understands it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realfake.annotations.checks import Policy, assemble
from realfake.annotations.kinds import not_a
from realfake.annotations.reading import Found
from realfake.annotations.table import NO_CLASS, NOT_STATED, Annotations
from realfake.sources import DatasetError
from realfake.store import write_whole

WRONG = (AttributeError, KeyError, TypeError, ValueError, OverflowError)
KEPT = {"truncation": NOT_STATED, "occlusion": NOT_STATED}  # keys of our own, written unless they say nothing


def read_coco(
    path: Path,
    *,
    images: Path | None = None,
    names: Mapping[str, str] | None = None,
    sequence: str | None = None,
    problems: Policy = "refuse",
) -> Annotations:
    """Return the boxes of a COCO JSON file.

    Classes are the categories in the order of their ids, which may have gaps; ``names`` maps some of them to the
    classes wanted ({"pedestrian": "person"}). ``images`` is the folder to look for the images in (not looked for
    unless given), ``sequence`` a regular expression whose first group, in the file name, is the sequence (else the key
    ``sequence_id``). A box with ``iscrowd`` is a crowd; one with ``ignore`` alone is ignored here, though not by
    pycocotools, which overwrites that key.
    Raises DatasetError if the file is not COCO JSON, and for problems unless they are to be skipped.
    """
    content = _loaded(path)
    found = Found()
    own: dict[Any, str] = {}
    for image in content["images"]:
        _image(found, image, own)
    ids = _categories(path, content["categories"])
    for box in content["annotations"]:
        _box(found, box, own, {number: label for label, number in enumerate(ids)})
    return assemble(
        found, tuple(ids.values()), str(path), problems=problems, names=names, sequence=sequence, images=images
    )


def write_coco(annotations: Annotations, path: Path) -> None:
    """Write COCO JSON; ``read_coco`` gives the same tables back, exactly."""
    images = annotations.images.to_pylist()
    numbers = _numbers([row["id"] for row in images])
    categories = [{"id": i, "name": name} for i, name in enumerate(annotations.classes, 1)]
    content = {
        "images": [_image_keys(row, number) for row, number in zip(images, numbers, strict=True)],
        "annotations": _box_keys(annotations, numbers),
        "categories": categories,
    }
    write_whole(path, json.dumps(content, allow_nan=False))


# ------------------------------------------------------------------------------------------------------------- reading


def _loaded(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); name a COCO JSON file") from None
    except ValueError as error:
        raise not_a(path, "COCO JSON", str(error)) from None
    missing = [
        key
        for key in ("images", "annotations", "categories")
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        raise not_a(path, "COCO JSON", f"it has no list of {' or '.join(missing)}")
    return content


def _categories(path: Path, categories: list[Any]) -> dict[int, str]:
    try:
        ids = dict(sorted((category["id"], str(category["name"])) for category in categories))
    except (KeyError, TypeError):
        raise DatasetError(f"{path}: a category has no number as id, or no name; give every one both") from None
    if len(ids) < len(categories) or len(set(ids.values())) < len(ids):
        raise DatasetError(f"{path}: two categories have one id or one name; give every one its own")
    return ids


def _image(found: Found, image: Any, own: dict[Any, str]) -> None:
    """Add the row of an image, and to ``own`` the id we give it for the id that its boxes name."""
    try:
        row: dict[str, Any] = {"id": str(image.get("source_id", image["id"])), "file_name": str(image["file_name"])}
        row |= {side: int(image.get(side) or 0) for side in ("width", "height")}
        row |= {"sequence": _or_none(str, image.get("sequence_id")), "frame": _or_none(int, image.get("frame"))}
        own[image["id"]] = row["id"]
    except WRONG:
        found.wrong("malformed", f"image {_name(image)}")
    else:
        found.images.append(row | {"domain": str(image.get("domain", ""))})


def _or_none(kind: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else kind(value)


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(value)
    return bool(value)


def _grade(value: Any) -> int:
    """Return a grade of one byte; raises ValueError if it is none."""
    if not NOT_STATED <= int(value) <= 127:
        raise ValueError(value)
    return int(value)


def _name(row: Any) -> str:
    return str(row.get("id", "without an id")) if isinstance(row, dict) else repr(row)


def _box(found: Found, box: Any, own: dict[Any, str], labels: dict[int, int]) -> None:
    try:
        x, y, width, height = map(float, box["bbox"])
        crowd = _flag(box.get("iscrowd", 0))
        row = {
            **{"id": str(box.get("source_id", box["id"])), "image": own.get(box["image_id"], "")},
            **{"label": labels.get(box["category_id"]), "source_class": _or_none(str, box.get("source_class"))},
            **{"x": x, "y": y, "width": width, "height": height, "area": _or_none(float, box.get("area"))},
            **{"crowd": crowd, "ignore": crowd or _flag(box.get("ignore", 0)), "region": _flag(box.get("region", 0))},
            **{key: _grade(box.get(key, empty)) for key, empty in KEPT.items()},
        }
    except WRONG:
        found.wrong("malformed", f"annotation {_name(box)}")
        return
    if row["label"] is None:
        found.wrong("wrong_category", f"{row['id']}: {box['category_id']}")
    elif box.get("every_class"):
        found.boxes += [row | {"label": NO_CLASS}] if row["label"] == 0 else []  # the first copy says it all
    else:
        found.boxes.append(row)


# ------------------------------------------------------------------------------------------------------------- writing


def _numbers(ids: Sequence[str]) -> list[int]:
    """Return the ids as whole numbers where all of them are such and differ, else 1, 2, …"""
    if all(name.isascii() and name.isdigit() and str(int(name)) == name for name in ids) and len(set(ids)) == len(ids):
        return [int(name) for name in ids]
    return list(range(1, len(ids) + 1))


def _image_keys(row: dict[str, Any], number: int) -> dict[str, Any]:
    keys = {"id": number, "file_name": row["file_name"], "width": row["width"], "height": row["height"]}
    extra = {"domain": row["domain"] or None, "sequence_id": row["sequence"], "frame": row["frame"]}
    extra["source_id"] = row["id"] if row["id"] != str(number) else None
    return keys | {key: value for key, value in extra.items() if value is not None}


def _box_keys(annotations: Annotations, images: list[int]) -> list[dict[str, Any]]:
    rows = annotations.boxes.to_pylist()
    copies = [max(1, len(annotations.classes)) if row["label"] == NO_CLASS else 1 for row in rows]
    ids = [row["id"] for row in rows]
    numbers = _numbers(ids) if sum(copies) == len(rows) else []
    firsts = numbers or (np.cumsum([1, *copies[:-1]]).tolist() if rows else [])
    return [
        _one_box(row, first + copy, images[row["image"]], annotations.classes, copy)
        for row, first, times in zip(rows, firsts, copies, strict=True)
        for copy in range(times)
    ]


def _one_box(row: dict[str, Any], number: int, image: int, classes: tuple[str, ...], copy: int) -> dict[str, Any]:
    """Return the annotation of a box; of a region of every class, the copy for class ``copy``."""
    every = row["label"] == NO_CLASS
    label = copy if every else row["label"]
    keys: dict[str, Any] = {"id": number, "image_id": image, "category_id": label + 1}
    keys["bbox"] = [row["x"], row["y"], row["width"], row["height"]]
    keys |= {"area": row["area"], "iscrowd": int(row["crowd"]), "ignore": int(row["ignore"])}
    extra = {key: row[key] for key, empty in KEPT.items() if row[key] != empty}
    if row["source_class"] != ("" if every else classes[label]):
        extra["source_class"] = row["source_class"]
    if row["id"] != str(number) or every:
        extra["source_id"] = row["id"]
    flags = {key: True for key, stands in (("every_class", every), ("region", row["region"])) if stands}
    return keys | extra | flags
