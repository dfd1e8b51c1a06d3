"""The records of a study as a table of trials, one row for every test set that a trial was tried on.

A view: it can be made again from the store at any time. Names of arms and recipes are in ``naming``; what is fitted to
the table is in ``statistics``.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from realfake.naming import REAL_ONLY as REAL_ONLY
from realfake.naming import arms as arms
from realfake.naming import pools_of as pools_of
from realfake.naming import recipes as recipes
from realfake.naming import test_name
from realfake.responses import OF_CLASSIFIERS, RESPONSES
from realfake.spec import (
    ClosedSet,
    Dataset,
    DetectionRecipe,
    Evaluation,
    Study,
    Translation,
    Trial,
    address,
    external_budget,
    real_of,
    root_generator,
)
from realfake.store import Store

OF_DETECTORS = ("average_precision", "ap_t2t", "distance_", "distribution_gap", "rho_", "n_population")
Tried = tuple[Trial, Dataset, dict[str, Any]]  # a trial, the test set that it was tried on, and the record of that


def table(
    trials: Iterable[Trial],
    store: Store,
    named_among: tuple[Trial, ...] | None = None,
    evaluations: Iterable[Evaluation] = (),
) -> list[dict[str, Any]]:
    """Return one row for every made trial, in the order given: sizes, seeds, arm, recipe, metrics, budgets.

    Arms and recipes are named among the trials of their study; ``named_among`` is those where they are not ``trials``.
    ``evaluations`` add a row each. Where there are several test sets, the recipe of a row says which; where images of
    the tested domain were ``added`` to the real ones, see ``in_target_images``.
    """
    trials, evaluations = tuple(trials), tuple(evaluations)
    arm, recipe = arms(named_among or trials), recipes(named_among or trials)
    tried = list(_tried(trials, evaluations, store))
    tests = {trial.test for trial in trials} | {evaluation.on for evaluation in evaluations}
    rows = []
    for trial, test, record in tried:
        where = f" on {test_name(test)}" if len(tests) > 1 else ""
        name = address(trial)
        row = {**sizes(trial), "arm": arm[name], "recipe": recipe[name] + where, "test": test_name(test)}
        rows.append({**row, **_measured(trial, record), **_of_detector(trial, record, store)})
    return [
        *(row for row, (trial, _, _) in zip(rows, tried, strict=True) if trial.added is None),
        *in_target_images(rows, tried),
    ]


def groups(study: Study) -> set[str]:
    """Return the recipes that the table of a study names: those of its trials, on each of several test sets.

    Those in images of the tested domain are not among them.
    """
    names = set(recipes(study.trials).values())
    tests = {trial.test for trial in study.trials} | {evaluation.on for evaluation in study.evaluations}
    return {f"{name} on {test_name(test)}" for name in names for test in tests} if len(tests) > 1 else names


def of_study(study: Study, store: Store) -> list[dict[str, Any]]:
    """Return the table of a study."""
    return table(study.trials, store, evaluations=study.evaluations)


def in_target_images(rows: list[dict[str, Any]], tried: list[Tried]) -> list[dict[str, Any]]:
    """Return the rows that price synthetic images in labelled images of the domain that is tested on.

    Beside N real images of one domain, k of the tested domain are ``added``: a ladder n_real = N + k of its own, under
    the name of its recipe, on which the trials with N real and m synthetic images stand too. Added real equivalents
    on it count target images.
    """
    priced = {
        (row["recipe"], trial.n_real)
        for row, (trial, test, _) in zip(rows, tried, strict=True)
        if trial.added is not None and trial.added.of.name == test.name  # type: ignore[union-attr]
    }
    found = []
    for row, (trial, test, _) in zip(rows, tried, strict=True):
        added = trial.added
        if (row["recipe"], trial.n_real) in priced and (added is None or added.of.name == test.name):  # type: ignore[union-attr]
            more = added.size if added else 0
            own = {"n_real": trial.n_real + more, "recipe": f"{row['recipe']} in its own images beside {trial.n_real}"}
            found.append({**row, **own, "address": f"{row['address']}:target"})
    return found


def _tried(trials: tuple[Trial, ...], evaluations: tuple[Evaluation, ...], store: Store) -> Iterator[Tried]:
    for trial in trials:
        if (record := store.record(trial)) is not None:
            yield trial, trial.test, record
    for evaluation in evaluations:
        if (record := store.record(evaluation)) is not None:
            yield evaluation.of, evaluation.on, record


def sizes(trial: Trial) -> dict[str, Any]:
    """Return n_real, n_synthetic, n_generator (real images that the generator saw) and the seed of every noise."""
    pools = pools_of(trial)
    roots = [root_generator(pool.generator) for pool in pools]
    fitted = [root.seed for root in roots if isinstance(root, ClosedSet | Translation)]
    seen = [real for pool in pools if (real := real_of(pool.generator))]
    subset = trial.real or (seen[0] if seen else None)
    return {
        "n_real": trial.n_real,
        "n_synthetic": trial.n_synthetic,
        "n_generator": max((real.size for real in seen), default=0),
        "subset_seed": subset.seed if subset else 0,
        "generator_seed": fitted[0] if fitted else 0,
        "pool_seed": pools[0].seed if pools else 0,
        "trial_seed": trial.seed,
    }


def per_image(rows: Iterable[dict[str, Any]], store: Store) -> dict[str, dict[str, np.ndarray]]:
    """Return, by address, the cross-entropy and the 0/1 error of every test image: ``(n_test,)`` each.

    Nothing for detectors: average precision is no mean over images.
    """
    classified = [row["address"] for row in rows if row["status"] == "ok" and "error" in row]
    return {name: _losses(store, name) for name in classified}


def _measured(trial: Trial, record: dict[str, Any]) -> dict[str, Any]:
    result = record["result"]
    boxes = isinstance(trial.recipe, DetectionRecipe)
    responses = [name for name in RESPONSES if (name in OF_CLASSIFIERS) != boxes]
    return {
        **{name: result.get(name, float("nan")) for name in sorted(responses, reverse=True)},
        "n_test": result.get("n_test", 0),
        "real_budget": result["real_budget"],
        "external_budget": external_budget(trial),
        "budget": trial.recipe.budget,
        "status": result["status"],
        "address": record["address"],
        "seconds": record["seconds"],
    }


def _of_detector(trial: Trial, record: dict[str, Any], store: Store) -> dict[str, Any]:
    """Return what else is measured of a detector: precisions, distances, AP_t2t, and how near the last round ranked."""
    if not isinstance(trial.recipe, DetectionRecipe) or record["result"]["status"] != "ok":
        return {}
    found = {key: value for key, value in record["result"].items() if key.startswith(OF_DETECTORS)}
    numbers = {key: value for key, value in found.items() if value is None or isinstance(value, int | float)}
    rounds = [pool.generator for pool in pools_of(trial) if isinstance(pool.generator, Translation)]
    made = store.record(rounds[-1]) if rounds else None
    quantiles = json.loads((made or {"result": {}})["result"].get("pool_distance_quantiles") or "null")
    if quantiles:
        numbers |= {"ranked_median": quantiles[2], "ranked_spread": quantiles[4] - quantiles[0]}
    return numbers


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
