"""Detectors of people in rendered scenes, for tests of the task: samples, trials, and one that has learned."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from realfake.generators.procedural import render
from realfake.objects import Objects
from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import Dataset, DetectionRecipe, DistanceRule, Subset, Trial
from realfake.tasks import detection

CPU = Training(device="cpu")
PIXELS = 64
PLAIN = DistanceRule(ridge=0.0)


@functools.cache
def scenes(domain="garden", n=8, seed=0, pixels=PIXELS):
    """Rendered scenes with their people."""
    shown = [render(domain, i, seed=seed, pixels=pixels) for i in range(n)]
    images = np.stack([scene.image for scene in shown])
    return of(images, [scene.boxes for scene in shown])


def of(images, boxes, **columns):
    classes = columns.pop("classes", ("person",))
    n = len(images)
    return Samples(images, np.zeros(n, np.int64), np.arange(100, 100 + n), classes, Objects.of(boxes, **columns))


def trial(seed=0, **fields):
    recipe = DetectionRecipe(**{"examples_seen": 16, "width": 8, "distance": PLAIN, **fields})
    train = Dataset(name="scenes")
    return Trial(real=Subset(of=train, size=8), test=Dataset(name="scenes", split="test"), recipe=recipe, seed=seed)


def fresh(precision="no", **options):
    """An accelerator as training makes it: seeded, nothing left of the one before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.manual_seed(1)
    return Accelerator(cpu=True, mixed_precision=precision, **options)


def run(folder, made, real, synthetic=(), test=None, precision="no", report=lambda event: None):
    folder.mkdir(parents=True, exist_ok=True)
    options = {"accelerator": fresh(precision), "training": CPU}
    return detection.train(made, real, list(synthetic), test or real, folder, report, **options)


@dataclasses.dataclass
class Made:
    """A trained trial: its folder, itself, its result, what it saw, and what it reported."""

    folder: Path
    trial: Trial
    result: dict
    train: Samples
    test: Samples
    events: list


def learn(folder):
    """Return a detector of 8 features trained on 60 scenes and tried on 30 others."""
    events = []
    made, train, test = trial(examples_seen=2400), scenes("synthetic", 60), scenes("synthetic", 30, seed=1)
    return Made(folder, made, run(folder, made, train, test=test, report=events.append), train, test, events)


def evaluated(made, on, folder, **fields):
    recipe = dataclasses.replace(made.trial.recipe, **fields)
    changed = dataclasses.replace(made.trial, recipe=recipe)
    return detection.evaluate(made.folder, changed, on, folder, accelerator=fresh(), training=CPU)
