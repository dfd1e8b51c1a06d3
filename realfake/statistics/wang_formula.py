"""The formula of Wang et al. fitted to pairs: ln u = a·n + ln(e^(b·r) − 1), with u = n_syn/n and r = n_real⁺/n.

A robust search for many sets of pairs at once, a row a simulated study. Here: the loss and the search. Not here: where
pairs come from and what is made of the fit (`matched_pairs`).
"""

from __future__ import annotations

import numpy as np

from realfake.laws import WANG, Array
from realfake.statistics.regression import HUBER_TUNING

LN_C2_BOUNDS = WANG.bounds[WANG.index("ln_c2")]
SMALLEST_SCALE = 1e-3  # of a residual of ln n_syn: pairs that agree to a thousandth agree
STEPS = 60  # of the search


def robust_scale(n: Array, log_u: Array, r: Array, usable: Array) -> float:
    """Where a residual starts to count less: 1.35 robust SDs, from least squares and then from the robust fit."""
    scale = np.inf
    for _ in range(2):
        left = residuals(n, log_u, r, fit_pairs(n, log_u, r, usable, scale=scale))[0]
        scale = max(HUBER_TUNING * 1.4826 * float(np.median(np.abs(left))), SMALLEST_SCALE)
    return scale


def fit_pairs(n: Array, log_u: Array, r: Array, usable: Array, *, scale: float) -> Array:
    """(b, 2) a and ln ln c2 that minimise Σ 2s²(√(1 + (e/s)²) − 1), e = ln u − a·n − ln(e^(ln c2·r) − 1), s = `scale`.

    `n` and `log_u` are (p,), `r` and `usable` (b, p). The first row is searched from the best point of a grid, the
    others from where it ends. An infinite scale is least squares.
    """
    start = _coarse(n, log_u, r[0], usable[0])[None]
    first = _refine(n, log_u, r[:1], usable[:1], start, scale)
    return _refine(n, log_u, r, usable, np.repeat(first, len(r), axis=0), scale)


def _coarse(n: Array, log_u: Array, r: Array, usable: Array) -> Array:
    """(a, ln ln c2) of the smallest sum of squares on a grid of ln c2, with a solved for."""
    low, high = np.log(LN_C2_BOUNDS)
    grid = np.linspace(low, high, 161)
    left = (log_u - _log_expm1(np.exp(grid)[:, None] * r))[:, usable]
    slopes = left @ n[usable] / (n[usable] @ n[usable])
    best = ((left - slopes[:, None] * n[usable]) ** 2).sum(axis=1).argmin()
    return np.array([slopes[best], grid[best]])


def _refine(n: Array, log_u: Array, r: Array, usable: Array, start: Array, scale: float) -> Array:
    """(b, 2) a and ln ln c2 after Levenberg–Marquardt steps with iterated weights, each row with its own damping."""
    low, high = np.log(LN_C2_BOUNDS)
    where, damping = start.copy(), np.full(len(start), 1e-3)
    left = residuals(n, log_u, r, where)
    loss = _loss(left, usable, scale)
    for _ in range(STEPS):
        trial = where + _step(n, r, usable, where, left, damping, scale)
        trial[:, 1] = np.clip(trial[:, 1], low, high)
        trial_left = residuals(n, log_u, r, trial)
        trial_loss = _loss(trial_left, usable, scale)
        better = trial_loss <= loss
        where[better], left[better], loss[better] = trial[better], trial_left[better], trial_loss[better]
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-12, 1e12)
    return where


def _step(n: Array, r: Array, usable: Array, where: Array, left: Array, damping: Array, scale: float) -> Array:
    """The damped Gauss–Newton move (b, 2): of e by a it is −n, by ln ln c2 −x/(1 − e^−x) with x = ln c2·r."""
    x = np.exp(where[:, 1:]) * r
    slopes = np.stack([np.broadcast_to(n, r.shape), x / -np.expm1(-x)], axis=2)
    weights = usable / np.sqrt(1 + (left / scale) ** 2)
    curvature = np.einsum("bpi,bp,bpj->bij", slopes, weights, slopes)
    downhill = np.einsum("bpi,bp->bi", slopes, weights * left)
    ridge = (damping[:, None] + 1e-12) * np.einsum("bii->bi", curvature) + 1e-300
    return np.linalg.solve(curvature + ridge[:, :, None] * np.eye(2), downhill[:, :, None])[:, :, 0]


def _loss(left: Array, usable: Array, scale: float) -> Array:
    """(b,) soft-L1 loss over the usable pairs; the sum of squares where the scale is infinite."""
    if not np.isfinite(scale):
        return (usable * left**2).sum(axis=1)
    return 2 * scale**2 * (usable * (np.sqrt(1 + (left / scale) ** 2) - 1)).sum(axis=1)


def residuals(n: Array, log_u: Array, r: Array, where: Array) -> Array:
    """(b, p) ln(n_syn/n) minus the formula, at a and ln ln c2 (b, 2)."""
    return log_u - where[:, :1] * n - _log_expm1(np.exp(where[:, 1:]) * r)


def _log_expm1(x: Array) -> Array:
    """ln(e^x − 1) for x > 0, without overflow."""
    return x + np.log(-np.expm1(-x))
