"""Torchvision's detectors as ours: what is kept is what they keep, and features are what their last layer sees."""

import numpy as np
import pytest
import torch

from realfake.objects import Objects
from realfake.tasks import keeping
from realfake.tasks.detectors import Keep, build_detector, detect, features_at
from realfake.tasks.torchvision_detectors import NAMES
from tests.tiny_detector import CPU, noise, recipe, truth


@pytest.fixture(scope="module", params=NAMES)
def theirs(request):
    """One of torchvision's detectors after one step of training, and that step's loss."""
    torch.manual_seed(0)
    model = build_detector(recipe(model=request.param), 2, 3).train()
    images = torch.from_numpy(noise(2, 64, 64)).permute(0, 3, 1, 2).float()
    objects = truth([0, 0, 1], [[3, 4, 9, 22], [20, 2, 30, 25], [4, 3, 9, 9]], [0, 1, -1], [False, False, True])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    targets = model.targets(objects, torch.ones(2), (64, 64), CPU)
    loss = model(images, targets)
    loss.backward()
    optimizer.step()
    return model, loss.item(), targets


def test_they_learn_from_all_objects_but_crowds(theirs):
    model, loss, targets = theirs
    first = 1 if model.two_stage else 0
    assert 0 < loss < 100
    assert [part["labels"].tolist() for part in targets.objects] == [[first, first + 1], []]
    assert targets.objects[0]["boxes"].tolist() == [[3, 4, 12, 26], [20, 2, 50, 27]]
    assert all(p.grad is not None for p in model.model.backbone.parameters())


def test_what_is_kept_of_theirs_is_what_they_keep_themselves(theirs, monkeypatch):
    model, _, _ = theirs
    images = noise(2, 64, 64, seed=3)
    monkeypatch.setattr(keeping, "CANDIDATES", 1000)  # so that all compete, as with their limit below
    found = detect(model, images, Keep(score_threshold=0.008, nms_iou=0.4, max_detections=40))
    part = model.model.roi_heads if model.two_stage else model.model
    part.score_thresh, part.nms_thresh, part.detections_per_img = 0.008, 0.4, 10**6
    model.model.topk_candidates = 10**6
    with torch.no_grad():
        own = model.model(list(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255))
    for row, theirs_there in enumerate(own):
        there = {name: value.numpy() for name, value in theirs_there.items()}
        real = (there["boxes"][:, 2:] > there["boxes"][:, :2]).all(axis=1)  # they also count boxes without any size
        here = found.image == row
        corners = np.concatenate([found.box[here, :2], found.box[here, :2] + found.box[here, 2:]], axis=1)
        assert here.sum() == min(40, real.sum()) > 5
        assert np.allclose(found.score[here], there["scores"][real][:40], atol=1e-5)
        assert np.allclose(corners, there["boxes"][real][:40], atol=1e-3)
        assert (found.category[here] + model.two_stage == there["labels"][real][:40]).all()


def test_features_of_theirs_are_what_their_last_classification_layer_sees(theirs):
    model, _, _ = theirs
    images = noise(1, 64, 64, seed=3)
    found = detect(model, images, Keep(score_threshold=0.008, max_detections=20))
    assert found.feature.shape == (len(found), model.feature_width)
    if model.two_stage:
        with torch.no_grad():
            logits, _ = model.model.roi_heads.box_predictor(torch.from_numpy(found.feature))
        score = logits.softmax(1)[torch.arange(len(found)), torch.from_numpy(found.category) + 1]
        assert np.allclose(score, found.score, atol=1e-5)
        return
    head = model.model.head.classification_head
    with torch.no_grad():
        shown, _ = model.model.transform(list(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255))
        towers = [head.conv(level)[0].flatten(1).T.numpy() for level in model.model.backbone(shown.tensors).values()]
    for feature, level in zip(found.feature, found.level, strict=True):
        assert np.abs(towers[level] - feature).max(axis=1).min() < 1e-4


def test_features_of_theirs_at_given_boxes_are_one_row_each(theirs):
    model, _, _ = theirs
    found = features_at(model, noise(2, 64, 64), Objects.of([[[4, 6, 20, 16]], [[30, 10, 14.5, 40], [0, 0, 2, 2]]]))
    assert found.image.tolist() == [0, 1, 1]
    assert np.isfinite(found.feature).all()
    assert found.feature.shape == (3, model.feature_width)
