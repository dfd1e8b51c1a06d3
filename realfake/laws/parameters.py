"""What one parameter of a law is: its range, its meaning, where a search starts, and what a study must hold to fix it.

Here: `Parameter`, the sizes that its starts are relative to, and the types that all formulas share. Not here: the
formulas (`real_curves`, `worths`), the laws they make up (`laws`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Parameters = Any  # a sequence of p numbers, or of p arrays that broadcast against the sizes
Named = Mapping[str, Any]  # the same by their names
SMALLEST_EFFECTIVE_SIZE = 1e-2  # a curve is infinite at 0 images; a hundredth of an image keeps every response finite
NUMBERS = {3: "three", 4: "four", 5: "five", 6: "six", 12: "twelve"}


def _typical_volume(n: Array, m: Array, n_generator: Array) -> float:
    return float(np.median(m[m > 0]))


def _typical_volume_of_a_generator_image(n: Array, m: Array, n_generator: Array) -> float:
    return float(np.median(m[m > 0]) / np.median(np.maximum(n_generator[m > 0], 1)))


# What the starts of a parameter are multiples of, from the sizes of a table's cells.
UNITS: dict[str, Callable[[Array, Array, Array], float]] = {
    "one": lambda n, m, n_generator: 1.0,
    "smallest real size": lambda n, m, n_generator: float(n[n > 0].min()),
    "typical real size": lambda n, m, n_generator: float(np.exp(np.log(n[n > 0]).mean())),
    "1 / largest real size": lambda n, m, n_generator: 1 / float(n.max()),
    "typical volume": _typical_volume,
    "typical volume of a generator image": _typical_volume_of_a_generator_image,
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Where a study has fewer real-only sizes (or generator sizes) than the parameter needs, it is held at a neutral value
    instead of fitted: `held`, or `held_open_set` where no generator saw real images. A parameter that has no neutral
    value (`held` None) makes its law unfit for such a study.
    """

    name: str
    low: float
    high: float
    meaning: str
    log: bool = False  # searched on a log scale
    linear: bool = False  # the response is linear in it, so that it needs no start
    starts: tuple[float, ...] = ()  # in units of `unit`, a name in UNITS
    unit: str = "one"
    ladder_sizes: int = 0  # real-only sizes that it needs
    generator_sizes: int = 0  # different n_generator above 0 that it needs
    held: float | None = 0.0
    held_open_set: float | None = None
    told_by_mixtures: bool = False  # the real-only ladder alone says nothing about it

    def start_values(self, n: Array, m: Array, n_generator: Array) -> tuple[float, ...]:
        """Where a search starts, for a table whose cells have these sizes (c,)."""
        unit = UNITS[self.unit](n, m, n_generator)
        return tuple(float(np.clip(start * unit, self.low, self.high)) for start in self.starts)

    def need(self, ladder_sizes: int, generator_sizes: int) -> str:
        """What a study of so many sizes lacks to fit it, in words; "" where it has them."""
        if ladder_sizes < self.ladder_sizes:
            return f"{NUMBERS[self.ladder_sizes]} real-only sizes"
        if generator_sizes < self.generator_sizes:
            return f"{NUMBERS[self.generator_sizes]} generator sizes"
        return ""

    def neutral(self, generator_sizes: int) -> float | None:
        """The value it is held at."""
        return self.held if generator_sizes or self.held_open_set is None else self.held_open_set


def named(parameters: Iterable[Parameter], values: Parameters) -> dict[str, Any]:
    """Values by the names of their parameters; `values` may go on beyond them."""
    return {parameter.name: value for parameter, value in zip(parameters, values, strict=False)}
