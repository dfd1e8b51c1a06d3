"""Image classification: the training loop, and the metrics of its one look at the sealed test set.

Which rows a step sees is in ``batches``, which network in ``models``; which samples a trial gets, and on what hardware,
is the caller's business (``training``). Nothing here selects anything on the test set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import Trial, address
from realfake.tasks import other_classes
from realfake.tasks.batches import Batch, batch
from realfake.tasks.course import Course, diverged, planned
from realfake.tasks.models import build_model, pixel_statistics
from realfake.tasks.strong import randaugment
from realfake.values import SpecError

CLIP = 1e-7  # a probability of 0 for the true class would make the cross-entropy of the whole test set infinite
TEST_BATCH = 256

__all__ = ["build_model", "metrics", "train"]


def metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return error and cross-entropy of class probabilities ``(n, k)`` for the true labels ``(n,)``.

    ``error`` is the share of samples whose most probable class is wrong; ``cross_entropy`` is in nats, of probabilities
    clipped to [1e-7, 1]; ``per_class_error`` has None for a class without test samples. Among more than five classes
    there is ``top5_error``: the share whose true class is not among the five most probable.
    """
    some = {} if probabilities.shape[1] <= 5 else {"top5_error": _top_error(probabilities, labels, 5)}
    wrong = probabilities.argmax(axis=1) != labels
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    by_class = [wrong[labels == c] for c in range(probabilities.shape[1])]
    return {
        "error": float(wrong.mean()),
        "cross_entropy": float(-np.log(true.clip(CLIP, 1)).mean()),
        "per_class_error": [float(of_class.mean()) if len(of_class) else None for of_class in by_class],
        **some,
        "n_test": len(labels),
    }


def _top_error(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    best = np.argpartition(probabilities, -k, axis=1)[:, -k:]
    return float(1 - (best == labels[:, None]).any(axis=1).mean())


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

    Writes model.safetensors, history.jsonl (at most 100 lines: step, mean loss since the last line, learning rate) and
    predictions.parquet into ``folder``. A loss or a prediction that is not finite gives ``{"status": "diverged",
    "step": …}`` and no metrics: a result, not an error. Initial weights come from torch's global random state, which
    the caller seeds. With several workers each one takes a slice of every batch and gradients are averaged; batch
    normalisation then sees its slice only, so numbers depend on their number, which is why records hold it.
    Raises SpecError when the samples do not fit together.
    """
    recipe, workers, device = trial.recipe, accelerator.num_processes, accelerator.device
    samples = _together(trial, real, synthetic, test)
    schedule = planned(trial, len(real) if real else 0, len(samples), workers, each=2)  # batch normalisation needs two

    pixels, channels = samples.images.shape[1], samples.images.shape[3]
    model = build_model(recipe, len(samples.classes), channels, pixels, weights).to(device)
    images = Images.on(device, samples, model, training.channels_last)
    if training.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = _features(model, images, accelerator) if recipe.frozen else None
    learner: Any = model.get_classifier() if recipe.frozen else model  # type: ignore[operator]
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.0, weight_decay=recipe.weight_decay, fused=True)
    network = accelerator.prepare(torch.compile(learner) if training.compile else learner)
    labels = torch.from_numpy(samples.labels).to(device)

    learner.train()
    course = Course(schedule, accelerator, report)
    for step in range(schedule.steps):
        whole = batch(schedule, step, pixels)
        course.begin(optimizer, step, whole.rows)
        part = whole.slice(accelerator.process_index, workers)
        rows = torch.from_numpy(part.rows).to(device)
        logits = network(images.seen(part) if features is None else features[rows])
        each = functional.cross_entropy(logits, labels[rows], reduction="none")
        loss = (each * torch.from_numpy(part.weights).to(device)).sum() * (workers / len(whole.rows))
        optimizer.zero_grad()
        loss.backward()  # accelerate's own looks for packages on disk every step (0.4 ms); bf16 needs no scaling
        optimizer.step()
        if result := course.end(step, loss):
            return result

    if not accelerator.is_main_process:
        return {}
    probabilities = predict(model, Images.on(device, test, model, training.channels_last), accelerator)
    if not np.isfinite(probabilities).all():
        return diverged(schedule.steps)
    course.write(folder)
    _write(folder, model, probabilities, test)
    return {"status": "ok", **metrics(probabilities, test.labels), **course.spent()}


def evaluate(
    made: Path,
    trial: Trial,
    on: Samples,
    folder: Path,
    *,
    accelerator: Any,
    training: Training,
    weights: Mapping[str, Path] | None = None,
    classes: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Try the model of a made trial (its folder) on other images, and write its predictions.

    ``classes`` are those of the trial where they are not the test set's (None: the same): it is then judged on the
    images of those that both have, see ``other_classes``. Returns the metrics of ``train``. Raises RuntimeError when
    the images are of other channels, and SpecError when fewer than two classes are shared.
    """
    from safetensors.torch import load_file

    seen = on if classes is None else other_classes.known_images(on, classes)
    model = build_model(trial.recipe, len(seen.classes), on.images.shape[3], on.images.shape[1], weights)
    model.load_state_dict(load_file(made / "model.safetensors"))
    model = model.to(accelerator.device)
    if training.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    probabilities = predict(model, Images.on(accelerator.device, seen, model, training.channels_last), accelerator)
    if classes is None:
        _write_predictions(folder, probabilities, on.ids, on.labels)
        return {"status": "ok", **metrics(probabilities, on.labels)}
    found, masked, labels = other_classes.judged(probabilities, seen, on, made, metrics)
    _write_predictions(folder, masked, seen.ids, labels, full=probabilities.argmax(axis=1))
    return {"status": "ok", **found}


# ------------------------------------------------------------------------------------------------------ what models see


@dataclass(frozen=True)
class Images:
    """Images ``(n, height, width, channels)`` uint8 on a device, and how their pixels become a model's input."""

    pixels: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor
    channels_last: bool

    @classmethod
    def on(cls, device: torch.device, samples: Samples, model: nn.Module, channels_last: bool) -> "Images":
        """Put samples on a device, with the pixel statistics of the model."""
        mean, std = (s.flatten().to(device) for s in pixel_statistics(model, samples.images.shape[-1]))
        return cls(torch.from_numpy(samples.images).to(device), 1 / (255 * std), -mean / std, channels_last)

    def __len__(self) -> int:
        return len(self.pixels)

    def seen(self, part: Batch) -> torch.Tensor:
        """Return a batch ``(b, channels, height, width)`` float as it is seen: shifted, flipped, strongly augmented."""
        moved = self._moved(part)
        return self._input(randaugment(moved, part.strong) if len(part.strong) else moved)

    def _moved(self, part: Batch) -> torch.Tensor:
        rows = torch.from_numpy(part.rows).to(self.pixels.device)
        if not (part.shift.any() or part.flip.any()):
            return self.pixels[rows]
        height, width = self.pixels.shape[1:3]
        down = _source(height, part.shift[:, 0], np.zeros_like(part.flip))
        right = _source(width, part.shift[:, 1], part.flip)
        down, right = (torch.from_numpy(places).to(rows.device) for places in (down, right))
        return self.pixels[rows[:, None, None], down[:, :, None], right[:, None, :]]

    def plain(self, first: int, last: int) -> torch.Tensor:
        """Return images first … last − 1 as they are, ``(b, channels, height, width)`` float."""
        return self._input(self.pixels[first:last])

    def _input(self, pixels_bhwc: torch.Tensor) -> torch.Tensor:
        x_bchw = (pixels_bhwc * self.scale + self.offset).permute(0, 3, 1, 2)
        return x_bchw if self.channels_last else x_bchw.contiguous()


def _source(size: int, shift: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Return which line ``(b, size)`` of an image each line of its view shows; beyond the border it is mirrored."""
    lines = np.arange(size)[None] - shift[:, None]
    lines = (size - 1) - np.abs((size - 1) - np.abs(lines))
    return np.where(flip[:, None], size - 1 - lines, lines)


def _together(trial: Trial, real: Samples | None, synthetic: Sequence[Samples], test: Samples) -> Samples:
    """Return real and synthetic samples one after the other; raises SpecError if any do not match the test set."""
    parts = ([real] if real else []) + list(synthetic)
    for part in parts:
        if part.images.shape[1:] != test.images.shape[1:] or part.classes != test.classes:
            raise SpecError(
                f"{address(trial)}: training images are {part.images.shape[1:]} (height, width, channels) of "
                f"{len(part.classes)} classes, test images {test.images.shape[1:]} of {len(test.classes)}; "
                "a trial needs the same size, channels and classes: see Dataset(pixels=…)"
            )
    images, labels, ids = (np.concatenate([getattr(p, name) for p in parts]) for name in ("images", "labels", "ids"))
    return Samples(images, labels, ids, test.classes)


# ------------------------------------------------------------------------------------------- looking without learning


@torch.no_grad()
def predict(model: nn.Module, images: Images, accelerator: Any) -> np.ndarray:
    """Return class probabilities ``(n, k)`` float32."""
    model.eval()
    with accelerator.autocast():
        logits = [model(images.plain(i, i + TEST_BATCH)).float() for i in range(0, len(images), TEST_BATCH)]
    return torch.cat(logits).softmax(dim=1).cpu().numpy()


@torch.no_grad()
def _features(model: Any, images: Images, accelerator: Any) -> torch.Tensor:
    """Return what the last layer of a frozen model sees of every image ``(n, features)``, computed once.

    The body stays in evaluation mode for good: neither its weights nor its running statistics move.
    """
    model.eval()
    starts = range(0, len(images), TEST_BATCH)
    with accelerator.autocast():
        bodies = (model.forward_features(images.plain(i, i + TEST_BATCH)) for i in starts)
        return torch.cat([model.forward_head(body, pre_logits=True).float() for body in bodies])


def _write(folder: Path, model: nn.Module, probabilities: np.ndarray, test: Samples) -> None:
    from safetensors.torch import save_file

    save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    _write_predictions(folder, probabilities, test.ids, test.labels)


def _write_predictions(
    folder: Path, probabilities: np.ndarray, ids: np.ndarray, labels: np.ndarray, full: np.ndarray | None = None
) -> None:
    """Write what the model said of each image; ``full (n,)`` its class among all, where probabilities are of some."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), probabilities.shape[1])
    columns = {"id": ids, "label": labels.astype(np.int32), "probabilities": rows}
    if full is not None:
        columns["full_prediction"] = full.astype(np.int32)
    pq.write_table(pa.table(columns), folder / "predictions.parquet")
