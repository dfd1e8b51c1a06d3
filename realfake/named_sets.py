"""The data sets that torchvision names, as lists of images not read yet: CIFAR, SVHN, MNIST's relatives, Food-101, ….

A table says how each is called there, where in a folder it lies, and how many images its release has; torchvision
finds the files (and checks the digests that it knows), and is asked for the labels alone, so that images are opened one
by one. Not here: the sets that other packages ship and Fashion-MNIST (``sources``), CIFAR as Parquet files (``cifar``),
MedMNIST (``medical``), the user's own folders (``folders``).
"""

import functools
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from realfake import cifar
from realfake.sources import DatasetError, Entry, Source, Split, held_out_rows

DIGITS = tuple("0123456789")
HELD_OUT = 0.2  # of a set that was released in one piece
LABELS = ("targets", "labels", "_labels")  # torchvision has no public name that all sets share; see ``_labels``
Part = tuple[Split, dict[str, Any], int]


def _by_train(train: int, test: int, **more: Any) -> tuple[Part, ...]:
    return (("train", {"train": True, **more}, train), ("test", {"train": False, **more}, test))


def _by_split(train: int, test: int, validation: int = 0, called: tuple[str, str, str] = ("train", "test", "val")):
    parts: tuple[Part, ...] = (
        ("train", {"split": called[0]}, train),
        ("validation", {"split": called[2]}, validation),
        ("test", {"split": called[1]}, test),
    )
    return tuple(part for part in parts if part[2])


@dataclass(frozen=True)
class Named:
    """One set: its class in torchvision, the folder or file in DIR that it is read from, its parts with their sizes.

    Parts are given as (our split, torchvision's keywords, images in the release). ``classes`` stand in for names that
    torchvision lacks, ``first`` is the least label; ``by_content`` orders images by their pixels and not by the files.
    """

    torchvision: str
    inside: str
    parts: tuple[Part, ...]
    licence: str = "not stated"
    classes: tuple[str, ...] = ()
    first: int = 0
    by_content: bool = False


SETS = {
    "cifar10": Named("CIFAR10", "cifar-10-batches-py", _by_train(50_000, 10_000), cifar.LICENCE, by_content=True),
    "cifar100": Named("CIFAR100", "cifar-100-python", _by_train(50_000, 10_000), cifar.LICENCE, by_content=True),
    "svhn": Named("SVHN", "train_32x32.mat", _by_split(73_257, 26_032), "non-commercial (unverified)", DIGITS),
    "stl10": Named("STL10", "stl10_binary", _by_split(5_000, 8_000)),
    "mnist": Named("MNIST", "MNIST/raw", _by_train(60_000, 10_000), "CC BY-SA 3.0 (unverified)", DIGITS),
    "kmnist": Named("KMNIST", "KMNIST/raw", _by_train(60_000, 10_000), "CC BY-SA 4.0 (unverified)"),
    "emnist-letters": Named("EMNIST", "EMNIST/raw", _by_train(124_800, 20_800, split="letters"), first=1),
    "emnist-balanced": Named("EMNIST", "EMNIST/raw", _by_train(112_800, 18_800, split="balanced")),
    "usps": Named("USPS", "usps.bz2", _by_train(7_291, 2_007), classes=DIGITS),
    "food101": Named("Food101", "food-101", _by_split(75_750, 25_250)),
    "pets": Named(
        *("OxfordIIITPet", "oxford-iiit-pet", _by_split(3_680, 3_669, called=("trainval", "test", ""))),
        "CC BY-SA 4.0 (unverified)",
    ),
    "flowers102": Named("Flowers102", "flowers-102", _by_split(1_020, 6_149, 1_020)),
    "dtd": Named("DTD", "dtd", _by_split(1_880, 1_880, 1_880)),
    "aircraft": Named("FGVCAircraft", "fgvc-aircraft-2013b", _by_split(3_334, 3_333, 3_333)),
    "country211": Named("Country211", "country211", _by_split(31_650, 21_100, 10_550, ("train", "test", "valid"))),
    "eurosat": Named("EuroSAT", "eurosat", (("train", {}, 27_000),), "MIT (unverified)"),
    "gtsrb": Named("GTSRB", "gtsrb", _by_split(26_640, 12_630), classes=tuple(map(str, range(43)))),
    "imagenette": Named("Imagenette", "imagenette2", _by_split(9_469, 3_925, called=("train", "val", ""))),
}


def read(name: str, locations: Mapping[str, Path], downloads: Path) -> Source:
    """Return a named set from the place that is given for it, else downloaded by torchvision into ``downloads``.

    A place is given under the set's name, or under what stands before its hyphen ("emnist" for "emnist-letters"). Ids
    are positions in the order train, validation, test; CIFAR is ordered by content, and its place may hold Parquet
    files. Of EuroSAT, which was released in one piece, a fifth is the test split, each class in proportion. Imagenette
    goes by its WordNet ids. Raises DatasetError when it is nowhere, and for another number of images than the release.
    """
    folder = locations.get(name, locations.get(name.partition("-")[0]))
    if name in cifar.NAMES and folder is not None and cifar.is_parquet(folder):
        return cifar.read(name, folder)
    if name == cifar.JPEG:
        raise DatasetError(
            f"{name!r} is not at hand ({folder or 'no folder'} holds no Parquet files train… and test… of it); write "
            f'{name} = "DIR" under [data] in the --on file'
        )
    row = SETS[name]
    root = downloads if folder is None else _root(folder, row.inside)
    found: dict[Split, Any] = {split: _loaded(name, row, keywords, root, folder) for split, keywords, _ in row.parts}
    for split, _, size in row.parts:
        _check_size(name, split, len(found[split]), size, root)
    source = _source(name, row, found, root)
    return cifar.ordered(source) if row.by_content else source


def _source(name: str, row: Named, found: dict[Split, Any], root: Path) -> Source:
    classes = {split: _classes(row, part) for split, part in found.items()}
    if len(set(classes.values())) > 1:
        raise DatasetError(f"{name!r}: train and test have other classes in {root}; remove it and fetch it again")
    opened: list[tuple[Split, Any, int, int]] = [
        (split, part, i, label) for split, part in found.items() for i, label in enumerate(_labels(part))
    ]
    entries = [
        Entry(number, f"{split} {i}", label - row.first, split, functools.partial(_picture, part, i))
        for number, (split, part, i, label) in enumerate(opened)
    ]
    how = f"torchvision {importlib.metadata.version('torchvision')}, {row.torchvision} in {root}"
    if len(found) == 1:
        labels = np.array([entry.label for entry in entries])
        held = held_out_rows(name, labels, size=round(HELD_OUT * len(labels)))
        entries = [replace(entry, split="test") if out else entry for entry, out in zip(entries, held, strict=True)]
    return Source(classes["train"], tuple(entries), row.licence, how)


def _loaded(name: str, row: Named, keywords: dict[str, Any], root: Path, folder: Path | None) -> Any:
    """Return torchvision's data set of one part, downloaded only where no folder is given."""
    import torchvision  # here, for it takes seconds to import

    try:
        return getattr(torchvision.datasets, row.torchvision)(str(root), **keywords, download=folder is None)
    except (OSError, RuntimeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(":")
        where = f"torchvision does not find it whole in {folder}" if folder else "the download failed"
        raise DatasetError(
            f"{name!r} is not at hand ({where}: {reason}): name the folder that holds {row.inside} "
            f'({name} = "DIR" under [data] in the --on file), or go online and name no folder, and torchvision '
            "downloads it"
        ) from None


def _root(folder: Path, inside: str) -> Path:
    """Return the folder that torchvision wants: the one that holds ``inside``, where it or a part of it was given."""
    parts = Path(inside).parts
    for length in range(len(parts), 0, -1):
        if folder.parts[-length:] == parts[:length]:
            return folder.parents[length - 1]
    return folder


def _classes(row: Named, part: Any) -> tuple[str, ...]:
    names = row.classes or getattr(part, "wnids", None) or part.classes
    return tuple(names[row.first :])


def _labels(part: Any) -> list[int]:
    """Return the labels of torchvision's data set without opening its images, which indexing it would do."""
    for attribute in LABELS:
        if hasattr(part, attribute):
            return np.asarray(getattr(part, attribute)).tolist()
    return [label for _, label in part._samples]


def _picture(part: Any, i: int) -> Image.Image:
    return part[i][0]


def _check_size(name: str, split: Split, n: int, size: int, root: Path) -> None:
    if n != size:
        raise DatasetError(
            f"{name!r} ({split}) has {size:,} images as it was released, and {root} holds {n:,}; remove it and fetch "
            "it again, or use other images as Dataset(name='imagefolder')"
        )
