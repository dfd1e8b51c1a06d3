"""Which images of one set are also in another, exactly or nearly: what a target's images are kept apart by.

The rule is for small pictures and errs on the side of leaving out: two images are the same when their thumbnails, at
most 16 pixels wide and in colour, differ by at most ``LEVELS`` grey levels (root mean square of 0 … 255). That
finds copies that were resized, saved as JPEG or made grey, but none that were shifted, cropped, mirrored or recoloured.
"""

import math
from collections.abc import Sequence

import numpy as np

from realfake.fidelity import copying
from realfake.generators.pipelines import to_pixels

SIDE = 16
LEVELS = 5.0  # of 255
ROWS = 2048  # of the others at once: 512 × 2048 distances are 4 MB


def overlapping(images: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Return which of the images ``(n, h, w, c)`` uint8 are also in one of the other sets: bool ``(n,)``.

    Images may have other sizes and channels than the others; thumbnails are as wide as the smaller of both.
    """
    found = np.zeros(len(images), bool)
    for other in others:
        side = min(SIDE, *images.shape[1:3], *other.shape[1:3])
        theirs = thumbnails(other, side)
        rest = np.flatnonzero(~found)
        found[rest] = nearest(thumbnails(images[rest], side), theirs) <= LEVELS
    return found


def thumbnails(images: np.ndarray, side: int) -> np.ndarray:
    """Return images ``(n, h, w, c)`` uint8 as vectors ``(n, 3 · side²)`` float32 of grey levels around 0."""
    parts = [to_pixels(images[i : i + ROWS], side).flatten(1).numpy() for i in range(0, len(images), ROWS)]
    return 127.5 * np.concatenate(parts) if parts else np.zeros((0, 3 * side**2), np.float32)


def nearest(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the smallest root mean square difference ``(n,)`` of each vector to any of the others; inf for none."""
    least = np.full(len(vectors), np.inf)
    for start in range(0, len(others), ROWS):
        least = np.minimum(least, copying.nearest(vectors, others[start : start + ROWS])[0])
    return least / math.sqrt(max(1, vectors.shape[1]))
