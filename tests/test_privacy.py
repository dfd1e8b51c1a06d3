"""Membership inference on arrays: scores, attacks and curves against closed forms, scikit-learn and released rules."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from realfake.intervals import withheld
from realfake.privacy import Attacked, lira, measure, released_halves, score, statistics
from realfake.privacy.curves import auc_draws


def halves(models, n, seed=0):
    """Complementary pairs of exact halves: ``(models, n)``."""
    random = np.random.default_rng(seed)
    first = np.stack([random.permutation(np.arange(n) % 2 == 0) for _ in range(models // 2)])
    return np.stack([first, ~first], axis=1).reshape(models, n)


def gaussian(models, n, d, seed=0, hardness=2.0, queries=1):
    """Scores N(μ_i + d·member, 1), with an example's own μ_i of some spread."""
    random, member = np.random.default_rng(seed), halves(models, n, seed)
    mu = hardness * random.normal(size=(1, n, 1))
    return mu + d * member[..., None] + random.normal(size=(models, n, queries)), member


# -------------------------------------------------------------------------------------------------------------- scores


def test_scores_are_those_of_tensorflow_privacy():
    random = np.random.default_rng(0)
    logits, labels = 8 * random.normal(size=(50, 3, 10)), random.integers(0, 10, 50)
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    expected = np.empty((50, 3))
    for i in range(50):  # by their rule, one number at a time
        for q in range(3):
            wrong = sum(p[i, q, j] for j in range(10) if j != labels[i])
            expected[i, q] = np.log(p[i, q, labels[i]] + 1e-45) - np.log(wrong + 1e-45)
    np.testing.assert_allclose(score(p, labels), expected, rtol=1e-12)
    np.testing.assert_allclose(score(p[:, 0], labels), expected[:, 0], rtol=1e-12)


def test_scores_are_the_logit_margin_even_where_a_float32_softmax_rounds_to_one():
    margin = np.array([-30.0, -3.0, 0.0, 3.0, 20.0, 30.0, 60.0])
    p = np.stack([1 / (1 + np.exp(-margin)), 1 / (1 + np.exp(margin))], axis=1).astype(np.float32)
    assert p[-1, 0] == 1
    np.testing.assert_allclose(score(p, np.zeros(7, int)), margin, rtol=1e-5, atol=1e-6)
    assert np.isfinite(score(np.eye(2), np.array([0, 0]))).all()


def test_scores_of_what_is_no_probability_are_refused():
    with pytest.raises(ValueError, match="classes below k"):
        score(np.full((2, 3), 1 / 3), np.array([0, 3]))
    with pytest.raises(ValueError, match="give a softmax, not logits"):
        score(np.array([[-1.0, 2.0]]), np.array([0]))


def test_the_released_rule_keeps_what_the_released_trainer_kept():
    kept = released_halves(12_894)
    assert kept[0].sum() == 6_478
    assert (kept.sum(axis=0) == 5).all()
    assert len(set(kept.sum(axis=1).tolist())) > 1  # sizes vary: these are no exact halves


# ------------------------------------------------------------------------------------------------------------- attacks


def by_the_released_rules(phi, member, target, mode, fixed):
    """A second implementation of the attack on one target, from the rules of tensorflow/privacy's plot.py: example by
    example, lists and scipy; the target's complement is no shadow model of it."""
    found = []
    others = [m for m in range(len(phi)) if m != target and not (member[m] == ~member[target]).all()]
    sides = [[[phi[m, i] for m in others if member[m, i] == side] for i in range(phi.shape[1])] for side in (1, 0)]
    shortest = [min(map(len, side)) for side in sides]
    inside, outside = ([one[:k] for one in side] for side, k in zip(sides, shortest, strict=True))
    every = np.std(inside)
    for i in range(phi.shape[1]):
        mean_in, mean_out = np.median(inside[i], 0), np.median(outside[i], 0)
        std_in, std_out = (every, every) if fixed else (np.std(inside[i], 0), np.std(outside[i], 0))
        if mode == "offline":
            found.append(-norm.logsf(phi[target, i], mean_out, std_out + 1e-30).mean())
        else:
            ratio = norm.logpdf(phi[target, i], mean_in, std_in + 1e-30)
            found.append((ratio - norm.logpdf(phi[target, i], mean_out, std_out + 1e-30)).mean())
    return np.array(found)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_statistics_are_those_of_a_second_implementation(mode):
    phi, member = gaussian(8, 40, 1.0, queries=2)
    ours = statistics(phi, member, mode, "per example")
    for target in range(8):
        np.testing.assert_allclose(ours[target], by_the_released_rules(phi, member, target, mode, False), rtol=1e-9)


def test_with_a_fixed_variance_the_order_is_that_of_a_second_implementation():
    phi, member = gaussian(8, 40, 1.0, queries=2)
    ours = statistics(phi, member, "online", "fixed")
    for target in range(8):  # the deviation is another one, of all scores together: online it cancels
        theirs = by_the_released_rules(phi, member, target, "online", True)
        assert np.corrcoef(ours[target], theirs)[0, 1] == pytest.approx(1, abs=1e-12)


def test_halves_of_the_released_rule_are_attacked_with_as_many_models_for_every_example():
    member = released_halves(200)
    phi = np.random.default_rng(3).normal(size=(10, 200, 1))
    for target in range(10):
        ours = statistics(phi, member, "online", "per example")[target]
        np.testing.assert_allclose(ours, by_the_released_rules(phi, member, target, "online", False), rtol=1e-9)


@pytest.mark.parametrize("mode", ["online", "offline", "threshold"])
def test_scores_that_know_nothing_reach_nothing(mode):
    phi, member = gaussian(16, 1500, 0.0, seed=4)
    found = lira(phi, member, mode, draws=200)
    assert found.auc.low < 0.5 < found.auc.high
    assert found.auc.high - found.auc.low < 0.05
    assert found.at[1].tpr.point == pytest.approx(0.01, abs=0.006)
    assert found.balanced_accuracy.point == pytest.approx(0.5, abs=0.02)


def test_models_that_differ_from_their_complements_tell_nothing_by_that():
    random, member = np.random.default_rng(5), halves(16, 600)
    shift = random.normal(size=8)
    phi = np.stack([shift, -shift], axis=1).reshape(16, 1, 1) * 3 + random.normal(size=(16, 600, 1))
    aucs = [roc_auc_score(member[m], statistics(phi, member)[m]) for m in range(16)]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.02)


def test_what_memorises_is_found():
    phi, member = gaussian(16, 400, 30.0)
    for mode in ("online", "offline", "threshold"):
        found = lira(phi, member, mode, draws=20)
        assert found.auc.point == pytest.approx(1, abs=1e-6)
        assert found.at[1].tpr.point == 1


@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_a_known_likelihood_ratio_reaches_its_closed_form(d):
    phi, member = gaussian(16, 10_000, d, hardness=0.0)
    found = measure(phi[..., 0], member, draws=20)  # monotone in φ: equal variances, no hardness
    assert found.auc.point == pytest.approx(norm.cdf(d / np.sqrt(2)), abs=0.005)
    assert found.balanced_accuracy.point == pytest.approx(norm.cdf(d / 2), abs=0.005)
    for point in found.at:
        assert point.tpr.point == pytest.approx(norm.cdf(norm.ppf(point.fpr) + d), rel=0.12)
        assert point.tpr.low <= norm.cdf(norm.ppf(point.fpr) + d) <= point.tpr.high


def test_with_many_models_the_attack_reaches_the_closed_form_and_a_threshold_that_of_hardness():
    d, tau = 1.5, 2.0
    phi, member = gaussian(96, 250, d, hardness=tau)
    told = {mode: lira(phi, member, mode, draws=20).auc.point for mode in ("online", "offline", "threshold")}
    noise = np.pi / 2 / 47  # variance of a median of 47; online the middle of two enters, offline one
    assert told["online"] == pytest.approx(norm.cdf(d / np.sqrt(2 * (1 + noise / 2))), abs=0.01)
    assert told["offline"] == pytest.approx(norm.cdf(d / np.sqrt(2 * (1 + noise))), abs=0.01)
    assert told["threshold"] == pytest.approx(norm.cdf(d / np.sqrt(2 * (1 + tau**2))), abs=0.03)


@pytest.mark.parametrize(
    ("models", "change", "said"),
    [
        (5, lambda m: m[:5], "give an even number, 4 or more"),
        (2, lambda m: m[:2], "give an even number, 4 or more"),
        (6, lambda m: m ^ (np.arange(6)[:, None] == 0), "not in exactly half of the models"),
    ],
)
def test_what_is_no_design_is_refused(models, change, said):
    with pytest.raises(ValueError, match=said):
        statistics(np.zeros((models, 10)), change(halves(6, 10)))


def test_too_few_models_for_a_deviation_and_scores_that_are_no_numbers_are_refused():
    phi, member = gaussian(4, 20, 1.0)
    assert np.isfinite(statistics(phi, member, "online", "fixed")).all()
    with pytest.raises(ValueError, match="give 6 models or more"):
        statistics(phi, member, "online", "per example")
    phi[0, 0] = np.nan
    with pytest.raises(ValueError, match="leave out models that diverged, and their complements"):
        statistics(phi, member)
    with pytest.raises(ValueError, match="differ; give"):
        statistics(phi[:, :5], member)


# -------------------------------------------------------------------------------------------------------------- curves


def test_curves_are_those_of_scikit_learn_ties_included():
    random, member = np.random.default_rng(7), halves(8, 500)
    statistic = np.round(random.normal(size=(8, 500)) + 0.7 * member, 1)
    found = measure(statistic, member, draws=10)
    fpr, tpr, _ = roc_curve(member.ravel(), statistic.ravel(), drop_intermediate=False)
    assert found.auc.point == pytest.approx(roc_auc_score(member.ravel(), statistic.ravel()))
    assert found.balanced_accuracy.point == pytest.approx((1 + (tpr - fpr).max()) / 2)
    for point in found.curve:
        assert point.tpr.point == pytest.approx(tpr[fpr <= point.fpr + 1e-12][-1])


def test_rates_with_fewer_than_ten_false_positives_are_withheld():
    phi, member = gaussian(8, 400, 1.0)  # 1,600 decisions about non-members
    found = lira(phi, member, draws=20)
    few, enough = found.at
    assert few.tpr == withheld("below resolution (1 false positive)")
    assert enough.tpr.censored == ""
    assert found.table()["tpr_at_0.001"] == "below resolution (1 false positive)"
    assert found.curve[0].fpr == pytest.approx(10 / 1600)
    assert "0.1 %" not in found.sentence()
    assert found.notes == ("8 shadow models, fewer than 16",)


def test_intervals_hold_the_truth_as_often_as_they_say_and_know_that_models_differ():
    """Scores whose separation differs between models: an interval over examples alone would be far too narrow."""
    truth = norm.cdf(1 / np.sqrt(2 * (1 + 0.5)))  # d ~ N(1, 1) by model: AUC against one shared threshold axis
    hits = 0
    for seed in range(60):
        random, member = np.random.default_rng(seed), halves(16, 200, seed)
        d = 1 + random.normal(size=(16, 1))
        _, drawn = auc_draws(d * member + random.normal(size=(16, 200)), member, draws=100, seed=seed)
        low, high = np.quantile(drawn, [0.025, 0.975])
        hits += low <= truth <= high
    assert 50 <= hits <= 60


def test_a_result_survives_json_and_never_calls_anything_private():
    phi, member = gaussian(16, 300, 1.0)
    found = lira(phi, member, draws=20, arm="closed-set", population="ordinary examples")
    assert Attacked.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    said = found.sentence()
    assert said.startswith("online LiRA, fixed variance reaches TPR ")
    assert "private" not in said + str(found.table())
    assert "reaches AUC" in dataclasses.replace(found, at=()).sentence()
