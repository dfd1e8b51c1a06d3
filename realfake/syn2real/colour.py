"""Colour transfer: a person gets the mean and spread of colour of a random real one, and the real camera's faults.

Statistics are matched channel by channel (Reinhard et al. 2001) within the masks, in the orthonormal opponent colours
of Ohta, Kanade and Sakai (1980), which are nearly uncorrelated in natural images and, unlike Reinhard's logarithms, do
not amplify the noise of dark pixels. Then the crops are blurred and noise is added so that first and second differences
are as large as in real crops. All is measured at the crops' own scale, people of any size alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from realfake.samples import seed_of
from realfake.syn2real.crops import People
from realfake.syn2real.settings import Settings

FILE = "colours.safetensors"
OHTA = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]) / np.sqrt([[3], [2], [6]])
FLAT = 0.5  # grey levels: a channel that varies less in a person is shifted, not stretched
BLURS = np.round(np.arange(0, 2.01, 0.1), 1)  # standard deviations in pixels of the crop
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])  # Immerkær 1996: blind to planes and straight edges
NOISE_GAIN = np.array([2.0, 36.0])  # mean square of a first difference and of the Laplacian of unit white noise


@dataclass(frozen=True)
class Fitted:
    """``statistics`` (k, 2, 3): each real person's mean and standard deviation; ``blur`` in pixels, ``noise`` in grey
    levels."""

    statistics: np.ndarray
    blur: float
    noise: float


def fit(settings: Settings, source: People, target: People, folder: Path, **options: Any) -> dict[str, Any]:
    """Measure the real people's colours, and which blur and noise the translated ones lack.

    Returns ``blur`` and ``noise``, and the sharpness (rms first difference) of source and target.
    """
    statistics = np.array([moments(crop, mask) for crop, mask in zip(target.crops, target.masks, strict=True)])
    recoloured = np.stack(
        [recolour(crop, mask, statistics[i % len(statistics)]) for i, (crop, mask) in enumerate(_pairs(source))]
    )
    blur, noise = faults(recoloured, source.masks, target.crops.astype(np.float64), target.masks)
    save_file({"statistics": statistics, "faults": np.array([blur, noise])}, folder / FILE)
    sharpness = [
        float(np.sqrt(differences(crops, part.masks)[0]))
        for part, crops in ((source, recoloured), (target, target.crops.astype(np.float64)))
    ]
    return {"blur": blur, "noise": noise, "source_sharpness": sharpness[0], "target_sharpness": sharpness[1]}


def load(folder: Path, settings: Settings, device: str) -> Fitted:
    """Return what was measured."""
    state = load_file(folder / FILE)
    return Fitted(state["statistics"], *state["faults"].tolist())


def transform(fitted: Fitted, people: People, seeds: Sequence[int]) -> np.ndarray:
    """Return the crops ``(k, s, s, 3)``, each in the colours of the real person that its seed picks."""
    results = [_one(fitted, *pair, seed) for pair, seed in zip(_pairs(people), seeds, strict=True)]
    return np.rint(np.stack(results)).clip(0, 255).astype(np.uint8)


def _one(fitted: Fitted, crop: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed_of("colour", seed))
    chosen = fitted.statistics[random.integers(len(fitted.statistics))]
    result = blurred(recolour(crop, mask, chosen)[None], fitted.blur)[0]
    return result + fitted.noise * random.standard_normal(result.shape)


def _pairs(people: People) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(people.crops, people.masks, strict=True))


def moments(crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean and the standard deviation ``(2, 3)`` of a person's colours, in opponent channels."""
    colours = crop[mask] @ OHTA.T
    return np.stack([colours.mean(0), colours.std(0)])


def recolour(crop: np.ndarray, mask: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return a crop ``(s, s, 3)`` as float64, not yet rounded, of which the person has exactly these moments."""
    own = moments(crop, mask)
    gain = np.where(own[1] < FLAT, 1.0, chosen[1] / np.maximum(own[1], FLAT))
    return ((crop @ OHTA.T - own[0]) * gain + chosen[0]) @ OHTA


def faults(
    source: np.ndarray, inside: np.ndarray, target: np.ndarray, target_inside: np.ndarray
) -> tuple[float, float]:
    """Return the blur (pixels) and then the noise (grey levels) after which source crops differ as target crops do.

    For each blur on a grid, noise makes up what it lacks in the second differences, and the blur is taken whose first
    and second differences then come nearest, in ratio.
    """
    wanted = differences(target, target_inside)
    best = (np.inf, 0.0, 0.0)
    for blur in BLURS:
        have = differences(blurred(source, blur), inside)
        variance = max(0.0, (wanted[1] - have[1]) / NOISE_GAIN[1])
        away = np.log((have + variance * NOISE_GAIN + 1e-9) / (wanted + 1e-9))
        best = min(best, (float(away @ away), float(blur), float(np.sqrt(variance))))
    return best[1], best[2]


def differences(crops: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the mean square ``(2,)`` of first differences and of the Laplacian within the masks, over all colours."""
    from scipy.ndimage import correlate

    within = [masks[:, 1:] & masks[:, :-1], masks[:, :, 1:] & masks[:, :, :-1]]
    first = np.concatenate([np.diff(crops, axis=axis)[within[axis - 1]].ravel() for axis in (1, 2)])
    core = correlate(masks.astype(np.int8), np.ones((1, 3, 3), np.int8), mode="constant") == 9
    second = correlate(crops, LAPLACIAN[None, :, :, None].astype(np.float64), mode="nearest")
    second = second[core] if core.any() else second[masks]
    return np.array([np.square(first).mean() if first.size else 0.0, np.square(second).mean()])


def blurred(crops: np.ndarray, blur: float) -> np.ndarray:
    """Return crops ``(k, s, s, 3)`` under a Gaussian blur of that many pixels."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(crops, (0, blur, blur, 0), mode="nearest") if blur else crops
