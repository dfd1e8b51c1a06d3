"""Detectors against plain arithmetic: who learns what, losses, which boxes are kept, and whose features they have."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import generalized_box_iou

from realfake.objects import Objects
from realfake.spec import DetectionRecipe, External, SpecError
from realfake.tasks import keeping
from realfake.tasks.anchor_free import Raw, losses
from realfake.tasks.assignment import Truth, assign, grid
from realfake.tasks.detectors import Keep, build_detector, detect, features_at, load_detector, save_detector
from realfake.tasks.models import WeightsError
from realfake.tasks.torchvision_detectors import NAMES

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


def loss_of(model, images, objects, weight=None, among=None):
    weight = torch.ones(len(images)) if weight is None else weight
    targets = model.targets(objects, weight, images.shape[2:], CPU, among)
    return model(images, targets)


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
    features, sides = model._towers(images)
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


# -------------------------------------------------------------------------------------------------------- torchvision's


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
