"""Image sets of Hugging Face's ``datasets``, where that package is installed: saved folders, and sets of the hub.

``Dataset(name="hf", fingerprint=…)`` is a folder that ``save_to_disk`` wrote, named by its content as other folders
are; ``Dataset(name="hf:owner/name", fingerprint=…)`` is a set of the hub (or of its cache), and the fingerprint is then
its revision there, the 40 hex digits of a commit, for a branch may move. The columns are found by their types. Not
here: Parquet files of your own, which need no such package (``folders``), and CIFAR's (``cifar``).
"""

import functools
import hashlib
import importlib
import importlib.util
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from realfake import folders
from realfake.sources import DatasetError, Entry, Source, Split
from realfake.spec import Dataset

SAVED, HUB = "hf", "hf:"
REVISION = re.compile(r"[0-9a-f]{40}")
VALIDATION = ("validation", "valid", "val", "dev")


def is_hugging_face(name: str) -> bool:
    """Return whether a name is a saved folder or a set of the hub."""
    return name == SAVED or name.startswith(HUB)


def read(dataset: Dataset, locations: Mapping[str, Path]) -> Source:
    """Return a saved folder, or a set of the hub, as a source.

    Splits are ``train``, ``test`` and ``validation``; where there is no test split, the validation split is it, and
    where neither is, one is held out by content as of other folders. Ids are positions in the order train, validation,
    test. Raises DatasetError when the package is missing, when no revision is given, when the set cannot be had, and
    when it has not one column of images and one of classes.
    """
    if importlib.util.find_spec("datasets") is None:
        raise DatasetError(f"Dataset(name={dataset.name!r}) is read by a package that is missing; pip install datasets")
    library = importlib.import_module("datasets")
    if dataset.name == SAVED:
        path = folders.locate(dataset, locations)
        return _source(dataset.name, library, _saved(library, path), f"saved by datasets in {path}")
    origin = f"{dataset.name} on the Hugging Face hub, revision {dataset.fingerprint}"
    return _source(dataset.name, library, _of_hub(dataset, library), origin)


def _saved(library: Any, path: Path) -> Any:
    try:
        return library.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        reason = _first_line(error)
        raise DatasetError(f"{path} is no folder of Dataset.save_to_disk ({reason}); save it anew") from None


def _of_hub(dataset: Dataset, library: Any) -> Any:
    """Return a set of the hub at its revision; "hf:owner/name:part" is one of the configurations it has."""
    if not REVISION.fullmatch(dataset.fingerprint):
        raise DatasetError(
            f"Dataset(name={dataset.name!r}) names no content, and what the hub holds may change; write fingerprint= "
            "the revision, the 40 hex digits of its last commit (Files and versions, on its page)"
        )
    name, _, part = dataset.name.removeprefix(HUB).partition(":")
    try:
        return library.load_dataset(name, part or None, revision=dataset.fingerprint)
    except (OSError, ValueError, RuntimeError) as error:
        raise DatasetError(
            f"{dataset.name!r} cannot be had ({_first_line(error)}); go online, or save it where you are with "
            "save_to_disk and write Dataset(name='hf', fingerprint=…)"
        ) from None


def _source(name: str, library: Any, found: Any, origin: str) -> Source:
    parts = _parts(name, dict(found) if isinstance(found, dict) else {"train": found})
    image, label = _columns(name, library, parts["train"].features)
    classes = tuple(parts["train"].features[label].names)
    raw = {split: part.cast_column(image, library.Image(decode=False)) for split, part in parts.items()}
    rows: list[tuple[Split, int, int]] = [
        (split, i, value) for split, part in parts.items() for i, value in enumerate(part[label])
    ]
    if bad := [f"{split} {i}" for split, i, value in rows if value is None or not 0 <= value < len(classes)]:
        raise DatasetError(f"{name!r}: {len(bad)} images have no class ({', '.join(bad[:3])}, …); give every image one")
    entries = [
        Entry(number, f"{split} {i}", value, split, functools.partial(_open, raw[split], image, i))
        for number, (split, i, value) in enumerate(rows)
    ]
    licence = parts["train"].info.license or "not stated"
    if len(parts) > 1:
        return Source(classes, tuple(entries), licence, origin)
    digests = [hashlib.sha256(_bytes(raw["train"], image, i)).hexdigest() for i in range(len(entries))]
    held = folders.hold_out([folders.Found(entry, digest) for entry, digest in zip(entries, digests, strict=True)])
    return Source(classes, held, licence, f"{origin}; test split held out by content ({folders.HELD_OUT:.0%})")


def _parts(name: str, found: dict[str, Any]) -> dict[Split, Any]:
    """Return the parts by our splits, in the order train, validation, test."""
    validation = next((found[said] for said in VALIDATION if said in found), None)
    if "train" not in found:
        raise DatasetError(f"{name!r} has the splits {', '.join(found)} and no train; save one under that name")
    ours: dict[Split, Any] = {"train": found["train"]}
    if "test" in found and validation is not None:
        ours["validation"] = validation
    test = found.get("test", validation)
    return ours if test is None else {**ours, "test": test}


def _columns(name: str, library: Any, features: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of the one column of images and of the one of classes; of several the one called "label"."""
    images = [column for column, feature in features.items() if isinstance(feature, library.Image)]
    labels = [column for column, feature in features.items() if isinstance(feature, library.ClassLabel)]
    labels = ["label"] if "label" in labels else labels
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    raise DatasetError(
        f"{name!r} has the columns {', '.join(f'{column} ({type(of).__name__})' for column, of in features.items())}; "
        "one of Image and one of ClassLabel are needed: use cast_column, remove_columns and save_to_disk"
    )


def _bytes(part: Any, column: str, i: int) -> bytes:
    value = part[i][column]
    return value["bytes"] or Path(value["path"]).read_bytes()


def _open(part: Any, column: str, i: int) -> Image.Image:
    return Image.open(io.BytesIO(_bytes(part, column, i)))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(":")
