"""Fréchet and kernel distances against closed forms, scipy, scikit-learn and sums over all pairs."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

from realfake.fidelity import class_discrepancy, frechet_distance, kernel_distance, maximum_mean_discrepancy
from realfake.fidelity.kernels import CHUNK, gaussian_kernel, median_distance


def normal(n, d, seed, mean=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(mean, scale, (n, d))


def correlated(n, d, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) / np.sqrt(d) + random.normal(size=d)


# ------------------------------------------------------------------------------------------------------------- Fréchet


def by_sqrtm(a, b):
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real))


def with_moments(n, mean, deviations, seed):
    """Rows whose sample mean and covariance are exactly these: the Gaussian of a closed form."""
    rows = normal(n, len(mean), seed)
    rows -= rows.mean(0)
    q = np.linalg.qr(rows)[0] * np.sqrt(n - 1)
    return q * deviations + mean


def test_the_frechet_distance_of_commuting_gaussians_is_the_closed_form():
    means, deviations = ([0.0, 1.0, -2.0], [3.0, 1.0, 0.5]), ([1.0, 2.0, 0.1], [1.0, 4.0, 0.1])
    a, b = (
        with_moments(50, np.array(m), np.array(s), seed) for m, s, seed in zip(means, deviations, (0, 1), strict=True)
    )
    closed = sum((m - k) ** 2 for m, k in zip(*means, strict=True))
    closed += sum((s - t) ** 2 for s, t in zip(*deviations, strict=True))
    assert frechet_distance(a, b).point == pytest.approx(closed, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 80, 5), (400, 90, 20)])
def test_the_frechet_distance_is_that_of_the_matrix_root(n, m, d):
    a, b = correlated(n, d, 0), correlated(m, d, 1)
    assert frechet_distance(a, b).point == pytest.approx(by_sqrtm(a, b), rel=1e-8)


def test_fewer_images_than_features_need_no_root_of_a_singular_matrix():
    a, b = correlated(12, 40, 0), correlated(15, 40, 1)
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(s)
    root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ t @ root).clip(0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * shared
    assert frechet_distance(a, b).point == pytest.approx(expected, rel=1e-6)


def test_a_set_is_at_no_distance_from_itself_and_a_shift_is_its_square():
    a = correlated(60, 8, 0)
    assert frechet_distance(a, a[::-1]).point == pytest.approx(0, abs=1e-10)
    assert frechet_distance(a, a + 0.5).point == pytest.approx(8 * 0.25)


def test_extrapolation_takes_the_bias_of_finite_sets_away():
    """Of 300 images beside very many: the truth of Gaussians is known, and the plain distance is beyond it."""
    truth, real = 8 * (0.1**2 + 0.2**2), with_moments(4000, np.zeros(8), np.ones(8), 99)
    plain, extrapolated = [], []
    for seed in range(30):
        synthetic = normal(300, 8, seed, mean=0.1, scale=1.2)
        plain.append(frechet_distance(real, synthetic, blocks=2).point)
        extrapolated.append(frechet_distance(real, synthetic, at_infinity=True, blocks=2, seed=seed).point)
    bias = np.mean(plain) - truth
    assert bias > 3 * np.std(plain) / np.sqrt(30)
    assert abs(np.mean(extrapolated) - truth) < bias / 2


def test_extrapolating_both_sets_leaves_nothing_between_equal_gaussians():
    biased, found = [], []
    for seed in range(12):
        a, b = normal(500, 6, 2 * seed), normal(500, 6, 2 * seed + 1)
        biased.append(frechet_distance(a, b, blocks=2).point)
        found.append(frechet_distance(a, b, at_infinity=True, vary="both", blocks=2, seed=seed).point)
    assert np.mean(biased) > 0.03
    assert abs(np.mean(found)) < 0.35 * np.mean(biased)


def test_the_frechet_interval_holds_the_distance_of_many_images():
    """The truth for these counts is the mean over many draws: an interval over images says nothing of bias."""
    found = [frechet_distance(normal(300, 4, 2 * s), normal(200, 4, 2 * s + 1, mean=0.5)) for s in range(150)]
    truth = np.mean([interval.point for interval in found])
    held = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert 0.88 <= held <= 0.99


# ------------------------------------------------------------------------------------------------------------- kernels


def mmd_of(kernel, a, b):
    x, y, xy = kernel(a, a), kernel(b, b), kernel(a, b)
    n, m = len(a), len(b)
    return (x.sum() - np.trace(x)) / (n * (n - 1)) + (y.sum() - np.trace(y)) / (m * (m - 1)) - 2 * xy.mean()


def test_kid_is_the_unbiased_mmd_of_scikit_learns_polynomial_kernel():
    a, b = correlated(70, 6, 0), correlated(CHUNK + 9, 6, 1)
    expected = mmd_of(lambda x, y: polynomial_kernel(x, y, degree=3, gamma=1 / 6, coef0=1), a, b)
    assert kernel_distance(a, b).point == pytest.approx(expected, rel=1e-10)


def test_mmd_is_that_of_scikit_learns_gaussian_kernel_with_the_median_distance():
    a, b = correlated(70, 6, 0), correlated(50, 6, 1)
    rows = np.concatenate([a, b])
    pairs = [np.linalg.norm(rows[i] - rows[j]) for i in range(120) for j in range(i)]
    sigma = float(np.median(pairs))
    found = maximum_mean_discrepancy(a, b, permutations=20)
    assert found.bandwidth == pytest.approx(sigma)
    assert found.value.point == pytest.approx(mmd_of(lambda x, y: rbf_kernel(x, y, 1 / (2 * sigma**2)), a, b))


def test_each_permutation_and_each_block_left_out_is_an_mmd_of_those_images():
    """The one pass over the kernel matrix against calls for single permutations and blocks, written out."""
    from realfake.fidelity import kernels

    a, b = normal(30, 3, 0), normal(20, 3, 1, mean=0.4)
    kernel, cut = gaussian_kernel(1.5), kernels._Blocks.of(30, 20, 5, 0)
    drawn = kernels._shuffled(30, 20, 4, 0)
    sums = kernels._sums(a, b, kernel, cut, drawn)
    rows = np.concatenate([a, b])
    by_hand = [mmd_of(kernel, rows[drawn[:, p] == 0], rows[drawn[:, p] == 1]) for p in range(4)]
    np.testing.assert_allclose(sums.permuted, by_hand, rtol=1e-10)
    left_out = [mmd_of(kernel, a[cut.real != k], b[cut.synthetic != k]) for k in range(5)]
    np.testing.assert_allclose(sums.left_out(), left_out, rtol=1e-10)


def test_two_halves_of_the_same_set_have_no_discrepancy_beyond_chance():
    p_values, inside = [], []
    for seed in range(60):
        rows = np.random.default_rng(seed).permutation(correlated(120, 5, seed))
        found = maximum_mean_discrepancy(rows[:60], rows[60:], permutations=99, seed=seed)
        p_values.append(found.p_value)
        inside.append(found.null.low <= found.value.point <= found.null.high)
    assert np.mean(inside) >= 0.88
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15
    assert 0.35 < np.mean(p_values) < 0.65


def test_different_sets_are_told_apart():
    found = maximum_mean_discrepancy(normal(150, 5, 0), normal(150, 5, 1, mean=0.5), permutations=99)
    assert found.p_value == 0.01
    assert found.value.low > found.null.high


def test_the_mmd_of_gaussians_is_the_closed_form_within_its_interval():
    """E k(x, y) for two Gaussians of unit variance, |μ| apart: (σ² / (σ² + 2))^(d/2) exp(−|μ|² / 2(σ² + 2))."""
    d, sigma, mean = 3, 1.5, 0.6
    factor = (sigma**2 / (sigma**2 + 2)) ** (d / 2)
    truth = 2 * factor * (1 - np.exp(-d * mean**2 / (2 * (sigma**2 + 2))))
    found = [
        maximum_mean_discrepancy(
            normal(150, d, 2 * s), normal(100, d, 2 * s + 1, mean=mean), bandwidth=sigma, permutations=1
        )
        for s in range(100)
    ]
    points = np.array([one.value.point for one in found])
    assert abs(points.mean() - truth) < 3 * points.std() / 10
    assert 0.88 <= np.mean([one.value.low <= truth <= one.value.high for one in found]) <= 0.99


def test_the_discrepancy_within_classes_sees_labels_that_were_swapped():
    labels = np.repeat([0, 1], 60)
    a, b = (np.concatenate([normal(60, 3, s), normal(60, 3, s + 1, mean=3)]) for s in (0, 2))
    right = class_discrepancy(a, labels, b, labels, permutations=99)
    wrong = class_discrepancy(a, labels, b, 1 - labels, permutations=99)
    assert maximum_mean_discrepancy(a, b, permutations=99).p_value > 0.05
    assert right.p_value > 0.05
    assert wrong.p_value == 0.01
    assert wrong.value.low > 0.5


def test_the_discrepancy_within_classes_is_the_mean_of_that_of_each_class():
    labels = np.arange(80) % 3
    a, b = correlated(80, 4, 0), correlated(80, 4, 1)
    found = class_discrepancy(a, labels, b, labels, permutations=9)
    of_class = [mmd_of(gaussian_kernel(found.bandwidth), a[labels == c], b[labels == c]) for c in range(3)]
    assert found.value.point == pytest.approx(np.mean(of_class))


def test_a_class_of_three_images_is_refused_by_name():
    labels = np.repeat([0, 1], [17, 3])
    with pytest.raises(ValueError, match="real, class 1, has 3 images"):
        class_discrepancy(normal(20, 2, 0), labels, normal(20, 2, 1), labels)


def test_images_that_are_all_alike_have_no_bandwidth():
    with pytest.raises(ValueError, match="bandwidth is 0"):
        maximum_mean_discrepancy(np.ones((9, 2)), np.ones((9, 2)))


def test_the_median_distance_does_not_depend_on_the_order_of_few_images():
    rows = normal(40, 3, 0)
    assert median_distance(rows) == pytest.approx(median_distance(rows[::-1]))


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance, maximum_mean_discrepancy])
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((9, 2)), np.zeros((9, 3)), "different spaces"),
        (np.zeros((9, 2)), np.zeros((3, 2)), "synthetic has 3 images"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), "9 of 9 rows of real are not finite"),
        (np.zeros((9, 2, 2)), np.zeros((9, 2)), "reshape"),
    ],
)
def test_what_cannot_be_compared_is_refused(distance, a, b, words):
    with pytest.raises(ValueError, match=words):
        distance(a, b)
