"""YOLO labels, read and written: a text file an image, a line a box, ``class x_center y_center width height``.

All four are shares of the image, so the images, or their sizes, are needed. The format carries neither ignored boxes
nor crowds nor areas: what it cannot carry is refused, or left out and counted. Lines with more than five values
(polygons, key points, scores) are malformed here: which of them they are cannot be told from the line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realfake.annotations.checks import Policy, assemble
from realfake.annotations.losses import without
from realfake.annotations.reading import Found, image_sizes, lines_of, paired
from realfake.annotations.table import Annotations
from realfake.sources import DatasetError
from realfake.store import write_whole

Images = Path | Mapping[str, tuple[int, int]]  # a folder, or the (width, height) of each image by its file name


def read_yolo(
    images: Images,
    labels: Path | None = None,
    *,
    classes: Sequence[str] | Path,
    names: Mapping[str, str] | None = None,
    sequence: str | None = None,
    problems: Policy = "refuse",
    domain: str = "",
) -> Annotations:
    """Return the boxes of a folder of YOLO labels, ``labels/a/b.txt`` for ``images/a/b.jpg``.

    ``images`` is their folder, or the (width, height) of each by its file name; ``labels`` is the sibling folder
    called labels unless given. ``classes`` are names in order, or a file with one a line (``classes.txt``) or with
    ``names`` (``data.yaml``). An empty label file is an image without objects; a missing one is a problem.
    ``names`` and ``sequence`` as in ``read_coco``. Raises DatasetError for problems unless they are to be skipped.
    """
    found = Found()
    sizes = image_sizes(images, found) if isinstance(images, Path) else dict(images)
    folder = labels if labels is not None else _sibling(images)
    known = class_names(classes) if isinstance(classes, Path) else tuple(classes)
    for name, file in paired(sizes, folder, ".txt", found):
        (width, height), stem = sizes[name], file.relative_to(folder).with_suffix("").as_posix()
        if (lines := lines_of(found, file, "read_yolo")) is None:
            continue
        found.images.append({"id": stem, "file_name": name, "width": width, "height": height, "domain": domain})
        for number, line in lines:
            _box(found, line.split(), f"{stem}:{number}", stem, (width, height), len(known))
    return assemble(found, known, str(folder), problems=problems, names=names, sequence=sequence)


def write_yolo(annotations: Annotations, labels: Path, *, problems: Policy = "refuse") -> dict[str, int]:
    """Write one label file an image and ``classes.txt``; return how many boxes were left out, by reason.

    ``read_yolo`` gives the boxes back within 1e-9 pixels. Raises DatasetError for ignored boxes, crowds and regions,
    which the format cannot carry, unless they are to be skipped.
    """
    kept, lost = without(annotations, "YOLO", crowd=True, ignore=True, problems=problems)
    starts, boxes, label = kept.starts(), kept.xywh(), kept.column("label")
    for i, row in enumerate(kept.images.to_pylist()):
        side = (row["width"], row["height"])
        lines = [_line(int(label[j]), boxes[j].tolist(), side) for j in range(starts[i], starts[i + 1])]
        write_whole(labels / Path(row["file_name"]).with_suffix(".txt"), "".join(lines))
    write_whole(labels / "classes.txt", "".join(f"{name}\n" for name in kept.classes))
    return lost


def class_names(path: Path) -> tuple[str, ...]:
    """Return the class names of a file with one a line, or of a YAML file's ``names`` (a list, or by number).

    Raises DatasetError if it has none.
    """
    try:
        text = path.read_text("utf-8")
        if path.suffix.lower() not in (".yaml", ".yml"):
            names: Any = [line.strip() for line in text.splitlines() if line.strip()]
        else:
            names = _yaml_names(text)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read for class names ({error}); give classes=(…) instead") from None
    if not names:
        raise DatasetError(f"{path} has no class names in it; give classes=(…) instead")
    return tuple(map(str, names))


# --------------------------------------------------------------------------------------------------------------- parts


def _yaml_names(text: str) -> list[Any]:
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise ValueError("the numbers of its names are not 0, 1, 2, …")
        names = [names[i] for i in range(len(names))]
    return names if isinstance(names, list) else []


def _sibling(images: Images) -> Path:
    if not isinstance(images, Path):
        raise DatasetError("read_yolo was given sizes and no folder of labels; write labels=Path('DIR')")
    parts = images.absolute().parts
    if "images" not in parts:
        raise DatasetError(f"{images} has no 'images' in its path to put 'labels' for; write labels=Path('DIR')")
    at = len(parts) - 1 - parts[::-1].index("images")
    return Path(*parts[:at], "labels", *parts[at + 1 :])


def _box(found: Found, values: list[str], name: str, image: str, side: tuple[int, int], classes: int) -> None:
    try:
        label, x, y, width, height = (float(value) for value in values)
    except ValueError:
        found.wrong("malformed", f"{name}: {len(values)} values")
        return
    if max(abs(x), abs(y), width, height) > 2:
        found.wrong("malformed", f"{name}: pixels, not shares")
    elif not label.is_integer() or not 0 <= label < classes:
        found.wrong("wrong_category", f"{name}: {label:g}")
    else:
        w, h = width * side[0], height * side[1]
        place = {"x": x * side[0] - w / 2, "y": y * side[1] - h / 2, "width": w, "height": h}
        found.boxes.append({"image": image, "label": int(label), "id": name, **place})


def _line(label: int, box: list[float], side: tuple[int, int]) -> str:
    x, y, width, height = box
    shares = ((x + width / 2) / side[0], (y + height / 2) / side[1], width / side[0], height / side[1])
    return f"{label} {' '.join(map(repr, shares))}\n"
