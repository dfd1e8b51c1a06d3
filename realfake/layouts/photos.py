"""Where VisDrone, HERIDAL, SARD and ICG Semantic Drone keep the annotations and images of their splits."""

from pathlib import Path

from realfake.annotations.photos import read_heridal, read_icg, read_sard
from realfake.annotations.visdrone import read_visdrone
from realfake.folders import IMAGES, files
from realfake.layouts.parts import SKIP, SPLITS, Part, paired, pairs
from realfake.sources import DatasetError, Split


def visdrone(folder: Path) -> dict[Split, Part]:
    """Return the splits of VisDrone-DET."""
    cure = "name the folder that holds VisDrone2019-DET-train"
    return paired(folder, "annotations", read_visdrone, cure)


def heridal(folder: Path) -> dict[Split, Part]:
    """Return the splits of HERIDAL."""
    parts: dict[Split, Part] = {}
    for word in ("train", "test"):
        whole = folder / f"{word}Images"
        if whole.is_dir() or (folder / "ImageSets" / "Main" / f"{word}.txt").is_file():
            images = whole if whole.is_dir() else folder / "JPEGImages"
            parts[SPLITS[word]] = Part(read_heridal(folder, word, problems=SKIP), images)
    return parts or {"test": Part(read_heridal(folder, "test"), folder)}  # which says what is missing


def sard(folder: Path) -> dict[Split, Part]:
    """Return the splits of SARD."""
    if exported := pairs(folder, "labels"):
        return {name: Part(read_sard(i.parent, problems=SKIP), i) for name, (i, _) in exported.items()}
    return {"train": Part(read_sard(folder, problems=SKIP), folder)}


def icg(folder: Path) -> dict[Split, Part]:
    """Return all public images of ICG Semantic Drone as "train": its test images are not public."""
    pickles = [file for file in files(folder, (".p",)) if file.name == "imgIdToBBoxArray.p"]
    pickles = [file for file in pickles if file.parent.name == "person"] or pickles
    if len(pickles) != 1:
        raise DatasetError(
            f"{folder} holds {len(pickles)} files called imgIdToBBoxArray.p of persons; leave one in a folder 'person'"
        )
    above = [up for up in pickles[0].parents if up.is_relative_to(folder)]
    images = next((up / "images" for up in above if (up / "images").is_dir()), folder)
    first = files(images, IMAGES)[:1]
    name = f"{{id}}{first[0].suffix}" if first else "{id}.jpg"
    return {"train": Part(read_icg(pickles[0], images=images, image_name=name, problems=SKIP), images)}
