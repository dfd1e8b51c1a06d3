"""The expected response over real and synthetic sizes, by the point and by all draws of a fit at once.

A `Surface` has b rows: the fit's point first, then its draws. Everything is evaluated on one grid and in whole arrays,
so that a plan takes a second. Here: the response, the real images that reach a response, the volume where a quantity is
smallest. Not here: costs (`costs`), what to buy (`planning`), the formulas (`laws`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from realfake.laws import Array
from realfake.planning.costs import Costs, PlanError
from realfake.statistics.equivalence import FARTHEST_EXTRAPOLATION, Fit, Measured

REAL_SIZES, VOLUMES, BEYOND = 41, 40, 8  # of the grid, volumes to the largest measured one and beyond it
SMALLEST_VOLUME = 1e-3  # of the largest measured one
ZOOMS, ZOOMED = 2, 17  # the best volume is searched again between its neighbours, that often, on that many


@dataclass(frozen=True)
class Surface:
    """ln y(n, m) of b parameter vectors over the real-only ladder. Raises PlanError without measured mixtures."""

    fit: Fit
    n_generator: float | None = None  # real images behind the generator, as the study had it if None
    log_n: Array = field(init=False)  # (k,) the grid over the real-only ladder
    columns: Array = field(init=False)  # (p, b, 1, 1)
    generator: Callable[[Array], Array] = field(init=False)
    volumes: Array = field(init=False)  # (v,) none, and a log grid to what was measured and 4 times that
    kept: dict[bytes, Array] = field(init=False, default_factory=dict)  # ln y on the grid, for volumes (v,)

    def __post_init__(self) -> None:
        measured = self.fit.measured
        if not measured.m_max > 0:
            raise PlanError("the fit has no synthetic images, so there is nothing to weigh against labels")
        largest = measured.m_max
        inside = np.geomspace(SMALLEST_VOLUME * largest, largest, VOLUMES)
        beyond = np.geomspace(largest, FARTHEST_EXTRAPOLATION * largest, BEYOND + 1)[1:]
        rows = np.vstack([self.fit.point, np.array(self.fit.draws).reshape(-1, len(self.fit.point))])
        fixed = {
            "log_n": np.linspace(np.log(measured.n_min), np.log(measured.n_max), REAL_SIZES),
            "columns": rows.T[:, :, None, None],
            "generator": generator_rule(measured, self.n_generator),
            "volumes": np.concatenate([[0.0], inside, beyond]),
        }
        for name, value in fixed.items():
            object.__setattr__(self, name, value)

    def log_response(self, log_n: Array, m: Array) -> Array:
        """ln y, (b, k, v), for `log_n` that broadcasts to (b, k, 1) and `m` to (b, 1, v)."""
        n = np.exp(log_n)
        return np.log(self.fit.formula.error(self.columns, n, m, self.generator(n)))

    def on_grid(self, m: Array) -> Array:
        """ln y, (b, k, v), over the grid of real sizes, for volumes (v,) or (b, v); kept where all rows share them."""
        m = np.atleast_2d(m)
        name = m.tobytes() if len(m) == 1 else b""
        if name not in self.kept:
            found = self.log_response(self.log_n[None, :, None], m[:, None, :])
            if not name:
                return found
            self.kept[name] = found
        return self.kept[name]

    def response(self, n: Array | float, m: Array | float) -> Array:
        """y, (b, v), for n and m that broadcast to (b, v)."""
        n, m = (np.atleast_2d(np.asarray(value, dtype=float)) for value in (n, m))
        return np.exp(self.log_response(np.log(n)[:, None, :], m[:, None, :])[:, 0])

    def needed(self, m: Array, target: float) -> Array:
        """(b, v) real images that reach the response `target` beside m; n_min if fewer do, inf if the ladder ends.

        The first crossing of the grid, interpolated, then corrected by one step along the chord.
        """
        m = np.atleast_2d(m)
        wanted, surface = np.log(target), self.on_grid(m)
        met = surface <= wanted
        first = met.argmax(axis=1)
        before = np.maximum(first - 1, 0)
        low, high = (np.take_along_axis(surface, at[:, None], axis=1)[:, 0] for at in (before, first))
        with np.errstate(all="ignore"):
            chord = np.where(high < low, (self.log_n[1] - self.log_n[0]) / (low - high), 0.0)
            guess = self.log_n[before] + (low - wanted) * chord
            guess = np.where(first > 0, guess, self.log_n[0])
            off = self.log_response(guess[:, None, :], m[:, None, :])[:, 0] - wanted
            closer = np.clip(guess + off * chord, self.log_n[before], self.log_n[first])
        return np.where(met.any(axis=1), np.exp(closer), np.inf)

    def affordable(self, m: Array, budget: float, costs: Costs) -> Array:
        """(b or 1, v) the most real images of the ladder that `budget` pays for beside m; nan where they are too few.

        By bisection, for a cost never falls as n grows.
        """
        m = np.atleast_2d(m)

        def paid(log_n: Array) -> Array:
            return costs.of(np.exp(log_n), m, self.generator(np.exp(log_n))) <= budget * (1 + 1e-12)

        low, high = np.full(m.shape, self.log_n[0]), np.full(m.shape, self.log_n[-1])
        enough, all_of_it = paid(low), paid(high)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = np.where(paid(middle), middle, low), np.where(paid(middle), high, middle)
        return np.where(all_of_it, self.fit.measured.n_max, np.where(enough, np.exp(low), np.nan))

    def smallest(self, quantity: Callable[[Array], Array], limit: float = np.inf) -> Array:
        """(b,) volume, at most `limit`, where `quantity` of volumes (b or 1, v) -> (b, v) is smallest."""
        m, rows = self.volumes[None], np.arange(self.columns.shape[1])
        for _ in range(ZOOMS):
            found = np.broadcast_to(m, (len(rows), m.shape[1]))
            best = np.where(found <= limit, quantity(m), np.inf).argmin(axis=1)
            ends = [found[rows, np.clip(best + side, 0, m.shape[1] - 1)] for side in (-1, 1)]
            m = np.minimum(np.linspace(ends[0], ends[1], ZOOMED, axis=1), limit)
        return m[rows, quantity(m).argmin(axis=1)]


def generator_rule(measured: Measured, n_generator: float | None) -> Callable[[Array], Array]:
    """n_generator at any n: as given, equal to n (closed-set), or the one number of the study.

    Raises PlanError where generators of several sizes were measured that are not those of the trials.
    """
    beside = {size: generator for size, generator in measured.generator_sizes if size > 0}
    if n_generator is None and all(size == generator for size, generator in beside.items()):
        return lambda n: np.asarray(n, dtype=float)
    sizes = set(beside.values()) if n_generator is None else {n_generator}
    if len(sizes) > 1:
        known = ", ".join(f"{size:g}" for size in sorted(sizes))
        raise PlanError(f"the generators were fitted on {known} real images; say which by n_generator=…")
    (size,) = sizes
    return lambda n: np.full(np.shape(n), float(size))
