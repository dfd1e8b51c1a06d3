"""What each kind of thing is made from, and what makes it: inputs out of the store, then a function that writes files.

How networks learn is in ``generators`` and ``tasks``; the process that it happens in, and Ray Train, in ``training``.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from realfake import pool_facts, samples
from realfake.classes import shared
from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import (
    Audit,
    Captions,
    ClosedSet,
    DetectionRecipe,
    Evaluation,
    Fidelity,
    Gan,
    Lora,
    Pool,
    Pretrained,
    Prompts,
    Subset,
    Translation,
    Trial,
    address,
    external_budget,
    fitted_on,
    order,
    real_budget,
)
from realfake.store import Store, StoreError
from realfake.values import SpecError

Report = Callable[[dict[str, Any]], None]
Trained = (  # in a lane
    ClosedSet | Gan | Translation | Pretrained | Lora | Captions | Trial | Evaluation | Audit | Fidelity
)
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
        case Audit():
            return _audit_work(spec, store, accelerator, training, weights)
        case Fidelity():
            return _fidelity_work(spec, store, accelerator, weights)
        case Translation():
            return _translation_work(spec, store, report, accelerator, weights)
        case ClosedSet() | Gan() | Pretrained() | Lora() | Captions():
            return _generator_work(spec, store, report, accelerator, weights)


def _generator_work(
    spec: ClosedSet | Gan | Pretrained | Lora | Captions,
    store: Store,
    report: Report,
    accelerator: Any,
    weights: Mapping[str, Path],
) -> Work:
    """Load what a generator, or what it needs, is fitted on, and return what fits it."""
    from realfake import generators

    real = samples.load(store, spec.of if isinstance(spec, Captions) else spec.real)
    options = {"accelerator": accelerator, **_fitting_options(spec, real, store, weights)}

    def work(folder: Path) -> dict[str, Any]:
        try:
            fitted = generators.fit(spec, real, folder, report, **options)
        except generators.Diverged as error:
            return {"status": "diverged", "step": error.step}
        return {"status": "ok", **fitted}

    return work


def _fitting_options(
    spec: ClosedSet | Gan | Pretrained | Lora | Captions, real: Samples, store: Store, weights: Mapping[str, Path]
) -> dict[str, Any]:
    """Return what a kind's own ``fit`` takes beside its samples."""
    match spec:
        case ClosedSet() | Gan():
            return {"checkpoint": store.partial(spec)}
        case Pretrained():
            without = [samples.load_dataset(store, dataset) for dataset in spec.without]
            captions = _captions(spec.prompts, real, store)
            return {"checkpoint": store.partial(spec), "without": without, "captions": captions}
        case Lora():
            captions = _captions(spec.prompts, real, store)
            return {"checkpoint": store.partial(spec), "store": store, "weights": weights, "captions": captions}
        case Captions():
            return {"weights": weights}


def _captions(prompts: Prompts, real: Samples, store: Store) -> list[str] | None:
    """Return the caption of every image; raises SpecError when they are of other images."""
    if prompts.captions is None:
        return None
    from realfake.generators import captioning

    known = captioning.load(prompts.captions, store)
    if lacking := [int(i) for i in real.ids if int(i) not in known]:
        raise SpecError(
            f"{address(prompts.captions)} has no caption for {len(lacking)} of {len(real)} images (the first is "
            f"{lacking[0]}); caption the subset that is used: Captions(of=…)"
        )
    return [known[int(i)] for i in real.ids]


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
    record = _made(spec, store)
    facts = {key: record["result"].get(key) for key in (*SIZES, "budget", "pools")}
    if record["result"]["status"] == "diverged":
        return lambda folder: {"status": "diverged", "step": record["result"]["step"], **facts}
    on = samples.load(store, spec.on)
    classes = _own_classes(spec, on, store)

    def work(folder: Path) -> dict[str, Any]:
        options = {"accelerator": accelerator, "training": training, "weights": weights, **classes}
        return {**_task(spec.of).evaluate(store.folder(spec.of), spec.of, on, folder, **options), **facts}

    return work


def _audit_work(spec: Audit, store: Store, accelerator: Any, training: Training, weights: Mapping[str, Path]) -> Work:
    """Load the audited images, and return what asks a trial's model for its probabilities of them: no metrics of it."""
    record = _made(spec, store)
    if record["result"]["status"] == "diverged":
        return lambda folder: {"status": "diverged", "step": record["result"]["step"]}
    on = samples.load(store, spec.on)

    def work(folder: Path) -> dict[str, Any]:
        options = {"accelerator": accelerator, "training": training, "weights": weights}
        _task(spec.of).evaluate(store.folder(spec.of), spec.of, on, folder, **options)
        return {"status": "ok", "n_audited": len(on), "canaries": spec.on.canaries}

    return work


def _fidelity_work(spec: Fidelity, store: Store, accelerator: Any, weights: Mapping[str, Path]) -> Work:
    """Return what measures a pool beside real images; of one whose judge diverged nothing is measured."""
    records = [store.record(judge) for judge in spec.judges]
    for record in (record for record in records if record and record["result"]["status"] == "diverged"):
        step = record["result"]["step"]
        return lambda folder: {"status": "diverged", "step": step}
    from realfake.fidelity import pools

    def work(folder: Path) -> dict[str, Any]:
        return {"status": "ok", **pools.measured(spec, store, weights=weights, device=str(accelerator.device))}

    return work


def _made(spec: Evaluation | Audit, store: Store) -> dict[str, Any]:
    record = store.record(spec.of)
    if record is None:
        raise StoreError(f"{address(spec)} evaluates {address(spec.of)}, which is not made; run its study")
    return record


def _own_classes(spec: Evaluation, on: Samples, store: Store) -> dict[str, Any]:
    """Return the classes of a classifier where the test set has others, to be judged on those that both have.

    Raises SpecError where they share fewer than two, and for a detector.
    """
    own = tuple((store.record(spec.of.test) or {"result": {"classes": on.classes}})["result"]["classes"])
    if own == on.classes:
        return {}
    if isinstance(spec.of.recipe, DetectionRecipe):
        raise SpecError(
            f"{address(spec)}: {spec.on.name!r} ({spec.on.split}) has the classes {on.classes}, and the detector was "
            f"tested on {own}; evaluate it on a dataset of its own classes"
        )
    shared(own, on.classes, whose=address(spec), name=f"{spec.on.name!r} ({spec.on.split})")
    return {"classes": own}


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
    fitted = [real for pool in _pools(trial) for real in fitted_on(pool.generator)]
    return {
        "n_real": trial.n_real,
        "n_added": trial.added.size if trial.added else 0,
        "n_synthetic": trial.n_synthetic,
        "n_generator": distinct_images(fitted, store) if fitted else 0 if trial.synthetic else None,
        "real_budget": distinct_images(real_budget(trial), store),
        "external_budget": external_budget(trial),
        "budget": trial.recipe.budget,
        "pools": [_pool(part, store) for part in trial.synthetic],
        "shards": [shard for part in trial.synthetic for shard in _shards(part, store)],
    }


def distinct_images(subsets: Iterable[Subset], store: Store) -> int:
    """Return how many different real images are in the union of subsets of datasets."""
    seen: set[tuple[str, int]] = set()
    for subset in subsets:
        whole = samples.load_known(store, subset.of)  # type: ignore[arg-type]
        rows = samples.subset_rows(whole, subset)
        seen |= {(address(subset.of), int(i)) for i in whole.ids[rows]}
    return len(seen)


def _pools(trial: Trial) -> list[Pool]:
    return [part.of for part in trial.synthetic if isinstance(part.of, Pool)]


def _pool(part: Subset, store: Store) -> dict[str, Any]:
    return {"pool": address(part.of), "images": part.size, **pool_facts.of_pool(store, address(part.of))}


def _shards(part: Subset, store: Store) -> list[dict[str, str]]:
    files = [samples.shard_name(first) for first in samples.shards_of(part.size)]
    digests = [samples.shard_digest(store.file(part.of, file)) for file in files]
    return [{"pool": address(part.of), "file": f, "digest": d} for f, d in zip(files, digests, strict=True)]


def _classes_missing(real: Samples | None, synthetic: list[Samples], test: Samples) -> list[str]:
    parts = [part.labels if part.objects is None else part.objects.label for part in (real, *synthetic) if part]
    there = np.concatenate(parts)
    counts = np.bincount(there[there >= 0], minlength=len(test.classes))
    return [test.classes[i] for i in np.flatnonzero(counts == 0)]


def _refuse_diverged_generators(trial: Trial, store: Store) -> None:
    for held in order([trial]):
        fitted = isinstance(held, ClosedSet | Gan | Translation | Pretrained | Lora)
        record = store.record(held) if fitted else None
        if record and record["result"].get("status") == "diverged":
            cure = "fewer steps" if isinstance(held, Translation) else "a lower learning_rate"
            raise StoreError(
                f"{address(trial)} needs images of {address(held)}, whose fit diverged at step "
                f"{record['result']['step']}: there are none; give {type(held).__name__} {cure}"
            )
