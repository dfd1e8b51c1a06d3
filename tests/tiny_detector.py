"""A detector with random weights, noise for it to look at, and objects to learn: for tests of networks."""

import numpy as np
import torch

from realfake.spec import DetectionRecipe
from realfake.tasks.assignment import Truth
from realfake.tasks.detectors import Keep, build_detector

CPU = torch.device("cpu")
EVERYTHING = Keep(score_threshold=0.0, max_detections=30)


def recipe(**fields):
    return DetectionRecipe(**{"examples_seen": 8, "width": 8, **fields})


def tiny(classes=1, channels=3, seed=0, **fields):
    """A detector with random weights whose scores vary, as after training."""
    torch.manual_seed(seed)
    model = build_detector(recipe(**fields), classes, channels)
    torch.nn.init.normal_(model.scores.weight, std=0.5)
    return model.eval()


def noise(n=5, height=40, width=56, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels)).astype(np.uint8)


def truth(image, box, label=None, crowd=None):
    box = np.array(box, float).reshape(-1, 4)
    label = np.zeros(len(box), int) if label is None else np.array(label)
    return Truth(np.array(image, int), label, box, np.zeros(len(box), bool) if crowd is None else np.array(crowd))


def loss_of(model, images, objects, weight=None, among=None):
    weight = torch.ones(len(images)) if weight is None else weight
    targets = model.targets(objects, weight, images.shape[2:], CPU, among)
    return model(images, targets)
