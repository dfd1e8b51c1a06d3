"""Choices by validation data: what is chosen, what it costs, and what may not be chosen on."""

import pytest

from realfake.records import chosen_arms, groups, of_study, recipes, tried_on
from realfake.spec import (
    Choice,
    Claim,
    ClosedSet,
    Dataset,
    DetectionRecipe,
    Evaluation,
    External,
    Pool,
    Procedural,
    Recipe,
    Study,
    Subset,
    Trial,
    address,
)
from realfake.statistics.claims import refuse_unknown_arms
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


# ----------------------------------------------------------------------------------- recipes tuned at every size


RATES = (1e-3, 2e-3)


def tuned_study(store, errors):
    """A study of two cells under two learning rates each; ``errors`` by (volume, rate): on validation, on test."""
    digits, test = Dataset(name="digits"), Dataset(name="digits", split="test")
    validation, real = Dataset(name="digits", split="validation"), Subset(of=digits, size=20)
    pool = Pool(generator=ClosedSet(real=real))

    def one(volume, rate):
        synthetic = (Subset(of=pool, size=volume),) if volume else ()
        recipe = Recipe(examples_seen=100, learning_rate=rate)
        return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe)

    cells = [tuple(one(volume, rate) for rate in RATES) for volume in (0, 40)]
    choices = tuple(Choice(candidates=cell, on=validation, by="error") for cell in cells)
    for (volume, rate), (on_validation, on_test) in errors.items():
        trained = one(volume, rate)
        for spec, error in ((trained, on_test), (Evaluation(of=trained, on=validation), on_validation)):
            with store.making(spec) as (_, result):
                result.update({"status": "ok", "n_test": 5, "real_budget": 20, "error": error, "cross_entropy": error})
    with store.making(validation) as (_, result):
        result.update({"n": 7})
    return Study(name="tuned", trials=tuple(trial for cell in cells for trial in cell), choices=choices)


def test_a_ladder_is_tuned_at_every_size_by_the_candidates_of_the_mixtures(tmp_path):
    store = Store(tmp_path)
    errors = {(0, 1e-3): (0.5, 0.4), (0, 2e-3): (0.6, 0.3), (40, 1e-3): (0.9, 0.2), (40, 2e-3): (0.8, 0.25)}
    study = tuned_study(store, errors)
    found = [row for row in of_study(study, store) if "tuned" in row["recipe"]]
    assert [(row["arm"], row["n_synthetic"], row["error"]) for row in found] == [
        ("real-only", 0, 0.4),  # not 0.3: the test set has no say
        ("closed-set", 40, 0.25),
    ]
    assert {row["recipe"] for row in found} == {"test_resnet, tuned by validation"}
    assert {row["real_budget"] for row in found} == {27}
    assert {row["recipe"] for row in found} <= groups(study)


def test_what_is_chosen_among_guidances_is_called_by_what_they_share():
    digits, test = Dataset(name="digits", holdout=50), Dataset(name="digits", split="test")
    real, generator = Subset(of=digits, size=20), ClosedSet(real=Subset(of=digits, size=20))

    def one(guidance):
        part = Subset(of=Pool(generator=generator, guidance=guidance), size=40)
        return Trial(real=real, synthetic=(part,), test=test, recipe=Recipe(examples_seen=100))

    candidates, on = (one(1.0), one(1.5)), Dataset(name="digits", split="validation", holdout=50)
    given = {"name": "guided", "trials": candidates, "choices": (Choice(candidates=candidates, on=on, by="error"),)}
    assert chosen_arms(Study(**given)) == {"closed-set, best by validation"}

    def claimed(arm):
        claim = Claim(name="a", quantity="error", at=((20, 40),), arm=arm, below=0.5, smallest_effect=0.1)
        return Study(**given, claims=(claim,))

    refuse_unknown_arms(claimed("closed-set, best by validation"))
    with pytest.raises(SpecError, match="no arm 'closed-set'"):
        refuse_unknown_arms(claimed("closed-set"))


def test_pretrained_and_from_scratch_share_no_curve_even_at_different_sizes():
    digits, test = Dataset(name="digits"), Dataset(name="digits", split="test")

    def one(size, **fields):
        recipe = Recipe(examples_seen=100, augment="none", **fields)
        return Trial(real=Subset(of=digits, size=size), test=test, recipe=recipe)

    weights = External(name="some.weights")
    trials = (one(20), one(40), one(80, init=weights), one(160, init=weights, frozen=True))
    names = recipes(trials)
    assert [names[address(trial)].removeprefix("test_resnet ") for trial in trials] == [
        "init=none frozen=False",
        "init=none frozen=False",
        "init=some.weights frozen=False",
        "init=some.weights frozen=True",
    ]
