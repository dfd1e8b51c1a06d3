"""The numbers and pictures of a report of detectors: against COCO's evaluator, closed forms, and cases made by hand."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from realfake import detector_facts
from realfake.detections import Detections, GroundTruth, headline, match, rows
from realfake.report import detection_tables as tables
from realfake.report import detectors, looks, scenes
from realfake.report.looks import Objects, Picture, Round, Seen
from tests.test_report import Page, analysis, trials  # noqa: F401  (fixtures)

# ------------------------------------------------------------------------------------------- detections made by chance


def drawn(seed: int, images: int = 20, classes: int = 2, decimals: int = 1) -> tuple[GroundTruth, Detections]:
    """Objects, some of them crowds, and detections around most of them, others anywhere; scores may be equal."""
    rng = np.random.default_rng(seed)
    n = 60
    box = np.column_stack([rng.uniform(0, 80, (n, 2)), rng.uniform(8, 20, (n, 2))])
    crowd = rng.random(n) < 0.1
    truth = GroundTruth.of(rng.integers(images, size=n), rng.integers(classes, size=n), box, crowd=crowd)
    near = rng.integers(n, size=70)
    found = np.column_stack([rng.uniform(0, 80, (50, 2)), rng.uniform(8, 20, (50, 2))])
    found = np.concatenate([truth.box[near] + rng.normal(0, 1.5, (70, 4)), found])
    image = np.concatenate([truth.image[near], rng.integers(images, size=50)])
    category = np.concatenate([truth.category[near], rng.integers(classes, size=50)])
    score = np.round(rng.uniform(0.01, 1, 120), decimals)
    return truth, Detections.of(image, category, np.maximum(found, 1), np.maximum(score, 0.01))


def seen_of(truth: GroundTruth, found: Detections, distance: np.ndarray, images: int = 20) -> tuple[Seen, Objects]:
    ids = np.arange(images)
    matches = match(truth, found, ids)
    one = (matches.matched[0, 0], matches.ignored[0, 0], matches.truth[0, 0])
    seen = Seen(found.image, found.category, found.box, found.score, matches.rank, *one, distance)
    return seen, Objects(ids, truth.image, truth.category, truth.box, ~truth.crowd)


def write_detections(folder, truth, found, ids, distance) -> None:
    table = rows(truth, found, match(truth, found, ids))
    pq.write_table(table.append_column("distance", pa.array(distance, from_pandas=True)), folder / "detections.parquet")


@pytest.mark.parametrize("seed", range(6))
def test_the_mean_of_the_precision_curve_is_the_evaluators_ap50(seed):
    truth, found = drawn(seed)
    seen, there = seen_of(truth, found, np.ones(len(found.score)))
    expected = headline(truth, found, np.arange(20), [0, 1])["ap50"]
    assert tables.precision_at_recalls(seen, there).mean() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_ranked_by_score_instead_of_distance_ap_t2t_is_the_evaluators_ap50(seed):
    truth, found = drawn(seed, decimals=9)  # of equal scores the two would choose differently
    seen, there = seen_of(truth, found, 1 - found.score)
    by = {(row["normalisation"], row["threshold"]): row["ap_t2t"] for row in tables.closeness_rows(seen, there)}
    for threshold in (0.01, 0.5):
        kept = found.score >= threshold
        part = Detections.of(found.image[kept], found.category[kept], found.box[kept], found.score[kept])
        expected = headline(truth, part, np.arange(20), [0, 1])["ap50"]
        assert by["ground truth", threshold] == pytest.approx(expected, abs=1e-9)
    assert by["true positives", 0.01] > by["ground truth", 0.01]


def test_a_single_seed_has_the_interval_of_its_test_images_and_unknown_distances_have_no_row():
    truth, found = drawn(0, classes=1)
    seen, there = seen_of(truth, found, np.random.default_rng(0).uniform(1, 9, len(found.score)))
    for row in tables.closeness_rows(seen, there, draws=50):
        if np.isfinite(row["image_low"]):
            assert row["image_low"] <= row["ap_t2t"] <= row["image_high"]
    some = np.where(np.arange(len(seen.score)) == 3, np.nan, seen.distance)
    assert tables.closeness_rows(replace(seen, distance=some), there, draws=50) == []


def test_seeds_have_a_mean_and_a_range_and_a_single_one_its_own_interval():
    cell = {"test": "a", "arm": "x", "n_real": 20, "n_added": 0, "n_synthetic": 40}
    many = [{**cell, "at": 1, "y": y, "image_low": np.nan, "image_high": np.nan} for y in (0.2, 0.5, 0.8)]
    single = {**cell, "arm": "one", "at": 1, "y": 0.4, "image_low": 0.3, "image_high": 0.7}
    found = looks.over_seeds(pd.DataFrame([*many, single]), ["at"], "y").set_index("arm")
    assert found.loc["x", ["y", "low", "high", "seeds", "band"]].tolist() == [0.5, 0.2, 0.8, 3, "range over seeds"]
    assert found.loc["one", ["y", "low", "high", "seeds"]].tolist() == [0.4, 0.3, 0.7, 1]
    bare = looks.over_seeds(pd.DataFrame([single]).drop(columns=["image_low", "image_high"]), ["at"], "y")
    assert bare[["low", "high"]].isna().all(axis=None)
    assert not len(looks.over_seeds(pd.DataFrame([{**single, "y": np.nan}]), ["at"], "y"))


def test_densities_integrate_to_one_and_few_distances_are_told_one_by_one():
    rng = np.random.default_rng(1)
    right = np.arange(400) < 200
    score = np.where(np.arange(400) % 200 < 195, 0.3, 0.9)
    distance = np.where(right, 1.0, 4.0) * rng.lognormal(3, 0.5, 400)
    nothing = np.zeros(400, dtype=bool)
    plain = (np.zeros(400, int), np.zeros(400, int), np.ones((400, 4)), score, np.arange(400), right, nothing)
    seen = Seen(*plain, truth=np.where(right, np.arange(400), -1), distance=distance)
    data = pd.DataFrame(tables.distance_rows([seen], tables.grid_of([seen])))
    middle = data[data["band"] == "0.1 to 0.5"]
    for _, own in middle.groupby("kind"):
        assert np.trapezoid(own["density"], np.log10(own["distance"])) == pytest.approx(1, abs=0.02)
        assert own["n"].eq(195).all()
    peaks = middle.loc[middle.groupby("kind")["density"].idxmax()].set_index("kind")["distance"]
    assert peaks["false"] / peaks["true"] == pytest.approx(4, rel=0.3)
    surest = data[data["band"] == "0.5 or more"]
    assert sorted(surest["distance"]) == pytest.approx(sorted(distance[score > 0.5]))
    assert surest["density"].isna().all()
    assert not (data["band"] == "0.01 to 0.1").any()
    unknown = replace(seen, distance=np.full(400, np.nan))
    assert tables.distance_rows([unknown], tables.grid_of([unknown])) == []


def test_a_picture_holds_what_was_found_wrong_and_missed_but_no_crowd():
    box = np.array([[0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10], [60, 0, 10, 10.0]])
    truth = GroundTruth.of([7, 7, 7, 8], [0] * 4, box, crowd=[False, False, True, False])
    found = Detections.of([7, 7, 7, 7, 8], [0] * 5, box[[0, 1, 2, 3, 3]], [0.9, 0.2, 0.9, 0.5, 0.9])
    seen, there = seen_of(truth, found, np.arange(5.0), images=10)
    one = tables.picture(seen, there, np.zeros((64, 64, 3), np.uint8), 7, 0.3)
    told = {kind: one.box[one.kind == kind][:, 0].tolist() for kind in ("true", "false", "missed")}
    assert told == {"true": [0], "false": [60], "missed": [20]}
    drawn_ = tables.picture_rows([(one, one)], ("left", "right"))
    assert len(drawn_) == 6
    assert drawn_.loc[drawn_["kind"] == "missed", ["score", "distance"]].isna().all(axis=None)


# ----------------------------------------------------------------------------------------- looks made by hand, no store


def look(test="a", arm="real-only", n=20, m=0, seed=0, **more) -> dict:
    name = f"{arm}-{n}-{m}-{seed}"
    measured = dict.fromkeys(detector_facts.KEPT, 0.1 * (seed + 1))
    measured |= {"distance_status": "ok", "average_precision": 0.1 + 0.01 * m + 0.001 * n}
    own = {"test": test, "arm": arm, "n_real": n, "n_added": 0, "n_synthetic": m, "seed": seed, "recipe": "fpn-tiny"}
    return {**own, "trial": name, "address": f"{name}-{test}", "status": "ok", **measured, **more}


def test_the_largest_volume_leads_and_of_equal_ones_the_first():
    made = [look(n=20), look(n=40), look(arm="PTL", m=20), look(arm="PTL", m=60), look(arm="naive", m=60, seed=1)]
    made += [look(arm="PTL", m=80, status="diverged"), look(arm="PTL", n=80, m=60, status="diverged")]
    cells = looks.leading(pd.DataFrame(made))
    assert set(zip(cells["arm"], cells["n_real"], cells["n_synthetic"], strict=True)) == {
        ("real-only", 20, 0),
        ("real-only", 40, 0),
        ("PTL", 20, 60),
        ("naive", 20, 60),
    }
    assert looks.mixed_sizes(cells) == [20]
    assert looks.against(cells) == {20: ["real-only", "PTL"]}
    assert looks.mixed_sizes(cells[cells["arm"] == "real-only"]) == [20, 40]
    assert not len(looks.leading(pd.DataFrame([look(status="diverged")])))


def test_rounds_pool_their_seeds():
    a, b = np.arange(1.0, 101), np.arange(201.0, 301)
    rounds = [Round("PTL", 20, 1, a, 10, 12.0), Round("PTL", 20, 1, b, 10, 18.0), Round("PTL", 20, 2, a, 10, None)]
    data = tables.round_rows(rounds).set_index(["iteration", "kind"])
    assert data.loc[(1, "left"), "q50"] == np.median(np.concatenate([a, b]))
    assert data.loc[(1, "taken"), ["q50", "n", "height", "height_low"]].tolist() == [105.5, 20, 15.0, 12.0]
    assert data.loc[(2, "left"), "q95"] == np.quantile(a, 0.95)
    assert np.isnan(data.loc[(2, "taken"), "height"])


def test_correlations_leave_out_what_is_not_known_and_few_detectors():
    made = [
        look(
            test, "PTL", n, m, **{"ap_t2t_0.1": 0.5 * (0.1 + 0.01 * m + 0.001 * n) ** 3, "rho_0.1": -float(n + 10 * m)}
        )
        for test in ("a", "b")
        for n in (10, 20, 40)
        for m in (10, 30)
    ]
    made[0]["ap_t2t_0.1"] = None
    made += [look(arm="lost", status="diverged"), look(arm="unknown", **{"ap_t2t_0.1": None, "rho_0.1": None})]
    data = tables.correlations(pd.DataFrame(made), draws=50).set_index(["measure", "over"])
    whole = data.loc[("AP_t2t at 0.1", "all test sets")]
    assert (whole["cells"], whole["detectors"]) == (11, 6)
    assert whole["spearman"] == pytest.approx(1)
    assert 0.8 < whole["pearson"] < 1
    assert data.loc[("ρ at 0.1", "a"), "pearson"] == pytest.approx(-1)
    few = tables.correlations(pd.DataFrame(made[1:4]), draws=50)
    assert few["spearman"].isna().all()
    assert "too few" in few["spearman_reason"].iloc[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((44.0, 46.2, 49.1), "46.4 (44.0–49.1)"),
        ((0.185, 0.394), "0.29 (0.18–0.39)"),
        ((1200.0, 1300.0), "1,250 (1,200–1,300)"),
        ((5.08,), "5.08 (one seed)"),
        ((None, 2.0), "2.00 (one seed)"),
        ((0.5, 0.5), "0.500 (0.500–0.500)"),
        ((0.0,), "0 (one seed)"),
        ((None,), "–"),
    ],
)
def test_a_measure_is_printed_with_its_range(values, words):
    assert detectors.spread(pd.DataFrame({"x": list(values)}, dtype=object), "x") == words


# ------------------------------------------------------------------------------------------------------------ pictures


def test_a_crop_of_a_person_lies_within_the_image():
    image = np.zeros((40, 60, 3), np.uint8)
    image[0:10, 50:60] = 255
    crop = scenes.person_crop(image, np.array([50.0, 0, 10, 10]), pixels=28)
    assert crop.shape == (28, 28, 3)
    assert crop.mean() == pytest.approx(255 * 100 / 14**2, rel=0.05)  # the box in a square of 14 pixels
    assert scenes.person_crop(image[..., :1], np.array([20.0, 5, 90, 80])).shape == (64, 64, 1)


def picture(side: int, kinds=("true", "false", "missed")) -> Picture:
    rng = np.random.default_rng(side)
    image = rng.integers(60, 120, (side, side, 3)).astype(np.uint8)
    box = np.array([[0.1, 0.1, 0.2, 0.3], [0.4, 0.4, 0.2, 0.3], [0.7, 0.1, 0.2, 0.3]])[: len(kinds)] * side
    nan = np.full(len(kinds), np.nan)
    return Picture(side, image, box, np.array(kinds), nan, nan)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_right_wrong_and_missed_are_told_apart_and_the_picture_is_small(number):
    data = scenes.detection_sheet([(picture(700), picture(700))] * number, ("real-only", "with synthetic images"))
    assert len(data) < 600_000
    pixels = np.asarray(Image.open(BytesIO(data)).convert("RGB")).reshape(-1, 3).astype(int)
    for color, _ in scenes.LINES.values():
        wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(pixels - wanted).max(axis=1) < 12).sum() > 40
    assert len({str(line) for _, line in scenes.LINES.values()}) == 3


def test_an_empty_picture_can_be_drawn():
    bare = picture(64, kinds=())
    assert scenes.detection_sheet([(bare, bare)], ("a", "b")).startswith(b"\x89PNG")
