"""What a study claims before it runs: contrasts with a smallest effect of interest, written in the study file.

A claim is data beside the trials: it makes nothing, and no made thing has another address for it. Here: `Claim`, and
the ready-made claims of a paper. Not here: the verdicts (`claims`). Standard library only.
"""

import math
from itertools import pairwise
from typing import Literal

from realfake.values import SpecError, Value, nearest

Point = tuple[int, int]  # n_real, n_synthetic

FEWEST_SYNTHETIC = {  # quantity -> the smallest n_synthetic at which it exists
    "added equivalent": 1,  # real images
    "average value": 1,  # real images a synthetic one: added equivalent / n_synthetic
    "average price": 1,  # synthetic images a real one: 1 / average value, infinite where that is 0 or negative
    "value": 0,  # real images that one more synthetic image is worth
    "price": 0,  # 1 / value, infinite where that is 0 or negative
    "error": 0,  # share of test images
    "response ratio": 1,  # response with the synthetic images over the response without them
}
MEASURED = ("error", "response ratio")  # read off the cells themselves: the points must be trials of the study


class Claim(Value):
    """One claim: a quantity, or the difference of two, lies above or below a bound; at every point that is named.

    ``quantity`` is one of FEWEST_SYNTHETIC; ``at`` holds points (n_real, n_synthetic). With ``minus`` (as many points)
    or ``minus_arm`` the claim is about differences: the quantity at each point minus that at its counterpart. Exactly
    one of ``above`` and ``below`` is the bound; ``smallest_effect``, in the unit of the quantity, is the distance from
    it that would matter. ``arm``, ``recipe`` and ``response`` name which; "" is the only one there is, of responses
    the first one measured.
    """

    name: str
    quantity: str
    at: tuple[Point, ...]
    minus: tuple[Point, ...] = ()
    arm: str = ""
    minus_arm: str = ""
    recipe: str = ""
    response: Literal["", "cross_entropy", "error"] = ""
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
        if self.quantity == "error" and self.response == "cross_entropy":
            raise SpecError(f"{where}: the error is no cross-entropy; leave response out, or take 'response ratio'")
        _check_points(self, where)

    @property
    def bound(self) -> float:
        return self.above if self.above is not None else self.below  # type: ignore[return-value]

    @property
    def direction(self) -> Literal["above", "below"]:
        return "above" if self.above is not None else "below"

    @property
    def real_only(self) -> bool:
        """Whether no synthetic image is in it: then it needs no arm."""
        return not any(m for _, m in (*self.at, *self.minus))

    @property
    def contrasts(self) -> tuple[tuple[Point, Point | None], ...]:
        """Each point with the one that is subtracted from it, or None."""
        if not self.minus and not self.minus_arm:
            return tuple((point, None) for point in self.at)
        return tuple(zip(self.at, self.minus or self.at, strict=True))

    def named(self, contrast: tuple[Point, Point | None]) -> str:
        """One contrast in words: "price at 200 + 3,200 minus 50 + 800"."""
        point, other = contrast
        of = [f" ({arm})" if self.minus_arm else "" for arm in (self.arm, self.minus_arm)]
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
    if claim.minus_arm in ("", claim.arm) and any(point == other for point, other in claim.contrasts):
        raise SpecError(f"{where} subtracts a point from itself; name another point in minus, or another arm")


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
