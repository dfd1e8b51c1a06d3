"""How synthetic images relate to the real ones they were made from: copies, and a sheet to look at.

A generator fitted on few images may hand them back. The nearest-real copy rate says how often, on a scale that fresh
real images set. What synthetic images are *worth* is measured by trials, not here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from realfake.samples import Samples

CHUNK = 512  # images compared at once: 512 × 10,000 distances are 40 MB
GAP = 6  # pixels between tiles of different kinds


def pixels(images: np.ndarray) -> np.ndarray:
    """Return images ``(n, h, w, c)`` uint8 as vectors in [0, 1] ``(n, h·w·c)``."""
    return images.reshape(len(images), -1) / 255.0


def nearest(images: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row of ``images (m, d)`` the Euclidean distance to its nearest row of ``real (n, d)``, and which.

    In float64 and from differences of squares: an exact copy is nearer than about 1e-6.
    """
    squares = (real**2).sum(1)
    distances, rows = np.empty(len(images)), np.empty(len(images), dtype=np.int64)
    for first in range(0, len(images), CHUNK):
        part = images[first : first + CHUNK]
        squared = (part**2).sum(1)[:, None] + squares - 2 * part @ real.T
        rows[first : first + CHUNK] = squared.argmin(1)
        distances[first : first + CHUNK] = np.sqrt(squared.min(1).clip(min=0))
    return distances, rows


def copy_rate(
    synthetic: np.ndarray,
    real: np.ndarray,
    held_out: np.ndarray,
    *,
    quantile: float = 0.01,
    features: Callable[[np.ndarray], np.ndarray] = pixels,
) -> dict[str, Any]:
    """Return the share of ``synthetic`` images that lie nearer to a ``real`` training image than fresh ones do.

    All images are uint8 ``(·, h, w, c)``; ``held_out`` are real images that the generator never saw. The threshold is
    the ``quantile`` of their distances to the nearest training image, so ``null_rate``, the same share among them, is
    about ``quantile`` by construction, and a ``copy_rate`` well above it means copies. Distances are Euclidean between
    ``features`` (images → ``(n, d)``; pixels in [0, 1] unless given). ``median_ratio`` is the median synthetic distance
    over the median held-out one: 1 for fresh images, 0 for copies. Raises ValueError when one of the three is empty.
    """
    for name, images in (("synthetic", synthetic), ("real", real), ("held_out", held_out)):
        if not len(images):
            raise ValueError(f"copy_rate: there are no {name} images, and the rate compares three sets; give some")
    train = features(real)
    made, fresh = nearest(features(synthetic), train)[0], nearest(features(held_out), train)[0]
    threshold = float(np.quantile(fresh, quantile))
    return {
        "copy_rate": float((made <= threshold).mean()),
        "null_rate": float((fresh <= threshold).mean()),
        "threshold": threshold,
        "quantile": quantile,
        "median_ratio": float(np.median(made) / np.median(fresh)) if np.median(fresh) else float("nan"),
        "n_synthetic": len(synthetic),
        "n_real": len(real),
        "n_held_out": len(held_out),
    }


# ------------------------------------------------------------------------------------------------- something to look at


def contact_sheet(real: Samples, synthetic: Samples, columns: int = 8, side: int = 32) -> np.ndarray:
    """Return a picture, uint8 ``(h, w, 3)``: a row a class, its name, ``columns`` real images, as many synthetic ones.

    Tiles are at least ``side`` pixels high, enlarged without smoothing. Classes with too few images leave a gap.
    """
    scale = max(1, -(-side // max(real.images.shape[1:3])))
    height, width = (scale * n for n in real.images.shape[1:3])
    names = 8 + 6 * max(len(name) for name in real.classes)
    left = {"real": names, "synthetic": names + columns * width + 2 * GAP}
    top = 16  # room for the headings
    sheet = Image.new("RGB", (left["synthetic"] + columns * width, top + len(real.classes) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for kind, samples in (("real", real), ("synthetic", synthetic)):
        pen.text((left[kind], 1), kind, fill="black")
        for label in range(len(real.classes)):
            for column, row in enumerate(np.flatnonzero(samples.labels == label)[:columns]):
                place = (left[kind] + column * width, top + label * height)
                sheet.paste(_tile(samples.images[row], (width, height)), place)
    for label, name in enumerate(real.classes):
        pen.text((4, top + label * height + height // 2 - 6), name, fill="black")
    return np.asarray(sheet)


def nearest_sheet(synthetic: np.ndarray, real: np.ndarray, columns: int = 8, side: int = 32) -> np.ndarray:
    """Return a picture, uint8 ``(h, w, 3)``: the synthetic images nearest to a real one, above the real ones they near.

    ``synthetic`` and ``real`` are uint8 ``(·, h, w, c)``; the most suspicious pair is at the left.
    """
    distances, rows = nearest(pixels(synthetic), pixels(real))
    closest = np.argsort(distances, kind="stable")[:columns]
    scale = max(1, -(-side // max(real.shape[1:3])))
    height, width = (scale * n for n in real.shape[1:3])
    sheet = Image.new("RGB", (columns * width, 2 * height + GAP), "white")
    for column, row in enumerate(closest):
        sheet.paste(_tile(synthetic[row], (width, height)), (column * width, 0))
        sheet.paste(_tile(real[rows[row]], (width, height)), (column * width, height + GAP))
    return np.asarray(sheet)


def _tile(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST)
