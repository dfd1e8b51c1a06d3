"""Neighbourhoods against the authors' library and written-out loops; copies, separability, classes by known answers."""

import numpy as np
import pytest
from prdc import compute_prdc
from sklearn.metrics import f1_score

from realfake.fidelity import (
    copies,
    density_coverage,
    diversity,
    nearest,
    overlaps,
    precision_recall,
    recognisability,
    separability,
)
from realfake.fidelity import neighbourhoods as nb
from realfake.fidelity.resampling import blocks_of, jackknife, share_interval


def normal(n, d, seed, mean=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(mean, scale, (n, d))


# ------------------------------------------------------------------------------------------------------ neighbourhoods


@pytest.mark.parametrize(("n", "m", "k"), [(60, 90, 3), (nb.CHUNK + 40, 200, 5), (30, 20, 1)])
def test_all_four_are_those_of_the_authors_library(n, m, k):
    a, b = normal(n, 4, 0), normal(m, 4, 1, mean=0.7, scale=0.6)
    expected = compute_prdc(a, b, k)
    found = overlaps(a, b, k=k, blocks=2)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name).point == pytest.approx(expected[name], abs=1e-12), name


def test_every_block_left_out_is_what_the_authors_library_says_without_it(monkeypatch):
    a, b, g = normal(60, 3, 0), normal(50, 3, 1, mean=0.5), 5
    seen = []
    monkeypatch.setattr(
        nb, "jackknife", lambda point, left_out, *ends: seen.append(left_out) or jackknife(point, left_out)
    )
    overlaps(a, b, k=3, blocks=g, seed=4)
    of_a, of_b = blocks_of(60, g, 4), blocks_of(50, g, 5)
    for turn in range(g):
        expected = compute_prdc(a[of_a != turn], b[of_b != turn], 3)
        for left_out, name in zip(seen, ("precision", "recall", "density", "coverage"), strict=True):
            assert left_out[turn] == pytest.approx(expected[name], abs=1e-12)


def test_a_block_that_takes_all_listed_neighbours_is_looked_past():
    """Ten tight groups; leaving one out takes every near neighbour that was listed for its images' neighbours."""
    rows = np.concatenate([normal(40, 2, s, mean=10 * s, scale=0.01) for s in range(3)])
    there = np.stack([np.full(120, True), np.arange(120) >= 40])
    radii = nb._radii(rows, there, 3)
    by_hand = np.sort(np.linalg.norm(rows[:, None] - rows[None, 40:], axis=-1), axis=1)
    np.testing.assert_allclose(np.sqrt(radii[1, :40]), by_hand[:40, 2], rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(radii[1, 40:]), by_hand[40:, 3], rtol=1e-4, atol=1e-6)


def test_the_two_pairs_are_those_of_their_own_k():
    a, b = normal(80, 3, 0), normal(80, 3, 1, mean=0.5)
    assert precision_recall(a, b)[0] == overlaps(a, b, k=3).precision
    assert density_coverage(a, b)[1] == overlaps(a, b, k=5).coverage


def test_far_sets_share_nothing_and_their_intervals_still_say_how_few_images_there_were():
    found = overlaps(normal(50, 2, 0), normal(40, 2, 1, mean=100), k=3)
    assert found.precision.point == found.recall.point == found.coverage.point == 0
    assert found.precision.high == pytest.approx(1 - 0.025 ** (1 / 40))  # the exact bound on 0 of 40


def test_a_real_image_handed_back_lies_in_its_own_neighbourhood():
    a = normal(50, 3, 0)
    found = overlaps(a, a, k=3)
    assert found.precision.point == found.recall.point == found.coverage.point == 1


def test_intervals_of_equal_sets_hold_what_many_sets_give():
    """Density of equal sets is 1 on average whatever their counts; coverage is 1 − Π over the k nearest (Naeem)."""
    held = []
    for seed in range(80):
        found = overlaps(normal(150, 3, 2 * seed), normal(120, 3, 2 * seed + 1), k=5)
        coverage = 1 - np.prod([(149 - i) / (269 - i) for i in range(5)])
        held.append(
            [found.density.low <= 1 <= found.density.high, found.coverage.low <= coverage <= found.coverage.high]
        )
    assert (np.mean(held, axis=0) >= 0.87).all()


def test_too_few_images_for_k_are_refused():
    with pytest.raises(ValueError, match="synthetic has 5 images, too few"):
        overlaps(normal(20, 2, 0), normal(5, 2, 1), k=3)


# -------------------------------------------------------------------------------------------------------------- copies


def test_fresh_images_are_called_copies_as_often_as_real_ones():
    found = copies(normal(2000, 6, 0), normal(100, 6, 1), normal(2000, 6, 2), quantile=0.05)
    assert found.null_rate == pytest.approx(0.05, abs=1e-3)
    assert found.rate.low <= 0.05 + 0.02
    assert found.rate.high >= 0.05 - 0.02
    assert found.baseline == "held-out real images"


def test_copies_lead_the_pairs_and_name_their_originals():
    real = normal(100, 6, 0)
    synthetic = np.concatenate([normal(40, 6, 1), real[[7, 3]]])
    found = copies(synthetic, real, top=3)
    assert {(pair.synthetic, pair.real) for pair in found.pairs[:2]} == {(40, 7), (41, 3)}
    assert found.pairs[0].distance < 1e-6
    assert found.pairs[0].rarity == 0
    assert found.pairs[2].distance > 0.1
    assert found.made[0] < 1e-6 < found.fresh[0]


def test_without_held_out_images_each_real_one_is_left_out_of_its_own_neighbours():
    real = normal(60, 4, 0)
    found = copies(normal(30, 4, 1), real)
    pairs = np.linalg.norm(real[:, None] - real, axis=-1)
    np.fill_diagonal(pairs, np.inf)
    np.testing.assert_allclose(found.fresh, np.quantile(pairs.min(1), found.quantiles), rtol=1e-9)
    distances, rows = nearest(real, real, np.arange(60))
    assert (rows != np.arange(60)).all()
    np.testing.assert_allclose(distances, pairs.min(1), rtol=1e-6)


def test_images_made_from_a_real_one_are_told_from_images_near_another():
    real = normal(50, 5, 0)
    synthetic = np.concatenate([real[:10] + 1e-3, real[20:30] + 1e-3])
    found = copies(synthetic, real, parents=np.arange(20))
    assert found.parent is not None
    nearest_is_parent, within = found.parent
    assert nearest_is_parent.point == within.point == 0.5
    assert found.rate.point == 1


def test_parents_for_other_images_are_refused():
    with pytest.raises(ValueError, match="one of each"):
        copies(normal(5, 2, 0), normal(5, 2, 1), parents=np.arange(4))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 10, 0, 0.3085), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1)]
)
def test_shares_have_the_published_exact_intervals(hits, n, low, high):
    found = share_interval(hits, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


# -------------------------------------------------------------------------------------------------------- separability


def test_sets_of_one_distribution_are_not_separable_and_distant_ones_wholly():
    same, far = (separability(normal(200, 4, 0), normal(300, 4, 1, mean=mean)) for mean in (0, 5))
    assert same.auc.low < 0.5 < same.auc.high
    assert same.null.low < same.auc.point < same.null.high
    assert far.auc.point > 0.999
    assert far.null.low < 0.5 < far.null.high
    assert far.n_each == 100


def test_the_auc_of_shifted_gaussians_is_the_closed_form():
    """Along the best direction two unit Gaussians |μ| apart have AUC Φ(|μ| / √2)."""
    from scipy.stats import norm

    found = separability(normal(1500, 2, 0), normal(1500, 2, 1, mean=0.5))
    assert found.auc.point == pytest.approx(norm.cdf(np.sqrt(2 * 0.25) / np.sqrt(2)), abs=0.03)
    assert found.auc.low > found.null.high


def test_a_null_of_real_images_holds_what_equal_sets_give():
    inside = []
    for seed in range(20):
        found = separability(normal(60, 3, 2 * seed), normal(60, 3, 2 * seed + 1), repeats=5, seed=seed)
        inside.append(found.null.low <= found.auc.point <= found.null.high)
    assert np.mean(inside) >= 0.85


def test_a_handful_of_images_is_too_few_to_train_a_classifier():
    with pytest.raises(ValueError, match="synthetic has 9 images"):
        separability(normal(40, 2, 0), normal(9, 2, 1))


# ------------------------------------------------------------------------------------------------------ class by class


def test_recognisability_is_scikit_learns_f1_and_the_share_of_labels():
    random = np.random.default_rng(0)
    asked = random.integers(0, 4, 300)
    predicted = np.where(random.random(300) < 0.7, asked, random.integers(0, 5, 300))
    found = recognisability(predicted, asked, 5)
    expected = f1_score(asked, predicted, average=None, labels=range(5))
    assert [one.point for one in found.f1[:4]] == pytest.approx(expected[:4])
    assert found.f1[4] is None  # never asked for
    assert found.mean_f1.point == pytest.approx(expected[:4].mean())
    assert found.agreement.point == (asked == predicted).mean()
    assert found.class_agreement[2].point == (predicted[asked == 2] == 2).mean()
    assert found.mean_f1.low < found.mean_f1.point < found.mean_f1.high


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(ValueError, match="give classes=8"):
        recognisability(np.array([1, 7]), np.array([0, 1]), 3)


def test_diversity_is_the_standard_deviation_within_a_class():
    labels = np.arange(4000) % 2
    rows = np.where(labels[:, None] == 0, normal(4000, 5, 0, scale=2), normal(4000, 5, 1, mean=50, scale=0.5))
    found = diversity(rows, labels, 3)
    assert found.each[0].point == pytest.approx(2, rel=0.03)
    assert found.each[1].low < 0.5 < found.each[1].high
    assert found.each[2] is None
    assert found.mean.point == pytest.approx(1.25, rel=0.03)
    assert found.mean.low < 1.25 < found.mean.high


def test_classes_that_are_all_too_small_have_no_diversity():
    with pytest.raises(ValueError, match="none of 5 classes"):
        diversity(normal(10, 2, 0), np.arange(10) % 5, 5)
