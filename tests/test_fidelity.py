"""The copy rate against known answers, and the sheets against the pixels they show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realfake.fidelity import CHUNK, contact_sheet, copy_rate, nearest, nearest_sheet
from realfake.samples import Samples


def noise(n, seed, side=6, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def some_samples(n, seed, channels=1):
    labels = np.arange(n) % 3
    return Samples(noise(n, seed, channels=channels), labels, np.arange(n), ("ant", "bee", "cat"))


REAL, HELD_OUT = noise(80, 0), noise(2000, 1)


def test_all_copies_have_rate_one_and_no_distance():
    rate = copy_rate(REAL[np.arange(200) % 80], REAL, HELD_OUT)
    assert rate["copy_rate"] == 1.0
    assert rate["median_ratio"] < 1e-6
    assert (rate["n_synthetic"], rate["n_real"], rate["n_held_out"]) == (200, 80, 2000)


def test_fresh_images_have_about_the_rate_that_the_threshold_was_set_at():
    rate = copy_rate(noise(4000, 2), REAL, HELD_OUT, quantile=0.05)
    assert rate["null_rate"] == pytest.approx(0.05, abs=0.001)
    assert rate["copy_rate"] == pytest.approx(0.05, abs=0.025)  # three standard errors of both shares
    assert rate["median_ratio"] == pytest.approx(1, abs=0.01)


def test_a_mixture_has_the_rate_of_its_copies():
    rate = copy_rate(np.concatenate([REAL[:60], noise(140, 3)]), REAL, HELD_OUT, quantile=0.001)
    assert rate["copy_rate"] == pytest.approx(60 / 200, abs=0.01)


def test_distances_are_of_images_in_0_to_1():
    black, white = np.zeros((1, 4, 4, 1), np.uint8), np.full((1, 4, 4, 1), 255, np.uint8)
    assert copy_rate(white, black, white)["threshold"] == pytest.approx(4.0)  # √(16 pixels · 1²)


def test_features_that_ignore_brightness_find_darkened_copies():
    def contrast(images):
        rows = images.reshape(len(images), -1).astype(float)
        rows -= rows.mean(1, keepdims=True)
        return rows / rows.std(1, keepdims=True)

    darker = (REAL // 2).astype(np.uint8)
    assert copy_rate(darker, REAL, HELD_OUT, features=contrast)["copy_rate"] == 1.0


@pytest.mark.parametrize("empty", ["synthetic", "real", "held_out"])
def test_an_empty_set_is_refused_by_name(empty):
    sets = {"synthetic": REAL, "real": REAL, "held_out": HELD_OUT, empty: REAL[:0]}
    with pytest.raises(ValueError, match=f"no {empty} images"):
        copy_rate(**sets)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_nearest_is_the_minimum_over_all_pairs(m, n, seed):
    random = np.random.default_rng(seed)
    a, b = random.random((m, 5)), random.random((n, 5))
    distances, rows = nearest(a, b)
    pairs = np.linalg.norm(a[:, None] - b, axis=-1)
    np.testing.assert_allclose(distances, pairs.min(1), atol=1e-6)
    np.testing.assert_allclose(pairs[np.arange(m), rows], pairs.min(1), atol=1e-6)


def test_nearest_does_not_depend_on_chunks():
    a, b = np.random.default_rng(0).random((CHUNK + 7, 3)), np.random.default_rng(1).random((10, 3))
    together, apart = nearest(a, b), nearest(a[CHUNK:], b)
    np.testing.assert_allclose(together[0][CHUNK:], apart[0])
    np.testing.assert_array_equal(together[1][CHUNK:], apart[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_shows_real_images_left_and_synthetic_ones_right(channels):
    real, synthetic = some_samples(12, 0, channels), some_samples(5, 1, channels)
    sheet = contact_sheet(real, synthetic, columns=2, side=6)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] == 16 + 3 * 6
    right = sheet[16:, -12:]
    np.testing.assert_array_equal(right[:6, :6], np.broadcast_to(synthetic.images[0], (6, 6, 3)))
    np.testing.assert_array_equal(right[12:, 6:], np.full((6, 6, 3), 255))  # the third class has one image only
    left = sheet[16:, 26:38]  # after the names
    np.testing.assert_array_equal(left[6:12, 6:], np.broadcast_to(real.images[4], (6, 6, 3)))


def test_the_nearest_sheet_puts_the_copy_first_above_its_original():
    synthetic = np.concatenate([noise(9, 5), REAL[7:8]])
    sheet = nearest_sheet(synthetic, REAL, columns=3, side=6)
    original = np.broadcast_to(REAL[7], (6, 6, 3))
    np.testing.assert_array_equal(sheet[:6, :6], original)
    np.testing.assert_array_equal(sheet[-6:, :6], original)
