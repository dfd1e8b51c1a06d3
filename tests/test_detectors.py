"""Detectors against plain arithmetic: which boxes are kept, whose features they have, and how they are built."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from realfake.objects import Objects
from realfake.spec import External, SpecError
from realfake.tasks import keeping
from realfake.tasks.anchor_free import Raw
from realfake.tasks.detectors import Keep, build_detector, detect, features_at, load_detector, save_detector
from realfake.tasks.models import WeightsError
from realfake.tasks.torchvision_detectors import NAMES
from tests.tiny_detector import EVERYTHING, loss_of, noise, recipe, tiny, truth

# -------------------------------------------------------------------------------------------------------- what is kept


def greedy(score, box, keep):
    """The boxes kept of one image, by the definition: (candidate, class) in order."""
    order = sorted(np.ndindex(*score.shape), key=lambda at: (-score[at], at))
    kept = []
    for q, k in order:
        if score[q, k] < keep.score_threshold or (box[q, 2:] <= box[q, :2]).any():
            continue
        if all(k != other or overlap(box[q], box[p]) <= keep.nms_iou for p, other in kept):
            kept.append((q, k))
    return kept[: keep.max_detections]


def overlap(a, b):
    shared = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(0, 60), st.integers(1, 3), st.sampled_from([0.0, 0.25, 0.5]), st.integers(1, 30)
)
def test_kept_boxes_are_those_of_the_greedy_definition_ties_included(seed, q, classes, threshold, most):
    random = np.random.default_rng(seed)
    corner = random.integers(0, 12, (q, 2))
    box = np.concatenate([corner, corner + random.integers(0, 8, (q, 2))], axis=1).astype(np.float32)
    score = (random.integers(0, 9, (q, classes)) / 8).astype(np.float32)  # many ties
    keep = Keep(threshold, nms_iou=0.5, max_detections=most)
    place = torch.from_numpy(random.permutation(q))
    feature = torch.from_numpy(random.random((q, 4)).astype(np.float32))
    raw = Raw(*map(torch.from_numpy, (score, box)), place, feature, torch.zeros(q, 2), torch.arange(q))
    found, expected = keeping._kept(raw, 7, keep), greedy(score, box.astype(float), keep)
    assert found.category.tolist() == [k for _, k in expected]
    assert found.score.tolist() == [float(score[at]) for at in expected]
    chosen = [i for i, _ in expected]
    assert np.array_equal(found.box[:, :2] + found.box[:, 2:], box[chosen, 2:].reshape(-1, 2))
    assert np.array_equal(found.feature, feature[place][chosen].numpy().reshape(-1, 4))
    assert np.array_equal(found.level, place.numpy()[chosen])


def test_a_score_is_exactly_the_sigmoid_of_its_penultimate_features():
    model = tiny(classes=3)
    found = detect(model, noise(), Keep(score_threshold=0.0, max_detections=300))
    w, b = model.scores.weight.detach().double().numpy()[:, :, 0, 0], model.scores.bias.detach().double().numpy()
    logit = (w[found.category] * found.feature).sum(axis=1) + b[found.category]
    assert set(found.category.tolist()) == {0, 1, 2}
    assert set(found.level.tolist()) == {0, 1}
    assert np.abs(1 / (1 + np.exp(-logit)) - found.score).max() < 1e-6


def test_images_do_not_depend_on_who_is_looked_at_beside_them(monkeypatch):
    model, images = tiny(), noise(7)
    whole = detect(model, images, EVERYTHING)
    for at_once in (1, 3):
        monkeypatch.setattr(keeping, "IMAGES_AT_ONCE", at_once)
        parts = detect(model, images, EVERYTHING)
        assert np.array_equal(parts.image, whole.image)
        assert np.array_equal(parts.level, whole.level)
        for name in ("box", "score", "feature"):
            assert np.allclose(getattr(parts, name), getattr(whole, name), atol=1e-4)


def test_boxes_lie_in_the_image_and_rows_come_by_image_and_falling_score():
    found = detect(tiny(), noise(), EVERYTHING)
    assert (found.box[:, :2] >= 0).all()
    assert (found.box[:, :2] + found.box[:, 2:] <= [56, 40]).all()
    assert (np.lexsort((-found.score, found.image)) == np.arange(len(found))).all()


def test_no_image_and_nothing_found_are_empty_tables():
    model = tiny()
    for images, keep in ((noise(0), EVERYTHING), (noise(2), Keep(score_threshold=1.0))):
        found = detect(model, images, keep)
        assert (len(found), found.feature.shape, found.box.shape) == (0, (0, 8), (0, 4))


# --------------------------------------------------------------------------------------------- features at given boxes


def test_features_at_an_object_are_those_of_the_best_place_inside_it():
    model, images = tiny(classes=2), noise(3)
    objects = Objects.of(
        [[[4, 6, 20, 16], [30, 10, 14.5, 12]], [], [[0, 0, 56, 40], [10, 10, 11, 8]]],
        labels=[[0, 1], [], [-1, 1]],
    )
    found = features_at(model, images, objects)
    raws = model(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    assert found.image.tolist() == [0, 0, 2, 2]
    for i, (image, label, (left, top, width, height)) in enumerate(
        zip(found.image, objects.label, objects.box, strict=True)
    ):
        raw = raws[image]
        x, y = raw.point.T.numpy()
        inside = np.flatnonzero((x > left) & (x < left + width) & (y > top) & (y < top + height))
        score = raw.score.detach().numpy()[inside]
        score = score.max(axis=1) if label < 0 else score[:, label]
        assert found.score[i] == pytest.approx(score.max(), abs=1e-6)
        assert np.allclose(found.feature[i], raw.feature[inside[score.argmax()]].detach().numpy(), atol=1e-5)
        assert found.level[i] == raw.level[inside[score.argmax()]]


def test_an_object_between_all_points_has_those_of_the_nearest_on_its_own_level():
    model, images = tiny(), noise(1)
    found = features_at(model, images, Objects.of([[[15.7, 15.7, 0.8, 0.8]]]))
    raw = model(torch.from_numpy(images).permute(0, 3, 1, 2).float())[0]
    nearest = [i for i in range(len(raw.level)) if raw.level[i] == 0 and tuple(raw.point[i].tolist()) == (18.0, 18.0)]
    assert found.level.tolist() == [0]
    assert np.allclose(found.feature[0], raw.feature[nearest[0]].detach().numpy(), atol=1e-5)


# ---------------------------------------------------------------------------------------------- building, saving, names


def test_the_tiny_detector_has_the_stated_size_and_looks_at_any_channels():
    count = sum(p.numel() for p in build_detector(recipe(width=32), 1, 3).parameters())
    assert count == 173_029
    assert len(detect(tiny(channels=1), noise(2, channels=1), EVERYTHING)) == 60


def test_every_score_is_one_in_a_hundred_before_training():
    model = build_detector(recipe(), 1, 3).eval()
    assert detect(model, noise(), EVERYTHING).score == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("name", ["fpn-tiny", "fpn:test_resnet"])
def test_what_is_loaded_finds_what_was_saved_to_the_last_bit(name, tmp_path):
    made = recipe(model=name)
    model = build_detector(made, 2, 3)
    save_detector(model, tmp_path / "m.safetensors")
    loaded = load_detector(tmp_path / "m.safetensors", made)
    before, after = (detect(m, noise(), Keep(score_threshold=0)) for m in (model, loaded))
    assert np.array_equal(before.score, after.score)
    assert np.array_equal(before.feature, after.feature)


def weights_file(tmp_path, name, prefix=""):
    import timm
    from safetensors.torch import save_file

    path = tmp_path / f"{prefix}mine.safetensors"
    save_file({prefix + k: v for k, v in timm.create_model(name).state_dict().items()}, path)
    return path, External(name="mine", fingerprint=hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_frozen_backbone_comes_from_the_file_and_stays_as_it_is(tmp_path):
    from safetensors.torch import load_file

    path, init = weights_file(tmp_path, "test_resnet")
    model = build_detector(recipe(model="fpn:test_resnet", init=init, frozen=True), 1, 3, {"mine": path}).train()
    images, objects = torch.from_numpy(noise(2)).permute(0, 3, 1, 2).float(), truth([0], [[10, 10, 9, 9]])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    head = model.scores.weight.clone()
    loss_of(model, images, objects).backward()
    optimizer.step()
    stored, own = load_file(path), model.body.network.state_dict()
    assert len(own) > 20
    assert all(torch.equal(stored[k], v) for k, v in own.items() if "num_batches" not in k)
    assert not torch.equal(head, model.scores.weight)


def test_every_wrong_name_is_one_clear_sentence(tmp_path):
    def message(channels=3, error=SpecError, weights=None, **fields):
        with pytest.raises(error) as caught:
            build_detector(recipe(**fields), 1, channels, weights)
        return str(caught.value)

    assert "'fpn-tiny'" in message(model="fpn-tyni")
    assert "'resnet18'" in message(model="fpn:resnett18")
    assert "no pretrained weights" in message(init=External(name="x"))
    assert "3 channels, not of 1" in message(model="fcos_resnet50_fpn", channels=1)
    assert "synthetic_weight=0.5" in message(model=NAMES[0], mixing="weighted", synthetic_weight=0.3)
    assert "none at" in message(model=NAMES[0], init=External(name="x"), error=WeightsError)
    path, init = weights_file(tmp_path, "test_resnet")
    assert "holds no ResNet-50" in message(model=NAMES[0], init=init, weights={"mine": path}, error=WeightsError)
    with pytest.raises(SpecError, match="choose another backbone"):
        build_detector(recipe(), 1, 3, strides=(2, 4))
