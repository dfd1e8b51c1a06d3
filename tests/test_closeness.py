"""AP_t2t against pycocotools, cases worked by hand, and properties; its intervals against expanded resamples."""

import contextlib
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import realfake
from realfake.representation.closeness import Detected, Ranking
from realfake.representation.closeness_curves import THRESHOLDS, correlation, curve, curve_draws, separation

NORMALISATIONS = ("ground truth", "true positives")


def ap(distance, score, matched, n=None, threshold=0.01, **options):
    return realfake.average_precision_t2t(
        distance, score, matched, sum(matched) if n is None else n, threshold, **options
    )


@st.composite
def detections(draw):
    """Distances and scores with many ties."""
    n = draw(st.integers(1, 25))
    lists = [
        st.lists(values, min_size=n, max_size=n) for values in (st.integers(0, 6), st.integers(0, 4), st.booleans())
    ]
    distance, score, matched = (np.array(draw(one)) for one in lists)
    return distance.astype(float), score / 4, matched, int(matched.sum()) + draw(st.integers(0, 4))


# ------------------------------------------------------------------------------------------------------ against others


def coco_scene(seed, images=12):
    """Objects, some of them crowds, and detections near them and elsewhere, with tied scores."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for image in range(images):
        boxes = [[*corner, *rng.uniform(8, 30, 2)] for corner in rng.uniform(0, 80, (rng.integers(0, 7), 2))]
        for box in boxes:
            crowd = int(rng.random() < 0.15)
            truths.append({"image_id": image, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd})
        near = [np.add(box, rng.normal(0, 2, 4)).tolist() for box in boxes for _ in range(rng.integers(0, 4))]
        far = [[*rng.uniform(0, 80, 2), *rng.uniform(8, 30, 2)] for _ in range(rng.integers(0, 5))]
        found += [{"image_id": image, "bbox": b, "score": round(rng.uniform(0.005, 1), 1) + 0.01} for b in near + far]
    for number, truth in enumerate(truths):
        truth.update(id=number + 1, category_id=1)
    return truths, [{**one, "category_id": 1} for one in found]


def coco_evaluation(truths, found, images=12):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        scene = COCO()
        scene.dataset = {"images": [{"id": i} for i in range(images)], "annotations": truths, "categories": [{"id": 1}]}
        scene.createIndex()
        evaluation = COCOeval(scene, scene.loadRes(found), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_ranked_by_score_it_is_the_ap_of_pycocotools(seed, threshold):
    truths, found = coco_scene(seed)
    images = [one for one in coco_evaluation(truths, found).evalImgs if one is not None]
    score = np.concatenate([one["dtScores"] for one in images])
    matched = np.concatenate([one["dtMatches"].T > 0 for one in images])
    ignored = np.concatenate([one["dtIgnore"].T.astype(bool) for one in images])
    objects = sum(int((np.asarray(one["gtIgnore"]) == 0).sum()) for one in images)
    kept = [one for one in found if one["score"] >= threshold]
    theirs = coco_evaluation(truths, kept).eval["precision"][:, :, 0, 0, 0].mean(1)
    assert 0.1 < theirs[0] < 0.9
    assert ignored.any()
    for column in range(10):
        ours = ap(-score, score, matched[:, column], objects, threshold, ignored=ignored[:, column])
        assert ours == pytest.approx(theirs[column], abs=1e-12)
    assert ap(-score, score, matched, objects, threshold, ignored=ignored) == pytest.approx(theirs.mean(), abs=1e-12)


def plainly(distance, score, matched, n, threshold, below=math.inf, of_found=False):
    """The definition, spelt out."""
    kept = [i for i in range(len(score)) if threshold <= score[i] < below]
    ranked = sorted(kept, key=lambda i: (distance[i], -score[i], i))
    n = sum(bool(matched[i]) for i in kept) if of_found else n
    if not n:
        return math.nan
    points = []
    for k in range(1, len(ranked) + 1):
        true = sum(bool(matched[i]) for i in ranked[:k])
        points.append((true / n, true / k))
    recalls = np.linspace(0, 1, 101)
    return sum(max((p for r, p in points if r >= recall), default=0.0) for recall in recalls) / 101


@settings(deadline=None, max_examples=150)
@given(detections(), st.sampled_from([0.0, 0.25, 0.6]), st.sampled_from([0.8, math.inf]), st.booleans())
def test_it_is_its_definition(found, threshold, below, of_found):
    ours = ap(*found, threshold, below=below, normalisation=NORMALISATIONS[of_found])
    assert ours == pytest.approx(plainly(*found, threshold, below, of_found), abs=1e-12, nan_ok=True)


def test_all_points_is_the_average_precision_of_scikit_learn_where_precision_only_falls():
    from sklearn.metrics import average_precision_score

    matched = np.array([1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0], dtype=bool)  # each right one after more wrong ones
    distance = np.arange(11.0)
    ours = ap(distance, np.ones(11), matched, interpolation="all-point")
    assert ours == pytest.approx(average_precision_score(matched, -distance))


# -------------------------------------------------------------------------------------------------------------- by hand


def test_cases_worked_by_hand():
    # ranked: right, wrong, right; two objects: precision 1 to recall 1/2 (51 of 101 recalls), then 2/3
    distance, score, matched = [1.0, 2.0, 3.0], [0.9, 0.9, 0.9], [True, False, True]
    assert ap(distance, score, matched) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert ap(distance, score, matched, interpolation="all-point") == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    # four objects, two found: recalls to 1/4 (26), to 1/2 (25), and zero beyond
    assert ap(distance, score, matched, 4) == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)
    assert ap(distance, score, matched, 4, normalisation="true positives") == ap(distance, score, matched)
    # wrong ones nearest
    assert ap([3.0, 1.0, 2.0], score, [True, False, False]) == pytest.approx(1 / 3)


def test_ties_in_distance_are_broken_by_score_and_then_by_order():
    assert ap([1.0, 1.0], [0.3, 0.8], [True, False]) == pytest.approx(1 / 2)  # the wrong one has the higher score
    assert ap([1.0, 1.0], [0.8, 0.3], [True, False]) == 1.0
    assert ap([1.0, 1.0], [0.5, 0.5], [True, False]) == 1.0  # equal scores: as given
    assert ap([1.0, 1.0], [0.5, 0.5], [False, True]) == pytest.approx(1 / 2)
    # three at one distance: scores decide, then one nearer
    distance, score, matched = [2.0, 2.0, 2.0, 1.0], [0.2, 0.9, 0.9, 0.1], [True, True, False, False]
    # order: wrong (nearer), right (0.9, first), wrong (0.9), right (0.2): precision 1/2 at recall 1/2, 1/2 at 1
    assert ap(distance, score, matched) == pytest.approx(1 / 2)


def test_sets_are_cumulative_bands_are_their_differences_and_a_threshold_counts():
    distance, score, matched = [1.0, 2.0, 3.0, 4.0], [0.5, 0.1, 0.05, 0.9], [True, False, True, True]
    assert ap(distance, score, matched, 3, 0.5) == pytest.approx(67 / 101)  # two right of three objects
    assert ap(distance, score, matched, 3, 0.1, below=0.5) == 0.0  # the wrong one only
    assert ap(distance, score, matched, 3, 0.01, below=0.1) == pytest.approx(34 / 101)
    assert math.isnan(ap(distance, score, matched, 3, 0.1, below=0.5, normalisation="true positives"))
    found = Detected(np.zeros(4, int), distance, score, matched, [3])
    bands = [(p.threshold, p.below, p.n_true, p.n_false) for p in curve(found, banded=True, draws=5)]
    assert bands == [(0.01, 0.1, 1, 0), (0.1, 0.5, 0, 1), (0.5, math.inf, 2, 0)]
    assert [(p.below, p.n_true, p.n_false) for p in curve(found, draws=5)] == [
        (math.inf, 3, 1),
        (math.inf, 2, 1),
        (math.inf, 2, 0),
    ]


def test_ignored_detections_count_neither_way():
    distance, score, matched = np.arange(4.0), np.full(4, 0.5), np.array([False, True, True, False])
    ignored = np.array([True, False, True, False])
    assert ap(distance, score, matched, 1, ignored=ignored) == 1.0
    both = np.stack([matched, matched], 1)
    apart = np.stack([ignored, np.zeros(4, bool)], 1)
    second = ap(distance, score, matched, 2)
    assert ap(distance, score, both, 2, ignored=apart) == pytest.approx((51 / 101 + second) / 2)
    assert ap(distance, score, both, 2, ignored=ignored) == pytest.approx(51 / 101)


# ----------------------------------------------------------------------------------------------------------- properties


@settings(deadline=None, max_examples=80)
@given(detections(), st.sampled_from(NORMALISATIONS), st.sampled_from(["101-point", "all-point"]))
def test_any_increasing_map_of_the_distance_changes_nothing(found, normalisation, interpolation):
    distance, *rest = found
    options = {"normalisation": normalisation, "interpolation": interpolation}
    answers = [ap(mapped, *rest, **options) for mapped in (distance, np.sqrt(distance), np.exp(distance) - 40)]
    np.testing.assert_equal(answers[1:], answers[:1] * 2)


@settings(deadline=None, max_examples=150)
@given(detections())
def test_normalised_by_true_positives_it_is_one_exactly_if_each_is_nearer_than_each_false_one(found):
    distance, score, matched, n = found
    value = ap(distance, score, matched, n, 0.0, normalisation="true positives")
    order = np.lexsort((-score, distance))
    ahead = bool(matched.any() and not (np.diff(matched[order].astype(int)) > 0).any() and matched[order][0])
    assert (value == 1.0) == ahead
    assert math.isnan(value) == (not matched.any())


def test_nothing_found_is_zero_and_nothing_to_find_is_no_number():
    assert ap([], [], [], 5) == 0.0
    assert ap([1.0], [0.005], [True], 5) == 0.0
    assert math.isnan(ap([1.0], [0.5], [False], 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [0.5]}, "their numbers differ"),
        ({"distance": [1.0, math.nan]}, "1 distances or scores are not numbers"),
        ({"n_ground_truth": 1}, "2 detections are matched to 1 objects"),
        ({"normalisation": "gt"}, "normalisation='gt' is none of"),
        ({"interpolation": "11-point"}, "interpolation='11-point' is none of"),
        ({"ignored": np.zeros((2, 3))}, "ignored has 3 IoU thresholds and matched 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(change, message):
    given_ = {
        "distance": [1.0, 2.0],
        "score": [0.5, 0.5],
        "matched": [True, True],
        "n_ground_truth": 2,
        "threshold": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        realfake.average_precision_t2t(**{**given_, **change})
    with pytest.raises(ValueError, match="on image 3, and ground truth is known of 2"):
        Detected([0, 3], [1.0, 2.0], [0.5, 0.5], [True, True], [1, 1])


# ------------------------------------------------------------------------------------------------------------ intervals


def scene(seed, images=60, nearer=1.0):
    """Right detections lie ``nearer`` by so many standard deviations; images differ in how many there are."""
    rng = np.random.default_rng(seed)
    right, wrong = rng.poisson(rng.gamma(2, 1, images)), rng.poisson(2, images)
    image = np.concatenate([np.repeat(np.arange(images), right), np.repeat(np.arange(images), wrong)])
    matched = np.arange(len(image)) < right.sum()
    return Detected(
        image,
        rng.normal(size=len(image)) - nearer * matched,
        rng.beta(1, 2, len(image)),
        matched,
        right + rng.poisson(0.5, images),
    )


def drawn(found, times):
    """Each image as often as it was drawn, spelt out."""
    rows = np.concatenate([np.flatnonzero(found.image == i) for i, n in enumerate(times) for _ in range(int(n))])
    objects = int((times * found.ground_truths).sum())
    return found.distance[rows], found.score[rows], found.matched[rows, 0], objects


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("interpolation", ["101-point", "all-point"])
def test_weighing_images_is_drawing_them_as_often(normalisation, interpolation):
    found, rng = scene(0), np.random.default_rng(1)
    ranking = Ranking.of(found, 0.1, math.inf, normalisation, interpolation)
    for _ in range(20):
        times = np.bincount(rng.integers(60, size=60), minlength=60).astype(float)
        expanded = ap(*drawn(found, times), 0.1, normalisation=normalisation, interpolation=interpolation)
        assert ranking.value(times) == pytest.approx(expanded, abs=1e-12)


def test_intervals_hold_their_point_narrow_with_images_and_do_not_depend_on_order():
    few, many = curve(scene(3, 40), draws=200), curve(scene(3, 640), draws=200)
    for small, large in zip(few, many, strict=True):
        assert small.ap.low < small.ap.point < small.ap.high
        width = (small.ap.high - small.ap.low) / (large.ap.high - large.ap.low)
        assert 2 < width < 8  # √16 = 4
    found = scene(3, 40)
    turn = np.random.default_rng(0).permutation(len(found.image))
    turned = Detected(
        *(getattr(found, name)[turn] for name in ("image", "distance", "score", "matched")), found.ground_truths
    )
    assert curve(turned, draws=200) == few


def test_draws_of_two_detectors_are_paired():
    near, far = scene(5, nearer=1.5), scene(5, nearer=0.5)
    a, b = curve_draws(near, draws=300), curve_draws(far, draws=300)
    assert a.shape == (300, 3)
    assert (a - b).std(0)[0] < 0.8 * np.hypot(a.std(0), b.std(0))[0]


def test_intervals_are_the_bias_corrected_bootstrap_of_scipy():
    from scipy.stats import bootstrap

    found = scene(8, 60)
    ranking = Ranking.of(found, 0.5, math.inf, "true positives", "101-point")

    def statistic(images):
        return ranking.value(np.bincount(images.astype(int), minlength=60).astype(float))

    theirs = bootstrap((np.arange(60),), statistic, n_resamples=3000, method="BCa", vectorized=False, rng=1)
    low, high = theirs.confidence_interval
    options = {"normalisation": "true positives", "draws": 3000}
    (point,) = curve(found, (0.5,), **options)
    assert point.ap.low == pytest.approx(low, abs=0.03 * (high - low))
    assert point.ap.high == pytest.approx(high, abs=0.03 * (high - low))
    plain = np.quantile(curve_draws(found, (0.5,), **options), [0.025, 0.975])
    assert (plain - [low, high] > 0.05 * (high - low)).all()  # uncorrected, both ends are too high


def test_a_set_in_which_nothing_can_be_recalled_has_no_answer():
    found = Detected([0, 1], [1.0, 2.0], [0.3, 0.3], [False, False], [0, 0])
    (point,) = curve(found, (0.1,), draws=20)
    assert point.ap.censored == "withheld"
    assert "nothing to recall" in point.ap.reason


# --------------------------------------------------------------------------------------------------------- summaries


def test_separation_is_the_auroc_of_scikit_learn_and_plain_medians():
    from sklearn.metrics import roc_auc_score

    found = scene(2)
    tied = Detected(found.image, np.round(found.distance), found.score, found.matched, found.ground_truths)
    kept = tied.score >= 0.3
    answer = separation(tied, 0.3)
    right = tied.matched[kept, 0]
    assert answer["auroc"] == pytest.approx(roc_auc_score(right, -tied.distance[kept]))
    assert answer["median_true"] == np.median(tied.distance[kept][right])
    assert answer["median_false"] == np.median(tied.distance[kept][~right])
    assert (answer["n_true"], answer["n_false"]) == (right.sum(), (~right).sum())
    nothing = separation(tied, 2.0)
    assert nothing["n_true"] == nothing["n_false"] == 0
    assert math.isnan(nothing["auroc"])


def test_correlations_are_those_of_scipy_and_groups_are_resampled_together():
    from scipy import stats

    rng = np.random.default_rng(0)
    values = rng.normal(size=24)
    precision = -values + rng.normal(size=24)
    answer = correlation(values, precision, draws=500)
    assert answer.pearson.point == pytest.approx(stats.pearsonr(values, precision)[0])
    assert answer.spearman.point == pytest.approx(stats.spearmanr(values, precision)[0])
    assert answer.pearson.low < answer.pearson.point < answer.pearson.high < 0
    group = np.arange(24) // 2
    repeated = correlation(values[group * 2], precision[group * 2], group=group, draws=500)
    assert (repeated.cells, repeated.groups) == (24, 12)
    once = correlation(values[::2], precision[::2], draws=500)  # copies of a cell tell nothing new
    assert repeated.pearson.low == pytest.approx(once.pearson.low)


def test_correlations_that_cannot_be_told_are_withheld_or_refused():
    assert (
        "4 groups of cells are too few"
        in correlation(np.arange(8), np.arange(8), group=np.arange(8) // 2).pearson.reason
    )
    assert "constant" in correlation(np.full(6, 0.1), np.arange(6)).spearman.reason
    with pytest.raises(ValueError, match="leave out cells without"):
        correlation(np.array([1.0, math.nan]), np.ones(2))
