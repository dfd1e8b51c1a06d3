"""Worths that saturate: the real images that m synthetic ones replace, up to a cap that belongs to the generator.

A *worth* w(n, m, g) is a number of real images and a *shift* s(n, m, g) a change of the response; both are 0 at m = 0,
and both come with their derivatives by m and by every parameter they depend on, and with their value at endless m.
A generator that saw no real image of ours (open-set) counts as one that saw 1.

Here: what such a term is, and the hyperbolic and the exponential worth. Not here: the other worths (`ratio_worths`),
the shifts (`shifts`), the real-only curves they act on (`real_curves`), and which of them make which law (`laws`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realfake.laws.parameters import Array, Named, Parameter


@dataclass(frozen=True)
class Effect:
    """A term at (n, m, n_generator), with its derivatives by m and by named parameters, the curve's included."""

    value: Array
    by_volume: Array
    by: dict[str, Array]


@dataclass(frozen=True)
class Term:
    """A worth or a shift: the parameters it brings along, its effect, and its value at endless m (+inf allowed)."""

    parameters: tuple[Parameter, ...]
    effect: Callable[[Named, Any, Any, Any], Effect]
    limit: Callable[[Named, Any, Any], Any]


def _nothing(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    nothing = np.zeros(np.broadcast_shapes(np.shape(n), np.shape(m)))
    return Effect(nothing, nothing, {})


def _no_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return 0.0


def _half_volume(p: Named, n_generator: Any, generator_exponent: Any) -> Array:
    return p["half"] * np.maximum(n_generator, 1.0) ** generator_exponent


def _hyperbolic(p: Named, m: Any, half_volume: Array) -> Effect:
    """w = ρ·m/(1 + m/H). With r = 1/(1 + m/H): w = ρ·m·r, ∂w/∂m = ρ·r², ∂w/∂ln H = ρ·m²·r²/H."""
    remaining = 1 / (1 + m / half_volume)
    by_log_half = p["rate"] * m**2 * remaining**2 / half_volume
    by = {"rate": m * remaining, "half": by_log_half / p["half"]}
    return Effect(p["rate"] * m * remaining, p["rate"] * remaining**2, by)


def _plain(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    return _hyperbolic(p, m, _half_volume(p, n_generator, 0.0))


def _plain_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return p["rate"] * _half_volume(p, n_generator, 0.0)


def _scaled(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    return _hyperbolic(p, m, _half_volume(p, n_generator, 1.0))


def _scaled_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return p["rate"] * _half_volume(p, n_generator, 1.0)


def _grown(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    effect = _hyperbolic(p, m, _half_volume(p, n_generator, p["generator_exponent"]))
    by_exponent = effect.by["half"] * p["half"] * np.log(np.maximum(n_generator, 1.0))
    return replace(effect, by={**effect.by, "generator_exponent": by_exponent})


def _grown_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return p["rate"] * _half_volume(p, n_generator, p["generator_exponent"])


def _exponential(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    """w = ρ·R·(1 − e^(-m/R)), R = κ·g/ln 2. With x = m/R: ∂w/∂m = ρ·e^-x, ∂w/∂ln R = ρ·R·(1 − e^-x·(1 + x))."""
    reach = _half_volume(p, n_generator, 1.0) / np.log(2)
    spent = m / reach
    remaining, gone = np.exp(-spent), -np.expm1(-spent)
    by = {"rate": reach * gone, "half": p["rate"] * reach * (gone - spent * remaining) / p["half"]}
    return Effect(p["rate"] * reach * gone, p["rate"] * remaining, by)


def _exponential_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return _scaled_limit(p, n, n_generator) / np.log(2)


RATE = Parameter(
    "rate", 0.0, 100.0, "ρ: real images that the first synthetic image is worth", starts=(0.03, 0.15, 0.5, 2.0)
)
HALF = Parameter(
    "half",
    1e-3,
    1e9,
    "κ: volume at which half the worth is spent, per n_generator^η",
    log=True,
    starts=(0.05, 0.5, 5.0, 500.0),
    unit="typical volume of a generator image",
)
HALF_OF_AN_IMAGE = replace(HALF, meaning="κ: volume at which half the worth is spent, per image the generator saw")
HALF_ALONE = replace(
    HALF,
    low=1e-2,
    high=1e12,
    meaning="κ: volume at which half the worth is spent, whatever the generator saw",
    unit="typical volume",
)
GENERATOR_EXPONENT = Parameter(
    "generator_exponent",
    0.0,
    2.0,
    "η: how that volume grows with the generator's real images (1 closed-set, 0 open-set)",
    starts=(0.3, 1.0),
    generator_sizes=3,
    # With no real images behind the generator (open-set) its bias is fixed, so its worth ends at a fixed volume;
    # fitted on n_generator images (closed-set) it holds their information; the volume grows too.
    held=1.0,
    held_open_set=0.0,
)

NOTHING = Term((), _nothing, _no_limit)
PLAIN_WORTH = Term((RATE, HALF_ALONE), _plain, _plain_limit)
SCALED_WORTH = Term((RATE, HALF_OF_AN_IMAGE), _scaled, _scaled_limit)
GROWN_WORTH = Term((RATE, HALF, GENERATOR_EXPONENT), _grown, _grown_limit)
EXPONENTIAL_WORTH = Term((RATE, HALF_OF_AN_IMAGE), _exponential, _exponential_limit)
