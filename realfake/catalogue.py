"""Which module reads the images that a dataset's name stands for: the list of all names with one class an image.

What each module reads, and how it knows that the images are those of the name, is said there. Checking, resizing and
storing the images is in ``datasets``; sets with boxes are in ``boxed``, ``trees`` and ``layouts``.
"""

from collections.abc import Mapping
from pathlib import Path

from realfake import cifar, folders, hugging_face, imagenet, imagenet_folders, medical, named_sets, sources
from realfake.sources import DatasetError, Source
from realfake.spec import Dataset
from realfake.values import nearest

SHIPPED, OWN = ("digits", "mnist5k", "fashion"), ("imagefolder", "parquet", hugging_face.SAVED)
NAMED = (*named_sets.SETS, cifar.JPEG, *medical.FILES, *imagenet_folders.CLASSES, *imagenet.SETS)


def read(dataset: Dataset, locations: Mapping[str, Path], downloads: Path, names: tuple[str, ...]) -> Source:
    """Return the images of a dataset, not read yet; ``names`` are all there are, to hint at the nearest.

    ``locations`` says where folders are, ``downloads`` where what has none is downloaded. Raises DatasetError when the
    images are not at hand, and for a name that there is not.
    """
    match dataset.name:
        case "digits":
            return sources.digits()
        case "mnist5k":
            return sources.mnist5k()
        case "fashion":
            return sources.fashion(locations.get("fashion"), downloads)
        case "imagefolder":
            return folders.image_folder(folders.locate(dataset, locations))
        case "parquet":
            return folders.parquet(folders.locate(dataset, locations))
        case name if name in named_sets.SETS or name == cifar.JPEG:
            return named_sets.read(name, locations, downloads)
        case name if medical.is_medical(name):
            return medical.read(name, locations, downloads)
        case name if hugging_face.is_hugging_face(name):
            return hugging_face.read(dataset, locations)
        case name if name in imagenet_folders.CLASSES:
            return imagenet_folders.read(dataset, folders.locate(dataset, locations))
        case name if name in imagenet.SETS:
            return imagenet.read(dataset, folders.locate(dataset, locations))
    raise DatasetError(f"there is no dataset {dataset.name!r}; {nearest(dataset.name, names)}")
