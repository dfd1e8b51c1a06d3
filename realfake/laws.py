"""Formulas for the error at n real and m synthetic images, and what they say a synthetic image is worth.

Every law has the real-only curve f and a *worth* w, the real images that the synthetic ones replace in f, and may have
a harm on the response side:

    y(n, m) = f(n + w(n, m, g)) + h·(m / (n + m))²,      f(N) = E + A·N^-α,      g = n_generator
    a(n, m) = f⁻¹(y(n, m)) − n                            the added real equivalent, signed

The harm is the squared bias of plain pooling: an estimate from n real images (variance σ²/n) and m synthetic ones with
bias δ has mean squared error σ²/(n + m) + δ²·(m/(n + m))². It starts flat, so the first images are judged by their
rate; it is bounded, so y stays defined for every m; and it grows with the synthetic share, which gives the measured
peak-then-decline. With h = 0 nothing is lost: a = w.

Here: the formulas, their gradients and the meanings of their parameters. Not here: fitting (`regression`, `fits`).

`parameters` is always a sequence of p arrays, each broadcastable against n; so `theta` of shape (p,) works with arrays
of n, and draws of shape (b, p) are passed as `draws.T[:, :, None]` against c cells to give (b, c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Parameters = Any  # a sequence of p numbers, or of p arrays that broadcast against the sizes
SMALLEST_EFFECTIVE_SIZE = 1e-2  # f is infinite at 0 images; a hundredth of an image keeps every response finite
REAL_NAMES = ("floor", "amplitude", "exponent")
REAL_MEANINGS = (
    "E: response that no amount of real data removes",
    "A: response above the floor at one real image",
    "α: how fast real images lower the response",
)
REAL_BOUNDS = ((0.0, 1e6), (1e-9, 1e9), (1e-2, 3.0))


def real_error(parameters: Parameters, n: Any) -> Array:
    """f(n) = E + A·n^-α, the expected response of real-only training on n images."""
    floor, amplitude, exponent = parameters[:3]
    return floor + amplitude * np.maximum(n, SMALLEST_EFFECTIVE_SIZE) ** -exponent


def real_slope(parameters: Parameters, n: Any) -> Array:
    """f'(n) = −α·A·n^(-α-1) (negative)."""
    _, amplitude, exponent = parameters[:3]
    return -exponent * amplitude * np.maximum(n, SMALLEST_EFFECTIVE_SIZE) ** (-exponent - 1)


def real_size(parameters: Parameters, response: Any) -> Array:
    """f⁻¹: the real images that give `response`; +inf at or below the floor."""
    floor, amplitude, exponent = parameters[:3]
    above = np.asarray(response, dtype=float) - floor
    with np.errstate(all="ignore"):
        return np.where(above > 0, (np.maximum(above, 1e-300) / amplitude) ** (-1 / exponent), np.inf)


@dataclass(frozen=True)
class Worth:
    """Real images that the synthetic ones replace, with derivatives by m and by each parameter of the law's worth."""

    images: Array
    by_volume: Array
    by_parameters: tuple[Array, ...]


@dataclass(frozen=True)
class Law:
    """One formula for the response at (n, m, n_generator): its parameters, and everything derived from them."""

    name: str
    equation: str
    source: str
    parameter_names: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    meanings: tuple[str, ...]
    log_scaled: tuple[str, ...]  # searched on a log scale
    linear: tuple[str, ...]  # the response is linear in these
    worth: Callable[[Parameters, Any, Any, Any], Worth]
    starts: Callable[[Array, Array, Array], dict[str, tuple[float, ...]]]  # (n, m, n_generator) -> values to start at
    synthetic_alone: bool = True  # defined at n_real = 0
    saturates: bool = True  # the worth has a finite cap

    def error(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """The expected response y(n, m)."""
        worth = self.worth(parameters, n, m, n_generator).images
        return real_error(parameters, n + worth) + self._harm(parameters) * synthetic_share(n, m) ** 2

    def gradient(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """∂y/∂parameters, stacked on the first axis: (p, …)."""
        worth = self.worth(parameters, n, m, n_generator)
        effective = np.maximum(n + worth.images, SMALLEST_EFFECTIVE_SIZE)
        power = effective ** -parameters[2]
        slope = real_slope(parameters, effective)
        real = (np.ones_like(power), power, -parameters[1] * np.log(effective) * power)
        harm = (synthetic_share(n, m) ** 2,) if "harm" in self.parameter_names else ()
        parts = (*real, *(slope * derivative for derivative in worth.by_parameters), *harm)
        return np.stack(np.broadcast_arrays(*parts))

    def equivalent(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """a(n, m) = f⁻¹(y(n, m)) − n: real images that m synthetic ones are worth; negative where they hurt."""
        worth = self.worth(parameters, n, m, n_generator).images
        harm = self._harm(parameters) * synthetic_share(n, m) ** 2
        # Without harm f⁻¹ ∘ f is skipped: rounding near the floor would turn a finite worth into infinity.
        inverted = real_size(parameters, real_error(parameters, n + worth) + harm) - n
        return np.where(harm == 0, worth, inverted)

    def value(self, parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Array:
        """∂a/∂m = (∂y/∂m) / f'(n + a): what one more synthetic image is worth."""
        worth = self.worth(parameters, n, m, n_generator)
        total = np.maximum(np.asarray(n) + m, SMALLEST_EFFECTIVE_SIZE)
        harm_slope = self._harm(parameters) * 2 * synthetic_share(n, m) * n / total**2
        slope = real_slope(parameters, n + worth.images) * worth.by_volume + harm_slope
        effective = n + self.equivalent(parameters, n, m, n_generator)
        with np.errstate(all="ignore"):
            return np.where(harm_slope == 0, worth.by_volume, slope / real_slope(parameters, effective))

    def cap(self, parameters: Parameters, n: Any, n_generator: Any) -> Array:
        """sup over m of a(n, m), searched on a log grid of volumes that is refined twice; +inf where it never ends."""
        centre, half_width = np.zeros(np.shape(np.asarray(parameters[0]) + n)) + 14.0, 21.0  # m from 1e-3 to 1e15
        best = np.zeros_like(centre)
        for _ in range(3):
            log_volumes = centre + np.linspace(-half_width, half_width, 121).reshape(-1, *[1] * centre.ndim)
            equivalents = self.equivalent(parameters, n, np.exp(log_volumes), n_generator)
            best = np.maximum(best, equivalents.max(axis=0))
            centre = np.take_along_axis(log_volumes, equivalents.argmax(axis=0)[None], axis=0)[0]
            half_width /= 30
        return best if self.saturates else np.full_like(best, np.inf)

    def index(self, name: str) -> int:
        """The position of a parameter."""
        return self.parameter_names.index(name)

    def _harm(self, parameters: Parameters) -> Any:
        return parameters[self.index("harm")] if "harm" in self.parameter_names else 0.0


def synthetic_share(n: Any, m: Any) -> Array:
    """m / (n + m), and 0 where there are no images at all."""
    total = np.asarray(n, dtype=float) + m
    return np.where(total > 0, m / np.maximum(total, SMALLEST_EFFECTIVE_SIZE), 0.0)


def _no_worth(parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Worth:
    nothing = np.zeros(np.shape(np.asarray(n, dtype=float) + m))
    return Worth(nothing, nothing, ())


def _hyperbolic_worth(parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Worth:
    """w = ρ·m / (1 + m/H), H = κ·g^η. As r = 1/(1 + m/H): w = ρ·m·r, ∂w/∂m = ρ·r², ∂w/∂κ = ρ·m²·r²/(H·κ)."""
    rate, half, generator_exponent = parameters[3:6]
    generator_images = np.maximum(n_generator, 1.0)  # a generator that saw no real image of ours counts as 1
    half_volume = half * generator_images**generator_exponent
    remaining = 1 / (1 + m / half_volume)
    by_log_half = rate * m**2 * remaining**2 / half_volume
    by_parameters = (m * remaining, by_log_half / half, by_log_half * np.log(generator_images))
    return Worth(rate * m * remaining, rate * remaining**2, by_parameters)


def _wang_worth(parameters: Parameters, n: Any, m: Any, n_generator: Any) -> Worth:
    """w = n·ln(1 + u/s)/ln c2, s = exp(n·ln(c1)/k), u = m/n; ∂w/∂m = 1/(ln c2·(s + u)). No worth at n = 0."""
    growth, log_c2 = parameters[3:5]
    present = np.asarray(n) > 0
    size = np.where(present, n, 1.0)
    cost, ratio = np.exp(np.clip(growth * size, -50, 50)), m / size
    images = np.where(present, size * np.log1p(ratio / cost) / log_c2, 0.0)
    by_volume = np.where(present, 1 / (log_c2 * (cost + ratio)), 0.0)
    return Worth(images, by_volume, (-size * m * by_volume, -images / log_c2))


def _real_starts(n: Array, m: Array, n_generator: Array) -> dict[str, tuple[float, ...]]:
    return {"exponent": (0.15, 0.3, 0.5, 0.8, 1.2, 2.0)}


def _hyperbolic_starts(n: Array, m: Array, n_generator: Array) -> dict[str, tuple[float, ...]]:
    typical = float(np.median(m[m > 0]) / np.median(np.maximum(n_generator[m > 0], 1)))
    halves = tuple(float(np.clip(typical * factor, 1e-2, 1e8)) for factor in (0.05, 0.5, 5.0, 500.0))
    rates = {"rate": (0.03, 0.15, 0.5, 2.0), "half": halves, "generator_exponent": (0.3, 1.0)}
    return {**_real_starts(n, m, n_generator), **rates}


def _wang_starts(n: Array, m: Array, n_generator: Array) -> dict[str, tuple[float, ...]]:
    unit = 1 / float(n.max())
    growths = {"ln_c1_over_k": (-2 * unit, 0.0, 2 * unit, 6 * unit), "ln_c2": (0.3, 1.0, 4.0, 30.0)}
    return {**_real_starts(n, m, n_generator), **growths}


POWER = Law(
    name="power",
    equation="y = E + A·n^-α",
    source="power law with a floor (estimator M2 of Alabdulmohsin et al. 2022)",
    parameter_names=REAL_NAMES,
    bounds=REAL_BOUNDS,
    meanings=REAL_MEANINGS,
    log_scaled=("amplitude",),
    linear=("floor", "amplitude"),
    worth=_no_worth,
    starts=_real_starts,
)

HYPERBOLIC = Law(
    name="hyperbolic",
    equation="y = E + A·(n + ρ·m/(1 + m/(κ·n_generator^η)))^-α + h·(m/(n + m))²",
    source="bias and variance of a weighted estimate from two sources; harm from plain pooling",
    parameter_names=(*REAL_NAMES, "rate", "half", "generator_exponent", "harm"),
    bounds=(*REAL_BOUNDS, (0.0, 100.0), (1e-3, 1e9), (0.0, 2.0), (0.0, 1e3)),
    meanings=(
        *REAL_MEANINGS,
        "ρ: real images that the first synthetic image is worth",
        "κ: volume at which half the worth is spent, per n_generator^η",
        "η: how that volume grows with the generator's real images (1 closed-set, 0 open-set)",
        "h: response added by synthetic images alone, however many",
    ),
    log_scaled=("amplitude", "half"),
    linear=("floor", "amplitude", "harm"),
    worth=_hyperbolic_worth,
    starts=_hyperbolic_starts,
)

WANG = Law(
    name="wang",
    equation="y = E + A·(n + n·ln(1 + u/s)/ln c2)^-α, s = exp(n·ln(c1)/k), u = m/n",
    source="Wang et al. 2025, arXiv 2508.09550: n_syn/n = c1^(n/k)·(c2^(n_real⁺/n) − 1), as quoted by others, inverted",
    parameter_names=(*REAL_NAMES, "ln_c1_over_k", "ln_c2"),
    bounds=(*REAL_BOUNDS, (-1.0, 1.0), (1e-3, 1e4)),
    meanings=(
        *REAL_MEANINGS,
        "ln(c1)/k: growth of the cost with the real size (c1 and k apart cannot be told)",
        "ln c2: growth of the cost with the real images to replace",
    ),
    log_scaled=("amplitude", "ln_c2"),
    linear=("floor", "amplitude"),
    worth=_wang_worth,
    starts=_wang_starts,
    synthetic_alone=False,
    saturates=False,
)

LAWS: dict[str, Law] = {law.name: law for law in (HYPERBOLIC, WANG)}
