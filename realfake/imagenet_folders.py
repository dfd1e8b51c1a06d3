"""ImageNet-1K and ImageNet-100 in the layouts that they are handed out in, classes called by their WordNet ids.

Understood are ``train/n01440764/*.JPEG`` with ``val/n01440764/`` (also below ``ILSVRC/Data/CLS-LOC``, as Kaggle packs
it), a flat ``val/`` beside ``LOC_val_solution.csv`` or beside the ground truth of the development kit, and the parts
``train.X1`` … ``train.X4`` with ``val.X`` in which Kaggle hands out ImageNet-100. The validation images are the test
split, as is usual; hold some of train out to validate on. Such a set is named by the ``fingerprint`` of its content,
for others choose other hundred classes and other sizes; taking it reads every file once. Not here: the variants V2,
Sketch, R and A (``imagenet``), and other folders of class folders (``folders``).
"""

import csv
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from realfake.folders import IMAGES, files
from realfake.sources import DatasetError, Entry, Source, Split
from realfake.spec import Dataset

CLASSES = {"imagenet1k": 1000, "imagenet100": 100}
LICENCE = "not stated: non-commercial research and education, under ImageNet's terms of access"
BELOW = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # where Kaggle's archive has train and val
ANSWERS = "LOC_val_solution.csv"
DEVKIT = ("ILSVRC2012_devkit_t12/data", "devkit/data", "data", "")
TRUTH, SYNSETS = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
WORDNET_ID = re.compile(r"n\d{8}")
Found = tuple[Split, str, Path]  # split, WordNet id, file


def read(dataset: Dataset, path: Path) -> Source:
    """Return "imagenet1k" or "imagenet100" from a folder in one of the layouts above, as a source of RGB images.

    Ids are positions in the order of the files' relative names. Images are opened one by one. Raises DatasetError for
    ``pixels=0`` (photographs have many sizes), for another number of classes, for folders that are no WordNet ids, and
    for flat validation images without their classes.
    """
    if not dataset.pixels:
        raise DatasetError(f"{dataset.name!r} has photographs of many sizes; set Dataset(pixels=64) or another side")
    root, trains, test = _layout(path)
    images = [*_of_class_folders("train", trains)]
    images += _of_class_folders("test", [test]) if _has_folders(test) else _flat(test, path, root)
    images.sort(key=lambda image: image[2].relative_to(path).as_posix())
    classes = sorted({name for _, name, _ in images})
    _check_classes(dataset.name, path, classes)
    places = {name: i for i, name in enumerate(classes)}
    entries = tuple(
        Entry(i, file.relative_to(path).as_posix(), places[name], split, functools.partial(Image.open, file))
        for i, (split, name, file) in enumerate(images)
    )
    return Source(tuple(classes), entries, LICENCE, f"{dataset.name}, {path}", colour=True)


def _layout(path: Path) -> tuple[Path, list[Path], Path]:
    """Return the folder that holds the splits, its folders of training images, and that of validation images."""
    for root in (path / below for below in BELOW):
        trains = [root / "train"] if (root / "train").is_dir() else sorted(root.glob("train.X*"))
        tests = [root / name for name in ("val", "val.X") if (root / name).is_dir()]
        if trains and tests:
            return root, trains, tests[0]
    raise DatasetError(
        f"{path} holds no train/ and val/ (nor train.X1 … and val.X, as Kaggle's ImageNet-100 does); give the folder "
        "that holds them"
    )


def _has_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in folder.iterdir())


def _of_class_folders(split: Split, folders: list[Path]) -> Iterator[Found]:
    for folder in folders:
        for file in files(folder, IMAGES):
            yield split, file.relative_to(folder).parts[0], file


def _flat(test: Path, path: Path, root: Path) -> Iterator[Found]:
    """Yield validation images that lie in one folder, with the classes that a file beside them tells."""
    found, names = files(test, IMAGES), _answers(path, root)
    if lost := [file.name for file in found if file.stem not in names]:
        raise DatasetError(
            f"{test} holds {len(lost):,} images whose classes nothing tells ({', '.join(lost[:3])}, …); put "
            f"{ANSWERS} or {TRUTH} with its {SYNSETS} beside it, or move the images into class folders"
        )
    for file in found:
        yield "test", names[file.stem], file


def _answers(path: Path, root: Path) -> dict[str, str]:
    """Return the WordNet id of every validation image by its name without suffix; nothing where no file tells."""
    for file in (place / ANSWERS for place in (path, root)):
        if file.is_file():
            with open(file, newline="") as lines:
                return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(lines)}
    for place in (base / below for base in (path, root) for below in DEVKIT):
        if (place / TRUTH).is_file() and (place / SYNSETS).is_file():
            names = _synsets(place / SYNSETS)
            numbers = (place / TRUTH).read_text().split()
            return {f"ILSVRC2012_val_{i:08d}": names[int(number)] for i, number in enumerate(numbers, 1)}
    return {}


def _synsets(file: Path) -> dict[int, str]:
    """Return the WordNet ids by the development kit's own numbers, which are in no order of theirs."""
    from scipy.io import loadmat

    synsets = loadmat(file, squeeze_me=True)["synsets"]
    return {int(number): str(name) for number, name in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)}


def _check_classes(name: str, path: Path, classes: list[str]) -> None:
    if odd := [found for found in classes if not WORDNET_ID.fullmatch(found)]:
        raise DatasetError(
            f"{path} holds the class folders {', '.join(odd[:5])}{', …' * (len(odd) > 5)}, and ImageNet's are called "
            "by WordNet ids such as n01440764; for other folders write Dataset(name='imagefolder', fingerprint=…)"
        )
    if len(classes) != CLASSES[name]:
        raise DatasetError(
            f"{path} holds {len(classes):,} classes and {name!r} has {CLASSES[name]:,}; for these write "
            "Dataset(name='imagefolder', fingerprint=…)"
        )
