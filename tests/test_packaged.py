"""EfficientNet-Lite0 from its package: every layer has its place, ImageNet classes are seen, and what is refused."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from realfake.spec import DetectionRecipe, External, Recipe, SpecError
from realfake.tasks import packaged
from realfake.tasks.assignment import Truth
from realfake.tasks.batches import plan
from realfake.tasks.detectors import build_detector, load_detector, save_detector
from realfake.tasks.frozen_maps import frozen_maps
from realfake.tasks.models import WeightsError, build_model, pixel_statistics
from realfake.tasks.views import Scenes, view
from tests.tiny_scenes import CPU, PIXELS, fresh, scenes

LITE0 = External(name="efficientnet-lite0", n_images=1_281_167)
TIMM = "tf_efficientnet_lite0"
HEAD = DetectionRecipe(model=f"fpn:{TIMM}", init=LITE0, frozen=True, width=8, examples_seen=400, augment="flip")


@pytest.fixture(scope="module")
def state():
    return torch.load(packaged.PACKAGED["efficientnet-lite0"].path, weights_only=True)


@pytest.fixture(scope="module")
def frozen():
    torch.manual_seed(0)
    return build_detector(HEAD, 1, 3)


def test_every_tensor_of_the_package_has_its_place_in_the_model_of_timm(state):
    import timm

    with torch.device("meta"):
        own = timm.create_model(TIMM).state_dict()
    named = packaged.as_timm(state)
    assert {name: value.shape for name, value in named.items()} == {name: value.shape for name, value in own.items()}
    assert len(named) == len(state) == 296


@pytest.mark.parametrize(("name", "expected"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_photographs_are_what_imagenet_calls_them(name, expected):
    """A palace and a daisy (ImageNet has no dahlia), as the authors of the package have them."""
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image(name))
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    pixels = np.asarray(photo.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC))
    model = build_model(Recipe(model=TIMM, init=LITE0, examples_seen=1), 1000, 3, 224).eval()
    mean, std = pixel_statistics(model, 3)
    with torch.no_grad():
        scores = model(((torch.tensor(pixels).permute(2, 0, 1) / 255 - mean) / std)[None])[0].softmax(0)
    assert int(scores.argmax()) == expected
    assert scores.max() > 0.2  # of 1,000 classes: 0.23 for the flower


def test_a_frozen_classifier_and_a_detector_have_its_weights(state, frozen):
    recipe = Recipe(model=TIMM, init=LITE0, frozen=True, augment="none", examples_seen=1)
    model = build_model(recipe, 7, 1, 32)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["classifier.weight", "classifier.bias"]
    own = frozen.body.network.state_dict()
    named = packaged.as_timm(state)
    assert torch.equal(model.state_dict()["conv_head.weight"], named["conv_head.weight"])
    assert len(own) > 250
    assert all(torch.equal(named[name], value) for name, value in own.items())
    assert frozen.strides == (8, 16, 32)
    assert float(frozen.mean.flatten()[0]) == 127.5


def test_a_trained_head_is_loaded_without_the_package(frozen, tmp_path, monkeypatch):
    save_detector(frozen, tmp_path / "m.safetensors")
    monkeypatch.setattr(packaged, "PACKAGED", {})
    loaded = load_detector(tmp_path / "m.safetensors", HEAD)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in frozen.state_dict().items())


def test_a_package_that_is_not_installed_and_other_models_are_one_clear_sentence(monkeypatch, tmp_path):
    with pytest.raises(SpecError, match="weights of another model; write model='tf_efficientnet_lite0'"):
        build_model(Recipe(model="efficientnet_lite0", init=LITE0, examples_seen=1), 2, 3, 32)
    there = packaged.PACKAGED["efficientnet-lite0"]
    copied = shutil.copy(there.path, tmp_path / "copy.pth")
    gone = dataclasses.replace(there, module="no_such_package")
    monkeypatch.setitem(packaged.PACKAGED, "efficientnet-lite0", gone)
    with pytest.raises(WeightsError, match=r"uv sync --extra lite0"):
        build_detector(HEAD, 1, 3)
    assert build_detector(HEAD, 1, 3, {"efficientnet-lite0": copied}).frozen  # a where-file needs no package
    wrong = External(name="efficientnet-lite0", fingerprint="0" * 64)
    with pytest.raises(WeightsError, match="it is another file"):
        build_detector(dataclasses.replace(HEAD, init=wrong), 1, 3, {"efficientnet-lite0": copied})


def test_weights_of_a_larger_network_are_refused(tmp_path):
    path = tmp_path / "b1.pth"
    torch.save({"_conv_stem.weight": torch.zeros(1), "_blocks.22._bn1.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="another network than EfficientNet-Lite0"):
        build_detector(HEAD, 1, 3, {"efficientnet-lite0": path})


# ------------------------------------------------------------------------------------------------ maps computed once


def looked_at(augment, n=8, examples=400):
    recipe = dataclasses.replace(HEAD, augment=augment, examples_seen=examples)
    return Scenes.on(torch.device("cpu"), scenes(n=n)), plan(recipe, n, 0, seed=3)


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_maps_computed_once_give_the_loss_of_looking_anew(frozen, augment):
    seen, schedule = looked_at(augment)
    known = frozen_maps(frozen, seen, schedule)
    assert known.levels[0].shape == (8 * (1 + (augment == "flip")), 40, PIXELS // 8, PIXELS // 8)
    flips = 0
    for step in range(3):
        part = view(schedule, step, augment)
        flips += int(part.flip.sum())
        shown: Truth = seen.truth(part)
        targets = frozen.targets(shown, torch.from_numpy(part.weights), seen.size, torch.device("cpu"))
        images = seen.images(part)
        with torch.no_grad():
            anew = frozen.maps(images)
            assert all(torch.allclose(*pair, rtol=1e-3, atol=1e-3) for pair in zip(known(part), anew, strict=True))
            assert float(frozen(images, targets, known(part))) == pytest.approx(
                float(frozen(images, targets)), rel=1e-3
            )
    assert (flips > 0) == (augment == "flip")


def test_maps_are_not_kept_where_images_vary_or_it_saves_nothing(frozen, monkeypatch):
    from realfake.tasks import frozen_maps as module

    assert frozen_maps(frozen, *looked_at("flip-light")) is None
    assert frozen_maps(frozen, *looked_at("flip", examples=16)) is None
    assert frozen_maps(build_detector(DetectionRecipe(examples_seen=1), 1, 3), *looked_at("flip")) is None
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    assert frozen_maps(frozen, *looked_at("flip")) is None


def test_a_head_learns_on_a_body_that_looks_at_every_image_once(tmp_path, monkeypatch):
    from realfake.tasks import detection
    from realfake.tasks.anchor_free import AnchorFree
    from tests.tiny_scenes import trial

    looks, real = [], AnchorFree.maps
    monkeypatch.setattr(AnchorFree, "maps", lambda self, images: (looks.append(len(images)), real(self, images))[1])
    made = trial(**{f: getattr(HEAD, f) for f in ("model", "init", "frozen", "augment")}, examples_seen=160, width=8)
    options = {"accelerator": fresh(), "training": CPU}
    result = detection.train(made, scenes(), [], scenes(), tmp_path, lambda event: None, **options)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert result["status"] == "ok"
    assert result["steps"] == 20
    assert sum(looks) == 1 + 2 * 8 + 2 * 8  # one to weigh it, every image both ways, then the training and the test set
    assert len(lines) == 20
