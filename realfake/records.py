"""The records of a study as a table of trials, one row for every test set that a trial was tried on.

A view: it can be made again from the store at any time. Names of arms and recipes are in ``naming``; what is fitted to
the table is in ``statistics``.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from realfake import pool_facts
from realfake.naming import REAL_ONLY as REAL_ONLY
from realfake.naming import arms as arms
from realfake.naming import pools_of as pools_of
from realfake.naming import recipes as recipes
from realfake.naming import test_name
from realfake.responses import OF_CLASSIFIERS, RESPONSES
from realfake.spec import (
    Choice,
    ClosedSet,
    Dataset,
    DetectionRecipe,
    Evaluation,
    Gan,
    Generator,
    Lora,
    OpenSet,
    Pretrained,
    Study,
    Translation,
    Trial,
    address,
    external_budget,
    fitted_on,
    real_budget,
    root_generator,
)
from realfake.store import Store

OF_DETECTORS = ("average_precision", "ap_t2t", "distance_", "distribution_gap", "rho_", "n_population")
OF_SOME_CLASSIFIERS = ("top5_error",)  # of more than five classes, see tasks.classification
OF_OTHER_CLASSES = ("n_classes_shared", "error_masked", "error_full", "error_own_masked")  # see tasks.other_classes
TUNED = ", tuned by validation"
Pair = tuple[Trial, dict[str, Any]]  # a trial, and its row
Names = dict[str, str]  # of trials, by address
Tried = tuple[Trial, Dataset, dict[str, Any]]  # the same, with the test set between them


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
    if named_among is None:  # a whole study, and not one trial that was made just now
        store.refresh((*trials, *evaluations))
    return [row for _, row in _pairs(trials, store, named_among or trials, evaluations)]


def _pairs(
    trials: tuple[Trial, ...], store: Store, among: tuple[Trial, ...], evaluations: Iterable[Evaluation]
) -> list[Pair]:
    evaluations = tuple(evaluations)
    arm, recipe = arms(among), recipes(among)
    tests = {trial.test for trial in trials} | {evaluation.on for evaluation in evaluations}
    tried = []
    for trial, test, record in _tried(trials, evaluations, store):
        where = f" on {test_name(test)}" if len(tests) > 1 else ""
        name = address(trial)
        row = {**sizes(trial), "arm": arm[name], "recipe": recipe[name] + where, "test": test_name(test)}
        more = {**_of_generators(trial, store), **_of_detector(trial, record, store)}
        tried.append((trial, test, {**row, **_measured(trial, record), **more}))
    return [*((trial, row) for trial, _, row in tried if trial.added is None), *in_target_images(tried)]


def tried_on(study: Study) -> tuple[Evaluation, ...]:
    """Return the evaluations on test sets: what was validated on for a choice is none."""
    validated = {choice.on for choice in study.choices}
    return tuple(evaluation for evaluation in study.evaluations if evaluation.on not in validated)


def counted(study: Study) -> tuple[Trial, ...]:
    """Return the trials that answer how much images are worth: not the shadow models of an audit.

    Those are trained on halves of a set, some of whose labels may be wrong on purpose, so they are no replicates. A
    study of nothing else still shows them; they have no ladder, so no equivalent is read off it.
    """
    shadows = {t for t in study.trials if any(s.half is not None or s.canaries for s in real_budget(t))}
    return tuple(t for t in study.trials if t not in shadows) or study.trials


def groups(study: Study) -> set[str]:
    """Return the recipes that the table of a study names: those of its trials, on each of several test sets.

    Those in images of the tested domain are not among them.
    """
    trials = counted(study)
    names = set(recipes(trials).values())
    names |= {trial.recipe.model + TUNED for choice in study.choices if _tuned(choice) for trial in choice.candidates}
    tests = {trial.test for trial in trials} | {evaluation.on for evaluation in tried_on(study)}
    return {f"{name} on {test_name(test)}" for name in names for test in tests} if len(tests) > 1 else names


def of_study(study: Study, store: Store) -> list[dict[str, Any]]:
    """Return the table of a study."""
    trials = counted(study)
    evaluations = (evaluation for evaluation in tried_on(study) if evaluation.of in set(trials))
    pairs = _pairs(trials, store, trials, evaluations)
    names = arms(trials), recipes(trials)
    more = (row for choice in study.choices for row in chosen(choice, pairs, names, store))
    return [*(row for _, row in pairs), *more]


def chosen(choice: Choice, pairs: list[Pair], names: tuple[Names, Names], store: Store) -> list[dict[str, Any]]:
    """Return the rows of the candidate that did best on validation data, under the arm "…, best by validation".

    Of one cell under several recipes the best is of a recipe "…, tuned by validation", real-only cells too: a ladder
    tuned as the mixtures are. The volume is that of the largest candidate, for so much was at hand, and the validation
    images are added to the real budget. ``names`` are those of arms and of recipes. Nothing while a candidate lacks its
    record on validation data, or where all diverged.
    """
    found = [store.record(Evaluation(of=trial, on=choice.on)) for trial in choice.candidates]
    values = [(record or {"result": {}})["result"].get(choice.by) for record in found]
    known = [math.inf if value is None or math.isnan(value) else value for value in values]
    if None in found or min(known) == math.inf:
        return []
    best = choice.candidates[known.index(min(known))]
    largest = max(choice.candidates, key=lambda trial: trial.n_synthetic)
    named: dict[str, Any] = {"n_synthetic": largest.n_synthetic, "n_generator": sizes(largest)["n_generator"]}
    named["arm"] = _chosen_arm(choice, names[0])
    recipe, is_tuned = names[1][address(best)], _tuned(choice)
    images = (store.record(choice.on) or {"result": {}})["result"].get("n", 0)
    own = []
    for row in (row for trial, row in pairs if trial == best):
        where = {"recipe": best.recipe.model + TUNED + row["recipe"].removeprefix(recipe)} if is_tuned else {}
        more = {"real_budget": row["real_budget"] + images, "address": f"{row['address']}:chosen"}
        own.append({**row, **named, **where, **more})
    return own


def chosen_arms(study: Study) -> set[str]:
    """Return the names of the arms that a study's choices add to those of its trials."""
    names = arms(counted(study))
    return {_chosen_arm(choice, names) for choice in study.choices}


def _chosen_arm(choice: Choice, names: Names) -> str:
    """Return the words that all candidates' arms share, and that one was chosen, unless the recipe says so."""
    words = [names[address(trial)].split() for trial in choice.candidates]
    shared = " ".join(word for word in words[0] if all(word in other for other in words))
    return shared if _tuned(choice) else f"{shared}, best by validation"


def _tuned(choice: Choice) -> bool:
    return len({trial.recipe for trial in choice.candidates}) > 1


def in_target_images(tried: list[Tried]) -> list[Pair]:
    """Return the rows that price synthetic images in labelled images of the domain that is tested on.

    Beside N real images of one domain, k of the tested domain are ``added``: a ladder n_real = N + k of its own, under
    the name of its recipe, on which the trials with N real and m synthetic images stand too. Added real equivalents
    on it count target images. ``tried`` are trials with the test set and the row of each look at one.
    """
    priced = {(row["recipe"], trial.n_real) for trial, test, row in tried if _adds(trial, test)}
    found = []
    for trial, test, row in tried:
        if (row["recipe"], trial.n_real) in priced and (trial.added is None or _adds(trial, test)):
            more = trial.added.size if trial.added else 0
            own = {"n_real": trial.n_real + more, "recipe": f"{row['recipe']} in its own images beside {trial.n_real}"}
            found.append((trial, {**row, **own, "address": f"{row['address']}:target"}))
    return found


def _adds(trial: Trial, test: Dataset) -> bool:
    """Say whether the images that are added to the real ones are of the domain of a test set."""
    of = trial.added.of if trial.added else None
    return isinstance(of, Dataset) and (of.name, of.fingerprint) == (test.name, test.fingerprint)


def _tried(
    trials: tuple[Trial, ...], evaluations: tuple[Evaluation, ...], store: Store
) -> Iterator[tuple[Trial, Dataset, dict[str, Any]]]:
    """Yield every look at a test set: the trial, the set, and the record of that."""
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
    fitted = [held.seed for root in roots if (held := _fitted(root))]
    seen = [real for pool in pools for real in fitted_on(pool.generator)]
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


def _fitted(generator: Generator) -> ClosedSet | Gan | Translation | Lora | Pretrained | None:
    """Return what of a generator was fitted by us, last if in several stages."""
    if isinstance(generator, OpenSet):
        return generator.lora or (generator.base if isinstance(generator.base, Pretrained) else None)
    return generator if isinstance(generator, ClosedSet | Gan | Translation) else None


def _of_generators(trial: Trial, store: Store) -> dict[str, Any]:
    """Return the steps, parameters and seconds of the fits that a trial's pools come from, to plot worth against; what
    several of them differ in has no column, nor has a trial without any."""
    held = {fitted for pool in pools_of(trial) if (fitted := _fitted(root_generator(pool.generator)))}
    made = [(spec.steps, record) for spec in held if (record := store.record(spec))]
    found = {
        "generator_steps": {steps for steps, _ in made},
        "generator_parameters": {record["result"].get("parameters") for _, record in made},
        "generator_seconds": {record["seconds"] for _, record in made},
    }
    return {name: values.pop() for name, values in found.items() if len(values) == 1 and None not in values}


def per_image(rows: Iterable[dict[str, Any]], store: Store) -> dict[str, dict[str, np.ndarray]]:
    """Return, by address, the cross-entropy and the 0/1 error of every test image: ``(n_test,)`` each.

    Nothing for detectors: average precision is no mean over images.
    """
    classified = [row["address"] for row in rows if row["status"] == "ok" and "error" in row]
    return {name: _losses(store, name.split(":")[0]) for name in classified}  # what was chosen is a trial of its own


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
        **{name: result[name] for name in (*OF_SOME_CLASSIFIERS, *OF_OTHER_CLASSES) if name in result},
        **pool_facts.in_columns(result.get("pools") or ()),
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
        ranked = {"ranked_median": quantiles[2], "ranked_spread": quantiles[4] - quantiles[0]}
        numbers |= ranked | _relative(ranked, rounds[-1], store)
    return numbers


def _relative(ranked: dict[str, float], last: Translation, store: Store) -> dict[str, float]:
    """Return distances of a pool over the median distance of true objects in the critic's own test set.

    By one Gaussian: what its few detections do to any distance cancels. Nothing where that is not known or elsewhere.
    """
    critic = last.critic
    if critic is None or not tests_at_home(critic):
        return {}
    unit = (store.record(critic) or {"result": {}})["result"].get("distance_objects")
    return {f"{name}_relative": value / unit for name, value in ranked.items()} if unit else {}


def tests_at_home(trial: Trial) -> bool:
    """Say whether a trial's own test set is of the domain of its real images, which distances are told relative to."""
    of = trial.real.of if trial.real else None
    return isinstance(of, Dataset) and (of.name, of.fingerprint) == (trial.test.name, trial.test.fingerprint)


def test_labels(name: str, store: Store) -> np.ndarray:
    """Return the classes of the test images of a made trial: ``(n_test,)``."""
    return pq.read_table(store.file(name, "predictions.parquet"), columns=["label"])["label"].to_numpy()


def _losses(store: Store, name: str) -> dict[str, np.ndarray]:
    table = pq.read_table(store.file(name, "predictions.parquet"))
    labels = table["label"].to_numpy()
    column = table["probabilities"].combine_chunks()
    probabilities = column.flatten().to_numpy(zero_copy_only=False).reshape(len(labels), -1)
    of_label = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1.0)
    return {"cross_entropy": -np.log(of_label), "error": (probabilities.argmax(1) != labels).astype(float)}
