"""The records of a study as a table of trials, with the names of its arms and recipes.

A view: it can be made again from the store at any time. What is fitted to the table is in ``fits``.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from realfake.spec import (
    ClosedSet,
    External,
    Pool,
    Recipe,
    Relabel,
    Repeat,
    Subset,
    Trial,
    address,
    external_budget,
    root_generator,
)
from realfake.store import Store
from realfake.values import Value, fields

REAL_ONLY = "real-only"


def table(trials: Iterable[Trial], store: Store, named_among: tuple[Trial, ...] | None = None) -> list[dict[str, Any]]:
    """Return one row for every made trial, in the order given: sizes, seeds, arm, recipe, metrics, budgets.

    Arms and recipes are named among the trials of their study; ``named_among`` is those where they are not ``trials``.
    """
    trials = tuple(trials)
    arm, recipe = arms(named_among or trials), recipes(named_among or trials)
    records = ((trial, store.record(trial)) for trial in trials)
    return [
        {**sizes(trial), "arm": arm[address(trial)], "recipe": recipe[address(trial)], **_measured(trial, record)}
        for trial, record in records
        if record is not None
    ]


def sizes(trial: Trial) -> dict[str, Any]:
    """Return n_real, n_synthetic, n_generator (real images that the generator saw) and the seed of every noise."""
    pools = pools_of(trial)
    roots = [root_generator(pool.generator) for pool in pools]
    fitted = [root.seed for root in roots if isinstance(root, ClosedSet)]
    subset = trial.real or (roots[0].real if roots else None)
    return {
        "n_real": trial.n_real,
        "n_synthetic": trial.n_synthetic,
        "n_generator": max((root.real.size for root in roots), default=0),
        "subset_seed": subset.seed if subset else 0,
        "generator_seed": fitted[0] if fitted else 0,
        "pool_seed": pools[0].seed if pools else 0,
        "trial_seed": trial.seed,
    }


def pools_of(trial: Trial) -> list[Pool]:
    """Return the pools that a trial draws on."""
    return [part.of for part in trial.synthetic if isinstance(part.of, Pool)]


def per_image(rows: Iterable[dict[str, Any]], store: Store) -> dict[str, dict[str, np.ndarray]]:
    """Return, by address, the cross-entropy and the 0/1 error of every test image: ``(n_test,)`` each."""
    return {row["address"]: _losses(store, row["address"]) for row in rows if row["status"] == "ok"}


def arms(trials: tuple[Trial, ...]) -> dict[str, str]:
    """Return the name of every trial's arm: what made its synthetic images, and what tells it from the other arms.

    A field is part of the name where trials of one size differ in it; one that merely follows the size is not.
    """
    return _named(trials, lambda t: _base(t), lambda t: {k: v for p in pools_of(t) for k, v in _settings(p).items()})


def recipes(trials: tuple[Trial, ...]) -> dict[str, str]:
    """Return the name of every trial's recipe: the model, and what tells it from the other recipes of the study."""
    return _named(trials, lambda t: t.recipe.model, lambda t: _recipe_settings(t.recipe))


def _named(trials: tuple[Trial, ...], base: Any, settings: Any) -> dict[str, str]:
    found = [(address(t), (base(t), t.n_real, t.n_synthetic), settings(t)) for t in trials]
    seen: dict[tuple, set] = {}
    for _, place, setting in found:
        for key, value in setting.items():
            seen.setdefault((place, key), set()).add(value)
    telling = {(place[0], key) for (place, key), values in seen.items() if len(values) > 1}
    return {
        name: " ".join([place[0], *(_told(k, v) for k, v in setting.items() if (place[0], k) in telling)])
        for name, place, setting in found
    }


def _told(key: str, value: str) -> str:
    return value if key == "budget" else f"{key}={value}"


def _base(trial: Trial) -> str:
    kinds = [_kind(pool.generator) + ("" if _strict(trial, pool) else " leaky") for pool in pools_of(trial)]
    return " + ".join(kinds) or REAL_ONLY


def _kind(generator: ClosedSet | Repeat | Relabel) -> str:
    if isinstance(generator, Relabel):
        return f"{_kind(generator.generator)} permuted"
    return "closed-set" if isinstance(generator, ClosedSet) else "repeat"


def _strict(trial: Trial, pool: Pool) -> bool:
    """Say whether the generator saw nothing but the real images that the trial itself is trained on."""
    seen: Subset = root_generator(pool.generator).real
    mine = trial.real
    return mine is None or (seen.of == mine.of and seen.seed == mine.seed and seen.size <= mine.size)


def _settings(pool: Pool) -> dict[str, str]:
    root = root_generator(pool.generator)
    return {**_plain(root, skip=("real", "seed")), **_plain(pool, skip=("generator", "seed"))}


def _recipe_settings(recipe: Recipe) -> dict[str, str]:
    rule, amount = recipe.budget.split("=")
    rest = _plain(recipe, skip=("model", "examples_seen", "epochs", "real_examples_seen"))
    return {"budget": f"{amount} {rule.replace('_', ' ')}", **rest}


def _plain(value: Value, skip: tuple[str, ...]) -> dict[str, str]:
    shown = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in skip}
    return {k: v.name if isinstance(v, External) else str(v) for k, v in shown.items()}


def _measured(trial: Trial, record: dict[str, Any]) -> dict[str, Any]:
    result = record["result"]
    return {
        "error": result.get("error", float("nan")),
        "cross_entropy": result.get("cross_entropy", float("nan")),
        "n_test": result.get("n_test", 0),
        "real_budget": result["real_budget"],
        "external_budget": external_budget(trial),
        "budget": trial.recipe.budget,
        "status": result["status"],
        "address": record["address"],
        "seconds": record["seconds"],
    }


def test_labels(name: str, store: Store) -> np.ndarray:
    """Return the classes of the test images of a made trial: ``(n_test,)``."""
    return pq.read_table(store.root / name / "predictions.parquet", columns=["label"])["label"].to_numpy()


def _losses(store: Store, name: str) -> dict[str, np.ndarray]:
    table = pq.read_table(store.root / name / "predictions.parquet")
    labels = table["label"].to_numpy()
    column = table["probabilities"].combine_chunks()
    probabilities = column.flatten().to_numpy(zero_copy_only=False).reshape(len(labels), -1)
    of_label = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1.0)
    return {"cross_entropy": -np.log(of_label), "error": (probabilities.argmax(1) != labels).astype(float)}
