"""Which samples each training step sees: a pure function of (seed, step), whatever the device or number of workers.

Real samples are rows 0 … n_real − 1 and synthetic samples the rows after them. Budgets and mixing rules live here, and
the random shifts and flips of each view; pixels and models do not (see ``classification``). NumPy only.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from realfake.samples import seed_of
from realfake.spec import Recipe
from realfake.values import SpecError


@dataclass(frozen=True)
class Plan:
    """A budget spelled out: ``examples`` in ``steps`` batches, all of equal size within one."""

    recipe: Recipe
    n_real: int
    n_synthetic: int
    examples: int
    seed: int

    @property
    def steps(self) -> int:
        """Optimizer steps: as many as batches no larger than ``recipe.batch_size`` need."""
        return math.ceil(self.examples / self.recipe.batch_size)

    def span(self, step: int) -> tuple[int, int]:
        """Return the first example of a step and of the next: an even split, so that no batch is a tiny rest."""
        return step * self.examples // self.steps, (step + 1) * self.examples // self.steps


@dataclass(frozen=True)
class Batch:
    """Rows ``(b,)``, the weight ``(b,)`` of each one's loss in the batch mean, and how each is seen.

    ``shift`` ``(b, 2)`` are pixels down and right; ``flip`` ``(b,)`` says whether left and right change places;
    ``strong`` ``(b,)`` are the seeds of strong augmentation, empty where there is none (see ``strong``).
    """

    rows: np.ndarray
    weights: np.ndarray
    shift: np.ndarray
    flip: np.ndarray
    strong: np.ndarray

    def slice(self, rank: int, workers: int) -> "Batch":
        """Return the part of one of several workers."""
        part = np.s_[rank::workers]
        return Batch(self.rows[part], self.weights[part], self.shift[part], self.flip[part], self.strong[part])


def plan(recipe: Recipe, n_real: int, n_synthetic: int, seed: int) -> Plan:
    """Return the plan that spends exactly the recipe's budget.

    Raises SpecError when the budget counts views of real images and the mixture never shows one.
    """
    if recipe.examples_seen is not None:
        examples = recipe.examples_seen
    elif recipe.epochs is not None:
        examples = max(1, round(recipe.epochs * (n_real + n_synthetic)))
    else:
        examples = _examples_for_real(recipe, n_real, n_synthetic)
    return Plan(recipe=recipe, n_real=n_real, n_synthetic=n_synthetic, examples=examples, seed=seed)


def real_share(recipe: Recipe, n_real: int, n_synthetic: int) -> float:
    """Return the share of the examples seen that are real, by the recipe's mixing rule."""
    if not n_real or not n_synthetic:
        return float(n_real > 0)
    shares = {"weighted": 0.5, "synthetic_then_real": 1 - recipe.synthetic_share}
    return shares.get(recipe.mixing, n_real / (n_real + n_synthetic))


def batch(plan: Plan, step: int, pixels: int) -> Batch:
    """Return what one step sees; images are ``pixels`` wide, and shifts reach an eighth of that."""
    rows = _rows(plan, *plan.span(step))
    random = np.random.default_rng([plan.seed, step])
    reach = pixels // 8 if plan.recipe.augment != "none" else 0
    shift = random.integers(-reach, reach + 1, size=(len(rows), 2))
    flip = random.random(len(rows)) < (0.5 if plan.recipe.augment in ("flip-shift", "randaugment") else 0.0)
    strong = random.integers(2**63, size=len(rows) if plan.recipe.augment == "randaugment" else 0)
    return Batch(rows=rows, weights=_weights(plan, rows), shift=shift, flip=flip, strong=strong)


def _examples_for_real(recipe: Recipe, n_real: int, n_synthetic: int) -> int:
    share = real_share(recipe, n_real, n_synthetic)
    if not share:
        raise SpecError(
            f"Recipe(real_examples_seen={recipe.real_examples_seen}): this trial never shows a real image "
            f"(n_real={n_real}, mixing={recipe.mixing!r}, synthetic_share={recipe.synthetic_share}), so no number of "
            "steps reaches that; use examples_seen=… or epochs=…"
        )
    return round((recipe.real_examples_seen or 0) / share)


def _rows(plan: Plan, first: int, last: int) -> np.ndarray:
    """Return the rows of examples first … last − 1."""
    everything = plan.n_real + plan.n_synthetic
    if plan.recipe.mixing == "pool" or not plan.n_real or not plan.n_synthetic:
        return _endless(plan.seed, "all", everything, first, last)
    if plan.recipe.mixing == "weighted":  # examples take turns, so batches of any size hold half of each within one
        spans = (first + 1) // 2, (last + 1) // 2, first // 2, last // 2
    else:
        turn = round(plan.recipe.synthetic_share * plan.examples)
        spans = max(first, turn) - turn, max(last, turn) - turn, min(first, turn), min(last, turn)
    real = _endless(plan.seed, "real", plan.n_real, *spans[:2])
    synthetic = plan.n_real + _endless(plan.seed, "synthetic", plan.n_synthetic, *spans[2:])
    return np.concatenate([real, synthetic])


def _weights(plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Return weights ``(b,)`` with  mean(weight · loss) = (1 − w) · mean(real losses) + w · mean(synthetic losses)."""
    weights = np.ones(len(rows), dtype=np.float32)
    real = rows < plan.n_real
    if plan.recipe.mixing == "weighted" and plan.n_real and plan.n_synthetic:
        weights[real] = (1 - plan.recipe.synthetic_weight) * len(rows) / max(1, real.sum())
        weights[~real] = plan.recipe.synthetic_weight * len(rows) / max(1, (~real).sum())
    return weights


def _endless(seed: int, name: str, n: int, first: int, last: int) -> np.ndarray:
    """Return places first … last − 1 of shuffled epochs of ``n`` rows, one after another without end."""
    if first == last:
        return np.empty(0, dtype=np.int64)
    epochs = range(first // n, (last - 1) // n + 1)
    start = first - epochs[0] * n
    return np.concatenate([_epoch(seed, name, n, e) for e in epochs])[start : start + last - first]


@functools.lru_cache(maxsize=8)
def _epoch(seed: int, name: str, n: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(seed_of(seed, name, epoch)).permutation(n)
