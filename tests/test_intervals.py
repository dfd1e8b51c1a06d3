"""Intervals: how they print, what censoring does to draws, and JSON that any reader takes."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realfake.intervals import Interval, interval_of_draws, withheld

INF = math.inf
HUNDRED = np.arange(1.0, 101.0)  # its 2.5 % and 97.5 % quantiles, as observed values, are 3 and 98


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(120, 80, 190), "120 [80, 190]"),
        (Interval(800, 800, INF, "above", ceiling=800), "> 800"),
        (Interval(800, 300, INF, "above", floor=-50, ceiling=800), "> 800 [300, > 800]"),
        (Interval(800, -INF, INF, "above", floor=-50, ceiling=800), "> 800 [< -50, > 800]"),
        (Interval(-50, -INF, -50, "below", floor=-50), "< -50.0"),
        (Interval(-50, -INF, 3, "below", floor=-50), "< -50 [< -50, 3]"),
        (Interval(120, 80, INF, ceiling=800), "120 [80, > 800]"),
        (Interval(120, -INF, 190, floor=-25), "120 [< -25, 190]"),
        (Interval(120, -INF, INF), "120 [-∞, ∞]"),
        (Interval(0.0512, 0.0387, 0.0634), "0.051 [0.039, 0.063]"),
        (Interval(12_345, 11_000, 14_000), "12,345 [11,000, 14,000]"),
        (Interval(-11, -18, -4), "-11.0 [-18.0, -4.0]"),
        (Interval(5, 5, 5), "5.00 [5.00, 5.00]"),
        (Interval(0, 0, 0), "0 [0, 0]"),
        (Interval(-0.001, -30, 40), "0 [-30, 40]"),
        (withheld("one seed"), "withheld"),
    ],
)
def test_printing(interval, text):
    assert str(interval) == text


def test_an_unknown_kind_of_censoring_is_refused():
    with pytest.raises(ValueError, match="censored is 'beyond'; it must be"):
        Interval(1, 0, 2, censored="beyond")


def test_shifting_and_scaling_move_the_measured_range_too():
    interval = Interval(10, 5, INF, floor=-20, ceiling=40, reason="why")
    assert interval.shifted(100) == Interval(110, 105, INF, floor=80, ceiling=140, reason="why")
    assert interval.scaled(0.5) == Interval(5, 2.5, INF, floor=-10, ceiling=20, reason="why")
    assert withheld("why").shifted(100) == withheld("why")


numbers = st.floats(-1e12, 1e12)


@given(numbers, st.none() | numbers, st.none() | numbers, st.sampled_from(["", "above", "below"]), st.text(max_size=5))
def test_json_is_strict_and_reads_back_equal(point, low, high, censored, reason):
    interval = Interval(point, -INF if low is None else low, INF if high is None else high, censored, reason)
    text = json.dumps(interval.to_json(), allow_nan=False)
    assert Interval.from_json(json.loads(text)) == interval
    assert str(Interval.from_json(json.loads(text))) == str(interval)


def test_a_withheld_answer_reads_back_equal_though_its_point_is_not_a_number():
    values = withheld("no trial").to_json()
    assert values["point"] is None
    assert values["reason"] == "no trial"
    assert Interval.from_json(values) == withheld("no trial")
    assert hash(Interval.from_json(values)) == hash(withheld("no trial"))


def test_unequal_intervals():
    assert Interval(1, 0, 2) != Interval(1, 0, 3)
    assert withheld("this") != withheld("that")
    assert Interval(1, 0, 2) != 1


def test_the_percentiles_of_draws():
    assert interval_of_draws(50, HUNDRED) == Interval(50, 3, 98)


def test_the_order_of_draws_does_not_matter():
    shuffled = np.random.default_rng(0).permutation(HUNDRED)
    assert interval_of_draws(50, shuffled) == interval_of_draws(50, HUNDRED)


@pytest.mark.parametrize(("point", "low", "high"), [(1, 1, 98), (200, 3, 200)])
def test_an_interval_holds_its_point(point, low, high):
    assert interval_of_draws(point, HUNDRED) == Interval(point, low, high)


def test_a_side_beyond_the_measured_range_is_open():
    limits = {"floor": 10.0, "ceiling": 90.0}
    assert interval_of_draws(50, HUNDRED, **limits) == Interval(50, -INF, INF, **limits)
    limits = {"floor": 0.0, "ceiling": 98.0}
    assert interval_of_draws(50, HUNDRED, **limits) == Interval(50, 3, 98, **limits)


def test_a_point_beyond_the_measured_range_is_a_bound():
    assert interval_of_draws(95, HUNDRED, ceiling=90) == Interval(90, 3, INF, "above", ceiling=90)
    assert interval_of_draws(INF, HUNDRED, ceiling=90) == Interval(90, 3, INF, "above", ceiling=90)
    assert interval_of_draws(5, HUNDRED, floor=10) == Interval(10, -INF, 98, "below", floor=10)


def test_bounds_are_never_beyond_the_range_they_bound():
    assert interval_of_draws(95, HUNDRED + 200, ceiling=90) == Interval(90, 90, INF, "above", ceiling=90)
    assert interval_of_draws(5, HUNDRED - 200, floor=10) == Interval(10, -INF, 10, "below", floor=10)


def test_infinite_draws_open_a_side_only_where_they_are_many():
    few, many = HUNDRED.copy(), HUNDRED.copy()
    few[-2:], many[-3:] = INF, INF
    assert interval_of_draws(50, few) == Interval(50, 3, 98)
    assert interval_of_draws(50, many) == Interval(50, 3, INF)


def test_draws_that_are_not_numbers_open_both_sides():
    draws = HUNDRED.copy()
    draws[40:45] = np.nan
    assert interval_of_draws(50, draws) == Interval(50, -INF, INF)


def test_a_point_that_is_not_a_number_is_withheld():
    assert interval_of_draws(math.nan, HUNDRED) == withheld("the value cannot be computed")
