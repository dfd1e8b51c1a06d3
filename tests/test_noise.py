"""The noise of a table: its components, simulated tables that vary as much, and test images drawn anew."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from realfake.statistics import fits, noise
from realfake.statistics.fits import FitError
from realfake.statistics.inversion import mean_response
from realfake.statistics.trial_table import cell_means, normalised, select
from tests.simulated import SMALL, evidence_of, fit, rng, several_arms, small, table


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
    assert [level.name for level in found.levels] == ["subset draw", "subset draw at a size", "trial"]
    assert np.sqrt(found.variances()) == pytest.approx([0.05, 0.03, 0.02], rel=0.25)


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


def with_generator_noise(rows, sd, seeds, random):
    """Every mixture once for each generator seed, with what the trials of one generator share."""
    mixed = rows[rows["n_synthetic"] > 0]
    fitted_on = sorted(set(zip(mixed["subset_seed"], mixed["n_real"], strict=True)))
    parts = [rows[rows["n_synthetic"] == 0].assign(generator_seed=0)]
    for seed in range(seeds):
        effects = {key: random.normal(0, sd) for key in fitted_on}
        shared = np.array([effects[key] for key in zip(mixed["subset_seed"], mixed["n_real"], strict=True)])
        own = random.normal(0, 0.02, len(mixed))
        named = mixed.assign(generator_seed=seed, address=mixed["address"] + f"-{seed}")
        parts.append(named.assign(cross_entropy=mixed["cross_entropy"] * np.exp(shared + own)))
    return pd.concat(parts, ignore_index=True)


def by_reml(evidence, levels):
    """Variances of nested levels by statsmodels' restricted maximum likelihood."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    trials = evidence.trials
    names = ("draw", "size", "generator")
    frame = pd.DataFrame({"y": trials.log_response, "cell": trials.cells.of_trial.astype(str)})
    for name, level in zip(names, evidence.noise.levels, strict=False):
        frame[name] = level.group
    within = {name: f"0 + C({name})" for name in names[1:levels]}
    fitted = MixedLM.from_formula("y ~ 0 + cell", groups="draw", re_formula="1", vc_formula=within, data=frame).fit()
    parts = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))  # named in alphabetical order
    return [float(fitted.cov_re.iloc[0, 0]), *(float(parts[name]) for name in names[1:levels]), float(fitted.scale)]


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.ConvergenceWarning")
def test_variance_components_are_those_of_restricted_maximum_likelihood():
    """In a balanced design the two agree exactly where no component is clipped (Searle et al. 1992, §4.8)."""
    sizes = {"ladder": (1000, 2500, 5000), "bases": (1000, 2500, 5000), "ratios": (1, 4)}
    evidence = evidence_of(table(noise=0.02, shared=0.05, by_size=0.04, seeds=12, **sizes), bootstrap=20)
    scaled = dataclasses.replace(evidence.trials, log_response=evidence.trials.log_response / evidence.noise.scale)
    found = noise.estimate(scaled)
    raw = scaled.log_response - scaled.cell_means[scaled.cells.of_trial]
    plain = noise._levels(scaled, raw, noise.sources_of(scaled))
    ours = noise.components(plain, np.array([[level.square.sum] for level in plain]))[:, 0]
    assert len(found.levels) == 3
    np.testing.assert_allclose(ours, by_reml(fits.Evidence(scaled, found, np.zeros((1, 1))), 2), rtol=2e-3)


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.ConvergenceWarning")
def test_a_generator_refitted_on_one_subset_is_a_level_of_its_own():
    rows = with_generator_noise(table(noise=0.02, shared=0.04, by_size=0.03, seeds=12, **SMALL), 0.06, 3, rng(2))
    evidence = evidence_of(rows, bootstrap=2000)
    assert [level.name for level in evidence.noise.levels][2] == "generator"
    assert np.sqrt(evidence.noise.variances()[2]) == pytest.approx(0.06, rel=0.3)
    reml = by_reml(evidence, 3)
    assert np.sqrt(evidence.noise.variances()[2]) == pytest.approx(np.sqrt(reml[2]), rel=0.15)
    generator = evidence.noise.levels[2].group
    together, apart = (generator == generator[0]), (generator >= 0) & (generator != generator[0])
    moves = np.corrcoef(evidence.deviations.T)[0]
    assert moves[together].min() > moves[apart].max()


def test_seeds_that_change_together_are_one_level():
    rows = table(**SMALL)
    tied = rows.assign(generator_seed=rows["subset_seed"] + 7, trial_seed=rows["subset_seed"])
    names = [level.name for level in evidence_of(tied, bootstrap=20).noise.levels]
    assert names == ["subset draw", "subset draw at a size", "trial"]
