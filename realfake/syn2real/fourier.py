"""Fourier domain adaptation: a person's phase with the low-frequency amplitude of a random real person.

Yang and Soatto 2020 (arXiv 2004.05498), eqs. 1-3, in each colour channel. The window of frequencies is |f| ≤ ⌊β·s⌋
cycles a crop of side s, as in their published code; at β = 0 nothing is swapped, as their text has it. They swap whole
images; here everything but the person is first painted in the person's mean colour, or a person on green ground would
be tinted to make up for the ground.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from realfake.samples import seed_of
from realfake.syn2real.crops import People
from realfake.syn2real.settings import Settings

FILE = "amplitudes.safetensors"


def fit(settings: Settings, source: People, target: People, folder: Path, **options: Any) -> dict[str, Any]:
    """Keep the real people's amplitudes in the window. Returns ``frequencies``: how many of them are swapped."""
    inside = window(target.pixels, settings.beta)
    alone = np.stack([person_alone(crop, mask) for crop, mask in zip(target.crops, target.masks, strict=True)])
    amplitudes = np.abs(np.fft.fft2(alone, axes=(1, 2)))[:, inside]
    save_file({"amplitudes": np.ascontiguousarray(amplitudes)}, folder / FILE)
    return {"frequencies": int(inside.sum())}


def load(folder: Path, settings: Settings, device: str) -> tuple[float, np.ndarray]:
    """Return β and the amplitudes ``(k, frequencies, 3)`` of the real people."""
    return settings.beta, load_file(folder / FILE)["amplitudes"]


def transform(fitted: tuple[float, np.ndarray], people: People, seeds: Sequence[int]) -> np.ndarray:
    """Return the crops ``(k, s, s, 3)``, each with the amplitudes of the real person that its seed picks."""
    beta, amplitudes = fitted
    inside, results = window(people.pixels, beta), []
    for crop, mask, seed in zip(people.crops, people.masks, seeds, strict=True):
        alone = person_alone(crop, mask)
        chosen = amplitudes[seed_of("fourier", seed) % len(amplitudes)]
        results.append(crop + swap(alone, chosen, inside) - alone)
    return np.rint(np.stack(results)).clip(0, 255).astype(np.uint8)


def swap(crop: np.ndarray, amplitudes: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return a crop ``(s, s, 3)`` as float64 with other amplitudes ``(frequencies, 3)`` inside the window."""
    spectrum = np.fft.fft2(crop.astype(np.float64), axes=(0, 1))
    spectrum[inside] = amplitudes * np.exp(1j * np.angle(spectrum[inside]))
    return np.fft.ifft2(spectrum, axes=(0, 1)).real


def person_alone(crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a crop ``(s, s, 3)`` as float64 with everything but the person in the person's mean colour."""
    return np.where(mask[..., None], crop, crop[mask].mean(0))


def window(pixels: int, beta: float) -> np.ndarray:
    """Return which frequencies ``(s, s)`` of a crop are swapped, in the order of numpy's fft2."""
    cycles = np.abs(np.fft.fftfreq(pixels, 1 / pixels))
    inside = cycles <= int(beta * pixels)
    return (inside[:, None] & inside) if beta > 0 else np.zeros((pixels, pixels), bool)
