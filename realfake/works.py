"""What each kind of thing is made from, and what makes it: inputs out of the store, then a function that writes files.

How networks learn is in ``generators`` and ``tasks``; the process that it happens in, and Ray Train, in ``training``.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from realfake import samples
from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import (
    ClosedSet,
    DetectionRecipe,
    Evaluation,
    Pool,
    Subset,
    Translation,
    Trial,
    address,
    external_budget,
    order,
    real_budget,
    real_of,
)
from realfake.store import Store, StoreError
from realfake.values import SpecError

Report = Callable[[dict[str, Any]], None]
Trained = ClosedSet | Translation | Trial | Evaluation  # what is made in a lane
Work = Callable[[Path], dict[str, Any]]  # writes files into a folder and returns the result; its inputs are loaded
SIZES = ("n_real", "n_added", "n_synthetic", "n_generator", "real_budget", "external_budget")  # facts of a trial


def work_of(
    spec: Trained, store: Store, report: Report, accelerator: Any, training: Training, weights: Mapping[str, Path]
) -> Work:
    """Load what a spec is made from, and return what makes it.

    Raises what ``samples.load`` raises for inputs that are missing or corrupt, and StoreError when one diverged.
    """
    match spec:
        case Trial():
            return _trial_work(spec, store, report, accelerator, training, weights)
        case Evaluation():
            return _evaluation_work(spec, store, accelerator, training, weights)
        case Translation():
            return _translation_work(spec, store, report, accelerator, weights)
        case ClosedSet():
            return _generator_work(spec, store, report, accelerator)


def _generator_work(spec: ClosedSet, store: Store, report: Report, accelerator: Any) -> Work:
    """Load what a generator is fitted on, and return what fits it."""
    from realfake import generators

    real = samples.load(store, spec.real)
    checkpoint = store.partial(spec)

    def work(folder: Path) -> dict[str, Any]:
        try:
            fitted = generators.fit(spec, real, folder, report, checkpoint=checkpoint, accelerator=accelerator)
        except generators.Diverged as error:
            return {"status": "diverged", "step": error.step}
        return {"status": "ok", **fitted}

    return work


def _translation_work(
    spec: Translation, store: Store, report: Report, accelerator: Any, weights: Mapping[str, Path]
) -> Work:
    """Return what orders virtual images and fits their translator."""
    from realfake import generators
    from realfake.generators import translation

    def work(folder: Path) -> dict[str, Any]:
        try:
            device = str(accelerator.device)
            fitted = translation.fit(spec, store, folder, report, device=device, weights=weights)
        except generators.Diverged as error:
            return {"status": "diverged", "step": error.step}
        return {"status": "ok", **fitted}

    return work


def _evaluation_work(
    spec: Evaluation, store: Store, accelerator: Any, training: Training, weights: Mapping[str, Path]
) -> Work:
    """Load another test set, and return what tries a trial's model on it; of one that diverged there is nothing."""
    record = store.record(spec.of)
    if record is None:
        raise StoreError(f"{address(spec)} evaluates {address(spec.of)}, which is not made; run its study")
    facts = {key: record["result"].get(key) for key in (*SIZES, "budget")}
    if record["result"]["status"] == "diverged":
        return lambda folder: {"status": "diverged", "step": record["result"]["step"], **facts}
    on = samples.load(store, spec.on)
    _refuse_other_classes(spec, on, store)

    def work(folder: Path) -> dict[str, Any]:
        options = {"accelerator": accelerator, "training": training, "weights": weights}
        return {**_task(spec.of).evaluate(store.folder(spec.of), spec.of, on, folder, **options), **facts}

    return work


def _refuse_other_classes(spec: Evaluation, on: Samples, store: Store) -> None:
    own = (store.record(spec.of.test) or {"result": {"classes": on.classes}})["result"]["classes"]
    if tuple(own) != on.classes:
        raise SpecError(
            f"{address(spec)}: {spec.on.name!r} ({spec.on.split}) has the classes {on.classes}, and the trial was "
            f"tested on {tuple(own)}; evaluate it on a dataset of its own classes"
        )


def _task(trial: Trial) -> Any:
    if isinstance(trial.recipe, DetectionRecipe):
        from realfake.tasks import detection

        return detection
    from realfake.tasks import classification

    return classification


def _trial_work(
    trial: Trial, store: Store, report: Report, accelerator: Any, training: Training, weights: Mapping[str, Path]
) -> Work:
    """Load what a trial is trained and tested on, and return what trains it."""
    task = _task(trial)
    _refuse_diverged_generators(trial, store)
    real = _real(trial, store)
    synthetic = [samples.load(store, part) for part in trial.synthetic]
    test = samples.load(store, trial.test)
    facts = {**_facts(trial, store), "classes_missing": _classes_missing(real, synthetic, test)}

    def work(folder: Path) -> dict[str, Any]:
        options = {"accelerator": accelerator, "training": training, "weights": weights}
        return {**task.train(trial, real, synthetic, test, folder, report, **options), **facts}

    return work


def _real(trial: Trial, store: Store) -> Samples | None:
    """Return the real images of a trial: those of its subset, then those that are added."""
    parts = [samples.load(store, part) for part in (trial.real, trial.added) if part]
    return samples.joined(parts) if parts else None


def _facts(trial: Trial, store: Store) -> dict[str, Any]:
    """Return what a trial was made of, in numbers: every real image that it saw, directly or through a generator."""
    fitted_on = [real for pool in _pools(trial) if (real := real_of(pool.generator))]
    return {
        "n_real": trial.n_real,
        "n_added": trial.added.size if trial.added else 0,
        "n_synthetic": trial.n_synthetic,
        "n_generator": distinct_images(fitted_on, store) if fitted_on else 0 if trial.synthetic else None,
        "real_budget": distinct_images(real_budget(trial), store),
        "external_budget": external_budget(trial),
        "budget": trial.recipe.budget,
        "shards": [shard for part in trial.synthetic for shard in _shards(part, store)],
    }


def distinct_images(subsets: Iterable[Subset], store: Store) -> int:
    """Return how many different real images are in the union of subsets of datasets."""
    seen: set[tuple[str, int]] = set()
    for subset in subsets:
        whole = samples.load(store, subset.of)  # type: ignore[arg-type]
        rows = samples.subset_rows(whole, subset)
        seen |= {(address(subset.of), int(i)) for i in whole.ids[rows]}
    return len(seen)


def _pools(trial: Trial) -> list[Pool]:
    return [part.of for part in trial.synthetic if isinstance(part.of, Pool)]


def _shards(part: Subset, store: Store) -> list[dict[str, str]]:
    files = [samples.shard_name(first) for first in samples.shards_of(part.size)]
    digests = [samples.shard_digest(store.folder(part.of) / file) for file in files]
    return [{"pool": address(part.of), "file": f, "digest": d} for f, d in zip(files, digests, strict=True)]


def _classes_missing(real: Samples | None, synthetic: list[Samples], test: Samples) -> list[str]:
    parts = [part.labels if part.objects is None else part.objects.label for part in (real, *synthetic) if part]
    there = np.concatenate(parts)
    counts = np.bincount(there[there >= 0], minlength=len(test.classes))
    return [test.classes[i] for i in np.flatnonzero(counts == 0)]


def _refuse_diverged_generators(trial: Trial, store: Store) -> None:
    for held in order([trial]):
        record = store.record(held) if isinstance(held, ClosedSet | Translation) else None
        if record and record["result"].get("status") == "diverged":
            cure = "ClosedSet a lower learning_rate" if isinstance(held, ClosedSet) else "Translation fewer steps"
            raise StoreError(
                f"{address(trial)} needs images of {address(held)}, whose fit diverged at step "
                f"{record['result']['step']}: there are none; give {cure}"
            )
