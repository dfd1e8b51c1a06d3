"""Corruptions that change each pixel by itself: noise, brightness, contrast, saturation.

Each takes an image ``(h, w, c)`` of floats in [0, 1], a random generator, and its strength (see ``severities``), and
returns such an image, not clipped yet. Not here: what moves or mixes pixels (``places``).
"""

import numpy as np

Array = np.ndarray


def gaussian_noise(x: Array, random: np.random.Generator, deviation: float) -> Array:
    """Add noise of one standard deviation everywhere."""
    return x + random.normal(scale=deviation, size=x.shape)


def shot_noise(x: Array, random: np.random.Generator, photons: float) -> Array:
    """Count photons: mean x, variance x / photons."""
    return random.poisson(x * photons) / photons


def impulse_noise(x: Array, random: np.random.Generator, share: float) -> Array:
    """Set a share of all values, each channel by itself, to 0 or 1 alike."""
    struck, white = random.random(x.shape) < share, random.random(x.shape) < 0.5
    return np.where(struck, white.astype(float), x)


def speckle_noise(x: Array, random: np.random.Generator, deviation: float) -> Array:
    """Add noise with a standard deviation in proportion to the value."""
    return x + x * random.normal(scale=deviation, size=x.shape)


def contrast(x: Array, random: np.random.Generator, factor: float) -> Array:
    """Draw values towards the mean of their channel."""
    means = x.mean(axis=(0, 1), keepdims=True)
    return (x - means) * factor + means


def brightness(x: Array, random: np.random.Generator, more: float) -> Array:
    """Add to the value of HSV; hue and saturation stay. Grey images become brighter by that much."""
    value = x.max(axis=2, keepdims=True)
    brighter = np.clip(value + more, 0, 1)
    return np.where(value > 0, x * brighter / np.where(value > 0, value, 1), brighter)


def saturate(x: Array, random: np.random.Generator, factor: float, more: float) -> Array:
    """Multiply the saturation of HSV ``(h, w, 3)`` and add to it; a grey pixel has the hue of red, as HSV has it."""
    value = x.max(axis=2, keepdims=True)
    depth = value - x  # value · saturation, times how far the channel is from the strongest
    saturation = depth.max(axis=2, keepdims=True) / np.where(value > 0, value, 1)
    wanted = np.clip(saturation * factor + more, 0, 1)
    grey = saturation == 0
    reddish = value * wanted * np.array([0.0, 1.0, 1.0])
    return value - np.where(grey, reddish, depth * wanted / np.where(grey, 1, saturation))
