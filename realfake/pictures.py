"""One image as a model sees it: upright, grey or RGB, cropped to its central square or fitted whole into a square.

Which images there are is in ``sources``, ``folders`` and ``layouts``; what is wrong with a set of them in ``datasets``
and ``boxed``. Not here: augmentation, which is part of training.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageOps

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
PADDING = 114  # the grey beside an image that is not square, as YOLO's loaders have it


def all_grey(opened: Iterable[Callable[[], Image.Image]]) -> bool:
    """Return whether every image that opens is grey; only headers are read."""
    for open_image in opened:
        try:
            with open_image() as image:
                if not (image.mode in ("1", "L", "LA") or image.mode.startswith("I")):
                    return False
        except UNREADABLE:
            continue  # named when it is read
    return True


def upright(image: Image.Image, grey: bool) -> Image.Image:
    """Return an image as 8-bit grey or RGB, turned as its camera says, on white where it is transparent.

    Raises one of ``UNREADABLE`` for an image that is cut off or has floating-point pixels.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray(np.round(np.clip(np.asarray(image), 0, 65535) / 257).astype(np.uint8))
    image = ImageOps.exif_transpose(image)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if grey else "RGB")


def square(image: Image.Image, pixels: int) -> np.ndarray:
    """Return ``(h, w, c)`` uint8: the central square resized to ``pixels`` by Lanczos' filter, or all of it for 0."""
    if pixels and image.size != (pixels, pixels):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        cropped = image.crop((left, top, left + side, top + side))  # first, so that no pixel outside it is mixed in
        image = cropped.resize((pixels, pixels), Image.Resampling.LANCZOS)
    return _array(image)


def fitted(image: Image.Image, pixels: int) -> np.ndarray:
    """Return ``(pixels, pixels, c)`` uint8: all of an image at the left top, grey beside or below it; as it is for 0.

    Its longer side becomes ``pixels``, by Lanczos' filter. Boxes follow by ``scale``.
    """
    if not pixels or image.size == (pixels, pixels):
        return _array(image)
    inner = image.resize(fitted_size(image.size, pixels), Image.Resampling.LANCZOS)
    canvas = Image.new(image.mode, (pixels, pixels), PADDING if image.mode == "L" else (PADDING,) * 3)
    canvas.paste(inner, (0, 0))
    return _array(canvas)


def fitted_size(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return (width, height) of an image within the square: one factor for both, then rounded to whole pixels."""
    if not pixels:
        return size
    factor = pixels / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def scale(size: tuple[int, int], pixels: int) -> np.ndarray:
    """Return by what x, y, width and height ``(4,)`` of boxes are multiplied when an image of a size is fitted.

    The two factors differ by what rounding the shorter side does, so that boxes stay exactly on their pixels.
    """
    inner = fitted_size(size, pixels)
    return np.array([inner[0] / size[0], inner[1] / size[1]] * 2)


def pixel_digest(image: np.ndarray) -> bytes:
    """Return a digest of the pixels of an image ``(h, w, c)``."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _array(image: Any) -> np.ndarray:
    array = np.array(image)
    return array[..., None] if array.ndim == 2 else array
