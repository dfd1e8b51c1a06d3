"""Standard corruptions: against closed forms, against colorsys, and against what another package made.

``golden/imagecorruptions.npz`` holds an image of 32 pixels and what imagecorruptions 1.1.2 makes of it (with numpy
1.26, scikit-image 0.20, and ``channel_axis=-1`` for the argument ``multichannel`` that scikit-image has dropped), at
severities 1 and 3; the angles of its motion blur are those of numpy's global generator seeded by the severity.
"""

import colorsys
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from realfake import corruptions, samples
from realfake.corruptions import KINDS, corrupt, places, severities, values
from realfake.datasets import DatasetError, import_dataset
from realfake.outside import CORRUPTIONS
from realfake.samples import Samples
from realfake.spec import Dataset, Evaluation, SpecError, Subset, Trial, address
from realfake.store import Store
from tests import tiny
from tests.tiny_chain import TEST as SCENES
from tests.tiny_chain import import_scenes

IDS = np.arange(40)
LIBRARY = Path(__file__).parent / "golden" / "imagecorruptions.npz"


def photos(side=32, channels=3, n=40, seed=0):
    """Smooth random images, away from black and white."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(n, side, side, channels))
    smooth = gaussian_filter(noise, (0, side / 10, side / 10, 0))
    return np.round(128 + 25 * smooth / smooth.std()).clip(60, 195).astype(np.uint8)


def grey(value, side=32, channels=1, n=40):
    return np.full((n, side, side, channels), value, np.uint8)


def changed(images, corruption, ids=IDS):
    return corrupt(images, ids, corruption).astype(float) - images


# --------------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_noise_has_the_variance_that_it_says(severity):
    deviation = severities.NOISE["gaussian-noise"][0][severity - 1]
    noise = changed(grey(128), f"gaussian-noise-{severity}") / 255
    assert noise.std() == pytest.approx(np.sqrt(deviation**2 + 1 / 12 / 255**2), rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=4 * deviation / np.sqrt(noise.size))
    photons = severities.NOISE["shot-noise"][0][severity - 1]
    shot = changed(grey(102), f"shot-noise-{severity}") / 255
    assert shot.var() == pytest.approx(0.4 / photons, rel=0.03)
    speckle = changed(grey(102), f"speckle-noise-{severity}") / 255
    assert speckle.std() == pytest.approx(0.4 * severities.NOISE["speckle-noise"][0][severity - 1], rel=0.03)


def test_impulses_strike_the_share_that_they_say_black_and_white_alike():
    images = grey(128, channels=3)
    after = corrupt(images, IDS, "impulse-noise-5")
    struck = (after != 128).mean()
    assert struck == pytest.approx(0.07, rel=0.03)
    assert set(np.unique(after)) == {0, 128, 255}
    assert (after == 255).mean() / struck == pytest.approx(0.5, abs=0.02)


def test_brightness_and_contrast_are_what_they_say():
    for severity in range(1, 6):
        more = severities.COLOUR["brightness"][0][severity - 1]
        assert np.unique(changed(grey(100), f"brightness-{severity}")) == [round(100 + 255 * more) - 100]
        factor = severities.COLOUR["contrast"][0][severity - 1]
        images = photos(channels=1)
        after = corrupt(images, IDS, f"contrast-{severity}").astype(float)
        means = images.mean(axis=(1, 2), keepdims=True)
        assert np.abs(after - (means + factor * (images - means))).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("severity", [1, 5])
def test_hue_and_saturation_are_those_of_colorsys(severity):
    pixels = np.random.default_rng(0).random((6, 7, 3))
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = 0, 1, 0.4  # black, white, grey
    more = severities.COLOUR["brightness"][2][severity - 1]
    bright = values.brightness(pixels, np.random.default_rng(0), more)
    factor, added = severities.COLOUR["saturate"][2][severity - 1]
    vivid = values.saturate(pixels, np.random.default_rng(0), factor, added)
    for pixel, brighter, stronger in zip(*(x.reshape(-1, 3) for x in (pixels, bright, vivid)), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        assert brighter == pytest.approx(colorsys.hsv_to_rgb(h, s, min(v + more, 1)))
        assert stronger == pytest.approx(colorsys.hsv_to_rgb(h, min(s * factor + added, 1), v))


def test_blurs_keep_a_flat_image_and_the_mean_of_any_and_lose_variance_with_severity():
    kinds = ("gaussian-blur", "defocus-blur", "motion-blur", "zoom-blur", "pixelate", "elastic")
    for kind in kinds:
        assert np.array_equal(corrupt(grey(90), IDS, f"{kind}-5"), grey(90)), kind
    images = photos(channels=1)
    for kind in kinds[:3]:
        spread = [corrupt(images, IDS, f"{kind}-{severity}").std(axis=(1, 2)).mean() for severity in (1, 3, 5)]
        assert images.std(axis=(1, 2)).mean() > spread[0] > spread[1] > spread[2], kind
        assert changed(images, f"{kind}-5").mean() == pytest.approx(0, abs=1.5), kind


def test_a_point_becomes_a_disk_and_a_trace_of_whole_pixels():
    point = np.zeros((21, 21, 1))
    point[10, 10] = 1
    random = np.random.default_rng(0)
    disk = places.defocus_blur(point, random, 3.0, 0.01)[..., 0]
    y, x = np.mgrid[-10:11, -10:11]
    assert np.allclose(disk, (x**2 + y**2 <= 9) / 29)
    trace = places.motion_blur(point, np.random.default_rng(3), 3.0, 2.0)[..., 0]
    assert (trace > 0).sum() == 7
    weights = np.sort(trace[trace > 0])[::-1]
    assert weights[1:] / weights[0] == pytest.approx(np.exp(-(np.arange(1, 7) ** 2) / 8))
    assert trace[:, 11:].sum() == 0  # a pixel takes from what lies to its right


def test_zooming_mixes_an_image_with_itself_around_its_centre():
    across = np.tile(np.linspace(-1, 1, 9)[None, :, None], (9, 1, 1))  # linear, so interpolation is exact
    blurred = places.zoom_blur(across, np.random.default_rng(0), 1.25, 0.1)
    factors = np.array([1, 1.1, 1.2])
    assert np.allclose(blurred, across * (1 + (1 / factors).sum()) / 4)


def test_severities_of_one_image_share_their_random_numbers_and_images_do_not():
    images = grey(128, n=2)
    weak, strong = (changed(images, f"gaussian-noise-{severity}", IDS[:2]) for severity in (1, 2))
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    assert abs(np.corrcoef(weak[0].ravel(), weak[1].ravel())[0, 1]) < 0.15
    assert np.array_equal(
        corrupt(images[1:], IDS[1:2], "gaussian-noise-1"), corrupt(images, IDS[:2], "gaussian-noise-1")[1:]
    )


# ------------------------------------------------------------------------------------------------ against the library


@pytest.mark.parametrize(
    "kind", ["brightness", "contrast", "saturate", "gaussian-blur", "defocus-blur", "pixelate", "jpeg"]
)
@pytest.mark.parametrize("severity", [1, 3])
def test_an_image_is_corrupted_as_by_the_library(kind, severity):
    golden = np.load(LIBRARY)
    ours = _ours(golden["image"], kind, severity)
    theirs = golden[f"{kind}-{severity}"].astype(float)
    assert np.abs(ours - theirs).max() <= 1.01  # the library cuts off, so up to a level darker
    assert np.abs(golden["image"] - theirs).mean() > 2


def test_motion_is_that_of_the_library():
    golden = np.load(LIBRARY)
    for severity in (1, 3):

        class Angle:
            def uniform(self, low, high, severity=severity):
                return np.deg2rad(golden[f"angle-{severity}"])

        strong = severities.BLUR["motion-blur"][2][severity - 1]
        ours = places.motion_blur(golden["image"] / 255, Angle(), *strong) * 255
        assert np.abs(ours - golden[f"motion-blur-{severity}"]).max() <= 1.01


def _ours(image, kind, severity):
    value = severities.TABLES[kind][2][severity - 1]  # the library has the strengths of ImageNet-C at every size
    strong = value if isinstance(value, tuple) else (value,)
    return np.clip(KINDS[kind](image / 255, np.random.default_rng(0), *strong), 0, 1) * 255


# -------------------------------------------------------------------------------------------------------- as a data set


def test_strengths_are_published_ones_at_three_sizes_and_scaled_between():
    assert severities.strength("gaussian-noise", 3, 32) == (0.08,)
    assert severities.strength("gaussian-noise", 3, 8) == (0.08,)
    assert severities.strength("gaussian-noise", 3, 64) == (0.12,)
    assert severities.strength("gaussian-noise", 3, 224) == (0.18,)
    assert severities.strength("defocus-blur", 4, 224) == (8, 0.5)
    assert severities.strength("defocus-blur", 4, 448) == (16, 1.0)
    assert severities.strength("defocus-blur", 4, 8) == severities.strength("defocus-blur", 4, 32) == (1, 0.2)
    assert severities.strength("elastic", 2, 224) == pytest.approx((488, 244 * 0.08, 244 * 0.2))
    assert severities.strength("elastic", 3, 8) == pytest.approx((0.64, 0.48, 0.48))
    assert [severities.table_side(side) for side in (8, 45, 46, 119, 120, 512)] == [32, 32, 64, 64, 224, 224]
    assert set(KINDS) == set(CORRUPTIONS) == set(severities.TABLES)
    assert all(len(columns) == 3 and {len(c) for c in columns} == {5} for columns in severities.TABLES.values())


@pytest.mark.parametrize("side", [8, 64])
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_corruption_changes_small_and_larger_images_and_keeps_their_form(kind, side):
    images = photos(side, 3, n=4)
    after = corrupt(images, IDS[:4], f"{kind}-4")
    assert (after.shape, after.dtype) == (images.shape, np.uint8)
    assert np.abs(after.astype(float) - images).mean() > 0.4
    if kind != "saturate":
        assert corrupt(images[..., :1], IDS[:4], f"{kind}-4").shape == (4, side, side, 1)


def test_captions_stay_with_their_images(tmp_path):
    store, said = Store(tmp_path), [f"a digit, number {i}" for i in range(20)]
    part, clean = tiny.digits().take(slice(0, 20)), Dataset(name="said", split="test")
    with store.making(clean) as (folder, result):
        table = samples.to_table(part.images, part.labels, part.ids, captions=said)
        samples.write_table(table, folder / "0.parquet")
        result |= {"classes": list(part.classes), "n": 20, "pixels": 8, "channels": 1}
    spoilt = dataclasses.replace(clean, corruption="brightness-2")
    import_dataset(spoilt, store)
    found = samples.load(store, spoilt)
    assert found.captions == tuple(said)
    assert not np.array_equal(found.images, part.images)


def test_grey_images_have_no_saturation():
    with pytest.raises(DatasetError, match="grey images have no saturation"):
        corrupt(grey(9), IDS, "saturate-2")


def test_a_corrupted_set_is_made_from_the_record_of_the_clean_one(digits_store, monkeypatch):
    clean = Dataset(name="digits", split="test")
    spoilt = dataclasses.replace(clean, corruption="contrast-5")
    monkeypatch.setattr("realfake.sources.digits", lambda: pytest.fail("decoded twice"))
    facts = import_dataset(spoilt, digits_store)
    before, after = samples.load(digits_store, clean), samples.load(digits_store, spoilt)
    assert np.array_equal(before.ids, after.ids)
    assert np.array_equal(before.labels, after.labels)
    assert np.array_equal(corrupt(before.images, before.ids, "contrast-5"), after.images)
    assert facts["source"].endswith("contrast-5, strength as at 32 px")
    own = {key: value for key, value in digits_store.record(clean)["result"].items() if key != "source"}
    assert {key: value for key, value in facts.items() if key != "source"} == own
    assert address(spoilt.clean) == address(clean) != address(spoilt)


def test_boxes_and_masks_stay_and_what_moves_them_is_refused(tmp_path):
    store = Store(tmp_path)
    import_scenes(store, SCENES, 3)
    import_dataset(dataclasses.replace(SCENES, corruption="jpeg-5"), store)
    before, after = (samples.load(store, dataclasses.replace(SCENES, corruption=c)) for c in ("", "jpeg-5"))
    assert np.array_equal(before.objects.box, after.objects.box)
    assert np.array_equal(before.masks, after.masks)
    assert not np.array_equal(before.images, after.images)
    with pytest.raises(DatasetError, match="away from its boxes"):
        import_dataset(dataclasses.replace(SCENES, corruption="elastic-1"), store)


@pytest.mark.parametrize("wrong", ["gaussian-noise", "gaussian-noise-6", "gausian-noise-3", "fog-1", "3"])
def test_an_unknown_corruption_says_what_to_write(wrong):
    with pytest.raises(SpecError, match="a corruption and its severity from 1 to 5, such as 'gaussian-noise-3'"):
        Dataset(name="digits", split="test", corruption=wrong)


def test_nothing_is_trained_on_corrupted_images_nor_tried_on_corrupted_training_images():
    with pytest.raises(SpecError, match="corrupted images are tested on, not trained on; write split='test'"):
        Dataset(name="digits", corruption="jpeg-1")
    spoilt = dataclasses.replace(tiny.TEST, corruption="jpeg-1")
    with pytest.raises(SpecError, match="tested on, not trained on"):
        Subset(of=spoilt, size=10)
    leaky = Trial(real=Subset(of=tiny.TEST, size=10), test=tiny.TRAIN, recipe=tiny.RECIPE)
    with pytest.raises(SpecError, match="is also trained on"):
        Evaluation(of=leaky, on=spoilt)
    with pytest.raises(SpecError, match="is also trained on"):
        dataclasses.replace(leaky, test=spoilt)


def test_files_hold_so_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(corruptions, "FILE_ROWS", 30)
    store = tiny.import_digits(tmp_path, n_test=70)
    spoilt = dataclasses.replace(tiny.TEST, corruption="brightness-1")
    import_dataset(spoilt, store)
    assert sorted(store.record(spoilt)["files"]) == [f"part-0000{i}.parquet" for i in range(3)]
    whole: Samples = samples.load(store, spoilt)
    assert len(whole) == 70
