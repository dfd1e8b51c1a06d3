"""Matching and average precision against pycocotools and faster-coco-eval on random cases, and against known answers.

The random cases have boxes on a coarse grid, twin objects and scores in tenths, so that overlaps and scores tie; images
without objects, without detections, with more than a hundred; crowds, sizes at the limits, classes without objects.
"""

import contextlib
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realfake.detections import (
    AREAS,
    IOU_THRESHOLDS,
    Detections,
    GroundTruth,
    accumulate,
    all_points,
    coco_format,
    coco_summary,
    headline,
    interpolated,
    match,
    outside_regions,
    overlap,
    precision_recall,
    rows,
    schema,
    visdrone_summary,
    without_ignored_regions,
)
from realfake.detections.library import accumulate_by_library, from_coco_arrays

CASES = 240
CATEGORIES = (1, 2, 5)


def random_case(seed):
    """Return objects, detections and image ids; detections are objects moved a little, or anywhere."""
    rng = np.random.default_rng(seed)
    images = rng.permutation(40)[: rng.integers(1, 6)] + 1
    side = rng.choice([12, 40, 150])
    n_true, n_found = rng.integers(0, 25), rng.choice([0, 5, 60])
    fine = rng.random() < 0.3
    box = np.column_stack([rng.integers(0, 4 * side, (n_true, 2)), rng.integers(1, side, (n_true, 2))]) * 1.0
    if rng.random() < 0.4:  # twins: a detection overlaps both alike
        box[1::2] = box[: 2 * (n_true // 2) : 2]
    area = box[:, 2] * box[:, 3] * rng.choice([0.5, 1.0], n_true)
    area = np.where(rng.random(n_true) < 0.2, rng.choice([32.0**2, 96.0**2], n_true), area)
    image, category = rng.choice(images, n_true), rng.choice(CATEGORIES[: rng.integers(1, 4)], n_true)
    truth = GroundTruth.of(image, category, box, crowd=rng.random(n_true) < rng.choice([0, 0.3]), area=area)
    copied = rng.integers(0, n_true, n_found) if n_true else np.zeros(0, dtype=int)
    moved = (
        box[copied] + rng.integers(-2, 3, (len(copied), 4)) * max(1, side // 20) + fine * rng.random((len(copied), 4))
    )
    moved[:, 2:] = moved[:, 2:].clip(min=1)
    n_more = int(rng.choice([0, 10, 150, 300]))
    other = np.column_stack([rng.integers(0, 4 * side, (n_more, 2)), rng.integers(1, side, (n_more, 2))])
    where = rng.choice(images, n_more) if rng.random() < 0.5 else np.full(n_more, images[0])
    found = Detections.of(
        np.concatenate([image[copied], where]),
        np.concatenate([category[copied], rng.choice(CATEGORIES[: rng.integers(1, 4)], n_more)]),
        np.concatenate([moved, other]),
        rng.integers(0, 11, len(moved) + n_more) / 10 if not fine else rng.random(len(moved) + n_more),
    )
    return truth, found, images


def by_pycocotools(truth, found, images, categories=CATEGORIES):
    """Return pycocotools' evaluation of the same arrays."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    described, detected = coco_format(truth, found, images, categories)
    with contextlib.redirect_stdout(io.StringIO()):
        objects, results = COCO(), COCO()
        objects.dataset = described
        objects.createIndex()
        if detected:
            results = objects.loadRes(detected)
        else:  # pycocotools cannot load an empty list
            results.dataset = {**described, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(objects, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def flags_of_pycocotools(evaluation, n_found):
    """Return the row of the matched object and the ignore flag of each detection (a, t, d); the rest is ignored."""
    truth = np.full((4, 10, n_found), -1)
    ignored = np.ones((4, 10, n_found), dtype=bool)
    for image in filter(None, evaluation.evalImgs):
        a = evaluation.params.areaRng.index(image["aRng"])
        columns = np.array(image["dtIds"], dtype=int) - 1
        truth[a][:, columns] = image["dtMatches"] - 1
        ignored[a][:, columns] = image["dtIgnore"]
    return truth, ignored


def same(ours, theirs):
    np.testing.assert_allclose(ours.precision, theirs.precision, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.recall, theirs.recall, rtol=0, atol=1e-9)


@pytest.mark.parametrize("first", range(0, CASES, 20))
def test_random_cases_equal_pycocotools_and_faster_coco_eval(first):
    for seed in range(first, first + 20):
        truth, found, images = random_case(seed)
        matches = match(truth, found, images)
        ours = accumulate(truth, found, matches, CATEGORIES)
        evaluation = by_pycocotools(truth, found, images)
        theirs, ignored = flags_of_pycocotools(evaluation, len(found.image))
        np.testing.assert_array_equal(matches.truth, theirs)
        np.testing.assert_array_equal(matches.ignored, ignored)
        same(ours, from_coco_arrays(evaluation, (1, 10, 100)))
        same(ours, accumulate_by_library(truth, found, images, CATEGORIES))


def test_the_random_cases_hold_what_they_are_meant_to():
    cases = [random_case(seed) for seed in range(CASES)]
    per_image = [np.unique(np.stack([f.image, f.category]), axis=1, return_counts=True)[1] for _, f, _ in cases]
    assert sum(len(counts) > 0 and counts.max() > 100 for counts in per_image) >= 10
    assert sum(len(f.image) == 0 < len(t.image) for t, f, _ in cases) >= 10
    assert sum(len(t.image) == 0 < len(f.image) for t, f, _ in cases) >= 3
    assert sum(bool(t.crowd.any()) for t, _, _ in cases) >= 50
    assert sum(len(np.unique(f.score)) < len(f.score) for _, f, _ in cases) >= 100
    assert sum(bool(np.setdiff1d(i, t.image).size) for t, _, i in cases) >= 50
    pairs = [match(t, f, i) for t, f, i in cases]
    assert sum(bool((m.truth[0, 0] != m.truth[0, 5]).any()) for m in pairs) >= 100


def test_the_summary_is_that_of_pycocotools():
    truth, found, images = random_case(7)
    evaluation = by_pycocotools(truth, found, images)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    for summary in (coco_summary(truth, found, images, CATEGORIES), headline(truth, found, images, CATEGORIES)):
        assert list(summary) == ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100"]
        stats = [np.nan if value == -1 else value for value in evaluation.stats[:9]]
        np.testing.assert_allclose(list(summary.values()), stats, rtol=0, atol=1e-9)


def test_more_detections_than_a_hundred_count_where_asked_for():
    rng = np.random.default_rng(0)
    box = np.column_stack([np.arange(150) * 20, np.zeros(150), np.full((150, 2), 10)])
    truth, order = GroundTruth.of(np.ones(150, int), np.ones(150, int), box), rng.permutation(150)
    found = Detections.of(np.ones(150, int), np.ones(150, int), box[order], np.linspace(1, 0.1, 150))
    assert coco_summary(truth, found, [1], [1])["ap50"] == pytest.approx(67 / 101)  # recalls 0 to 0.66 of 100 / 150
    for evaluate in (coco_summary, headline):
        assert evaluate(truth, found, [1], [1], max_detections=(500,)) == pytest.approx(
            {"ap": 1, "ap50": 1, "ap75": 1, "ap_small": 1, "ap_medium": np.nan, "ap_large": np.nan, "ar_500": 1},
            nan_ok=True,
        )


# ------------------------------------------------------------------------------------------ known answers, properties


def one(box, score=None, **more):
    """Return objects (or, with scores, detections) of class 1 in image 1."""
    ids = np.ones(len(box), dtype=int)
    return GroundTruth.of(ids, ids, box, **more) if score is None else Detections.of(ids, ids, box, score)


def test_a_hand_made_image():
    truth = one([[0, 0, 10, 10], [20, 0, 10, 10], [50, 0, 40, 40]], crowd=[False, False, True])
    found = one(
        [[0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 10, 5], [55, 5, 10, 10], [60, 5, 10, 10]], [0.9, 0.8, 0.7, 0.6, 0.5]
    )
    matches = match(truth, found, [1], thresholds=(0.5, 0.6), areas={"all": AREAS["all"]})
    assert matches.truth[0].tolist() == [
        [0, -1, 1, 2, 2],
        [0, -1, -1, 2, 2],
    ]  # the surest takes it; an overlap of 0.5 is enough
    assert matches.correct[0].tolist() == [[True, False, True, False, False], [True, False, False, False, False]]
    assert matches.false[0].tolist() == [[False, True, False, False, False], [False, True, True, False, False]]
    assert matches.rank.tolist() == [0, 1, 2, 3, 4]


def test_a_threshold_may_be_one_number():
    matches = match(one([[0, 0, 10, 10]]), one([[0, 0, 10, 10]], [0.5]), [1], thresholds=1.0)
    assert matches.correct.tolist() == [[[True]], [[True]], [[False]], [[False]]]


def test_an_equal_box_is_found_at_threshold_one_even_where_its_overlap_is_rounded_below():
    box = np.random.default_rng(0).uniform(1, 9, (200, 4))
    shared = overlap(box, box, np.zeros(200, dtype=bool))
    assert shared.min() < 1
    unlucky = [box[shared.argmin()]]
    assert match(one(unlucky), one(unlucky, [0.5]), [1], thresholds=1.0).correct[0].all()


def test_curves_of_a_known_ranking():
    right = np.array([True, False, True, False])
    precision, recall = precision_recall(right, ~right, 4)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3, 1 / 2])
    np.testing.assert_allclose(recall, [0.25, 0.25, 0.5, 0.5])
    assert all_points(precision, recall) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    assert interpolated(precision, recall).mean() == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)


@given(st.integers(0, 10_000), st.sampled_from([2.0, 0.5]))
@settings(max_examples=40, deadline=None)
def test_only_the_order_of_scores_matters_and_images_may_come_in_any_order(seed, power):
    truth, found, images = random_case(seed)
    raised = Detections.of(found.image, found.category, found.box, found.score**power * 7)
    first, second = match(truth, found, images), match(truth, raised, images[::-1])
    np.testing.assert_array_equal(first.truth, second.truth)


# ---------------------------------------------------------------------------------------------------------- VisDrone


def slow_visdrone(truth, found, categories):
    """Return the protocol as loops over images, detections and objects; ``crowd`` objects are the ignored ones."""
    average, recalls = [], {most: [] for most in (1, 10, 100, 500)}
    for category in categories:
        for level in IOU_THRESHOLDS:
            for most in recalls:
                flags, n_objects = [], max(1, int((truth.category == category).sum()))
                for image in np.unique(np.concatenate([truth.image, found.image])):
                    here = np.flatnonzero(found.image == image)
                    here = here[np.argsort(-found.score[here], kind="stable")][:most]
                    objects = np.flatnonzero((truth.image == image) & (truth.category == category))
                    used = set()
                    for d in here[found.category[here] == category]:
                        flags.append((found.score[d], slow_choice(truth, found.box[d], objects, used, level)))
                flags.sort(key=lambda flag: -flag[0])
                true = np.cumsum([flag == 1 for _, flag in flags])
                false = np.cumsum([flag == 0 for _, flag in flags])
                recalls[most].append(true[-1] / n_objects if flags else 0.0)
            steps = [(t / n_objects, t / max(1, t + f)) for t, f in zip(true, false, strict=True)]
            area, last = 0.0, 0.0
            for n, (recall, _) in enumerate(steps):
                area += (recall - last) * max(precision for _, precision in steps[n:])
                last = recall
            average.append(area)
    return {"ap": np.mean(average), **{f"ar_{most}": np.mean(values) for most, values in recalls.items()}}


def slow_choice(truth, box, objects, used, level):
    """Return 1 for a true positive, 0 for a false one, −1 for an ignored object; and mark what was used."""
    best = {False: (level, None), True: (level, None)}
    for g in objects:
        low = np.maximum(box[:2], truth.box[g, :2])
        shared = np.prod(np.maximum(0, np.minimum(box[:2] + box[2:], truth.box[g, :2] + truth.box[g, 2:]) - low))
        own = box[2] * box[3]
        part = shared / (own if truth.crowd[g] else own + truth.box[g, 2] * truth.box[g, 3] - shared)
        if g not in used and part >= best[bool(truth.crowd[g])][0]:
            best[bool(truth.crowd[g])] = (part, g)
    if best[False][1] is not None:
        used.add(best[False][1])
        return 1
    return -1 if best[True][1] is not None else 0


@pytest.mark.parametrize("seed", range(0, 60, 5))
def test_visdrone_equals_its_rules_written_as_loops(seed):
    truth, found, images = random_case(seed)
    ours = visdrone_summary(truth, found, images, CATEGORIES)
    for name, value in slow_visdrone(truth, found, CATEGORIES).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_visdrone_counts_an_image_over_all_classes_and_classes_without_objects_as_zero():
    box = [[0, 0, 10, 10], [20, 0, 10, 10]]
    truth = GroundTruth.of([1, 1], [1, 2], box)
    found = Detections.of([1, 1], [1, 2], box, [0.9, 0.8])
    assert coco_summary(truth, found, [1], [1, 2, 3])["ar_1"] == 1
    summary = visdrone_summary(truth, found, [1], [1, 2, 3, 4])
    assert [summary["ar_1"], summary["ar_10"], summary["ap"]] == pytest.approx([0.25, 0.5, 0.5])


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_ignored_regions_drop_what_lies_half_inside_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 30, 2)
    boxes = rng.uniform(-3, 25, (8, 4))
    regions = rng.integers(0, 15, (rng.integers(1, 4), 4)).astype(float)
    covered = {
        (x, y)
        for left, top, wide, high in np.maximum(1, regions).astype(int)
        for x in range(left, min(width, left + wide) + 1)
        for y in range(top, min(height, top + high) + 1)
    }
    kept = []
    for left, top, wide, high in np.maximum(1, np.floor(boxes + 0.5)).astype(int):
        x, y = min(left, width), min(top, height)
        pixels = {(i, j) for i in range(x + 1, x + wide + 1) for j in range(y + 1, y + high + 1)}
        kept.append(len(pixels & covered) / (wide * high) < 0.5)
    assert outside_regions(boxes, regions, int(height), int(width)).tolist() == kept


def test_a_box_that_lies_exactly_half_in_an_ignored_region_is_dropped():
    boxes, region = np.array([[10.0, 10, 8, 8], [11, 10, 8, 8]]), np.array([[1.0, 1, 13, 40]])  # up to column 14
    assert outside_regions(boxes, region, 100, 100).tolist() == [False, True]


def test_objects_and_detections_in_ignored_regions_go_and_others_stay():
    truth = GroundTruth.of([1, 1, 2], [1, 1, 1], [[10, 10, 8, 8], [60, 10, 8, 8], [10, 10, 8, 8]])
    found = Detections.of([1, 2], [1, 1], [[12, 12, 8, 8], [12, 12, 8, 8]], [0.9, 0.8])
    objects, detected = without_ignored_regions(truth, found, {1: [[0, 0, 40, 40]]}, {1: (100, 100)})
    assert objects.box[:, 0].tolist() == [60, 10]
    assert detected.image.tolist() == [2]
    with pytest.raises(ValueError, match=r"1 images with ignored regions have no size \(ids 1\)"):
        without_ignored_regions(truth, found, {1: [[0, 0, 40, 40]]}, {})


# --------------------------------------------------------------------------------------------------- rows and errors


def test_rows_go_to_parquet_and_back(tmp_path):
    truth, found, images = random_case(11)
    matches = match(truth, found, images)
    table = rows(truth, found, matches)
    pq.write_table(table, tmp_path / "detections.parquet")
    back = pq.read_table(tmp_path / "detections.parquet")
    assert back.equals(table)
    assert back.schema.equals(schema(IOU_THRESHOLDS), check_metadata=True)
    assert back.schema.metadata[b"iou_thresholds"].split()[:2] == [b"0.5", b"0.55"]
    assert back.num_rows == len(found.image) > 0
    assert np.array(back["matched"].to_pylist()).T.tolist() == matches.matched[0].tolist()
    assert np.array(back["ignored"].to_pylist()).T.tolist() == matches.ignored[0].tolist()
    np.testing.assert_array_equal(np.array(back["box"].to_pylist()), found.box)
    pairs = [(i, t) for i, t in zip(back["iou"].to_pylist(), back["truth"].to_pylist(), strict=True)]
    flat = [(iou, row) for ious, of in pairs for iou, row in zip(ious, of, strict=True)]
    assert any(iou is not None for iou, _ in flat)
    assert all((iou is None) == (row is None) and (iou is None or 0.5 <= iou <= 1) for iou, row in flat)


def test_the_ious_of_rows_are_those_that_faster_coco_eval_writes():
    from faster_coco_eval import COCO, COCOeval_faster

    truth = one([[0, 0, 10, 10], [30, 0, 20, 10]])
    found = one([[1, 0, 10, 10], [31, 1, 20, 10], [80, 80, 5, 5]], [0.9, 0.8, 0.7])
    described, detected = coco_format(truth, found, [1], [1])
    objects = COCO(described)
    results = objects.loadRes(detected)
    evaluation = COCOeval_faster(objects, results, "bbox", extra_calc=True)
    evaluation.evaluate()
    evaluation.accumulate()
    theirs = [(a.get("gt_id"), a.get("iou")) for a in results.anns.values()]
    table = rows(truth, found, match(truth, found, [1], thresholds=0.5)).to_pylist()
    ours = [(None if row["truth"][0] is None else row["truth"][0] + 1, row["iou"][0]) for row in table]
    assert [pair[0] for pair in ours] == [pair[0] for pair in theirs] == [1, 2, None]
    np.testing.assert_allclose([iou for _, iou in ours[:2]], [iou for _, iou in theirs[:2]], atol=1e-12)


def test_rows_of_no_detections_have_the_schema():
    truth, none = one([[0, 0, 10, 10]]), Detections.of([], [], [], [])
    table = rows(truth, none, match(truth, none, [1]))
    assert table.schema.equals(schema(IOU_THRESHOLDS))
    assert table.num_rows == 0
    with pytest.raises(ValueError, match="no area range 'tiny' was matched; name one of all, small, medium, large"):
        rows(truth, none, match(truth, none, [1]), area="tiny")


BOX = [[0, 0, 5, 5]]
WRONG = {
    r"2 of 3 true boxes have no positive width and height \(rows 0, 2\)": lambda: one(
        [[0, 0, 0, 5], BOX[0], [0, 0, 5, -1]]
    ),
    r"1 of 1 detected boxes are not finite": lambda: one([[0, np.nan, 5, 5]], [0.5]),
    r"1 of 2 scores are not finite \(rows 1\); they cannot be ranked": lambda: one(BOX * 2, [0.5, np.nan]),
    r"7 of 7 scores are not finite \(rows 0, 1, 2, 3, 4, …\)": lambda: one(BOX * 7, [np.inf] * 7),
    r"shape \(1, 3\); give \(n, 4\)": lambda: one([[0, 0, 5]]),
    r"1 of 1 true areas are negative": lambda: one(BOX, area=[-1]),
    r"columns of the detections differ in shape .*score \(2,\)": lambda: one(BOX, [0.5, 0.6]),
    r"image ids are of type float64": lambda: GroundTruth.of([1.5], [1], BOX),
    r"1 of 1 detections lie in images that are not evaluated \(ids 1\)": lambda: match(
        one([]), one(BOX, [0.5]), [2, 3]
    ),
    r"1 of 1 true objects lie in images that": lambda: headline(one(BOX), one([], []), [2], [1]),
    r"2 of 3 image ids are listed more than once \(rows 0, 2\)": lambda: match(one([]), one([], []), [1, 2, 1]),
    r"1 of 1 true objects are of classes that are not evaluated \(ids 1\)": lambda: coco_summary(
        one(BOX), one([], []), [1], [2]
    ),
    r"1 of 2 IoU thresholds are outside": lambda: match(one(BOX), one([], []), [1], thresholds=(0.5, 50)),
    r"max_detections is 0, so nothing can be found": lambda: match(one(BOX), one([], []), [1], max_detections=0),
    r"categories are empty": lambda: visdrone_summary(one([]), one([], []), [1], []),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_counted_and_named_in_one_sentence(message):
    with pytest.raises(ValueError, match=message) as error:
        WRONG[message]()
    assert "\n" not in str(error.value)
