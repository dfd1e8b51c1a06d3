"""Drawn scenes and the people in them, for tests of translators: rendered once a process."""

import functools

import numpy as np

from realfake.generators.procedural import render
from realfake.syn2real import crops


@functools.cache
def scenes(domain, n=8):
    """Images, starts, boxes and masks of the first scenes of a domain that show anybody."""
    drawn = [render(domain, i, seed=1, pixels=128, gap=1.0) for i in range(n)]
    start = np.cumsum([0] + [len(scene.boxes) for scene in drawn])
    boxes = np.concatenate([scene.boxes for scene in drawn])
    return np.stack([scene.image for scene in drawn]), start, boxes, np.stack([scene.labels for scene in drawn])


@functools.cache
def people(domain, n=8):
    return crops.people(*scenes(domain, n))
