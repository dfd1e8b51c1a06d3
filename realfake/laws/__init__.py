"""Formulas for the error at n real and m synthetic images, and what they say a synthetic image is worth.

Every law is a real-only curve f with a *worth* w, the real images that the synthetic ones replace in f, or a *shift* s
of the response that no number of real images stands for, or both; w and s are 0 at m = 0:

    y(n, m, g) = f(n + w(n, m, g)) + s(n, m, g),      g = n_generator
    a(n, m, g) = f⁻¹(y(n, m, g)) − n                  the added real equivalent, signed

Without a shift a = w. One shift is the harm h·(m/(n + m))², the squared bias of plain pooling: an estimate from n real
images (variance σ²/n) and m synthetic ones with bias δ has mean squared error σ²/(n + m) + δ²·(m/(n + m))². It starts
flat, so the first images are judged by their rate; it is bounded, so y stays defined for every m; and it grows with the
synthetic share, which gives the measured peak-then-decline.

Here: what a law is, and the library `LAWS`; all derivatives are analytic. Not here: the parts (`real_curves`,
`bent_curves`, `worths`, `ratio_worths`, `shifts`), fitting (`regression`, `fits`), choosing between laws.

`parameters` is always a sequence of p arrays, each broadcastable against n; so `theta` of shape (p,) works with arrays
of n, and draws of shape (b, p) are passed as `draws.T[:, :, None]` against c cells to give (b, c).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from realfake.laws.bent_curves import BROKEN_CURVE, M4_CURVE
from realfake.laws.parameters import Array, Named, Parameter, Parameters, named
from realfake.laws.ratio_worths import POWER_RATIO_WORTH, SYN2REAL_WORTH, TRANSFERRED_WORTH, WANG_WORTH
from realfake.laws.real_curves import LIFTED_CURVE, POWER_CURVE, RECTIFIED_CURVE, Curve, Height, present
from realfake.laws.shifts import HARM, REMOVAL, synthetic_share
from realfake.laws.worths import EXPONENTIAL_WORTH, GROWN_WORTH, NOTHING, PLAIN_WORTH, SCALED_WORTH, Effect, Term

__all__ = ["CURVES", "LAWS", "POWER", "REAL_NAMES", "Array", "Curve", "Law", "real_error", "synthetic_share"]

CURVES: dict[str, Curve] = {curve.name: curve for curve in (POWER_CURVE, RECTIFIED_CURVE, M4_CURVE, BROKEN_CURVE)}


@dataclass(frozen=True)
class Law:
    """One formula for the response at (n, m, n_generator): its parameters, and everything derived from them."""

    name: str
    equation: str
    source: str
    curve: Curve
    worth: Term = NOTHING
    shift: Term = NOTHING
    synthetic_alone: bool = True  # defined at n_real = 0
    saturates: bool = True  # worth and shift end at endless m

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The curve's parameters first, then the worth's and the shift's."""
        return (*self.curve.parameters, *self.worth.parameters, *self.shift.parameters)

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        return tuple((parameter.low, parameter.high) for parameter in self.parameters)

    @cached_property
    def meanings(self) -> tuple[str, ...]:
        return tuple(parameter.meaning for parameter in self.parameters)

    @cached_property
    def log_scaled(self) -> tuple[str, ...]:
        """The parameters that are searched on a log scale."""
        return tuple(parameter.name for parameter in self.parameters if parameter.log)

    @cached_property
    def linear(self) -> tuple[str, ...]:
        """The parameters that the response is linear in."""
        return tuple(parameter.name for parameter in self.parameters if parameter.linear)

    @cached_property
    def told_by_mixtures(self) -> Array:
        """(p,) True for the parameters that the real-only ladder says nothing about."""
        ladder = [parameter.name for parameter in self.curve.parameters if not parameter.told_by_mixtures]
        return np.array([name not in ladder for name in self.parameter_names])

    def index(self, name: str) -> int:
        """The position of a parameter."""
        return self.parameter_names.index(name)

    def starts(self, n: Array, m: Array, n_generator: Array) -> dict[str, tuple[float, ...]]:
        """Values to start a search at, for a table whose cells have these sizes (c,)."""
        return {one.name: one.start_values(n, m, n_generator) for one in self.parameters if one.starts}

    def error(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """The expected response y(n, m)."""
        p, worth, shift = self._terms(parameters, n, m, n_generator)
        return self.curve.response(p, present(n + worth.value)) + shift.value

    def gradient(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """∂y/∂parameters, stacked on the first axis: (p, …)."""
        return self.error_and_gradient(parameters, n, m, n_generator)[1]

    def error_and_gradient(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> tuple[Array, Array]:
        """y(n, m) and ∂y/∂parameters for less than the price of both."""
        p, worth, shift = self._terms(parameters, n, m, n_generator)
        height = self.curve.height(p, present(n + worth.value))
        columns = (_derivative(name, height, worth, shift) for name in self.parameter_names)
        return height.response + shift.value, np.stack(np.broadcast_arrays(*columns))

    def volume_slope(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """∂y/∂m: what one more synthetic image does to the response."""
        _, worth, shift = self._terms(parameters, n, m, n_generator)
        return self.curve.slope(parameters, n + worth.value) * worth.by_volume + shift.by_volume

    def equivalent(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """a(n, m) = f⁻¹(y(n, m)) − n: real images that m synthetic ones are worth; negative where they hurt."""
        p, worth, shift = self._terms(parameters, n, m, n_generator)
        return self._equivalent(p, parameters, n, worth.value, shift.value) + _zeros(parameters, n, m, n_generator)

    def _equivalent(self, p: Named, parameters: Parameters, n: Any, worth: Any, shift: Any) -> Any:
        if self.shift is NOTHING:
            return worth
        # Where nothing is shifted f⁻¹ ∘ f is skipped: rounding near the floor would turn a finite worth into infinity.
        inverted = self.curve.size(parameters, self.curve.response(p, present(n + worth)) + shift) - n
        return np.where(shift == 0, worth, inverted)

    def value(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """∂a/∂m = (∂y/∂m) / f'(n + a): what one more synthetic image is worth; +inf where a itself is."""
        p, worth, shift = self._terms(parameters, n, m, n_generator)
        if self.shift is NOTHING:
            return worth.by_volume + _zeros(parameters, n, m, n_generator)
        effective = n + self._equivalent(p, parameters, n, worth.value, shift.value)
        slope = self.curve.slope(parameters, n + worth.value) * worth.by_volume + shift.by_volume
        with np.errstate(all="ignore"):
            inverted = slope / self.curve.slope(parameters, effective)
        return np.where((shift.value == 0) & (shift.by_volume == 0), worth.by_volume, inverted)

    def cap(self, parameters: Parameters, n: Any, n_generator: Any) -> Array:
        """sup over m of a(n, m), +inf where it never ends; with a shift the peak of a log grid, refined twice."""
        nothing = _zeros(parameters, n, n_generator)
        if not self.saturates:
            return nothing + np.inf
        p = named(self.parameters, parameters)
        worth, shift = self.worth.limit(p, n, n_generator), self.shift.limit(p, n, n_generator)
        endless = np.maximum(nothing, self._equivalent(p, parameters, n, worth, shift))
        return endless if self.shift is NOTHING else np.maximum(self._peak(parameters, n, n_generator), endless)

    def _peak(self, parameters: Parameters, n: Any, n_generator: Any) -> Array:
        best = _zeros(parameters, n, n_generator)
        centre, half_width = best + 14.0, 21.0  # m from 1e-3 to 1e15
        for _ in range(3):
            log_volumes = centre + np.linspace(-half_width, half_width, 121).reshape(-1, *[1] * centre.ndim)
            equivalents = self.equivalent(parameters, n, np.exp(log_volumes), n_generator)
            best = np.maximum(best, equivalents.max(axis=0))
            centre = np.take_along_axis(log_volumes, equivalents.argmax(axis=0)[None], axis=0)[0]
            half_width /= 30
        return best

    def _terms(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> tuple[Named, Effect, Effect]:
        p = named(self.parameters, parameters)
        return p, self.worth.effect(p, n, m, n_generator), self.shift.effect(p, n, m, n_generator)


def _zeros(parameters: Parameters, *sizes: Any) -> Array:
    """Zeros in the shape that one parameter and the sizes broadcast to."""
    return np.zeros(np.broadcast_shapes(np.shape(parameters[0]), *(np.shape(size) for size in sizes)))


def _derivative(name: str, height: Height, worth: Effect, shift: Effect) -> Any:
    """∂y/∂(the parameter of this name), through the curve, the worth and the shift."""
    parts = [height.by[name]] if name in height.by else []
    parts += [height.slope * worth.by[name]] if name in worth.by else []
    parts += [shift.by[name]] if name in shift.by else []
    return sum(parts[1:], start=parts[0])


POWER = Law(
    name="power",
    equation="y = E + A·n^-α",
    source=POWER_CURVE.source,
    curve=POWER_CURVE,
)
REAL_NAMES = POWER.parameter_names
real_error = POWER_CURVE.error

_BIAS_AND_VARIANCE = "bias and variance of a weighted estimate from two sources"
_GROWN = "w = ρ·m/(1 + m/(κ·n_generator^η))"

HYPERBOLIC = Law(
    name="hyperbolic",
    equation="y = E + A·(n + ρ·m/(1 + m/κ))^-α",
    source=f"{_BIAS_AND_VARIANCE}, the bias being the generator's own",
    curve=POWER_CURVE,
    worth=PLAIN_WORTH,
)
SCALED = Law(
    name="scaled",
    equation="y = E + A·(n + ρ·m/(1 + m/(κ·n_generator)))^-α",
    source=f"{_BIAS_AND_VARIANCE}, the squared bias falling as 1/n_generator",
    curve=POWER_CURVE,
    worth=SCALED_WORTH,
)
PEAKED = Law(
    name="peaked",
    equation="y = E + A·(n + ρ·m/(1 + m/(κ·n_generator^η)))^-α + h·(m/(n + m))²",
    source=f"{_BIAS_AND_VARIANCE}; harm from plain pooling",
    curve=POWER_CURVE,
    worth=GROWN_WORTH,
    shift=HARM,
)
WANG = Law(
    name="wang",
    equation="y = E + A·(n + n·ln(1 + u/s)/ln c2)^-α, s = exp(n·ln(c1)/k), u = m/n",
    source="Wang et al. 2025, arXiv 2508.09550: n_syn/n = c1^(n/k)·(c2^(n_real⁺/n) − 1), as quoted by others, inverted",
    curve=POWER_CURVE,
    worth=WANG_WORTH,
    synthetic_alone=False,
    saturates=False,
)
POWER_RATIO = Law(
    name="power_ratio",
    equation="y = E + A·(n + w)^-α, w = ((V·(m/1000)^γ)^-α + C^-α)^(-1/α)",
    source="the real size at which f = E + A·N^-α meets the power law E' + B·m^-β of synthetic images alone",
    curve=POWER_CURVE,
    worth=POWER_RATIO_WORTH,
)
ADDITIVE = Law(
    name="additive",
    # m counts from one on, so that the real-only ladder lies on the law (m = 0 gives E + B + A·n^-α). Synthetic images
    # can take away what no real image does, so an equivalent may be infinite.
    equation="y = E + A·n^-α + B·(1 + m)^-β",
    source="Hoffmann et al. 2022, arXiv 2203.15556, approach 3: L(N, D) = E + A/N^α + B/D^β, with D = 1 + m",
    curve=LIFTED_CURVE,
    shift=REMOVAL,
    synthetic_alone=False,
)
TRANSFERRED = Law(
    name="transferred",
    equation="y = E + A·(n + V·(n/1000)^a·(m/1000)^b)^-α",
    source="Hernandez et al. 2021, arXiv 2102.01293: effective data transferred D_T = k·D_F^α·N^β, m in the place of N",
    curve=POWER_CURVE,
    worth=TRANSFERRED_WORTH,
    synthetic_alone=False,
    saturates=False,
)
SYN2REAL = Law(
    name="syn2real",
    equation="y = E + A·n^-α·(G + (1 − G)·(1 + m/M)^-a)",
    source="Mikami et al. 2021, arXiv 2108.11018: L = δ·(γ + n_syn^-α)·n_real^-β, with a floor and m from M on",
    curve=POWER_CURVE,
    worth=SYN2REAL_WORTH,
    synthetic_alone=False,
)
EXPONENTIAL = Law(
    name="exponential",
    equation="y = E + A·(n + ρ·R·(1 − e^(-m/R)))^-α, R = κ·n_generator/ln 2",
    source="data-constrained law of Muennighoff et al. 2023, arXiv 2305.16264: D' = U + U·R*·(1 − e^(-m/(U·R*)))",
    curve=POWER_CURVE,
    worth=EXPONENTIAL_WORTH,
)
M4, RECTIFIED, BROKEN = (
    Law(
        name=curve.name,
        equation=f"y = f(n + w), {curve.equation}, {_GROWN}",
        source=f"{curve.source}; {_BIAS_AND_VARIANCE}",
        curve=curve,
        worth=GROWN_WORTH,
    )
    for curve in (M4_CURVE, RECTIFIED_CURVE, BROKEN_CURVE)
)

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        *(HYPERBOLIC, SCALED, PEAKED, WANG, POWER_RATIO, ADDITIVE, TRANSFERRED, SYN2REAL, EXPONENTIAL),
        *(M4, RECTIFIED, BROKEN),
    )
}
