"""The variants of ImageNet that classifiers of its classes are tried on: V2, Sketch, R and A, from released folders.

Classes are called by their WordNet ids ("n01440764"), as the folders of ImageNet itself are, so that those that two
sets share are told by name (see ``classes``). The lists come with timm, as text files; timm itself is not imported.
Not here: ImageNet itself (``imagenet_folders``), and which classes a trial is tried on.

The folders of V2 are class indices: ImageNetV2's own README loads them with torchvision's ImageFolder, which sorts them
as text ("0", "1", "10", "100", …), so labels must be read from their names and not from their order.
"""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from realfake.folders import IMAGES, files
from realfake.sources import DatasetError, Entry, Source
from realfake.spec import Dataset

N_CLASSES = 1000


@dataclass(frozen=True)
class Variant:
    """One released set: where its class list is in timm, how its folder is called when unpacked, its source."""

    classes: str
    folder: str
    licence: str
    by_index: bool = False


SETS = {
    **{
        f"imagenet-v2-{kind}": Variant(
            "imagenet_synsets.txt", f"imagenetv2-{kind}-format-val", "MIT; photos as on Flickr", by_index=True
        )
        for kind in ("matched-frequency", "threshold0.7", "top-images")
    },
    "imagenet-sketch": Variant("imagenet_synsets.txt", "sketch", "not stated: found by image search"),
    "imagenet-r": Variant("imagenet_r_synsets.txt", "imagenet-r", "MIT; images are their authors'"),
    "imagenet-a": Variant("imagenet_a_synsets.txt", "imagenet-a", "MIT; images are their authors'"),
}


def read(dataset: Dataset, path: Path) -> Source:
    """Return the images of a variant, all of them test images, as a source; ``path`` holds class folders.

    It may be the folder above them too, as archives are unpacked. Images are RGB even where all are grey. Raises
    DatasetError for another split, for folders that are none of its classes, and for the folder of another variant.
    """
    if dataset.split != "test":
        raise DatasetError(f"{dataset.name!r} is there to be tested on and has one split; write split='test'")
    wanted = SETS[dataset.name]
    root = _root(path, wanted)
    _refuse_another(dataset.name, root)
    classes = class_names(wanted.classes)
    found = [(file, file.relative_to(root).parts[0]) for file in files(root, IMAGES)]
    places = {name: _place(name, classes, wanted.by_index) for name in dict.fromkeys(name for _, name in found)}
    if lost := [name for name, place in places.items() if place is None]:
        raise DatasetError(
            f"{root} holds the folders {', '.join(lost[:5])}{', …' * (len(lost) > 5)}, which are no classes of "
            f"{dataset.name!r}; it has a folder for each of {len(classes)}, {_called(wanted)}"
        )
    entries = tuple(
        Entry(i, file.relative_to(root).as_posix(), places[name] or 0, "test", functools.partial(Image.open, file))
        for i, (file, name) in enumerate(found)
    )
    return Source(classes, entries, wanted.licence, f"{dataset.name}, {root}", colour=True)


@functools.cache
def class_names(file: str = "imagenet_synsets.txt") -> tuple[str, ...]:
    """Return the WordNet ids of a list that timm ships: of ImageNet in the order of its outputs, or of a variant.

    Raises DatasetError when timm is not there.
    """
    found = importlib.util.find_spec("timm")
    if found is None or found.origin is None:
        raise DatasetError("timm is not installed, and the class lists of ImageNet come with it; install timm")
    return tuple((Path(found.origin).parent / "data" / "_info" / file).read_text().split())


def _root(path: Path, wanted: Variant) -> Path:
    return path / wanted.folder if (path / wanted.folder).is_dir() else path


def _refuse_another(name: str, root: Path) -> None:
    """Refuse a folder that is called as another variant is: the three of V2 look alike inside."""
    for other, variant in SETS.items():
        if other != name and root.name in (variant.folder, variant.folder.removesuffix("-format-val")):
            raise DatasetError(f"{root} is called as {other!r} is, and {name!r} is asked for; give the right one")


def _place(name: str, classes: tuple[str, ...], by_index: bool) -> int | None:
    """Return which class a folder is, None for none: by its number, or by its WordNet id."""
    if by_index:
        return int(name) if name.isdecimal() and int(name) < len(classes) else None
    return classes.index(name) if name in classes else None


def _called(wanted: Variant) -> str:
    return f"called 0 to {N_CLASSES - 1}" if wanted.by_index else "called by its WordNet id"
