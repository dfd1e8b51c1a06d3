"""Laws against their closed forms, finite differences and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realfake.laws import HYPERBOLIC, LAWS, POWER, WANG, real_error, real_size, real_slope, synthetic_share
from tests.simulated import HYPERBOLIC_TRUTH, WANG_TRUTH

TRUTHS = {"hyperbolic": HYPERBOLIC_TRUTH, "wang": WANG_TRUTH, "power": HYPERBOLIC_TRUTH[:3]}
ALL = (POWER, HYPERBOLIC, WANG)
HARMLESS = (*HYPERBOLIC_TRUTH[:6], 0.0)
SIZES = np.array([200.0, 1000.0, 5000.0, 40_000.0])
VOLUMES = np.array([50.0, 3000.0, 20_000.0, 8000.0])
sizes = st.floats(10, 1e5)
volumes = st.floats(0, 1e6)


def named(laws):
    return pytest.mark.parametrize("law", laws, ids=lambda law: law.name)


def slope_of(function, at):
    """The derivative of `function` by central differences."""
    step = 1e-5 * np.maximum(np.abs(at), 1e-3)
    return (function(at + step) - function(at - step)) / (2 * step)


@named(ALL)
def test_a_law_describes_each_of_its_parameters(law):
    assert len(law.parameter_names) == len(law.bounds) == len(law.meanings) == len(TRUTHS[law.name])
    assert {*law.log_scaled, *law.linear} <= set(law.parameter_names)
    assert all(low < high for low, high in law.bounds)


def test_the_real_only_curve_is_a_power_law_with_a_floor():
    assert real_error((0.1, 8.0, 0.5), 16) == pytest.approx(0.1 + 8 / 4)
    assert real_slope((0.1, 8.0, 0.5), 16) == pytest.approx(-0.5 * 8 / 64)
    assert real_size((0.1, 8.0, 0.5), 2.1) == pytest.approx(16)


@pytest.mark.parametrize("response", [0.1, 0.05, 0.0])
def test_no_real_size_reaches_the_floor(response):
    assert real_size((0.1, 8.0, 0.5), response) == np.inf


@given(n=sizes)
@settings(deadline=None)
def test_the_inverse_undoes_the_real_only_curve(n):
    assert real_size(HYPERBOLIC_TRUTH, real_error(HYPERBOLIC_TRUTH, n)) == pytest.approx(n, rel=1e-8)


@named(ALL)
@given(n=sizes, m=st.floats(0, 1e5))
@settings(deadline=None, max_examples=40)
def test_gradients_are_the_finite_differences(law, n, m):
    truth = np.array(TRUTHS[law.name])
    gradient = law.gradient(truth, n, m, 2 * n)
    for position in range(len(truth)):

        def moved(value, position=position):
            parameters = truth.copy()
            parameters[position] = value
            return law.error(parameters, n, m, 2 * n)

        assert gradient[position] == pytest.approx(slope_of(moved, truth[position]), rel=1e-4, abs=1e-8)


@named(LAWS.values())
@pytest.mark.parametrize(("n", "m"), [(200.0, 50.0), (1000.0, 3000.0), (5000.0, 80_000.0)])
def test_the_value_is_the_slope_of_the_equivalent(law, n, m):
    truth = TRUTHS[law.name]
    assert law.value(truth, n, m, n) == pytest.approx(slope_of(lambda volume: law.equivalent(truth, n, volume, n), m))


@pytest.mark.parametrize(("law", "truth"), [(HYPERBOLIC, HARMLESS), (WANG, WANG_TRUTH)])
@given(n=sizes, m=volumes)
@settings(deadline=None, max_examples=40)
def test_without_harm_the_error_is_that_of_the_equivalent_real_size(law, truth, n, m):
    equivalent = law.equivalent(truth, n, m, n)
    assert law.error(truth, n, m, n) == pytest.approx(real_error(truth, n + equivalent), rel=1e-12)
    assert equivalent >= 0


@given(n=sizes, m=volumes)
@settings(deadline=None, max_examples=40)
def test_with_harm_too_the_equivalent_inverts_the_error(n, m):
    equivalent = HYPERBOLIC.equivalent(HYPERBOLIC_TRUTH, n, m, n)
    response = HYPERBOLIC.error(HYPERBOLIC_TRUTH, n, m, n)
    assert real_error(HYPERBOLIC_TRUTH, n + equivalent) == pytest.approx(response, rel=1e-9)


def test_harm_alone_makes_the_equivalent_negative():
    harmful = (*HYPERBOLIC_TRUTH[:3], 0.0, 2.0, 1.0, 0.5)
    assert (HYPERBOLIC.equivalent(harmful, SIZES, VOLUMES, SIZES) < 0).all()
    assert HYPERBOLIC.value(harmful, 1000.0, 500.0, 1000.0) < 0


def test_the_hyperbolic_worth_is_the_rate_at_first_and_half_its_cap_at_the_half_volume():
    _, _, _, rate, half, exponent, _ = HARMLESS
    assert HYPERBOLIC.value(HARMLESS, 1000.0, 0.0, 300.0) == pytest.approx(rate)
    half_volume = half * 300.0**exponent
    assert HYPERBOLIC.equivalent(HARMLESS, 1000.0, half_volume, 300.0) == pytest.approx(rate * half_volume / 2)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_cap_without_harm_is_rate_times_half_volume(exponent):
    truth = (*HARMLESS[:5], exponent, 0.0)
    caps = HYPERBOLIC.cap(truth, SIZES, SIZES)
    np.testing.assert_allclose(caps, 0.4 * 2.0 * SIZES**exponent, rtol=1e-6)


def test_the_cap_with_harm_is_the_peak_of_the_equivalent():
    volumes = np.geomspace(1, 1e7, 200_001)
    peak = HYPERBOLIC.equivalent(HYPERBOLIC_TRUTH, 5000.0, volumes, 5000.0)
    assert 0 < peak.argmax() < len(volumes) - 1
    assert float(HYPERBOLIC.cap(HYPERBOLIC_TRUTH, 5000.0, 5000.0)) == pytest.approx(peak.max(), rel=1e-6)


def test_the_cap_of_images_that_only_harm_is_zero():
    harmful = (*HYPERBOLIC_TRUTH[:3], 0.0, 2.0, 1.0, 0.5)
    assert float(HYPERBOLIC.cap(harmful, 1000.0, 1000.0)) == pytest.approx(0, abs=1e-6)


def test_wangs_law_never_saturates():
    assert float(WANG.cap(WANG_TRUTH, 1000.0, 1000.0)) == np.inf


@pytest.mark.parametrize("ratio", [0.1, 1.0, 3.0])
def test_wangs_worth_inverts_the_published_formula(ratio):
    n, (*_, growth, log_c2) = 5000.0, WANG_TRUTH
    prefactor = np.exp(growth * n)
    m = n * prefactor * (np.exp(log_c2) ** ratio - 1)  # u = s·(c2^r − 1)
    assert WANG.equivalent(WANG_TRUTH, n, m, 0.0) == pytest.approx(ratio * n)


def test_wangs_first_image_costs_s_ln_c2():
    n, (*_, growth, log_c2) = 5000.0, WANG_TRUTH
    assert 1 / WANG.value(WANG_TRUTH, n, 0.0, n) == pytest.approx(np.exp(growth * n) * log_c2)


@named(ALL)
def test_no_synthetic_images_are_worth_nothing(law):
    truth = TRUTHS[law.name]
    np.testing.assert_array_equal(law.equivalent(truth, SIZES, 0.0, SIZES), 0.0)
    np.testing.assert_allclose(law.error(truth, SIZES, 0.0, SIZES), real_error(truth, SIZES))


def test_synthetic_images_alone():
    """At n_real 0 the response is f of the worth plus the whole harm; Wang's formula gives no worth there."""
    worth = 0.4 * 4000 / (1 + 4000 / (2.0 * 1000))
    expected = real_error(HYPERBOLIC_TRUTH, worth) + HYPERBOLIC_TRUTH[-1]
    assert HYPERBOLIC.error(HYPERBOLIC_TRUTH, 0.0, 4000.0, 1000.0) == pytest.approx(expected)
    assert WANG.equivalent(WANG_TRUTH, 0.0, 4000.0, 1000.0) == 0
    assert not WANG.synthetic_alone


def test_an_open_set_generator_counts_as_one_real_image():
    np.testing.assert_array_equal(
        HYPERBOLIC.equivalent(HYPERBOLIC_TRUTH, SIZES, VOLUMES, 0.0),
        HYPERBOLIC.equivalent(HYPERBOLIC_TRUTH, SIZES, VOLUMES, 1.0),
    )


def test_the_synthetic_share():
    np.testing.assert_allclose(synthetic_share(np.array([0, 0, 50, 50]), np.array([0, 5, 0, 150])), [0, 1, 0, 0.75])


@named(ALL)
def test_nothing_is_infinite_without_images_and_at_extreme_sizes(law):
    n, m = np.array([0.0, 1.0, 1e12]), np.array([0.0, 1e12, 1e12])
    assert np.isfinite(law.error(TRUTHS[law.name], n, m, n)).all()
    assert np.isfinite(law.gradient(TRUTHS[law.name], n, m, n)).all()


@named(ALL)
@pytest.mark.parametrize("quantity", ["error", "equivalent", "value"])
def test_many_draws_at_once_are_each_draw_alone(law, quantity):
    draws = np.array(TRUTHS[law.name]) * np.linspace(0.9, 1.1, 5)[:, None]
    together = getattr(law, quantity)(draws.T[:, :, None], SIZES, VOLUMES, SIZES)
    apart = [getattr(law, quantity)(draw, SIZES, VOLUMES, SIZES) for draw in draws]
    assert together.shape == (5, 4)
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_caps_of_many_draws_are_each_draw_alone():
    draws = np.array(HYPERBOLIC_TRUTH) * np.linspace(0.9, 1.1, 5)[:, None]
    together = HYPERBOLIC.cap(draws.T, 5000.0, 5000.0)
    np.testing.assert_allclose(together, [HYPERBOLIC.cap(draw, 5000.0, 5000.0) for draw in draws], rtol=1e-12)
