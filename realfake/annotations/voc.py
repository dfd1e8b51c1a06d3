"""Pascal VOC XML, read and written: one file an image, corners of boxes in it.

Two readings of the corners are about. The VOC development kit counts pixels from 1 and its box includes the last one
("pixels": x = xmin − 1, width = xmax − xmin + 1). LabelImg and most tools after it write edges counted from 0
("edges": x = xmin, width = xmax − xmin). Nothing in a file says which; the caller does. ``difficult`` is ignore.
The format carries neither crowds nor regions nor areas, and of grades only yes and no.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from realfake.annotations.checks import Policy, assemble
from realfake.annotations.kinds import what_is
from realfake.annotations.losses import without
from realfake.annotations.reading import Found, listed
from realfake.annotations.table import NOT_STATED, Annotations
from realfake.folders import IMAGES as IMAGE_SUFFIXES
from realfake.folders import files
from realfake.sources import DatasetError
from realfake.store import write_whole

Corners = Literal["pixels", "edges"]
FLAGS = {"truncated": "truncation", "occluded": "occlusion"}


def read_voc(
    annotations: Path,
    *,
    images: Path | None = None,
    corners: Corners = "pixels",
    names: Mapping[str, str] | str | None = None,
    stems: Sequence[str] | None = None,
    sequence: str | None = None,
    problems: Policy = "refuse",
    domain: str = "",
) -> Annotations:
    """Return the boxes of a folder of VOC XML files.

    ``corners`` says how to read them, see the top of this module. ``images`` is the folder of the images, found by the
    name of the XML file whatever their suffix and its case; an XML file that states no size takes that of its image.
    ``names`` maps class names to the ones wanted, or is the one class that all of them are. ``stems`` are the files
    wanted, as ImageSets/Main lists them. ``sequence`` as in ``read_coco``; boxes of ``<part>`` are passed over.
    Raises DatasetError for problems unless they are to be skipped.
    """
    found = Found()
    texts = {file.relative_to(annotations).with_suffix("").as_posix(): file for file in listed(annotations, ".xml")}
    pictures = _pictures(images)
    for stem in texts if stems is None else dict.fromkeys(stems):
        if stem not in texts:
            found.wrong("missing_labels", stem)
        elif (root := _root(found, texts[stem])) is not None:
            _file(found, root, stem, pictures.get(stem.lower()), corners, domain)
    unlabelled = pictures.keys() - {stem.lower() for stem in texts} if stems is None else ()
    for stem in sorted(unlabelled):
        found.wrong("missing_labels", pictures[stem])
    classes = sorted({box["label"] for box in found.boxes} | set(names if isinstance(names, Mapping) else ()))
    for box in found.boxes:
        box["label"] = classes.index(box["label"])
    wanted = dict.fromkeys(classes, names) if isinstance(names, str) else names
    return assemble(
        *(found, classes, str(annotations)), problems=problems, names=wanted, sequence=sequence, images=images
    )


def write_voc(
    annotations: Annotations, folder: Path, *, corners: Corners = "pixels", problems: Policy = "refuse"
) -> dict[str, int]:
    """Write one XML file an image; return how many boxes were left out, by reason.

    ``read_voc`` with the same ``corners`` gives boxes of whole pixels back exactly, others within 1e-9 pixels.
    Raises DatasetError for crowds and regions, which the format cannot carry, unless they are to be skipped.
    """
    kept, lost = without(annotations, "Pascal VOC", crowd=True, ignore=False, problems=problems)
    starts, boxes = kept.starts(), kept.boxes.to_pylist()
    for i, row in enumerate(kept.images.to_pylist()):
        root = ElementTree.Element("annotation")
        _put(root, "filename", row["file_name"])
        size = ElementTree.SubElement(root, "size")
        _put(size, "width", row["width"])
        _put(size, "height", row["height"])
        for box in boxes[starts[i] : starts[i + 1]]:
            _object(root, box, kept.classes[box["label"]], corners)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        write_whole(folder / Path(row["file_name"]).with_suffix(".xml"), text + "\n")
    return lost


# ------------------------------------------------------------------------------------------------------------- reading


def _pictures(images: Path | None) -> dict[str, str]:
    """Return the relative name of every image by its name without suffix, in lower case."""
    if images is None:
        return {}
    there = [file.relative_to(images) for file in files(images, IMAGE_SUFFIXES)] if images.is_dir() else []
    if not there:
        raise DatasetError(f"{images} is no folder with images in it; name the right one, or leave images out")
    return {file.with_suffix("").as_posix().lower(): file.as_posix() for file in there}


def _root(found: Found, file: Path) -> ElementTree.Element | None:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        found.wrong("unreadable_files", f"{file.name}: {what_is(file)[0]}, {error}")
        return None
    if root.tag != "annotation" or root.find("object/polygon") is not None:
        found.wrong("unreadable_files", f"{file.name}: {what_is(file)[0]}, not Pascal VOC XML")
        return None
    return root


def _file(
    found: Found, root: ElementTree.Element, stem: str, picture: str | None, corners: Corners, domain: str
) -> None:
    stated = Path((root.findtext("filename") or "").strip())
    name = picture or str(Path(stem).with_suffix(stated.suffix or ".jpg").as_posix())
    row: dict[str, Any] = {"id": stem, "file_name": name, "domain": domain}
    found.images.append(row | {side: _whole(root.findtext(f"size/{side}")) for side in ("width", "height")})
    for number, element in enumerate(root.findall("object"), 1):
        box = _box(found, element, f"{stem}:{number}", corners)
        if box is not None:
            found.boxes.append({"image": stem, **box})


def _whole(text: str | None) -> int:
    """Return a side of an image in pixels, 0 where none is stated."""
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0


def _box(found: Found, element: ElementTree.Element, name: str, corners: Corners) -> dict[str, Any] | None:
    label = (element.findtext("name") or "").strip()
    try:
        xmin, ymin, xmax, ymax = (float(element.findtext(f"bndbox/{key}", "")) for key in _keys())
        flags = {column: _flag(element, tag) for tag, column in FLAGS.items()}
        ignore = _flag(element, "difficult") > 0
    except ValueError:
        found.wrong("malformed", name)
        return None
    if not label:
        found.wrong("wrong_category", f"{name}: no name")
        return None
    one = 1.0 if corners == "pixels" else 0.0
    place = {"x": xmin - one, "y": ymin - one, "width": xmax - xmin + one, "height": ymax - ymin + one}
    return {"label": label, "id": name, "ignore": ignore, **place, **flags}


def _flag(element: ElementTree.Element, tag: str) -> int:
    """Return a grade, NOT_STATED where there is none; raises ValueError if it is no whole number of one byte."""
    grade = int((element.findtext(tag) or "").strip() or NOT_STATED)
    if not NOT_STATED <= grade <= 127:
        raise ValueError(tag)
    return grade


def _keys() -> tuple[str, str, str, str]:
    return "xmin", "ymin", "xmax", "ymax"


# ------------------------------------------------------------------------------------------------------------- writing


def _object(root: ElementTree.Element, box: dict[str, Any], label: str, corners: Corners) -> None:
    element = ElementTree.SubElement(root, "object")
    _put(element, "name", label)
    for tag, column in FLAGS.items():
        if box[column] >= 0:
            _put(element, tag, int(box[column] > 0))
    _put(element, "difficult", int(box["ignore"]))
    place = ElementTree.SubElement(element, "bndbox")
    one = 1.0 if corners == "pixels" else 0.0
    right, bottom = box["x"] + box["width"], box["y"] + box["height"]
    for key, value in zip(_keys(), (box["x"] + one, box["y"] + one, right, bottom), strict=True):
        _put(place, key, int(value) if value == int(value) else repr(value))


def _put(parent: ElementTree.Element, tag: str, value: Any) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)
