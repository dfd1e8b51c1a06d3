"""Budgets, mixing and views as pure functions; models for small images; metrics against scikit-learn."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from realfake.samples import Samples
from realfake.spec import External, Recipe, SpecError
from realfake.tasks import batches, classification, course
from realfake.tasks.models import WeightsError, build_model, pixel_statistics


def recipe(**fields):
    return Recipe(**{"examples_seen": 100, "batch_size": 16, "augment": "none", **fields})


def rows_of(plan):
    return [batches.batch(plan, step, pixels=8).rows for step in range(plan.steps)]


# ------------------------------------------------------------------------------------------------------------- metrics


def test_metrics_are_those_of_scikit_learn():
    from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(8), size=300)
    labels = random.integers(0, 8, size=300)
    found = classification.metrics(probabilities, labels)
    assert found["error"] == pytest.approx(1 - accuracy_score(labels, probabilities.argmax(1)))
    assert found["cross_entropy"] == pytest.approx(log_loss(labels, probabilities), rel=1e-6)
    assert found["top5_error"] == pytest.approx(1 - top_k_accuracy_score(labels, probabilities, k=5))
    assert "top5_error" not in classification.metrics(probabilities[:, :5], labels.clip(max=4))
    assert found["n_test"] == 300
    weights = np.bincount(labels) / 300
    assert np.dot(found["per_class_error"], weights) == pytest.approx(found["error"])


def test_a_certain_mistake_costs_a_finite_number_of_nats_and_an_absent_class_has_no_error():
    found = classification.metrics(np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), np.array([1, 0]))
    assert found["cross_entropy"] == pytest.approx(-np.log(1e-7) / 2)
    assert found["per_class_error"] == [0.0, 1.0, None]


def test_the_learning_rate_rises_for_a_twentieth_and_falls_to_nothing():
    rates = [course.learning_rate(step, 100, 2.0) for step in range(100)]
    assert rates[4] == 2.0 == max(rates)
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.002


# ------------------------------------------------------------------------------------------------------------- budgets


@given(
    n_real=st.integers(0, 60),
    n_synthetic=st.integers(0, 60),
    examples=st.integers(1, 500),
    batch_size=st.integers(1, 70),
    mixing=st.sampled_from(["pool", "weighted", "synthetic_then_real"]),
)
def test_a_budget_is_spent_exactly_in_even_batches(n_real, n_synthetic, examples, batch_size, mixing):
    if not n_real + n_synthetic:
        n_real = 1
    fields = {"examples_seen": examples, "batch_size": batch_size, "mixing": mixing}
    rows = rows_of(batches.plan(recipe(**fields), n_real, n_synthetic, seed=0))
    sizes = [len(r) for r in rows]
    assert sum(sizes) == examples
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert all(((r >= 0) & (r < n_real + n_synthetic)).all() for r in rows)


@pytest.mark.parametrize(
    ("fields", "n_real", "n_synthetic", "examples"),
    [
        ({"examples_seen": 1000}, 10, 90, 1000),
        ({"examples_seen": None, "epochs": 2.5}, 10, 90, 250),
        ({"examples_seen": None, "real_examples_seen": 50}, 10, 90, 500),
        ({"examples_seen": None, "real_examples_seen": 50}, 10, 0, 50),
        ({"examples_seen": None, "real_examples_seen": 50, "mixing": "weighted"}, 10, 90, 100),
        ({"examples_seen": None, "real_examples_seen": 50, "mixing": "weighted"}, 10, 0, 50),
        (
            {"examples_seen": None, "real_examples_seen": 50, "mixing": "synthetic_then_real", "synthetic_share": 0.8},
            *(10, 90, 250),
        ),
    ],
)
def test_every_budget_rule_gives_its_number_of_examples(fields, n_real, n_synthetic, examples):
    made = recipe(**fields)
    plan = batches.plan(made, n_real, n_synthetic, seed=3)
    assert plan.examples == examples
    rows = np.concatenate(rows_of(plan))
    if made.real_examples_seen:
        assert (rows < n_real).sum() == pytest.approx(50, abs=0.02 * examples + 1)


@pytest.mark.parametrize("fields", [{}, {"mixing": "synthetic_then_real", "synthetic_share": 1.0}])
def test_a_budget_of_real_views_is_refused_where_no_real_image_is_shown(fields):
    n_real = 5 if fields else 0
    with pytest.raises(SpecError, match="never shows a real image"):
        batches.plan(recipe(examples_seen=None, real_examples_seen=10, **fields), n_real, 20, seed=0)


# -------------------------------------------------------------------------------------------------------------- mixing


def test_pooling_shows_everything_once_an_epoch():
    rows = np.concatenate(rows_of(batches.plan(recipe(examples_seen=75), 10, 15, seed=1)))
    for epoch in rows.reshape(3, 25):
        assert sorted(epoch) == list(range(25))
    assert (rows[:25] != rows[25:50]).any()


def test_weighted_batches_hold_half_of_each_whatever_their_numbers():
    plan = batches.plan(recipe(mixing="weighted", batch_size=16, examples_seen=160), 5, 500, seed=1)
    for rows in rows_of(plan):
        assert (rows < 5).sum() == 8


def test_synthetic_comes_first_for_exactly_its_share():
    made = recipe(mixing="synthetic_then_real", synthetic_share=0.3, examples_seen=101)
    plan = batches.plan(made, 7, 20, seed=1)
    for step, rows in enumerate(rows_of(plan)):
        first, last = plan.span(step)
        assert (rows >= 7).sum() == min(last, 30) - min(first, 30)


@pytest.mark.parametrize("batch_size", [16, 15])
def test_weighted_losses_are_the_weighted_sum_of_both_means(batch_size):
    made = recipe(mixing="weighted", synthetic_weight=0.2, batch_size=batch_size, examples_seen=batch_size)
    seen = batches.batch(batches.plan(made, 5, 50, seed=1), 0, pixels=8)
    losses = np.random.default_rng(0).random(batch_size)
    real = seen.rows < 5
    expected = 0.8 * losses[real].mean() + 0.2 * losses[~real].mean()
    assert (losses * seen.weights).mean() == pytest.approx(expected)


@pytest.mark.parametrize("mixing", ["pool", "weighted", "synthetic_then_real"])
def test_a_batch_depends_on_seed_and_step_alone(mixing):
    def seen(seed, step):
        plan = batches.plan(recipe(mixing=mixing, augment="flip-shift"), 10, 20, seed=seed)
        return dataclasses.astuple(batches.batch(plan, step, pixels=16))

    batches._epoch.cache_clear()
    later = seen(5, 4)
    assert all(np.array_equal(a, b) for a, b in zip(later, seen(5, 4), strict=True))
    assert not np.array_equal(later[0], seen(6, 4)[0])


def test_slices_of_a_batch_are_the_batch():
    whole = batches.batch(batches.plan(recipe(augment="flip-shift"), 10, 20, seed=0), 2, pixels=16)
    parts = [whole.slice(rank, 3) for rank in range(3)]
    assert sorted(np.concatenate([p.rows for p in parts])) == sorted(whole.rows)
    assert max(len(p.rows) for p in parts) - min(len(p.rows) for p in parts) <= 1


# --------------------------------------------------------------------------------------------------------------- views


class Plain(torch.nn.Module):
    """A model that wants its pixels as 0 … 255: so views can be compared with images."""

    pretrained_cfg = {"mean": (0.0,), "std": (1 / 255,)}  # noqa: RUF012


def views(images, augment, examples=400):
    samples = Samples(images, np.zeros(len(images), dtype=np.int64), np.arange(len(images)), ("a",))
    on_device = classification.Images.on(torch.device("cpu"), samples, Plain(), channels_last=False)
    plan = batches.plan(recipe(examples_seen=examples, batch_size=examples, augment=augment), len(images), 0, seed=0)
    seen = batches.batch(plan, 0, pixels=images.shape[2])
    return seen, on_device.seen(seen).numpy()[:, 0]


def test_shifts_reach_an_eighth_of_the_image_and_mirror_at_the_border():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    seen, shown = views(image, "shift")
    assert set(seen.shift.ravel()) == {-2, -1, 0, 1, 2}
    assert not seen.flip.any()
    padded = np.pad(image[0, :, :, 0], 2, mode="reflect")
    for (down, right), view in zip(seen.shift, shown, strict=True):
        assert np.allclose(view, padded[2 - down : 18 - down, 2 - right : 18 - right], atol=1e-3)


def test_half_of_the_views_are_flipped_and_small_images_stay_in_place():
    image = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1)
    seen, shown = views(image, "flip-shift")
    assert 0.4 < seen.flip.mean() < 0.6
    for flipped, view in zip(seen.flip, shown, strict=True):
        assert np.allclose(view, image[0, :, ::-1, 0] if flipped else image[0, :, :, 0], atol=1e-3)


def test_without_augmentation_images_are_seen_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1)).astype(np.uint8)
    seen, shown = views(images, "none", examples=20)
    assert np.allclose(shown, images[seen.rows, :, :, 0], atol=1e-3)


def test_randaugment_is_torchvisions_and_each_view_depends_on_its_own_seed():
    from torchvision.transforms import v2

    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1)).astype(np.uint8)
    seen, shown = views(images, "randaugment", examples=40)
    plain, moved = views(images, "flip-shift", examples=40)  # the same shifts and flips, and nothing else
    assert np.array_equal(seen.shift, plain.shift)
    change, before = v2.RandAugment(num_ops=2, magnitude=9), torch.random.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        for seed, view, start in zip(seen.strong, shown, moved, strict=True):
            torch.manual_seed(int(seed))
            expected = change(torch.from_numpy(start.round().astype(np.uint8)[None]))
            assert np.allclose(view, expected[0].numpy(), atol=1e-3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert 0.5 < np.mean([not np.allclose(view, start) for view, start in zip(shown, moved, strict=True)]) < 1


def test_a_strong_view_is_the_same_in_any_slice():
    images = np.random.default_rng(1).integers(0, 256, (8, 12, 12, 3)).astype(np.uint8)
    samples = Samples(images, np.zeros(8, dtype=np.int64), np.arange(8), ("a",))
    on_device = classification.Images.on(torch.device("cpu"), samples, Plain(), channels_last=False)
    whole = batches.batch(batches.plan(recipe(augment="randaugment"), 8, 0, seed=3), 0, pixels=12)
    parts = [on_device.seen(whole.slice(rank, 2)) for rank in range(2)]
    together = on_device.seen(whole)
    assert all(torch.equal(part, together[rank::2]) for rank, part in enumerate(parts))


# -------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "pixels"), [("test_resnet", 8), ("resnet10t", 8), ("test_vit", 28), ("test_vit", 8)])
def test_small_images_go_through_and_come_back_as_gradients(name, pixels, channels):
    model = build_model(recipe(model=name), classes=7, channels=channels, pixels=pixels)
    logits = model(torch.randn(4, channels, pixels, pixels))
    assert logits.shape == (4, 7)
    logits.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert pixel_statistics(model, channels)[0].shape == (channels, 1, 1)


@pytest.mark.parametrize(("pixels", "patch"), [(8, 2), (16, 4), (28, 7), (32, 8), (64, 16)])
def test_a_transformer_sees_at_least_four_patches_a_side(pixels, patch):
    model = build_model(recipe(model="test_vit"), classes=2, channels=1, pixels=pixels)
    assert model.patch_embed.patch_size == (patch, patch)


def test_unknown_models_name_the_nearest_ones_and_unfit_ones_say_why():
    with pytest.raises(SpecError, match="'resnet18'"):
        build_model(recipe(model="resnett18"), classes=2, channels=1, pixels=8)
    with pytest.raises(SpecError, match="cannot look at images of 8 x 8"):
        build_model(recipe(model="test_convnext"), classes=2, channels=1, pixels=8)


# ------------------------------------------------------------------------------------------------------------- weights


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """A weights file of a test_resnet for 1,000 classes of RGB images, and its digest."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_come_from_the_file_that_the_spec_names_by_its_content(weights_file):
    from safetensors.torch import load_file

    path, digest = weights_file
    init = External(name="mine", fingerprint=digest)
    for place in ("mine", digest):
        model = build_model(recipe(init=init), classes=4, channels=3, pixels=8, weights={place: path})
        stored = load_file(path)
        assert torch.equal(model.state_dict()["layer1.0.conv1.weight"], stored["layer1.0.conv1.weight"])
        assert model.get_classifier().out_features == 4


def test_frozen_leaves_only_the_last_layer_to_train(weights_file):
    path, digest = weights_file
    made = recipe(init=External(name="mine", fingerprint=digest), frozen=True)
    model = build_model(made, classes=4, channels=1, pixels=8, weights={"mine": path})
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"fc.weight", "fc.bias"}


def test_frozen_features_cannot_be_augmented():
    with pytest.raises(SpecError, match="augment='none'"):
        build_model(recipe(init=External(name="x"), frozen=True, augment="shift"), classes=2, channels=1, pixels=8)


def test_every_way_in_which_weights_can_be_missing_is_one_clear_sentence(weights_file, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    path, digest = weights_file

    def message(name, fingerprint="", model="test_resnet", error=WeightsError, **weights):
        made = recipe(model=model, init=External(name=name, fingerprint=fingerprint))
        with pytest.raises(error) as caught:
            build_model(made, classes=4, channels=3, pixels=8, weights=weights)
        return str(caught.value)

    assert "no place is given" in message("mine", digest)
    assert "there is no file" in message("mine", digest, mine=path.with_name("gone"))
    assert "it is another file" in message("mine", "0" * 64, mine=path)
    assert "tensors are missing" in message("mine", digest, model="resnet18", mine=path)
    assert "weights of another model" in message("resnet18.a1_in1k", error=SpecError)
    assert "test_resnet.r160_in1k" in message("test_resnet.r161_in1k")
    unreachable = message("test_resnet.r160_in1k")
    assert "huggingface.co/timm/test_resnet.r160_in1k" in unreachable
    assert "under [data]" in unreachable
