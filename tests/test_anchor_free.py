"""What a detector learns, against plain arithmetic: which points answer for which object, and the losses there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import generalized_box_iou

from realfake.tasks.anchor_free import losses
from realfake.tasks.assignment import Truth, assign, grid
from realfake.tasks.detectors import build_detector
from tests.tiny_detector import CPU, loss_of, noise, recipe, tiny, truth

boxes = st.tuples(st.integers(-5, 60), st.integers(-5, 45), st.integers(1, 40), st.integers(1, 40))


# ---------------------------------------------------------------------------------------------------- who learns what


def by_hand(image, objects, points):
    """Who answers at each point of an image: point -> object, the rule spelled out point by point."""
    answers = {}
    for p, ((x, y), stride, level) in enumerate(zip(points.point, points.stride, points.level, strict=True)):
        rows, columns = points.shapes[level]
        wanting = []
        for i in np.flatnonzero(objects.image == image):
            left, top, width, height = objects.box[i]
            if (0 if max(width, height) <= 20 else 1) != level:
                continue
            column = np.clip((left + width / 2) // stride, 0, columns - 1)
            row = np.clip((top + height / 2) // stride, 0, rows - 1)
            apart = abs(x // stride - column), abs(y // stride - row)
            inside = left < x < left + width and top < y < top + height
            if apart == (0, 0) or (max(apart) <= 1 and inside):
                wanting.append((width * height, i))
        if wanting:
            answers[p] = min(wanting)[1]
    return answers


@settings(max_examples=40, deadline=None)
@given(st.lists(boxes, min_size=0, max_size=6), st.lists(boxes, min_size=0, max_size=6))
def test_points_answer_as_the_rule_says_point_by_point(first, second):
    points = grid(41, 59, (4, 8))
    objects = truth([0] * len(first) + [1] * len(second), [*first, *second])
    found = assign(objects, points, 1)
    expected = {i * len(points) + p: o for i in (0, 1) for p, o in by_hand(i, objects, points).items()}
    assert found.point.tolist() == sorted(expected)
    corners = objects.box + np.concatenate([np.zeros((len(objects.box), 2)), objects.box[:, :2]], axis=1)
    assert np.array_equal(found.box, corners[[expected[p] for p in found.point.tolist()]].reshape(-1, 4))


def test_even_an_object_between_all_points_is_learned_by_one():
    found = assign(truth([0], [[11.5, 11.5, 1, 1]]), grid(40, 40, (4, 8)), 1)
    assert found.point.tolist() == [3 * 10 + 3]


@pytest.mark.parametrize(("name", "strides"), [("fpn-tiny", (4, 8)), ("fpn:test_resnet", (8, 16, 32))])
@pytest.mark.parametrize("size", [(64, 64), (41, 59), (97, 33)])
def test_maps_have_as_many_values_as_the_grid_has_points(name, strides, size):
    model = build_detector(recipe(model=name), 2, 3).eval()
    assert model.strides == strides
    raw = model(torch.zeros(1, 3, *size))[0]
    assert len(raw.score) == len(grid(*size, strides)) == len(raw.level)


# -------------------------------------------------------------------------------------------------------------- losses


def test_the_loss_is_focal_plus_giou_over_the_number_of_points_that_answer():
    model, images = tiny(classes=2), torch.from_numpy(noise(2)).permute(0, 3, 1, 2).float()
    objects = truth([0, 0, 1], [[3, 4, 9, 12], [20, 2, 30, 25], [40, 30, 8, 9]], label=[0, 1, 1])
    raws, points = model(images), grid(40, 56, (4, 8))
    found = assign(objects, points, 2)
    score = torch.stack([raw.score for raw in raws]).double().detach().numpy().reshape(-1, 2)
    true = np.zeros_like(score)
    true[found.point, found.category] = 1
    right = np.where(true == 1, score, 1 - score)
    focal = (np.where(true == 1, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)).sum()
    model.train()  # normalises over groups, so the same numbers
    logits, sides = captured(model, images)
    giou = generalized_box_iou(unclipped(sides, points)[found.point], torch.from_numpy(found.box)).diagonal()
    expected = (focal + float((1 - giou).sum())) / len(found.point)
    assert loss_of(model, images, objects).item() == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(logits.sigmoid().flatten(0, 1).double(), torch.from_numpy(score), atol=1e-6)


def captured(model, images):
    """Logits (b, p, k) and raw sides (b, p, 4), through the model's own layers."""
    features, sides = model._towers(model.maps(images))
    flat = [
        torch.cat([part.flatten(2).transpose(1, 2) for part in parts], 1)
        for parts in (features, map(model.sides, sides))
    ]
    return torch.nn.functional.linear(flat[0], model.scores.weight.flatten(1), model.scores.bias), flat[1]


def unclipped(sides, points):
    """Boxes (b · p, 4) by the definition of left, top, right, bottom."""
    reach = torch.log1p(sides.exp()) * torch.from_numpy(points.stride)[None, :, None]
    point = torch.from_numpy(points.point)[None]
    return torch.cat([point - reach[..., :2], point + reach[..., 2:]], -1).flatten(0, 1).detach()


def test_nothing_is_learned_inside_a_crowd_of_that_class():
    points = grid(40, 40, (4, 8))
    logit = torch.zeros(1, len(points), 2, requires_grad=True)
    objects = truth(
        [0, 0, 0], [[0, 0, 20, 20], [20, 20, 20, 20], [5, 5, 8, 8]], label=[0, -1, 0], crowd=[True, True, False]
    )
    model = tiny(classes=2)
    side, placed = torch.zeros(1, len(points), 4), [torch.from_numpy(x) for x in (points.point, points.stride)]
    targets = model.targets(objects, torch.ones(1), (40, 40), CPU)
    losses(logit, side, type("P", (), dict(zip(("point", "stride"), placed, strict=True))), targets).backward()
    learned = logit.grad[0].abs() > 0
    middle = points.point
    upper = (middle < 20).all(axis=1)
    lower = (middle > 20).all(axis=1)
    answering = assign(objects, points, 2).point
    assert len(answering)
    assert upper[answering].all()
    assert learned[answering].all()
    assert not learned[np.setdiff1d(np.flatnonzero(upper), answering), 0].any()
    assert learned[upper, 1].all()
    assert not learned[lower].any()
    assert learned[~upper & ~lower & (middle != 20).all(axis=1)].all()


def test_an_image_of_weight_zero_teaches_nothing_and_one_without_objects_something():
    model, images = tiny(), torch.from_numpy(noise(2)).permute(0, 3, 1, 2).float()
    objects = truth([1], [[10, 10, 9, 9]])
    alone = loss_of(model, images[1:], truth([0], [[10, 10, 9, 9]]))
    assert loss_of(model, images, objects, torch.tensor([0.0, 1.0])).item() == pytest.approx(alone.item(), rel=1e-5)
    assert loss_of(model, images, objects).item() > alone.item()
    empty = loss_of(model, images, truth([], []))
    empty.backward()
    assert empty.item() > 0
    assert model.scores.weight.grad.abs().sum() > 0


def test_the_mean_of_the_losses_of_workers_is_the_loss_of_the_batch():
    model, images = tiny(), torch.from_numpy(noise(4)).permute(0, 3, 1, 2).float()
    objects = truth([0, 0, 0, 3], [[3, 4, 9, 12], [20, 2, 30, 25], [4, 30, 8, 9], [40, 30, 8, 9]])
    whole = loss_of(model, images, objects)
    parts = []
    for rank in (0, 1):
        mine = objects.image % 2 == rank
        part = Truth(objects.image[mine] // 2, objects.label[mine], objects.box[mine], objects.crowd[mine])
        parts.append(loss_of(model, images[rank::2], part, among=(objects, 2)).item())
    assert np.mean(parts) == pytest.approx(whole.item(), rel=1e-5)


def test_bf16_changes_the_loss_a_little_and_leaves_it_float32():
    model, images = tiny(), torch.from_numpy(noise(2)).permute(0, 3, 1, 2).float()
    objects = truth([0, 1], [[10, 10, 9, 9], [3, 4, 12, 14]])
    plain = loss_of(model, images, objects)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss_of(model, images, objects)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(plain.item(), rel=0.05)
    assert rounded.item() != plain.item()
