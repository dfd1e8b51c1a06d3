"""The settings of a translator as plain data, and the crops it was fitted for. How each works is in its own module."""

import json
from pathlib import Path

from realfake.store import write_whole
from realfake.values import SpecError, Value, at_least, fields, within

FILE = "settings.json"


class Settings(Value):
    """Of these, each translator reads its own; the others make no difference to it.

    ``strength``: the share of the noise schedule that an image goes back through (sdedit, sd-img2img), 0 to 1, in
    ``sampling_steps`` for the whole schedule. ``steps`` of training with ``batch_size`` and ``learning_rate``, 0 for
    the translator's own (sdedit, cyclegan). ``beta``: the half-width of the window of low frequencies that is swapped,
    as a share of the crop's side (fourier). ``weights``: a diffusers folder or hub id, with ``prompt`` and ``guidance``
    (sd-img2img).
    """

    strength: float = 0.25
    sampling_steps: int = 20
    steps: int = 500
    batch_size: int = 8
    learning_rate: float = 0.0
    beta: float = 0.05
    weights: str = ""
    prompt: str = "a photo of a person seen from above"
    guidance: float = 7.5

    def check(self) -> None:
        at_least(self, sampling_steps=1, steps=1, batch_size=1, learning_rate=0, beta=0, guidance=0)
        within(self, 0, 1, "strength")

    @property
    def executed_steps(self) -> int:
        """How many of the sampling steps are made: as many as diffusers' image-to-image pipelines make."""
        return min(int(self.sampling_steps * self.strength), self.sampling_steps)


def write_settings(folder: Path, settings: Settings, pixels: int) -> None:
    """Write the settings and the side of the crops that the translator was fitted for."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    write_whole(folder / FILE, json.dumps({"pixels": pixels, **values}, indent=1))


def read_settings(folder: Path) -> tuple[Settings, int]:
    """Return the settings and the crops' side; raises FileNotFoundError when the translator is not fitted."""
    values = json.loads((folder / FILE).read_text())
    pixels = values.pop("pixels")
    return Settings(**values), pixels


def divisible(pixels: int, by: int, translator: str) -> None:
    """Raise SpecError when crops of this side cannot be halved as often as the network halves them."""
    if pixels % by or pixels < 2 * by:
        raise SpecError(f"{translator} needs crops whose side is a multiple of {by}, not {pixels}; cut them with 32")
