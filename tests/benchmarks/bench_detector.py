"""How much slower is our detection loop than one written by hand, and how fast is looking? In the same process.

    OMP_NUM_THREADS=1 uv run python -m tests.benchmarks.bench_detector

Both train the same detector on the same scenes with batches of 8 and the same optimizer, turn by turn; the best of
three turns counts, so that another process on the machine does not. The loop by hand flips and lights nothing, keeps
no history, and stops nowhere. Looking is the whole of ``evaluate``: detections, distances, average precision, table.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from realfake.generators.procedural import render
from realfake.objects import Objects
from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import Dataset, DetectionRecipe, Subset, Trial
from realfake.tasks import detection
from realfake.tasks.assignment import Truth
from realfake.tasks.detectors import build_detector, detect

TURNS, STEPS, SCENES = 3, 60, 100
CPU = Training(device="cpu")


def scenes(pixels):
    shown = [render("urban", i, pixels=pixels) for i in range(SCENES)]
    images, ids = np.stack([scene.image for scene in shown]), np.arange(SCENES)
    objects = Objects.of([scene.boxes for scene in shown])
    return Samples(images, np.zeros(SCENES, np.int64), ids, ("person",), objects)


def ours(data, trial, folder):
    """Return the result of ``train``, which knows its examples a second."""
    options = {"accelerator": Accelerator(cpu=True), "training": CPU}
    return detection.train(trial, data, [], data.take(slice(0, 1)), folder, lambda event: None, **options)


def bare(data, recipe):
    """Return examples a second of the loop that one would write by hand."""
    model = build_detector(recipe, 1, 3).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    pixels, one, size = torch.from_numpy(data.images), torch.ones(recipe.batch_size), data.images.shape[1:3]
    started = time.perf_counter()
    for _ in range(STEPS):
        rows = torch.randint(SCENES, (recipe.batch_size,))
        shown = data.objects.take(rows.numpy())
        truth = Truth(shown.image, shown.label, shown.box, shown.crowd)
        loss = model(pixels[rows].permute(0, 3, 1, 2).float(), model.targets(truth, one, size, torch.device("cpu")))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return STEPS * recipe.batch_size / (time.perf_counter() - started)


def looking(data, trial, folder):
    """Return images a second of ``detect`` alone and of all of ``evaluate``."""
    model, rates = detection.load(folder, trial), []
    options = {"accelerator": Accelerator(cpu=True), "training": CPU}
    for look in (
        lambda: detect(model, data.images),
        lambda: detection.evaluate(folder, trial, data, folder, **options),
    ):
        started = time.perf_counter()
        look()
        rates.append(SCENES / (time.perf_counter() - started))
    return rates


def main():
    torch.set_num_threads(1)
    recipe = DetectionRecipe(examples_seen=8 * STEPS)
    dataset = Dataset(name="scenes")
    trial = Trial(real=Subset(of=dataset, size=SCENES), test=Dataset(name="scenes", split="test"), recipe=recipe)
    for pixels in (96, 128):
        data = scenes(pixels)
        with tempfile.TemporaryDirectory() as folder:
            turns = []
            for _ in range(TURNS):
                result = ours(data, trial, Path(folder))
                rates = looking(data, trial, Path(folder))
                turns.append((result["examples_per_second"], bare(data, recipe), *rates))
        best, by_hand, found, evaluated = (max(of_kind) for of_kind in zip(*turns, strict=True))
        print(
            f"fpn-tiny, {pixels} px, batches of 8: ours {best:.0f} examples/s ÷ bare {by_hand:.0f} = "
            f"{best / by_hand:.2f}; detects {found:.0f} images/s, evaluates {evaluated:.0f}"
        )


if __name__ == "__main__":
    main()
