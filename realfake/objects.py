"""The objects of many images side by side: boxes, classes, and which of them do not count.

Arrays, and their Arrow form beside an image. Reading annotation files is in ``annotations``, finding objects in
``tasks``, judging what was found in ``detections``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

OBJECT = pa.struct(
    [
        pa.field("box", pa.list_(pa.float64(), 4)),  # left, top, width, height in pixels
        pa.field("label", pa.int32()),
        pa.field("crowd", pa.bool_()),
        pa.field("area", pa.float64()),
    ]
)
OBJECTS = pa.field("objects", pa.list_(OBJECT))


@dataclass(frozen=True)
class Objects:
    """g objects of n images; those of image i are the rows ``start[i]:start[i + 1]``.

    ``box (g, 4)`` float64 left, top, width, height in pixels; ``label (g,)`` index in classes, −1 for a region of every
    class; ``crowd (g,)`` bool: neither finding nor missing it counts; ``area (g,)`` in pixels².
    """

    start: np.ndarray
    box: np.ndarray
    label: np.ndarray
    crowd: np.ndarray
    area: np.ndarray

    @classmethod
    def of(
        cls,
        boxes: Sequence[np.ndarray],
        labels: Sequence[np.ndarray] | None = None,
        crowds: Sequence[np.ndarray] | None = None,
        areas: Sequence[np.ndarray] | None = None,
    ) -> Objects:
        """Return the objects of n images, one array an image: boxes ``(k, 4)``; all of class 0 unless labels are given.

        Raises ValueError for a box without a positive size.
        """
        start = np.concatenate([[0], np.cumsum([len(b) for b in boxes])]).astype(np.int64)
        box = np.concatenate([np.asarray(b, np.float64).reshape(-1, 4) for b in boxes] or [np.empty((0, 4))])
        sized = (box[:, 2:] > 0).all(axis=1)  # False for NaN too
        if not sized.all():
            raise ValueError(f"{int((~sized).sum())} boxes have no positive width and height; drop them")
        g = len(box)
        label = np.zeros(g, np.int64) if labels is None else _flat(labels, np.int64)
        crowd = np.zeros(g, bool) if crowds is None else _flat(crowds, bool)
        area = box[:, 2] * box[:, 3] if areas is None else _flat(areas, np.float64)
        return cls(start, box, label, crowd, area)

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def image(self) -> np.ndarray:
        """The row of the image of every object ``(g,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def of_image(self, row: int) -> slice:
        """Return the rows of the objects of one image."""
        return slice(int(self.start[row]), int(self.start[row + 1]))

    def take(self, images: np.ndarray | slice) -> Objects:
        """Return the objects of these images, in this order."""
        chosen = np.arange(len(self))[images]
        counts = np.diff(self.start)[chosen]
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(self.start[chosen] - start[:-1], counts) + np.arange(start[-1])
        return Objects(start, self.box[rows], self.label[rows], self.crowd[rows], self.area[rows])

    @classmethod
    def joined(cls, parts: Sequence[Objects]) -> Objects:
        """Return the objects of the images of all parts, one part after another."""
        counts = np.concatenate([np.diff(part.start) for part in parts])
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in ("box", "label", "crowd", "area"))
        return cls(start, *columns)

    def to_arrow(self) -> pa.Array:
        """Return one list of objects an image, of the type of ``OBJECTS``."""
        boxes = pa.FixedSizeListArray.from_arrays(pa.array(self.box.ravel(), pa.float64()), 4)
        columns = [boxes, pa.array(self.label, pa.int32()), pa.array(self.crowd), pa.array(self.area, pa.float64())]
        rows = pa.StructArray.from_arrays(columns, fields=list(OBJECT))
        return pa.ListArray.from_arrays(pa.array(self.start, pa.int32()), rows, type=OBJECTS.type)

    @classmethod
    def from_arrow(cls, column: pa.ChunkedArray) -> Objects:
        """Return what ``to_arrow`` wrote."""
        lists = column.combine_chunks()
        rows = lists.flatten()
        start = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))])
        box = rows.field("box").flatten().to_numpy(zero_copy_only=False).reshape(-1, 4)
        label, crowd, area = (rows.field(n).to_numpy(zero_copy_only=False) for n in ("label", "crowd", "area"))
        return cls(start.astype(np.int64), box, label.astype(np.int64), crowd.astype(bool), area)

    def bytes_of_images(self) -> list[bytes]:
        """Return for every image bytes that are equal exactly when its objects are: what a digest is made of."""
        numbers = np.column_stack([self.box, self.label, self.crowd, self.area]).astype("<f8")
        return [numbers[self.of_image(row)].tobytes() for row in range(len(self))]


def _flat(arrays: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([np.asarray(a, dtype).reshape(-1) for a in arrays] or [np.empty(0)]).astype(dtype)
