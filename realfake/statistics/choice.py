"""Which law: every law fitted and scored on trials that it did not see, and the set that predicts them as well.

Three kinds of cells are held out in turn: the largest volume at every real size, all mixtures at one real size, and the
largest real-only size. The score is the mean squared error of the log response of the held-out cells, the metric of
Alabdulmohsin et al. 2022 (arXiv 2209.06640). Laws within two standard errors of the best one (of the difference, cell
by cell), and not rejected by their lack-of-fit test while another is not, make up the set: the data cannot tell them
apart. With one standard error, as is usual where a law is chosen to predict, the intervals of 240 simulated studies
covered 0.89 to 0.96 and 0.75 in the worst cell; with two, 0.96 to 0.99 and 0.93. The first is the one with the fewest
parameters (Breiman et al. 1984, §3.4.3). An answer is the first law's, and its interval spans those of the whole set.

Here: `fit` and `compare`. Not here: how one law is fitted (`fits`), what a fit answers (`equivalence`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realfake.intervals import Interval
from realfake.laws import LAWS, Array
from realfake.statistics.bayes import with_posterior
from realfake.statistics.equivalence import Fit
from realfake.statistics.fits import Evidence, PerImage, fit_evidence, gather, point_fit
from realfake.statistics.regression import log_prediction
from realfake.statistics.trial_table import FitError, Frame, normalised, select
from realfake.values import nearest

METHODS = ("bootstrap", "bayes")
NEAR = 2.0  # standard errors behind the best law
CANDIDATES = ("hyperbolic", "scaled", "peaked", "exponential", "power_ratio", "wang", "m4")


@dataclass(frozen=True)
class Contender:
    """One law of a comparison: its fit, or why it has none, and how well it predicted what it did not see."""

    law: str
    fit: Fit | None
    trouble: str  # why there is no fit, or no held-out error
    squared_errors: tuple[float, ...]  # of the log response of each held-out cell
    behind: float = 0.0  # mean squared error above that of the best law
    behind_se: float = 0.0
    in_set: bool = False

    @property
    def held_out_error(self) -> float:
        """Root mean squared error of the held-out log responses; nan where nothing could be held out."""
        return float(np.sqrt(np.mean(self.squared_errors))) if self.squared_errors else float("nan")

    @property
    def rejected(self) -> bool:
        return self.fit is not None and self.fit.lack_of_fit is not None and self.fit.lack_of_fit.fails

    def row(self, n: float, m: float) -> dict[str, Any]:
        """Plain values for a table, with the law's own equivalent at n real and m synthetic images."""
        test = self.fit.lack_of_fit if self.fit else None
        return {
            "law": self.law,
            "parameters": len(LAWS[self.law].parameter_names),
            "held_out_error": self.held_out_error if self.squared_errors else None,
            "behind": self.behind if self.squared_errors else None,
            "behind_se": self.behind_se if self.squared_errors else None,
            "lack_of_fit_p": test.p if test else None,
            "status": self.fit.status if self.fit else "no fit",
            "in_set": self.in_set,
            "equivalent": self.fit.equivalent(n, m).to_json() if self.fit else None,
            "why": self.trouble or (self.fit.reason if self.fit else ""),
        }


@dataclass(frozen=True)
class Comparison:
    """All laws that were tried, the set first; `fit` is the first one's with the rest of the set as alternatives."""

    contenders: tuple[Contender, ...]
    held_out_cells: int
    at: tuple[float, float]  # (n, m) of the equivalents in `rows`

    @property
    def fit(self) -> Fit:
        """The first law's fit, whose intervals span those of every law in the set."""
        first, *others = [contender.fit for contender in self.contenders if contender.in_set]
        assert first is not None
        return replace(first, alternatives=tuple(others))

    def rows(self) -> list[dict[str, Any]]:
        return [contender.row(*self.at) for contender in self.contenders]

    def to_json(self) -> dict[str, Any]:
        return {"held_out_cells": self.held_out_cells, "at": list(self.at), "laws": self.rows()}

    def __str__(self) -> str:
        lines = [f"{'law':<14}{'held-out':>10}{'behind best':>20}{'lack of fit p':>15}  {'equivalent':<22}set"]
        return "\n".join([*lines, *(_line(row) for row in self.rows())])


def _line(row: dict[str, Any]) -> str:
    error = "–" if row["held_out_error"] is None else f"{row['held_out_error']:.4f}"
    behind = "–" if row["behind"] is None else f"{row['behind']:.1e} ± {row['behind_se']:.0e}"
    p = "–" if row["lack_of_fit_p"] is None else f"{row['lack_of_fit_p']:.3f}"
    worth = str(Interval.from_json(row["equivalent"])) if row["equivalent"] else row["why"]
    return f"{row['law']:<14}{error:>10}{behind:>20}{p:>15}  {worth:<22}{'yes' if row['in_set'] else ''}"


def fit(
    table: Frame,
    *,
    law: str = "auto",
    response: str = "",
    bootstrap: int = 400,
    seed: int = 0,
    arm: str | None = None,
    recipe: str | None = None,
    per_image: PerImage | None = None,
    method: str = "bootstrap",
) -> Fit:
    """Fit a law to all trials of one recipe and arm, with `bootstrap` refits for the intervals.

    `table` has a row a trial: n_real, n_synthetic, a response (one of `realfake.responses.RESPONSES`; "" is the first
    that the table has), and optionally n_generator (default n_real), arm, recipe, the seeds, n_test, status, address.
    `law` is "auto" (chosen by `compare` among `CANDIDATES`, the intervals spanning the laws that predict as well) or a
    name in `LAWS`. `per_image` maps a trial's address to {"cross_entropy", "error"}: (n_test,) arrays, which makes the
    interval cover the choice of test images too; average precision takes none. `seed` fixes every draw. `method`
    "bayes" replaces the refits by as many posterior draws (`bayes` states the priors; it needs emcee). Raises FitError,
    in one sentence, for a table that cannot answer.
    """
    if method not in METHODS:
        raise FitError(f"there is no method '{method}'; known are {', '.join(METHODS)}")
    if method == "bayes" and per_image is not None:
        raise FitError("method 'bayes' takes no per_image; leave it out, or use method='bootstrap' to have it counted")
    trials = select(normalised(table), response=response, arm=arm, recipe=recipe)
    evidence = gather(trials, bootstrap=bootstrap, seed=seed, per_image=per_image)
    found = choose(evidence).fit if law == "auto" else fit_evidence(evidence, law=law)
    return found if method == "bootstrap" else with_posterior(found, evidence, seed=seed)


def compare(
    table: Frame,
    *,
    laws: Sequence[str] = CANDIDATES,
    response: str = "",
    bootstrap: int = 400,
    seed: int = 0,
    arm: str | None = None,
    recipe: str | None = None,
    per_image: PerImage | None = None,
) -> Comparison:
    """Fit every law, score it on held-out cells, and mark the set that cannot be told from the best.

    Arguments are those of `fit`. Raises FitError where the table or every law fails, or a law is unknown.
    """
    trials = select(normalised(table), response=response, arm=arm, recipe=recipe)
    return choose(gather(trials, bootstrap=bootstrap, seed=seed, per_image=per_image), laws=laws)


def choose(evidence: Evidence, *, laws: Sequence[str] = CANDIDATES) -> Comparison:
    """The comparison of laws on gathered evidence. Raises FitError if none can be fitted."""
    for name in laws:
        if name not in LAWS:
            raise FitError(f"there is no law '{name}'; {nearest(name, LAWS)}")
    fitted = [_fitted(evidence, name) for name in laws]
    if not any(contender.fit for contender in fitted):
        raise FitError(fitted[0].trouble)
    splits = list(held_out_sets(evidence))
    errors = {c.law: [_squared_errors(evidence, c.law, out) for out in splits] for c in fitted if c.fit}
    used = [place for place in range(len(splits)) if any(row[place] is not None for row in errors.values())]
    tried = [_scored(contender, errors.get(contender.law, []), used) for contender in fitted]
    cells = evidence.trials.cells
    largest = int(np.lexsort((cells.n, cells.m, (cells.m > 0) & (cells.n > 0)))[-1])  # beside real images if any is
    return Comparison(
        contenders=_ranked(tried),
        held_out_cells=sum(int(splits[place].sum()) for place in used),
        at=(float(cells.n[largest]), float(cells.m[largest])),
    )


def held_out_sets(evidence: Evidence) -> Iterator[Array]:
    """Boolean masks over cells (c,) that leave enough to fit: largest volumes, each real size, the ladder's end."""
    cells, ladder = evidence.trials.cells, evidence.trials.ladder
    bases = np.unique(cells.n[~ladder])
    volumes_left = [len(np.unique(cells.m[~ladder & (cells.n == n)])) - 1 for n in bases]
    if sum(volumes_left) >= 2 and min(volumes_left) >= 1:
        largest = {n: cells.m[~ladder & (cells.n == n)].max() for n in bases}
        yield ~ladder & np.array([m >= largest.get(n, np.inf) for n, m in zip(cells.n, cells.m, strict=True)])
    if len(bases) >= 2:
        yield from (~ladder & (cells.n == n) for n in bases)
    sizes = np.unique(cells.n[ladder])
    if len(sizes) >= 5:
        yield ladder & (cells.n == sizes[-1])


def _fitted(evidence: Evidence, name: str) -> Contender:
    """A law's fit to everything, or why there is none."""
    try:
        return Contender(name, fit_evidence(evidence, law=name), "", ())
    except FitError as error:
        return Contender(name, None, str(error), ())


def _squared_errors(evidence: Evidence, name: str, out: Array) -> Array | None:
    """(held-out cells,) squared differences of mean log response and the prediction of a fit to the other cells.

    None where the other cells are too few for the law.
    """
    law, trials = LAWS[name], evidence.trials
    kept = evidence.only(~out[trials.cells.of_trial])
    asked = out if law.synthetic_alone else out & (trials.cells.n > 0)
    try:
        parameters = point_fit(kept, law)
    except FitError:
        return None
    return (trials.cell_means - log_prediction(law, parameters[None], trials.cells)[0])[asked] ** 2


def _scored(contender: Contender, errors: list[Array | None], used: list[int]) -> Contender:
    """The contender with its errors on the sets that any law could be scored on, if it could on all of them."""
    known = [part for place in used if (part := errors[place]) is not None] if errors else []
    if not contender.fit or not used or len(known) < len(used):
        why = contender.trouble or "what is left without some held-out cells is too little for this law"
        return replace(contender, trouble=why if used else contender.trouble)
    return replace(contender, squared_errors=tuple(float(value) for value in np.concatenate(known)))


def _ranked(tried: list[Contender]) -> tuple[Contender, ...]:
    """Contenders with their distance to the best, the set marked, in the order of `_rank`."""
    scored = [contender for contender in tried if contender.fit and contender.squared_errors]
    if not scored:  # nothing could be held out: the first law that fits, by the order of the candidates
        first = min((c for c in tried if c.fit), key=lambda c: (c.rejected, tried.index(c)))
        return (replace(first, in_set=True), *(c for c in tried if c is not first))
    cells = max(len(contender.squared_errors) for contender in scored)
    whole = [contender for contender in scored if len(contender.squared_errors) == cells]
    best = np.array(min(whole, key=lambda contender: contender.held_out_error).squared_errors)
    measured = [_behind(contender, best) for contender in whole]
    near = [contender for contender in measured if contender.behind <= NEAR * contender.behind_se]
    accepted = [contender for contender in near if not contender.rejected] or near
    chosen = {contender.law for contender in accepted}
    marked = [replace(contender, in_set=contender.law in chosen) for contender in measured]
    rest = [contender for contender in tried if contender.law not in {c.law for c in marked}]
    return (*sorted(marked, key=_rank), *rest)


def _rank(contender: Contender) -> tuple[bool, int, float]:
    """The set first, simple laws first in it; the others by their held-out error."""
    parameters = len(LAWS[contender.law].parameter_names) if contender.in_set else 0
    return not contender.in_set, parameters, contender.held_out_error


def _behind(contender: Contender, best: Array) -> Contender:
    """The contender with its mean excess squared error over the best law and the standard error of that mean."""
    excess = np.array(contender.squared_errors) - best
    error = float(excess.std(ddof=1) / np.sqrt(len(excess))) if len(excess) > 1 else 0.0
    return replace(contender, behind=float(excess.mean()), behind_se=error)
