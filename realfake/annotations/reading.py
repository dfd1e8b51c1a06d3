"""What the readers of all formats share: rows and problems as they are found, image headers, pairs of files, lines.

Of an image only the header is read, for its size. What is made of the rows is in ``checks``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from realfake.annotations.kinds import what_is
from realfake.folders import IMAGES as IMAGE_SUFFIXES
from realfake.folders import files
from realfake.sources import DatasetError

ORIENTATION = 0x0112  # the EXIF tag: from 5 on the image is seen lying on its side


@dataclass
class Found:
    """What a reader has found so far: rows of images and boxes, problems by kind, and what its rule leaves out."""

    images: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def wrong(self, kind: str, name: str) -> None:
        """Note a problem of a kind that ``checks`` has words for."""
        self.problems.setdefault(kind, []).append(name)


def listed(folder: Path, suffix: str) -> list[Path]:
    """Return the files with a suffix below a folder, or the file itself; raises DatasetError if there is none."""
    found = files(folder, (suffix,)) if folder.exists() else []
    found = [file for file in found if file.name != "classes.txt"]  # LabelImg writes it beside the labels
    if not found:
        raise DatasetError(f"{folder} holds no {suffix} file; name the folder of the annotations")
    return found


def lines_of(found: Found, file: Path, reader: str) -> list[tuple[int, str]] | None:
    """Return the number and text of each line that is not empty; None, and noted, if the file is for another reader."""
    try:
        text = file.read_text("utf-8")
    except (OSError, ValueError):
        text = None
    what, other = what_is(file) if text is None or text.strip() else ("", "")
    if text is None or other not in ("", reader):
        found.wrong("unreadable_files", f"{file.name}: {what}{f', use {other}' if other else ''}")
        return None
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def image_sizes(images: Path, found: Found) -> dict[str, tuple[int, int]]:
    """Return the (width, height) of every image below a folder by its relative name; unreadable ones are noted.

    Raises DatasetError if there is no image.
    """
    sizes = {}
    for file in files(images, IMAGE_SUFFIXES) if images.is_dir() else ():
        name = file.relative_to(images).as_posix()
        if (size := size_of(file)) is None:
            found.wrong("unreadable_images", name)
        else:
            sizes[name] = size
    if not sizes:
        raise DatasetError(f"{images} is no folder with images in it, and box sizes need theirs; name the right one")
    return sizes


def paired(sizes: Mapping[str, tuple[int, int]], labels: Path, suffix: str, found: Found) -> list[tuple[str, Path]]:
    """Return every image's name with its annotation file: the same relative name but for the suffix.

    Images without a file, files without an image, and second images of a file are noted. Raises DatasetError if there
    is no annotation file at all.
    """
    texts = {file.relative_to(labels).with_suffix("").as_posix(): file for file in listed(labels, suffix)}
    pairs, used = [], set()
    for name in sizes:
        stem = str(Path(name).with_suffix("").as_posix())
        if stem in used:
            found.wrong("repeated_images", name)
        elif stem in texts:
            pairs.append((name, texts[stem]))
        elif name not in found.problems.get("unreadable_images", ()):
            found.wrong("missing_labels", name)
        used.add(stem)
    unreadable = {Path(name).with_suffix("").as_posix() for name in found.problems.get("unreadable_images", ())}
    for stem, file in texts.items():
        if stem not in used | unreadable:
            found.wrong("missing_images", file.name)
    return pairs


def from_corners(values: Sequence[float], scale: tuple[float, float] = (1.0, 1.0)) -> dict[str, float]:
    """Return xmin, ymin, xmax, ymax as the columns of a box, each axis times its scale."""
    xmin, ymin, xmax, ymax = map(float, values)
    return {
        **{"x": xmin * scale[0], "y": ymin * scale[1]},
        **{"width": (xmax - xmin) * scale[0], "height": (ymax - ymin) * scale[1]},
    }


def size_of(file: Path) -> tuple[int, int] | None:
    """Return (width, height) of an image as it is seen: a camera held upright notes a turn instead of making it."""
    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ORIENTATION, 1) >= 5
            return (image.height, image.width) if turned else (image.width, image.height)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
