"""What the budget rule does to an answer: recipes that differ in it alone, the difference of two answers, its marks."""

import math

import numpy as np
import pandas as pd
import pytest

from realfake import records
from realfake.hypotheses import Claim
from realfake.intervals import Interval, withheld
from realfake.spec import Recipe, address
from realfake.statistics.analysis import analyse
from realfake.statistics.budgets import add_other_budgets, alike, budgets_of, less, without_budget
from realfake.statistics.claims import judge
from realfake.statistics.sentences import budget_limits
from realfake.statistics.trial_table import normalised
from realfake.tables import terminal
from realfake.values import SpecError
from tests.simulated import SMALL, mixtures_of, rng, table
from tests.tiny import trial

STEPS, EPOCHS, OTHER = "cnn 20000 examples seen", "cnn 60 epochs", "vit 60 epochs"
RULES = {STEPS: "examples_seen=20000", EPOCHS: "epochs=60", OTHER: "epochs=60"}
STRONG, WEAK = (0.03, 6.0, 0.45, 0.5, 4.0), (0.03, 6.0, 0.45, 0.05, 4.0)


def two_budgets(second=WEAK):
    """One arm under three recipes: worth much, or little under `second`; the last is another model."""
    parts = [
        table(truth, law="scaled", noise=0.01, rng=rng(seed), **SMALL).assign(recipe=recipe, budget=RULES[recipe])
        for seed, (recipe, truth) in enumerate(((STEPS, STRONG), (EPOCHS, second), (OTHER, WEAK)))
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(address=rows["recipe"] + rows["address"])


@pytest.fixture(scope="module")
def document():
    return analyse(two_budgets(), bootstrap=60)


def test_recipes_are_alike_that_differ_in_their_budget_alone():
    found = budgets_of(normalised(two_budgets()))
    assert found == RULES
    assert without_budget(STEPS, RULES[STEPS]) == without_budget(EPOCHS, RULES[EPOCHS]) == "cnn"
    assert without_budget("cnn 160 epochs", "epochs=60") == "cnn 160 epochs"
    assert alike(RULES) == {STEPS: [EPOCHS], EPOCHS: [STEPS], OTHER: []}
    assert alike({"a": "epochs=1", "b": "epochs=2"}) == {"a": [], "b": []}


def test_recipes_of_records_are_alike_as_they_are_named():
    budgets = ({"epochs": 60.0}, {"examples_seen": 20_000}, {"real_examples_seen": 500})
    recipes_ = [Recipe(**{**budget, "augment": kind}) for budget in budgets for kind in ("none", "shift")]
    made = tuple(trial(recipe=recipe) for recipe in recipes_)
    named = records.recipes(made)
    rules = {named[address(one)]: one.recipe.budget for one in made}
    assert rules["test_resnet 500 real examples seen augment=none"] == "real_examples_seen=500"
    rest = {without_budget(*one) for one in rules.items()}
    assert rest == {"test_resnet augment=none", "test_resnet augment=shift"}
    assert {len(others) for others in alike(rules).values()} == {2}


def test_the_difference_of_two_estimates_has_the_interval_of_normal_theory():
    first, second = Interval(10.0, 10 - 1.96 * 3, 10 + 1.96 * 3), Interval(4.0, 4 - 1.96 * 4, 4 + 1.96 * 4)
    found = less(first, second)
    assert (found.point, found.low, found.high) == pytest.approx((6.0, 6 - 1.96 * 5, 6 + 1.96 * 5))


def test_it_covers_the_difference_of_two_ratios_as_often_as_it_says():
    """Log-normal estimates, whose intervals are lopsided: 95 % of 4,000 pairs, and both tails."""
    generator, logs = rng(4), np.log([50.0, 20.0])
    drawn = generator.normal(logs, [0.3, 0.5], size=(4000, 2))
    ends = [np.exp(drawn + side * 1.96 * np.array([0.3, 0.5])) for side in (-1, 0, 1)]
    inside = 0
    for (low, point, high), (low2, point2, high2) in zip(
        np.stack([end[:, 0] for end in ends], 1), np.stack([end[:, 1] for end in ends], 1), strict=True
    ):
        found = less(Interval(point, low, high), Interval(point2, low2, high2))
        inside += found.low <= 30.0 <= found.high
    assert inside / 4000 == pytest.approx(0.95, abs=0.015)


def cell(recipe, worth, response=None, arm="closed-set", m=400):
    mean = (response or Interval(0.5, 0.49, 0.51)).to_json()
    sizes = {"arm": arm, "recipe": recipe, "n_real": 100, "n_synthetic": m, "n_generator": 100}
    return {**sizes, "error": mean, "equivalent": {"error": worth.to_json()}}


def compared(here, there, response=None):
    """What the first of two cells says of the second, whose response is given, and the first cell."""
    cells = [cell(STEPS, here), cell(EPOCHS, there, response)]
    ladder = [cell(name, withheld("–"), Interval(0.6, 0.59, 0.61), "real-only", 0) for name in (STEPS, EPOCHS)]
    add_other_budgets(cells + ladder, RULES, "error")
    (found,) = cells[0]["other_budgets"]
    return found, cells[0]


def test_a_cell_is_limited_where_the_move_leaves_its_interval():
    assert compared(Interval(90.0, 70.0, 110.0), Interval(30.0, 10.0, 60.0))[0]["limited"]
    assert not compared(Interval(90.0, 70.0, 110.0), Interval(60.0, 40.0, 85.0))[0]["limited"]
    found, own = compared(Interval(90.0, 70.0, 110.0), Interval(300.0, 250.0, math.inf, "above", ceiling=300.0))
    assert (found["limited"], found["budget"]) == (True, "epochs=60")
    assert budget_limits(own) == ["budget-limited: under epochs=60 it is > 300 [250, > 300]"]


def test_answers_beyond_the_ladder_are_compared_by_their_gain_over_real_images_alone():
    beyond = Interval(300.0, 250.0, math.inf, "above")
    found, own = compared(beyond, beyond, Interval(0.3, 0.29, 0.31))
    assert (found["quantity"], found["limited"]) == ("response", True)
    assert Interval.from_json(found["there"]).point == pytest.approx(-0.3)
    assert "response to real images alone, here -0.1" in budget_limits(own)[0]
    assert not compared(withheld("no law"), beyond)[0]["limited"]


def test_the_document_marks_the_arm_and_says_the_other_answer(document):
    marked = {one["recipe"] for one in document["cells"] if any(other["limited"] for other in one["other_budgets"])}
    assert marked == {STEPS, EPOCHS}
    assert all(one["other_budgets"] == [] for one in document["cells"] if one["recipe"] == OTHER)
    said = [text for text in document["sentences"] if "beside 5,000 real ones" in text]
    assert [("Budget-limited: under" in text) for text in said] == [True, True, False]
    assert "with cnn 20000 examples seen, 80,000 images" in said[0]
    assert "Budget-limited: under epochs=60 it is " in said[0]
    text = terminal(document, {"study": "s", "question": "q"}, 120)
    assert "budget-limited: under examples_seen=20000 it is" in " ".join(text.split())


def test_equal_worth_under_both_budgets_is_not_marked():
    found = analyse(two_budgets(second=STRONG), bootstrap=60)
    rows = [other for one in found["cells"] for other in one["other_budgets"]]
    assert len(rows) == 2 * len(SMALL["bases"]) * len(SMALL["ratios"])
    assert not any(other["limited"] for other in rows)


def test_one_budget_or_none_compares_nothing():
    rows = table(noise=0.01, **SMALL)
    cells = analyse(rows, bootstrap=40)["cells"]
    assert all(one["other_budgets"] == [] for one in cells)


# ------------------------------------------------------------------------------------------------- declared beforehand


def claim(**changes):
    given = {"name": "more by steps", "quantity": "added equivalent", "at": ((2500, 10_000),), "above": 0.0}
    return Claim(**{**given, "smallest_effect": 100.0, "recipe": STEPS, "minus_recipe": EPOCHS, **changes})


def test_a_claim_compares_recipes_at_equal_arm_and_cell():
    rows = two_budgets()
    claims = (
        claim(),
        claim(name="less", recipe=EPOCHS, minus_recipe=STEPS),
        claim(name="error", quantity="response ratio", above=None, below=0.0, smallest_effect=0.001),
    )
    found = judge(claims, rows, bootstrap=60)
    assert [row["verdict"] for row in found] == ["supported", "contradicted", "supported"]
    assert found[0]["points"] == [
        "added equivalent at 2,500 + 10,000 (cnn 20000 examples seen) minus 2,500 + 10,000 (cnn 60 epochs)"
    ]
    parts = [judge([claim(recipe=name, minus_recipe="")], rows, bootstrap=60)[0] for name in (STEPS, EPOCHS)]
    difference = parts[0]["estimate"]["point"] - parts[1]["estimate"]["point"]
    assert found[0]["estimate"]["point"] == pytest.approx(difference)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minus_arm": "leaky"}, "name one of minus_arm and minus_recipe"),
        ({"recipe": ""}, r"subtracts the recipe 'cnn 60 epochs'; name in recipe=… from which"),
        ({"minus_recipe": STEPS}, "subtracts a point from itself"),
    ],
)
def test_a_comparison_of_recipes_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        claim(**changes)


def test_a_recipe_that_is_not_there_is_said():
    rows = two_budgets()
    (found,) = judge([claim(minus_recipe="cnn 6 epochs")], rows[mixtures_of(rows) | True], bootstrap=40)
    assert found["verdict"] == "undecided"
    assert "no trial has the recipe 'cnn 6 epochs'" in found["why"]
