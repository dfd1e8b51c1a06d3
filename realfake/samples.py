"""Samples as Arrow tables and as arrays: image bytes in and out, shards with digests, and the order of subsets.

Images are lossless PNG inside Parquet, so that any tool can read a store. Order and labels are pure functions of
names and seeds, never of the sequence in which things were made. Importing real data is in ``datasets``, making
synthetic data in ``synthesis``.
"""

import functools
import hashlib
import io
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from realfake.spec import Dataset, Pool, Subset, address, root_generator
from realfake.store import Store, StoreError
from realfake.values import SpecError

SHARD_ROWS = 256  # a constant of the pool format: file names are sample indices
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("image", pa.large_binary()),  # PNG
        pa.field("label", pa.int32()),
        pa.field("sha256", pa.string()),  # of the image bytes
    ]
)
DIGEST_KEY = b"realfake.digest"
MADE_KEY = b"realfake.made"


class CorruptShard(RuntimeError):
    """A file whose content is not what its digest says. ``path`` names it; it is removed and made again."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path

    def __reduce__(self) -> Any:
        return CorruptShard, (self.path, str(self).split(": ", 1)[1])


@dataclass(frozen=True)
class Samples:
    """Images ``(n, height, width, channels)`` uint8, labels ``(n,)`` int64, ids ``(n,)`` int64, and class names."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "Samples":
        """Return the samples of these rows, in this order."""
        return Samples(self.images[rows], self.labels[rows], self.ids[rows], self.classes)


# ------------------------------------------------------------------------------------------------------ images as bytes


def encode(image: np.ndarray) -> bytes:
    """Return one ``(h, w, c)`` uint8 image as PNG bytes; one channel becomes a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Return PNG (or any Pillow) bytes as ``(h, w, c)`` uint8."""
    array = np.asarray(Image.open(io.BytesIO(data)))
    return array[..., None] if array.ndim == 2 else array


def to_table(images: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> pa.Table:
    """Return samples as an Arrow table of ``SCHEMA``, with the digest of all rows in its metadata."""
    data = [encode(image) for image in images]
    hashes = [hashlib.sha256(d).hexdigest() for d in data]
    table = pa.table([ids, data, labels.astype(np.int32), hashes], schema=SCHEMA)
    return table.replace_schema_metadata({DIGEST_KEY: digest(hashes, labels)})


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
        hashes = [hashlib.sha256(d).hexdigest() for d in table["image"].to_pylist()]
        found = digest(hashes, table["label"].to_numpy())
    except (pa.ArrowException, KeyError, OSError, TypeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise CorruptShard(path, f"unreadable ({type(error).__name__})") from error
    if found != said:
        raise CorruptShard(path, f"its rows have digest {found[:12]}, its footer says {said[:12]}")
    return table


def shard_digest(path: Path) -> str:
    """Return the digest that a file's footer states, without reading its rows."""
    return (pq.read_schema(path).metadata or {}).get(DIGEST_KEY, b"").decode()


def shard_made(path: Path) -> dict[str, Any]:
    """Return how a shard was made (seconds, device, versions), as its footer states."""
    return json.loads((pq.read_schema(path).metadata or {}).get(MADE_KEY, b"{}"))


def from_tables(tables: list[pa.Table], classes: tuple[str, ...]) -> Samples:
    """Return verified tables as arrays."""
    table = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
    images = np.stack([decode(d) for d in table["image"].to_pylist()])
    return Samples(images, table["label"].to_numpy().astype(np.int64), table["id"].to_numpy(), classes)


# ------------------------------------------------------------------------------------------------ order and randomness


def seed_of(*parts: Any) -> int:
    """Return a 63-bit seed that depends on the parts alone: randomness by name, not by order."""
    return int.from_bytes(hashlib.sha256(":".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


def stratified_order(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return an order ``(n,)`` of which every prefix holds each class in proportion, within one.

    Within a class, samples follow their key; the k-th of N_c samples of class c stands at (k + ½) / N_c of the whole.
    """
    by_class = np.lexsort((keys, labels))
    counts = np.bincount(labels)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(labels))
    rank[by_class] = np.arange(len(labels)) - np.repeat(starts, counts)
    place = (rank + 0.5) / counts[labels]
    return np.lexsort((keys, place))


def subset_rows(samples: Samples, size: int, seed: int) -> np.ndarray:
    """Return the rows of the first ``size`` samples in the seeded order: smaller subsets lie inside larger ones."""
    keys = np.array([seed_of("subset", seed, i) for i in samples.ids])
    return stratified_order(samples.labels, keys)[:size]


def pool_labels(pool: Pool, first: int, rows: int, class_counts: np.ndarray) -> np.ndarray:
    """Return the labels ``(rows,)`` of a pool's samples ``first …``: seeded blocks, each prefix balanced within one.

    A block holds every class once ("balanced"), or each as often as the generator's real subset ("proportional").
    """
    counts = (class_counts > 0).astype(np.int64) if pool.labels == "balanced" else class_counts
    block = np.repeat(np.arange(len(counts)), counts)
    blocks = range(first // len(block), (first + rows - 1) // len(block) + 1)
    labels = np.concatenate([block[_block_order(pool, block, b)] for b in blocks])
    start = first - blocks[0] * len(block)
    return labels[start : start + rows]


def _block_order(pool: Pool, block: np.ndarray, index: int) -> np.ndarray:
    keys = np.array([seed_of("labels", address(pool), index, i) for i in range(len(block))])
    return stratified_order(block, keys)


def image_seeds(pool: Pool, first: int, rows: int) -> list[int]:
    """Return one seed a sample: sample i depends on i and on the pool's spec alone."""
    return [seed_of("image", address(pool), i) for i in range(first, first + rows)]


# --------------------------------------------------------------------------------------------------- reading the store


def shard_name(first: int) -> str:
    """Return the file name of the shard that begins at sample ``first``."""
    return f"{first:08d}-{first + SHARD_ROWS - 1:08d}.parquet"


def shards_of(size: int) -> list[int]:
    """Return the first sample of every shard of a prefix."""
    return list(range(0, size, SHARD_ROWS))


def load(store: Store, subset: Subset | Dataset) -> Samples:
    """Return a subset, or a whole dataset, as arrays.

    Raises SpecError if the subset is larger than its dataset, FileNotFoundError if a shard is missing, and
    CorruptShard if a file is not what its digest says.
    """
    if isinstance(subset, Dataset):
        return load_dataset(store, subset)
    if isinstance(subset.of, Pool):
        return _load_prefix(store, subset.of, subset.size)
    whole = load_dataset(store, subset.of)
    if subset.size > len(whole):
        raise SpecError(
            f"Subset(size={subset.size}): {subset.of.name!r} ({subset.of.split}) has {len(whole)} images; "
            "ask for that many or fewer"
        )
    return whole.take(subset_rows(whole, subset.size, subset.seed))


def load_dataset(store: Store, dataset: Dataset) -> Samples:
    """Return an imported dataset as arrays; a process reads each one once."""
    record = store.record(dataset)
    if record is None:
        raise StoreError(f"dataset {dataset.name!r} ({address(dataset)}) is not imported in {store.root}")
    files = tuple(sorted(f for f in record["files"] if f.endswith(".parquet")))
    return _read_dataset(store.folder(dataset), files, tuple(record["result"]["classes"]))


def class_counts(store: Store, pool: Pool) -> np.ndarray:
    """Return how many images of each class the pool's generator was fitted on: ``(classes,)``."""
    real = load(store, root_generator(pool.generator).real)
    return np.bincount(real.labels, minlength=len(real.classes))


@functools.lru_cache(maxsize=4)
def _read_dataset(folder: Path, files: tuple[str, ...], classes: tuple[str, ...]) -> Samples:
    return from_tables([read_table(folder / f) for f in files], classes)


def _load_prefix(store: Store, pool: Pool, size: int) -> Samples:
    classes = load_dataset(store, root_generator(pool.generator).real.of).classes  # type: ignore[arg-type]
    tables = [read_table(store.folder(pool) / shard_name(first)) for first in shards_of(size)]
    return from_tables(tables, classes).take(slice(0, size))
