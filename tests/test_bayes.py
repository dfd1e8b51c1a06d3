"""Posterior draws: the density is the textbook one, the sampler finds it, and the intervals are honest."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare, multivariate_normal, truncnorm

import realfake
from realfake.laws import LAWS, POWER
from realfake.statistics import bayes
from realfake.statistics.bayes import Posterior, Sharing, log_likelihood, nested, sample, with_posterior
from realfake.statistics.fits import FitError, fit_evidence
from realfake.statistics.noise import Level, MeanSquare
from realfake.statistics.regression import Cells
from tests.simulated import SMALL, evidence_of, rng, several_arms, small, table

SCALED_TRUTH = (0.03, 6.0, 0.45, 0.4, 2.0)
NOISY = {"noise": 0.02, "shared": 0.03, "by_size": 0.02}
PLACES = [(1000, 1000), (1000, 16_000), (2500, 10_000), (5000, 20_000), (5000, 80_000)]


def random_levels():
    """Fourteen trials: three draws, of which two have three and two sizes and one has a trial that shares nothing."""
    draw = np.repeat([0, 1, 2], [6, 5, 3])
    size = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, -1, 5, 5])
    square = MeanSquare(1.0, 2)
    levels = (Level("draw", draw, square, np.ones(3)), Level("size", size, square, np.ones(3)))
    own = Level("trial", np.arange(14), square, np.ones(3))
    return (*levels, own)


def dense(levels, own, spreads):
    """The covariance of the trials, fine level first in `spreads`."""
    covariance = np.diag(own)
    for level, spread in zip(reversed(levels[:-1]), spreads, strict=True):
        same = (level.group[:, None] == level.group) & (level.group[:, None] >= 0)
        covariance = covariance + spread * same
    return covariance


@pytest.mark.parametrize("keep", [np.ones(14, dtype=bool), np.arange(14) % 3 > 0])
def test_shared_effects_are_integrated_out_exactly(keep):
    levels = random_levels()
    residuals, own = rng(0).normal(size=(4, 14)), rng(1).uniform(0.1, 2, (4, 14))
    spreads = rng(2).uniform(0.05, 3, (4, 2))
    found = log_likelihood(residuals[:, keep], own[:, keep], nested(levels, keep), spreads)
    for row in range(4):
        covariance = dense(levels, own[row], spreads[row])[np.ix_(keep, keep)]
        expected = multivariate_normal.logpdf(residuals[row, keep], cov=covariance)
        assert found[row] == pytest.approx(expected, rel=1e-10)


def test_a_level_without_degrees_of_freedom_is_left_out():
    draw, size, own = random_levels()
    assert len(nested((draw, replace(size, square=MeanSquare(0.0, 0)), own), np.ones(14, dtype=bool))) == 1


def power_posterior(n, log_response, draw=None):
    """The posterior of ln A and α, floor 0, with one SD, or two where trials share draws."""
    cells, of_trial = np.unique(n, return_inverse=True)
    members = (
        () if draw is None else (Sharing((draw[:, None] == np.unique(draw)).astype(float), np.ones(len(set(draw)))),)
    )
    return Posterior(
        law=POWER,
        cells=Cells(cells, np.zeros(len(cells)), cells, of_trial),
        log_response=log_response,
        scale=np.ones(len(n)),
        own_factor=np.ones(len(n)),
        levels=members,
        free=np.array([False, True, True]),
        held=np.array([0.0, 1.0, 0.5]),
    )


def least_squares(n, log_response):
    """(ln A, α), their covariance by the textbook formula, and the degrees of freedom."""
    design = np.stack([np.ones(len(n)), -np.log(n)], axis=1)
    found, left, *_ = np.linalg.lstsq(design, log_response, rcond=None)
    df = len(n) - 2
    return found, left[0] / df * np.linalg.inv(design.T @ design), df


def walkers(posterior, centre, spread, seed):
    """32 starts about a centre, all inside the prior's bounds."""
    starts = np.array(centre) + np.array(spread) * rng(seed).standard_normal((640, posterior.dimensions))
    return starts[np.isfinite(posterior.log_density(starts))][:32]


@pytest.mark.parametrize("dimensions", [8, 10])
def test_the_sampler_draws_from_a_known_density(dimensions):
    """A correlated normal; the mean squared Mahalanobis length is its dimension, within four standard errors."""
    mixing = np.tril(rng(6).normal(size=(dimensions, dimensions))) + 2 * np.eye(dimensions)
    inverse = np.linalg.inv(mixing)
    starts = rng(7).standard_normal((48, dimensions)) @ mixing.T
    chains = sample(lambda x: -0.5 * ((x @ inverse.T) ** 2).sum(axis=1), starts, seed=0)
    assert chains.settled
    length = ((chains.draws @ inverse.T) ** 2).sum(axis=1).mean() / dimensions
    assert length == pytest.approx(1, abs=4 * np.sqrt(2 / (chains.effective * dimensions)))


def test_a_linear_model_has_its_closed_form_posterior():
    """ln y = ln A − α·ln n: at an SD of 0.1 the prior of ln SD is level, so the posterior is Student's t of the OLS."""
    n = np.tile(10.0 ** np.arange(1, 7), 10)
    log_response = np.log(3.0) - 0.4 * np.log(n) + rng(3).normal(0, 0.1, len(n))
    expected, covariance, df = least_squares(n, log_response)
    posterior = power_posterior(n, log_response)
    chains = sample(posterior.log_density, walkers(posterior, [*expected, -2.0], [0.05, 0.01, 0.2], 0), seed=1)
    assert chains.settled
    assert chains.effective >= 1000
    sd = np.sqrt(np.diag(covariance) * df / (df - 2))
    np.testing.assert_allclose(chains.draws[:, :2].mean(axis=0), expected, atol=0.1 * sd.max())
    np.testing.assert_allclose((chains.draws[:, :2].mean(axis=0) - expected) / sd, 0, atol=0.1)
    np.testing.assert_allclose(chains.draws[:, :2].std(axis=0), sd, rtol=0.07)
    assert np.corrcoef(chains.draws[:, :2].T)[0, 1] == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance.diagonal().prod()), abs=0.03
    )


def test_the_prior_is_the_one_that_is_stated():
    """Without data that tell, draws of the exponent are those of its prior, cut off at the bounds."""
    n = np.full(6, 100.0)  # one size says nothing of the exponent, for the amplitude is free
    posterior = power_posterior(n, rng(4).normal(-1.0, 0.1, 6))
    chains = sample(posterior.log_density, walkers(posterior, [1.5, 0.5, -2.0], [0.2, 0.1, 0.3], 2), seed=3)
    low, high = (np.array(POWER.bounds[2]) - 0.5) / 0.5
    prior = truncnorm(low, high, 0.5, 0.5)
    np.testing.assert_allclose(np.quantile(chains.draws[:, 1], [0.1, 0.5, 0.9]), prior.ppf([0.1, 0.5, 0.9]), atol=0.06)


def noisy_evidence():
    return evidence_of(table(SCALED_TRUTH, law="scaled", **NOISY, rng=rng(11), **SMALL), bootstrap=200)


@pytest.fixture(scope="module")
def both():
    """A fit by refits and the same with posterior draws."""
    found = fit_evidence(noisy_evidence(), law="scaled")
    return found, with_posterior(found, noisy_evidence())


def test_the_intervals_hold_the_truth_and_are_as_wide_as_those_of_refits(both):
    refits, posterior = both
    assert posterior.noise == "Bayesian posterior"
    assert posterior.point == refits.point
    assert len(posterior.draws) == len(refits.draws)
    assert posterior.status == refits.status
    widths, held = [], []
    for n, m in PLACES:
        truth = float(LAWS["scaled"].equivalent(SCALED_TRUTH, float(n), float(m), float(n)))
        ours, theirs = posterior.equivalent(n, m), refits.equivalent(n, m)
        held.append(ours.low <= truth <= ours.high)
        if np.isfinite([ours.low, ours.high, theirs.low, theirs.high]).all():
            widths.append((ours.high - ours.low) / (theirs.high - theirs.low))
    assert np.mean(held) >= 0.8
    assert widths
    assert 0.4 < np.median(widths) < 2


def test_the_seed_fixes_every_draw(both):
    refits, posterior = both
    evidence = noisy_evidence()
    assert with_posterior(refits, evidence) == posterior


def test_chains_that_have_not_settled_say_so(both, monkeypatch):
    refits, _ = both
    evidence = noisy_evidence()
    monkeypatch.setattr(bayes, "sample", lambda *args, **more: sample(*args, **more, most_steps=60))
    found = with_posterior(refits, evidence)
    assert found.status == "not identifiable"
    assert found.reason.startswith("the chains have not settled: 60 steps are")


def test_an_outlier_moves_the_posterior_little():
    rows = table(SCALED_TRUTH, law="scaled", noise=0.01, seeds=4, **SMALL)
    wild = rows.copy()
    wild.loc[
        (rows["n_real"] == 2500) & (rows["n_synthetic"] == 10_000) & (rows["subset_seed"] == 0), "cross_entropy"
    ] *= 3
    medians = []
    for each in (rows, wild):
        evidence = evidence_of(each, bootstrap=60)
        found = with_posterior(fit_evidence(evidence, law="scaled"), evidence)
        medians.append(np.median([LAWS["scaled"].equivalent(draw, 2500.0, 10_000.0, 2500.0) for draw in found.draws]))
    assert medians[1] == pytest.approx(medians[0], rel=0.15)


def test_trials_that_a_law_does_not_cover_are_left_out():
    """Wang's law says nothing of synthetic images alone: the posterior is of the other trials, with their levels."""
    arms = several_arms()
    alone = arms[arms["arm"] == "alone"].assign(arm="closed-set", address=lambda t: t["address"] + "s")
    evidence = evidence_of(pd.concat([arms, alone]), "closed-set", bootstrap=60)
    found = fit_evidence(evidence, law="wang")
    posterior = bayes.posterior_of(found, evidence)
    assert len(posterior.log_response) == found.n_trials < len(evidence.trials.values)
    assert posterior.levels[0].members.shape[0] == found.n_trials


def test_the_option_is_part_of_the_public_fit():
    rows = table(SCALED_TRUTH, law="scaled", **NOISY, rng=rng(11), **SMALL)
    found = realfake.fit(rows, law="scaled", method="bayes", bootstrap=50)
    assert found.noise == "Bayesian posterior"
    with pytest.raises(FitError, match="there is no method 'magic'; known are bootstrap, bayes"):
        realfake.fit(small(), method="magic")


def test_per_image_results_are_refused():
    rows = small(**NOISY)
    per_image = {
        name: {"cross_entropy": np.full(4, value)} for name, value in rows[["address", "cross_entropy"]].to_numpy()
    }
    with pytest.raises(FitError, match="method 'bayes' takes no per_image"):
        realfake.fit(rows, law="scaled", method="bayes", per_image=per_image)


def test_without_emcee_it_says_what_to_type(both, monkeypatch):
    monkeypatch.setitem(sys.modules, "emcee", None)
    evidence = noisy_evidence()
    with pytest.raises(FitError, match=r"type pip install 'realfake\[bayes\]', or uv sync --extra bayes"):
        with_posterior(both[0], evidence)


def prior_draw(random):
    """ln A, α, and the SDs of a trial and of a draw, from the stated priors."""
    low, high = np.log(POWER.bounds[1])
    cut = (np.array(POWER.bounds[2]) - 0.5) / 0.5
    exponent = truncnorm.rvs(*cut, 0.5, 0.5, random_state=random)
    return random.uniform(low, high), exponent, *(0.1 * np.tan(random.uniform(0, np.arctan(np.exp(3) / 0.1), 2)))


def ranks_of_one_table(seed, draws=99):
    """Where the truth lies among posterior draws: of ln A, α, and both ln SDs."""
    random = rng(seed)
    log_amplitude, exponent, own, shared = prior_draw(random)
    n, draw = np.tile([10.0, 100.0, 1000.0, 10_000.0], 4), np.repeat(np.arange(4), 4)
    noise = own * random.standard_normal(16) + shared * random.standard_normal(4)[draw]
    log_response = log_amplitude - exponent * np.log(n) + noise
    posterior = power_posterior(n, log_response, draw)
    found, covariance, _ = least_squares(n, log_response)
    width = np.sqrt(np.diag(covariance))
    low, high = np.log(POWER.bounds[1][0]), np.log(POWER.bounds[1][1])
    sds = np.clip(np.log([own, shared]), -13, 2)
    centre = [np.clip(found[0], low + 0.1, high - 0.1), np.clip(found[1], 0.05, 2.9), *sds]
    starts = walkers(posterior, centre, [*np.minimum(width, 0.02), 0.3, 0.3], seed)
    chains = sample(posterior.log_density, starts, seed=seed)
    kept = chains.draws[random.choice(len(chains.draws), draws, replace=False)]
    truth = np.array([log_amplitude, exponent, np.log(own), np.log(shared)])
    return (kept < truth).sum(axis=0), chains.settled


@pytest.mark.benchmark
@pytest.mark.timeout(300)
def test_the_truth_has_any_rank_among_posterior_draws():
    """Simulation-based calibration (Talts et al. 2018): over tables from the prior, ranks are uniform.

    5 % of sound samplers would fail: each of four parameters is tested at 0.05 / 4.
    """
    ranks, settled = zip(*(ranks_of_one_table(seed) for seed in range(50)), strict=True)
    bins = np.array([np.histogram(column, bins=5, range=(0, 100))[0] for column in np.array(ranks).T])
    print("\nranks in fifths (ln A, α, ln SD of a trial, of a draw):", bins.tolist(), "settled", np.mean(settled))
    assert np.mean(settled) > 0.9
    assert min(chisquare(row).pvalue for row in bins) > 0.05 / 4
