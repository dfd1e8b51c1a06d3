"""Virtual to real: one contract over all translators, and what colour and Fourier transfer are known to give."""

import functools
import itertools
import json

import numpy as np
import pytest

from realfake import syn2real
from realfake.syn2real import TRANSLATORS, Settings, colour, crops, fourier
from realfake.syn2real.crops import People
from realfake.values import SpecError
from tests.drawn_people import people, scenes
from tests.tiny_pipeline import needs_transformers, tiny_pipeline

# ---------------------------------------------------------------------------------------------- all translators alike

SMALL = Settings(steps=10, batch_size=2)
ALL = [pytest.param(name, marks=[needs_transformers] if name == "sd-img2img" else []) for name in TRANSLATORS]


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A function that fits a translator once, in a few steps: its loaded form and its facts."""

    @functools.cache
    def fit(name):
        weights = str(tiny_pipeline()) if name == "sd-img2img" else ""
        settings = Settings(steps=10, batch_size=2, weights=weights)
        folder = tmp_path_factory.mktemp(name)
        facts = syn2real.fit(name, settings, people("synthetic"), people("urban"), folder, seed=5)
        return syn2real.load(name, folder), facts

    return fit


@pytest.mark.parametrize("name", ALL)
def test_each_result_depends_on_its_own_crop_mask_and_seed_alone(name, fitted):
    loaded, part = fitted(name)[0], people("synthetic")
    seeds = [31, 7, 7, 90, 2**62, 5, 6, 4]
    whole = syn2real.transform(loaded, part.crops, part.masks, seeds)
    assert whole.shape == part.crops.shape
    assert whole.dtype == np.uint8
    for split in ([0, 1, 4, 8], [0, 7, 8]):
        pieces = [
            syn2real.transform(loaded, part.crops[a:b], part.masks[a:b], seeds[a:b])
            for a, b in itertools.pairwise(split)
        ]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
    again = syn2real.transform(loaded, part.crops[::-1], part.masks[::-1], seeds[::-1])
    np.testing.assert_array_equal(again[::-1], whole)
    if name not in ("identity", "cyclegan"):
        assert (syn2real.transform(loaded, part.crops, part.masks, range(8)) != whole).any()


@pytest.mark.parametrize("name", ALL)
def test_pasted_back_only_the_person_is_another(name, fitted):
    from scipy.ndimage import binary_dilation

    images, start, boxes, masks = scenes("synthetic")
    part = people("synthetic")
    new = syn2real.transform(fitted(name)[0], part.crops, part.masks, range(8))
    pasted = crops.paste_people(images, start, boxes, masks, new)
    beyond = ~binary_dilation(masks > 0, np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]))
    np.testing.assert_array_equal(pasted[beyond], images[beyond])
    assert (pasted != images).any() == (name != "identity")


@pytest.mark.parametrize("name", ALL)
def test_facts_are_plain_and_count_the_people(name, fitted):
    facts = json.loads(json.dumps(fitted(name)[1]))
    assert (facts["n_source"], facts["n_target"]) == (8, len(people("urban")))
    assert facts["crop_pixels"] == 32
    assert facts.get("executed_steps") == (5 if name in ("sdedit", "sd-img2img") else None)


@pytest.mark.parametrize("name", ALL)
def test_no_crops_give_no_crops_and_wrong_ones_are_refused(name, fitted):
    loaded, part = fitted(name)[0], people("synthetic")
    assert syn2real.transform(loaded, part.crops[:0], part.masks[:0], []).shape == (0, 32, 32, 3)
    with pytest.raises(ValueError, match="its own seed"):
        syn2real.transform(loaded, part.crops, part.masks, [1])
    with pytest.raises(ValueError, match="fitted for crops of 32"):
        syn2real.transform(loaded, part.crops[:, :16, :16], np.ones((8, 16, 16), bool), range(8))


@pytest.mark.parametrize("name", ["colour", "fourier", "sdedit", "cyclegan"])
def test_a_fit_is_repeated_to_the_byte(name, fitted, tmp_path):
    facts = syn2real.fit(name, SMALL, people("synthetic"), people("urban"), tmp_path, seed=5)
    assert {**facts, "seconds": 0} == {**fitted(name)[1], "seconds": 0}
    part = people("synthetic")
    results = [
        syn2real.transform(loaded, part.crops, part.masks, range(8))
        for loaded in (syn2real.load(name, tmp_path), fitted(name)[0])
    ]
    np.testing.assert_array_equal(*results)


def test_what_cannot_be_fitted_is_refused(tmp_path):
    part, nobody = people("synthetic"), People(np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 32, 32), bool))
    with pytest.raises(SpecError, match="did you mean"):
        syn2real.fit("color", SMALL, part, part, tmp_path)
    with pytest.raises(ValueError, match="8 virtual and 0 real people"):
        syn2real.fit("colour", SMALL, part, nobody, tmp_path)
    with pytest.raises(ValueError, match="cut both alike"):
        syn2real.fit("colour", SMALL, part, crops.people(*scenes("urban"), pixels=16), tmp_path)
    odd = crops.people(*scenes("urban"), pixels=30)
    with pytest.raises(SpecError, match="multiple of 4"):
        syn2real.fit("sdedit", SMALL, odd, odd, tmp_path)
    with pytest.raises(FileNotFoundError):
        syn2real.load("colour", tmp_path / "nothing")
    with pytest.raises(SpecError, match=r"Settings\.strength is 1\.5"):
        Settings(strength=1.5)


# ------------------------------------------------------------------------------------------------------ known answers


def test_recoloured_people_have_exactly_the_chosen_mean_and_spread():
    part, real = people("synthetic"), people("urban")
    np.testing.assert_allclose(colour.OHTA @ colour.OHTA.T, np.eye(3), atol=1e-12)
    for i in range(len(part)):
        chosen = colour.moments(real.crops[i], real.masks[i])
        result = colour.recolour(part.crops[i], part.masks[i], chosen)
        np.testing.assert_allclose(colour.moments(result, part.masks[i]), chosen, atol=1e-9)
        rgb = result[part.masks[i]].mean(0)  # the means of red, green and blue follow
        np.testing.assert_allclose(rgb, real.crops[i][real.masks[i]].mean(0), atol=1e-9)


def test_a_person_of_one_colour_is_shifted_and_not_stretched():
    flat, mask = np.full((8, 8, 3), 90.0), np.ones((8, 8), bool)
    chosen = np.array([[150.0, 20.0, -10.0], [60.0, 9.0, 9.0]])
    np.testing.assert_allclose(colour.moments(colour.recolour(flat, mask, chosen), mask)[0], chosen[0])


@pytest.mark.parametrize(("blur", "noise"), [(0.0, 0.0), (0.8, 0.0), (0.0, 6.0), (1.2, 5.0)])
def test_the_blur_and_noise_of_the_real_camera_are_found(blur, noise):
    random = np.random.default_rng(3)
    sharp = colour.blurred(random.normal(120, 40, (40, 32, 32, 3)), 0.5)
    masks = np.broadcast_to(np.hypot(*np.mgrid[-15.5:16, -15.5:16]) < 12, (40, 32, 32))
    real = colour.blurred(sharp, blur) + noise * random.standard_normal(sharp.shape)
    of_the_same, of_others = (
        colour.faults(sharp[:20], masks[:20], real[part], masks[part]) for part in (slice(20), slice(20, 40))
    )
    np.testing.assert_allclose(of_the_same, (blur, noise), atol=0.1)
    np.testing.assert_allclose(of_others, (blur, noise), atol=0.3)


def test_real_people_need_no_more_blur_or_noise(tmp_path):
    facts = syn2real.fit("colour", SMALL, people("urban"), people("urban"), tmp_path)
    assert facts["blur"] == 0
    assert facts["noise"] < 1e-3


def test_fourier_swaps_nothing_at_beta_0_and_all_amplitudes_at_beta_1(tmp_path):
    part = people("synthetic")
    syn2real.fit("fourier", Settings(beta=0), part, people("urban"), tmp_path)
    same = syn2real.transform(syn2real.load("fourier", tmp_path), part.crops, part.masks, range(8))
    np.testing.assert_array_equal(same, part.crops)
    everything = fourier.window(32, 1.0)
    wanted = np.abs(np.fft.fft2(people("urban").crops[0].astype(float), axes=(0, 1)))
    result = np.fft.fft2(fourier.swap(part.crops[0], wanted[everything], everything), axes=(0, 1))
    np.testing.assert_allclose(np.abs(result), wanted, atol=1e-8)
    own = np.fft.fft2(part.crops[0].astype(float), axes=(0, 1))
    np.testing.assert_allclose(result * np.abs(own), own * wanted, atol=1e-5 * np.abs(own).max())


@pytest.mark.parametrize("beta", [0.01, 0.05, 0.09, 0.2])
def test_the_window_is_the_centre_square_of_the_shifted_spectrum(beta):
    half = int(np.floor(32 * beta))  # b, h1 = c − b and h2 = c + b + 1 of the authors' numpy code
    centred = np.zeros((32, 32), bool)
    centred[16 - half : 16 + half + 1, 16 - half : 16 + half + 1] = True
    np.testing.assert_array_equal(np.fft.fftshift(fourier.window(32, beta)), centred)


def test_a_swapped_person_has_the_mean_colour_of_a_real_one(tmp_path):
    part, real = people("synthetic"), people("urban")
    syn2real.fit("fourier", Settings(beta=0.01), part, People(real.crops[:1], real.masks[:1]), tmp_path)
    result = syn2real.transform(syn2real.load("fourier", tmp_path), part.crops, part.masks, range(8))
    wanted = real.crops[0][real.masks[0]].mean(0)
    for before, after, mask in zip(part.crops, result, part.masks, strict=True):
        shifted = before + wanted - before[mask].mean(0)  # frequency 0 alone is swapped
        np.testing.assert_allclose(after, shifted.clip(0, 255), atol=0.51)
