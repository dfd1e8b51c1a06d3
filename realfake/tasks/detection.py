"""Object detection: the training loop, and the same look at a test set for a trial and for evaluations of it.

Which rows a step sees is in ``batches``, how in ``views``, which network in ``detectors``; what is measured of its
detections in ``detection_measures``. Nothing here selects anything on the test set.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from realfake.objects import Objects
from realfake.records import tests_at_home
from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import DetectionRecipe, Trial, address
from realfake.tasks.comparable_distances import true_medians
from realfake.tasks.course import Course, diverged, planned
from realfake.tasks.detection_measures import measures
from realfake.tasks.detectors import build_detector, load_detector, save_detector
from realfake.tasks.feature_gaussians import population_of, read_gaussian, read_population, write_population
from realfake.tasks.frozen_maps import frozen_maps
from realfake.tasks.views import Scenes, view
from realfake.values import SpecError

DETECTIONS = "detections.parquet"

__all__ = ["evaluate", "load", "read_gaussian", "train"]


def train(
    trial: Trial,
    real: Samples | None,
    synthetic: Sequence[Samples],
    test: Samples,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    *,
    accelerator: Any,
    training: Training,
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Train for exactly the recipe's budget, look at the test set once, and return what came out.

    Writes model.safetensors, history.jsonl, gaussian.npz (of the training population's features) and
    detections.parquet (of the test set) into ``folder``. A loss or a weight that is not finite gives ``{"status":
    "diverged", "step": …}``: a result, not an error. Initial weights come from torch's global random state, which the
    caller seeds. With several workers each one takes a slice of every batch and gradients are averaged. Weights are
    always channels last. Raises SpecError when the samples do not fit together or have no boxes.
    """
    recipe, workers, device = _recipe(trial), accelerator.num_processes, accelerator.device
    samples = _together(trial, real, synthetic, test)
    n_real = len(real) if real else 0
    schedule = planned(trial, n_real, len(samples), workers)

    model = build_detector(recipe, len(samples.classes), samples.images.shape[3], weights).to(device)
    scenes = Scenes.on(device, samples)
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.0, weight_decay=recipe.weight_decay, fused=True)
    network = accelerator.prepare(torch.compile(model) if training.compile else model)

    model.train()
    course = Course(schedule, accelerator, report)
    with accelerator.autocast():
        known = frozen_maps(model, scenes, schedule)
    for step in range(schedule.steps):
        whole = view(schedule, step, recipe.augment)
        course.begin(optimizer, step, whole.rows)
        part = whole.slice(accelerator.process_index, workers)
        among = (scenes.truth(whole), workers) if workers > 1 else None
        targets = model.targets(scenes.truth(part), torch.from_numpy(part.weights), scenes.size, device, among)
        with accelerator.autocast():
            loss = network(scenes.images(part), targets, *((known(part),) if known else ()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if result := course.end(step, loss):
            return result

    if not all(bool(weight.isfinite().all()) for weight in learned):
        return diverged(schedule.steps)
    if not accelerator.is_main_process:
        return {}
    course.write(folder)
    return {"status": "ok", **_judge(model, trial, samples, n_real, test, folder), **course.spent()}


def evaluate(
    made: Path,
    trial: Trial,
    on: Samples,
    folder: Path,
    *,
    accelerator: Any,
    training: Training,
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Try the detector of a made trial (its folder) on other images of the same classes; writes detections.parquet.

    Returns the measures of ``train``, by the trial's own Gaussian. Raises SpecError for other classes, images without
    boxes, and a trial without a model.
    """
    _check(trial, on, on)
    model = load(made, trial, accelerator.device)
    if model.classes != len(on.classes):
        raise SpecError(
            f"{address(trial)} tells {model.classes} classes apart, and these images have {len(on.classes)}; "
            "evaluate it on a dataset of its own classes"
        )
    home = true_medians(pq.read_table(made / DETECTIONS)) if tests_at_home(trial) else None
    return {"status": "ok", **_look(model, _recipe(trial), on, made / "gaussian.npz", folder, home)}


def load(folder: Path, trial: Trial, device: torch.device | str = "cpu") -> Any:
    """Return a trial's detector in evaluation mode. Raises SpecError when there is none because it diverged."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise SpecError(f"{address(trial)} has no model in {folder}, as when it diverged; lower its learning_rate")
    return load_detector(path, _recipe(trial), device)


def _judge(model: Any, trial: Trial, samples: Samples, n_real: int, test: Samples, folder: Path) -> dict[str, Any]:
    """Save the model and the Gaussian of what it finds in its training images, then look at the test set."""
    recipe = _recipe(trial)
    save_detector(model, folder / "model.safetensors")
    fitted_on = samples if recipe.distance.fitted_on == "all" else samples.take(slice(0, n_real))
    write_population(folder / "gaussian.npz", population_of(model, fitted_on, recipe), recipe.distance.fitted_on)
    return _look(model, recipe, test, folder / "gaussian.npz", folder, {} if tests_at_home(trial) else None)


def _look(
    model: Any, recipe: DetectionRecipe, test: Samples, gaussian: Path, folder: Path, home: dict[str, float] | None
) -> dict[str, Any]:
    found, table = measures(model, test, read_population(gaussian), recipe, home)
    pq.write_table(table, folder / DETECTIONS)
    return found


def _recipe(trial: Trial) -> DetectionRecipe:
    if not isinstance(trial.recipe, DetectionRecipe):
        raise SpecError(f"{address(trial)} is to find objects, and its recipe is a Recipe; write a DetectionRecipe")
    return trial.recipe


def _together(trial: Trial, real: Samples | None, synthetic: Sequence[Samples], test: Samples) -> Samples:
    """Return real and synthetic samples one after the other; raises SpecError if any do not match the test set."""
    parts = ([real] if real else []) + list(synthetic)
    for part in (*parts, test):
        _check(trial, part, test)
        if part is not test and part.images.shape[1:] != parts[0].images.shape[1:]:
            raise SpecError(
                f"{address(trial)}: training images are {part.images.shape[1:]} and {parts[0].images.shape[1:]} "
                "(height, width, channels), and a batch needs one size; see Dataset(pixels=…)"
            )
    images, labels, ids = (np.concatenate([getattr(p, name) for p in parts]) for name in ("images", "labels", "ids"))
    objects = Objects.joined([part.objects for part in parts if part.objects is not None])
    return Samples(images, labels, ids, test.classes, objects)


def _check(trial: Trial, part: Samples, test: Samples) -> None:
    if part.objects is None:
        raise SpecError(
            f"{address(trial)} is to find objects, and some of its images come without boxes; give a dataset with boxes"
        )
    if part.classes != test.classes or part.images.shape[3] != test.images.shape[3]:
        raise SpecError(
            f"{address(trial)}: training images have {part.images.shape[3]} channels and classes {part.classes}, test "
            f"images {test.images.shape[3]} and {test.classes}; a trial needs the same of both"
        )
