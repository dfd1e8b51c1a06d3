"""Aerial photos of people with formats or layouts of their own: ICG Semantic Drone, HERIDAL, SARD.

Not here, since their format is not known to us: the LabelMe files of Semantic Drone. Videos are in ``videos``,
VisDrone in ``visdrone``.
"""

import functools
import io
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from realfake.annotations.checks import Policy, assemble
from realfake.annotations.kinds import not_a
from realfake.annotations.reading import Found, from_corners
from realfake.annotations.table import Annotations
from realfake.annotations.voc import Corners, read_voc
from realfake.annotations.yolo import read_yolo
from realfake.folders import files
from realfake.sources import DatasetError

SARD_CLASSES: tuple[str, ...] = (  # of its YOLO export
    *("Running", "Walking", "laying_down", "not_defined", "seated", "stands"),
)
UNPICKLING = (  # what damaged bytes have been seen to raise
    *(pickle.UnpicklingError, EOFError, ImportError, AttributeError, LookupError, TypeError, ValueError),
    *(MemoryError, OverflowError, SystemError),
)
HERIDAL_REGION = r"^(?:train|test|val|trainval)_([A-Za-z]+)_"  # test_BLI_0001.jpg


def read_icg(
    boxes: Path,
    *,
    images: Path | None = None,
    size: tuple[int, int] = (6000, 4000),
    image_name: str = "{id}.jpg",
    problems: Policy = "refuse",
) -> Annotations:
    """Return the people of the ICG Semantic Drone Dataset from its pickle ``imgIdToBBoxArray.p``.

    That is a dictionary from an image's id ("123") to arrays [[xmin, ymin], [xmax, ymax]]. Nothing but dictionaries,
    lists, texts, numbers and numpy arrays is unpickled: a pickle can run any program. All images are ``size`` and
    called ``image_name``. The 200 test images are not public, so a test set is a part of these: see ``order``.
    Raises DatasetError for problems unless they are to be skipped.
    """
    content = _unpickled(boxes)
    found = Found()
    for image, corners in content.items():
        row = {"id": str(image), "file_name": image_name.format(id=image), "width": size[0], "height": size[1]}
        found.images.append({**row, "domain": "icg"})
        for number, box in enumerate(corners, 1):
            try:
                values = np.asarray(box, np.float64).reshape(4).tolist()
            except (TypeError, ValueError):
                found.wrong("malformed", f"{image}:{number}")
                continue
            found.boxes.append({"image": str(image), "label": 0, "id": f"{image}:{number}", **from_corners(values)})
    return assemble(found, ("person",), str(boxes), problems=problems, names={"person": "person"}, images=images)


def read_heridal(
    folder: Path, split: Literal["train", "test"], *, corners: Corners = "pixels", problems: Policy = "refuse"
) -> Annotations:
    """Return the people of HERIDAL: ``trainImages/labels/*.xml`` beside ``trainImages/*.JPG``, or the VOC repack.

    In the repack (JPEGImages, Annotations, ImageSets/Main) the sequence is the region in the file name
    (``test_BLI_0001.jpg``: BLI). Which reading of the ``corners`` its files mean is not documented.
    Raises DatasetError for problems unless they are to be skipped.
    """
    whole = folder / f"{split}Images"
    read = functools.partial(read_voc, corners=corners, names={"human": "person"}, problems=problems, domain="heridal")
    if whole.is_dir():
        return read(whole / "labels", images=whole)
    listing = folder / "ImageSets" / "Main" / f"{split}.txt"
    try:
        stems = listing.read_text("utf-8").split()
    except (OSError, ValueError):
        raise DatasetError(
            f"{folder} has neither {split}Images nor {listing.name} in ImageSets/Main; name HERIDAL"
        ) from None
    return read(folder / "Annotations", images=folder / "JPEGImages", stems=stems, sequence=HERIDAL_REGION)


def read_sard(
    folder: Path, *, sequence: str | None = None, corners: Corners = "edges", problems: Policy = "refuse"
) -> Annotations:
    """Return the people of SARD, all six poses as one class, from LabelImg XML or from a split of its YOLO export.

    A split holds ``images`` and ``labels``. Its frames are near-duplicates of their neighbours: name a ``sequence``
    (a regular expression on file names) and split by it. Raises DatasetError for problems unless they are skipped.
    """
    if (folder / "labels").is_dir() and files(folder / "labels", (".txt",)):
        read = functools.partial(read_yolo, classes=SARD_CLASSES, names=dict.fromkeys(SARD_CLASSES, "person"))
        return read(folder / "images", folder / "labels", sequence=sequence, problems=problems, domain="sard")
    return read_voc(folder, corners=corners, names="person", sequence=sequence, problems=problems, domain="sard")


# --------------------------------------------------------------------------------------------------------------- parts


class _Plain(pickle.Unpickler):
    """Unpickles numpy arrays and plain values, and nothing that could run a program."""

    def find_class(self, module: str, name: str) -> Any:
        if re.fullmatch(r"numpy(\._?core\.(multiarray|numeric))?", module) and name in (
            *("ndarray", "dtype", "scalar", "_reconstruct", "_frombuffer"),
        ):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")


def _unpickled(path: Path) -> dict[Any, list[Any]]:
    try:
        content = _Plain(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); name imgIdToBBoxArray.p") from None
    except UNPICKLING as error:
        raise not_a(path, "a pickle", str(error)) from None
    if not isinstance(content, dict) or not all(
        isinstance(boxes, list | tuple | np.ndarray) for boxes in content.values()
    ):
        raise DatasetError(f"{path} holds no dictionary of lists of boxes; name imgIdToBBoxArray.p")
    return content
