"""People cut out of images as square crops of one size, and put back so that nothing but the person changes.

A crop shows a square window around the box, with some of what surrounds it. Going back, the *change* that was made to
the crop is added to the image, weighed by the person's mask: an unchanged crop changes no pixel, whatever the sizes,
and a person larger than the crop keeps the detail that the crop cannot hold. What changes a crop is in the translators.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

MARGIN = 0.25  # of the box's longer side, shown beyond the box on every side
PIXELS = 32
LANCZOS, BOX = Image.Resampling.LANCZOS, Image.Resampling.BOX


@dataclass(frozen=True)
class People:
    """Crops ``(k, s, s, 3)`` uint8 and where in them the person is, ``(k, s, s)`` bool, at least one pixel in each."""

    crops: np.ndarray
    masks: np.ndarray

    def __post_init__(self) -> None:
        shape = self.crops.shape
        if self.crops.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
            raise ValueError(
                f"crops are {self.crops.dtype} of {shape}; people are (k, s, s, 3) uint8: make them by cut"
            )
        if self.masks.dtype != np.bool_ or self.masks.shape != shape[:3]:
            raise ValueError(f"masks are {self.masks.dtype} of {self.masks.shape}; these crops need {shape[:3]} bool")
        if empty := int((~self.masks.any((1, 2))).sum()):
            raise ValueError(f"{empty} of {shape[0]} masks hold no pixel, so there is nobody to change; leave them out")

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def pixels(self) -> int:
        """The side s of the crops."""
        return self.crops.shape[1]


def window(box: np.ndarray | Sequence[float], margin: float = MARGIN) -> tuple[int, int, int]:
    """Return the square around a box (left, top, width, height), in whole pixels: left, top, side.

    It may reach beyond the image. Raises ValueError for a box without an area or not finite.
    """
    left, top, width, height = np.asarray(box, np.float64)
    if not (np.isfinite([left, top]).all() and 0 < width < np.inf and 0 < height < np.inf):
        raise ValueError(f"the box {left, top, width, height} has no area to cut out; leave such boxes out")
    side = int(np.ceil(max(width, height) * (1 + 2 * margin)))
    return int(np.floor(left + (width - side) / 2 + 0.5)), int(np.floor(top + (height - side) / 2 + 0.5)), side


def cut(
    image: np.ndarray,
    box: np.ndarray | Sequence[float],
    mask: np.ndarray | None = None,
    *,
    pixels: int = PIXELS,
    margin: float = MARGIN,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the crop ``(s, s, 3)`` uint8 of an image ``(h, w, 3)`` around a box, and the person's mask in it.

    ``mask`` ``(h, w)`` bool; without one, the ellipse inside the box stands for it. Beyond the image its border is
    repeated. Raises ValueError when the box lies outside the image or the mask holds no pixel of its window.
    """
    left, top, side = window(box, margin)
    height, width = image.shape[:2]
    if left + side <= 0 or top + side <= 0 or left >= width or top >= height:
        raise ValueError(f"the box {tuple(np.asarray(box).tolist())} lies outside its image of {width}×{height} pixels")
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    square = image[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    crop = np.asarray(Image.fromarray(square).resize((pixels, pixels), LANCZOS))
    return crop, _mask(mask, box, rows, columns, (height, width), pixels)


def paste(
    image: np.ndarray,
    crop: np.ndarray,
    box: np.ndarray | Sequence[float],
    mask: np.ndarray,
    feather: float = 1.0,
    *,
    margin: float = MARGIN,
) -> np.ndarray:
    """Return the image ``(h, w, 3)`` with the change from ``cut(image, box)`` to ``crop`` ``(s, s, 3)`` added to it.

    It counts fully within the ``mask`` ``(h, w)`` and falls off over ``feather`` pixels around it; every pixel farther
    than that from the mask, or outside the crop's window, stays as it was to the byte.
    """
    left, top, side = window(box, margin)
    before, _ = cut(image, box, mask, pixels=crop.shape[0], margin=margin)
    change = _resized(crop.astype(np.float32) - before, side)
    height, width = image.shape[:2]
    rows, columns = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    seen = change[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    weight = _weight(mask, feather, rows, columns)[..., None]
    result = image.copy()
    result[rows, columns] = np.rint(image[rows, columns] + weight * seen).clip(0, 255)
    return result


def people(
    images: np.ndarray,
    start: np.ndarray,
    box: np.ndarray,
    masks: np.ndarray | None = None,
    *,
    pixels: int = PIXELS,
    margin: float = MARGIN,
) -> People:
    """Return all people of images ``(n, h, w, 3)``: those of image i are rows ``start[i]:start[i + 1]`` of ``box``.

    In ``masks`` ``(n, h, w)``, j + 1 marks the pixels of the image's j-th person.
    """
    cuts = [
        cut(
            images[i], box[row], None if masks is None else masks[i] == row - start[i] + 1, pixels=pixels, margin=margin
        )
        for i in range(len(images))
        for row in range(start[i], start[i + 1])
    ]
    if not cuts:
        return People(np.zeros((0, pixels, pixels, 3), np.uint8), np.zeros((0, pixels, pixels), bool))
    return People(np.stack([crop for crop, _ in cuts]), np.stack([mask for _, mask in cuts]))


def paste_people(
    images: np.ndarray,
    start: np.ndarray,
    box: np.ndarray,
    masks: np.ndarray,
    crops: np.ndarray,
    feather: float = 1.0,
    *,
    margin: float = MARGIN,
) -> np.ndarray:
    """Return the images with their people's crops ``(g, s, s, 3)`` put back: the way back of ``people``."""
    results = images.copy()
    for i in range(len(images)):
        total = images[i].astype(np.float32)  # changes add up: each is measured from the image as it was
        for row in range(start[i], start[i + 1]):
            person = masks[i] == row - start[i] + 1
            pasted = paste(images[i], crops[row], box[row], person, feather, margin=margin)
            total += pasted.astype(np.float32) - images[i]
        results[i] = np.rint(total).clip(0, 255)
    return results


def _mask(
    mask: np.ndarray | None,
    box: np.ndarray | Sequence[float],
    rows: np.ndarray,
    columns: np.ndarray,
    shape: tuple[int, int],
    pixels: int,
) -> np.ndarray:
    """Return where at least half of a crop's pixel is the person: of a very thin one, where most of it is."""
    if mask is None:
        return _ellipse(box, rows, columns, pixels)
    inside = ((rows >= 0) & (rows < shape[0]))[:, None] & ((columns >= 0) & (columns < shape[1]))
    square = mask[rows.clip(0, shape[0] - 1)][:, columns.clip(0, shape[1] - 1)] & inside
    if not square.any():
        raise ValueError(f"the mask has no pixel near its box {tuple(np.asarray(box).tolist())}; leave that person out")
    share = np.asarray(Image.fromarray(square.astype(np.float32)).resize((pixels, pixels), BOX))
    return share >= min(0.5, float(share.max()))


def _ellipse(box: np.ndarray | Sequence[float], rows: np.ndarray, columns: np.ndarray, pixels: int) -> np.ndarray:
    """Return the ellipse inside a box: 58-62 % of it is the person in four drawn domains, 51-54 % of the box."""
    left, top, width, height = np.asarray(box, np.float64)
    middle = (np.arange(pixels) + 0.5) * len(rows) / pixels  # of the crop's pixels, from the window's corner
    down = (middle + rows[0] - top) / height * 2 - 1
    across = (middle + columns[0] - left) / width * 2 - 1
    away = down[:, None] ** 2 + across**2
    return away <= max(1.0, float(away.min()))


def _resized(change: np.ndarray, side: int) -> np.ndarray:
    """Return a change ``(s, s, 3)`` float32 on ``side`` × ``side`` pixels."""
    return np.stack([np.asarray(Image.fromarray(part).resize((side, side), LANCZOS)) for part in _channels(change)], -1)


def _channels(image: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(image[..., channel]) for channel in range(image.shape[-1])]


def _weight(mask: np.ndarray, feather: float, rows: slice, columns: slice) -> np.ndarray:
    """Return, for a part of the image, 1 in the mask and 1 − distance / (feather + 1) up to ``feather`` pixels off."""
    from scipy.ndimage import distance_transform_edt

    reach = int(np.ceil(feather))  # what lies farther beyond the part makes no difference to it
    up, left = min(reach, rows.start), min(reach, columns.start)
    near = mask[rows.start - up : rows.stop + reach, columns.start - left : columns.stop + reach]
    if not near.any():
        return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    distance = np.asarray(distance_transform_edt(~near))[up:, left:]
    distance = distance[: rows.stop - rows.start, : columns.stop - columns.start]
    return np.where(distance <= feather, 1 - distance / (feather + 1), 0).astype(np.float32)
