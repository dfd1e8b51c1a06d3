"""Samples as arrays, the order of subsets, and what the store holds of them.

Order and labels are pure functions of names and seeds, never of the sequence in which things were made. Files and
their digests are in ``shards``, importing real data in ``datasets``, making synthetic data in ``synthesis``.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from realfake.objects import Objects
from realfake.shards import SHARD_ROWS as SHARD_ROWS
from realfake.shards import CorruptShard as CorruptShard
from realfake.shards import decode as decode
from realfake.shards import decoded
from realfake.shards import digest as digest
from realfake.shards import encode as encode
from realfake.shards import read_columns as read_columns
from realfake.shards import read_table as read_table
from realfake.shards import row_count as row_count
from realfake.shards import shard_digest as shard_digest
from realfake.shards import shard_made as shard_made
from realfake.shards import shard_name as shard_name
from realfake.shards import shards_of as shards_of
from realfake.shards import to_table as to_table
from realfake.shards import write_table as write_table
from realfake.spec import Dataset, Distances, OpenSet, Pool, Subset, Translation, address, real_of, root_generator
from realfake.store import Store, StoreError
from realfake.values import SpecError

LARGE = 2**30  # bytes of pixels: of larger datasets only the images that are asked for are decoded
RENDERED = ("person",)  # the classes that renderers draw


@dataclass(frozen=True)
class Samples:
    """Images ``(n, height, width, channels)`` uint8, labels ``(n,)`` int64, ids ``(n,)`` int64, and class names.

    For detection labels are zeros and ``objects`` are what is to be found; ``masks (n, height, width)`` uint16 hold
    j + 1 where the j-th object of the image is seen; ``groups (n,)`` int64 number the videos or scenes.
    ``captions`` are n sentences that came with the images, "" for an image without.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...]
    objects: Objects | None = None
    masks: np.ndarray | None = None
    groups: np.ndarray | None = None
    captions: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "Samples":
        """Return the samples of these rows, in this order."""
        return Samples(
            self.images[rows],
            self.labels[rows],
            self.ids[rows],
            self.classes,
            None if self.objects is None else self.objects.take(rows),
            None if self.masks is None else self.masks[rows],
            None if self.groups is None else self.groups[rows],
            None if self.captions is None else tuple(np.array(self.captions, object)[rows]),
        )


def joined(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all parts, one after another; raises SpecError when their sizes or classes differ.

    Objects, masks, groups and captions are kept where all parts have them; groups of different parts stay different.
    """
    first, *others = parts
    if not others:
        return first
    for part in others:
        if part.images.shape[1:] != first.images.shape[1:] or part.classes != first.classes:
            raise SpecError(
                f"images of {part.images.shape[1:]} and classes {', '.join(part.classes)} cannot join images of "
                f"{first.images.shape[1:]} and classes {', '.join(first.classes)}; import both with the same"
            )
    boxed = [part.objects for part in parts if part.objects is not None]
    masks = [part.masks for part in parts if part.masks is not None]
    grouped = [part.groups for part in parts if part.groups is not None]
    captions = [part.captions for part in parts if part.captions is not None]
    images, labels, ids = (np.concatenate([getattr(p, name) for p in parts]) for name in ("images", "labels", "ids"))
    return Samples(
        images,
        labels,
        ids,
        first.classes,
        Objects.joined(boxed) if len(boxed) == len(parts) else None,
        np.concatenate(masks) if len(masks) == len(parts) else None,
        _apart(grouped) if len(grouped) == len(parts) else None,
        tuple(chain.from_iterable(captions)) if len(captions) == len(parts) else None,
    )


def _apart(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the groups of all parts, numbered anew where parts use the same number; −1 stays an image of none."""
    found, following = [], 0
    for groups in parts:
        found.append(np.where(groups < 0, groups, groups + following))
        following = int(found[-1].max(initial=following - 1)) + 1
    return np.concatenate(found)


def from_tables(tables: list[pa.Table], classes: tuple[str, ...]) -> Samples:
    """Return verified tables as arrays."""
    table = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
    there = set(table.column_names)
    return Samples(
        decoded(table["image"]),
        table["label"].to_numpy().astype(np.int64),
        table["id"].to_numpy(),
        classes,
        Objects.from_arrow(table["objects"]) if "objects" in there else None,
        decoded(table["mask"])[..., 0].astype(np.uint16) if "mask" in there else None,
        table["group"].to_numpy() if "group" in there else None,
        tuple(table["caption"].to_pylist()) if "caption" in there else None,
    )


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


def subset_rows(samples: Samples, subset: Subset) -> np.ndarray:
    """Return the rows of a subset's samples in its seeded order: smaller subsets lie inside larger ones.

    By sequence, sequences come in a seeded order and their images in one too; an image of no sequence (−1) is one by
    itself. Of halves see ``half_of``. Raises SpecError when there are no sequences.
    """
    if subset.half is not None:
        return half_of(samples, subset)
    keys = np.array([seed_of("subset", subset.seed, i) for i in samples.ids])
    if subset.by == "image":
        return stratified_order(samples.labels, keys)[: subset.size]
    if samples.groups is None:
        raise SpecError('Subset(by="sequence"): these images are of no sequences; write by="image"')
    firsts = {group: seed_of("sequence", subset.seed, group) for group in np.unique(samples.groups).tolist()}
    places = [key if group < 0 else firsts[group] for key, group in zip(keys, samples.groups.tolist(), strict=True)]
    return np.lexsort((keys, np.array(places)))[: subset.size]


def half_of(samples: Samples, subset: Subset) -> np.ndarray:
    """Return the rows of the half that one shadow model is trained on, of the first 2·size samples.

    Each pair of halves is a split anew, with classes in equal shares: in a seeded class-proportional order every other
    sample goes to either.
    """
    assert subset.half is not None
    audited = subset_rows(samples, replace(subset, size=2 * subset.size, half=None))
    keys = np.array([seed_of("half", subset.seed, subset.half // 2, i) for i in samples.ids[audited]])
    by_class = np.lexsort((keys, samples.labels[audited]))
    return audited[np.sort(by_class[subset.half % 2 :: 2])]


def canary_ids(samples: Samples, subset: Subset) -> np.ndarray:
    """Return the ids ``(canaries,)`` of the audited samples that carry a wrong label, the same for every half."""
    audited = subset if subset.half is None else replace(subset, size=2 * subset.size, half=None)
    ids = samples.ids[subset_rows(samples, audited)]
    keys = np.array([seed_of("canary", subset.seed, i) for i in ids])
    return ids[np.argsort(keys)[: subset.canaries]]


def _mislabelled(samples: Samples, canaries: np.ndarray, seed: int) -> Samples:
    """Return the samples with a wrong label on those of these ids: any other class, each as likely."""
    classes = len(samples.classes)
    if samples.objects is not None or classes < 2:
        raise SpecError("Subset.canaries: a wrong label needs another class; leave canaries out for images with boxes")
    labels = samples.labels.copy()
    for row in np.flatnonzero(np.isin(samples.ids, canaries)):
        away = 1 + seed_of("wrong label", seed, samples.ids[row]) % (classes - 1)
        labels[row] = (labels[row] + away) % classes
    return replace(samples, labels=labels)


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


def load(store: Store, subset: Subset | Dataset) -> Samples:
    """Return a subset, or a whole dataset, as arrays.

    Raises SpecError if the subset is larger than its dataset, FileNotFoundError if a shard is missing, and
    CorruptShard if a file is not what its digest says.
    """
    if isinstance(subset, Dataset):
        return load_dataset(store, subset)
    if isinstance(subset.of, Pool):
        return _load_prefix(store, subset.of, subset.size)
    assert isinstance(subset.of, Dataset)
    whole = load_known(store, subset.of)
    wanted = subset.size if subset.half is None else 2 * subset.size
    if wanted > len(whole):
        raise SpecError(
            f"Subset(size={subset.size}) takes {wanted} images and {subset.of.name!r} ({subset.of.split}) has "
            f"{len(whole)}; ask for that many or fewer"
        )
    found = _take(store, subset.of, subset_rows(whole, subset))
    return _mislabelled(found, canary_ids(whole, subset), subset.seed) if subset.canaries else found


def load_distances(store: Store, subset: Subset) -> tuple[np.ndarray, np.ndarray]:
    """Return ids ``(n,)`` and distances ``(n,)`` of a pool's images; raises what ``load`` raises for a pool."""
    assert isinstance(subset.of, Distances)
    tables = [read_table(store.file(subset.of, shard_name(first))) for first in shards_of(subset.size)]
    table = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
    return table["id"].to_numpy()[: subset.size], table["distance"].to_numpy()[: subset.size]


def load_dataset(store: Store, dataset: Dataset) -> Samples:
    """Return an imported dataset as arrays; a process reads each one once."""
    record = store.record(dataset)
    if record is None:
        raise StoreError(f"dataset {dataset.name!r} ({address(dataset)}) is not imported in {store.root}")
    return _read_dataset(store.folder(dataset), _files(record), tuple(record["result"]["classes"]))


def load_known(store: Store, dataset: Dataset) -> Samples:
    """Return what is known of an imported dataset; of a large one without pixels, ``images`` being ``(n, 0, 0, 0)``.

    Enough to choose a subset, of any dataset in little memory. Raises what ``load_dataset`` raises.
    """
    record = store.record(dataset)
    if record is None or not _is_large(record["result"]):
        return load_dataset(store, dataset)
    return _read_known(store.folder(dataset), _files(record), tuple(record["result"]["classes"]))


def _is_large(facts: dict[str, Any]) -> bool:
    return facts.get("n", 0) * facts.get("pixels", 0) ** 2 * facts.get("channels", 3) > LARGE


def _files(record: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(f for f in record["files"] if f.endswith(".parquet")))


@functools.lru_cache(maxsize=4)
def _read_known(folder: Path, files: tuple[str, ...], classes: tuple[str, ...]) -> Samples:
    table = pa.concat_tables([read_columns(folder / f, ("id", "label", "group")) for f in files])
    ids, labels = table["id"].to_numpy(), table["label"].to_numpy().astype(np.int64)
    groups = table["group"].to_numpy() if "group" in table.column_names else None
    return Samples(np.empty((len(ids), 0, 0, 0), np.uint8), labels, ids, classes, groups=groups)


def _take(store: Store, dataset: Dataset, rows: np.ndarray) -> Samples:
    """Return these rows of an imported dataset, in this order; of a large one no other image is held or decoded."""
    record = store.record(dataset)
    if record is None or not _is_large(record["result"]):
        return load_dataset(store, dataset).take(rows)
    folder, tables, first, order = store.folder(dataset), [], 0, np.sort(rows)
    for file in _files(record):
        n = row_count(folder / file)
        here = order[(order >= first) & (order < first + n)]
        tables += [read_table(folder / file).take(here - first)] if len(here) else []
        first += n
    return from_tables(tables, tuple(record["result"]["classes"])).take(np.argsort(np.argsort(rows)))


def class_counts(store: Store, pool: Pool) -> np.ndarray:
    """Return how many images of each class the pool's generator was fitted on: ``(classes,)``; ones where on none."""
    subset = real_of(pool.generator)
    if subset is None:
        return np.ones(len(pool_classes(store, pool)), np.int64)
    real = load(store, subset)
    return np.bincount(real.labels, minlength=len(real.classes))


def pool_classes(store: Store, pool: Pool) -> tuple[str, ...]:
    """Return the class names of a pool's images; those of a renderer, translated or not, are its people."""
    root = root_generator(pool.generator)
    if isinstance(root, OpenSet) and root.like:
        return load_dataset(store, root.like).classes
    if isinstance(root, Translation) and isinstance(root.virtual.of, Pool):
        return pool_classes(store, root.virtual.of)
    subset = real_of(pool.generator)
    return RENDERED if subset is None else load_dataset(store, subset.of).classes  # type: ignore[arg-type]


@functools.lru_cache(maxsize=4)
def _read_dataset(folder: Path, files: tuple[str, ...], classes: tuple[str, ...]) -> Samples:
    return from_tables([read_table(folder / f) for f in files], classes)


def _load_prefix(store: Store, pool: Pool, size: int) -> Samples:
    tables = [read_table(store.file(pool, shard_name(first))) for first in shards_of(size)]
    return from_tables(tables, pool_classes(store, pool)).take(slice(0, size))
