"""Real-only curves against published forms, solved by others where they have no closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from realfake.laws import CURVES, POWER
from realfake.laws.bent_curves import bent, unbent
from realfake.laws.real_curves import LIFTED_CURVE

TRUTHS = {
    "power": (0.03, 6.0, 0.45),
    "rectified": (0.03, 6.0, 0.45, 15.0),
    "m4": (0.03, 0.87, 0.9, 1500.0, 0.7),
    "broken": (0.03, 6.0, 0.3, 2.5, 8000.0, 0.3),
    "lifted": (0.02, 6.0, 0.45, 0.05),
}
ALL = (*CURVES.values(), LIFTED_CURVE)
SIZES = np.geomspace(1, 1e7, 40)
sizes = st.floats(1, 1e7)


def named(curves):
    return pytest.mark.parametrize("curve", curves, ids=lambda curve: curve.name)


def slope_of(function, at):
    step = 1e-5 * np.maximum(np.abs(at), 1e-3)
    return (function(at + step) - function(at - step)) / (2 * step)


def jittered(curve, seed):
    factors = np.random.default_rng(seed).uniform(0.6, 1.6, len(TRUTHS[curve.name]))
    return np.array(TRUTHS[curve.name]) * factors


def test_the_power_curve_is_a_power_law_with_a_floor():
    assert POWER.curve.error((0.1, 8.0, 0.5), 16) == pytest.approx(0.1 + 8 / 4)
    assert POWER.curve.slope((0.1, 8.0, 0.5), 16) == pytest.approx(-0.5 * 8 / 64)
    assert POWER.curve.size((0.1, 8.0, 0.5), 2.1) == pytest.approx(16)


@named(ALL)
@pytest.mark.parametrize("below", [0.0, 0.01, 0.02])
def test_no_real_size_reaches_the_floor(curve, below):
    floor = 0.07 if curve is LIFTED_CURVE else 0.03
    assert curve.size(TRUTHS[curve.name], floor - below) == np.inf


@named(ALL)
@given(n=sizes, seed=st.integers(0, 30))
@settings(deadline=None, max_examples=60)
def test_the_inverse_undoes_the_curve(curve, n, seed):
    parameters = jittered(curve, seed)
    response = curve.error(parameters, n)
    above = response - parameters[0]
    assert curve.size(parameters, response) == pytest.approx(n, rel=1e-8 + 1e-13 * response / above)
    assert curve.error((*parameters, 99.0), n) == response  # a whole law's parameters will do


@named(ALL)
@pytest.mark.parametrize("seed", range(8))
def test_derivatives_are_the_finite_differences(curve, seed):
    parameters = jittered(curve, seed)
    gradient = curve.gradient(parameters, SIZES)
    assert gradient.shape == (len(parameters), len(SIZES))
    expected = slope_of(lambda n: curve.error(parameters, n), SIZES)
    np.testing.assert_allclose(curve.slope(parameters, SIZES), expected, rtol=1e-5, atol=1e-11)
    assert (curve.slope(parameters, SIZES) < 0).all()
    for position in range(len(parameters)):

        def moved(value, position=position):
            changed = parameters.copy()
            changed[position] = value
            return curve.error(changed, SIZES)

        np.testing.assert_allclose(gradient[position], slope_of(moved, parameters[position]), rtol=1e-4, atol=1e-8)


@named(ALL)
def test_a_curve_describes_each_of_its_parameters(curve):
    assert len(curve.parameters) == len(TRUTHS[curve.name])
    assert all(parameter.low < parameter.high and parameter.meaning for parameter in curve.parameters)


@named([CURVES[name] for name in ("m4", "rectified")])
def test_a_response_that_no_data_gives_needs_no_image(curve):
    assert curve.size(TRUTHS[curve.name], 2.0) == 0


def test_the_curves_hold_the_power_law():
    expected = POWER.curve.error((0.03, 6.0, 0.45), SIZES)
    np.testing.assert_allclose(CURVES["rectified"].error((0.03, 6.0, 0.45, 0.0), SIZES), expected, rtol=1e-12)
    np.testing.assert_allclose(CURVES["broken"].error((0.03, 6.0, 0.45, 1.0, 8000.0, 0.3), SIZES), expected, rtol=1e-12)
    np.testing.assert_allclose(LIFTED_CURVE.error((0.01, 6.0, 0.45, 0.02), SIZES), expected, rtol=1e-12)
    far = SIZES[20:]  # M4 far below its chance level
    np.testing.assert_allclose(
        CURVES["m4"].error((0.03, 6.0 * 1e-3**-0.45, 0.45, 1e-3, 1.0), far), expected[20:], rtol=2e-3
    )


@pytest.mark.parametrize("bend", [0.2, 0.7, 1.0, 1.6, 5.0])
def test_m4_solves_the_published_equation(bend):
    """(ε − ε∞)/(ε0 − ε)^a = β·n^c, solved by bisection, with β = (ε0 − ε∞)^(1-a)·N0^α."""
    floor, amplitude, exponent, onset = 0.05, 0.85, 0.8, 300.0
    factor, chance = amplitude ** (1 - bend) * onset**exponent, floor + amplitude
    ours = CURVES["m4"].error((floor, amplitude, exponent, onset, bend), SIZES)
    for n, found in zip(SIZES, ours, strict=True):
        solved = brentq(
            lambda y, n=n: np.log((y - floor) / (chance - y) ** bend) - np.log(factor * n**-exponent),
            floor + 1e-14,
            chance - 1e-14,
            xtol=1e-15,
        )
        assert found == pytest.approx(solved, rel=1e-9)


def test_m4_without_a_bend_is_logistic():
    expected = 0.05 + 0.85 / (1 + (SIZES / 300) ** 0.8)
    np.testing.assert_allclose(CURVES["m4"].error((0.05, 0.85, 0.8, 300.0, 1.0), SIZES), expected, rtol=1e-12)


def test_the_broken_curve_is_the_published_one():
    """The noiseless 4-digit addition of ethancaballero/broken_neural_scaling_laws: its a, b, c0, c1, d1, f1."""
    a, b, c0, c1, d1, f1 = 0.413884530, 2.277272289, 0.055077348, 5.662903816, 612.5836172, 0.059193036
    x = np.geomspace(1, 4096, 50)
    printed = a + b * x ** (-c0) * (1 + (x / d1) ** (1 / f1)) ** (-c1 * f1)
    ours = (a, b, c0, (c0 + c1) / c0, d1, f1)
    np.testing.assert_allclose(CURVES["broken"].error(ours, x), printed, rtol=1e-12)
    inside = printed - a > 1e-6
    np.testing.assert_allclose(CURVES["broken"].size(ours, printed)[inside], x[inside], rtol=1e-7)


@given(s=st.floats(-500, 500), ratio=st.floats(0.01, 100))
@settings(deadline=None, max_examples=300)
def test_the_bend_is_undone(s, ratio):
    assert unbent(bent(np.array(s), ratio), ratio) == pytest.approx(s, rel=1e-9, abs=1e-9 / min(ratio, 1))


def test_many_draws_at_once_are_each_draw_alone():
    for curve in ALL:
        draws = np.array([jittered(curve, seed) for seed in range(4)])
        together = curve.error(draws.T[:, :, None], SIZES)
        np.testing.assert_allclose(together, [curve.error(draw, SIZES) for draw in draws], rtol=1e-12)
        sizes = curve.size(draws.T[:, :, None], together)
        assert sizes.shape == (4, len(SIZES))
