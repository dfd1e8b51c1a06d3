"""Views of training images: boxes move along, and what is seen depends on seed and step alone."""

import dataclasses

import numpy as np
import pytest
import torch

from realfake.spec import DetectionRecipe
from realfake.tasks import batches, views
from tests.tiny_scenes import of


def test_boxes_move_along_when_images_are_flipped_and_light_is_light():
    random = np.random.default_rng(0)
    boxes = [[[*random.integers(0, 20, 2), *random.integers(3, 12, 2)]] for _ in range(6)]
    images = np.zeros((6, 40, 48, 3), np.uint8)
    for image, ((left, top, width, height),) in zip(images, boxes, strict=True):
        image[top : top + height, left : left + width] = 250
    recipe = DetectionRecipe(examples_seen=200, batch_size=200)
    seen = views.view(batches.plan(recipe, 6, 0, seed=3), 0, "flip-light")
    shown = views.Scenes.on(torch.device("cpu"), of(images, boxes))
    pixels, truth = shown.images(seen).numpy(), shown.truth(seen)
    assert 0.4 < seen.flip.mean() < 0.6
    assert truth.image.tolist() == list(range(200))
    for image, light, (left, top, width, height) in zip(pixels, seen.light, truth.box.astype(int), strict=True):
        box = image[:, top : top + height, left : left + width]
        assert np.allclose(box, min(255, 250 * light), atol=1e-3)
        assert image.sum() == pytest.approx(box.sum(), rel=1e-5)
    assert 0.7 <= seen.light.min() < 0.75
    assert 1.25 < seen.light.max() <= 1.3


@pytest.mark.parametrize(
    ("augment", "flips", "lights"), [("none", False, False), ("flip", True, False), ("flip-light", True, True)]
)
def test_views_depend_on_seed_and_step_alone_and_vary_as_the_recipe_says(augment, flips, lights):
    plan = batches.plan(DetectionRecipe(examples_seen=640, batch_size=64, augment=augment), 10, 0, seed=3)
    seen, again, other = (views.view(plan, step, augment) for step in (4, 4, 5))
    assert seen.flip.any() == flips
    assert (seen.light != 1).any() == lights
    for a, b in zip(dataclasses.astuple(seen), dataclasses.astuple(again), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(seen.rows, other.rows)
    assert sorted(np.concatenate([seen.slice(r, 3).rows for r in range(3)])) == sorted(seen.rows)
