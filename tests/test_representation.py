"""Merged Gaussians against the whole, distances against scipy and scikit-learn, expectations against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import realfake
from realfake.representation.distances import at_equal_counts, by_class, distribution_gap, measure, population, relative
from realfake.representation.gaussians import CHUNK, gaussian, ledoit_wolf, merged
from realfake.representation.mahalanobis import Switches, covariance, expected_distance, mahalanobis


def features(n, d, seed=0, offset=0.0):
    """Correlated features whose variances differ a hundredfold."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) / np.sqrt(d) + np.eye(d)
    return rng.normal(size=(n, d)) @ mixing * np.geomspace(0.3, 3, d) + offset


TRAIN, TEST = features(120, 6), features(40, 6, seed=1)

# --------------------------------------------------------------------------------------------------- merged Gaussians


def assert_same(a, b, tolerance):
    spread = np.sqrt(np.trace(b.scatter) / max(b.count, 1)) or 1.0
    units = {"scatter": 2, "third": 3, "fourth": 4}
    assert a.count == b.count
    np.testing.assert_allclose((a.mean - b.mean) + (a.rest - b.rest), 0, atol=tolerance * spread)
    for name, power in units.items():
        scale = max(b.count, 1) * spread**power
        np.testing.assert_allclose(getattr(a, name) / scale, getattr(b, name) / scale, atol=tolerance, rtol=tolerance)


@settings(deadline=None, max_examples=60)
@given(
    cuts=st.lists(st.integers(0, 90), max_size=6),
    order=st.randoms(use_true_random=False),
    offset=st.sampled_from([0.0, 1e3, 1e6, 1e9]),
    seed=st.integers(0, 99),
)
def test_shards_cut_anywhere_and_merged_in_any_order_are_the_whole(cuts, order, offset, seed):
    rows = features(90, 5, seed, offset)
    shards = [gaussian(part) for part in np.split(rows, sorted(cuts))]
    order.shuffle(shards)
    while len(shards) > 1:  # a random tree of merges
        a, b = shards.pop(order.randrange(len(shards))), shards.pop(order.randrange(len(shards)))
        shards.append(merged([a, b]))
    assert_same(shards[0], gaussian(rows), 1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_moments_are_those_of_exact_arithmetic_far_from_zero(offset):
    from fractions import Fraction

    rows = np.round(features(25, 2, seed=3), 6) + offset
    exact = [[Fraction(float(value)) for value in row] for row in rows]
    means = [sum(column, Fraction()) / 25 for column in zip(*exact, strict=True)]
    away = [[value - mean for value, mean in zip(row, means, strict=True)] for row in exact]
    scatter = [[float(sum(row[i] * row[j] for row in away)) for j in range(2)] for i in range(2)]
    fourth = float(sum(sum(value**2 for value in row) ** 2 for row in away))
    third = [float(sum(row[i] * sum(value**2 for value in row) for row in away)) for i in range(2)]
    fitted = merged(gaussian(part) for part in np.array_split(rows, 4))
    np.testing.assert_allclose(fitted.scatter, scatter, rtol=1e-12)
    np.testing.assert_allclose(fitted.fourth, fourth, rtol=1e-12)
    np.testing.assert_allclose(fitted.third, third, rtol=1e-11)
    for mean, rest, true in zip(fitted.mean, fitted.rest, means, strict=True):
        assert float(abs(Fraction(float(mean)) + Fraction(float(rest)) - true)) < 1e-14


def test_chunks_change_nothing_and_half_precision_is_summed_in_double():
    rows = features(CHUNK + 77, 3).astype(np.float16)
    fitted = gaussian(rows)
    np.testing.assert_allclose(fitted.scatter / fitted.count, np.cov(rows.astype(float).T, bias=True), rtol=1e-12)
    assert fitted.mean.dtype == np.float64


def test_no_features_are_a_gaussian_of_none_that_merging_does_not_notice():
    nothing, some = gaussian(np.empty((0, 6))), gaussian(TRAIN)
    assert nothing.count == 0
    assert_same(merged([nothing, some, nothing]), some, 0)


def test_merging_refuses_other_dimensions_and_nothing_at_all():
    with pytest.raises(ValueError, match="6 and 2 features cannot be merged"):
        merged([gaussian(TRAIN), gaussian(features(9, 2))])
    with pytest.raises(ValueError, match="no Gaussian to merge"):
        merged([])


# ----------------------------------------------------------------------------------------------------------- distances


@pytest.mark.parametrize(("n", "d"), [(20, 3), (300, 32)])
def test_training_detections_are_d_away_on_average(n, d):
    rows = features(n, d, offset=50.0)
    assert realfake.train2test(rows, rows).mean() == pytest.approx(d, rel=1e-11)
    assert realfake.train2test(rows, rows, divisor="n-1").mean() == pytest.approx(d * (n - 1) / n, rel=1e-11)
    assert realfake.train2test(rows, rows, covariance="diagonal").mean() == pytest.approx(d, rel=1e-11)
    kept = realfake.train2test(rows, rows, covariance="principal", components=2)
    assert kept.mean() == pytest.approx(2, rel=1e-11)


@pytest.mark.parametrize("divisor", ["n", "n-1"])
def test_distances_are_those_of_scipy(divisor):
    from scipy.spatial.distance import mahalanobis as of_scipy

    inverse = np.linalg.inv(np.cov(TRAIN.T, bias=divisor == "n"))
    theirs = [of_scipy(row, TRAIN.mean(0), inverse) for row in TEST]
    np.testing.assert_allclose(realfake.train2test(TRAIN, TEST, squared=False, divisor=divisor), theirs, rtol=1e-10)
    np.testing.assert_allclose(realfake.train2test(TRAIN, TEST, divisor=divisor), np.square(theirs), rtol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(40, 4), (12, 30), (500, 10), (3, 2)])
def test_ledoit_wolf_is_that_of_scikit_learn(n, d):
    from sklearn.covariance import LedoitWolf

    rows, others = features(n, d, seed=n), features(15, d, seed=7)
    theirs = LedoitWolf().fit(rows)
    fitted = merged(gaussian(part) for part in np.array_split(rows, 3))
    assert ledoit_wolf(fitted) == pytest.approx(theirs.shrinkage_, rel=1e-9)
    np.testing.assert_allclose(covariance(fitted, Switches(covariance="ledoit-wolf"))[0], theirs.covariance_, rtol=1e-9)
    ours = realfake.train2test(rows, others, covariance="ledoit-wolf")
    np.testing.assert_allclose(ours, theirs.mahalanobis(others), rtol=1e-7)


def test_ridge_diagonal_pseudo_inverse_and_principal_are_their_formulas():
    away, sigma = TEST - TRAIN.mean(0), np.cov(TRAIN.T, bias=True)

    def form(inverse):
        return np.einsum("nd,de,ne->n", away, inverse, away)

    ridged = np.linalg.inv(sigma + 0.1 * np.trace(sigma) / 6 * np.eye(6))
    np.testing.assert_allclose(realfake.train2test(TRAIN, TEST, ridge=0.1), form(ridged), rtol=1e-10)
    diagonal = realfake.train2test(TRAIN, TEST, covariance="diagonal")
    np.testing.assert_allclose(diagonal, (away**2 / TRAIN.var(0)).sum(1), rtol=1e-10)
    few = TRAIN[:4]
    pseudo = np.linalg.pinv(np.cov(few.T, bias=True), rcond=1e-10)
    off = TEST - few.mean(0)
    expected = np.einsum("nd,de,ne->n", off, pseudo, off)
    np.testing.assert_allclose(realfake.train2test(few, TEST, covariance="pseudo-inverse"), expected, rtol=1e-7)
    from sklearn.decomposition import PCA

    whitened = PCA(3, whiten=True).fit(TRAIN).transform(TEST)  # whitens with n − 1
    ours = realfake.train2test(TRAIN, TEST, covariance="principal", components=3, divisor="n-1")
    np.testing.assert_allclose(ours, (whitened**2).sum(1), rtol=1e-9)


def test_units_of_the_features_do_not_matter_and_offsets_cost_no_digits():
    units = np.geomspace(1e-9, 1e9, 6)
    np.testing.assert_allclose(
        realfake.train2test(TRAIN * units, TEST * units), realfake.train2test(TRAIN, TEST), rtol=1e-9
    )
    shift = 2.0**26  # exact for features with few digits
    train, test = np.round(TRAIN * 1024) / 1024, np.round(TEST * 1024) / 1024
    moved = realfake.train2test(train + shift, test + shift)
    np.testing.assert_allclose(moved, realfake.train2test(train, test), rtol=1e-11)


def test_each_class_has_its_own_gaussian():
    classes, test_classes = np.arange(120) % 2, np.arange(40) % 2
    ours = realfake.train2test(TRAIN, TEST, train_classes=classes, test_classes=test_classes)
    for label in (0, 1):
        apart = realfake.train2test(TRAIN[classes == label], TEST[test_classes == label])
        np.testing.assert_allclose(ours[test_classes == label], apart)
    answer = measure(by_class(TRAIN, classes), TEST, test_classes=test_classes)
    assert {label: fitted.count for label, fitted in answer.measured.items()} == {0: 60, 1: 60}


def test_of_several_sizes_the_nearest_counts():
    sizes = np.stack([TEST, TEST * 0.5, features(40, 6, seed=9)])
    nearest = np.min([realfake.train2test(TRAIN, size) for size in sizes], axis=0)
    np.testing.assert_allclose(realfake.train2test(TRAIN, sizes), nearest)


def test_facts_say_how_well_the_distance_was_determined():
    values = np.linalg.eigvalsh(np.cov(TRAIN.T, bias=True))
    facts = measure(TRAIN, TEST).measured[None].facts()
    assert facts["condition"] == pytest.approx(values[-1] / values[0], rel=1e-8)
    assert facts["expected"] == pytest.approx(6 * 121 / 112)
    assert (facts["count"], facts["dimension"], facts["rank"], facts["shrinkage"]) == (120, 6, 6, 0.0)
    assert mahalanobis(gaussian(TRAIN[:4]), Switches(covariance="pseudo-inverse")).rank == 3


def test_no_test_detections_have_no_distances():
    assert realfake.train2test(TRAIN, np.empty((0, 6))).shape == (0,)


CONSTANT = np.concatenate([TRAIN, np.ones((120, 1))], axis=1)
COLLINEAR = np.concatenate([TRAIN, TRAIN[:, :1] - 2 * TRAIN[:, 1:2]], axis=1)


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (TRAIN[:8], {}, "8 training detections cannot give a full covariance of 6 features.* from 9 on"),
        (TRAIN[:3], {"covariance": "diagonal"}, "only from 4 on"),
        (CONSTANT, {}, "1 of 7 features are equal in all 120"),
        (COLLINEAR, {}, "120 detections in 7 features is singular"),
        (TRAIN[:0], {}, "0 training detections have no covariance"),
        (TRAIN[:1], {"divisor": "n-1", "ridge": 0.1}, "1 training detections have no covariance"),
    ],
)
def test_what_cannot_be_inverted_is_refused_and_the_cures_are_named(train, options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        realfake.train2test(train, train, **options)
    assert "ridge=1e-3" in str(refusal.value)
    assert "covariance='ledoit-wolf'" in str(refusal.value)


@pytest.mark.parametrize("train", [TRAIN[:8], TRAIN[:3], CONSTANT, COLLINEAR])
@pytest.mark.parametrize("cure", [{"ridge": 1e-3}, {"covariance": "ledoit-wolf"}])
def test_the_named_cures_help(train, cure):
    distances = realfake.train2test(train, train + 1, **cure)
    assert np.isfinite(distances).all()
    assert (distances > 0).all()


def test_one_detection_more_is_enough():
    assert np.isfinite(realfake.train2test(TRAIN[:9], TEST)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_features": TEST[:, :5]}, "to measure have 5 values and the training ones 6"),
        ({"test_features": TEST[0]}, r"test_features has shape \(6,\)"),
        ({"train_features": np.where(TRAIN > 2, np.nan, TRAIN)}, "rows of train_features are not finite"),
        ({"train_features": np.ones((30, 6)), "ridge": 0.1}, "all 30 training detections have the same features"),
        ({"ridge": -1.0}, "ridge=-1.0"),
        ({"divisor": "n-2"}, "divisor='n-2' is none of"),
        ({"covariance": "tied"}, "covariance='tied' is none of"),
        ({"components": 3}, "components=3 with covariance='full'"),
        ({"covariance": "principal"}, "components=None with covariance='principal'"),
        ({"covariance": "principal", "components": 7}, "the features vary in 6 directions"),
        ({"train_classes": np.zeros(120)}, "classes are known of one side only"),
        ({"test_classes": np.zeros(40)}, "classes are known of one side only"),
        ({"train_classes": np.zeros(7), "test_classes": np.zeros(40)}, r"train_classes has shape \(7,\) for 120"),
        ({"train_classes": np.zeros(120), "test_classes": np.ones(40)}, "class 1.0 has test detections but no"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        realfake.train2test(**{"train_features": TRAIN, "test_features": TEST, **change})


# ------------------------------------------------------------------------------------- what a distance is to be read by


@pytest.mark.parametrize(("n", "d"), [(45, 32), (83, 32), (30, 4)])
@pytest.mark.parametrize("options", [{}, {"squared": False}, {"divisor": "n-1"}, {"covariance": "diagonal"}])
def test_new_detections_of_the_same_distribution_are_as_far_as_expected(n, d, options):
    mixing = features(d, d, seed=5)
    rng = np.random.default_rng(6)
    means = []
    for _ in range(400):
        answer = measure(
            rng.normal(size=(n, d)) @ mixing, rng.normal(size=(50, d)) @ mixing, switches=Switches(**options)
        )
        means.append(answer.ratio.mean())
    error = np.std(means) / np.sqrt(len(means))
    assert np.mean(means) == pytest.approx(1, abs=4 * error)
    assert error < 0.02


@pytest.mark.parametrize(
    ("n", "d", "found"), [(45, 32, 133.2), (83, 32, 55.2), (157, 32, 40.8), (400, 256, 727), (1000, 256, 345.5)]
)
def test_expectations_are_those_that_others_simulated(n, d, found):
    assert expected_distance(n, d) == pytest.approx(found, rel=0.015)


def test_squared_distances_follow_the_stated_f_distribution():
    from scipy import stats

    n, d = 40, 5
    f = stats.f(d, n - d, scale=d * (n + 1) / (n - d))
    assert expected_distance(n, d) == pytest.approx(f.mean())
    assert expected_distance(n, d, squared=False) == pytest.approx(f.expect(np.sqrt), rel=1e-6)
    rng = np.random.default_rng(0)
    drawn = [realfake.train2test(rng.normal(size=(n, d)), rng.normal(size=(1, d)))[0] for _ in range(1500)]
    assert stats.kstest(drawn, f.cdf).pvalue > 0.001


def test_without_a_closed_form_there_is_no_ratio_and_the_way_round_it_is_named():
    for options in ({"ridge": 0.1}, {"covariance": "ledoit-wolf"}, {"covariance": "diagonal", "squared": False}):
        answer = measure(TRAIN, TEST, switches=Switches(**options))
        assert math.isnan(answer.expected[0])
        with pytest.raises(ValueError, match="relative"):
            answer.ratio  # noqa: B018
    with pytest.raises(ValueError, match="34 training detections in 32 features"):
        expected_distance(34, 32)


def test_at_equal_counts_data_of_the_same_kind_bring_no_test_set_nearer():
    rng = np.random.default_rng(2)
    few, many, test = (rng.normal(size=(n, 16)) for n in (40, 400, 300))
    raw = {name: realfake.train2test(train, test).mean() for name, train in (("few", few), ("many", many))}
    assert raw["few"] > 1.6 * raw["many"]  # 30.9 and 16.8 expected
    equal = at_equal_counts({"few": few, "many": many}, test, repeats=30)
    assert equal["few"].mean() / equal["many"].mean() == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(equal["few"], realfake.train2test(few, test))
    alone = at_equal_counts({"many": many}, test, count=40, repeats=30)
    np.testing.assert_array_equal(alone["many"], equal["many"])
    with pytest.raises(ValueError, match="'few' has 40 training detections"):
        at_equal_counts({"few": few, "many": many}, test, count=41)


def test_relative_distances_and_the_gap():
    np.testing.assert_allclose(relative(np.array([2.0, 6.0]), np.array([1.0, 2.0, 50.0])), [1, 3])
    assert distribution_gap(np.array([1.0, 2.0, 6.0])) == 3.0
    assert distribution_gap(np.array([1.0, 2.0, 6.0]), normaliser=2) == 4.5
    with pytest.raises(ValueError, match="no held-out detections"):
        relative(np.ones(2), np.empty(0))
    with pytest.raises(ValueError, match="no test detections"):
        distribution_gap(np.empty(0))


def test_the_gaussian_is_fitted_to_the_best_detection_of_each_ground_truth():
    score = np.array([0.9, 0.9, 0.04, 0.3, 0.8, 0.2, 0.99])
    iou = np.array([0.6, 0.7, 0.9, 0.51, 0.5, 0.8, 0.9])
    truth = np.array([0, 0, 1, 2, 2, 1, 3])
    real = np.array([1, 1, 1, 1, 1, 1, 0])
    assert population(score, iou, truth).tolist() == [True, False, False, True, False, True, True]
    every = population(score, iou, truth, one_per_truth=False)
    assert every.tolist() == [True, True, False, True, False, True, True]
    assert population(score, iou, truth, real=real).tolist() == [True, False, False, True, False, True, False]
    assert population(score, iou, truth, least_score=0.0)[2] == np.False_  # 0.2 beats 0.04 for truth 1
