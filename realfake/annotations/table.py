"""Images and their boxes as two Arrow tables, whatever format they came in: the schema, and what is asked of it.

Coordinates are pixels in float64: the left upper corner of an image is (0, 0) and its right lower one (width, height),
so a box that covers pixels 3 and 4 of a row has x = 3, width = 2. What is wrong with a box is judged in ``checks``;
formats are in their own modules; which images make a subset is in ``order``.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

NO_CLASS = -1  # of a region that belongs to every class
NOT_STATED = -1  # of truncation and occlusion

IMAGES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # the source's own, each once
        pa.field("file_name", pa.string(), nullable=False),  # with "/", relative to the folder of images
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("sequence", pa.string()),  # the video or scene; null: an image on its own
        pa.field("frame", pa.int64()),  # place in the sequence; null where it has none
        pa.field("domain", pa.string(), nullable=False),  # "visdrone", …; empty where it does not matter
    ]
)
BOXES = pa.schema(
    [
        pa.field("image", pa.int64(), nullable=False),  # row of the table of images
        pa.field("label", pa.int32(), nullable=False),  # index in classes, or NO_CLASS
        pa.field("x", pa.float64(), nullable=False),  # left edge
        pa.field("y", pa.float64(), nullable=False),  # top edge
        pa.field("width", pa.float64(), nullable=False),
        pa.field("height", pa.float64(), nullable=False),
        pa.field("ignore", pa.bool_(), nullable=False),  # neither finding nor missing it counts
        pa.field("crowd", pa.bool_(), nullable=False),  # ignored, and any number of detections may lie in it
        pa.field("region", pa.bool_(), nullable=False),  # a crowd that is an area where nobody looked, not an object
        pa.field("area", pa.float64(), nullable=False),  # of the mask where the source has one, else width · height
        pa.field("truncation", pa.int8(), nullable=False),  # as the source grades it, or NOT_STATED
        pa.field("occlusion", pa.int8(), nullable=False),  # as the source grades it, or NOT_STATED
        pa.field("id", pa.string(), nullable=False),  # the source's own: an id, or file:line
        pa.field("source_class", pa.string(), nullable=False),  # what the source called it, before names were mapped
    ]
)
ABSENT = {  # what a row of a reader need not say; area is width · height, source_class the class
    **{"sequence": None, "frame": None, "domain": ""},
    **{"ignore": False, "crowd": False, "region": False, "truncation": NOT_STATED, "occlusion": NOT_STATED},
}


@dataclass(frozen=True)
class Annotations:
    """A detection data set without its pixels.

    ``images`` has the schema IMAGES, ``boxes`` the schema BOXES with boxes of an image side by side in the order of
    the images. ``problems`` are the names of what was found wrong and left out or trimmed (see ``checks``);
    ``left_out`` counts what the reader's stated rule leaves out and is not wrong: other classes, lost tracks.
    """

    images: pa.Table
    boxes: pa.Table
    classes: tuple[str, ...]
    origin: str = ""
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.images.num_rows

    def column(self, name: str) -> np.ndarray:
        """Return a column of the boxes as an array ``(boxes,)``."""
        return self.boxes[name].to_numpy()

    def xywh(self) -> np.ndarray:
        """Return the boxes ``(boxes, 4)``: left, top, width, height in pixels."""
        return np.stack([self.column(name) for name in ("x", "y", "width", "height")], 1)

    def starts(self) -> np.ndarray:
        """Return ``(images + 1,)``: the boxes of image i are the rows ``starts[i]:starts[i + 1]``."""
        return np.searchsorted(self.column("image"), np.arange(len(self) + 1))

    def counted(self) -> np.ndarray:
        """Return which boxes ``(boxes,)`` are to be found: those not ignored."""
        return ~self.column("ignore")

    def take(self, rows: np.ndarray) -> "Annotations":
        """Return the images of these rows, in this order, with their boxes; raises ValueError if one is asked twice."""
        rows = np.asarray(rows, np.int64)
        if len(np.unique(rows)) != len(rows):
            raise ValueError(f"take: {len(rows) - len(np.unique(rows))} images are asked for twice; name each one once")
        starts = self.starts()
        picked = [np.arange(int(starts[row]), int(starts[row + 1])) for row in rows]
        boxes = self.boxes.take(np.concatenate([*picked, np.empty(0, np.int64)]).astype(np.int64))
        image = np.repeat(np.arange(len(rows)), [len(part) for part in picked])
        boxes = boxes.set_column(0, BOXES.field("image"), pa.array(image, pa.int64()))
        return Annotations(self.images.take(rows), boxes, self.classes, self.origin, self.problems, self.left_out)

    def digest(self) -> str:
        """Return 16 hex digits of the sha256 of the images, boxes and class names: what a manifest of a subset needs.

        Where it was read from, and what was wrong there, does not count.
        """
        total = hashlib.sha256("\0".join(self.classes).encode())
        for table in (self.images, self.boxes):
            buffer = io.BytesIO()
            with pa.ipc.new_stream(buffer, table.schema) as stream:
                stream.write_table(table.combine_chunks())
            total.update(buffer.getvalue())
        return total.hexdigest()[:16]


def to_columns(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> dict[str, list[Any]]:
    """Return rows as columns of a schema; what a row does not say is ABSENT."""
    return {name: [row[name] if name in row else ABSENT.get(name) for row in rows] for name in schema.names}
