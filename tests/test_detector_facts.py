"""The facts of detectors from a store made by hand, with what is missing left missing, and the page that shows them."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from realfake import detector_facts, naming, report, results, samples
from realfake.detections import Detections, GroundTruth, headline
from realfake.generators.procedural import render
from realfake.generators.rendered import of_scenes
from realfake.report import detection_figures, detectors, drawing
from realfake.report import detection_tables as tables
from realfake.report.looks import DetectionFacts, Objects, OfTest
from realfake.spec import (
    Dataset,
    DetectionRecipe,
    Distances,
    Evaluation,
    Pool,
    Procedural,
    Recipe,
    Study,
    Subset,
    Translation,
    Trial,
)
from realfake.store import Store
from tests.test_figures import PRINTED_WIDTH
from tests.test_report import Page, analysis, trials  # noqa: F401  (fixtures)
from tests.test_report_detection import look, write_detections

# --------------------------------------------------------------------------------------------- a store made by hand

PX = 64
RECIPE = DetectionRecipe(examples_seen=100)
POOL = Pool(generator=Procedural(pixels=PX, gap=0.5))
VIRTUAL = Subset(of=POOL, size=30)
TRAIN, TEST, PARK = (
    Dataset(name=name, split=split, pixels=PX)
    for name, split in (("aerial-urban", "train"), ("aerial-urban", "test"), ("aerial-park", "test"))
)


def keep_dataset(store: Store, dataset: Dataset, n: int, seed: int) -> None:
    domain = dataset.name.removeprefix("aerial-")
    made = of_scenes([render(domain, index, seed, pixels=PX) for index in range(n)])
    with store.making(dataset) as (folder, result):
        table = samples.to_table(made.images, np.zeros(n, int), np.arange(n), made.objects, made.masks)
        samples.write_table(table, folder / "part-0.parquet")
        result |= {"classes": ["person"], "n": n, "licence": "", "source": "rendered", "problems": {}}


def keep_look(store: Store, spec, on: Dataset, seed: int, *, known: bool = True) -> None:
    """A record and detections: most objects of the test set, found a little off, and as many false ones."""
    test, rng = samples.load_dataset(store, on), np.random.default_rng(seed)
    there = detector_facts.objects_of(test)
    truth = GroundTruth.of(there.image, there.category, there.box, crowd=~there.counted)
    near = np.flatnonzero(rng.random(len(truth.image)) < 0.8)
    box = np.concatenate([truth.box[near] + rng.normal(0, 0.7, (len(near), 4)), rng.uniform(5, 30, (len(near), 4))])
    image = np.concatenate([truth.image[near], rng.choice(test.ids, len(near))])
    score = rng.beta(1, 2, len(box)).clip(0.02, 0.98)
    found = Detections.of(image, np.zeros(len(box), int), np.maximum(box, 2), score)
    distance = rng.lognormal(3, 0.4, len(box)) if known else np.full(len(box), np.nan)
    status = "ok" if known else "too few detections: 3 ≤ d + 2"
    with store.making(spec) as (folder, result):
        write_detections(folder, truth, found, test.ids, distance)
        numbers = {name: float(rng.uniform(0.1, 0.9)) for name in detector_facts.KEPT if name != "distance_status"}
        lost = ("distance_true", "distance_false", "rho", "ap_t2t", "distribution", "distance_expected")
        numbers = {name: value if known or not name.startswith(lost) else None for name, value in numbers.items()}
        coco = headline(truth, found, test.ids, [0])
        result |= {**numbers, "average_precision_50": coco["ap50"], "average_precision": coco["ap"]}
        result |= {"status": "ok", "distance_status": status, "real_budget": 20, "n_objects": int(there.counted.sum())}


def keep_translation(store: Store, spec: Translation, pool: Pool, size: int) -> None:
    """Its order, and the first images of its pool: the virtual ones with all colours turned round."""
    rng = np.random.default_rng(spec.seed)
    ids = rng.permutation(VIRTUAL.size)
    with store.making(spec) as (folder, result):
        chosen = {"id": ids, "distance": np.sort(rng.lognormal(3, 1, len(ids))), "key": rng.normal(size=len(ids))}
        pq.write_table(pa.table(chosen), folder / "selection.parquet")
        result |= {"status": "ok", "available": len(ids), "candidate_height_median": 14.0 + spec.seed}
    virtual = detector_facts.translation.drawn(POOL, None, ids[:size])
    folder = store.folder(pool)
    folder.mkdir(parents=True)
    table = samples.to_table(255 - virtual.images, np.zeros(size, int), np.arange(size), virtual.objects, virtual.masks)
    samples.write_table(table, folder / samples.shard_name(0))


def real_only(seed: int, n: int = 10, rate: float = 3e-3) -> Trial:
    recipe = DetectionRecipe(examples_seen=100, learning_rate=rate)
    return Trial(real=Subset(of=TRAIN, size=n, seed=seed), test=TEST, recipe=recipe, seed=seed)


def with_ptl(critic: Trial) -> tuple[Trial, Translation, Pool]:
    distances = Subset(of=Distances(of=POOL, critic=critic), size=VIRTUAL.size)
    assert critic.real
    spec = Translation(real=critic.real, virtual=VIRTUAL, distances=distances, candidates=9, seed=critic.seed)
    pool = Pool(generator=spec, seed=critic.seed)
    synthetic = (Subset(of=pool, size=9),)
    return Trial(real=critic.real, synthetic=synthetic, test=TEST, recipe=RECIPE, seed=critic.seed), spec, pool


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Study, Store]:
    """Two seeds of real images alone and with PTL; one detector has no distances, one evaluation and one trial miss."""
    store = Store(tmp_path_factory.mktemp("detectors"))
    for dataset, n in ((TRAIN, 14), (TEST, 12), (PARK, 12)):
        keep_dataset(store, dataset, n, seed=3)
    tried, evaluations = [], []
    for seed in (0, 1):
        alone = real_only(seed)
        beside, spec, pool = with_ptl(alone)
        keep_translation(store, spec, pool, 9)
        for place, trial in enumerate((alone, beside)):
            tried.append(trial)
            evaluations.append(Evaluation(of=trial, on=PARK))
            keep_look(store, trial, TEST, 10 * seed + place)
            if (seed, place) != (1, 1):
                keep_look(store, evaluations[-1], PARK, 100 + 10 * seed + place)
    small = real_only(0, n=5)
    keep_look(store, small, TEST, 50, known=False)
    diverged = real_only(0, n=14)
    with store.making(diverged) as (_, result):
        result |= {"status": "diverged", "step": 4, "real_budget": 14}
    missing = real_only(5, n=14)
    return Study(name="made", trials=(*tried, small, diverged, missing), evaluations=tuple(evaluations)), store


@pytest.fixture(scope="module")
def facts(made) -> DetectionFacts:
    found = detector_facts.gather(*made)
    assert found is not None
    return found


def test_detections_are_read_back_as_they_were_matched(made):
    study, store = made
    there = detector_facts.objects_of(samples.load_dataset(store, TEST))
    for trial in study.trials[:2]:
        seen = detector_facts.read_detections(store, naming.address(trial))
        expected = (store.record(trial) or {})["result"]["average_precision_50"]
        assert tables.precision_at_recalls(seen, there).mean() == pytest.approx(expected, abs=1e-9)


def test_no_detections_at_all_can_be_read(made, tmp_path):
    nothing = Detections.of([], [], np.empty((0, 4)), [])
    truth = GroundTruth.of([0], [0], [[0, 0, 5, 5]])
    (tmp_path / "trial-0").mkdir()
    write_detections(tmp_path / "trial-0", truth, nothing, [0], np.empty(0))
    seen = detector_facts.read_detections(Store(tmp_path), "trial-0")
    there = Objects(np.array([0]), truth.image, truth.category, truth.box, ~truth.crowd)
    assert (tables.precision_at_recalls(seen, there) == 0).all()


def test_looks_are_gathered_with_gaps(made, facts):
    study, _ = made
    rows_ = facts.looks
    assert len(rows_) == 4 + 3 + 2
    assert sorted(rows_["status"]) == ["diverged"] + ["ok"] * 8
    assert set(rows_["arm"]) == {"real-only", naming.arms(study.trials)[naming.address(study.trials[1])]}
    assert [one.name for one in facts.tests] == ["aerial-urban", "aerial-park"]
    urban, park = facts.tests
    assert set(urban.closeness["n_real"]) == {10}  # that with five images has no distances
    assert set(urban.precision["n_real"]) == {5, 10}
    assert park.closeness.groupby("arm")["seeds"].max().to_dict() == {"PTL colour": 1, "real-only": 2}
    assert set(park.closeness.query("seeds == 1")["band"]) <= {"95 % interval over test images", ""}
    assert facts.stand_in == "stand-in (rendered), gap = 0.5"


def test_the_two_sides_of_a_pair_are_of_one_image(facts):
    for one in facts.tests:
        assert one.sides == ("10 real", "10 real + 9 PTL colour")
        assert 1 <= len(one.pairs) <= detector_facts.MOST_PAIRS
        for left, right in one.pairs:
            assert left.id == right.id
            for side in (left, right):  # every object is found or missed, never both
                assert (side.kind == "true").sum() + (side.kind == "missed").sum() == (
                    (left.kind == "true").sum() + (left.kind == "missed").sum()
                )
            np.testing.assert_array_equal(left.image, right.image)


def test_translated_people_are_those_of_the_same_virtual_images(made, facts):
    (one,) = facts.people
    assert len(one.ids) == len(one.virtual) == len(one.translated) == detector_facts.MOST_PEOPLE
    np.testing.assert_allclose(one.virtual.astype(int), 255 - one.translated.astype(int), atol=1)
    assert len(one.real) > 0
    assert [(r.iteration, r.n_taken, len(r.distance)) for r in facts.rounds] == [(1, 9, 30)] * 2


def test_a_later_round_counts_those_that_its_critic_was_trained_on(made):
    first, _, _ = with_ptl(real_only(0))
    second, spec, _ = with_ptl(first)
    assert detector_facts.iteration(spec) == 2
    assert detector_facts.iteration(with_ptl(second)[1]) == 2  # its critic holds one round alone
    held = replace(second, synthetic=(*first.synthetic, *second.synthetic))
    assert detector_facts.iteration(with_ptl(held)[1]) == 3


@pytest.fixture(scope="module")
def page(tmp_path_factory, facts):
    folder = tmp_path_factory.mktemp("page")
    return folder, Page(detectors.sections(facts, folder).source)


def test_every_figure_and_picture_has_its_numbers_beside_it(page):
    folder, found = page
    figures = {path.stem for path in folder.iterdir() if path.suffix in (".svg", ".png")}
    assert figures == {
        *(f"{kind}_{test}" for kind in ("precision", "closeness", "distances", "examples") for test in TESTS),
        *("rounds", "people_ptl-colour", "what_goes_with_ap"),
    }
    for name in (*figures, "detectors", "correlations"):
        data = pd.read_csv(folder / f"{name}.csv")
        assert len(data)
        assert set(data["data"]) == {"stand-in (rendered), gap = 0.5"}
        assert f"figures/{name}.csv" in found.text


TESTS = ("aerial-urban", "aerial-park")


def test_the_sections_say_what_their_numbers_are_of(page):
    _, found = page
    assert found.open == []
    order = ["Detections on aerial-urban", "Detections on aerial-park", "Virtual images made real", "What goes with"]
    assert (places := [found.text.index(words) for words in order]) == sorted(places)
    captions = len([tag for tag, _ in found.seen if tag == "figcaption"])
    assert captions == 11
    assert found.text.count("Stand-in (rendered), gap = 0.5.") == captions + len(TESTS) + 1  # and below each table
    assert "real-only beside 5 (too few detections: 3 ≤ d + 2)" in found.text
    pictures = [attributes for tag, attributes in found.seen if tag == "img"]
    assert all(a["src"].startswith("data:image/png;base64,") and len(a["alt"]) > 40 for a in pictures)


def test_the_report_has_them_after_its_answers_and_before_its_grounds(facts, tmp_path, trials, analysis):  # noqa: F811
    said = {"study": "made", "question": ""}
    whole = Page(report.write(tmp_path / "a", trials, analysis, {**said, "detections": facts}).read_text("utf-8"))
    assert whole.open == []
    order = ["Real images only", "Detections on aerial-urban", "What goes with average precision", "What was measured"]
    assert (places := [whole.text.index(words) for words in order]) == sorted(places)
    ids = [attributes["id"] for _, attributes in whole.seen if attributes.get("id")]
    assert len(ids) == len(set(ids))
    without = report.write(tmp_path / "b", trials, analysis, {**said, "detections": None}).read_text("utf-8")
    assert "Detections on" not in without
    assert not list((tmp_path / "b" / "figures").glob("detectors*"))


def test_words_have_eight_points_when_the_page_is_printed(page):
    for path in page[0].glob("*.svg"):
        source = path.read_text("utf-8")
        width = float(re.search(r'width="([\d.]+)pt"', source)[1]) / 72  # type: ignore[index]
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:bold )?([\d.]+)px", source)]
        assert sizes
        assert min(sizes) * min(1.0, PRINTED_WIDTH / width) >= 8


@pytest.mark.filterwarnings("error")
def test_what_is_expected_far_away_does_not_ruin_the_layout(facts):
    data = facts.tests[0].distances
    style = detection_figures.arm_styles(data["arm"])
    for far in (1e9, 1e-9, 20.0):
        moved = data.assign(distance=data["distance"].where(data["kind"] != "expected", far))
        figure = detection_figures.distance_figure(moved, style)
        drawing.svg(figure)
        assert all(ax.get_position().height > 0.15 for ax in figure.axes)


def test_a_study_without_any_distance_has_its_precision_and_its_pictures(facts, tmp_path):
    unknown = [name for name in detector_facts.KEPT if name.startswith(("distance", "rho", "ap_t2t", "distribution"))]
    bare = facts.looks.assign(**dict.fromkeys(unknown))
    tests = tuple(
        replace(one, distances=pd.DataFrame(), closeness=one.closeness.iloc[:0], pairs=one.pairs) for one in facts.tests
    )
    nothing = DetectionFacts(bare, tests)
    found = Page(detectors.sections(nothing, tmp_path).source)
    assert {path.stem for path in tmp_path.glob("*.svg")} == {f"precision_{test}" for test in TESTS}
    assert "tand-in" not in found.text
    assert "What goes with" not in found.text
    assert "not known" in found.text


def test_a_study_of_diverged_detectors_says_nothing(tmp_path):
    alone = DetectionFacts(pd.DataFrame([look(status="diverged")]), ())
    assert detectors.sections(alone, tmp_path).source == ""
    assert OfTest("a", *[pd.DataFrame()] * 3).pairs == ()


def test_a_study_of_classifiers_shows_nothing_of_this(tmp_path):
    train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
    trial = Trial(real=Subset(of=train, size=10), test=test, recipe=Recipe(examples_seen=100))
    assert results.detections(Study(name="classifiers", trials=(trial,)), Store(tmp_path)) is None
    assert detector_facts.gather(Study(name="nothing", trials=(real_only(0),)), Store(tmp_path)) is None
