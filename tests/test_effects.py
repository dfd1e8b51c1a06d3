"""Effects: what may be declared, intervals and p against scipy and statsmodels, verdicts where the truth is known."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from realfake.effects import Effect, Term, change
from realfake.results import digest
from realfake.spec import Dataset, DetectionRecipe, Evaluation, Pool, Recipe, Repeat, Study, Subset, Trial
from realfake.statistics.claims import refuse_unknown_arms
from realfake.statistics.effects import judge_effects, refuse_unknown_cells
from realfake.studyfile import read
from realfake.values import SpecError

AP, ARM = "average_precision_50", "PTL colour"


def rng(seed=0):
    return np.random.default_rng(seed)


def rows(values, n=20, m=0, arm="real-only", test="park", measure=AP, **fields):
    """Rows of the table of trials of one cell: one for each subset seed."""
    place = {"status": "ok", "test": test, "arm": arm, "n_real": n, "n_synthetic": m}
    return [
        {**place, "subset_seed": seed, "address": f"trial-{n}-{m}-{seed}", measure: value, **fields}
        for seed, value in enumerate(values)
    ]


def with_and_without(gains, base=None, **place):
    """Rows of a cell without images and of one with them that differ by these gains, and nothing else is alike."""
    base = rng(9).uniform(0.2, 0.6, len(gains)) if base is None else base
    return [*rows(base, **place), *rows(base + np.asarray(gains), m=120, arm=ARM, **place)]


def gain(name="more is found", smallest=0.05, n=20, **direction):
    terms = change(AP, ARM, n, 120, "park")
    return Effect(name=name, terms=terms, smallest_effect=smallest, **(direction or {"above": 0.0}))


def judged(gains, effect=None):
    (row,) = judge_effects([effect or gain()], with_and_without(gains))
    return row


def spread(mean, deviation, n=8, seed=0):
    """Numbers of exactly this mean and standard deviation."""
    drawn = rng(seed).normal(size=n)
    return mean + deviation * (drawn - drawn.mean()) / drawn.std(ddof=1)


# ------------------------------------------------------------------------------------------------- what may be declared


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_synthetic": 5}, r"Term\('x'\) has synthetic images; name in arm=… whose"),
        ({"weight": 0.0}, r"Term\('x'\): weight 0.0 says nothing; give a number that is not 0"),
        ({"weight": math.nan}, "weight nan says nothing"),
        ({"weight": math.inf}, "weight inf says nothing"),
        ({"n_real": -1}, "Term.n_real is -1; it must be at least 0"),
        ({"n_synthetic": -1}, "Term.n_synthetic is -1; it must be at least 0"),
    ],
)
def test_a_term_that_means_nothing_is_refused(fields, message):
    with pytest.raises(SpecError, match=message):
        Term(**{"measure": "x", "n_real": 5, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": " "}, "needs a name and terms; say in a few words what is claimed, of what"),
        ({"terms": ()}, "needs a name and terms"),
        ({"below": 0.0}, "a claim has one direction; give either above=… or below=…"),
        ({"above": None}, "a claim has one direction; give either above=… or below=…"),
        *(({"smallest_effect": d}, "above 0, that would matter to you") for d in (0.0, -1.0, math.inf, math.nan)),
    ],
)
def test_an_effect_that_claims_nothing_is_refused(fields, message):
    given = {"name": "a", "terms": (Term(measure="x", n_real=5),), "above": 0.0, "smallest_effect": 0.1}
    with pytest.raises(SpecError, match=message):
        Effect(**{**given, **fields})


def test_a_change_is_with_the_images_less_without_them():
    assert change(AP, ARM, 20, 120, "park", -2.0) == (
        Term(measure=AP, n_real=20, n_synthetic=120, arm=ARM, test="park", weight=-2.0),
        Term(measure=AP, n_real=20, test="park", weight=2.0),
    )
    assert (gain(below=1.5).bound, gain(below=1.5).direction) == (1.5, "below")


# --------------------------------------------------------------------------------------- against scipy and statsmodels


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("bound", "direction"), [(0.0, "above"), (0.02, "above"), (0.01, "below")])
def test_interval_and_p_of_one_effect_are_those_of_a_t_test_over_replicates(seed, bound, direction):
    gains = rng(seed).normal(0.03, 0.02, 5 + seed)
    row = judged(gains, gain(smallest=1e-6, **{direction: bound}))
    theirs = stats.ttest_1samp(gains, bound)
    interval = theirs.confidence_interval(0.95)
    assert row["p"] == pytest.approx(theirs.pvalue, rel=1e-9)
    assert row["level"] == 0.95
    found = row["estimate"]
    assert (found["point"], found["low"], found["high"]) == pytest.approx((gains.mean(), interval.low, interval.high))


def test_equivalence_is_that_of_statsmodels_two_one_sided_tests():
    from statsmodels.stats.weightstats import DescrStatsW

    gains = spread(0.001, 0.01)
    p, *_ = DescrStatsW(gains).ttost_mean(-0.05, 0.05)
    assert judged(gains)["p"] == pytest.approx(2 * p, rel=1e-9)


def test_several_effects_are_stepped_down_as_by_statsmodels():
    from statsmodels.stats.multitest import multipletests

    drawn = {n: rng(n).normal(mean, 0.05, 6) for n, mean in ((10, 0.2), (20, 0.05), (40, 0.02), (80, 0.0))}
    effects = [gain(str(n), smallest=1e-6, n=n) for n in drawn]
    found = judge_effects(effects, [row for n, gains in drawn.items() for row in with_and_without(gains, n=n)])
    alone = [stats.ttest_1samp(gains, 0).pvalue for gains in drawn.values()]
    rejected, adjusted, *_ = multipletests(alone, method="holm")
    assert [row["p"] for row in found] == pytest.approx(adjusted.tolist(), rel=1e-9)
    assert [row["verdict"] != "undecided" for row in found] == rejected.tolist()
    assert 0 < rejected.sum() < 4
    for row, gains in zip(found, drawn.values(), strict=True):
        interval = stats.ttest_1samp(gains, 0).confidence_interval(row["level"])
        assert (row["estimate"]["low"], row["estimate"]["high"]) == pytest.approx(tuple(interval))
    assert found[0]["level"] == pytest.approx(1 - 0.05 / 4)


def test_claims_that_are_judged_elsewhere_count_in_the_step_down_too():
    table = with_and_without(spread(0.05, 0.05))
    (alone,), (beside,) = (judge_effects([gain(smallest=1e-6)], table, others=n) for n in (0, 3))
    assert beside["p"] == pytest.approx(4 * alone["p"])
    assert beside["level"] == pytest.approx(1 - 0.05 / 4)


def test_an_effect_without_an_answer_still_counts_in_the_step_down():
    gains = spread(0.05, 0.05)
    table = with_and_without(gains)
    (alone,) = judge_effects([gain(smallest=1e-6)], table)
    beside, silent = judge_effects([gain(smallest=1e-6), gain("silent", n=999)], table)
    assert beside["p"] == pytest.approx(2 * alone["p"])
    assert (silent["p"], silent["verdict"]) == (1.0, "undecided")


# ------------------------------------------------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("mean", "deviation", "verdict"),
    [
        (0.10, 0.02, "supported"),
        (-0.10, 0.02, "contradicted"),
        (0.001, 0.01, "equivalent to none"),
        (0.02, 0.2, "undecided"),
    ],
)
def test_each_verdict_where_the_truth_is_known_in_both_directions(mean, deviation, verdict):
    gains = spread(mean, deviation)
    assert judged(gains)["verdict"] == verdict
    assert judged(0.3 - gains, gain(below=0.3))["verdict"] == verdict
    assert judged(gains)["why"].endswith("over 8 replicates")


def test_a_verdict_is_about_the_bound_and_not_about_zero():
    gains = spread(0.10, 0.02)
    assert judged(gains, gain(above=0.2))["verdict"] == "contradicted"
    assert judged(gains, gain(above=0.1))["verdict"] == "equivalent to none"
    assert judged(gains, gain(below=0.2))["verdict"] == "supported"


def test_where_nothing_is_true_at_most_one_family_in_twenty_says_otherwise():
    sizes, wrong = (10, 20, 40), 0
    effects = [gain(str(n), smallest=1e-9, n=n) for n in sizes]
    for seed in range(200):
        drawn = rng(seed).normal(0, 0.05, (3, 5))
        table = [row for n, gains in zip(sizes, drawn, strict=True) for row in with_and_without(gains, n=n)]
        wrong += any(row["verdict"] != "undecided" for row in judge_effects(effects, table))
    assert stats.binomtest(wrong, 200, 0.05, alternative="greater").pvalue > 1e-3
    assert wrong > 0


def test_what_replicates_share_cancels_and_trials_of_one_replicate_are_averaged():
    gains, base = spread(0.05, 0.01), rng(4).uniform(0, 10, 8)
    steady = judge_effects([gain()], with_and_without(gains, base))
    assert steady[0]["verdict"] == "supported"
    twice = [*rows(base), *rows(base + gains - 1, m=120, arm=ARM), *rows(base + gains + 1, m=120, arm=ARM)]
    (found,) = judge_effects([gain()], twice)
    assert found["estimate"]["low"] == pytest.approx(steady[0]["estimate"]["low"])


def test_terms_are_weighed():
    values = rng(1).normal(3, 1, 6)
    effect = Effect(name="a", terms=(Term(measure=AP, n_real=20, weight=-2.5),), below=0.0, smallest_effect=0.1)
    (found,) = judge_effects([effect], rows(values))
    assert found["estimate"]["point"] == pytest.approx(-2.5 * values.mean())
    assert found["points"] == ["− 2.5·AP50 at 20 + 0 (real-only)"]
    assert found["why"] == "AP50: − 2.5 times that at 20 + 0 (real-only), over 6 replicates"
    assert found["verdict"] == "supported"


# -------------------------------------------------------------------------------------------------------------- words


def test_a_note_has_words_and_does_not_repeat_the_estimate():
    found = judged(spread(0.1, 0.02))
    at = "+ at 20 + 120 (PTL colour) on park − at 20 + 0 (real-only) on park"
    assert found["why"] == f"AP50: {at}, over 8 replicates"
    assert found["quantity"] == "AP50"
    assert found["points"][0] == "+ AP50 at 20 + 120 (PTL colour) on park"


def test_several_measures_are_each_named():
    terms = (Term(measure="rho_0.1", n_real=20), Term(measure="ap_t2t_0.1", n_real=20, weight=-1.0))
    effect = Effect(name="a", terms=terms, above=0.0, smallest_effect=0.1)
    table = [{**row, "rho_0.1": 2.0 + seed, "ap_t2t_0.1": 0.5} for seed, row in enumerate(rows(rng().uniform(size=4)))]
    (found,) = judge_effects([effect], table)
    assert found["quantity"] == "ρ at 0.1, AP_t2t at 0.1"
    assert found["why"].startswith("+ ρ at 0.1 at 20 + 0 (real-only) − AP_t2t at 0.1 at 20 + 0 (real-only), over 4")


@pytest.mark.parametrize(
    ("measure", "warned"),
    [
        ("distance_true_0.1", True),
        ("ranked_median", True),
        ("distance_true_0.1_relative", False),
        ("rho_0.1", False),
    ],
)
def test_raw_distances_of_unequal_training_sets_come_with_a_warning(measure, warned):
    effect = Effect(name="a", terms=change(measure, ARM, 20, 120, "park"), below=0.0, smallest_effect=0.1)
    values, cells = rng().uniform(size=8), with_and_without([0.1] * 4)
    table = [{**row, measure: value} for value, row in zip(values, cells, strict=True)]
    (found,) = judge_effects([effect], table)
    assert ("fall by themselves as training detections become more" in found["why"]) == warned


def test_raw_distances_of_one_training_set_need_no_warning():
    places = (("park", 1.0), ("quarry", -1.0))
    terms = tuple(Term(measure="distance_true_0.1", n_real=20, test=test, weight=w) for test, w in places)
    effect = Effect(name="a", terms=terms, above=0.0, smallest_effect=0.1)
    assert "by themselves" not in judge_effects([effect], rows([0.1, 0.2]))[0]["why"]


# ------------------------------------------------------------------------------------------------------- what counts


def test_one_replicate_and_replicates_all_alike_decide_nothing_and_say_so():
    alone = judged([0.1])
    assert (alone["verdict"], alone["p"]) == ("undecided", 1.0)
    assert alone["estimate"]["censored"] == "withheld"
    assert alone["estimate"]["reason"] == "1 replicates have all of it, and two are needed"
    assert alone["why"].endswith("(real-only) on park, 1 replicates have all of it, and two are needed")
    same = rows([0.3] * 4)
    effect = Effect(name="a", terms=(Term(measure=AP, n_real=20),), above=0.0, smallest_effect=0.1)
    assert judge_effects([effect], same)[0]["verdict"] == "undecided"


def test_only_replicates_that_have_every_term_count():
    gains = spread(0.1, 0.02, 6)
    table = with_and_without(gains)
    (found,) = judge_effects([gain()], table[:-2])
    assert found["estimate"]["point"] == pytest.approx(gains[:4].mean())
    for nothing in (None, math.nan, math.inf):
        spoiled = [*table[:-1], {**table[-1], AP: nothing}]
        assert judge_effects([gain()], spoiled)[0]["estimate"]["point"] == pytest.approx(gains[:5].mean())


@pytest.mark.parametrize("fields", [{"status": "diverged"}, {"status": "failed"}, {"address": "trial-1:target"}])
def test_trials_that_diverged_and_copies_priced_in_other_images_do_not_count(fields):
    table = with_and_without(spread(0.1, 0.02))
    stray = [{**row, AP: -100.0, **fields} for row in table]
    assert judge_effects([gain()], [*stray, *table]) == judge_effects([gain()], table)


def test_trials_of_other_cells_do_not_count_and_the_only_test_set_needs_no_name():
    table = with_and_without(spread(0.1, 0.02))
    other = [{**row, AP: -100.0, **place} for row in table for place in ({"test": "quarry"}, {"n_real": 21})]
    assert judge_effects([gain()], [*other, *table]) == judge_effects([gain()], table)
    unnamed = Effect(name="a", terms=change(AP, ARM, 20, 120), above=0.0, smallest_effect=0.05)
    assert judge_effects([unnamed], table)[0]["verdict"] == "supported"
    assert judge_effects([unnamed], [*other, *table])[0]["estimate"]["censored"] == "withheld"


def test_a_term_of_one_recipe_takes_no_trial_of_another():
    table = [{**row, "recipe": "fpn-tiny on park"} for row in with_and_without(spread(0.1, 0.02))]
    other = [{**row, "recipe": "retina on park", AP: -100.0} for row in table]
    terms = tuple(Term(**{**vars(term), "recipe": "fpn-tiny"}) for term in change(AP, ARM, 20, 120, "park"))
    effect = Effect(name="a", terms=terms, above=0.0, smallest_effect=0.05)
    assert judge_effects([effect], [*other, *table]) == judge_effects([effect], table)
    assert judge_effects([effect], table)[0]["verdict"] == "supported"
    assert judge_effects([effect], other)[0]["estimate"]["censored"] == "withheld"


# ------------------------------------------------------------------------------------------------- effects of a study

TRAIN, TEST, FAR = Dataset(name="digits"), Dataset(name="digits", split="test"), Dataset(name="far", split="test")


def study(*terms, evaluated=False):
    recipe, real, far = Recipe(examples_seen=100), Subset(of=TRAIN, size=20), Dataset(name="far")
    repeat = (Subset(of=Pool(generator=Repeat(real=real)), size=50),)
    trials = tuple(Trial(real=real, synthetic=part, test=TEST, recipe=recipe) for part in ((), repeat))
    with_added = Trial(real=Subset(of=TRAIN, size=30), added=Subset(of=far, size=5), test=TEST, recipe=recipe)
    effects = (Effect(name="e", terms=terms, above=0.0, smallest_effect=0.1),) if terms else ()
    tried = tuple(Evaluation(of=trial, on=FAR) for trial in trials[:1] if evaluated)
    return Study(name="a", trials=(*trials, with_added), evaluations=tried, effects=effects)


def test_cells_that_the_study_has_are_accepted():
    refuse_unknown_cells(study())
    refuse_unknown_cells(study(*change("error", "repeat", 20, 50)))
    refuse_unknown_cells(study(Term(measure="error", n_real=20, test="far"), evaluated=True))


@pytest.mark.parametrize(
    ("term", "evaluated", "message"),
    [
        ({"n_synthetic": 50, "arm": "repaet"}, False, "did you mean 'repeat'"),
        ({"test": "fra"}, False, "tests: digits"),
        ({}, True, "tests: digits, far"),
        ({"test": "far", "arm": "repeat", "n_synthetic": 50}, True, "tests: digits, far"),
        ({"n_real": 25}, False, "no trial for .* at 25 .* 0 .*real-only.*; sizes: 20 . 0"),
        ({"n_synthetic": 60, "arm": "repeat"}, False, "sizes: 20 . 50"),
        ({"n_real": 30}, False, "sizes: 20 . 0"),  # images were added to those 30
    ],
)
def test_cells_that_it_has_not_are_refused_before_it_runs_with_a_hint(term, evaluated, message):
    given = Term(**{"measure": "error", "n_real": 20, **term})
    with pytest.raises(SpecError, match=f"Effect 'e': the study has .*{message}"):
        refuse_unknown_cells(study(given, evaluated=evaluated))


@pytest.mark.parametrize(
    ("measure", "hint"),
    [
        ("eror", r"did you mean error\b"),
        ("cross entropy", "did you mean cross_entropy"),
        ("rho_0.1", "nothing that is measured of classifiers"),
        ("zzz", "there are cross_entropy, error, "),
    ],
)
def test_a_measure_that_does_not_exist_is_refused_before_anything_runs_with_names_near_it(measure, hint):
    with pytest.raises(SpecError, match=rf"Effect 'e': Term\(measure='{measure}'\) is .*{hint}"):
        refuse_unknown_cells(study(Term(measure=measure, n_real=20)))


def test_the_measures_of_detectors_are_not_those_of_classifiers():
    def detected(measure):
        one = study(Term(measure=measure, n_real=20))
        recipe = DetectionRecipe(examples_seen=100)
        return Study(name="a", trials=tuple(replace(t, recipe=recipe) for t in one.trials), effects=one.effects)

    for measure in ("rho_0.1", "distance_true_0.1_at_64", "ranked_median_relative", "ap50_error", "seconds"):
        refuse_unknown_cells(detected(measure))
    with pytest.raises(
        SpecError, match=r"'distance_true_0\.2'\) is nothing .* of detectors; did you mean distance_true_0"
    ):
        refuse_unknown_cells(detected("distance_true_0.2"))
    with pytest.raises(SpecError, match="is nothing that is measured of detectors"):
        refuse_unknown_cells(detected("cross_entropy"))


def test_a_term_says_which_of_several_recipes_it_is_about():
    def twice(**term):
        one = study(Term(measure="error", n_real=20, **term))
        vit = Recipe(model="test_vit", examples_seen=100)
        other = Trial(real=one.trials[0].real, test=TEST, recipe=vit)
        return Study(name="a", trials=(*one.trials, other), effects=one.effects)

    refuse_unknown_cells(twice(recipe="test_vit"))
    for recipe, hint in (("", "several recipes have .*; known: test_resnet, test_vit"), ("test_vti", "'test_vit'")):
        with pytest.raises(SpecError, match=f"Effect 'e': .*{hint}"):
            refuse_unknown_cells(twice(recipe=recipe))


def test_what_is_computed_of_a_study_is_another_when_its_effects_are():
    one, other = (study(Term(measure="error", n_real=20, weight=w)) for w in (1.0, 2.0))
    found = {digest([], each) for each in (study(), one, other)}
    assert len(found) == 3
    assert digest([], study(Term(measure="error", n_real=20))) in found


def test_every_effect_and_claim_of_the_studies_in_this_folder_is_about_cells_that_they_have():
    files = [read(path) for path in sorted((Path(__file__).parents[1] / "studies").glob("*.py"))]
    assert sum(bool(file.study.effects) for file in files) >= 1
    for file in files:
        refuse_unknown_arms(file.study)
        refuse_unknown_cells(file.study)
