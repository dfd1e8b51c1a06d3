"""What a camera does to an image: blur, gamma and colour cast, noise, JPEG. The values are in ``domains.Lens``."""

import io

import numpy as np
from PIL import Image, ImageFilter

from realfake.aerial.camera import Array
from realfake.aerial.domains import Lens
from realfake.aerial.ground import grain

CHROMA_NOISE = 0.5  # relative to the noise of luminance


def develop(image: Image.Image, lens: Lens, rng: np.random.Generator) -> Array:
    """Return the photograph (h, w, 3) uint8 of an RGB image. A Lens() changes nothing."""
    if lens.blur:
        image = image.filter(_blur(lens.blur))
    if lens.gamma != 1 or lens.cast != (1.0, 1.0, 1.0):
        image = image.point(_curves(lens))
    if lens.noise:
        image = _noisy(image, lens.noise, rng)
    return np.array(_compressed(image, lens.quality) if lens.quality else image.convert("RGB"))


def _blur(sigma: float) -> ImageFilter.Filter:
    """Return a blur of that standard deviation. A small one is a weighted mean of 3 × 3 pixels: a third of the time."""
    if sigma > 0.8:
        return ImageFilter.GaussianBlur(sigma)
    return ImageFilter.BoxBlur(sigma**2 / (2 - 2 * sigma**2))  # weights r, 1, r have variance 2r / (1 + 2r)


def _curves(lens: Lens) -> list[int]:
    """Return the three tables of 256 output levels that gamma and cast make."""
    levels = np.arange(256) / 255
    curves = [np.clip(255 * gain * levels**lens.gamma, 0, 255) for gain in lens.cast]
    return np.concatenate(curves).round().astype(int).tolist()


def _noisy(image: Image.Image, noise: float, rng: np.random.Generator) -> Image.Image:
    """Return an image with noise of that standard deviation on its luminance, and less on its colours."""
    bands = image.convert("YCbCr").split()
    scales = (noise, CHROMA_NOISE * noise, CHROMA_NOISE * noise)
    noised = [_noisy_band(band, scale, rng) for band, scale in zip(bands, scales, strict=True)]
    return Image.merge("YCbCr", noised)


def _noisy_band(band: Image.Image, scale: float, rng: np.random.Generator) -> Image.Image:
    levels = np.asarray(band) + scale * grain(rng, band.width)
    return Image.fromarray(np.clip(levels, 0, 255, out=levels).astype(np.uint8))


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    """Return an image after JPEG; one that is in YCbCr already is encoded without a detour by RGB."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
