"""The trials that a study should run next, as specs that can be added to it.

Here: which cells and seeds are offered, and how a trial is copied to another size, volume and draw. Not here: which of
them narrow an interval most (`designs`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from realfake.planning.designs import Candidate, candidates, next_trials
from realfake.records import sizes
from realfake.spec import ClosedSet, Dataset, Gan, Lora, Pool, Pretrained, Study, Subset, Trial, address
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import Evidence
from realfake.statistics.trial_table import SEEDS, FitError
from realfake.values import Value, fields

FARTHEST = 2  # times the largest volume of a real size: the farthest new volume


@dataclass(frozen=True)
class Proposal:
    """A trial worth running, and the expected half width of ln(n + a) once it and those before it are measured."""

    trial: Trial
    half_width: float


def next_specs(
    study: Study, fit: Fit, evidence: Evidence, count: int, *, at: tuple[float, float] | None = None
) -> list[Proposal]:
    """The `count` trials, best first, that would narrow the equivalent at `at` = (n, m) most, as specs.

    Offered are the cells of the fit and ones between and beyond them, under the draws there are and new ones; what the
    study holds already, made or not, is left out. Settings are those of the trial nearest in size. Raises FitError
    where `evidence` does not come from the records of this study.
    """
    known = {address(trial): trial for trial in study.trials}
    if unknown := [name for name in evidence.trials.address if name not in known]:
        raise FitError(f"the trial '{unknown[0]}' of the fit is not in the study '{study.name}'; fit its own records")
    ran = [known[name] for name in evidence.trials.address]
    seed, numbers = _replicates(ran, evidence, count)
    held = {(t.n_real, t.n_synthetic, sizes(t)[seed]) for t in study.trials}
    offered = [
        candidate
        for candidate in candidates(evidence.trials, _cells(fit, evidence), new=count)
        if (candidate.n_real, candidate.n_synthetic, numbers[candidate.replicate]) not in held
    ]
    return [
        Proposal(_copied(ran, choice.candidate, seed, numbers[choice.candidate.replicate]), choice.half_width)
        for choice in next_trials(fit, evidence, offered, count, at=at)
    ]


def _replicates(ran: list[Trial], evidence: Evidence, new: int) -> tuple[str, list[int]]:
    """(the seed that tells replicates apart, its number in every replicate and in `new` further ones)."""
    rows = [sizes(trial) for trial in ran]
    seed = next((name for name in SEEDS if len({row[name] for row in rows}) > 1), SEEDS[0])
    numbers = {int(r): int(row[seed]) for r, row in zip(evidence.trials.replicate, rows, strict=True)}
    known = [numbers[replicate] for replicate in sorted(numbers)]
    return seed, known + [max(known) + 1 + further for further in range(new)]


def _cells(fit: Fit, evidence: Evidence) -> list[tuple[float, float, float]]:
    """The cells of the fit, those half-way between neighbours of the ladder and of volumes, and the doubled volumes."""
    cells = evidence.trials.cells
    found = list(zip(cells.n.tolist(), cells.m.tolist(), cells.n_generator.tolist(), strict=True))
    ladder = sorted(n for n, m, _ in found if m == 0)
    more = [(n, 0.0, n) for n in _between(ladder)]
    for n, generator in sorted({(n, g) for n, m, g in found if m > 0}):
        volumes = sorted(m for other, m, g in found if (other, g) == (n, generator) and m > 0)
        more += [(n, m, generator) for m in (*_between(volumes), FARTHEST * volumes[-1])]
    return [*found, *more]


def _between(values: list[float]) -> list[float]:
    """The whole numbers half-way, in logarithms, between neighbours."""
    half_way = (float(round(math.sqrt(low * high))) for low, high in pairwise(values))
    return [value for value in half_way if value not in values]


def _copied(ran: list[Trial], to: Candidate, seed: str, number: int) -> Trial:
    """The trial of a candidate: a copy of the nearest one, its sizes and seeds changed, all that follows them too.

    Seeds that are the same in every trial stay; the others move by as much as the seed of the replicate does.
    """
    alike = [trial for trial in ran if (trial.n_synthetic > 0) == (to.n_synthetic > 0)] or ran
    model = min(alike, key=lambda trial: _distance(trial, to, seed, number))
    seen, moved = sizes(model), number - sizes(model)[seed]
    mixed = [sizes(trial) for trial in ran if trial.n_synthetic > 0]
    varying = {name for name in SEEDS if len({row[name] for row in mixed or [seen]}) > 1} | {seed}
    change = _Change(
        size={int(seen["n_real"] or seen["n_generator"]): int(to.n_real or to.n_generator)},
        draw=int(seen["subset_seed"]),
        by={name: moved if name in varying else 0 for name in SEEDS},
    )
    volume = to.n_synthetic / max(model.n_synthetic, 1)
    parts = model.synthetic if to.n_synthetic else ()
    return replace(
        model,
        real=change.of(model.real) if model.real else None,
        synthetic=tuple(replace(part, of=change.of(part.of), size=round(part.size * volume)) for part in parts),
        seed=model.seed + change.by["trial_seed"],
    )


def _distance(trial: Trial, to: Candidate, seed: str, number: int) -> tuple[float, bool, float]:
    """How far a trial is from a candidate: in real size, then in draw, then in volume."""
    n = abs(math.log(max(trial.n_real, 1) / max(to.n_real, 1)))
    return n, sizes(trial)[seed] != number, abs(math.log(max(trial.n_synthetic, 1) / max(to.n_synthetic, 1)))


@dataclass(frozen=True)
class _Change:
    """How a pool, its generator and the real subsets under it move to another size and draw."""

    size: dict[int, int]  # old -> new; other sizes (of a generator that saw more) stay
    draw: int  # the seed of the subsets that move; others (of another draw) stay
    by: dict[str, int]  # what is added to each seed

    def of(self, spec: Any) -> Any:
        """The spec with everything that follows the size and the draw changed, through all that it holds."""
        if isinstance(spec, Pretrained):
            return spec  # weights from outside stay what they are
        if isinstance(spec, Subset) and isinstance(spec.of, Dataset):
            moved = self.by["subset_seed"] if spec.seed == self.draw else 0
            return replace(spec, size=self.size.get(spec.size, spec.size), seed=spec.seed + moved)
        held = {f.name: self.of(v) for f in fields(spec) if isinstance(v := getattr(spec, f.name), Value)}
        fitted = dict.fromkeys((ClosedSet, Gan, Lora), "generator_seed")
        name = {Pool: "pool_seed", **fitted}.get(type(spec))
        return replace(spec, **held, **({"seed": spec.seed + self.by[name]} if name else {}))
