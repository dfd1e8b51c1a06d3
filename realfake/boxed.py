"""Images with boxes into the store, whatever they come from, and the aerial scenes that are rendered for it.

A scene of ``aerial-<domain>`` is a stand-in: it plays a real data set that cannot be shipped, and no photograph is in
it. Images pass one at a time, so that a set of any size can be imported. Those of the user's own files are read in
``boxed_files``; which images are trained on is a subset, see ``samples``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realfake.aerial.domains import DOMAINS
from realfake.objects import Objects
from realfake.pictures import pixel_digest
from realfake.samples import RENDERED as RENDERED_CLASSES
from realfake.samples import to_table, write_table
from realfake.sources import DatasetError, Split
from realfake.spec import Dataset

FILE_ROWS = 64  # images of 640 pixels are 1.2 MB each before they are packed
FILE_BYTES = 96 * 2**20  # of pixels: fewer rows of larger images, so that an import of any size stays small
RENDERED = {f"aerial-{name}": domain for name, domain in DOMAINS.items() if not domain.synthetic}
RENDERED_PIXELS = 128
RENDERED_SIZES: dict[Split, int] = {"train": 1000, "validation": 100, "test": 300}
RENDERED_SEEDS: dict[Split, int] = {"train": 0, "test": 1, "validation": 2}  # other scenes in every split
NO_GROUP = -1


@dataclass(frozen=True)
class Row:
    """An image ``(h, w, c)`` and its k objects: boxes ``(k, 4)``, labels, crowds, areas ``(k,)``; see ``Objects``."""

    id: int
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowds: np.ndarray
    areas: np.ndarray
    group: int = NO_GROUP
    mask: np.ndarray | None = None


@dataclass
class Tally:
    """What has been written so far: ``counts`` of the objects to be found of each class, and of all the others."""

    classes: tuple[str, ...]
    counts: np.ndarray
    n: int = 0
    n_crowds: int = 0
    n_without: int = 0
    shape: tuple[int, ...] = (0, 0, 0)
    digests: dict[bytes, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count an image."""
        found = row.labels[~row.crowds]
        self.counts += np.bincount(found, minlength=len(self.classes))
        self.n, self.shape = self.n + 1, row.image.shape
        self.n_crowds += int(row.crowds.sum())
        self.n_without += not len(found)
        digest = pixel_digest(row.image)
        self.digests[digest] = self.digests.get(digest, 0) + 1

    def facts(self) -> dict[str, Any]:
        """Return the facts of a record."""
        height, width, channels = self.shape
        return {
            **{"classes": list(self.classes), "n": self.n, "counts": self.counts.tolist()},
            **{"n_objects": int(self.counts.sum()), "n_crowds": self.n_crowds, "n_without_objects": self.n_without},
            **{"pixels": min(height, width), "channels": channels},
        }


def no_problems() -> dict[str, Any]:
    """Return problems of a record without any."""
    return {"unreadable": [], "train_images_in_test": [], "repeated_in_split": 0, "empty_classes": []}


def write_rendered(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Render a split of an aerial domain into a folder, with masks of the people, and return the facts of its record.

    Scene i is ``render(domain, i, seed, …)`` with the seed of the split: the same bytes whatever is made beside it.
    Raises DatasetError for a size that is not drawn.
    """
    domain, seed = RENDERED[dataset.name], RENDERED_SEEDS[dataset.split]
    pixels, problems = dataset.pixels or RENDERED_PIXELS, no_problems()
    tally = write_rows(
        _scenes(domain.name, seed, RENDERED_SIZES[dataset.split], pixels, dataset.zoom), RENDERED_CLASSES, folder
    )
    problems["repeated_in_split"] = tally.n - len(tally.digests)
    nearer = "" if dataset.zoom == 1 else f", people {dataset.zoom:g} times as large"
    return {
        **tally.facts(),
        "licence": "none needed: drawn by realfake",
        "source": f"a stand-in for {domain.stands_for}: scenes that realfake renders (domain {domain.name!r}, seed "
        f"{seed}{nearer}), no photographs",
        "problems": problems,
    }


# ------------------------------------------------------------------------------------------------------------- writing


def write_rows(rows: Iterable[Row], classes: tuple[str, ...], folder: Path) -> Tally:
    """Write rows into files of ``FILE_ROWS`` or ``FILE_BYTES``, and return what was written."""
    tally, held, parts = Tally(classes, np.zeros(len(classes), np.int64)), [], 0
    for row in rows:
        tally.add(row)
        held.append(row)
        if len(held) == FILE_ROWS or len(held) * row.image.nbytes >= FILE_BYTES:
            _write_file(held, folder / f"part-{parts:05d}.parquet")
            held, parts = [], parts + 1
    if held:
        _write_file(held, folder / f"part-{parts:05d}.parquet")
    return tally


def _write_file(rows: list[Row], path: Path) -> None:
    boxes, labels, crowds, areas = ([getattr(r, name) for r in rows] for name in ("boxes", "labels", "crowds", "areas"))
    masks = [row.mask for row in rows if row.mask is not None]
    groups = np.array([row.group for row in rows], np.int64)
    table = to_table(
        [row.image for row in rows],
        np.zeros(len(rows), np.int64),
        np.array([row.id for row in rows], np.int64),
        Objects.of(boxes, labels, crowds, areas),
        masks or None,
        groups if (groups != NO_GROUP).any() else None,
    )
    write_table(table, path)


def _scenes(domain: str, seed: int, size: int, pixels: int, zoom: float) -> Iterator[Row]:
    from realfake.generators.procedural import render

    for index in range(size):
        try:
            scene = render(domain, index, seed, pixels=pixels, zoom=zoom)
        except ValueError as error:
            raise DatasetError(f"Dataset(name='aerial-{domain}'): {error}") from None
        k = len(scene.boxes)
        areas = scene.boxes[:, 2] * scene.boxes[:, 3]
        plain = np.zeros(k, np.int64), np.zeros(k, bool)
        yield Row(index, scene.image, scene.boxes, *plain, areas, mask=scene.labels)
