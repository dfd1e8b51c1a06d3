"""MedMNIST's flat sets (Yang et al. 2023, doi 10.1038/s41597-022-01721-8), read from the released ``.npz`` files.

Eleven sets of medical images with train, validation and test splits, at 28 pixels ("bloodmnist") and, as MedMNIST+, at
64, 128 and 224 ("bloodmnist_64"). Class names, licences and md5 sums are those of the ``medmnist`` package (3.0.2),
which is not needed. A file is the set of its name only if its md5 is the released one. Not here: the sets of solids,
and ChestMNIST, whose images have several labels each.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from realfake.sources import DatasetError, Entry, Source, Split

SIDES = (28, 64, 128, 224)
PARTS: tuple[tuple[Split, str], ...] = (("train", "train"), ("validation", "val"), ("test", "test"))
RELEASE = "https://zenodo.org/records/10519652/files/{}.npz?download=1"
SEVERAL_LABELS = "chestmnist"


@dataclass(frozen=True)
class Medical:
    """One set: its class names, the md5 of its file at each of ``SIDES``, its licence."""

    classes: tuple[str, ...]
    md5: tuple[str, ...]
    licence: str = "CC BY 4.0"


ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left"),
    *("lung-right", "pancreas", "spleen"),
)
SETS = {
    "pathmnist": Medical(
        (
            *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle"),
            *("normal colon mucosa", "cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
        ),
        (
            *("a8b06965200029087d5bd730944a56c1", "55aa9c1e0525abe5a6b9d8343a507616"),
            *("ac42d08fb904d92c244187169d1fd1d9", "2c51a510bcdc9cf8ddb2af93af1eadec"),
        ),
    ),
    "dermamnist": Medical(
        (
            *("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma"),
            *("benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi"),
            *("vascular lesions",),
        ),
        (
            *("0744692d530f8e62ec473284d019b0c7", "b70a2f5635c6199aeaa28c31d7202e1f"),
            *("2defd784463fa5243564e855ed717de1", "8974907d8e169bef5f5b96bc506ae45d"),
        ),
        "CC BY-NC 4.0",
    ),
    "octmnist": Medical(
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        (
            *("c68d92d5b585d8d81f7112f81e2d0842", "e229e9440236b774d9f0dfef9d07bdaf"),
            *("0a97e76651ace45c5d943ee3f65b63ae", "abc493b6d529d5de7569faaef2773ba3"),
        ),
    ),
    "pneumoniamnist": Medical(
        ("normal", "pneumonia"),
        (
            *("28209eda62fecd6e6a2d98b1501bb15f", "8f4eceb4ccffa70c672198ea285246c6"),
            *("05b46931834c231683c68f40c47b2971", "d6a3c71de1b945ea11211b03746c1fe1"),
        ),
    ),
    "retinamnist": Medical(
        ("0", "1", "2", "3", "4"),
        (
            *("bd4c0672f1bba3e3a89f0e4e876791e4", "afda852cc34dcda56f86ad2b2457dbcc"),
            *("e48e916a24454daf90583d4e6efb1a18", "eae7e3b6f3fcbda4ae613ebdcbe35348"),
        ),
    ),
    "breastmnist": Medical(
        ("malignant", "normal, benign"),
        (
            *("750601b1f35ba3300ea97c75c52ff8f6", "742edef2a1fd1524b2efff4bd7ba9364"),
            *("363e4b3f8d712e9b5de15470a2aaadf1", "b56378a6eefa9fed602bb16d192d4c8b"),
        ),
    ),
    "bloodmnist": Medical(
        (
            *("basophil", "eosinophil", "erythroblast"),
            *("immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte"),
            *("monocyte", "neutrophil", "platelet"),
        ),
        (
            *("7053d0359d879ad8a5505303e11de1dc", "2b94928a2ae4916078ca51e05b6b800b"),
            *("adace1e0ed228fccda1f39692059dd4c", "b718ff6835fcbdb22ba9eacccd7b2601"),
        ),
    ),
    "tissuemnist": Medical(
        (
            *("Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule"),
            *("Glomerular endothelial cells", "Interstitial endothelial cells", "Leukocytes", "Podocytes"),
            *("Proximal Tubule Segments", "Thick Ascending Limb"),
        ),
        (
            *("ebe78ee8b05294063de985d821c1c34b", "123ece2eba09d0aa5d698fda57103344"),
            *("61b955355d7425a89687b06cca3ce0c2", "b077128c4a949f0a4eb01517f9037b9c"),
        ),
    ),
    "organamnist": Medical(
        ORGANS,
        (
            *("68e3f8846a6bd62f0c9bf841c0d9eacc", "2dcccc29b88e6da5a01161ef20cda288"),
            *("eeae80d0a227a8d099027e1b3cfd3b60", "50747347e05c87dd3aaf92c49f9f3170"),
        ),
    ),
    "organcmnist": Medical(
        ORGANS,
        (
            *("b9ceb9546e10131b32923c5bbeaea2b1", "3ce34a8724ea6f548e6db4744d03b6a9"),
            *("773c1f009daa3fe5d9a2a201b2a7ed94", "050f5e875dc056f6768abf94ec9995d1"),
        ),
    ),
    "organsmnist": Medical(
        ORGANS,
        (
            *("9ab87b696fb54e2a387ebe992d6ed5f1", "53a6d115339d874c25e309a994ff46d3"),
            *("ded0c5fa01a95dc4978b956f613e9b8e", "b354719e553fbbb2513d5533f52a4cb1"),
        ),
    ),
}
FILES = {  # the md5 of every file by the name of its set: that of 28 pixels has no number
    name if side == SIDES[0] else f"{name}_{side}": md5
    for name, wanted in SETS.items()
    for side, md5 in zip(SIDES, wanted.md5, strict=True)
}


def is_medical(name: str) -> bool:
    """Return whether a name is one of MedMNIST's flat sets, at any size, even one that cannot be read."""
    return name in FILES or name.partition("_")[0] == SEVERAL_LABELS


def read(name: str, locations: Mapping[str, Path], downloads: Path) -> Source:
    """Return a set from the file or folder that is given for it, else downloaded into ``downloads``.

    The place is given under the name, or under it without the size. Ids are positions in the order train, validation,
    test. Raises DatasetError where the file is not at hand or not the released one, and for ChestMNIST.
    """
    if name not in FILES:
        raise DatasetError(
            f"{name!r} is a multi-label set (an image may have several of 14 findings or none), and one class an image "
            "is what is told here; take another set of MedMNIST, such as 'pneumoniamnist'"
        )
    base = name.partition("_")[0]
    file = _file(name, locations.get(name, locations.get(base)), downloads)
    _same(name, file)
    images: list[tuple[Split, str, int, functools.partial[Image.Image]]] = [
        (split, f"{part} {i}", label, functools.partial(_open, file, part, i))
        for split, part in PARTS
        for i, label in enumerate(_array(file, f"{part}_labels")[:, 0].tolist())
    ]
    entries = tuple(Entry(i, name, label, split, opened) for i, (split, name, label, opened) in enumerate(images))
    return Source(SETS[base].classes, entries, SETS[base].licence, f"MedMNIST, {file}")


def _file(name: str, place: Path | None, downloads: Path) -> Path:
    """Return the set's file: the one given, the one in the folder given, or the one downloaded now or before."""
    file = (downloads if place is None else place) / f"{name}.npz"
    if place is not None and place.is_file():
        return place
    reason = "" if file.is_file() else f"{place} holds no {name}.npz" if place else _download(name, downloads)
    if not reason:
        return file
    raise DatasetError(
        f"{name!r} is not at hand ({reason}): fetch {RELEASE.format(name)} and name it or its folder "
        f'({name} = "FILE or DIR" under [data] in the --on file), or go online and name none, and it is downloaded'
    )


def _download(name: str, downloads: Path) -> str:
    """Download a file, checking its md5; return why it could not be, or nothing."""
    from torchvision.datasets.utils import download_url  # here, for it takes seconds to import

    try:
        download_url(RELEASE.format(name), str(downloads), f"{name}.npz", FILES[name])
    except (OSError, RuntimeError) as error:
        return f"the download failed: {error}".splitlines()[0].rstrip(":")
    return ""


def _same(name: str, file: Path) -> None:
    """Refuse a file that is not the released one, and say which other one it is."""
    try:
        with open(file, "rb") as content:
            found = hashlib.file_digest(content, "md5").hexdigest()
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror}); make it readable or fetch it again") from None
    if found == FILES[name]:
        return
    other = next((other for other, md5 in FILES.items() if md5 == found), "")
    cure = f"it is {other!r}: write that name" if other else f"fetch {RELEASE.format(name)}"
    raise DatasetError(
        f"{file} is not {name!r} as it was released (md5 {found} instead of {FILES[name]}), and results would not "
        f"compare; {cure}"
    )


@functools.lru_cache(maxsize=1)  # images are read split by split, and those of 224 pixels are gigabytes
def _array(file: Path, key: str) -> np.ndarray:
    with np.load(file) as arrays:
        return arrays[key]


def _open(file: Path, part: str, i: int) -> Image.Image:
    return Image.fromarray(_array(file, f"{part}_images")[i])
