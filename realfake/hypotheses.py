"""What a study declares before it runs: claims with a smallest effect of interest, and how it goes on from its pilot.

A claim is data beside the trials: it makes nothing, and no made thing has another address for it. Here: `Claim`,
`Adaptive`, and the ready-made claims of a paper. Not here: the verdicts (`claims`), the rounds. Standard library only.
"""

import math
from itertools import pairwise
from typing import Literal

from realfake.responses import RESPONSES, Response
from realfake.values import SpecError, Value, at_least, nearest

Point = tuple[int, int]  # n_real, n_synthetic

FEWEST_SYNTHETIC = {  # quantity -> the smallest n_synthetic at which it exists
    "added equivalent": 1,  # real images
    "average value": 1,  # real images a synthetic one: added equivalent / n_synthetic
    "average price": 1,  # synthetic images a real one: 1 / average value, infinite where that is 0 or negative
    "value": 0,  # real images that one more synthetic image is worth
    "price": 0,  # 1 / value, infinite where that is 0 or negative
    "error": 0,  # share of test images
    "response": 0,  # as measured: `response` says which
    "response ratio": 1,  # response with the synthetic images over the response without them
}
MEASURED = (
    "error",
    "response",
    "response ratio",
)  # read off the cells themselves: the points must be trials of the study


class Claim(Value):
    """One claim: a quantity, or the difference of two, lies above or below a bound; at every point that is named.

    ``quantity`` is one of FEWEST_SYNTHETIC; ``at`` holds points (n_real, n_synthetic). With ``minus`` (as many points)
    or ``minus_arm`` or ``minus_recipe`` the claim is about differences: the quantity at each point minus that at its
    counterpart, at the same point of the other arm or recipe unless ``minus`` names another. Exactly one of ``above``
    and ``below`` is the bound; ``smallest_effect``, in the unit of the quantity, is the distance from it that would
    matter. ``arm``, ``recipe`` and ``response`` name which; "" is the only one there is, of responses the first one
    measured.
    """

    name: str
    quantity: str
    at: tuple[Point, ...]
    minus: tuple[Point, ...] = ()
    arm: str = ""
    minus_arm: str = ""
    recipe: str = ""
    minus_recipe: str = ""
    response: Literal["", Response] = ""
    above: float | None = None
    below: float | None = None
    smallest_effect: float

    def check(self) -> None:
        if not self.name.strip():
            raise SpecError("Claim.name is empty; say in a few words what is claimed")
        where = f"Claim {self.name!r}"
        if self.quantity not in FEWEST_SYNTHETIC:
            raise SpecError(f"{where} has no quantity {self.quantity!r}; {nearest(self.quantity, FEWEST_SYNTHETIC)}")
        if (self.above is None) == (self.below is None):
            raise SpecError(f"{where}: a claim has one direction; give either above=… or below=…")
        if not math.isfinite(self.bound):
            raise SpecError(f"{where}: the bound {self.direction} is {self.bound}; give a finite number")
        if not 0 < self.smallest_effect < math.inf:
            raise SpecError(
                f"{where}: smallest_effect is {self.smallest_effect:g}; give the smallest difference, above 0, that "
                "would matter to you"
            )
        if self.quantity == "error" and self.response not in ("", "error"):
            raise SpecError(
                f"{where}: the error is no {RESPONSES[self.response]}; leave response out, or take 'response ratio'"
            )
        _check_points(self, where)

    @property
    def bound(self) -> float:
        return self.above if self.above is not None else self.below  # type: ignore[return-value]

    @property
    def direction(self) -> Literal["above", "below"]:
        return "above" if self.above is not None else "below"

    @property
    def other_side(self) -> str:
        """The other arm or recipe that is subtracted, or ""."""
        return self.minus_arm or self.minus_recipe

    @property
    def real_only(self) -> bool:
        """Whether no synthetic image is in it: then it needs no arm."""
        return not any(m for _, m in (*self.at, *self.minus))

    @property
    def contrasts(self) -> tuple[tuple[Point, Point | None], ...]:
        """Each point with the one that is subtracted from it, or None."""
        if not self.minus and not self.other_side:
            return tuple((point, None) for point in self.at)
        return tuple(zip(self.at, self.minus or self.at, strict=True))

    def named(self, contrast: tuple[Point, Point | None]) -> str:
        """One contrast in words: "price at 200 + 3,200 minus 50 + 800"."""
        point, other = contrast
        sides = (self.arm, self.minus_arm) if self.minus_arm else (self.recipe, self.minus_recipe)
        of = [f" ({side})" if self.other_side else "" for side in sides]
        text = f"{self.quantity} at {_written(point)}{of[0]}"
        return text if other is None else f"{text} minus {_written(other)}{of[1]}"


def _check_points(claim: Claim, where: str) -> None:
    if not claim.at:
        raise SpecError(f"{where} is about no point; give at=((n_real, n_synthetic), …)")
    if claim.minus and len(claim.minus) != len(claim.at):
        raise SpecError(
            f"{where}: at has {len(claim.at)} points and minus {len(claim.minus)}; each point needs its counterpart"
        )
    for point in (*claim.at, *claim.minus):
        _check_point(claim, point, where)
    if len(set(claim.contrasts)) < len(claim.contrasts):
        raise SpecError(f"{where} names a point twice; name each once")
    if claim.minus_arm and claim.minus_recipe:
        raise SpecError(f"{where} subtracts another arm and another recipe; name one of minus_arm and minus_recipe")
    if claim.minus_recipe and not claim.recipe:
        raise SpecError(f"{where} subtracts the recipe {claim.minus_recipe!r}; name in recipe=… from which")
    other = claim.minus_arm not in ("", claim.arm) or claim.minus_recipe not in ("", claim.recipe)
    if not other and any(point == other for point, other in claim.contrasts):
        raise SpecError(
            f"{where} subtracts a point from itself; name another point in minus, another arm or another recipe"
        )


def _check_point(claim: Claim, point: Point, where: str) -> None:
    fewest = FEWEST_SYNTHETIC[claim.quantity]
    if len(point) != 2:
        raise SpecError(f"{where}: {point} is no point; write (n_real, n_synthetic), such as (50, 800)")
    if point[0] < 0 or point[1] < 0 or point == (0, 0):
        raise SpecError(
            f"{where}: no trial has {_written(point)} images; write (n_real, n_synthetic), such as (50, 800)"
        )
    if point[1] < fewest or (claim.quantity == "response ratio" and point[0] == 0):
        raise SpecError(f"{where}: the {claim.quantity} does not exist at {_written(point)}; name a mixture")


def _written(point: Point) -> str:
    return f"{point[0]:,} + {point[1]:,}"


def wang_claims(
    bases: tuple[int, ...], ratios: tuple[int, ...], *, smallest_price: float, smallest_value: float, arm: str = ""
) -> tuple[Claim, ...]:
    """Three claims of Wang et al. 2025 (arXiv 2508.09550), in our words, at every base size and ratio n_synthetic/n.

    A synthetic image is worth less than a real one; the price of a real image grows with the base size; the gain of a
    synthetic image shrinks with the volume. `smallest_price` is in synthetic images a real one, `smallest_value` in
    real images a synthetic one. Raises SpecError with fewer than two sizes or ratios, which claim nothing.
    """
    bases, ratios = tuple(sorted(set(bases))), tuple(sorted(set(ratios)))
    if len(bases) < 2 or len(ratios) < 2:
        raise SpecError(f"wang_claims needs two base sizes and two ratios; it has {len(bases)} and {len(ratios)}")
    steps, rises = tuple(pairwise(bases)), tuple(pairwise(ratios))
    return (
        Claim(
            name="a synthetic image is worth less than a real one",
            quantity="price",
            at=tuple((n, ratio * n) for n in bases for ratio in ratios),
            arm=arm,
            above=1.0,
            smallest_effect=smallest_price,
        ),
        Claim(
            name="the price of a real image grows with the base size",
            quantity="price",
            at=tuple((larger, ratio * larger) for _, larger in steps for ratio in ratios),
            minus=tuple((smaller, ratio * smaller) for smaller, _ in steps for ratio in ratios),
            arm=arm,
            above=0.0,
            smallest_effect=smallest_price,
        ),
        Claim(
            name="the gain of a synthetic image shrinks with the volume",
            quantity="value",
            at=tuple((n, high * n) for n in bases for _, high in rises),
            minus=tuple((n, low * n) for n in bases for low, _ in rises),
            arm=arm,
            below=0.0,
            smallest_effect=smallest_value,
        ),
    )


def check_claims(study: str, claims: tuple[Claim, ...], cells: set[Point]) -> None:
    """Refuse two claims of one name, and claims about sizes or cells that the study does not measure."""
    names = [claim.name for claim in claims]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"Study {study!r} has two claims {twice!r}; give each its own name")
    sizes = sorted({n for n, _ in cells})
    for claim in claims:
        for n, m in (*claim.at, *claim.minus):
            if n not in sizes:
                known = ", ".join(map(str, sizes))
                raise SpecError(f"Claim {claim.name!r}: no trial has n_real {n}; the study has {known}")
            if (
                claim.quantity in MEASURED
                and not {(n, m), (n, 0 if claim.quantity == "response ratio" else m)} <= cells
            ):
                raise SpecError(f"Claim {claim.name!r}: the {claim.quantity} at {n} + {m} needs trials there; add them")


class Adaptive(Value):
    """How a study goes on from its trials (the pilot): in rounds of ``batch``, until there are ``trials`` in all.

    A round takes the trials that would narrow the effective size at ``at`` = (n_real, n_synthetic) most, by ``law`` in
    ``response``: all declared before the first trial runs.
    """

    at: tuple[int, int]
    trials: int
    batch: int = 6
    response: Response = "cross_entropy"
    law: Literal["hyperbolic", "scaled", "peaked"] = "scaled"

    def check(self) -> None:
        at_least(self, trials=1, batch=1)
        if len(self.at) != 2 or min(self.at) < 1:
            raise SpecError(f"Adaptive.at is {self.at}; give (n_real, n_synthetic), both at least 1")


def check_adaptive(study: str, adaptive: Adaptive, pilot: list[Point]) -> None:
    """Refuse rounds whose pilot could not be fitted, before it is run."""
    if len(pilot) > adaptive.trials:
        raise SpecError(f"Study {study!r}: the pilot alone has {len(pilot)} trials; give Adaptive more than that")
    mixed = sorted({n for n, m in pilot if n and m})
    if adaptive.at[0] not in mixed:
        known = ", ".join(map(str, mixed)) or "none"
        raise SpecError(
            f"Study {study!r}: Adaptive.at asks beside {adaptive.at[0]} real images; the pilot mixes {known}"
        )
    if len({n for n, m in pilot if not m}) < 2:
        raise SpecError(
            f"Study {study!r}: the pilot of an adaptive study needs real-only trials of two sizes; add them"
        )
