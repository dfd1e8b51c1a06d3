"""Real-only curves f: the expected response of training on N real images alone.

All fall to a floor E, with an amplitude A and an exponent α:

    power      f = E + A·N^-α
    rectified  f = E + A / (N^α + B)                     what the initialisation knows counts as data already seen
    m4         (f − E)/(ε0 − f)^a ∝ N^-α                 bends to a chance level ε0 at small N
    broken     f = E + A·N^-α·(1 + (N/d)^(1/s))^(-c1·s)  the exponent changes from α to α + c1 at N = d

Each has its response, its slope, its derivative by every parameter and its inverse, all analytic. Here: what a curve
is, and the first two. Not here: the other two (`bent_curves`), what synthetic images do (`worths`), and fitting
(`regression`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from realfake.laws.parameters import SMALLEST_EFFECTIVE_SIZE, Array, Named, Parameter, Parameters, named


@dataclass(frozen=True)
class Height:
    """f at a size, with its derivatives by the size and by each parameter."""

    response: Array
    slope: Array
    by: dict[str, Array]


@dataclass(frozen=True)
class Curve:
    """One formula for the real-only response.

    The `parameters` that its methods take may be a whole law's: its first entries are the curve's. Sizes are numbers of
    images; below a hundredth of an image they count as that.
    """

    name: str
    equation: str
    source: str
    parameters: tuple[Parameter, ...]
    response: Callable[[Named, Array], Array]
    height: Callable[[Named, Array], Height]
    inverse: Callable[[Named, Array], Array]  # of a response's distance to the floor, which is positive
    floors: tuple[str, ...] = ("floor",)  # the parameters that add up to what no amount of real data goes below

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def error(self, parameters: Parameters, n: Any) -> Array:
        """f(n)."""
        return self.response(named(self.parameters, parameters), present(n))

    def slope(self, parameters: Parameters, n: Any) -> Array:
        """f'(n), negative."""
        return self.height(named(self.parameters, parameters), present(n)).slope

    def gradient(self, parameters: Parameters, n: Any) -> Array:
        """∂f/∂parameters, stacked on the first axis: one row for each of the curve's own."""
        by = self.height(named(self.parameters, parameters), present(n)).by
        return np.stack(np.broadcast_arrays(*(by[name] for name in self.parameter_names)))

    def size(self, parameters: Parameters, response: Any) -> Array:
        """f⁻¹: the real images that give `response`; +inf at or below the floor, 0 where no data gives as much."""
        values = named(self.parameters, parameters)
        above = np.asarray(response, dtype=float) - sum(values[name] for name in self.floors)
        with np.errstate(all="ignore"):
            return np.where(above > 0, self.inverse(values, np.maximum(above, 1e-300)), np.inf)


def present(n: Any) -> Array:
    """The size at which a curve is read: no less than a hundredth of an image."""
    return np.maximum(n, SMALLEST_EFFECTIVE_SIZE)


def _power_response(p: Named, size: Array) -> Array:
    return p["floor"] + p["amplitude"] * size ** -p["exponent"]


def _power_height(p: Named, size: Array) -> Height:
    power = size ** -p["exponent"]
    above = p["amplitude"] * power
    by = {"floor": np.ones_like(power), "amplitude": power, "exponent": -np.log(size) * above}
    return Height(p["floor"] + above, -p["exponent"] * above / size, by)


def _power_inverse(p: Named, above: Array) -> Array:
    return (above / p["amplitude"]) ** (-1 / p["exponent"])


def _lifted_response(p: Named, size: Array) -> Array:
    return p["synthetic_amplitude"] + _power_response(p, size)


def _lifted_height(p: Named, size: Array) -> Height:
    height = _power_height(p, size)
    by = {**height.by, "synthetic_amplitude": height.by["floor"]}
    return Height(p["synthetic_amplitude"] + height.response, height.slope, by)


def _rectified_response(p: Named, size: Array) -> Array:
    return p["floor"] + p["amplitude"] / (size ** p["exponent"] + p["offset"])


def _rectified_height(p: Named, size: Array) -> Height:
    power = size ** p["exponent"]
    share = 1 / (power + p["offset"])
    by_offset = -p["amplitude"] * share**2
    by_exponent = by_offset * power * np.log(size)
    by = {"floor": np.ones_like(share), "amplitude": share, "exponent": by_exponent, "offset": by_offset}
    return Height(p["floor"] + p["amplitude"] * share, by_offset * power * p["exponent"] / size, by)


def _rectified_inverse(p: Named, above: Array) -> Array:
    return np.maximum(p["amplitude"] / above - p["offset"], 0.0) ** (1 / p["exponent"])


FLOOR = Parameter("floor", 0.0, 1e6, "E: response that no amount of real data removes", linear=True, ladder_sizes=3)
AMPLITUDE = Parameter("amplitude", 1e-9, 1e9, "A: response above the floor at one real image", log=True, linear=True)
EXPONENT = Parameter(
    "exponent", 1e-2, 3.0, "α: how fast real images lower the response", starts=(0.15, 0.3, 0.5, 0.8, 1.2, 2.0)
)

POWER_CURVE = Curve(
    name="power",
    equation="f = E + A·N^-α",
    source="power law with a floor (estimator M2 of Alabdulmohsin et al. 2022)",
    parameters=(FLOOR, AMPLITUDE, EXPONENT),
    response=_power_response,
    height=_power_height,
    inverse=_power_inverse,
)

# The additive law's. Its floor E + B falls apart only where synthetic images take B away: alone it is the power law.
LIFTED_CURVE = Curve(
    name="lifted",
    equation="f = (E + B) + A·N^-α",
    source="L(N, D) = E + A/N^α + B/D^β at one D (Hoffmann et al. 2022, arXiv 2203.15556, approach 3)",
    parameters=(
        Parameter("floor", 0.0, 1e6, "E: response that no data removes", linear=True, ladder_sizes=3),
        AMPLITUDE,
        EXPONENT,
        Parameter(
            "synthetic_amplitude",
            0.0,
            1e6,
            "B: response that only synthetic images take away",
            linear=True,
            told_by_mixtures=True,
        ),
    ),
    response=_lifted_response,
    height=_lifted_height,
    inverse=_power_inverse,
    floors=("floor", "synthetic_amplitude"),
)

RECTIFIED_CURVE = Curve(
    name="rectified",
    equation="f = E + A/(N^α + B)",
    source="rectified scaling law of fine-tuning, L(D) = B/(D_l + D^β) + E (Lin et al. 2024, arXiv 2402.02314)",
    parameters=(
        FLOOR,
        Parameter("amplitude", 1e-9, 1e9, "A: response above the floor at large N, times N^α", log=True, linear=True),
        EXPONENT,
        Parameter(
            "offset",
            0.0,
            1e6,
            "B: images that the initialisation counts as, to the power of α",
            starts=(0.0, 3.0, 30.0, 300.0),
            ladder_sizes=4,
        ),
    ),
    response=_rectified_response,
    height=_rectified_height,
    inverse=_rectified_inverse,
)
