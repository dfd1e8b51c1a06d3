"""From the records of a study to its answer: table, analysis, report, MLflow. All of it can be made again from records.

What is computed is kept beside the study under the digest of what it was computed from, so that a complete study
answers in seconds. How numbers are fitted is in ``fits``, drawn in ``report``, mirrored in ``tracking``.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from realfake import lanes, pooled, records, tracking
from realfake.pictured import contact_sheet as contact_sheet
from realfake.pictured import copy_rates, drawn, fidelities, volumes
from realfake.privacy import kept_membership
from realfake.resources import Where
from realfake.samples import SHARD_ROWS, shard_made, shard_name
from realfake.spec import (
    Dataset,
    DetectionRecipe,
    Recipe,
    Spec,
    Study,
    Trial,
    address,
    order,
)
from realfake.store import NO_ACCESS, NO_SPACE, Store, explain, write_whole
from realfake.studyfile import StudyFile
from realfake.trial_files import costed, read_images
from realfake.values import canonical

REVISION = 6  # of what is kept here: raised when the same table must give other numbers


def answer(file: StudyFile, where: Where) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Return the table, the analysis and the facts of a study, from what is made; analysed anew only if it changed."""
    store = Store(where.store)
    rows = records.of_study(file.study, store)
    likeness = fidelities(file, store)
    key = digest(rows, file.study, likeness)
    kept = _kept(store.study_folder(file.study.name) / "fits.json")
    if kept.get("key") != key:
        kept = {"key": key, "analysis": _analyse(file, rows, store, likeness), "copy_rates": copy_rates(file, store)}
        write_whole(store.study_folder(file.study.name) / "fits.json", json.dumps(kept, indent=1))
    return rows, kept["analysis"], facts(file, store, kept["copy_rates"], where.tracking_uri())


def refit(file: StudyFile, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the analysis of a study and the facts from the table beside it (``trial_files``): no store is asked.

    Raises FitError for a table of another study.
    """
    from realfake.planning.adaptive import grown_from
    from realfake.statistics.trial_table import FitError, read_csv

    table = read_csv(str(path))
    named = [str(name).split(":")[0] for name in table.get("address", ())]
    study = grown_from(file.study, table.to_dict("records")) if file.study.adaptive else file.study
    strange = set(named) - {address(spec) for spec in (*study.trials, *study.evaluations)}
    if strange or not named:
        raise FitError(
            f"{path} is not a table of {file.path}: {len(strange):,} of its {len(named):,} trials are none of the "
            f"study; fit it alone (realfake fit --table {path})"
        )
    analysis = analysed(study, table, read_images(path), context(file, None))
    return analysis, {"study": study.name, "question": file.question}


def refuse_unmade(file: StudyFile, where: Where) -> None:
    """Raise FitError where no trial of a study is made, with what to type instead."""
    from realfake.statistics.trial_table import FitError

    store, beside = Store(where.store), file.path.with_suffix(".csv")
    store.refresh(file.study.trials)
    if not any(map(store.has, file.study.trials)):
        hint = f", or fit the table beside it: realfake fit {file.path} --table {beside}" if beside.is_file() else ""
        raise FitError(f"{store.place} holds no trial of {file.path}; make them: realfake run {file.path}{hint}")


def digest(rows: list[dict[str, Any]], study: Study, likeness: list[dict[str, Any]] | None = None) -> str:
    """Return the digest of a table of trials, of the claims about it, and of the revision of the analysis.

    With ``likeness``, what was measured of the images of pools, of that too.
    """
    from realfake.statistics.analysis import REVISION as OF_ANALYSIS

    claims = [canonical(declared) for declared in (study.claims, study.effects) if declared]
    held = [REVISION, OF_ANALYSIS, rows, *claims, *([likeness] if likeness else [])]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _kept(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _analyse(
    file: StudyFile, rows: list[dict[str, Any]], store: Store, likeness: list[dict[str, Any]]
) -> dict[str, Any]:
    import pandas as pd

    images = records.per_image(rows, store)
    table = pd.DataFrame(costed(rows, file.study, store))
    document = analysed(file.study, table, images, context(file, store), likeness)
    return {**document, **pooled.by_class(file.study, table, images, store, likeness)}


def analysed(
    study: Study, table: Any, images: Any, words: dict[str, Any], likeness: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return all that a table of a study's trials says, its declared claims judged; no store is asked.

    ``images`` are the results of single test images (``records.per_image``; None: not known, and then no interval holds
    for other test images than these), ``words`` are for sentences (``context``), ``likeness`` is what was measured of
    the images of pools (``fidelities``).
    """
    from realfake.statistics.analysis import analyse
    from realfake.statistics.components import variance_components
    from realfake.statistics.effects import judge_effects
    from realfake.statistics.robustness import robustness
    from realfake.statistics.slopes import scaling_slopes

    claims, effects = study.claims, study.effects
    document = analyse(table, per_image=images, context=words, claims=claims, others=len(effects))
    judged = [*document.get("claims", []), *judge_effects(effects, table.to_dict("records"), others=len(claims))]
    more = {"robustness": robustness(table), "components": variance_components(table)}
    more |= {"slopes": scaling_slopes(table, per_image=images), "pools": pooled.by_pool(study, table, likeness or [])}
    return {**document, "claims": judged, **more}


def context(file: StudyFile, store: Store | None) -> dict[str, Any]:
    """Return the words that the plain sentences need: data, model, init, budget, and the generator of each arm.

    Without a store, datasets say what their specs do, and how many images there are to draw from is not known.
    """
    trial = file.study.trials[0]
    recipe, test = trial.recipe, trial.test
    if file.study.evaluations and trial.real:  # recipes then name the test sets
        test = trial.real.of
    assert isinstance(test, Dataset)
    pixels = _result(test, store).get("pixels", test.pixels)
    return {
        "data": f"{test.name} at {pixels} px" if pixels else test.name,
        "model": recipe.model,
        "init": f"init {recipe.init.name}" if recipe.init else "from scratch",
        "budget": _budget(recipe),
        "generators": {name: name for name in set(records.arms(file.study.trials).values())},
        "n_available": max((_size(subset.of, store) for t in file.study.trials if (subset := t.real)), default=0),
    }


def _size(dataset: Any, store: Store | None) -> int:
    return _result(dataset, store).get("n", 0)


def _result(spec: Spec, store: Store | None) -> dict[str, Any]:
    return ((store.record(spec) if store else None) or {"result": {}})["result"]


def _budget(recipe: Recipe) -> str:
    rule, amount = recipe.budget.split("=")
    images = "images not varied" if recipe.augment == "none" else f"augmented by {recipe.augment}"
    return f"{float(amount):,g} {rule.replace('_', ' ')}, {images}"


# -------------------------------------------------------------------------------------------------------------- facts


def facts(file: StudyFile, store: Store, copy_rates: list[dict[str, Any]], uri: str = "") -> dict[str, Any]:
    """Return what the report says beside the numbers: data and licences, copies, stages, environments, commands."""
    trials = file.study.trials
    made = [store.record(spec) for spec in file.study.wanted]
    return {
        "study": file.study.name,
        "question": file.question,
        "data": [_data(spec, store) for spec in order([file.study]) if isinstance(spec, Dataset)],
        "copy_rates": copy_rates,
        "drawn": drawn(file, store),
        "environments": _environments(trials, store),
        "membership": kept_membership(file.study, store),
        "fidelity": fidelities(file, store),
        "stages": _stages(file.study.wanted, store),
        "runs": lanes.account(file.study.wanted, store.study_folder(file.study.name)),
        "missing": sum(record is None for record in made),
        "diverged": sum(record is not None and record["result"]["status"] == "diverged" for record in made),
        "commands": {
            "again": f"realfake run {file.path}",
            "curves": f"realfake curves --study {file.study.name}",
            **({"mlflow ui": tracking.ui_command(uri)} if uri else {}),
        },
    }


def _data(dataset: Dataset, store: Store) -> dict[str, Any]:
    result = (store.record(dataset) or {"result": {}})["result"]
    shown = {key: result.get(key) for key in ("n", "licence", "source", "problems", "pixels")}
    return {"name": dataset.name, "split": dataset.split, "address": address(dataset), **shown}


def _environments(trials: tuple[Trial, ...], store: Store) -> list[dict[str, Any]]:
    """Count the trials of every environment, with the arms and volumes that it made: numbers of one and the other
    should not differ for that reason."""
    found: dict[str, dict[str, Any]] = {}
    arm = records.arms(trials)
    for trial in trials:
        record = store.record(trial)
        if record is not None:
            environment = record["result"].get("environment", {})
            new = {**environment, "trials": 0, "arms": set(), "volumes": set()}
            entry = found.setdefault(json.dumps(environment, sort_keys=True), new)
            entry["trials"] += 1
            entry["arms"].add(arm[address(trial)])
            entry["volumes"].add(trial.n_synthetic)
    return [{**entry, "arms": sorted(entry["arms"]), "volumes": sorted(entry["volumes"])} for entry in found.values()]


def _stages(wanted: tuple[Spec, ...], store: Store) -> list[dict[str, Any]]:
    """Sum the seconds that the things of a study took to make, by kind, over all processes."""
    seconds: dict[str, list[float]] = {"datasets": [], "generators": [], "shards": [], "trials": []}
    seconds["evaluations"] = []
    names = {"dataset": "datasets", "trial": "trials", "evaluation": "evaluations", "audit": "evaluations"}
    names["fidelity"] = "evaluations"
    for spec in order(wanted):
        if spec.made == "record" and (record := store.record(spec)):
            seconds[names.get(spec.kind, "generators")].append(record["seconds"])
    for pool, size in volumes(wanted).items():
        here = store.root / address(pool)  # of an object store, what this machine has seen: nothing is fetched for it
        paths = [here / shard_name(first) for first in range(0, size, SHARD_ROWS)]
        seconds["shards"] += [shard_made(path).get("seconds", 0.0) for path in paths if path.is_file()]
    return [{"stage": k, "things": len(v), "seconds": sum(v)} for k, v in seconds.items() if v]


def detections(study: Study, store: Store) -> Any:
    """Return what the report says of detectors; None for a study of classifiers."""
    if not any(isinstance(trial.recipe, DetectionRecipe) for trial in study.trials):
        return None
    from realfake import detector_facts

    return detector_facts.gather(study, store)


# ------------------------------------------------------------------------------------------------ report and tracking


@contextlib.contextmanager
def writing(where: Where) -> Iterator[None]:
    """Raise StoreError, one sentence, where the disk takes nothing."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE + NO_ACCESS:
            raise
        raise explain(error, Store(where.store).root) from error


def publish(file: StudyFile, where: Where, rows: list[dict[str, Any]], analysis: dict, said: dict) -> Path:
    """Write the report, unless it is there for the same analysis; return its path."""
    store = Store(where.store)
    folder = store.study_folder(file.study.name)
    stamp = folder / "report.digest"
    key = digest(rows, file.study) + hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    if not (folder / "report.html").is_file() or not stamp.is_file() or stamp.read_text() != key:
        import pandas as pd

        from realfake import report

        pd.DataFrame(rows).to_parquet(folder / "trials.parquet")
        write_whole(folder / "study.json", json.dumps([address(t) for t in file.study.trials], indent=1))
        seen = {"contact_sheet": contact_sheet(file, store), "detections": detections(file.study, store)}
        report.write(folder, pd.DataFrame(rows), analysis, {**said, **seen})
        write_whole(stamp, key)
        store.publish(file.study.name)
    return folder / "report.html"


def mirror(
    file: StudyFile, where: Where, rows: list[dict[str, Any]], analysis: dict, *, anew: bool = False
) -> dict[str, Any] | None:
    """Mirror a study into MLflow; None if the same analysis has been mirrored to the same place already.

    ``anew`` mirrors it even so: of two runs at once, both have logged trials, and the last one removes what is double.
    Raises TrackingError if MLflow is out of reach; records are safe, and ``realfake track`` does it later.
    """
    store = Store(where.store)
    proof = store.study_folder(file.study.name) / "tracked.json"
    members = kept_membership(file.study, store)
    key = {"uri": where.tracking_uri(), "digest": digest(rows, file.study, fidelities(file, store))}
    key |= {"attacks": members["key"]} if members else {}
    if not anew and _kept(proof) == key:
        return None
    import pandas as pd

    tried = (*records.counted(file.study), *file.study.evaluations)
    made = [record for spec in tried if (record := store.record(spec))]
    counts = tracking.track(
        file.study.name,
        file.question,
        made,
        pd.DataFrame(rows),
        analysis,
        uri=where.tracking_uri(),
        artifacts=store.study_folder(file.study.name),
        datasets=tracked_datasets(file, store),
        membership=members,
    )
    write_whole(proof, json.dumps(key))
    return counts


def tracked_datasets(file: StudyFile, store: Store) -> dict[str, dict[str, Any]]:
    """Return what MLflow is told of the datasets of a study, by address; the digest is that of the address."""
    found = [spec for spec in order([file.study]) if isinstance(spec, Dataset)]
    return {address(spec): {**_data(spec, store), "digest": address(spec).split("-")[1]} for spec in found}


def state(specs: tuple[Spec, ...], store: Store) -> dict[str, dict[str, int]]:
    """Return, for every kind that has records, how many things are made of how many that the specs name."""
    found: dict[str, dict[str, int]] = {}
    store.refresh(order(specs))
    for spec in order(specs):
        if spec.made == "record":
            entry = found.setdefault(spec.kind, {"made": 0, "of": 0})
            entry["of"] += 1
            entry["made"] += store.has(spec)
    return found
