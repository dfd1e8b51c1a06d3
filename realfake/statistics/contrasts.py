"""The quantities that claims are about, as draws: the estimate and what simulated studies would have given.

A draw may be known only as a bound: beyond the ladder, it lies somewhere past the ladder's end. So every draw is a pair
of ends, equal where it is known. An infinite price is known: the images were worth nothing or less.
Here: those draws, for a point, and for a difference of points, of arms and of recipes. Not here: verdicts (`claims`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from realfake.hypotheses import MEASURED, Point
from realfake.laws import Array
from realfake.statistics.choice import choose
from realfake.statistics.equivalence import INVERSION, LAW, Fit
from realfake.statistics.fits import Evidence, fit_evidence
from realfake.statistics.inversion import RealCurve, real_curve
from realfake.statistics.trial_table import FitError, cell_means

Reader = Callable[[Point], "Bounds"]
PRICES = {"price": "value", "average price": "average value"}  # one over it


@dataclass(frozen=True)
class Bounds:
    """A quantity known to lie between `lower` and `upper`, (1 + b,) each: its estimate, then b simulated studies."""

    lower: Array
    upper: Array
    each: tuple[Bounds, ...] = ()  # of every law that answered, where these span several

    def minus(self, other: Bounds) -> Bounds:
        with np.errstate(invalid="ignore"):
            return _known(self.lower - other.upper, self.upper - other.lower)

    def negated(self) -> Bounds:
        return Bounds(-self.upper, -self.lower, tuple(one.negated() for one in self.each))

    def divided(self, by: float) -> Bounds:
        return Bounds(self.lower / by, self.upper / by)

    def inverted(self) -> Bounds:
        """One over it; infinite where it is 0 or negative."""
        with np.errstate(divide="ignore"):
            lower, upper = (1 / np.where(end > 0, end, 0.0) for end in (self.upper, self.lower))
        return Bounds(lower, upper)

    def reordered(self, order: Array) -> Bounds:
        """The simulated studies in another order (b,)."""
        rows = np.concatenate([[0], 1 + order])
        return Bounds(self.lower[rows], self.upper[rows])


def _known(lower: Array, upper: Array) -> Bounds:
    """Bounds in which what is not a number is unbounded."""
    return Bounds(np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper))


def within(values: Array, floor: float, ceiling: float) -> Bounds:
    """Values measured between `floor` and `ceiling`; beyond an end only that they lie beyond it is known."""
    lower = np.where(values > ceiling, ceiling, np.where(values < floor, -np.inf, values))
    upper = np.where(values < floor, floor, np.where(values > ceiling, np.inf, values))
    return _known(lower, upper)


def _spanning(attempts: Sequence[Callable[[], Bounds]]) -> Bounds:
    """What several laws leave open: the first one's estimate, and draws as wide as all laws that answer.

    Raises FitError where the first does not.
    """
    found = [attempts[0]()]
    for attempt in attempts[1:]:
        try:
            found.append(attempt())
        except FitError:  # a law of the set that is silent here widens nothing
            continue
    lower, upper = np.min([one.lower for one in found], axis=0), np.max([one.upper for one in found], axis=0)
    lower[0], upper[0] = found[0].lower[0], found[0].upper[0]
    return Bounds(lower, upper, tuple(found) if len(found) > 1 else ())


@dataclass(frozen=True)
class Side:
    """One arm in one response: its evidence, and who answers for it, as `who_answers` has it (None: chosen when asked).

    `first` is how many of the simulated studies the choice and its tests use.
    """

    evidence: Evidence
    named: tuple[str, ...] | None
    first: int

    @cached_property
    def answering(self) -> tuple[Fit | None, ...]:
        """The fits of the laws that answer, with all simulated studies, None for the ladder; the first gives the point.

        Raises FitError where no law can be fitted.
        """
        if self.named is not None:
            named = self.named or (INVERSION,)
        else:
            few = replace(self.evidence, deviations=self.evidence.deviations[: self.first])
            named = who_answers(choose(few).fit)
        return tuple(None if name == INVERSION else fit_evidence(self.evidence, law=name) for name in named)

    @cached_property
    def curve(self) -> RealCurve:
        return real_curve(self.evidence)

    def cell(self, point: Point) -> int:
        """The position of a cell. Raises FitError where it was not measured."""
        cells = self.evidence.trials.cells
        found = np.flatnonzero((cells.n == point[0]) & (cells.m == point[1]))
        if len(found) != 1:
            raise FitError(f"{len(found)} cells have n_real {point[0]} and n_synthetic {point[1]}; one is needed")
        return int(found[0])

    def readers(self, quantity: str) -> tuple[str, list[Reader]]:
        """(how it is had, a function of the point for each that answers). Raises FitError without a law for a slope."""
        if quantity in MEASURED:
            return "cell means", [partial(_measured, self, quantity)]
        try:
            answering, why = self.answering, "no law fits"
        except FitError as error:
            answering, why = (None,), str(error)
        if is_slope(quantity) and answering[0] is None:
            raise FitError(f"{why}; a slope is not read off single cells")
        asked = [fit for fit in answering if fit is not None or not is_slope(quantity)]
        laws = ", ".join(fit.law for fit in asked if fit is not None)
        basis = " and ".join([*([f"law {laws}"] if laws else []), *([INVERSION] if None in asked else [])])
        return basis, [
            partial(_by_inversion, self, quantity) if fit is None else partial(_by_law, fit, quantity) for fit in asked
        ]


def who_answers(fit: Fit | None) -> tuple[str, ...]:
    """The laws of the set that are not refused, or "inversion", or both, as `Fit.answered_by` has it."""
    if fit is None:
        return (INVERSION,)
    supported = tuple(one.law for one in (fit, *fit.alternatives) if not one.refused)
    said = {LAW: supported, INVERSION: (INVERSION,)}
    return tuple(name for source in fit.answered_by for name in said[source])


def is_slope(quantity: str) -> bool:
    """Say whether a quantity is a derivative by the volume, which single cells do not give."""
    return PRICES.get(quantity, quantity) == "value"


def contrast(quantity: str, first: Side, second: Side, point: Point, other: Point | None, seed: int) -> Bounds:
    """A quantity at a point of one side, less that at `other` of the same or of another side.

    Raises FitError where it cannot be had. Points of one side share their simulated studies. Two arms, and two recipes,
    were simulated one by one, so their draws count as independent, though subset draws, pools, test images (and of arms
    the ladder) are shared: sharing would narrow the difference, so leaving it out is the safe side. As equal seeds move
    like trials of both alike, which is no such sharing, the second side's draws are put into another order.
    """
    readers = first.readers(quantity)[1]
    if other is None:
        return _spanning([partial(read, point) for read in readers])
    if second is first:
        return _spanning([partial(_less, read, point, read, other) for read in readers])
    order = np.random.default_rng([seed, 1]).permutation(len(first.evidence.deviations))
    pairs = [(read, against) for read in readers for against in second.readers(quantity)[1]]
    return _spanning([partial(_less, read, point, against, other, order) for read, against in pairs])


def _less(read: Reader, point: Point, against: Reader, other: Point, order: Array | None = None) -> Bounds:
    subtracted = against(other)
    return read(point).minus(subtracted if order is None else subtracted.reordered(order))


def _by_law(fit: Fit, quantity: str, point: Point) -> Bounds:
    """A quantity by one law. Raises FitError where the law is not to be asked."""
    n, m = map(float, point)
    generator = _generator(fit, n)
    asked = (fit.value if is_slope(quantity) else fit.equivalent)(n, m, generator)
    if asked.censored == "withheld":
        raise FitError(asked.reason)
    parameters = np.column_stack([fit.point, np.array(fit.draws).T])
    formula = fit.formula.value if is_slope(quantity) else fit.formula.equivalent
    found = np.asarray(formula(parameters, n, m, generator), dtype=float)
    limits = (-np.inf, np.inf) if is_slope(quantity) else (fit.measured.n_min - n, fit.measured.n_max - n)
    return _as(quantity, within(found, *limits), m)


def _generator(fit: Fit, n: float) -> float:
    """The generator's real images at n, as the study had them. Raises FitError where that cannot be known."""
    if n == 0:
        sizes = set(fit.measured.alone)
        if len(sizes) != 1:
            raise FitError(f"{len(sizes)} generators were measured without real images; one is needed")
        return sizes.pop()
    try:
        return fit.measured.generator(n)
    except ValueError as error:
        raise FitError(str(error)) from error


def _by_inversion(side: Side, quantity: str, point: Point) -> Bounds:
    """A quantity read off the real-only curve, from a cell's mean response."""
    cell, n = side.cell(point), float(point[0])
    trials = side.evidence.trials
    mean, noise = trials.cell_means[cell], cell_means(side.evidence.deviations, trials.cells)[:, cell]
    found = np.concatenate([[float(side.curve.size(mean))], side.curve.sizes(mean + noise)]) - n
    return _as(quantity, within(found, side.curve.n_min - n, side.curve.n_max - n), float(point[1]))


def _as(quantity: str, found: Bounds, m: float) -> Bounds:
    """An added equivalent, or a value, as the quantity that is made of it."""
    if quantity.startswith("average"):
        found = found.divided(m)
    return found.inverted() if quantity in PRICES else found


def _measured(side: Side, quantity: str, point: Point) -> Bounds:
    """A mean response, or its ratio to that of the real images alone."""
    found = _response(side, point)
    if quantity == "response ratio":
        with np.errstate(all="ignore"):
            found = found / _response(side, (point[0], 0))
    return _known(found, found)


def _response(side: Side, point: Point) -> Array:
    """(1 + b,) the mean response of a cell."""
    cell, trials = side.cell(point), side.evidence.trials
    noise = cell_means(side.evidence.deviations, trials.cells)[:, cell]
    return trials.values[trials.cells.of_trial == cell].mean() * np.exp(np.concatenate([[0.0], noise]))
