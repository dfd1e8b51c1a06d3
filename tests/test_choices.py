"""Choices by validation data: what is chosen, what it costs, and what may not be chosen on."""

import pytest

from realfake.records import of_study, tried_on
from realfake.spec import Choice, Dataset, DetectionRecipe, Evaluation, Pool, Procedural, Study, Subset, Trial
from realfake.store import Store
from realfake.values import SpecError

TRAIN, TEST = Dataset(name="aerial-urban"), Dataset(name="aerial-urban", split="test")
VALIDATION, OTHER = Dataset(name="aerial-urban", split="validation"), Dataset(name="aerial-park", split="test")
RECIPE = DetectionRecipe(examples_seen=100)
POOL = Pool(generator=Procedural())


def trial(volume):
    synthetic = (Subset(of=POOL, size=volume),) if volume else ()
    return Trial(real=Subset(of=TRAIN, size=20), synthetic=synthetic, test=TEST, recipe=RECIPE)


CANDIDATES = (trial(40), trial(80), trial(120))
CHOICE = Choice(candidates=CANDIDATES, on=VALIDATION)


def study(**changes):
    evaluations = tuple(Evaluation(of=one, on=OTHER) for one in CANDIDATES)
    given = {"name": "a", "trials": (trial(0), *CANDIDATES), "evaluations": evaluations, "choices": (CHOICE,)}
    return Study(**{**given, **changes})


def made(tmp_path, on_validation, on_test=(0.5, 0.4, 0.3), on_other=(0.9, 0.8, 0.7)):
    store = Store(tmp_path)
    facts = {"status": "ok", "n_test": 5, "real_budget": 20}
    specs = [(trial(0), 0.6), *zip(CANDIDATES, on_test, strict=True)]
    specs += [(Evaluation(of=c, on=OTHER), v) for c, v in zip(CANDIDATES, on_other, strict=True)]
    specs += [(Evaluation(of=c, on=VALIDATION), v) for c, v in zip(CANDIDATES, on_validation, strict=True)]
    for spec, value in specs:
        with store.making(spec) as (_, result):
            result.update({**facts, "ap50_error": value, "ap_error": value})
    with store.making(VALIDATION) as (_, result):
        result.update({"n": 100})
    return store


def rows(store):
    return [row for row in of_study(study(), store) if row["arm"].endswith("best by validation")]


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_candidate_that_is_best_on_validation_data_stands_for_all(tmp_path, best):
    values = [0.5, 0.5, 0.5]
    values[best] = 0.1
    found = rows(made(tmp_path, values))
    assert {row["test"]: row["ap50_error"] for row in found} == {
        "aerial-urban": (0.5, 0.4, 0.3)[best],
        "aerial-park": (0.9, 0.8, 0.7)[best],
    }
    assert {row["n_synthetic"] for row in found} == {120}
    assert {row["arm"] for row in found} == {"rendered, best by validation"}


def test_of_equals_the_first_is_taken_and_validation_images_are_real_budget(tmp_path):
    found = rows(made(tmp_path, (0.2, 0.2, 0.2)))
    assert found[0]["ap50_error"] == 0.5
    assert {row["real_budget"] for row in found} == {120}


def test_validation_data_are_no_test_set_but_are_evaluated(tmp_path):
    whole = study()
    assert {evaluation.on for evaluation in tried_on(whole)} == {OTHER}
    assert {evaluation.on for evaluation in whole.evaluations} == {OTHER, VALIDATION}
    assert {row["test"] for row in of_study(whole, made(tmp_path, (0.1, 0.2, 0.3)))} == {"aerial-urban", "aerial-park"}


def test_nothing_is_chosen_while_a_candidate_is_missing_or_where_all_diverged(tmp_path):
    assert not rows(Store(tmp_path / "empty"))
    assert not rows(made(tmp_path / "diverged", (None, None, None)))


@pytest.mark.parametrize("on", [TEST, OTHER])
def test_choosing_on_a_test_set_is_refused(on):
    with pytest.raises(SpecError, match="chooses on its test set"):
        study(choices=(Choice(candidates=CANDIDATES, on=on),))


def test_one_candidate_is_no_choice():
    with pytest.raises(SpecError, match="one candidate leaves nothing to choose"):
        Choice(candidates=(trial(40), trial(40)), on=VALIDATION)


def test_a_candidate_that_is_no_trial_of_the_study_is_refused():
    with pytest.raises(SpecError, match="none of its trials"):
        study(trials=(trial(0), *CANDIDATES[:2]), evaluations=())
