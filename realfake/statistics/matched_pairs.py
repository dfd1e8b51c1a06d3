"""Wang et al.'s own procedure: synthetic volumes matched with added real images of equal response, then their formula.

At every base size n there are three curves: the real-only ladder, n plus added real images (the ladder above n, since
subsets are nested), and n plus synthetic images. A pair is a volume n_syn and the added real images n_real⁺ that reach
the same mean response. The pairs are fitted by

    ln(n_syn/n) = a·n + ln(e^(b·n_real⁺/n) − 1),      a = ln(c1)/k,  b = ln(c2)

(arXiv 2508.09550: n_syn/n = c1^(n/k)·(c2^(n_real⁺/n) − 1); only a and b can be told). How the authors matched and
fitted is not known to us: we read the ladder by monotone log-linear interpolation and fit by a soft-L1 loss. As pairs
share runs, the interval comes from simulated studies (`noise`), not from resampled pairs.

Here: this procedure, and the published c2 to print beside it. Not here: the same law fitted to all trials jointly
(`fits` with law "wang"), which uses the responses themselves and should be preferred.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realfake.intervals import Interval, interval_of_draws, withheld
from realfake.laws import Array
from realfake.statistics.fits import Evidence, PerImage, gather
from realfake.statistics.trial_table import FitError, Frame, cell_means, normalised, select
from realfake.statistics.wang_formula import LN_C2_BOUNDS, fit_pairs, residuals, robust_scale

LARGEST_LN_C2 = 20.0  # beyond it c2 is called unbounded
NO_MORE = 1e-9  # of the base: fewer added real images than this are rounding

PUBLISHED_C2 = (
    ("CIFAR-10", "closed-set", 2.53),
    ("CIFAR-10", "open-set", 2.93),
    ("BloodMNIST", "closed-set", 3.88),
    ("ImageNet-100", "closed-set", 37.84),
    ("ImageNet-100", "open-set", 1.68),
)
PROVENANCE = "second-hand: as quoted by a third party; c1 and k not found, so no price follows from c2 alone"


@dataclass(frozen=True)
class Pair:
    """A mixture and the added real images of the same response; no number where the ladder does not reach it."""

    n_real: int
    n_synthetic: int
    n_real_added: float | None
    residual: float | None  # of ln(n_syn/n)
    censored: str  # "" | "above" (better than the ladder's end) | "below" (no better than the base alone)


@dataclass(frozen=True)
class Wang:
    """The formula fitted to matched pairs of one arm."""

    arm: str
    recipe: str
    response: str
    parameters: dict[str, Interval]  # ln_c1_over_k, ln_c2; with one base size ln_s = ln_c1_over_k · n instead
    c2: Interval
    pairs: tuple[Pair, ...]
    dropped: float  # share of the usable pairs that simulated studies lost to censoring
    status: str  # "converged" | "at a bound" | "one base size" | "no fit"
    reason: str

    @property
    def n_pairs(self) -> int:
        """Pairs that the fit used."""
        return sum(not pair.censored for pair in self.pairs)

    @property
    def n_censored(self) -> int:
        return len(self.pairs) - self.n_pairs

    @property
    def typical_miss(self) -> float | None:
        """The factor by which the formula typically misses n_syn, exp(median |residual|); intervals do not cover it."""
        missed = [abs(pair.residual) for pair in self.pairs if pair.residual is not None]
        return float(np.exp(np.median(missed))) if missed else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; intervals as `Interval.to_json`."""
        named = {name: value.to_json() for name, value in self.parameters.items()}
        counts = {"n_pairs": self.n_pairs, "n_censored": self.n_censored, "typical_miss": self.typical_miss}
        pairs = [dict(pair.__dict__) for pair in self.pairs]
        return {**self.__dict__, **counts, "parameters": named, "c2": self.c2.to_json(), "pairs": pairs}


def wang(
    table: Frame,
    *,
    response: str = "error",
    arm: str | None = None,
    recipe: str | None = None,
    bootstrap: int = 400,
    seed: int = 0,
    per_image: PerImage | None = None,
) -> Wang:
    """Match the mixtures of one arm with added real images, and fit c1^(n/k) and c2 to the pairs.

    Arguments are those of `realfake.fit`. Pairs outside the ladder are counted, not used. Raises FitError for a table
    that cannot answer at all; with too few pairs the status is "no fit" and the reason says why.
    """
    trials = select(normalised(table), response=response, arm=arm, recipe=recipe)
    if not _mixed(trials.cells, trials.ladder).any():
        raise FitError(f"the arm '{trials.arm}' has no trial with synthetic images beside real ones; nothing to match")
    return match(gather(trials, bootstrap=bootstrap, seed=seed, per_image=per_image))


def no_answer(arm: str, recipe: str, response: str, reason: str) -> Wang:
    """What is left where there is no evidence to match."""
    return Wang(arm, recipe, response, _none(reason), withheld(reason), (), 0.0, "no fit", reason)


def match(evidence: Evidence) -> Wang:
    """The procedure on gathered evidence."""
    trials = evidence.trials
    mixed = _mixed(trials.cells, trials.ladder)
    n, m = trials.cells.n[mixed], trials.cells.m[mixed]
    added = _added(evidence, mixed)
    usable = np.isfinite(added) & (added > NO_MORE * n)
    pairs = tuple(_pair(*row) for row in zip(n, m, added[0], usable[0], strict=True))
    empty = replace(no_answer(trials.arm, trials.recipe, trials.response, ""), pairs=pairs)
    kept = usable[0]
    if kept.sum() < 2:
        reason = f"{int(kept.sum())} of {len(pairs)} pairs lie within the ladder; two parameters need two"
        return replace(empty, parameters=_none(reason), c2=withheld(reason), reason=reason)
    return _fitted(empty, n[kept], m[kept], added[:, kept], usable[:, kept])


def _mixed(cells: Any, ladder: Array) -> Array:
    """(c,) True for cells of synthetic images beside real ones."""
    return ~ladder & (cells.n > 0)


def _none(reason: str) -> dict[str, Interval]:
    return dict.fromkeys(("ln_c1_over_k", "ln_c2"), withheld(reason))


def _pair(n: float, m: float, added: float, usable: bool) -> Pair:
    if usable:
        return Pair(int(n), int(m), float(added), None, "")
    return Pair(int(n), int(m), None, None, "above" if added > 0 else "below")


def _added(evidence: Evidence, mixed: Array) -> Array:
    """(1 + b, p): real images to add for the response of each mixture, as measured and in each simulated study.

    +inf where the mixture does better than the largest real size, −n where it does worse than the smallest.
    """
    trials = evidence.trials
    noise = cell_means(evidence.deviations, trials.cells)
    means = trials.cell_means + np.concatenate([np.zeros((1, noise.shape[1])), noise])
    n, weights = trials.cells.n[trials.ladder], trials.counts[trials.ladder]
    curves, responses = means[:, trials.ladder], means[:, mixed]
    sizes = [_real_size(n, curve, weights, at) for curve, at in zip(curves, responses, strict=True)]
    return np.array(sizes) - trials.cells.n[mixed]


def _real_size(n: Array, curve: Array, weights: Array, at: Array) -> Array:
    """The real sizes of log responses `at` on a falling curve through ladder means, log-linear between sizes."""
    from scipy.optimize import isotonic_regression

    falling = isotonic_regression(curve, weights=weights, increasing=False).x
    return np.exp(np.interp(-at, -falling, np.log(n), left=-np.inf, right=np.inf))


def _fitted(empty: Wang, n: Array, m: Array, added: Array, usable: Array) -> Wang:
    """The result with point and draws; a draw uses the pairs that it leaves within the ladder."""
    log_u, r = np.log(m / n), np.where(usable, added / n, 1.0)
    found = fit_pairs(n, log_u, r, usable, scale=robust_scale(n, log_u, r[:1], usable[:1]))
    left = iter(residuals(n, log_u, r[:1], found[:1])[0])
    enough = usable.sum(axis=1) >= 2
    slopes, log_c2 = np.where(enough, found[:, 0], np.nan), np.where(enough, np.exp(found[:, 1]), np.nan)
    pairs = [pair if pair.censored else replace(pair, residual=float(next(left))) for pair in empty.pairs]
    c2 = np.exp(np.minimum(log_c2, 2 * LARGEST_LN_C2))
    bases = np.unique(n)
    status, reason = _status(bases, len(n), float(log_c2[0]))
    parameters = {"ln_c1_over_k": _interval(slopes), "ln_c2": _interval(log_c2)}
    if len(bases) == 1:
        parameters |= {"ln_c1_over_k": withheld(reason), "ln_s": _interval(slopes * bases[0])}
    return replace(
        empty,
        parameters=parameters,
        c2=interval_of_draws(float(c2[0]), c2[1:], ceiling=float(np.exp(LARGEST_LN_C2))),
        pairs=tuple(pairs),
        dropped=float(1 - usable[1:].mean()),
        status=status,
        reason=reason,
    )


def _interval(values: Array) -> Interval:
    return interval_of_draws(float(values[0]), values[1:])


def _status(bases: Array, pairs: int, log_c2: float) -> tuple[str, str]:
    low, high = LN_C2_BOUNDS
    if len(bases) == 1:
        return "one base size", f"all pairs have n_real {bases[0]:g}: they fix s = c1^(n/k) there, not its growth"
    if not low * 1.001 < log_c2 < high * 0.999:
        return "at a bound", f"ln_c2 at its bound {log_c2:g}: the pairs do not bend as the formula does"
    return "converged", "two pairs for two parameters: nothing tests the formula" if pairs == 2 else ""
