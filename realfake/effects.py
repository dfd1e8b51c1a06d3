"""Effects that a study declares before it runs: weighted sums of anything that is measured of its trials.

A ``Claim`` (see ``hypotheses``) is about responses and equivalents; an effect is about any column of the table of
trials, such as a train2test distance, seed by seed. The verdicts are in ``statistics.effects``. Standard library only.
"""

import math
from typing import Literal

from realfake.values import SpecError, Value, at_least


class Term(Value):
    """``weight`` times the mean of a measured column over the trials of one cell, on one test set.

    ``measure`` is one of ``realfake.measures`` ("average_precision_50", "rho_0.1", …); what is none is refused before
    the study runs, and raw distances of unequal training sets come with a warning. ``arm`` "" is the
    real images alone where ``n_synthetic`` is 0; ``test`` names the test set and ``recipe`` the recipe (without the
    test set), "" the only one there is.
    """

    measure: str
    n_real: int
    n_synthetic: int = 0
    arm: str = ""
    test: str = ""
    recipe: str = ""
    weight: float = 1.0

    def check(self) -> None:
        at_least(self, n_real=0, n_synthetic=0)
        if self.n_synthetic and not self.arm:
            raise SpecError(f"Term({self.measure!r}) has synthetic images; name in arm=… whose")
        if not math.isfinite(self.weight) or not self.weight:
            raise SpecError(f"Term({self.measure!r}): weight {self.weight} says nothing; give a number that is not 0")


class Effect(Value):
    """A sum of terms that is claimed to lie ``above`` or ``below`` a bound, by a ``smallest_effect`` that would matter.

    Trials of one subset seed are one replicate: the sum is taken within each, and its mean over replicates is judged.
    """

    name: str
    terms: tuple[Term, ...]
    above: float | None = None
    below: float | None = None
    smallest_effect: float

    def check(self) -> None:
        if not self.name.strip() or not self.terms:
            raise SpecError(f"Effect {self.name!r} needs a name and terms; say in a few words what is claimed, of what")
        if (self.above is None) == (self.below is None):
            raise SpecError(f"Effect {self.name!r}: a claim has one direction; give either above=… or below=…")
        if not 0 < self.smallest_effect < math.inf:
            raise SpecError(
                f"Effect {self.name!r}: smallest_effect is {self.smallest_effect:g}; give the smallest difference, "
                "above 0, that would matter to you"
            )

    @property
    def bound(self) -> float:
        return self.above if self.above is not None else self.below  # type: ignore[return-value]

    @property
    def direction(self) -> Literal["above", "below"]:
        return "above" if self.above is not None else "below"


def change(
    measure: str, arm: str, n_real: int, n_synthetic: int, test: str = "", weight: float = 1.0
) -> tuple[Term, ...]:
    """Return the terms of what synthetic images change in a measure beside ``n_real`` real ones."""
    with_them = Term(measure=measure, n_real=n_real, n_synthetic=n_synthetic, arm=arm, test=test, weight=weight)
    return with_them, Term(measure=measure, n_real=n_real, test=test, weight=-weight)
