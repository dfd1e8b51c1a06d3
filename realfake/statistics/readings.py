"""One arm of one recipe in one response: its evidence, its fit, its cells, and who says what a cell is worth.

Law and ladder answer as `Fit.answered_by` has it. Here: these readings, and the worth of a cell by them. Not here: the
document that they go into (`analysis`), how laws are fitted and chosen (`fits`, `choice`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from realfake.intervals import Interval, spanning, withheld
from realfake.statistics.choice import Comparison, choose
from realfake.statistics.equivalence import INVERSION, LAW, Fit
from realfake.statistics.fits import Evidence, FitError, PerImage, gather
from realfake.statistics.inversion import invert, real_curve
from realfake.statistics.trial_table import REAL_ONLY, Frame, Trials, select

Key = tuple[str, str, str]  # recipe, arm, response
DIGITS = 6  # significant ones, of the draws of laws outside the set


@dataclass
class Reading:
    """What could be made of one arm of one recipe in one response."""

    evidence: Evidence | None = None
    fit: Fit | None = None
    comparison: Comparison | None = None  # of the laws that could be fitted
    inverted: list[Interval] = field(default_factory=list)  # one a cell
    trouble: str = ""  # why there is no evidence or no fit

    def cell(self, n: float, m: float, generator: float) -> int | None:
        """The position of a cell in the evidence."""
        if self.evidence is None:
            return None
        cells = self.evidence.trials.cells
        found = np.flatnonzero((cells.n == n) & (cells.m == m) & (cells.n_generator == generator))
        return int(found[0]) if len(found) else None

    @property
    def answered_by(self) -> tuple[str, ...]:
        """Who says what a measured cell is worth, the one that gives the point first."""
        return self.fit.answered_by if self.fit is not None else (INVERSION,)

    def inversion(self, n: float, m: float, generator: float) -> Interval:
        """The equivalent of a cell, read off the real-only ladder."""
        position = self.cell(n, m, generator)
        return withheld(self.trouble or "every trial diverged") if position is None else self.inverted[position]

    def equivalent(self, n: float, m: float, generator: float) -> tuple[Interval, tuple[str, ...]]:
        """What a cell is worth, and by whom."""
        if self.cell(n, m, generator) is None or self.fit is None:
            return self.inversion(n, m, generator), (INVERSION,)
        law, by = self.fit.without_refused(), self.answered_by
        said = {LAW: law.equivalent(n, m, generator), INVERSION: self.inversion(n, m, generator)}
        return spanning([said[source] for source in by]), by

    @property
    def other_fits(self) -> list[Fit]:
        """The laws outside the set, each by itself, so that any that was fitted can be asked by name."""
        contenders = self.comparison.contenders if self.comparison is not None else ()
        return [shortened(one.fit) for one in contenders if one.fit is not None and not one.in_set]

    @property
    def unfitted(self) -> list[dict[str, str]]:
        """The laws that were tried and could not be fitted, and why."""
        contenders = self.comparison.contenders if self.comparison is not None else ()
        return [{"law": one.law, "why": one.trouble} for one in contenders if one.fit is None]

    @property
    def why_no_law(self) -> str:
        """Why there is no slope."""
        if self.fit is not None and self.fit.rejected and self.fit.lack_of_fit is not None:
            return f"the law does not fit (p = {self.fit.lack_of_fit.p:.2g}); a slope is not read off single cells"
        return self.trouble or "the quantity does not exist without real images"


def shortened(fit: Fit) -> Fit:
    """The fit with fewer digits of its draws: of those that no headline stands on, many are kept."""
    draws = tuple(tuple(float(f"{value:.{DIGITS}g}") for value in row) for row in fit.draws)
    return replace(fit, draws=draws)


def read(
    table: Frame, key: Key, *, per_image: PerImage | None, bootstrap: int, seed: int, warnings: list[str]
) -> Reading:
    """The evidence, inversion and fit of one arm, as far as they can be had; why not is added to `warnings`."""
    recipe, arm, response = key
    where = named(key)
    try:
        trials = select(table, response=response, arm=arm, recipe=recipe)
        evidence = _gathered(trials, per_image, bootstrap, seed, warnings)
    except FitError as error:
        warnings.append(f"{where}: {error}")
        return Reading(trouble=str(error))
    warnings.extend(f"{where}: {note}" for note in trials.notes)
    if arm == REAL_ONLY:
        return Reading(evidence)
    reading = Reading(evidence, inverted=invert(evidence, real_curve(evidence)))
    try:
        reading.comparison = choose(evidence)
        reading.fit = reading.comparison.fit
    except FitError as error:
        warnings.append(f"{where}: {error}")
        reading.trouble = str(error)
    return reading


def named(key: Key) -> str:
    """A reading in words: arm, response, and its recipe if that has a name."""
    recipe, arm, response = key
    return ", ".join([arm, response, *([recipe] if recipe else [])])


def _gathered(trials: Trials, per_image: PerImage | None, bootstrap: int, seed: int, warnings: list[str]) -> Evidence:
    """Evidence with test images resampled where their results are complete, without them otherwise."""
    if per_image is not None:
        try:
            return gather(trials, bootstrap=bootstrap, seed=seed, per_image=per_image)
        except FitError as error:
            warnings.append(
                f"{trials.arm}, {trials.response}: the choice of test images is not in the intervals; {error}"
            )
    return gather(trials, bootstrap=bootstrap, seed=seed)


def worth(of: dict[str, Reading], n: float, m: float, generator: float) -> dict[str, Any]:
    """What the synthetic images of a cell are worth, by response, the main one's quantities beside it."""
    main, first = next(iter(of.items()))
    found = {response: reading.equivalent(n, m, generator) for response, reading in of.items()}
    by_law = first.fit is not None and found[main][1][0] == LAW
    no_law = withheld(first.why_no_law)
    resolution = first.fit.resolution(n) if first.fit is not None and n > 0 else no_law
    by = {response: " and ".join(sources) for response, (_, sources) in found.items()}
    return {
        "equivalent": {response: answer.to_json() for response, (answer, _) in found.items()},
        "equivalent_by": by[main],
        "equivalent_by_response": by,
        "signs": first.fit.signs(n, m, generator) if by_law and first.fit is not None else {},
        "inversion": {response: reading.inversion(n, m, generator).to_json() for response, reading in of.items()},
        "value": (first.fit.value(n, m, generator) if by_law and first.fit is not None else no_law).to_json(),
        "average_value": found[main][0].scaled(1 / m).to_json(),
        "resolution": resolution.to_json(),
    }
