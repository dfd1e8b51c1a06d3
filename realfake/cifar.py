"""CIFAR-10 and CIFAR-100 from Parquet files, and the order by content that makes every route to them the same samples.

Hugging Face hands them out as ``train*.parquet`` and ``test*.parquet`` of image files, in an order of its own. So the
images of a split stand in the order of a digest of their content, whichever route they came by. Copies as JPEG files
have other pixels and therefore another name, "cifar10-jpeg". Not here: the released batches, which torchvision reads
(see ``named_sets``), and Parquet files of your own (``folders``).
"""

import functools
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from realfake.pictures import UNREADABLE
from realfake.sources import DatasetError, Entry, Source, Split

JPEG = "cifar10-jpeg"
NAMES = ("cifar10", "cifar100", JPEG)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZES: dict[Split, int] = {"train": 50_000, "test": 10_000}
IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img"), ("fine_label", "label")
SHA256_JPEG = "02c2e3721f884bf8c38c8a01d0669ebd295efee61363499e3d9ce198f2c5e832"  # of ``_digest``
LICENCE = "not stated; cite Krizhevsky 2009"
START_OF_JPEG = b"\xff\xd8"


def is_parquet(folder: Path) -> bool:
    """Return whether a folder holds Parquet files of both splits."""
    return all(_files(folder, split) for split in SIZES)


def read(name: str, folder: Path) -> Source:
    """Return "cifar10", "cifar100" or "cifar10-jpeg" from the Parquet files in a folder, ordered by content.

    Columns: ``image`` or ``img`` (bytes, or a struct with ``bytes``) and ``label`` (of CIFAR-100 ``fine_label``, with
    the class names in Hugging Face's metadata). Ids are positions in that order, train first. The digest of the JPEG
    copy is known and compared; released pixels are told by every class being as frequent as it must and by lossless
    files. Raises DatasetError for other images.
    """
    classes = CIFAR10 if name != "cifar100" else _class_names(_files(folder, "train")[0])
    entries = [entry for split in SIZES for file in _files(folder, split) for entry in _entries(file, split, name)]
    for split, size in SIZES.items():
        _check_counts(name, split, Counter(e.label for e in entries if e.split == split), size, len(classes))
    source = Source(classes, tuple(entries), LICENCE, f"{name}, Parquet files in {folder}, ordered by content")
    if name != JPEG:
        return ordered(source)
    found = ordered(source, file_digest)
    _same(_digest(found))
    return found


def ordered(source: Source, digest: Callable[[Entry], bytes] | None = None) -> Source:
    """Return a source with the images of each split in the order of their content, train first, and ids to match.

    ``digest`` of an image is the sha256 of its RGB pixels unless another one is given, and becomes its name. Images
    are opened one after another. Raises DatasetError for one that cannot be.
    """
    digest = digest or pixels_digest
    found = sorted((entry.split != "train", digest(entry), entry.label, i) for i, entry in enumerate(source.entries))
    entries = (replace(source.entries[i], id=new, name=key.hex()[:16]) for new, (_, key, _, i) in enumerate(found))
    return replace(source, entries=tuple(entries))


def pixels_digest(entry: Entry) -> bytes:
    """Return the sha256 of the RGB pixels of an image, row by row: the same for every lossless file of it."""
    try:
        with entry.open() as image:
            return hashlib.sha256(image.convert("RGB").tobytes()).digest()
    except UNREADABLE as error:
        raise DatasetError(f"{entry.name} cannot be read ({error}); fetch its file again") from None


def file_digest(entry: Entry) -> bytes:
    """Return the sha256 of the bytes of an image's file: decoders of JPEG may differ in a pixel."""
    assert isinstance(entry.open, functools.partial)  # by ``_entries``
    return hashlib.sha256(entry.open.args[0]).digest()


def _digest(source: Source) -> str:
    """Return the sha256 over the files' digests and labels (one byte each), train and then test."""
    total = hashlib.sha256()
    for entry in source.entries:
        total.update(file_digest(entry) + bytes([entry.label]))
    return total.hexdigest()


def _files(folder: Path, split: Split) -> list[Path]:
    return sorted(folder.glob(f"{split}*.parquet"))


def _entries(file: Path, split: Split, name: str) -> list[Entry]:
    table = _table(file)
    contents = [
        (value.get("bytes") if isinstance(value, dict) else value) or b""
        for value in _column(file, table, IMAGE_COLUMNS).to_pylist()
    ]
    _check_kind(file, name, sum(content.startswith(START_OF_JPEG) for content in contents), len(contents))
    labels = _column(file, table, LABEL_COLUMNS).to_pylist()
    return [
        Entry(i, f"row {i} of {file}", label, split, functools.partial(_open, content))
        for i, (content, label) in enumerate(zip(contents, labels, strict=True))
    ]


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _table(file: Path) -> pa.Table:
    try:
        return pq.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{file} is not a Parquet file that can be read ({error}); fetch it again") from None


def _column(file: Path, table: pa.Table, names: tuple[str, ...]) -> pa.ChunkedArray:
    for name in names:
        if name in table.column_names:
            return table[name]
    raise DatasetError(
        f"{file} has the columns {', '.join(table.column_names)} and lacks {' or '.join(names)}; fetch the original"
    )


def _class_names(file: Path) -> tuple[str, ...]:
    """Return the names of the fine labels from what Hugging Face's ``datasets`` writes beside the columns."""
    try:
        features = json.loads((_table(file).schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features["fine_label"]["names"])
    except (KeyError, ValueError):
        raise DatasetError(
            f"{file} does not say what the fine labels are called; fetch the files of Hugging Face's uoft-cs/cifar100, "
            "or give the folder of the released batches"
        ) from None


# -------------------------------------------------------------------------------------------------------------- checks


def _check_kind(file: Path, name: str, jpegs: int, n: int) -> None:
    """Refuse JPEG files for released pixels, which they alter, and other files for the JPEG copy."""
    if name == JPEG and jpegs < n:
        raise DatasetError(f"{file} holds {n - jpegs:,} images that are no JPEG; for those write name='cifar10'")
    if name != JPEG and jpegs:
        cure = f"for these images write Dataset(name={JPEG!r})" if name == "cifar10" else "fetch lossless files"
        raise DatasetError(
            f"{file} holds {jpegs:,} JPEG files, and JPEG alters pixels, so they are not the images of {name!r}; {cure}"
        )


def _check_counts(name: str, split: Split, counts: Counter[int], size: int, classes: int) -> None:
    if counts != dict.fromkeys(range(classes), size // classes):
        raise DatasetError(
            f"{name!r} ({split}) has {size:,} images, {size // classes:,} of each of {classes} classes, and here are "
            f"{counts.total():,} of {len(counts)}; for other images write Dataset(name='parquet', fingerprint=…)"
        )


def _same(found: str) -> None:
    if found != SHA256_JPEG:
        raise DatasetError(
            f"{JPEG!r} is one known copy of CIFAR-10, and here are other JPEG files (sha256 {found[:12]} instead of "
            f"{SHA256_JPEG[:12]}); write Dataset(name='parquet', fingerprint=…) for them"
        )
