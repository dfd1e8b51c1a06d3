"""The noise of a table: its components, simulated tables that vary as much, and test images drawn anew."""

import numpy as np
import pytest

from realfake import noise
from realfake.fits import FitError, fit
from realfake.inversion import mean_response
from realfake.trial_table import cell_means, normalised, select
from tests.simulated import SMALL, evidence_of, rng, several_arms, small, table


@pytest.mark.parametrize("arm", ["closed-set", "leaky", "alone"])
@pytest.mark.parametrize("bootstrap", [60, 400])
def test_simulated_deviations_are_centred_in_every_cell(arm, bootstrap):
    evidence = evidence_of(several_arms(), arm, bootstrap)
    deviations = cell_means(evidence.deviations, evidence.trials.cells)
    np.testing.assert_allclose(deviations.mean(axis=0), 0, atol=1e-12)
    for cell in range(len(evidence.trials.cells.n)):
        mean = mean_response(evidence, cell)
        assert np.log(mean.high / mean.point) == pytest.approx(np.log(mean.point / mean.low), rel=0.2)


def test_the_components_of_the_noise_are_estimated():
    noisy = {"noise": 0.02, "shared": 0.05, "by_size": 0.03, "seeds": 40}
    found = evidence_of(table(**noisy, **SMALL), bootstrap=20).noise
    squares = (found.between_draws, found.draws_by_size, found.own)
    own, by_size, by_draw = noise._components(found, *(square.mean for square in squares))
    assert np.sqrt([own, by_size, by_draw]) == pytest.approx([0.02, 0.03, 0.05], rel=0.25)


def test_simulated_tables_vary_as_much_as_the_measured_one():
    """Many replicates, so that the variances themselves are known: the SD of a cell mean is that of the truth."""
    noisy = {"noise": 0.02, "shared": 0.05, "by_size": 0.03, "seeds": 19}
    evidence = evidence_of(table(**noisy, **SMALL), bootstrap=2000)
    assert evidence.noise.method == "random effects"
    deviations = cell_means(evidence.deviations, evidence.trials.cells)
    expected = np.sqrt((0.02**2 + 0.05**2 + 0.03**2) / 19)
    assert np.median(deviations.std(axis=0)) == pytest.approx(expected, rel=0.35)
    same_draw = np.corrcoef(deviations.T)[0, 1:]
    assert (same_draw > 0.3).all()


def test_many_complete_replicates_are_resampled_whole():
    rows = table(seeds=noise.ENOUGH_REPLICATES, shared=0.05, **SMALL)
    evidence = evidence_of(rows, bootstrap=400)
    assert evidence.noise.method == "replicates resampled"
    trials = evidence.trials
    raw = trials.log_response - trials.cell_means[trials.cells.of_trial]
    assert evidence.deviations.std() == pytest.approx(raw.std() * np.sqrt(20 / 19), rel=0.1)
    assert evidence_of(rows[1:], bootstrap=20).noise.method == "random effects"


def with_test_images(rows, images, seed):
    """Rows with the error of test images of shared difficulty, and those errors by address."""
    difficulty = rng(seed).random(images)
    chance = rows["error"].to_numpy()[:, None]
    wrong = (difficulty + 0.05 * rng(seed + 1).normal(size=(len(rows), images)) < chance).astype(float)
    measured = rows.assign(error=wrong.mean(axis=1), n_test=images)
    return measured, {name: {"error": one} for name, one in zip(rows["address"], wrong, strict=True)}


def test_resampled_test_images_widen_a_mean_and_move_no_point():
    rows, per_image = with_test_images(small(noise=0.002, responses=("error",)), 300, 0)
    without_images = evidence_of(rows, response="error", bootstrap=1000)
    with_images = evidence_of(rows, response="error", bootstrap=1000, per_image=per_image)
    for cell in (0, 7):
        narrow, wide = mean_response(without_images, cell), mean_response(with_images, cell)
        assert wide.point == narrow.point
        assert wide.high - wide.low > narrow.high - narrow.low
        assert np.log(wide.high / wide.point) == pytest.approx(np.log(wide.point / wide.low), rel=0.35)


def test_test_images_are_resampled_jointly():
    """Two trials that fail on the same images move together; the SD is that of a mean over 400 images."""
    rows = small(responses=("error",))
    wrong = (rng(0).random(400) < 0.2).astype(float)
    trials = select(normalised(rows), response="error")
    per_image = {name: {"error": wrong} for name in trials.address}
    moved = noise.image_deviations(trials, per_image, 2000, rng(1))
    np.testing.assert_array_equal(moved, np.repeat(moved[:, :1], moved.shape[1], axis=1))
    expected = np.sqrt((1 - wrong.mean()) / (400 * wrong.mean()))
    assert moved[:, 0].std() == pytest.approx(expected, rel=0.1)
    assert moved[:, 0].mean() == pytest.approx(0, abs=expected / 10)


def test_trials_tested_on_different_images_are_refused():
    rows, per_image = with_test_images(small(responses=("error",)), 100, 0)
    name = rows["address"][0]
    per_image[name] = {"error": per_image[name]["error"][:50]}
    with pytest.raises(FitError, match="trials were tested on different numbers of images"):
        fit(rows, response="error", bootstrap=20, per_image=per_image)
