"""Attacks: from scores of many models, of which half were trained on an example, to a guess about one more model.

The likelihood-ratio attack of Carlini et al. 2022 (2112.03570) and a plain threshold. What a guess reaches is in
``curves``, where scores come from in ``scores``.
"""

from typing import Any, Literal

import numpy as np

from realfake.privacy.curves import Attacked, measure

Mode = Literal["online", "offline", "threshold"]
Variance = Literal["fixed", "per example"]
LEAST_SIGMA = 1e-30  # as tensorflow/privacy adds, so that a deviation of zero divides nothing


def lira(
    scores: np.ndarray, member: np.ndarray, mode: Mode = "online", variance: Variance = "fixed", **measured: Any
) -> Attacked:
    """Attack every model in turn with the others, and return what that reaches.

    ``scores`` are ``(M, n, q)`` or ``(M, n)``, ``member`` is ``(M, n)`` bool: whether model m was trained on example i.
    ``measured`` are options of ``measure``. Raises ValueError as ``statistics`` does.
    """
    statistic = statistics(scores, member, mode, variance)
    return measure(statistic, member, mode=mode, variance="" if mode == "threshold" else variance, **measured)


def statistics(
    scores: np.ndarray, member: np.ndarray, mode: Mode = "online", variance: Variance = "fixed"
) -> np.ndarray:
    """Return the statistic of every example under every model as target, ``(M, n)``: larger is more likely a member.

    "online": log N(φ | μ_in, σ_in) − log N(φ | μ_out, σ_out), with medians and deviations over the other models that
    were and were not trained on the example. "offline": −log Pr[Z > φ], Z ~ N(μ_out, σ_out), so that nothing trained
    on the example is needed. "threshold": φ itself. Each is the mean over the q queries. ``variance`` "fixed" takes one
    deviation within examples for all of them and both sides: with few models it is known far better, and online its
    size changes no order.

    Of the other models the exact complement of the target is left out: its members are the target's non-members, so
    what moves the two apart would tell of membership without any memory. Of the rest every example has as many models
    on each side as the example that has fewest, as in tensorflow/privacy, or their number would tell.
    Raises ValueError for fewer than 4 models, an odd number, examples that are not in half of them, or too few models
    for a deviation of each example.
    """
    phi, member = _checked(scores, member)
    if mode == "threshold":
        return phi.mean(axis=2)
    return np.stack([_against_target(phi, member, target, mode, variance) for target in range(len(phi))])


def _checked(scores: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    phi, member = np.asarray(scores, dtype=np.float64), np.asarray(member, dtype=bool)
    phi = phi[:, :, None] if phi.ndim == 2 else phi
    if phi.ndim != 3 or phi.shape[:2] != member.shape:
        raise ValueError(f"lira: scores {phi.shape} and member {member.shape} differ; give (M, n, q) and (M, n)")
    models = len(phi)
    if models < 4 or models % 2:
        raise ValueError(f"lira: {models} shadow models; give an even number, 4 or more (16 for numbers to report)")
    if (member.sum(axis=0) != models // 2).any():
        raise ValueError("lira: an example is not in exactly half of the models; take complementary halves")
    if not np.isfinite(phi).all():
        raise ValueError("lira: a score is not finite; leave out models that diverged, and their complements")
    return phi, member


def _against_target(phi: np.ndarray, member: np.ndarray, target: int, mode: Mode, variance: Variance) -> np.ndarray:
    """Return the statistic ``(n,)`` of one target, from models that are neither it nor its complement."""
    from scipy.special import log_ndtr

    others = np.flatnonzero((member != ~member[target]).any(axis=1) & (np.arange(len(member)) != target))
    inside, outside = (_first(phi[others], where) for where in (member[others], ~member[others]))
    if variance == "per example" and min(len(inside), len(outside)) < 2:
        raise ValueError('lira: one model on a side has no deviation; give 6 models or more, or variance="fixed"')
    (mu_in, sigma_in), (mu_out, sigma_out) = _normal(inside), _normal(outside)
    if variance == "fixed":
        sides = (outside,) if mode == "offline" else (inside, outside)
        sigma_in = sigma_out = _within(sides)
    if mode == "offline":
        return -log_ndtr((mu_out - phi[target]) / (sigma_out + LEAST_SIGMA)).mean(axis=1)
    return (_log_normal(phi[target], mu_in, sigma_in) - _log_normal(phi[target], mu_out, sigma_out)).mean(axis=1)


def _first(phi: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the scores ``(k, n, q)`` of every example's first k models of one side; k is what all examples have."""
    k = int(where.sum(axis=0).min())
    rows = np.argsort(~where, axis=0, kind="stable")[:k]
    return np.take_along_axis(phi, rows[:, :, None], axis=0)


def _normal(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.median(side, axis=0), side.std(axis=0)


def _within(sides: tuple[np.ndarray, ...]) -> float:
    """Return the deviation within examples over all sides; 1 where one model a side leaves none to be seen."""
    return float(np.sqrt(np.mean([side.var(axis=0).mean() for side in sides]))) or 1.0


def _log_normal(phi: np.ndarray, mu: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
    """Return the logarithm of a normal density, less ½ log 2π, which a difference loses."""
    width = sigma + LEAST_SIGMA
    return -0.5 * ((phi - mu) / width) ** 2 - np.log(width)
