"""Real data into the store: every image of a source read, checked, resized, and written as samples.

Where images come from is in ``catalogue``, by their name; those with boxes are in ``boxed``, ``boxed_files`` and
``layouts``. Which of the samples a trial sees is a subset, see ``samples``.

Duplicates are judged on the pixels that a model would see: after resizing. None of the sets that packages ship has any,
at 8 to 32 pixels. What is bad is never silently dropped: it is refused, or, with ``problems="skip"``, left out and
counted.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from realfake import boxed, boxed_files, catalogue, corruptions, folders, holdout, layouts, trees
from realfake.annotations import checks
from realfake.folders import fingerprint as fingerprint
from realfake.pictures import UNREADABLE, all_grey, pixel_digest, square, upright
from realfake.samples import to_table, write_table
from realfake.sources import DatasetError as DatasetError
from realfake.sources import Entry, Source
from realfake.spec import Dataset
from realfake.store import Store, StoreError, explain, write_whole
from realfake.values import nearest

FILE_ROWS = 10_000
SAID = {  # one, several; what readers of annotations find is in annotations.checks
    "unreadable": ("unreadable image", "unreadable images"),
    "train_images_in_test": ("train image that is in test too", "train images that are in test too"),
    "empty_classes": ("class without an example", "classes without an example"),
    "small_when_fitted": ("box of less than a pixel when fitted", "boxes of less than a pixel when fitted"),
}
NAMES = (*catalogue.SHIPPED, *catalogue.OWN, *catalogue.NAMED, *boxed.RENDERED, trees.NAME, *layouts.FORMATS)


@dataclass(frozen=True)
class Pictures:
    """The readable images of one split: ``(h, w, c)`` uint8 each, their entries, and the names of unreadable ones."""

    images: tuple[np.ndarray, ...]
    entries: tuple[Entry, ...]
    unreadable: tuple[str, ...]

    def digests(self) -> list[bytes]:
        """Return a digest of the pixels of each image."""
        return [pixel_digest(image) for image in self.images]

    def outside(self, digests: set[bytes]) -> "Pictures":
        """Return the pictures of which the pixels have none of these digests."""
        pairs = zip(self.images, self.entries, self.digests(), strict=True)
        kept = [(image, entry) for image, entry, digest in pairs if digest not in digests]
        return Pictures(tuple(image for image, _ in kept), tuple(entry for _, entry in kept), self.unreadable)


def import_dataset(dataset: Dataset, store: Store, locations: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """Import a dataset into the store, unless it is there, and return the facts of its record.

    The facts: ``classes``, ``n``, ``counts`` (images of each class), ``pixels`` (the shorter side), ``channels`` (1 if
    all images of both splits are grey, else 3), ``licence``, ``source``, and ``problems``: names of ``unreadable``
    images and of ``train_images_in_test`` (judged when the train split is imported), how many images repeat another
    one (``repeated_in_split``; they are kept), and ``empty_classes``. The ids of samples are positions in the source,
    before anything is left out. ``locations`` says where folders are, by fingerprint or by dataset name. What a set
    with boxes has besides is said in ``boxed_files``.

    Raises DatasetError for bad data unless ``problems="skip"``, and for data that cannot be used at all.
    """
    if (record := store.record(dataset)) is not None:
        return record["result"]
    locations = {} if locations is None else locations
    if dataset.corruption:
        return _import_corrupted(dataset, store, locations)
    if dataset.name in {*boxed.RENDERED, trees.NAME, *layouts.FORMATS}:
        return _import_boxed(dataset, store, locations)
    found = catalogue.read(dataset, locations, store.root / "downloads", NAMES)
    source = holdout.held_out(dataset, _of_classes(dataset, found))
    _check_split(dataset, source)
    pictures, problems = _examine(dataset, source)
    _refuse(dataset, source.origin, problems)
    used = sorted({entry.label for entry in source.entries})
    labels = np.searchsorted(used, [entry.label for entry in pictures.entries])
    classes = [source.classes[label] for label in used]
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    _check_classes(dataset, counts)
    with store.making(dataset) as (folder, result):
        _write(pictures, labels, folder)
        height, width, channels = pictures.images[0].shape
        result.update(classes=classes, n=len(labels), counts=counts, pixels=min(height, width), channels=channels)
        result.update(licence=source.licence, source=source.origin, problems=problems)
    return result


def remember_location(store: Store, path: Path, source: str = "imagefolder") -> str:
    """Note in the store where a folder or file of images is, and return its fingerprint for a source of that name."""
    name = fingerprint(path, source)
    known = {key: str(place) for key, place in known_locations(store).items()}
    try:
        write_whole(store.root / "locations.json", json.dumps({**known, name: str(path.absolute())}, indent=1))
    except OSError as error:
        raise explain(error, store.root) from error
    return name


def known_locations(store: Store) -> dict[str, Path]:
    """Return the places that were noted in the store, by fingerprint."""
    path = store.root / "locations.json"
    try:
        return {name: Path(place) for name, place in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise StoreError(f"{path} is not JSON ({error}); remove it and type realfake new --images DIR again") from None


def _import_corrupted(dataset: Dataset, store: Store, locations: Mapping[str, Path]) -> dict[str, Any]:
    """Corrupt the images of the same set, which is imported first unless it is there: nothing is decoded twice."""
    clean = import_dataset(dataset.clean, store, locations)
    with store.making(dataset) as (folder, result):
        result.update(corruptions.write(dataset, store, folder, clean))
    return result


def _import_boxed(dataset: Dataset, store: Store, locations: Mapping[str, Path]) -> dict[str, Any]:
    if dataset.holdout:
        raise DatasetError(
            f"Dataset.holdout={dataset.holdout}: images with boxes are not held out by class; leave it out, and give "
            f"{dataset.name!r} a validation split"
        )
    with store.making(dataset) as (folder, result):
        if dataset.name in boxed.RENDERED:
            result.update(boxed.write_rendered(dataset, folder))
            return result
        if dataset.name == trees.NAME:
            result.update(trees.write_trees(dataset, folder, locations.get(trees.NAME)))
            return result
        source = layouts.read(dataset.name, folders.locate(dataset, locations))
        problems: dict[str, Any] = boxed.no_problems()
        result.update(boxed_files.write_files(dataset, source, folder, problems))
        _refuse(dataset, source.origin, problems)
        boxed_files.check_objects(dataset, source, result)
    return result


def _of_classes(dataset: Dataset, source: Source) -> Source:
    """Return the source with the images of some of its classes, where only some are asked for."""
    if not dataset.classes:
        return source
    if unknown := sorted(set(dataset.classes) - set(source.classes)):
        raise DatasetError(
            f"Dataset.classes: {dataset.name!r} has no class {unknown[0]!r}; {nearest(unknown[0], source.classes)}"
        )
    wanted = {label for label, name in enumerate(source.classes) if name in dataset.classes}
    return replace(source, entries=tuple(entry for entry in source.entries if entry.label in wanted))


# ------------------------------------------------------------------------------------------------------- reading images


def _examine(dataset: Dataset, source: Source) -> tuple[Pictures, dict[str, Any]]:
    """Return the usable images of the split, and the problems of the split as the record states them."""
    grey = not source.colour and all_grey(entry.open for entry in source.entries)
    pictures = _read(source.of(dataset.split), dataset.pixels, grey)
    test = _read(source.of("test") if dataset.split == "train" else (), dataset.pixels, grey)
    _check_sizes(dataset, pictures.images + test.images)
    kept = pictures.outside(set(test.digests()))
    ids, labels = {entry.id for entry in kept.entries}, {entry.label for entry in kept.entries}
    return kept, {
        "unreadable": list(pictures.unreadable),
        "train_images_in_test": [entry.name for entry in pictures.entries if entry.id not in ids],
        "repeated_in_split": sum(times - 1 for times in Counter(kept.digests()).values()),
        "empty_classes": [
            name
            for label, name in enumerate(source.classes)
            if label not in labels and name in (dataset.classes or source.classes)
        ],
    }


def _read(entries: Iterable[Entry], pixels: int, grey: bool) -> Pictures:
    images, kept, unreadable = [], [], []
    for entry in entries:
        try:
            with entry.open() as image:
                images.append(square(upright(image, grey), pixels))
            kept.append(entry)
        except UNREADABLE:
            unreadable.append(entry.name)
    return Pictures(tuple(images), tuple(kept), tuple(unreadable))


# ------------------------------------------------------------------------------------------------------------- problems


def in_words(problems: dict[str, Any]) -> list[str]:
    """Return what is wrong, counted and with the first five names: '2 unreadable images (a.png, b.png)'."""
    said = {**checks.SAID, **SAID}
    kinds = [*SAID, *(kind for kind in problems if kind in checks.SAID and kind not in SAID)]
    found = [(problems.get(kind), said[kind]) for kind in kinds]
    return [
        f"{len(names)} {words[len(names) != 1]} ({', '.join(names[:5])}{', …' * (len(names) > 5)})"
        for names, words in found
        if names
    ]


def _refuse(dataset: Dataset, origin: str, problems: dict[str, Any]) -> None:
    found = in_words(problems)
    trimmed = " (boxes that stick out: trimmed)" if problems.get("sticking_out") else ""
    if found and dataset.problems == "refuse":
        raise DatasetError(
            f"{dataset.name!r} ({dataset.split}, from {origin}): {'; '.join(found)}; mend them, or "
            f"set problems='skip' to leave them out{trimmed} and have them counted"
        )


def _check_split(dataset: Dataset, source: Source) -> None:
    if dataset.split == "validation" and not source.of("validation"):
        raise DatasetError(
            f"{dataset.name!r} has no validation split; it has train and test: hold some of train out with "
            "Dataset(holdout=1000), in both splits"
        )


def _check_classes(dataset: Dataset, counts: list[int]) -> None:
    if (filled := sum(count > 0 for count in counts)) < 2:
        raise DatasetError(
            f"{dataset.name!r} ({dataset.split}) has images of {filled} class{'es' * (filled != 1)}, and telling "
            "classes apart takes two; give a folder that holds a folder of images for each class"
        )


def _check_sizes(dataset: Dataset, images: Iterable[np.ndarray]) -> None:
    shapes = sorted({image.shape[:2] for image in images})
    if len(shapes) > 1:
        (low_h, low_w), (high_h, high_w) = shapes[0], shapes[-1]
        raise DatasetError(
            f"{dataset.name!r} ({dataset.split}) has images of {len(shapes)} sizes, from {low_h}×{low_w} to "
            f"{high_h}×{high_w}, and pixels=0 keeps them as they are; set Dataset(pixels=32) or another side"
        )


def _write(pictures: Pictures, labels: np.ndarray, folder: Path) -> None:
    ids = np.array([entry.id for entry in pictures.entries], np.int64)
    captions = [entry.caption for entry in pictures.entries]
    for part, first in enumerate(range(0, len(labels), FILE_ROWS)):
        rows = slice(first, first + FILE_ROWS)
        said = captions[rows] if any(captions) else None
        table = to_table(np.stack(pictures.images[rows]), labels[rows], ids[rows], captions=said)
        write_table(table, folder / f"part-{part:05d}.parquet")
