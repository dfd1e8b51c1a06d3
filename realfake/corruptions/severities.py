"""How strong each severity of a corruption is: the published tables for images of 32, 64 and 224 pixels.

Values: those with which CIFAR-10-C, Tiny-ImageNet-C and ImageNet-C were made (Hendrycks & Dietterich 2019;
github.com/hendrycks/robustness, make_cifar_c.py, make_tinyimagenet_c.py and imagenet_c/corruptions.py). Not here: what
is done to an image.

Which table: that of the side nearest by ratio, so up to 45 pixels the first, up to 119 the second. Lengths in pixels
are scaled by side / side of the table, except below 32 pixels, where they stay those of 32: the weakest blurs are
already below a pixel there. Images of 8 pixels are therefore blurred four times as strongly for their size, and
neighbouring severities of "pixelate" may coincide.
"""

from typing import Any

from realfake.outside import CORRUPTIONS

SIDES = (32, 64, 224)
ROOT = 244 / 224  # ImageNet-C's lengths of "elastic" are multiples of 244, at 224 pixels
NOISE = {
    # standard deviation, of 1
    "gaussian-noise": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.04, 0.08, 0.12, 0.15, 0.18), (0.08, 0.12, 0.18, 0.26, 0.38)),
    # photons at full brightness
    "shot-noise": ((500, 250, 100, 75, 50), (250, 100, 50, 30, 15), (60, 25, 12, 5, 3)),
    # share of values that become 0 or 1
    "impulse-noise": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.01, 0.02, 0.05, 0.08, 0.14), (0.03, 0.06, 0.09, 0.17, 0.27)),
    # standard deviation, of the value itself
    "speckle-noise": ((0.06, 0.1, 0.12, 0.16, 0.2), (0.15, 0.2, 0.25, 0.3, 0.35), (0.15, 0.2, 0.35, 0.45, 0.6)),
}
BLUR = {
    # standard deviation, pixels
    "gaussian-blur": ((0.4, 0.6, 0.7, 0.8, 1), (0.5, 0.75, 1, 1.25, 1.5), (1, 2, 3, 4, 6)),
    # radius of the disk and standard deviation of its edge, pixels
    "defocus-blur": (
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    # half the longest trace and its standard deviation, pixels
    "motion-blur": (
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    # end and step of the zoom factors, from 1
    "zoom-blur": (
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
}
COLOUR = {
    # added to the value of HSV
    "brightness": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5)),
    # factor of the deviation from the mean of each channel
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05)),
    # factor of and addition to the saturation of HSV
    "saturate": (
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
}
SHAPE = {
    # size of the displacement, its smoothness, and how far three points of the image move; all over the side
    "elastic": (
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        (
            *((2 * ROOT, 0.7 * ROOT, 0.1 * ROOT), (2 * ROOT, 0.08 * ROOT, 0.2 * ROOT)),
            *((0.05 * ROOT, 0.01 * ROOT, 0.02 * ROOT), (0.07 * ROOT, 0.01 * ROOT, 0.02 * ROOT)),
            (0.12 * ROOT, 0.01 * ROOT, 0.02 * ROOT),
        ),
    ),
    # share of the side that is kept
    "pixelate": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.9, 0.8, 0.7, 0.6, 0.5), (0.6, 0.5, 0.4, 0.3, 0.25)),
    # quality
    "jpeg": ((80, 65, 58, 50, 40), (65, 58, 50, 40, 25), (25, 18, 15, 10, 7)),
}
TABLES: dict[str, tuple[tuple[Any, ...], ...]] = {**NOISE, **BLUR, **COLOUR, **SHAPE}
IN_PIXELS = ("gaussian-blur", "defocus-blur", "motion-blur")
assert set(TABLES) == set(CORRUPTIONS)


def table_side(side: int) -> int:
    """Return the side of the images for which the table was published that images of a side are corrupted by."""
    return min(SIDES, key=lambda known: max(side / known, known / side))


def strength(kind: str, severity: int, side: int) -> tuple[float, ...]:
    """Return what a severity from 1 to 5 means for images of a side, lengths in pixels of these images."""
    known = table_side(side)
    value = TABLES[kind][SIDES.index(known)][severity - 1]
    values = value if isinstance(value, tuple) else (value,)
    if kind in IN_PIXELS:
        return tuple(v * max(side, SIDES[0]) / known for v in values)
    return tuple(v * side for v in values) if kind == "elastic" else values
