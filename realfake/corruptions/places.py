"""Corruptions that move or mix pixels: blurs, elastic deformation, coarse pixels, JPEG.

Each takes an image ``(h, w, c)`` of floats in [0, 1], a random generator, and its strength (see ``severities``; lengths
in pixels), and returns such an image, not clipped yet. Not here: what changes pixels one by one (``values``).
"""

import io
import math
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray


def gaussian_blur(x: Array, random: np.random.Generator, deviation: float) -> Array:
    """Blur by a Gaussian; beyond the border the nearest pixel counts."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(x, (deviation, deviation, 0), mode="nearest")


def defocus_blur(x: Array, random: np.random.Generator, radius: float, edge: float) -> Array:
    """Blur by a disk whose edge is softened by a Gaussian; beyond the border the image is mirrored."""
    from scipy.ndimage import correlate

    return correlate(x, disk(radius, edge)[..., None], mode="mirror")


def disk(radius: float, edge: float) -> Array:
    """Return the kernel ``(k, k)`` of a disk: pixels within the radius, softened by a Gaussian of 3 or 5 pixels."""
    from scipy.ndimage import correlate1d

    around = 1 if radius <= 8 else 2
    reach = math.ceil(radius) + around
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = (x**2 + y**2 <= radius**2).astype(float)
    soft = np.exp(-(np.arange(-around, around + 1) ** 2) / (2 * edge**2))
    for axis in (0, 1):
        kernel = correlate1d(kernel, soft / soft.sum(), axis, mode="constant")
    return kernel / kernel.sum()


def motion_blur(x: Array, random: np.random.Generator, radius: float, deviation: float) -> Array:
    """Blur along a trace of 2·radius + 1 pixels from each pixel, less and less as half a Gaussian, at −45° … 45°.

    Steps are whole pixels, as ImageMagick has it; beyond the border the nearest pixel counts.
    """
    angle = random.uniform(-math.pi / 4, math.pi / 4)
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    height, width = x.shape[:2]
    blurred = np.zeros_like(x)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        down = np.clip(np.arange(height) + math.ceil(step * math.sin(angle) - 0.5), 0, height - 1)
        right = np.clip(np.arange(width) + math.ceil(step * math.cos(angle) - 0.5), 0, width - 1)
        blurred += weight * x[down][:, right]
    return blurred


def zoom_blur(x: Array, random: np.random.Generator, end: float, step: float) -> Array:
    """Mix the image with itself zoomed in by 1, 1 + step, … below ``end``, around its centre, by linear interpolation.

    The published sets crop to whole pixels before they zoom, which does nothing to an image of 8 pixels below 1.06.
    """
    from scipy.ndimage import affine_transform

    factors = np.arange(1, end, step)
    centre = (np.array([*x.shape[:2], 1]) - 1) / 2
    total = x.copy()
    for factor in factors:
        scale = np.array([1 / factor, 1 / factor, 1])
        offset: Any = centre * (1 - scale)  # one a dimension, which its declared type forgets
        total += affine_transform(x, scale, offset, order=1, mode="nearest")
    return total / (len(factors) + 1)


def elastic(x: Array, random: np.random.Generator, size: float, smooth: float, tilt: float) -> Array:
    """Move three points of the image by up to ``tilt``, then every pixel by a smooth random field of mean 0."""
    from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

    shape = np.array(x.shape[:2])
    centre, square = shape // 2, shape.min() // 3
    corners = centre + square * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + random.uniform(-tilt, tilt, corners.shape)
    matrix = np.linalg.solve(np.c_[moved, np.ones(3)], corners).T  # from where each point comes
    x = np.stack(
        [affine_transform(c, matrix[:, :2], matrix[:, 2], order=1, mode="mirror") for c in np.moveaxis(x, 2, 0)]
    )
    fields = random.uniform(-1, 1, (2, *shape))
    moves = [gaussian_filter(field, smooth, mode="reflect", truncate=3) * size for field in fields]
    at = np.mgrid[: shape[0], : shape[1]] + np.array(moves)
    return np.stack([map_coordinates(channel, at, order=1, mode="reflect") for channel in x], axis=2)


def pixelate(x: Array, random: np.random.Generator, share: float) -> Array:
    """Shrink to a share of each side by means over boxes, and enlarge again."""
    image = _image(x)
    small = image.resize((int(image.width * share), int(image.height * share)), Image.Resampling.BOX)
    return _floats(small.resize(image.size, Image.Resampling.BOX))


def jpeg(x: Array, random: np.random.Generator, quality: float) -> Array:
    """Store as JPEG of a quality, and read again."""
    buffer = io.BytesIO()
    _image(x).save(buffer, "JPEG", quality=int(quality))
    return _floats(Image.open(buffer))


def _image(x: Array) -> Image.Image:
    whole = np.round(x * 255).astype(np.uint8)
    return Image.fromarray(whole[..., 0] if x.shape[2] == 1 else whole)


def _floats(image: Image.Image) -> Array:
    array = np.asarray(image) / 255
    return array[..., None] if array.ndim == 2 else array
