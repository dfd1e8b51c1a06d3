"""Real-only curves whose exponent changes with the size: estimator M4, and a neural scaling law with one break.

In logarithms both run along one bend between two straight lines, M4 along its inverse. Here: that bend and these two
curves. Not here: what a curve is, and the plain ones (`real_curves`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realfake.laws.parameters import Array, Named, Parameter
from realfake.laws.real_curves import AMPLITUDE, EXPONENT, FLOOR, Curve, Height

NEWTON_STEPS = 60


def _softplus(s: Array) -> Array:
    return np.logaddexp(0.0, s)


def bent(s: Array, ratio: Any) -> Array:
    """s + (ratio − 1)·ln(1 + e^s): slope 1 far below s = 0, slope `ratio` (> 0) far above it."""
    return s + (ratio - 1) * _softplus(s)


def unbent(level: Array, ratio: Any) -> Array:
    """The s at which `bent` is `level`.

    By Newton's method from an asymptote: `bent` is convex (ratio > 1) or concave throughout, and lies on one side of
    its asymptotes, so that every step goes the same way and none overshoots.
    """
    s = np.where(level > 0, level / ratio, level)
    for _ in range(NEWTON_STEPS):
        soft = _softplus(s)
        move = (s + (ratio - 1) * soft - level) / (1 + (ratio - 1) * np.exp(s - soft))
        s = s - move
        if not (np.abs(move) > 1e-9 * (1 + np.abs(s))).any():  # what is left is of the order of its square
            break
    return s


# M4: with u = (f − E)/(ε0 − E), and N0 the size where u/(1 − u)^a = 1, the published form is u/(1 − u)^a = (N/N0)^-α.
# In t = ln(u/(1 − u)) its left side is exp(bent(t, a)).


def _m4_log_odds(p: Named, size: Array) -> Array:
    return unbent(-p["exponent"] * (np.log(size) - np.log(p["onset"])), p["bend"])


def _m4_response(p: Named, size: Array) -> Array:
    return p["floor"] + p["amplitude"] * np.exp(-_softplus(-_m4_log_odds(p, size)))


def _m4_height(p: Named, size: Array) -> Height:
    odds = _m4_log_odds(p, size)
    soft = _softplus(odds)
    share = np.exp(odds - soft)
    by_level = p["amplitude"] * share * np.exp(-soft) / (1 + (p["bend"] - 1) * share)
    by = {
        "floor": np.ones_like(share),
        "amplitude": share,
        "exponent": -by_level * (np.log(size) - np.log(p["onset"])),
        "onset": by_level * p["exponent"] / p["onset"],
        "bend": -by_level * soft,
    }
    return Height(p["floor"] + p["amplitude"] * share, -by_level * p["exponent"] / size, by)


def _m4_inverse(p: Named, above: Array) -> Array:
    share = np.minimum(above / p["amplitude"], 1.0)  # at the chance level and above it: no images
    return p["onset"] * np.exp(-(np.log(share) - p["bend"] * np.log1p(-share)) / p["exponent"])


# One break: with x = ln(N/d)/s, ln(f − E) = ln A − α·(ln d + s·bent(x, r)).


def _broken_logs(p: Named, size: Array) -> tuple[Array, Array, Array]:
    """(x, ln(1 + e^x), ln d + s·bent(x, r))."""
    where = np.log(size / p["break_size"]) / p["sharpness"]
    soft = _softplus(where)
    return where, soft, np.log(size) + p["sharpness"] * (p["exponent_ratio"] - 1) * soft


def _broken_response(p: Named, size: Array) -> Array:
    return p["floor"] + p["amplitude"] * np.exp(-p["exponent"] * _broken_logs(p, size)[2])


def _broken_height(p: Named, size: Array) -> Height:
    where, soft, log_size = _broken_logs(p, size)
    power = np.exp(-p["exponent"] * log_size)
    above, change, past = p["amplitude"] * power, p["exponent_ratio"] - 1, np.exp(where - soft)
    steep = -p["exponent"] * above
    by = {
        "floor": np.ones_like(power),
        "amplitude": power,
        "exponent": -log_size * above,
        "exponent_ratio": steep * p["sharpness"] * soft,
        "break_size": -steep * change * past / p["break_size"],
        "sharpness": steep * change * (soft - where * past),
    }
    return Height(p["floor"] + above, steep * (1 + change * past) / size, by)


def _broken_inverse(p: Named, above: Array) -> Array:
    log_size = np.log(p["amplitude"] / above) / p["exponent"]
    where = unbent((log_size - np.log(p["break_size"])) / p["sharpness"], p["exponent_ratio"])
    return p["break_size"] * np.exp(p["sharpness"] * where)


M4_CURVE = Curve(
    name="m4",
    equation="(f − E)/(ε0 − f)^a = A^(1-a)·(N/N0)^-α, ε0 = E + A",
    source="estimator M4 of Alabdulmohsin et al. 2022, (ε − ε∞)/(ε0 − ε)^α = β·n^c; here c is -α, β is A^(1-a)·N0^α",
    parameters=(
        FLOOR,
        Parameter("amplitude", 1e-9, 1e9, "A: the chance level ε0 above the floor", log=True, linear=True),
        EXPONENT,
        Parameter(
            "onset",
            1e-3,
            1e9,
            "N0: real images at which the response has left the chance level",
            log=True,
            starts=(0.03, 0.3, 3.0),
            unit="smallest real size",
            ladder_sizes=5,
            held=None,
        ),
        Parameter(
            "bend",
            0.1,
            10.0,
            "a: how slowly the response leaves the chance level (at 1 it is logistic in ln N)",
            log=True,
            starts=(1.0,),
            ladder_sizes=6,
            held=1.0,
        ),
    ),
    response=_m4_response,
    height=_m4_height,
    inverse=_m4_inverse,
)

BROKEN_CURVE = Curve(
    name="broken",
    equation="f = E + A·N^-α·(1 + (N/d)^(1/s))^(-c1·s), c1 = α·(r − 1)",
    source="broken neural scaling law with one break (Caballero et al. 2022, arXiv 2210.14891, equation 1); c0 is α",
    parameters=(
        FLOOR,
        AMPLITUDE,
        EXPONENT,
        Parameter(
            "exponent_ratio",
            1e-2,
            1e2,
            "r: the exponent after the break over the one before it",
            log=True,
            starts=(0.3, 3.0),
            ladder_sizes=12,
            held=1.0,
        ),
        Parameter(
            "break_size",
            1.0,
            1e9,
            "d: real images at which the exponent changes",
            log=True,
            starts=(0.4, 2.5),
            unit="typical real size",
            ladder_sizes=12,
            held=1e3,
        ),
        Parameter(
            "sharpness",
            2e-2,
            2.0,
            "s: how gradual the break is, in units of ln N",
            log=True,
            starts=(0.3,),
            ladder_sizes=12,
            held=0.3,
        ),
    ),
    response=_broken_response,
    height=_broken_height,
    inverse=_broken_inverse,
)
