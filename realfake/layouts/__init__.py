"""Folders with boxes: where each format keeps the annotations and images of its splits.

    coco       annotations/instances_<split>*.json or <split>*.json, images in <split>*/ or images/…; or
               <split>/_annotations.coco.json beside its images
    yolo       images/<split> and labels/<split>, or <split>/images and <split>/labels; data.yaml or classes.txt
    voc        Annotations, JPEGImages, ImageSets/Main/<split>.txt (edges counted from 1, as its kit has them)
    visdrone   VisDrone2019-DET-<split>/images and …/annotations
    okutama    TrainSetFrames and TestSetFrames; frames in a folder named as their video, labels in Labels
    icg        training_set/images and imgIdToBBoxArray.p below it; no split
    heridal    trainImages and testImages, or JPEGImages, Annotations and ImageSets/Main
    sard       <split>/images and <split>/labels, or XML files beside the images; the latter have no split
    archangel  *.json, images/<video>/<frame>.jpg, and people.txt with the labels that mean a person; no split

A split is known by how its name begins: train, val, test. Where there is no test split the validation split is it;
where there is neither, a fifth of the images is held out in a seeded order that splits no sequence. Reading files is in
``annotations``, what is wrong is judged there and in ``boxed_files``, and images are read in ``boxed_files``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from realfake.folders import IMAGES, files
from realfake.layouts.general import coco, json_files, voc, yolo
from realfake.layouts.parts import Part, folders_in, pairs, split_of, unused, with_test
from realfake.layouts.photos import heridal, icg, sard, visdrone
from realfake.layouts.videos import archangel, okutama
from realfake.sources import DatasetError, Split

OWN = "not stated: your own images"
FORMATS: dict[str, tuple[Callable[[Path], dict[Split, Part]], str]] = {
    "coco": (coco, OWN),
    "yolo": (yolo, OWN),
    "voc": (voc, OWN),
    "visdrone": (visdrone, "VisDrone: its toolkit says research only; treat as non-commercial (unverified)"),
    "okutama": (okutama, "Okutama-Action: not found"),
    "icg": (icg, "ICG Semantic Drone: non-commercial, no redistribution"),
    "heridal": (heridal, "HERIDAL: CC BY 3.0"),
    "sard": (sard, "SARD: CC BY 4.0"),
    "archangel": (archangel, "Archangel: on registration with its authors"),
}


@dataclass(frozen=True)
class BoxedSource:
    """All splits of a set with boxes, its classes, and the position of every image file of its folder by name."""

    folder: Path
    parts: Mapping[Split, Part]
    classes: tuple[str, ...]
    licence: str
    origin: str

    def positions(self) -> dict[Path, int]:
        """Return the place of every image file of the folder, in the order of their names."""
        return {file: i for i, file in enumerate(files(self.folder, IMAGES))}


def read(name: str, folder: Path) -> BoxedSource:
    """Return the annotations of all splits of a folder in a format; what is wrong in them is named, not refused.

    Classes are those of all splits together. Raises DatasetError if the folder is not laid out as the format is, or
    has no usable image.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; name the folder that holds the images and annotations")
    find, licence = FORMATS[name]
    try:
        found, how = with_test(find(folder))
    except DatasetError as error:  # the readers name each other; a study names formats
        raise DatasetError(re.sub(r"use read_(\w+)", r"use Dataset(name='\1')", str(error))) from None
    lists = list(dict.fromkeys(part.annotations.classes for part in found.values()))
    classes = lists[0] if len(lists) == 1 else tuple(sorted({name for names in lists for name in names}))
    return BoxedSource(folder, found, classes, licence, f"{folder}{how}{unused(found)}")


def format_of(folder: Path) -> str | None:
    """Return the format of a folder with boxes, None if it is none of those that can be told from names alone."""
    if any(split_of(child.name) and (child / "annotations").is_dir() for child in folders_in(folder)):
        return "visdrone"
    if (folder / "trainImages").is_dir() or (folder / "testImages").is_dir():
        return "heridal"
    if files(folder, (".p",)):
        return "icg"
    if (folder / "Annotations").is_dir() and files(folder / "Annotations", (".xml",)):
        return "voc"
    if json_files(folder):
        return "coco"
    return "yolo" if any(labels.is_dir() for _, labels in pairs(folder, "labels").values()) else None
