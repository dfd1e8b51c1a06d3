"""Worths that follow from comparing curves: Wang's law, ratios of power laws, and two laws of transfer.

Here: these formulas, derived in their docstrings from the published ones, with their derivatives. Not here: what a
worth is, and those that belong to a generator (`worths`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realfake.laws.parameters import Array, Named, Parameter
from realfake.laws.worths import Effect, Term

LARGEST_LOG = 200.0  # of (n + w)/n: it stays finite, and every curve is at its floor there
THOUSAND = 1000.0  # powers of sizes count from a thousand images, where factor and exponent are easily told apart


def _endless(p: Named, n: Any, n_generator: Any) -> Any:
    return np.inf


def _value_of_the_first(growth: Any, at_one: Any) -> Array:
    """∂/∂m of const·m^growth at m = 0, where `at_one` is the constant."""
    return np.where(growth < 1, np.inf, np.where(growth > 1, 0.0, at_one))


def _wang(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    """w = n·ln(1 + u/s)/ln c2, s = exp(n·ln(c1)/k), u = m/n; ∂w/∂m = 1/(ln c2·(s + u)). No worth at n = 0."""
    present = np.asarray(n) > 0
    size = np.where(present, n, 1.0)
    cost, ratio = np.exp(np.clip(p["ln_c1_over_k"] * size, -50, 50)), m / size
    images = np.where(present, size * np.log1p(ratio / cost) / p["ln_c2"], 0.0)
    by_volume = np.where(present, 1 / (p["ln_c2"] * (cost + ratio)), 0.0)
    by = {"ln_c1_over_k": -size * m * by_volume, "ln_c2": -images / p["ln_c2"]}
    return Effect(images, by_volume, by)


def _power_ratio(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    """w = (v^-α + C^-α)^(-1/α) with v = V·(m/1000)^γ: the smaller of v and C, rounded off.

    Synthetic images alone give y = E' + B·m^-β. On f = E + A·N^-α that is the real size

        ((E' − E + B·m^-β)/A)^(-1/α) = ((c·m^γ)^-α + C^-α)^(-1/α),  γ = β/α, c = (A/B)^(1/α), C = (A/(E' − E))^(1/α)

    and V = c·1000^γ; with E' = E the cap C is infinite. With q = (w/v)^α: ∂ln w/∂ln v = q, ∂ln w/∂ln C = 1 − q,
    ∂ln w/∂α = (q·ln(v/w) + (1 − q)·ln(C/w))/α.
    """
    exponent, some = p["exponent"], np.asarray(m) > 0
    log_volume = np.log(np.where(some, m, 1.0)) - np.log(THOUSAND)
    free, top = np.log(p["thousand"]) + p["growth"] * log_volume, np.log(p["ceiling"])
    log_worth = -np.logaddexp(-exponent * free, -exponent * top) / exponent
    share = np.exp(exponent * (log_worth - free))
    worth = np.where(some, np.exp(log_worth), 0.0)
    by = {
        "thousand": worth * share / p["thousand"],
        "growth": worth * share * log_volume,
        "ceiling": worth * (1 - share) / p["ceiling"],
        "exponent": worth * (share * (free - log_worth) + (1 - share) * (top - log_worth)) / exponent,
    }
    by_volume = worth * share * p["growth"] / np.where(some, m, 1.0)
    return Effect(worth, np.where(some, by_volume, _value_of_the_first(p["growth"], p["thousand"] / THOUSAND)), by)


def _power_ratio_limit(p: Named, n: Any, n_generator: Any) -> Any:
    return p["ceiling"]


def _transferred(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    """w = V·(n/1000)^a·(m/1000)^b, and 0 at n = 0. Published as D_T = k·D_F^a·N^b, so that k = V·1000^-(a + b).

    There N is the size of the model and the pre-training data are fixed; here the volume m takes its place.
    """
    present = np.asarray(n) > 0
    some = present & (np.asarray(m) > 0)
    log_size, log_volume = (np.log(np.where(some, images, THOUSAND)) - np.log(THOUSAND) for images in (n, m))
    grown = np.where(some, np.exp(p["size_power"] * log_size + p["growth"] * log_volume), 0.0)
    worth = p["thousand"] * grown
    by = {"thousand": grown, "size_power": worth * log_size, "growth": worth * log_volume}
    at_one = p["thousand"] / THOUSAND * (np.where(present, n, THOUSAND) / THOUSAND) ** p["size_power"]
    first = np.where(present, _value_of_the_first(p["growth"], at_one), 0.0)
    return Effect(worth, np.where(some, worth * p["growth"] / np.where(some, m, 1.0), first), by)


def _syn2real(p: Named, n: Any, m: Any, n_generator: Any) -> Effect:
    """w = n·(T^(-1/α) − 1), so that A·(n + w)^-α = T·A·n^-α; T = G + (1 − G)·(1 + m/M)^-a falls from 1 to the gap G.

    Published for m images of pre-training and n of fine-tuning: L = δ·(γ + m^-a)·n^-α, without end at m = 0. Counting
    m from M images on makes m = 0 the real-only curve; for m far above M it is the published form, with γ = G·M^-a/(1 −
    G) and δ = A·(1 − G)·M^a.
    """
    exponent, total = p["exponent"], p["spread"] + m
    decay = (p["spread"] / total) ** p["transfer_exponent"]
    removable = (1 - p["gap"]) * decay
    reduction = p["gap"] + removable
    log_gain = np.minimum(-np.log(reduction) / exponent, LARGEST_LOG)
    effective = n * np.exp(log_gain)
    by_log_decay = -effective * removable / (exponent * reduction)
    by = {
        "gap": -effective * (1 - decay) / (exponent * reduction),
        "spread": by_log_decay * p["transfer_exponent"] * m / (p["spread"] * total),
        "transfer_exponent": by_log_decay * np.log(p["spread"] / total),
        "exponent": -effective * log_gain / exponent,
    }
    return Effect(n * np.expm1(log_gain), -by_log_decay * p["transfer_exponent"] / total, by)


def _syn2real_limit(p: Named, n: Any, n_generator: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where(np.asarray(n) > 0, n * np.expm1(-np.log(p["gap"]) / p["exponent"]), 0.0)


def _thousand(meaning: str) -> Parameter:
    return Parameter("thousand", 1e-6, 1e9, meaning, log=True, starts=(10.0, 100.0, 1000.0))


def _growth(high: float) -> Parameter:
    return Parameter("growth", 2e-2, high, "γ: power of the volume that the worth grows with", starts=(0.3, 0.8))


WANG_WORTH = Term(
    (
        Parameter(
            "ln_c1_over_k",
            -1.0,
            1.0,
            "ln(c1)/k: growth of the cost with the real size (c1 and k apart cannot be told)",
            starts=(-2.0, 0.0, 2.0, 6.0),
            unit="1 / largest real size",
        ),
        Parameter(
            "ln_c2",
            1e-3,
            1e4,
            "ln c2: growth of the cost with the real images to replace",
            log=True,
            starts=(0.3, 1.0, 4.0, 30.0),
        ),
    ),
    _wang,
    _endless,
)
POWER_RATIO_WORTH = Term(
    (
        _thousand("V: real images that 1,000 synthetic ones would replace without the cap"),
        _growth(3.0),
        Parameter(
            "ceiling",
            1e-2,
            1e12,
            "C: real images that endless synthetic ones replace",
            log=True,
            starts=(0.3, 3.0, 1e3),
            unit="typical real size",
        ),
    ),
    _power_ratio,
    _power_ratio_limit,
)
TRANSFERRED_WORTH = Term(
    (
        _thousand("V: real images that 1,000 synthetic ones transfer beside 1,000 real ones"),
        Parameter("size_power", 0.0, 2.0, "a: power of the real size that the transfer grows with", starts=(0.2, 0.8)),
        _growth(2.0),
    ),
    _transferred,
    _endless,
)
SYN2REAL_WORTH = Term(
    (
        Parameter(
            "gap",
            0.0,
            1.0,
            "G: share of A·n^-α that no number of synthetic images removes",
            starts=(0.1, 0.4, 0.8),
        ),
        Parameter(
            "spread",
            1e-3,
            1e12,
            "M: synthetic images from which on more of them tell",
            log=True,
            starts=(0.03, 0.3, 3.0),
            unit="typical volume",
        ),
        Parameter(
            "transfer_exponent", 1e-2, 5.0, "a: how fast synthetic images close in on the gap", starts=(0.3, 1.0)
        ),
    ),
    _syn2real,
    _syn2real_limit,
)
