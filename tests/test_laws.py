"""Laws against their closed forms, published numbers, finite differences and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realfake.laws import ADDITIVE, EXPONENTIAL, LAWS, PEAKED, POWER, SYN2REAL, TRANSFERRED, WANG, synthetic_share
from realfake.statistics.fits import FitError
from tests.simulated import PEAKED_TRUTH, TRUTHS, WANG_TRUTH, fit, small

ALL = (POWER, *LAWS.values())
UNSHIFTED = [law for law in ALL if law.name not in ("peaked", "additive")]
HARMLESS = (*PEAKED_TRUTH[:6], 0.0)
SIZES = np.array([200.0, 1000.0, 5000.0, 40_000.0])
VOLUMES = np.array([50.0, 3000.0, 20_000.0, 8000.0])
POINTS = ((200.0, 50.0), (1000.0, 3000.0), (5000.0, 80_000.0))
sizes = st.floats(10, 1e5)
volumes = st.floats(0, 1e6)


def named(laws):
    return pytest.mark.parametrize("law", laws, ids=lambda law: law.name)


def slope_of(function, at):
    """The derivative of `function` by central differences."""
    step = 1e-5 * np.maximum(np.abs(at), 1e-3)
    return (function(at + step) - function(at - step)) / (2 * step)


def jittered(law, seed):
    """Parameters around the law's truth, inside its bounds."""
    factors = np.random.default_rng(seed).uniform(0.7, 1.4, len(TRUTHS[law.name]))
    return np.clip(np.array(TRUTHS[law.name]) * factors, *np.array(law.bounds).T)


# What every law is.


@named(ALL)
def test_a_law_describes_each_of_its_parameters(law):
    assert len(law.parameter_names) == len(law.bounds) == len(law.meanings) == len(TRUTHS[law.name])
    assert len(set(law.parameter_names)) == len(law.parameter_names)
    assert {*law.log_scaled, *law.linear} <= set(law.parameter_names)
    assert all(low < high for low, high in law.bounds)
    assert all(low > 0 for (low, _), parameter in zip(law.bounds, law.parameters, strict=True) if parameter.log)
    assert law.parameter_names[:3] == POWER.parameter_names
    assert law.told_by_mixtures.sum() == len(law.parameters) - len(law.curve.parameters) + (law is ADDITIVE)


@named(ALL)
def test_a_law_starts_inside_its_bounds_and_leaves_only_linear_parameters_without_a_start(law):
    starts = law.starts(SIZES, VOLUMES, SIZES)
    assert {*starts, *law.linear} == set(law.parameter_names)
    for name, values in starts.items():
        low, high = law.bounds[law.index(name)]
        assert all(low <= value <= high for value in values)


@named(ALL)
def test_no_synthetic_images_are_worth_nothing(law):
    truth = TRUTHS[law.name]
    np.testing.assert_array_equal(law.equivalent(truth, SIZES, 0.0, SIZES), 0.0)
    np.testing.assert_allclose(law.error(truth, SIZES, 0.0, SIZES), law.curve.error(truth, SIZES), rtol=1e-14)


@named(ALL)
@given(n=st.sampled_from([0.0, 30.0, 2e3, 1e5]), m=st.just(0.0) | st.floats(1, 1e5), seed=st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_gradients_are_the_finite_differences(law, n, m, seed):
    parameters = jittered(law, seed)
    gradient = law.gradient(parameters, n, m, 2 * n)
    scale = float(law.error(parameters, n, m, 2 * n))
    for position in range(len(parameters)):

        def moved(value, position=position):
            changed = parameters.copy()
            changed[position] = value
            return law.error(changed, n, m, 2 * n)

        expected = slope_of(moved, parameters[position])
        noise = 1e-10 * scale / max(abs(parameters[position]) * 1e-5, 1e-8)
        assert gradient[position] == pytest.approx(expected, rel=2e-4, abs=1e-8 + noise)


@named(ALL)
@pytest.mark.parametrize(("n", "m"), POINTS)
@pytest.mark.parametrize("seed", range(4))
def test_slopes_by_the_volume_are_the_finite_differences(law, n, m, seed):
    parameters = jittered(law, seed)
    expected = slope_of(lambda volume: law.error(parameters, n, volume, 2 * n), m)
    assert law.volume_slope(parameters, n, m, 2 * n) == pytest.approx(expected, rel=1e-4, abs=1e-14)
    if np.isfinite(law.equivalent(parameters, n, 1.01 * m, 2 * n)):
        worth = slope_of(lambda volume: law.equivalent(parameters, n, volume, 2 * n), m)
        assert law.value(parameters, n, m, 2 * n) == pytest.approx(worth, rel=1e-4, abs=1e-9)


@named(ALL)
@given(n=sizes, m=volumes)
@settings(deadline=None, max_examples=40)
def test_the_equivalent_inverts_the_error_on_the_real_only_curve(law, n, m):
    truth = TRUTHS[law.name]
    response, equivalent = law.error(truth, n, m, n), law.equivalent(truth, n, m, n)
    assert law.curve.size(truth, response) - n == pytest.approx(equivalent, rel=1e-6, abs=1e-6)
    if np.isfinite(equivalent):
        assert law.curve.error(truth, n + equivalent) == pytest.approx(response, rel=1e-9)


@named(UNSHIFTED)
@given(n=sizes, m=volumes)
@settings(deadline=None, max_examples=20)
def test_without_a_shift_images_are_never_worth_less_than_nothing(law, n, m):
    assert law.equivalent(TRUTHS[law.name], n, m, n) >= 0


@named(ALL)
def test_no_equivalent_is_above_the_cap(law):
    truth, volumes = TRUTHS[law.name], np.geomspace(1, 1e12, 200)[:, None]
    caps = law.cap(truth, SIZES, SIZES)
    assert caps.shape == SIZES.shape
    assert (law.equivalent(truth, SIZES, volumes, SIZES) <= caps * (1 + 1e-12)).all()
    assert np.isinf(caps).all() or law.saturates


@named([law for law in UNSHIFTED if law.saturates])
def test_without_a_shift_the_cap_is_what_endless_images_are_worth(law):
    truth = TRUTHS[law.name]
    np.testing.assert_allclose(law.cap(truth, SIZES, SIZES), law.equivalent(truth, SIZES, 1e18, SIZES), rtol=1e-4)


@named(ALL)
def test_nothing_is_infinite_without_images_and_at_extreme_sizes(law):
    n, m = np.array([0.0, 1.0, 1e12]), np.array([0.0, 1e12, 1e12])
    ends = np.array(law.bounds)
    for parameters in (np.array(TRUTHS[law.name]), *(jittered(law, seed) for seed in range(3)), ends[:, 1]):
        assert np.isfinite(law.error(parameters, n, m, n)).all()
        assert np.isfinite(law.gradient(parameters, n, m, n)).all()


@named(ALL)
@pytest.mark.parametrize("quantity", ["error", "equivalent", "value", "gradient", "volume_slope"])
def test_many_draws_at_once_are_each_draw_alone(law, quantity):
    draws = np.array(TRUTHS[law.name]) * np.linspace(0.95, 1.05, 5)[:, None]
    together = getattr(law, quantity)(draws.T[:, :, None], SIZES, VOLUMES, SIZES)
    apart = np.array([getattr(law, quantity)(draw, SIZES, VOLUMES, SIZES) for draw in draws])
    assert together.shape[-2:] == (5, 4)
    np.testing.assert_allclose(together, np.moveaxis(apart, 0, -2), rtol=1e-10)


@named(ALL)
def test_caps_of_many_draws_are_each_draw_alone(law):
    draws = np.array(TRUTHS[law.name]) * np.linspace(0.95, 1.05, 5)[:, None]
    together = law.cap(draws.T, 5000.0, 5000.0)
    np.testing.assert_allclose(together, [law.cap(draw, 5000.0, 5000.0) for draw in draws], rtol=1e-12)


@named([law for law in ALL if law is not POWER])
def test_synthetic_images_alone_replace_real_ones_where_the_law_has_a_word_on_them(law):
    few, many = (law.equivalent(TRUTHS[law.name], 0.0, m, 1000.0) for m in (100.0, 4000.0))
    assert (1 < few < many < 4000) == law.synthetic_alone


def test_the_synthetic_share():
    np.testing.assert_allclose(synthetic_share(np.array([0, 0, 50, 50]), np.array([0, 5, 0, 150])), [0, 1, 0, 0.75])


# The hyperbolic family.


def test_the_hyperbolic_laws_are_one_at_their_generator_exponents():
    harmless, scaled, plain = ((*PEAKED_TRUTH[:5], exponent, 0.0) for exponent in (0.7, 1.0, 0.0))
    for parameters, law, cut in ((scaled, LAWS["scaled"], 5), (plain, LAWS["hyperbolic"], 5)):
        expected = PEAKED.error(parameters, SIZES, VOLUMES, 2 * SIZES)
        np.testing.assert_allclose(law.error(parameters[:cut], SIZES, VOLUMES, 2 * SIZES), expected, rtol=1e-14)
    rectified = (*harmless[:3], 0.0, *harmless[3:6])
    expected = PEAKED.error(harmless, SIZES, VOLUMES, 2 * SIZES)
    np.testing.assert_allclose(LAWS["rectified"].error(rectified, SIZES, VOLUMES, 2 * SIZES), expected, rtol=1e-12)


def test_harm_alone_makes_the_equivalent_negative():
    harmful = (*PEAKED_TRUTH[:3], 0.0, 2.0, 1.0, 0.5)
    assert (PEAKED.equivalent(harmful, SIZES, VOLUMES, SIZES) < 0).all()
    assert PEAKED.value(harmful, 1000.0, 500.0, 1000.0) < 0
    assert float(PEAKED.cap(harmful, 1000.0, 1000.0)) == pytest.approx(0, abs=1e-6)


def test_the_value_of_synthetic_images_alone_counts_the_harm_that_is_done():
    volume = 2000.0
    expected = slope_of(lambda m: PEAKED.equivalent(PEAKED_TRUTH, 0.0, m, 1000.0), volume)
    assert PEAKED.value(PEAKED_TRUTH, 0.0, volume, 1000.0) == pytest.approx(expected, rel=1e-5)


def test_the_hyperbolic_worth_is_the_rate_at_first_and_half_its_cap_at_the_half_volume():
    _, _, _, rate, half, exponent, _ = HARMLESS
    assert PEAKED.value(HARMLESS, 1000.0, 0.0, 300.0) == pytest.approx(rate)
    half_volume = half * 300.0**exponent
    assert PEAKED.equivalent(HARMLESS, 1000.0, half_volume, 300.0) == pytest.approx(rate * half_volume / 2)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_cap_without_harm_is_rate_times_half_volume(exponent):
    truth = (*HARMLESS[:5], exponent, 0.0)
    np.testing.assert_allclose(PEAKED.cap(truth, SIZES, SIZES), 0.4 * 2.0 * SIZES**exponent, rtol=1e-6)


def test_the_cap_with_harm_is_the_peak_of_the_equivalent():
    volumes = np.geomspace(1, 1e7, 200_001)
    peak = PEAKED.equivalent(PEAKED_TRUTH, 5000.0, volumes, 5000.0)
    assert 0 < peak.argmax() < len(volumes) - 1
    assert float(PEAKED.cap(PEAKED_TRUTH, 5000.0, 5000.0)) == pytest.approx(peak.max(), rel=1e-6)


def test_synthetic_images_alone_bear_the_whole_harm():
    worth = 0.4 * 4000 / (1 + 4000 / (2.0 * 1000))
    expected = POWER.curve.error(PEAKED_TRUTH, worth) + PEAKED_TRUTH[-1]
    assert PEAKED.error(PEAKED_TRUTH, 0.0, 4000.0, 1000.0) == pytest.approx(expected)


@named([law for law in LAWS.values() if "half" in law.parameter_names])
def test_an_open_set_generator_counts_as_one_real_image(law):
    worths = [law.equivalent(TRUTHS[law.name], SIZES, VOLUMES, generator) for generator in (0.0, 1.0)]
    np.testing.assert_array_equal(*worths)


def test_the_exponential_worth_is_the_rate_at_first_and_half_its_cap_at_the_half_volume():
    truth = TRUTHS["exponential"]
    assert EXPONENTIAL.value(truth, 1000.0, 0.0, 300.0) == pytest.approx(0.4)
    cap = EXPONENTIAL.cap(truth, 1000.0, 300.0)
    assert EXPONENTIAL.equivalent(truth, 1000.0, 2.0 * 300, 300.0) == pytest.approx(cap / 2)


# Published formulas and numbers.


@pytest.mark.parametrize("ratio", [0.1, 1.0, 3.0])
def test_wangs_worth_inverts_the_published_formula(ratio):
    n, (*_, growth, log_c2) = 5000.0, WANG_TRUTH
    m = n * np.exp(growth * n) * (np.exp(log_c2) ** ratio - 1)  # u = s·(c2^r − 1)
    assert WANG.equivalent(WANG_TRUTH, n, m, 0.0) == pytest.approx(ratio * n)


def test_wangs_first_image_costs_s_ln_c2():
    n, (*_, growth, log_c2) = 5000.0, WANG_TRUTH
    assert 1 / WANG.value(WANG_TRUTH, n, 0.0, n) == pytest.approx(np.exp(growth * n) * log_c2)


def test_the_power_ratio_is_the_real_size_with_the_response_of_synthetic_images_alone():
    floor, amplitude, exponent = 0.03, 6.0, 0.45
    synthetic_floor, synthetic_amplitude, synthetic_exponent = 0.1, 9.0, 0.36
    growth, factor = synthetic_exponent / exponent, (amplitude / synthetic_amplitude) ** (1 / exponent)
    ceiling = (amplitude / (synthetic_floor - floor)) ** (1 / exponent)
    law = LAWS["power_ratio"]
    parameters = (floor, amplitude, exponent, factor * 1000**growth, growth, ceiling)
    m = np.geomspace(1, 1e9, 30)
    alone = synthetic_floor + synthetic_amplitude * m**-synthetic_exponent
    np.testing.assert_allclose(law.error(parameters, 0.0, m, 0.0), alone, rtol=1e-10)
    assert law.cap(parameters, 0.0, 0.0) == pytest.approx(ceiling)


CHINCHILLA = (1.817, 477.84, 0.3473, 2143.86, 0.3672)  # E, A, α, B, β as Epoch's replication prints them


def test_the_additive_law_is_chinchillas():
    models, tokens = np.meshgrid(np.geomspace(1e7, 1e12, 20), np.geomspace(1e8, 1e13, 20))
    printed = 1.817 + 477.84 / models**0.3473 + 2143.86 / tokens**0.3672
    np.testing.assert_allclose(ADDITIVE.error(CHINCHILLA, models, tokens - 1, 0.0), printed, rtol=1e-12)


def test_an_additive_equivalent_is_infinite_once_synthetic_images_take_more_than_real_ones_could():
    *_, removable, exponent = truth = (0.02, 6.0, 0.45, 0.05, 0.3)
    left = 6.0 * 1e5**-0.45  # what more real images could remove at 100,000
    assert left < removable
    turning = (1 - left / removable) ** (-1 / exponent) - 1
    assert np.isfinite(ADDITIVE.equivalent(truth, 1e5, turning * 0.99, 0.0))
    assert ADDITIVE.equivalent(truth, 1e5, turning * 1.01, 0.0) == np.inf
    assert ADDITIVE.cap(truth, 1e5, 0.0) == np.inf
    endless = (100**-0.45 - removable / 6.0) ** (-1 / 0.45) - 100  # the real images that remove as much at 100
    assert ADDITIVE.cap(truth, 100.0, 0.0) == pytest.approx(endless)


@pytest.mark.parametrize(
    ("model", "tokens", "printed"),
    [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)],
)
def test_the_exponential_worth_gives_the_printed_losses_of_data_constrained_models(model, tokens, printed):
    """Two models on 25 B unique tokens: `scaling_law` in the README of huggingface/datablations, its C4 coefficients.

    Repeated tokens are images of a generator that saw the U unique ones, and parameters beyond those that U can feed
    count as repeated too.
    """
    a, b, e, power, reach, model_reach = 6.255414, 7.3049974, 0.6254804, 0.3526596, 15.387756, 5.309743
    unique, balance = 25e9, np.exp(a - b) ** (1 / (2 * power))  # G at α = β
    fed = min(model, unique * balance * balance)

    def law(size, extra, floor, log_amplitude, unit_reach):
        parameters = (floor, np.exp(log_amplitude), power, 1.0, unit_reach * np.log(2))  # the first repetition is new
        return float(EXPONENTIAL.error(parameters, size, extra, size))

    of_model = law(fed, model - fed, np.exp(e), a, model_reach)
    assert law(unique, tokens - unique, of_model, b, reach) == pytest.approx(printed, abs=1e-12)


@pytest.mark.parametrize(("factor", "data_power"), [(1.9e4, 0.18), (2.1e5, 0.096)])
def test_the_transferred_worth_is_the_published_data_transfer(factor, data_power):
    """Text, and text and code, to Python (Hernandez et al. 2021), with the size of the model in the place of m."""
    thousand = factor * 1000 ** (data_power + 0.38)
    data, model = np.meshgrid(np.geomspace(1e5, 1e9, 9), np.geomspace(1e6, 1e9, 7))
    worth = TRANSFERRED.equivalent((0.03, 6.0, 0.45, thousand, data_power, 0.38), data, model, 0.0)
    np.testing.assert_allclose(worth, factor * data**data_power * model**0.38, rtol=1e-12)


def test_far_above_its_spread_syn2real_is_the_published_law():
    floor, amplitude, exponent, gap, spread, power = truth = TRUTHS["syn2real"]
    share, scale = gap / (1 - gap) * spread**-power, amplitude * (1 - gap) * spread**power  # γ and δ
    n, m = np.meshgrid(SIZES, np.array([1e8, 1e10]))
    printed = floor + scale * (share + m**-power) * n**-exponent
    np.testing.assert_allclose(SYN2REAL.error(truth, n, m, 0.0), printed, rtol=1e-5)
    assert SYN2REAL.error((*truth[:3], 0.0, *truth[4:]), 100.0, 1e8, 0.0) < SYN2REAL.error(truth, 100.0, 1e8, 0.0)
    assert SYN2REAL.cap((*truth[:3], 0.0, *truth[4:]), 100.0, 0.0) == np.inf


# What a small study cannot fix.


def test_a_parameter_that_a_study_cannot_fix_is_held_at_its_neutral_value():
    found = fit(small(), law="broken", bootstrap=20)
    assert "exponent_ratio held at 1: it needs twelve real-only sizes" in found.reason
    assert found.parameters["exponent_ratio"].point == 1
    scaled = fit(small(), law="rectified", bootstrap=20)
    assert found.parameters["rate"].point == pytest.approx(scaled.parameters["rate"].point, rel=0.2)


def test_a_law_without_a_neutral_value_is_refused():
    with pytest.raises(FitError, match="the law 'm4' needs five real-only sizes for its onset; measure more"):
        fit(small(ladder=(1000, 2500, 5000, 50_000)), law="m4", bootstrap=20)


def test_two_ladder_sizes_are_enough_for_the_additive_law():
    found = fit(small(ladder=(1000, 50_000), bases=(2500, 5000)), law="additive", bootstrap=20)
    assert found.parameters["floor"].point == 0
    assert found.parameters["synthetic_amplitude"].point > 0
