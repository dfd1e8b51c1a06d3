"""Pictures to look at: real images beside synthetic ones, and the synthetic images that lie nearest to a real one.

What is measured of them is in the other modules of this package.
"""

import numpy as np
from PIL import Image, ImageDraw

from realfake.fidelity.copying import nearest, pixels
from realfake.samples import Samples

GAP = 6  # pixels between tiles of different kinds


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
