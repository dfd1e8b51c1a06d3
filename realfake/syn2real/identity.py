"""The translator that changes nothing: what pasting alone does, and what plain merging is. Nothing is fitted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realfake.syn2real.crops import People
from realfake.syn2real.settings import Settings


def fit(settings: Settings, source: People, target: People, folder: Path, **options: Any) -> dict[str, Any]:
    """Fit nothing, and return no facts."""
    return {}


def load(folder: Path, settings: Settings, device: str) -> None:
    """Load nothing."""


def transform(fitted: None, people: People, seeds: Sequence[int]) -> np.ndarray:
    """Return the crops ``(k, s, s, 3)`` as they are."""
    return people.crops.copy()
