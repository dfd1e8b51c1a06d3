"""Detections and true objects as checked arrays: boxes are left, top, width, height in pixels, as COCO writes them.

Here: the arrays, and errors that count and name what is wrong with them. Not here: which detection found which object
(`matching`), and how boxes are read from files or made by a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from realfake.laws import Array


@dataclass(frozen=True)
class GroundTruth:
    """g true objects; make it with `of`, which checks."""

    image: Array  # (g,) int64 image ids
    category: Array  # (g,) int64 class ids
    box: Array  # (g, 4) left, top, width, height
    crowd: Array  # (g,) bool: an ignored region; any number of detections may lie in it, and none counts
    area: Array  # (g,) pixels² of the object, by which its size is judged

    @classmethod
    def of(
        cls,
        image: ArrayLike,
        category: ArrayLike,
        box: ArrayLike,
        *,
        crowd: ArrayLike | None = None,
        area: ArrayLike | None = None,
    ) -> GroundTruth:
        """Return true objects; none is a crowd and areas are those of the boxes unless given.

        Raises ValueError, with the count and the first rows, for arrays of different lengths, boxes without a positive
        size, and areas that are negative or not finite.
        """
        boxes = _boxes(box, "true boxes")
        areas = boxes[:, 2] * boxes[:, 3] if area is None else np.asarray(area, dtype=float)
        crowds = np.zeros(len(boxes), dtype=bool) if crowd is None else np.asarray(crowd, dtype=bool)
        made = cls(_ids(image, "image"), _ids(category, "category"), boxes, crowds, areas)
        _same_length("true objects", image=made.image, category=made.category, box=boxes, crowd=crowds, area=areas)
        refuse(~(np.isfinite(areas) & (areas >= 0)), "true areas are negative or not finite", "give pixels²")
        return made


@dataclass(frozen=True)
class Detections:
    """d detections; make it with `of`, which checks."""

    image: Array  # (d,) int64 image ids
    category: Array  # (d,) int64 class ids
    box: Array  # (d, 4) left, top, width, height
    score: Array  # (d,) the higher, the surer

    @classmethod
    def of(cls, image: ArrayLike, category: ArrayLike, box: ArrayLike, score: ArrayLike) -> Detections:
        """Return detections, in the order that decides between equal scores.

        Raises ValueError, with the count and the first rows, for arrays of different lengths, boxes without a positive
        size, and scores that are not finite.
        """
        boxes, scores = _boxes(box, "detected boxes"), np.asarray(score, dtype=float)
        made = cls(_ids(image, "image"), _ids(category, "category"), boxes, scores)
        _same_length("detections", image=made.image, category=made.category, box=boxes, score=scores)
        refuse(~np.isfinite(scores), "scores are not finite", "they cannot be ranked, so drop these detections")
        return made

    @property
    def area(self) -> Array:
        """(d,) width × height of the boxes, in pixels²."""
        return self.box[:, 2] * self.box[:, 3]


def refuse(wrong: ArrayLike, what: str, cure: str) -> None:
    """Raise ValueError that counts the rows where `wrong` (n,) holds and names the first five, if there are any."""
    rows = np.flatnonzero(wrong)
    if rows.size:
        named = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
        raise ValueError(f"{len(rows):,} of {np.size(wrong):,} {what} (rows {named}); {cure}")


def check_images(truth: GroundTruth, found: Detections, images: ArrayLike) -> Array:
    """Return the image ids (i,) in increasing order.

    Raises ValueError when an image is listed twice, or when objects or detections lie in images that are not listed.
    """
    listed = _ids(images, "image")
    known, counts = np.unique(listed, return_counts=True)
    refuse(np.isin(listed, known[counts > 1]), "image ids are listed more than once", "list every image once")
    for what, ids in (("true objects", truth.image), ("detections", found.image)):
        unknown = ~np.isin(ids, known)
        named = ", ".join(map(str, np.unique(ids[unknown])[:5]))
        refuse(unknown, f"{what} lie in images that are not evaluated (ids {named})", "list those images or drop these")
    return known


def _ids(values: ArrayLike, name: str) -> Array:
    ids = np.asarray(values)
    if ids.size and ids.dtype.kind not in "iu":
        raise ValueError(f"{name} ids are of type {ids.dtype}, but ids are whole numbers; number them")
    return ids.astype(np.int64)


def _boxes(values: ArrayLike, what: str) -> Array:
    boxes = np.asarray(values, dtype=float)
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ValueError(f"{what} have shape {boxes.shape}; give (n, 4): left, top, width, height")
    boxes = boxes.reshape(-1, 4)
    refuse(~np.isfinite(boxes).all(axis=1), f"{what} are not finite", "drop or repair them")
    refuse((boxes[:, 2:] <= 0).any(axis=1), f"{what} have no positive width and height", "drop or repair them")
    return boxes


def _same_length(what: str, **columns: Array) -> None:
    lengths = {name: column.shape for name, column in columns.items()}
    if len({shape[:1] for shape in lengths.values()}) > 1 or any(len(s) != 1 for n, s in lengths.items() if n != "box"):
        told = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise ValueError(f"the columns of the {what} differ in shape ({told}); give one row an object")
