"""The user's own images, as lists of images not read yet: folders of class folders, and Parquet files.

A path is no identity: such a source is named by the ``fingerprint`` of its content. Where no test split is given, one
is held out by content: an image is a test image if the sha256 of its bytes, as a number in [0, 1), lies below
``HELD_OUT``, so that equal files fall on one side and adding a file moves no other. Proportions of classes are thus
met on average, not exactly; in a class where all images fall on one side, the nearest one crosses over.
Checking, resizing and storing the images is in ``datasets``; what packages ship is in ``sources``.
"""

import functools
import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from realfake.caption_files import COLUMNS, SUFFIXES, caption_files, captions_beside
from realfake.sources import DatasetError, Entry, Source, Split
from realfake.spec import Dataset

HELD_OUT = 0.2
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
PARQUET = (".parquet",)
ANNOTATIONS = {  # what belongs to a set besides its images, by the name of its format
    **{"coco": (".json",), "yolo": (".txt", ".yaml", ".yml"), "voc": (".xml", ".txt"), "visdrone": (".txt",)},
    **{"okutama": (".txt",), "icg": (".p",), "heridal": (".xml", ".txt"), "sard": (".xml", ".txt")},
    "archangel": (".json", ".txt"),
    **{"imagenet1k": (".csv", ".txt", ".mat"), "hf": (".arrow",)},
}
TEST_NAMES = ("test", "val", "validation", "valid")  # the first that is there is the test split


@dataclass(frozen=True)
class Found:
    """An entry whose split is not decided yet; ``digest`` is the sha256 of its bytes."""

    entry: Entry
    digest: str


def fingerprint(path: Path, source: str = "imagefolder") -> str:
    """Return 16 hex digits of the sha256 over the sorted relative names and contents of all image and Parquet files.

    Of a source with boxes ("coco", "yolo", …) its annotation files count too, of an image folder its captions, of
    others what tells their classes. Other files and hidden ones do not, and neither does where the folder is. Raises
    DatasetError if it cannot be read.
    """
    total = hashlib.sha256()
    found = files(path, (*IMAGES, *PARQUET, *ANNOTATIONS.get(source, ())))
    if source == "imagefolder":
        said = caption_files([file for file in found if file.suffix.lower() in IMAGES], files(path, SUFFIXES))
        found = sorted([*found, *said], key=lambda file: file.relative_to(path).as_posix())
    if source == "hf":  # beside the data, the package leaves what it computed from them
        found = [file for file in found if not file.name.startswith("cache-")]
    for file in found:
        total.update(f"{file.relative_to(path).as_posix()}\0{_sha256(file)}\n".encode())
    return total.hexdigest()[:16]


def locate(dataset: Dataset, locations: Mapping[str, Path]) -> Path:
    """Return where the images of a dataset are: the place with its fingerprint.

    Raises DatasetError when no place is known, when it is gone, or when its content has changed.
    """
    known = [locations[key] for key in (dataset.fingerprint, dataset.name) if key in locations]
    places = [Path(place).absolute() for place in known if Path(place).exists()]
    if not places:
        _unknown_place(dataset, known)
    for place in places:
        if (now := fingerprint(place, dataset.name)) == dataset.fingerprint:
            return place
    if not dataset.fingerprint:
        raise DatasetError(
            f"Dataset(name={dataset.name!r}) names no content, and a path is no identity; for {place} as it is now "
            f"write fingerprint={now!r}"
        )
    raise DatasetError(
        f"the folder has changed since: {place} has fingerprint {now}, the study says {dataset.fingerprint}; "
        f"bring back the files it had, or write fingerprint={now!r} for the images as they are now"
    )


def source_name(path: Path) -> str:
    """Return which source reads a path: "parquet" if it holds Parquet files and no image files, or "imagefolder"."""
    return "parquet" if files(path, PARQUET) and not files(path, IMAGES) else "imagefolder"


def image_folder(path: Path) -> Source:
    """Return a folder of class folders of images, or of ``train`` and ``test`` (or ``val``) folders of such.

    Raises DatasetError if the folder cannot be read.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder; give a folder that holds a folder of images for each class")
    parts = _split_folders(path)
    classes = sorted({name for root in parts.values() for name in _folder_names(root)})
    images: list[tuple[str, Split, str, Path]] = [
        (file.relative_to(path).as_posix(), split, file.relative_to(root).parts[0], file)
        for split, root in parts.items()
        for file in files(root, IMAGES)
    ]
    images.sort()
    inside = [image for image in images if image[2] in classes]  # the others lie beside the class folders
    said = captions_beside([file for *_, file in images], files(path, SUFFIXES))
    found = [
        Found(
            Entry(i, name, classes.index(label), split, functools.partial(Image.open, file), said.get(file, "")),
            _sha256(file),
        )
        for i, (name, split, label, file) in enumerate(inside)
    ]
    unused = [f"{len(images) - len(inside)} images outside class folders"] if len(images) > len(inside) else []
    if len(parts) > 1:
        unused += [f"{name}/" for name in _folder_names(path) if path / name not in parts.values()]
    return _source(path, tuple(classes), found, is_split=len(parts) > 1, unused=unused)


def parquet(path: Path) -> Source:
    """Return a Parquet file, or a folder of ``train*.parquet`` and ``test*.parquet`` (or ``val*``), as a source.

    Columns: ``image`` (the bytes of an image file, or a struct with a field ``bytes``), ``label`` (whole numbers), and
    optionally ``class_name`` and ``caption`` (or ``text``). Raises DatasetError if they are not there.
    """
    _row_group.cache_clear()  # a file may have been written anew since it was last read
    named = _split_files(path)
    rows = [row for file, split in named for row in _rows(file, split)]
    names = _class_names((row.label, row.class_name) for row in rows)
    order = {label: i for i, label in enumerate(names)}
    found = [
        Found(
            Entry(i, row.name(path), order[row.label], row.split, functools.partial(_open, row), row.caption),
            row.digest,
        )
        for i, row in enumerate(rows)
    ]
    return _source(path, tuple(names.values()), found, is_split=len({split for _, split in named}) > 1, unused=[])


def files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files below a folder (or the file itself) with these suffixes, sorted; hidden ones are left out.

    Raises DatasetError if a folder cannot be read.
    """
    if path.is_file():
        return [path] if path.suffix.lower() in suffixes else []
    found = []
    for root, folders, names in os.walk(path, onerror=_unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, n) for n in names if not n.startswith(".") and Path(n).suffix.lower() in suffixes]
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


# ------------------------------------------------------------------------------------------------------ image folders


def _split_folders(path: Path) -> dict[Split, Path]:
    tests = [path / name for name in TEST_NAMES if (path / name).is_dir()]
    return {"train": path / "train", "test": tests[0]} if tests and (path / "train").is_dir() else {"train": path}


def _folder_names(root: Path) -> list[str]:
    try:
        return sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        _unreadable(error)


def _source(path: Path, classes: tuple[str, ...], found: list[Found], is_split: bool, unused: list[str]) -> Source:
    entries = tuple(f.entry for f in found) if is_split else hold_out(found)
    how = "" if is_split else f"; test split held out by content ({HELD_OUT:.0%})"
    left = f"; not used: {', '.join(unused)}" if unused else ""
    return Source(classes, entries, "not stated: your own images", f"{path}{how}{left}")


def hold_out(found: list[Found]) -> tuple[Entry, ...]:
    """Return the entries with their split decided by the digest of their content, see the top of this module."""
    limit = f"{int(HELD_OUT * 16**8):08x}"
    tests = {f.digest for f in found if f.digest < limit}
    by_class: dict[int, set[str]] = {}
    for f in found:
        by_class.setdefault(f.entry.label, set()).add(f.digest)
    for digests in by_class.values():
        if len(digests) > 1 and not digests & tests:
            tests.add(min(digests))
        elif len(digests) > 1 and digests <= tests:
            tests.remove(max(digests))
    return tuple(replace(f.entry, split="test" if f.digest in tests else "train") for f in found)


def _unknown_place(dataset: Dataset, gone: Iterable[Path]) -> NoReturn:
    was = f"is no longer at {', '.join(map(str, gone))}" if gone else "is at no place that is known here"
    raise DatasetError(
        f"Dataset(name={dataset.name!r}, fingerprint={dataset.fingerprint!r}) {was}; write "
        f'{dataset.name} = "DIR" under [data] in the --on file, or type realfake new --images DIR'
    )


def _unreadable(error: OSError) -> NoReturn:
    raise DatasetError(f"the folder {error.filename} cannot be read ({error.strerror}); give one that can") from None


def _sha256(file: Path) -> str:
    try:
        with open(file, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror}); make it readable or remove it") from None


# ------------------------------------------------------------------------------------------------------- Parquet files


def _split_files(path: Path) -> list[tuple[Path, Split]]:
    found = files(path, PARQUET)
    if not found:
        raise DatasetError(f"{path} holds no Parquet file; give a file, or a folder with train*.parquet")
    train = [file for file in found if file.name.startswith("train")]
    for name in TEST_NAMES:
        if train and (test := [file for file in found if file.name.startswith(name)]):
            return [*((file, "train") for file in train), *((file, "test") for file in test)]
    return [(file, "train") for file in train or found]


@dataclass(frozen=True)
class _Row:
    """Where a row of a Parquet file is, and all of it but the image."""

    file: Path
    split: Split
    group: int
    row: int
    label: int
    class_name: str | None
    caption: str
    digest: str

    def name(self, folder: Path) -> str:
        file = self.file.relative_to(folder) if folder.is_dir() else self.file.name
        return f"{file} row {self.row} of group {self.group}"


def _rows(file: Path, split: Split) -> list[_Row]:
    found = []
    for group in range(_opened(file).metadata.num_row_groups):
        table = _row_group(file, group)
        labels = table["label"].to_pylist()
        names = table["class_name"].to_pylist() if "class_name" in table.column_names else [None] * len(labels)
        said = next((table[name].to_pylist() for name in COLUMNS if name in table.column_names), [None] * len(labels))
        for row, (label, name, caption) in enumerate(zip(labels, names, said, strict=True)):
            if label is None:
                raise DatasetError(f"{file}: row {row} of group {group} has no label; give every image one")
            digest = hashlib.sha256(_bytes(table, row)).hexdigest()
            found.append(_Row(file, split, group, row, label, name, " ".join(str(caption or "").split()), digest))
    return found


def _class_names(pairs: Iterable[tuple[int, str | None]]) -> dict[int, str]:
    """Return the class name of every label, sorted by label; raises DatasetError when a label has two names."""
    names: dict[int, str] = {}
    for label, name in dict.fromkeys(pairs):
        if names.setdefault(label, name or str(label)) != (name or str(label)):
            raise DatasetError(f"label {label} has two class names, {names[label]!r} and {name!r}; keep one of them")
    return dict(sorted(names.items()))


def _opened(file: Path) -> pq.ParquetFile:
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{file} is not a Parquet file that can be read ({error}); write it again") from None
    has = {field.name: str(field.type) for field in opened.schema_arrow}
    if "binary" not in has.get("image", "") or "int" not in has.get("label", ""):
        raise DatasetError(
            f"{file} has the columns {', '.join(f'{k} ({v})' for k, v in has.items())}; it needs 'image' (bytes, or a "
            "struct with a field 'bytes') and 'label' (whole numbers)"
        )
    return opened


@functools.lru_cache(maxsize=1)  # rows are read in order
def _row_group(file: Path, group: int) -> pa.Table:
    opened = _opened(file)
    columns = [name for name in ("image", "label", "class_name", *COLUMNS) if name in opened.schema_arrow.names]
    try:
        return opened.read_row_group(group, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{file}: row group {group} cannot be read ({error}); write the file again") from None


def _bytes(table: pa.Table, row: int) -> bytes:
    value = table["image"][row].as_py()
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


def _open(row: _Row) -> Image.Image:
    return Image.open(io.BytesIO(_bytes(_row_group(row.file, row.group), row.row)))
