"""Where COCO, YOLO and Pascal VOC keep the annotations and images of their splits."""

import functools
import json
from pathlib import Path

from realfake.annotations.coco import read_coco
from realfake.annotations.voc import read_voc
from realfake.annotations.yolo import read_yolo
from realfake.layouts.parts import SKIP, SPLITS, Part, add, folders_in, paired, split_of
from realfake.sources import DatasetError, Split


def coco(folder: Path) -> dict[Split, Part]:
    """Return the splits of a folder of COCO JSON files and images."""
    named = json_files(folder)
    if not named:
        raise DatasetError(f"{folder} holds no COCO JSON; put annotations/instances_train.json into it")
    parts: dict[Split, Part] = {}
    for name, file in named.items():
        images = _coco_images(folder, file)
        parts[name] = Part(read_coco(file, images=images, problems=SKIP), images)
    return parts


def json_files(folder: Path) -> dict[Split, Path]:
    """Return the annotation file of each split; one file without a split's name is the training split."""
    within = [child / "_annotations.coco.json" for child in folders_in(folder)]
    alone = [*sorted((folder / "annotations").glob("*.json")), *sorted(folder.glob("*.json"))]
    found: dict[Split, Path] = {}
    for file in [*(file for file in within if file.is_file()), *alone]:
        if name := split_of(file.parent.name if file in within else file.name):
            add(found, name, file)
    return found or ({"train": alone[0]} if len(alone) == 1 else {})


def _coco_images(folder: Path, file: Path) -> Path:
    """Return the first folder that holds an image that a JSON file lists, or the folder itself."""
    try:
        names = [str(image["file_name"]) for image in json.loads(file.read_text("utf-8"))["images"]]
    except (OSError, ValueError, LookupError, TypeError):
        names = []  # the reader says what it is instead
    stem, tops = file.stem.removeprefix("instances_"), [folder, folder / "images"]
    places = [file.parent, *(top / stem for top in tops)]
    if name := split_of(stem):
        places += [child for top in tops if top.is_dir() for child in folders_in(top) if split_of(child.name) == name]
    places += [folder / "images"]
    return next((place for place in places if any((place / name).is_file() for name in names)), folder)


def yolo(folder: Path) -> dict[Split, Part]:
    """Return the splits of a folder of YOLO labels and images."""
    names = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")], key=lambda file: (file.stem != "data", file.name))
    names += [file for file in (folder / "classes.txt", folder / "labels" / "classes.txt") if file.is_file()]
    if not names:
        raise DatasetError(f"{folder} has neither data.yaml nor classes.txt; write the class names into classes.txt")
    read_one = functools.partial(read_yolo, classes=names[0])
    return paired(folder, "labels", read_one, "put images into images/train and labels into labels/train")


def voc(folder: Path) -> dict[Split, Part]:
    """Return the splits of a folder of Pascal VOC XML files and images."""
    places = [folder / "Annotations", folder / "JPEGImages"]
    texts, images = (place if place.is_dir() else folder for place in places)
    lists = sorted((folder / "ImageSets" / "Main").glob("*.txt"))
    read_one = functools.partial(read_voc, texts, images=images, problems=SKIP)
    named = {file.stem: file.read_text("utf-8", "replace").split() for file in lists if file.stem in SPLITS}
    return {SPLITS[name]: Part(read_one(stems=stems), images) for name, stems in named.items()} or {
        "train": Part(read_one(), images)
    }
