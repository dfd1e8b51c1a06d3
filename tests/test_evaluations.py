"""Evaluations of made trials on other test sets, and what they add to the table: rows, target images, names of arms."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

from realfake import records, samples
from realfake.progressive import ptl
from realfake.spec import (
    Dataset,
    DetectionRecipe,
    Evaluation,
    Pool,
    Procedural,
    Recipe,
    SpecError,
    Study,
    Subset,
    Translation,
    Trial,
    address,
)
from realfake.store import Store, StoreError
from realfake.training import make
from tests import tiny
from tests.by_hand import make_record
from tests.tiny_chain import PARK, RECIPE, TEST, TRAIN, import_scenes

FEW = Dataset(name="tiny", split="validation")
TIMES = ("seconds", "train_seconds", "examples_per_second", "environment")


def made(spec, store):
    return make(spec, store, lambda event: None, tiny.CPU)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a trained classifier and a trained detector, and further test sets for both."""
    store = tiny.import_digits(tmp_path_factory.mktemp("evaluations"))
    few = tiny.digits().take(slice(300, 350))  # the first fifty of the test set
    with store.making(FEW) as (folder, result):
        samples.write_table(samples.to_table(few.images, few.labels, few.ids), folder / "0.parquet")
        result |= {"classes": list(few.classes), "n": 50}
    for dataset, n in ((TRAIN, 24), (TEST, 10), (PARK, 8)):
        import_scenes(store, dataset, n)
    for trial in (CLASSIFIER, DETECTOR):
        assert made(trial, store)["status"] == "ok"
    return store


CLASSIFIER = tiny.trial(real=tiny.real(100), recipe=Recipe(examples_seen=1500, batch_size=32))
DETECTOR = Trial(real=Subset(of=TRAIN, size=16), test=TEST, recipe=dataclasses.replace(RECIPE, examples_seen=640))


# ----------------------------------------------------------------------------------------------- one trial, tried again


@pytest.mark.parametrize(
    ("trial", "file", "least"), [(CLASSIFIER, "predictions.parquet", 3), (DETECTOR, "detections.parquet", 30)]
)
def test_evaluating_a_trial_on_its_own_test_set_gives_its_own_numbers(store, trial, file, least):
    evaluation = Evaluation(of=trial, on=trial.test)
    result, own = made(evaluation, store), store.record(trial)["result"]
    shared = {key for key in result if key in own and key not in TIMES}
    assert {key: result[key] for key in shared} == {key: own[key] for key in shared}
    assert len(shared) >= least + 7  # sizes, budgets and status too
    assert set(result) - shared <= set(TIMES)
    ours, theirs = (pq.read_table(store.folder(spec) / file) for spec in (evaluation, trial))
    assert ours.equals(theirs)
    assert "model.safetensors" not in store.record(evaluation)["files"]


def test_a_classifier_on_other_images_is_judged_by_them_alone(store):
    evaluation = Evaluation(of=CLASSIFIER, on=FEW)
    result = made(evaluation, store)
    own = pq.read_table(store.folder(CLASSIFIER) / "predictions.parquet")
    probabilities, labels = np.array(own["probabilities"].to_pylist())[:50], own["label"].to_numpy()[:50]
    wrong = probabilities.argmax(axis=1) != labels
    assert result["n_test"] == 50
    assert result["error"] == pytest.approx(wrong.mean())
    assert 0 < result["error"] < 0.9
    assert result["cross_entropy"] == pytest.approx(-np.log(probabilities[np.arange(50), labels]).mean(), rel=1e-4)
    assert result["n_real"] == 100


def test_a_detector_on_another_domain_is_judged_by_it_with_its_own_gaussian(store):
    result, own = made(Evaluation(of=DETECTOR, on=PARK), store), store.record(DETECTOR)["result"]
    park = samples.load(store, PARK)
    assert (result["n_test"], result["n_objects"]) == (8, len(park.objects.box)) != (own["n_test"], own["n_objects"])
    assert result["n_population"] == own["n_population"]
    table = pq.read_table(store.folder(Evaluation(of=DETECTOR, on=PARK)) / "detections.parquet")
    assert set(table["image"].to_pylist()) <= set(park.ids.tolist())


@pytest.mark.parametrize("trial", [CLASSIFIER, DETECTOR])
def test_of_a_trial_that_diverged_the_evaluation_has_diverged(store, trial):
    wild = dataclasses.replace(trial, recipe=dataclasses.replace(trial.recipe, examples_seen=64, learning_rate=1e30))
    own = made(wild, store)
    result = made(Evaluation(of=wild, on=wild.test), store)
    assert (own["status"], result["status"], result["step"]) == ("diverged", "diverged", own["step"])
    assert not {"error", "average_precision", "n_test"} & set(result)
    study = Study(name="a", trials=(wild,), evaluations=(Evaluation(of=wild, on=wild.test),))
    first, second = records.of_study(study, store)
    assert (first["status"], second["status"]) == ("diverged", "diverged")
    assert second["real_budget"] == wild.n_real


def test_evaluations_that_cannot_be_are_refused(store):
    with pytest.raises(StoreError, match="which is not made; run its study"):
        made(Evaluation(of=dataclasses.replace(CLASSIFIER, seed=7), on=FEW), store)
    with pytest.raises(SpecError, match=r"'tiny' \(train\) is also trained on"):
        Evaluation(of=CLASSIFIER, on=tiny.TRAIN)
    with pytest.raises(SpecError, match="which is none of its trials; add that trial too"):
        Study(name="a", trials=(DETECTOR,), evaluations=(Evaluation(of=CLASSIFIER, on=FEW),))
    with pytest.raises(
        SpecError, match=r"has the classes person, and the trial was tested on 0, 1, .* they share 0, .*own classes"
    ):
        made(Evaluation(of=CLASSIFIER, on=PARK), store)
    assert not store.has(Evaluation(of=CLASSIFIER, on=PARK))


# --------------------------------------------------------------------------------------------------------- in the table

URBAN, GARDEN = (Dataset(name=name, split="test") for name in ("aerial-urban", "aerial-garden"))
URBAN_TRAIN, GARDEN_TRAIN = Dataset(name="aerial-urban"), Dataset(name="aerial-garden")
PLAIN = DetectionRecipe(examples_seen=100)


def trial(n=20, added=None, synthetic=(), seed=0, recipe=PLAIN, **fields):
    more = Subset(of=GARDEN_TRAIN, size=added, seed=seed) if added else None
    real = Subset(of=URBAN_TRAIN, size=n, seed=seed)
    return Trial(real=real, added=more, synthetic=tuple(synthetic), test=URBAN, recipe=recipe, seed=seed, **fields)


def rendered(gap=1.0):
    return Pool(generator=Procedural(gap=gap))


def part(generator, size=120):
    return Subset(of=Pool(generator=generator), size=size)


def table(store, trials, *on):
    """The table of a study in which every trial is made with an error of its own, and evaluated on these sets."""
    tried = tuple(Evaluation(of=trial, on=test) for trial in trials for test in on)
    for place, spec in enumerate((*trials, *tried)):
        budget = {"real_budget": 1, "ap_error": 0.5, "ap50_error": place / 100, "average_precision_50": 1 - place / 100}
        make_record(store, spec, **budget)
    study = Study(name="a", trials=tuple(trials), evaluations=tried)
    return records.of_study(study, store), study


def test_the_recipe_of_a_row_says_on_what_it_was_tried_where_there_are_several_sets(tmp_path):
    alone, study = table(Store(tmp_path / "one"), [trial(10), trial(20)])
    assert [(row["recipe"], row["test"]) for row in alone] == [("fpn-tiny", "aerial-urban")] * 2
    assert records.groups(study) == {"fpn-tiny"}
    both, study = table(Store(tmp_path / "two"), [trial(10), trial(20)], GARDEN)
    expected = [("fpn-tiny on aerial-urban", 10), ("fpn-tiny on aerial-urban", 20)]
    expected += [("fpn-tiny on aerial-garden", 10), ("fpn-tiny on aerial-garden", 20)]
    assert [(row["recipe"], row["n_real"]) for row in both] == expected
    assert [row["ap50_error"] for row in both] == [0.0, 0.01, 0.02, 0.03]
    assert records.groups(study) == {"fpn-tiny on aerial-urban", "fpn-tiny on aerial-garden"}
    assert len({row["address"] for row in both}) == 4
    assert not {"error", "cross_entropy"} & set(both[0])


def test_an_evaluation_that_is_not_made_yet_has_no_row(tmp_path):
    store = Store(tmp_path)
    make_record(store, trial(), real_budget=20)
    study = Study(name="a", trials=(trial(),), evaluations=(Evaluation(of=trial(), on=GARDEN),))
    assert [row["recipe"] for row in records.of_study(study, store)] == ["fpn-tiny on aerial-urban"]


def test_synthetic_images_are_priced_in_images_of_the_domain_that_is_tested_on(tmp_path):
    ladder = [trial(), trial(added=5), trial(added=40)]
    others = [trial(synthetic=[part(Procedural())]), trial(80), trial(80, synthetic=[part(Procedural())])]
    rows, study = table(Store(tmp_path), [*ladder, *others], GARDEN)
    target = "fpn-tiny on aerial-garden in its own images beside 20"
    priced = [row for row in rows if row["recipe"] == target]
    assert [(row["n_real"], row["n_synthetic"], row["arm"]) for row in priced] == [
        (20, 0, "real-only"),
        (25, 0, "real-only"),
        (60, 0, "real-only"),
        (20, 120, "rendered"),
    ]
    tried = [address(Evaluation(of=t, on=GARDEN)) for t in (*ladder, others[0])]
    assert [row["address"] for row in priced] == [f"{name}:target" for name in tried]
    own = [row for row in rows if row["recipe"] != target]
    assert {row["recipe"] for row in own} == records.groups(study)
    with_added = {address(x) for t in ladder[1:] for x in (t, Evaluation(of=t, on=GARDEN))}
    assert not with_added & {row["address"] for row in own}
    assert len(own) == 4 * 2
    errors = {row["address"]: row["ap50_error"] for row in own}
    assert priced[0]["ap50_error"] == errors[tried[0]]


def test_images_that_are_added_from_elsewhere_price_nothing(tmp_path):
    far = dataclasses.replace(trial(added=5), added=Subset(of=Dataset(name="aerial-park"), size=5))
    rows, _ = table(Store(tmp_path), [trial(), far], GARDEN)
    assert [row["n_real"] for row in rows] == [20, 20]
    assert not any(row["address"].endswith(":target") for row in rows)


def test_a_round_is_shown_with_how_near_its_images_were_ranked(tmp_path):
    store = Store(tmp_path)
    chain = ptl(real=trial().real, virtual=Subset(of=rendered(), size=512), test=URBAN, recipe=PLAIN)
    for number, one in enumerate(chain[1:]):
        quantiles = f"[1, 2, {10 - number}, 4, 6]"
        make_record(store, one.synthetic[-1].of.generator, pool_distance_quantiles=quantiles)
    rows, _ = table(store, chain)
    assert "ranked_median" not in rows[0]
    assert [(row["ranked_median"], row["ranked_spread"]) for row in rows[1:]] == [(10 - k, 5) for k in range(5)]


# ------------------------------------------------------------------------------------------------------ names of arms


def arms(*trials):
    found = records.arms(trials)
    return [found[address(one)] for one in trials]


def last(gap=1.0, n=20, **fields):
    """The last trial of three rounds of forty images beside `n` real ones: 120 in all."""
    virtual = Subset(of=rendered(gap), size=512)
    given = {"test": URBAN, "recipe": PLAIN, "iterations": 3, "per_iteration": 40}
    return ptl(real=trial(n).real, virtual=virtual, **given, **fields)[-1]


def drawn(gap=1.0, **fields):
    return part(Translation(real=trial().real, virtual=Subset(of=rendered(gap), size=512), **fields))


def test_ways_to_make_images_have_names_of_their_own():
    found = arms(trial(), last(), trial(synthetic=[drawn()]), trial(synthetic=[part(Procedural(gap=1.0))]))
    assert found == ["real-only", "PTL colour", "random colour", "rendered"]
    assert arms(last(), last(seed=1), last(translator="fourier"), trial(synthetic=[drawn(translator="identity")])) == [
        "PTL colour",
        "PTL colour",
        "PTL fourier",
        "random identity",
    ]


def test_how_images_are_mixed_in_is_of_the_arm_and_not_of_the_recipe():
    finetune = dataclasses.replace(PLAIN, mixing="synthetic_then_real")
    merged = [part(Procedural())]
    trials = trial(), trial(synthetic=merged), trial(synthetic=merged, recipe=finetune)
    assert arms(*trials) == ["real-only", "rendered mixing=pool", "rendered mixing=synthetic_then_real"]
    assert set(records.recipes(trials).values()) == {"fpn-tiny"}


def test_what_virtual_images_look_like_is_told_where_it_differs():
    assert arms(last(1.0), last(2.0)) == ["PTL colour virtual gap=1.0", "PTL colour virtual gap=2.0"]
    assert arms(last(1.0), last(1.0, n=80), last(2.0)) == [f"PTL colour virtual gap={gap}" for gap in (1.0, 1.0, 2.0)]
    assert arms(last(1.0), last(2.0, n=80)) == ["PTL colour"] * 2  # it merely follows the size
    assert arms(*(trial(synthetic=[part(Procedural(gap=gap))]) for gap in (0.0, 2.0))) == [
        "rendered gap=0.0",
        "rendered gap=2.0",
    ]
