"""Files of samples: images as lossless PNG inside Parquet with digests, and the names of shards.

Any tool can read them. What is in memory is a ``Samples``; which rows make a subset is decided in ``samples`` too.
Distances of a pool's images lie in shards of the same names. The format is a constant: file names are sample indices.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from realfake.objects import OBJECTS, Objects

SHARD_ROWS = 256  # a constant of the pool format: file names are sample indices
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("image", pa.large_binary()),  # PNG
        pa.field("label", pa.int32()),
        pa.field("sha256", pa.string()),  # of the image bytes
    ]
)
MASK = pa.field("mask", pa.large_binary())  # PNG: j + 1 where the image's j-th object is seen
GROUP = pa.field("group", pa.int64())  # the video or scene
CAPTION = pa.field("caption", pa.string())  # that came with the image; "" where none did
DIGEST_KEY = b"realfake.digest"
MADE_KEY = b"realfake.made"


class CorruptShard(RuntimeError):
    """A file whose content is not what its digest says. ``path`` names it; it is removed and made again."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path

    def __reduce__(self) -> Any:
        return CorruptShard, (self.path, str(self).split(": ", 1)[1])


# ------------------------------------------------------------------------------------------------------ images as bytes


def encode(image: np.ndarray) -> bytes:
    """Return one ``(h, w, c)`` uint8 image as PNG bytes; one channel becomes a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def encode_mask(mask: np.ndarray) -> bytes:
    """Return which object each pixel ``(h, w)`` uint16 belongs to as the bytes of a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) if mask.max(initial=0) < 256 else mask.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Return PNG (or any Pillow) bytes as ``(h, w, c)`` uint8."""
    array = np.asarray(Image.open(io.BytesIO(data)))
    return array[..., None] if array.ndim == 2 else array


def decoded(column: pa.ChunkedArray) -> np.ndarray:
    """Return images of one size, each decoded into its place: twice as many pixels are never held."""
    first = decode(column[0].as_py())
    images = np.empty((len(column), *first.shape), first.dtype)
    for row, data in enumerate(column):
        image = decode(data.as_py())
        if image.shape != first.shape:
            raise ValueError(f"image {row} is {image.shape} and the first {first.shape}; images of one size are needed")
        images[row] = image
    return images


def to_table(
    images: np.ndarray | Sequence[np.ndarray],
    labels: np.ndarray,
    ids: np.ndarray,
    objects: Objects | None = None,
    masks: np.ndarray | Sequence[np.ndarray] | None = None,
    groups: np.ndarray | None = None,
    captions: Sequence[str] | None = None,
) -> pa.Table:
    """Return samples as an Arrow table of ``SCHEMA``, with the digest of all rows in its metadata.

    ``objects``, ``masks (n, h, w)`` uint16, ``groups (n,)`` and ``captions`` are further columns where they are given.
    """
    data = [encode(image) for image in images]
    schema, columns = SCHEMA, [ids, data, labels.astype(np.int32), [""] * len(data)]
    if objects is not None:
        schema, columns = schema.append(OBJECTS), [*columns, objects.to_arrow()]
    if masks is not None:
        schema, columns = schema.append(MASK), [*columns, [encode_mask(mask) for mask in masks]]
    if groups is not None:
        schema, columns = schema.append(GROUP), [*columns, groups]
    if captions is not None:
        schema, columns = schema.append(CAPTION), [*columns, list(captions)]
    table = pa.table(columns, schema=schema)
    hashes = row_hashes(table)
    table = table.set_column(3, SCHEMA.field("sha256"), pa.array(hashes))
    return table.replace_schema_metadata({DIGEST_KEY: digest(hashes, labels)})


def distance_table(ids: np.ndarray, distances: np.ndarray) -> pa.Table:
    """Return the distances of a pool's images as an Arrow table with its digest."""
    table = pa.table({"id": ids.astype(np.int64), "distance": distances.astype(np.float64)})
    return table.replace_schema_metadata({DIGEST_KEY: _digest_of(table)})


def row_hashes(table: pa.Table) -> list[str]:
    """Return the sha256 of every row: of the image's bytes, and of objects, mask and caption where there are any."""
    data = table["image"].to_pylist()
    if "objects" in table.column_names:
        data = [d + o for d, o in zip(data, Objects.from_arrow(table["objects"]).bytes_of_images(), strict=True)]
    if "mask" in table.column_names:
        data = [d + m for d, m in zip(data, table["mask"].to_pylist(), strict=True)]
    if "caption" in table.column_names:
        data = [d + c.encode() for d, c in zip(data, table["caption"].to_pylist(), strict=True)]
    return [hashlib.sha256(d).hexdigest() for d in data]


def _digest_of(table: pa.Table) -> str:
    """Return the digest of a table of samples or of distances."""
    if "distance" in table.column_names:
        rows = np.stack([table["id"].to_numpy().astype("<f8"), table["distance"].to_numpy().astype("<f8")])
        return hashlib.sha256(rows.tobytes()).hexdigest()
    return digest(row_hashes(table), table["label"].to_numpy())


def digest(hashes: list[str], labels: np.ndarray) -> str:
    """Return the digest of rows: of the image hashes and labels, so independent of how Parquet lays them out."""
    rows = "\n".join(f"{h} {int(label)}" for h, label in zip(hashes, labels, strict=True))
    return hashlib.sha256(rows.encode()).hexdigest()


def write_table(table: pa.Table, path: Path, made: dict[str, Any] | None = None) -> None:
    """Write a table whole or not at all: scratch beside it, then rename.

    ``made`` (seconds, device, versions) goes into the footer, outside the digest.
    """
    if made:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), MADE_KEY: json.dumps(made)})
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        pq.write_table(table, scratch, compression="none")  # PNG does not compress further
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def read_table(path: Path) -> pa.Table:
    """Read and verify a table of samples; raises CorruptShard when a byte of it is not what it was."""
    try:
        table = pq.read_table(path, memory_map=False)
        said = (table.schema.metadata or {}).get(DIGEST_KEY, b"").decode()
        found = _digest_of(table)
    except (pa.ArrowException, KeyError, OSError, TypeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise CorruptShard(path, f"unreadable ({type(error).__name__})") from error
    if found != said:
        raise CorruptShard(path, f"its rows have digest {found[:12]}, its footer says {said[:12]}")
    return table


def read_columns(path: Path, columns: tuple[str, ...]) -> pa.Table:
    """Return some columns of a table of samples, those that it has, unverified: that takes the pixels."""
    there = pq.read_schema(path).names
    return pq.read_table(path, columns=[name for name in columns if name in there]).replace_schema_metadata(None)


def row_count(path: Path) -> int:
    """Return how many rows a table of samples has, without reading any."""
    return pq.read_metadata(path).num_rows


def shard_digest(path: Path) -> str:
    """Return the digest that a file's footer states, without reading its rows."""
    return (pq.read_schema(path).metadata or {}).get(DIGEST_KEY, b"").decode()


def shard_made(path: Path) -> dict[str, Any]:
    """Return how a shard was made (seconds, device, versions), as its footer states."""
    return json.loads((pq.read_schema(path).metadata or {}).get(MADE_KEY, b"{}"))


def shard_name(first: int) -> str:
    """Return the file name of the shard that begins at sample ``first``."""
    return f"{first:08d}-{first + SHARD_ROWS - 1:08d}.parquet"


def shards_of(size: int) -> list[int]:
    """Return the first sample of every shard of a prefix."""
    return list(range(0, size, SHARD_ROWS))
