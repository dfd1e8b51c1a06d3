"""Captions that lie beside the images of a folder: one ``.txt`` an image, or tables of file names and sentences.

Tables are ``metadata.jsonl`` and ``metadata.csv`` as Hugging Face's imagefolder has them, and ``captions.csv``; a row's
``file_name`` is relative to the folder of its table, its sentence is the column ``caption`` or ``text``. Captions of
Parquet files are a column of theirs, see ``folders``; captions that a model writes are made in ``generators``.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from realfake.sources import DatasetError

SUFFIXES = (".txt", ".jsonl", ".csv")
TABLES = ("metadata.jsonl", "metadata.csv", "captions.csv")
COLUMNS = ("caption", "text")  # the first that is there; Parquet files call it so too


def caption_files(images: Sequence[Path], beside: Iterable[Path]) -> list[Path]:
    """Return those of the files ``beside`` the images that hold captions: other notes and tables are left alone."""
    own = {image.with_suffix(".txt") for image in images}
    tables = [file for file in beside if images and file.name in TABLES]
    return sorted({*own.intersection(beside), *(file for file in tables if any(_rows(file)))})


def captions_beside(images: Sequence[Path], beside: Iterable[Path]) -> dict[Path, str]:
    """Return the captions by image. Raises DatasetError for one of no image here, and for two of one image."""
    by_text = {image.with_suffix(".txt"): image for image in images}
    known, found = set(images), {}
    for file in caption_files(images, beside):
        pairs = _rows(file) if file.name in TABLES else [(by_text[file], _read(file))]
        for image, text in pairs:
            if image not in known:
                raise DatasetError(f"{file} has a caption for {image.name}, which is no image here; remove that row")
            if found.get(image, text) != text:
                raise DatasetError(f"{image} has two captions, {found[image]!r} and {text!r} ({file}); keep one")
            found[image] = text
    return found


def _rows(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield image and caption of each row of a table that has captions."""
    for row in _records(file):
        column = next((name for name in COLUMNS if row.get(name)), None)
        name = row.get("file_name")
        if column and name:
            yield file.parent / name, " ".join(str(row[column]).split())


def _records(file: Path) -> list[dict[str, str]]:
    try:
        text = _read(file, lines=True)
        if file.suffix == ".csv":
            return list(csv.DictReader(io.StringIO(text)))
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (json.JSONDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} is no table that can be read ({error}); write it again or remove it") from None
    return [row for row in rows if isinstance(row, dict)]


def _read(file: Path, lines: bool = False) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} cannot be read as text ({error}); write it as UTF-8 or remove it") from None
    return text if lines else " ".join(text.split())
