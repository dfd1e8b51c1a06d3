"""Shifts of the response that no number of real images stands for: the harm of pooling, and an additive second curve.

Here: these terms. Not here: what a term is (`worths`), and the laws that use them (`laws`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realfake.laws.parameters import SMALLEST_EFFECTIVE_SIZE, Array, Named, Parameter
from realfake.laws.worths import Effect, Term


def synthetic_share(n: Any, m: Any) -> Array:
    """m / (n + m), and 0 where there are no images at all."""
    total = np.asarray(n, dtype=float) + m
    return np.where(total > 0, m / np.maximum(total, SMALLEST_EFFECTIVE_SIZE), 0.0)


def _harm(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    """s = h·(m/(n + m))², flat at first and never more than h."""
    share = synthetic_share(n, m)
    total = np.maximum(np.asarray(n) + m, SMALLEST_EFFECTIVE_SIZE)
    return Effect(p["harm"] * share**2, p["harm"] * 2 * share * n / total**2, {"harm": share**2})


def _harm_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return p["harm"]


def _removal(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    """s = −B·(1 − (1 + m)^-β)."""
    amplitude, exponent, total = p["synthetic_amplitude"], p["synthetic_exponent"], 1.0 + np.asarray(m, dtype=float)
    left = total**-exponent
    by = {"synthetic_amplitude": left - 1, "synthetic_exponent": -amplitude * left * np.log(total)}
    return Effect(amplitude * (left - 1), -amplitude * exponent * left / total, by)


def _removal_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return -p["synthetic_amplitude"]


HARM = Term(
    (Parameter("harm", 0.0, 1e3, "h: response added by synthetic images alone, however many", linear=True),),
    _harm,
    _harm_limit,
)
REMOVAL = Term(
    (
        Parameter(
            "synthetic_exponent",
            1e-2,
            3.0,
            "β: how fast synthetic images take their part of the response away",
            starts=(0.1, 0.3, 0.6, 1.2),
        ),
    ),
    _removal,
    _removal_limit,
)
