"""What a fitted law says: every quantity of the definitions at any (n, m), as an interval.

Here: `Fit`, its questions, the measured range they are held to, its JSON. Not here: how it was fitted (`fits`), and
the formulas (`laws`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from realfake.intervals import Interval, interval_of_draws, spanning, withheld
from realfake.laws import LAWS, POWER, Array, Law
from realfake.responses import SHARES

FARTHEST_EXTRAPOLATION = 4.0  # times the largest measured volume; beyond it no law is asked
REFUSED, SURE = 0.01, 0.2  # lack-of-fit p: up to the first the ladder alone answers, from the second the law alone
LAW, INVERSION = "law", "inversion"
LEAST = 0.5  # images: an equivalent that is told from none


@dataclass(frozen=True)
class LackOfFit:
    """F test of cell means about the law against the noise between replicates; p from simulated studies."""

    statistic: float
    df: tuple[int, int]
    p: float

    @property
    def fails(self) -> bool:
        return self.p < 0.05

    def to_json(self) -> dict[str, Any]:
        return {"F": self.statistic, "df": list(self.df), "p": self.p}


@dataclass(frozen=True)
class Measured:
    """The range that was measured: outside it answers are censored or withheld."""

    n_min: float  # of the real-only ladder
    n_max: float
    m_max: float
    generator_sizes: tuple[
        tuple[float, float], ...
    ]  # (n_real, n_generator) of the mixtures; n_real 0 is synthetic alone

    @property
    def alone(self) -> tuple[float, ...]:
        """n_generator of the trials on synthetic images alone."""
        return tuple(generator for n, generator in self.generator_sizes if n == 0)

    def generator(self, n: float) -> float:
        """n_generator at n real images, as the study had it. Raises ValueError where it cannot be known."""
        beside = {size: generator for size, generator in self.generator_sizes if size > 0}
        if n in beside:
            return beside[n]
        if not beside or all(size == generator for size, generator in beside.items()):
            return n
        if len(set(beside.values())) == 1:
            return next(iter(beside.values()))
        raise ValueError(f"no generator was measured at n_real {n:g}; say n_generator=…")


@dataclass(frozen=True)
class Fit:
    """A law fitted to the real-only ladder and one arm of mixtures, with draws of its parameters.

    Sizes are numbers of images. Every question returns an `Interval`: censored where the equivalent real size leaves
    the real-only ladder, withheld where nothing was measured that could answer it.
    """

    law: str
    response: str
    arm: str
    recipe: str
    point: tuple[float, ...]
    draws: tuple[tuple[float, ...], ...]
    status: str  # "converged" | "at a bound" | "not identifiable"
    reason: str
    lack_of_fit: LackOfFit | None
    measured: Measured
    noise: str  # where the draws' noise comes from
    noise_half_widths: tuple[tuple[float, float], ...]  # (n_real, half width of a mixture's mean log response)
    n_trials: int
    n_diverged: int
    n_replicates: int
    notes: tuple[str, ...] = ()
    alternatives: tuple[Fit, ...] = ()  # laws that the data cannot tell from this one; intervals span theirs too

    @property
    def formula(self) -> Law:
        return POWER if self.law == POWER.name else LAWS[self.law]

    @property
    def support(self) -> float:
        """The largest p of the lack-of-fit tests of the set: 1 where a law was not tested."""
        laws = (self, *self.alternatives)
        return max(1.0 if one.lack_of_fit is None else one.lack_of_fit.p for one in laws)

    @property
    def answered_by(self) -> tuple[str, ...]:
        """Who says what a measured cell is worth, the one that gives the point first; an interval spans them all.

        The law where it fits, the real-only ladder where it does not, and both where the test leaves it in doubt, so
        that a study at the edge does not jump from one answer to another. No simulated study farther off than this one
        is no doubt, however few they were.
        """
        if self.support >= SURE:
            return (LAW,)
        if all(one.refused for one in (self, *self.alternatives)):
            return (INVERSION,)
        return (INVERSION, LAW) if self.rejected else (LAW, INVERSION)

    @property
    def rejected(self) -> bool:
        """Whether the lack-of-fit test rejects this law."""
        return self.lack_of_fit is not None and self.lack_of_fit.fails

    @property
    def refused(self) -> bool:
        """Whether it rejects the law beyond doubt: it is no longer asked."""
        most = max(REFUSED, 1 / (1 + len(self.draws)))
        return self.lack_of_fit is not None and self.lack_of_fit.p <= most

    def without_refused(self) -> Fit:
        """The set without the laws that are refused; as it is where all are."""
        kept = [replace(one, alternatives=()) for one in (self, *self.alternatives) if not one.refused]
        return replace(kept[0], alternatives=tuple(kept[1:])) if kept else self

    @cached_property
    def parameters(self) -> dict[str, Interval]:
        """Each parameter with its interval."""
        columns = zip(self.formula.parameter_names, self.point, self._columns, strict=True)
        return {name: interval_of_draws(value, draws) for name, value, draws in columns}

    @cached_property
    def _columns(self) -> Array:
        return np.array(self.draws).T

    def error(self, n: float, m: float, n_generator: float | None = None) -> Interval:
        """The expected response (`self.response`) at n real and m synthetic images; a share is at most 1."""
        ceiling = 1.0 if self.response in SHARES else math.inf

        def of(fit: Fit) -> Interval:
            def response(*at: Any) -> Array:
                return np.minimum(fit.formula.error(*at), ceiling)

            return fit._answer(response, n, m, n_generator)

        return self._spanned(m, of)

    def equivalent(self, n: float, m: float, n_generator: float | None = None) -> Interval:
        """a(n, m): the real images that m synthetic ones beside n real ones are worth; negative where they hurt."""
        return self._spanned(m, lambda fit: fit._equivalent(n, m, n_generator))

    def by_law(self, n: float, m: float, n_generator: float | None = None) -> dict[str, Interval]:
        """The added real equivalent as each law of the set has it, this one's first."""
        return {fit.law: fit._equivalent(n, m, n_generator) for fit in (self, *self.alternatives)}

    def signs(self, n: float, m: float, n_generator: float | None = None) -> dict[str, str]:
        """What each law of the set says of the equivalent: "more" than none, "less", "unclear", or "withheld".

        Half an image is none: some laws cannot say 0, and come as near to it as they like.
        """
        answers = self.by_law(n, m, n_generator).items()
        near = {law: replace(one, low=one.low - LEAST, high=one.high + LEAST) for law, one in answers}
        return {law: one.sign for law, one in near.items()}

    def _equivalent(self, n: float, m: float, n_generator: float | None) -> Interval:
        return self._answer(self.formula.equivalent, n, m, n_generator, *self._limits(n))

    def effective(self, n: float, m: float, n_generator: float | None = None) -> Interval:
        """n + a(n, m): the real-only size with the same expected response."""
        return self.equivalent(n, m, n_generator).shifted(n)

    def replacement(self, m: float, n_generator: float | None = None) -> Interval:
        """r(m) = f⁻¹(y(0, m)): the real size that m synthetic images alone are worth, the generator's own included.

        Withheld unless trials on synthetic images alone were measured. Raises ValueError for a missing n_generator.
        """
        if not self.measured.alone:
            return withheld("no trial was trained on synthetic images alone")
        if n_generator is None and len(set(self.measured.alone)) > 1:
            known = ", ".join(f"{size:g}" for size in self.measured.alone)
            raise ValueError(f"several generators were measured alone; say n_generator= one of {known}")
        return self.equivalent(0, m, self.measured.alone[0] if n_generator is None else n_generator)

    def net(self, n: float, m: float, real_budget: float, n_generator: float | None = None) -> Interval:
        """f⁻¹(y(n, m)) − real_budget: what is left when all real images that were used anywhere are paid for."""
        return self.effective(n, m, n_generator).shifted(-real_budget)

    def value(self, n: float, m: float, n_generator: float | None = None) -> Interval:
        """∂a/∂m: what one more synthetic image is worth, in real images."""
        at = self.equivalent(n, m, n_generator)
        if at.censored in ("above", "below"):
            return withheld(f"the equivalent is {at}, beyond the real-only ladder")
        return self._spanned(m, lambda fit: fit._answer(fit.formula.value, n, m, n_generator))

    def average_value(self, n: float, m: float, n_generator: float | None = None) -> Interval:
        """a / m: real images a synthetic one, averaged over all m."""
        if m <= 0:
            raise ValueError(f"m is {m:g}; an average over no images does not exist, ask value(n, 0)")
        return self.equivalent(n, m, n_generator).scaled(1 / m)

    def cap(self, n: float | None = None, n_generator: float | None = None) -> Interval:
        """sup over m of a(n, m): the law's word on endless synthetic images, beyond what was measured by its nature."""
        sizes = [size for size, _ in self.measured.generator_sizes if size > 0]
        size = (max(sizes) if sizes else self.measured.n_max) if n is None else n

        def of(fit: Fit) -> Interval:
            def cap(parameters: Any, n: float, m: float, generator: float) -> Array:
                return fit.formula.cap(parameters, n, generator)

            return fit._answer(cap, size, 0, n_generator, *fit._limits(size))

        return self._spanned(0, of)

    def resolution(self, n: float) -> Interval:
        """The smallest equivalent at n real images that one cell of this study could tell from 0.

        The half width of the 95 % interval of a mixture's mean log response about f(n), turned into images by f.
        """
        if not self.noise_half_widths:
            return withheld("no noise is known")
        if reason := self._refusal(n, 0):
            return withheld(reason)
        _, half_width = min(self.noise_half_widths, key=lambda pair: abs(math.log(pair[0] / n)))
        curve = self.formula.curve

        def gain(parameters: Any, n: float, m: float, generator: float) -> Array:
            return curve.size(parameters, curve.error(parameters, n) * math.exp(-half_width)) - n

        return self._interval(gain, n, 0, n, *self._limits(n))

    def _limits(self, n: float) -> tuple[float, float]:
        """The ends of the real-only ladder as added images."""
        return self.measured.n_min - n, self.measured.n_max - n

    def _spanned(self, m: float, ask: Callable[[Fit], Interval]) -> Interval:
        """This law's answer with an interval that spans those of all laws in the set.

        Farther than 4 times what was measured, one law alone is not asked, and a set says what each law answers.
        """
        far = m > FARTHEST_EXTRAPOLATION * self.measured.m_max
        if far and not self.alternatives:
            measured = f"{self.measured.m_max:g} that were measured"
            return withheld(f"{m:g} synthetic images are more than 4 times the {measured}")
        answers = {fit.law: ask(fit) for fit in (self, *self.alternatives)}
        whole = spanning(list(answers.values()))
        if not far:
            return whole
        said = ", ".join(f"{law} {answer}" for law, answer in answers.items())
        return replace(whole, reason=f"extrapolated more than 4 times beyond {self.measured.m_max:g}: {said}")

    def _answer(
        self,
        quantity: Callable[..., Array],
        n: float,
        m: float,
        n_generator: float | None,
        floor: float = -math.inf,
        ceiling: float = math.inf,
    ) -> Interval:
        if n < 0 or m < 0:
            raise ValueError(f"n is {n:g} and m is {m:g}; a number of images cannot be negative")
        if reason := self._refusal(n, m):
            return withheld(reason)
        generator = self.measured.generator(n) if n_generator is None else n_generator
        beyond = m > self.measured.m_max > 0
        note = f"extrapolated: measured to {self.measured.m_max:g} synthetic images" if beyond else ""
        return self._interval(quantity, n, m, generator, floor, ceiling, note)

    def _interval(
        self,
        quantity: Callable[..., Array],
        n: float,
        m: float,
        generator: float,
        floor: float,
        ceiling: float,
        reason="",
    ) -> Interval:
        point = float(quantity(self.point, n, m, generator))
        draws = np.asarray(quantity(self._columns, n, m, generator), dtype=float)
        return interval_of_draws(point, draws, floor=floor, ceiling=ceiling, reason=reason)

    def _refusal(self, n: float, m: float) -> str:
        """Why nothing can be said at (n, m), or ""."""
        measured = self.measured
        if n == 0 and not measured.alone:
            return "no trial was trained on synthetic images alone"
        if n == 0 and not self.formula.synthetic_alone:
            return f"the law '{self.law}' says nothing about synthetic images alone"
        if n and not measured.n_min <= n <= measured.n_max:
            return f"n_real {n:g} is outside the real-only ladder, {measured.n_min:g} to {measured.n_max:g}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, draws included; `Fit.from_json` gives an equal fit."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        lists = {name: [list(row) for row in values[name]] for name in ("draws", "noise_half_widths")}
        measured = {**self.measured.__dict__, "generator_sizes": [list(pair) for pair in self.measured.generator_sizes]}
        fit_test = self.lack_of_fit.to_json() if self.lack_of_fit else None
        named = {name: value.to_json() for name, value in self.parameters.items()}
        plain = {"point": list(self.point), "notes": list(self.notes), "parameters": named}
        others = {"alternatives": [fit.to_json() for fit in self.alternatives]}
        return {**values, **lists, **plain, **others, "measured": measured, "lack_of_fit": fit_test}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Fit:
        kept = {field.name: values[field.name] for field in fields(cls)}
        pairs = {name: tuple(tuple(row) for row in kept[name]) for name in ("draws", "noise_half_widths")}
        sizes = tuple(tuple(pair) for pair in kept["measured"]["generator_sizes"])
        test = kept["lack_of_fit"]
        rebuilt = {
            "point": tuple(kept["point"]),
            "notes": tuple(kept["notes"]),
            "measured": Measured(**{**kept["measured"], "generator_sizes": sizes}),
            "lack_of_fit": LackOfFit(test["F"], tuple(test["df"]), test["p"]) if test else None,
            "alternatives": tuple(cls.from_json(other) for other in kept["alternatives"]),
        }
        return cls(**{**kept, **pairs, **rebuilt})
