"""The user's own images with boxes into the store: read, fitted whole into a square, and their boxes with them.

Where the annotations and images of a split are is in ``layouts``, geometry in ``pictures``, writing in ``boxed``. What
is wrong is left out and named here, and refused in ``datasets`` unless it is to be skipped.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from realfake.annotations import Annotations
from realfake.boxed import NO_GROUP, Row, write_rows
from realfake.layouts import BoxedSource
from realfake.layouts.parts import Part
from realfake.pictures import UNREADABLE, all_grey, fitted, pixel_digest, scale, upright
from realfake.sources import DatasetError
from realfake.spec import Dataset

SMALLEST = 1.0  # pixels a side, after fitting


def write_files(dataset: Dataset, source: BoxedSource, folder: Path, problems: dict[str, Any]) -> dict[str, Any]:
    """Write a split of files with boxes into a folder, and return the facts of its record; fill ``problems``.

    Facts beside those of ``datasets.import_dataset``: ``n_objects``; ``counts`` are objects of each class that are to
    be found, ``n_crowds`` those that neither count when found nor when missed, ``n_without_objects`` images. Problems
    besides: those of ``annotations.checks``, and ``small_when_fitted``, boxes of less than a pixel a side afterwards.
    Raises DatasetError if the split is not there, or pixels=0 meets images of several sizes.
    """
    part = _part(dataset, source)
    _check_sizes(dataset, source, part)
    grey = all_grey(_opener(p.images / name) for p in source.parts.values() for name in _names(p))
    for kind, names in part.annotations.problems.items():
        problems["unreadable" if kind == "unreadable_images" else kind] = list(names)
    reading = _Reading(dataset, source, part, grey, problems)
    tally = write_rows(reading.rows(), source.classes, folder)
    problems["repeated_in_split"] = tally.n - len(tally.digests)
    return {**tally.facts(), "licence": source.licence, "source": source.origin, "problems": problems}


def check_objects(dataset: Dataset, source: BoxedSource, facts: dict[str, Any]) -> None:
    """Raise DatasetError if there is nothing to be found in a split."""
    if not facts["n_objects"]:
        raise DatasetError(
            f"{dataset.name!r} ({dataset.split}, from {source.origin}): {facts['n']} images and no object to be found "
            "in them, and a detector needs some; give a split with boxes"
        )


# ------------------------------------------------------------------------------------------------------ reading files


@dataclass(frozen=True)
class _Reading:
    """The images of one split, read one at a time; what is wrong with them is noted in ``problems``."""

    dataset: Dataset
    source: BoxedSource
    part: Part
    grey: bool
    problems: dict[str, Any]

    def rows(self) -> Iterator[Row]:
        """Yield the usable images with their boxes."""
        found, test = self.part.annotations, self._test_digests()
        starts, boxes = found.starts(), _Boxes(found, self.source.classes)
        groups, positions = _groups(self.source), self.source.positions()
        seen: set[Path] = set()
        for i, row in enumerate(found.images.to_pylist()):
            path = _path(self.part, row["file_name"])
            if path in seen:
                self._wrong("repeated_images", row["file_name"])
                continue
            seen.add(path)
            image = self._image(path, row, path in positions)
            if image is None:
                continue
            if pixel_digest(image) in test:
                self._wrong("train_images_in_test", row["file_name"])
                continue
            objects = slice(int(starts[i]), int(starts[i + 1]))
            kept = boxes.fitted(objects, (row["width"], row["height"]), self.dataset.pixels, self._wrong)
            yield Row(positions[path], image, *kept, group=groups.get((row["sequence"], path), NO_GROUP))

    def _image(self, path: Path, row: dict[str, Any], is_listed: bool) -> np.ndarray | None:
        """Return the fitted image of a row, None and noted if it is missing, unreadable or of another size."""
        stated, name = (row["width"], row["height"]), row["file_name"]
        if not path.is_file():
            return self._wrong("missing_images", name)
        if not is_listed:
            return self._wrong("unreadable", f"{name}: {path.suffix or 'no suffix'} is not read")
        try:
            with Image.open(path) as opened:
                image = upright(opened, self.grey)
        except UNREADABLE:
            return self._wrong("unreadable", name)
        if image.size != stated:
            return self._wrong("wrong_image_size", f"{name}: {image.width}×{image.height}, not {stated[0]}×{stated[1]}")
        return fitted(image, self.dataset.pixels)

    def _test_digests(self) -> set[bytes]:
        """Return the digests of the pixels of the test images if these are the training images."""
        if self.dataset.split != "train" or "test" not in self.source.parts:
            return set()
        part = self.source.parts["test"]
        ignored = _Reading(self.dataset, self.source, part, self.grey, {})
        positions = self.source.positions()
        paths = ((_path(part, row["file_name"]), row) for row in part.annotations.images.to_pylist())
        images = (ignored._image(path, row, path in positions) for path, row in paths)
        return {pixel_digest(image) for image in images if image is not None}

    def _wrong(self, kind: str, name: str) -> None:
        self.problems.setdefault(kind, []).append(name)


class _Boxes:
    """The boxes of one split with labels in the classes of all splits."""

    def __init__(self, found: Annotations, classes: tuple[str, ...]) -> None:
        index = np.array([*(classes.index(name) for name in found.classes), -1], np.int64)  # NO_CLASS is the last
        self.boxes, self.labels = found.xywh(), index[found.column("label")]
        self.crowds = found.column("crowd") | found.column("ignore") | (self.labels < 0)
        self.areas, self.ids = found.column("area"), found.boxes["id"].to_pylist()

    def fitted(self, rows: slice, size: tuple[int, int], pixels: int, wrong: Any) -> tuple[np.ndarray, ...]:
        """Return boxes, labels, crowds and areas of an image as fitted; those too small for a pixel are noted."""
        factor = scale(size, pixels)
        boxes = self.boxes[rows] * factor
        kept = (boxes[:, 2:] >= SMALLEST).all(1)
        for i in np.flatnonzero(~kept):
            wrong("small_when_fitted", self.ids[rows.start + int(i)])
        areas = self.areas[rows] * factor[0] * factor[1]
        return boxes[kept], self.labels[rows][kept], self.crowds[rows][kept], areas[kept]


def _part(dataset: Dataset, source: BoxedSource) -> Part:
    if dataset.split not in source.parts:
        raise DatasetError(
            f"{dataset.name!r} has no {dataset.split} split in {source.origin}; it has {' and '.join(source.parts)}"
        )
    return source.parts[dataset.split]


def _path(part: Part, name: str) -> Path:
    return Path(os.path.normpath(part.images / name))


def _names(part: Part) -> list[str]:
    return part.annotations.images["file_name"].to_pylist()


def _opener(path: Path) -> Any:
    return lambda: Image.open(path)


def _groups(source: BoxedSource) -> dict[tuple[str | None, Path], int]:
    """Return the number of every image's sequence, by sequence and path; nothing where no image has a sequence.

    Sequences are numbered by name over all splits; an image of none is a sequence of its own after them.
    """
    rows = [
        (row["sequence"], _path(part, row["file_name"]))
        for part in source.parts.values()
        for row in part.annotations.images.to_pylist()
    ]
    names = sorted({name for name, _ in rows if name is not None})
    if not names:
        return {}
    number = {name: i for i, name in enumerate(names)}
    alone = {path: len(names) + i for i, path in enumerate(sorted(path for name, path in rows if name is None))}
    return {(name, path): alone[path] if name is None else number[name] for name, path in rows}


def _check_sizes(dataset: Dataset, source: BoxedSource, part: Part) -> None:
    parts = {id(p): p for p in (part, source.parts.get("test", part))}.values()
    sizes = sorted({(row["height"], row["width"]) for p in parts for row in p.annotations.images.to_pylist()})
    if not dataset.pixels and len(sizes) > 1:
        (low_h, low_w), (high_h, high_w) = sizes[0], sizes[-1]
        raise DatasetError(
            f"{dataset.name!r} ({dataset.split}) has images of {len(sizes)} sizes, from {low_h}×{low_w} to "
            f"{high_h}×{high_w}, and pixels=0 keeps them as they are; set Dataset(pixels=640) or another side"
        )
