"""Errors as counts: the fit is the textbook one, zeros are observations, intervals hold where logarithms mislead."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import realfake
from realfake.laws import LAWS, POWER
from realfake.statistics import counts as counting
from realfake.statistics import fits, noise
from realfake.statistics.fits import fit_evidence, gather
from realfake.statistics.regression import Cells
from realfake.statistics.trial_table import normalised, select
from tests.simulated import rng

TRUTH = (0.015, 2.4, 0.65, 0.3, 8.0)  # of the law "scaled"
LADDER, BASES, RATIOS = (25, 50, 100, 200, 400, 800, 1600), (50, 100, 200), (1, 4, 16)
N_TEST = 100  # real-only cells expect 31 to 3.5 errors, mixtures 19 to 5
SMALLEST = [(1600, 0), (800, 0), (200, 3200)]
PLACES = [(50, 200), (50, 800), (100, 400), (100, 1600), (200, 800), (200, 3200)]


def truth(n, m):
    return float(LAWS["scaled"].error(TRUTH, float(n), float(m), float(n)))


def counted(random, *, seeds=3, n_test=N_TEST, shared=0.05, own=0.03, error=truth):
    """A table of trials whose errors are binomial counts around log-normal expected errors."""
    cells = [(n, 0) for n in LADDER] + [(n, ratio * n) for n in BASES for ratio in RATIOS]
    rows = []
    for seed in range(seeds):
        of_draw = random.normal(0, shared)
        for n, m in cells:
            rate = error(n, m) * np.exp(of_draw + random.normal(0, own) - (shared**2 + own**2) / 2)
            measured = {"error": random.binomial(n_test, min(rate, 1)) / n_test, "n_test": n_test}
            place = {"n_real": n, "n_synthetic": m, "subset_seed": seed, "arm": "closed-set" if m else "real-only"}
            rows.append({**place, **measured, "address": f"trial-{seed}-{n}-{m}"})
    return pd.DataFrame(rows)


def trials_of(rows):
    return select(normalised(rows), response="error")


def fitted(rows, bootstrap=20, seed=0, law="scaled"):
    return fit_evidence(gather(trials_of(rows), bootstrap=bootstrap, seed=seed), law=law)


# When.


def test_counts_are_fitted_only_where_they_are_few_and_the_test_set_is_known():
    few, many = counted(rng(0)), counted(rng(0), n_test=2000)
    assert counting.are_few(trials_of(few))
    assert not counting.are_few(trials_of(many))
    assert not counting.are_few(trials_of(few.drop(columns="n_test")))
    unknown = few.assign(n_test=few["n_test"].where(few.index > 0))
    assert not counting.are_few(trials_of(unknown))
    losses = select(normalised(few.assign(cross_entropy=few["error"] + 0.1)), response="cross_entropy")
    assert not counting.are_few(losses)


def test_nothing_changes_where_counts_are_many():
    many = counted(rng(0), n_test=2000)
    assert fitted(many) == fitted(many.drop(columns="n_test"))


def test_a_fit_of_counts_says_so():
    found = fitted(counted(rng(0)))
    assert found.noise == "counts of errors"
    assert any("errors are fitted as counts: a cell expects" in note for note in found.notes)
    assert not any("half an error" in note for note in found.notes)


def test_posterior_draws_of_counts_are_refused():
    with pytest.raises(fits.FitError, match="cells that expect fewer than 10 errors; use method='bootstrap'"):
        realfake.fit(counted(rng(0)), response="error", law="scaled", method="bayes", bootstrap=20)


# The point fit.


def chance_alone(n_test, studies=1):
    nothing = np.zeros((studies, len(n_test)))
    return counting.Counts(np.asarray(n_test, dtype=float), 0.0, nothing, nothing)


@pytest.mark.filterwarnings("ignore:The Log link")  # of statsmodels: a fitted probability may exceed 1
def test_a_power_law_is_the_binomial_regression_of_statsmodels():
    n = np.repeat([20.0, 50.0, 100.0, 200.0, 500.0, 1000.0], 4)
    n_test = np.tile([100, 150, 200, 250], 6)
    wrong = rng(5).binomial(n_test, 1.0 * n**-0.7)
    assert wrong.min() == 0
    theirs = sm.GLM(
        np.stack([wrong, n_test - wrong], axis=1),
        np.stack([np.ones(len(n)), np.log(n)], axis=1),
        family=sm.families.Binomial(link=sm.families.links.Log()),
    ).fit()
    sizes, of_trial = np.unique(n, return_inverse=True)
    ours, _ = counting.quasi_likelihood(
        POWER,
        Cells(sizes, np.zeros(6), sizes, of_trial),
        (wrong / n_test)[None],
        np.array([[0.0, 1.0, 0.4]]),
        free=np.array([False, True, True]),
        counts=chance_alone(n_test),
    )
    assert ours.converged.all()
    assert np.log(ours.parameters[0, 1]) == pytest.approx(theirs.params[0], abs=1e-3)
    assert -ours.parameters[0, 2] == pytest.approx(theirs.params[1], abs=1e-3)


def test_a_table_of_expected_counts_gives_back_its_parameters():
    rows = counted(rng(0), seeds=2, shared=0.0, own=0.0)
    rows["error"] = [truth(n, m) for n, m in rows[["n_real", "n_synthetic"]].to_numpy()]
    np.testing.assert_allclose(fitted(rows).point, TRUTH, rtol=1e-3)


def test_a_cell_without_any_error_can_be_fitted():
    rows = counted(rng(3))
    before = fitted(rows).error(1600, 0).point
    rows.loc[(rows["n_real"] == 1600), "error"] = 0.0
    found = fitted(rows, bootstrap=60)
    assert np.isfinite(found.point).all()
    assert 0 < found.error(1600, 0).point < before


# The noise beyond chance.


def test_the_variances_beyond_chance_are_estimated():
    """Sixty draws, expected counts of 3.5 to 31: SDs of 0.2 and 0.15 come back under chance SDs of 0.2 to 0.5."""
    trials = counting.about_cell_means(trials_of(counted(rng(1), seeds=60, shared=0.2, own=0.15)))
    found, chance = counting.beyond_chance(trials)
    sums = np.array([[level.square.sum] for level in found.levels]) - chance[:, None]
    sds = np.sqrt(noise.components(found.levels, sums)[:, 0])
    assert [level.name for level in found.levels] == ["subset draw", "subset draw at a size", "trial"]
    assert sds[0] == pytest.approx(0.2, rel=0.25)
    assert sds[1] < 0.08
    assert sds[2] == pytest.approx(0.15, rel=0.35)


def test_chance_alone_leaves_no_variance_on_average():
    left = []
    for seed in range(40):
        trials = counting.about_cell_means(trials_of(counted(rng(seed), shared=0.0, own=0.0)))
        found, chance = counting.beyond_chance(trials)
        left.append([level.square.sum for level in found.levels] - chance)
    sums = np.array(left)
    np.testing.assert_allclose(sums.mean(axis=0), 0, atol=3.5 * (sums.std(axis=0) / np.sqrt(len(sums))).max())


def test_without_chance_the_variances_are_those_of_the_log_responses():
    """Endless test sets: the same analysis of variance as `noise`, which is checked against its own closed forms."""
    trials = replace(trials_of(counted(rng(2), n_test=10**6)), n_test=np.full(48, 1e15))
    relative = counting.about_cell_means(trials)
    found, chance = counting.beyond_chance(relative)
    plain = noise.Noise(
        np.ones(48), found.deviations, noise._levels(relative, found.deviations, noise.sources_of(relative)), ""
    )
    sums = np.array([[level.square.sum] for level in found.levels])
    np.testing.assert_allclose(
        noise.components(found.levels, sums - chance[:, None])[:, 0], plain.variances(), rtol=1e-6
    )


# Simulated studies.


def test_simulated_studies_are_binomial_counts_with_zeros():
    expected, n_test = np.array([0.02, 0.2]), np.array([100.0, 50.0])
    luck = rng(0).standard_normal((20_000, 2))
    studies = counting.Counts(n_test, 0.0, np.zeros((20_000, 2)), luck).simulated(expected)
    np.testing.assert_allclose(studies * n_test, np.round(studies * n_test), atol=1e-9)
    np.testing.assert_allclose(studies.mean(axis=0), expected, rtol=0.02)
    np.testing.assert_allclose(studies.var(axis=0), expected * (1 - expected) / n_test, rtol=0.04)
    assert (studies[:, 0] == 0).mean() == pytest.approx(0.98**100, rel=0.05)


def test_counts_on_shared_test_images_are_correlated():
    """One easy and one hard half of the test images: the correlation is that of two trials' errors on an image."""
    trials = trials_of(counted(rng(0)))
    hard = np.arange(2000) % 2 == 0
    wrong = {name: {"error": (rng(i).random(2000) < np.where(hard, 0.3, 0.1))} for i, name in enumerate(trials.address)}
    found = counting.image_correlation(trials, wrong)
    assert found == pytest.approx(0.01 / (0.2 * 0.8), abs=0.01)
    alike = {name: {"error": hard.astype(float)} for name in trials.address}
    assert counting.image_correlation(trials, alike) == pytest.approx(0.99)


def test_per_image_results_widen_what_trials_share_and_are_checked():
    rows = counted(rng(0))
    same = (rng(1).random(N_TEST) < 0.1).astype(float)
    per_image = {name: {"error": same} for name in rows["address"]}
    one = gather(trials_of(rows), bootstrap=200, seed=0)
    joint = gather(trials_of(rows), bootstrap=200, seed=0, per_image=per_image)
    between = [np.corrcoef(each.counts.luck.T)[0, 1:].mean() for each in (one, joint)]
    assert between[0] == pytest.approx(0, abs=0.1)
    assert between[1] > 0.9
    with pytest.raises(fits.FitError, match="per_image has no error of the trial"):
        gather(trials_of(rows), bootstrap=20, seed=0, per_image={})


# Bias and coverage, against logarithms with zeros lifted to half an error.


def equivalent(n, m):
    return float(LAWS["scaled"].equivalent(TRUTH, float(n), float(m), float(n)))


def biases(studies, seeds, n_test=60):
    """(studies, 3) relative errors of the fitted error at the three smallest cells."""
    found = []
    for seed in range(studies):
        evidence = gather(trials_of(counted(rng(seed), seeds=seeds, n_test=n_test)), bootstrap=20, seed=0)
        point = fits.point_fit(evidence, LAWS["scaled"])
        found.append([float(LAWS["scaled"].error(point, n, m, n)) / truth(n, m) - 1 for n, m in SMALLEST])
    return np.array(found)


def test_counts_are_less_biased_than_lifted_logarithms(monkeypatch):
    """Ten replicates, expected counts of 2.1 to 19: logarithms are biased at the smallest cells."""
    ours = biases(40, 10)
    monkeypatch.setattr(counting, "are_few", lambda trials: False)
    lifted = biases(40, 10)
    error = 1.25 * ours.mean(axis=1).std() / np.sqrt(len(ours))  # of a median over studies
    assert abs(np.median(ours.mean(axis=1))) < 3 * error
    assert np.median(lifted.mean(axis=1)) < -3 * error
    assert ((ours**2).mean(axis=0) < (lifted**2).mean(axis=0)).all()


def held(studies, bootstrap):
    """(studies, places) whether intervals of equivalents, then of the smallest errors, hold the truth; and widths."""
    rows, widths = [], []
    for seed in range(studies):
        found = fitted(counted(rng(1000 + seed), n_test=60), bootstrap=bootstrap, seed=seed)
        worths = [(found.equivalent(n, m), equivalent(n, m)) for n, m in PLACES]
        errors = [(found.error(n, m), truth(n, m)) for n, m in SMALLEST]
        rows.append([each.low <= true <= each.high for each, true in (*worths, *errors)])
        widths.append([np.log(each.high / each.low) for each, _ in errors])
    return np.array(rows), np.median(widths, axis=0)


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_intervals_of_few_counts_hold_the_truth(monkeypatch):
    """80 studies of three replicates, 100 refits, expected counts of 2.1 to 19; nominally 95 %."""
    ours, widths = held(80, 100)
    worths, errors = ours[:, : len(PLACES)].mean(), ours[:, len(PLACES) :].mean()
    print(f"\ncounts: equivalents {worths:.3f}, smallest errors {errors:.3f}, log widths {widths.round(2)}")
    monkeypatch.setattr(counting, "are_few", lambda trials: False)
    lifted, wide = held(80, 100)
    print(f"lifted: {lifted[:, : len(PLACES)].mean():.3f}, {lifted[:, len(PLACES) :].mean():.3f}, {wide.round(2)}")
    assert worths >= 0.88
    assert errors >= 0.88
