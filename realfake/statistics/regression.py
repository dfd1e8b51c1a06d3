"""Many robust fits of one law at once: a batched Levenberg–Marquardt search in log-response space.

All bootstrap refits (or all starts) move together as one numpy batch, warm from where they are told to start; this is
what makes a thousand refits of 150 trials take seconds. Here: the loss, the search, the starts. Not here: what is
fitted to what, noise and intervals (`fits`, `noise`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from realfake.laws import Array, Law

HUBER_TUNING = 1.35  # residuals beyond this many noise SDs count less: 95 % efficient under normal noise
LARGEST_BATCH = 400


@dataclass(frozen=True)
class Cells:
    """The (n, m, n_generator) of c cells, and the cell of each of t trials."""

    n: Array
    m: Array
    n_generator: Array
    of_trial: Array

    @cached_property
    def membership(self) -> Array:
        """(t, c), 1 where the trial belongs to the cell."""
        return (self.of_trial[:, None] == np.arange(len(self.n))).astype(float)


@dataclass(frozen=True)
class Solution:
    """Where b searches ended: parameters (b, p), loss (b,), whether each converged (b,)."""

    parameters: Array
    loss: Array
    converged: Array


def log_prediction(law: Law, parameters: Array, cells: Cells) -> Array:
    """ln y of each cell, (b, c), for parameters (b, p)."""
    return np.log(law.error(parameters.T[:, :, None], cells.n, cells.m, cells.n_generator))


def log_jacobian(law: Law, parameters: Array, cells: Cells) -> tuple[Array, Array]:
    """(ln y (b, c), ∂ ln y / ∂ coordinates (b, c, p)); a coordinate is a parameter, or its logarithm if log-scaled."""
    columns = parameters.T[:, :, None]
    response, gradient = law.error_and_gradient(columns, cells.n, cells.m, cells.n_generator)
    scaled = gradient * np.where(_is_log(law)[:, None, None], columns, 1.0) / response
    return np.log(response), np.moveaxis(scaled, 0, -1)


def robust_loss(residuals: Array, noise_sd: Array) -> tuple[Array, Array]:
    """Soft-L1 loss summed over trials (b,), and the weight of each squared residual (b, t).

    2k²(√(1 + (z/k)²) − 1) with z the residual in noise SDs and k = 1.35: least squares inside, absolute error outside.
    """
    root = np.sqrt(1 + (residuals / (HUBER_TUNING * noise_sd)) ** 2)
    return (2 * HUBER_TUNING**2 * (root - 1)).sum(axis=-1), 1 / (root * noise_sd**2)


def refine(
    law: Law, cells: Cells, log_response: Array, start: Array, *, free: Array, noise_sd: Array, steps: int = 80
) -> Solution:
    """Minimise the robust loss from each row of `start` (b, p), for log responses (b, t), or (t,) shared by all.

    `free` (p,) marks the parameters that move; `noise_sd`, (t,) or (b, t), scales the loss. Bounds are the law's.
    """
    log_response = np.broadcast_to(log_response, (len(start), log_response.shape[-1]))
    noise_sd = np.broadcast_to(noise_sd, log_response.shape)
    chunks = [slice(first, first + LARGEST_BATCH) for first in range(0, len(start), LARGEST_BATCH)]
    done = [_refine_batch(law, cells, log_response[rows], start[rows], free, noise_sd[rows], steps) for rows in chunks]
    return Solution(*(np.concatenate([getattr(part, name) for part in done]) for name in Solution.__annotations__))


def _refine_batch(
    law: Law, cells: Cells, log_response: Array, start: Array, free: Array, noise_sd: Array, steps: int
) -> Solution:
    """Levenberg–Marquardt with projected bounds; every row has its own damping, finished rows drop out."""
    low, high = coordinate_bounds(law)
    where = to_coordinates(law, start)
    loss = _loss(law, where, cells, log_response, noise_sd)
    damping, calm = np.full(len(start), 1e-3), np.zeros(len(start), dtype=int)
    for _ in range(steps):
        live = np.flatnonzero(calm < 2)
        if not len(live):
            break
        move = _step(law, where[live], cells, log_response[live], noise_sd[live], damping[live], free)
        trial = np.clip(where[live] + move, low, high)
        trial_loss = _loss(law, trial, cells, log_response[live], noise_sd[live])
        better = trial_loss <= loss[live]
        with np.errstate(invalid="ignore"):  # a start may have an infinite loss
            gain = np.where(better, loss[live] - trial_loss, 0.0)
        tiny = gain <= 1e-9 * loss[live] + 1e-14
        # A refused step tells nothing until its damping is large; counting it anew would let rounding go on for ever.
        calm[live] = np.where(tiny, calm[live] + (better | (damping[live] > 1e6)), 0)
        where[live[better]], loss[live[better]] = trial[better], trial_loss[better]
        damping[live] = np.clip(np.where(better, damping[live] / 5, damping[live] * 4), 1e-12, 1e12)
    return Solution(from_coordinates(law, where), loss, calm >= 2)


def _step(
    law: Law,
    where: Array,
    cells: Cells,
    log_response: Array,
    noise_sd: Array,
    damping: Array,
    free: Array,
) -> Array:
    """The damped Gauss–Newton move (b, p); parameters that are held, or pushed out of their bounds, stay."""
    low, high = coordinate_bounds(law)
    prediction, jacobian = log_jacobian(law, from_coordinates(law, where), cells)
    residuals = log_response - prediction[:, cells.of_trial]
    _, weights = robust_loss(residuals, noise_sd)
    cell_weights, pull = weights @ cells.membership, (weights * residuals) @ cells.membership
    curvature = np.einsum("bci,bc,bcj->bij", jacobian, cell_weights, jacobian)
    downhill = np.einsum("bci,bc->bi", jacobian, pull)
    stuck = ~free | ((where <= low) & (downhill < 0)) | ((where >= high) & (downhill > 0))
    diagonal = np.einsum("bii->bi", np.where(stuck[:, :, None], 0.0, curvature))
    ridge = damping[:, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-30
    curvature = curvature + ridge[:, :, None] * np.eye(where.shape[1])
    move = _solve(curvature, downhill, stuck, np.zeros_like(where))
    outside = ~stuck & ((where + move < low) | (where + move > high))
    return _solve(curvature, downhill, stuck | outside, np.clip(where + move, low, high) - where)


def _solve(curvature: Array, downhill: Array, fixed: Array, at: Array) -> Array:
    """curvature · move = downhill for the coordinates that are not `fixed`; those move to where `at` says."""
    move = np.where(fixed, at, 0.0)
    right = np.where(fixed, move, downhill - np.einsum("bij,bj->bi", curvature, move))
    reduced = np.where(fixed[:, :, None] | fixed[:, None, :], 0.0, curvature)
    reduced = reduced + np.where(fixed, 1.0, 0.0)[:, :, None] * np.eye(fixed.shape[1])
    return np.linalg.solve(reduced, right[:, :, None])[:, :, 0]


def _loss(law: Law, where: Array, cells: Cells, log_response: Array, noise_sd: Array) -> Array:
    prediction = log_prediction(law, from_coordinates(law, where), cells)
    loss, _ = robust_loss(log_response - prediction[:, cells.of_trial], noise_sd)
    return np.where(np.isfinite(loss), loss, np.inf)


def search(law: Law, cells: Cells, log_response: Array, *, free: Array, held: Array, noise_sd: Array) -> Solution:
    """The best of many starts: one row. `held` (p,) gives the values of parameters that are not `free`.

    The starts are a grid over the nonlinear parameters with the linear ones solved for (variable projection); the
    best 24 are refined together.
    """
    starts = _projected(law, cells, log_response, _grid(law, cells, free, held), free)
    losses = _loss(law, to_coordinates(law, starts), cells, log_response[None], noise_sd)
    starts = starts[np.argsort(losses, kind="stable")[:24]]
    found = refine(law, cells, log_response, starts, free=free, noise_sd=noise_sd, steps=300)
    best = [int(np.argmin(found.loss))]
    return Solution(found.parameters[best], found.loss[best], found.converged[best])


def _grid(law: Law, cells: Cells, free: Array, held: Array) -> Array:
    """All combinations of start values (s, p)."""
    values = law.starts(cells.n, cells.m, cells.n_generator)
    axes = [
        values.get(name, (held[position],)) if free[position] else (held[position],)
        for position, name in enumerate(law.parameter_names)
    ]
    return np.array(list(itertools.product(*axes)), dtype=float)


def _projected(law: Law, cells: Cells, log_response: Array, starts: Array, free: Array) -> Array:
    """`starts` with the linear parameters solved by least squares on relative errors, clipped into their bounds."""
    positions = [law.index(name) for name in law.linear if free[law.index(name)]]
    response = np.exp(log_response)
    starts = starts.copy()
    starts[:, positions] = 0.0
    fixed, gradient = law.error_and_gradient(starts.T[:, :, None], cells.n, cells.m, cells.n_generator)
    basis = np.moveaxis(gradient[positions], 0, -1)[:, cells.of_trial] / response[:, None]
    fixed = fixed[:, cells.of_trial] / response
    normal = basis.swapaxes(1, 2) @ basis
    normal = normal + 1e-9 * normal.max(axis=(1, 2), keepdims=True) * np.eye(len(positions))
    solved = np.linalg.solve(normal, basis.swapaxes(1, 2) @ (1 - fixed)[:, :, None])[:, :, 0]
    bounds = np.array(law.bounds)[positions]
    starts[:, positions] = np.clip(solved, bounds[:, 0], bounds[:, 1])
    return starts


def to_coordinates(law: Law, parameters: Array) -> Array:
    """Parameters (b, p) as the search sees them: the logarithm of the log-scaled ones."""
    return np.where(_is_log(law), np.log(np.maximum(parameters, 1e-300)), parameters)


def from_coordinates(law: Law, where: Array) -> Array:
    """The inverse of `to_coordinates`."""
    logs = _is_log(law)
    return np.where(logs, np.exp(np.where(logs, where, 0.0)), where)


def coordinate_bounds(law: Law) -> tuple[Array, Array]:
    """(low (p,), high (p,)) of the coordinates."""
    low, high = np.array(law.bounds).T
    return to_coordinates(law, low[None])[0], to_coordinates(law, high[None])[0]


def _is_log(law: Law) -> Array:
    return np.array([name in law.log_scaled for name in law.parameter_names])
