"""What to buy: closed forms of the cheapest mix, labels only, what cannot be reached, and probabilities by hand."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import brentq, minimize_scalar

import realfake
from realfake import cli
from realfake.laws import LAWS
from realfake.planning.costs import Costs, PlanError
from realfake.planning.plans import LABELS, MIX, UNREACHED, plan
from realfake.statistics.equivalence import Fit, LackOfFit, Measured
from tests.simulated import table

CURVE = {"floor": 0.03, "amplitude": 6.0, "exponent": 0.45}
CALM = {**CURVE, "rate": 0.4, "half": 20_000.0}  # hyperbolic: w = 0.4·m/(1 + m/20,000), whatever n


def hand_fit(*draws, law="hyperbolic", generators=((1000, 1000), (10_000, 10_000)), m_max=160_000.0, **more):
    """A fit whose point is the first of `draws` (dicts of parameters) and whose draws are all of them."""
    rows = tuple(tuple(float(draw[name]) for name in LAWS[law].parameter_names) for draw in draws)
    values = {
        "law": law,
        "response": "error",
        "arm": "closed-set",
        "recipe": "test_resnet",
        "point": rows[0],
        "draws": rows,
        "status": "converged",
        "reason": "",
        "lack_of_fit": None,
        "measured": Measured(500.0, 200_000.0, m_max, generators),
        "noise": "random effects",
        "noise_half_widths": (),
        "n_trials": 60,
        "n_diverged": 0,
        "n_replicates": 3,
    }
    return Fit(**{**values, **more})


def real_size(response):
    return ((response - 0.03) / 6.0) ** (-1 / 0.45)


def cost_of(found):
    return found.best.cost.point


def words(found):
    """The text of a plan on one line."""
    return " ".join(found.to_text().split())


# Closed forms.


@pytest.mark.parametrize("target", [0.06, 0.1, 0.3])
def test_labels_alone_are_the_inverse_of_the_real_only_curve(target):
    alone = plan(hand_fit(CALM), target=target, costs=Costs(real=2.0, synthetic=9.0)).labels_only
    assert alone.n_real.point == pytest.approx(real_size(target), rel=1e-4)
    assert alone.cost.point == pytest.approx(2 * real_size(target), rel=1e-4)
    assert alone.n_synthetic.point == 0


@pytest.mark.parametrize("price", [0.02, 0.1, 0.3])
def test_at_the_optimum_one_more_synthetic_image_is_worth_what_it_costs(price):
    """Lagrange: w'(m) = c_synthetic/c_real, so m = κ·(√(ρ·c_real/c_synthetic) − 1), n = f⁻¹(target) − w(m)."""
    fit = hand_fit(CALM)
    found = plan(fit, target=0.1, costs=Costs(real=5.0, synthetic=5.0 * price))
    volume = 20_000 * (np.sqrt(0.4 / price) - 1)
    n = real_size(0.1) - 0.4 * volume / (1 + volume / 20_000)
    assert found.verdict == MIX
    assert found.mix.n_synthetic.point == pytest.approx(volume, rel=0.01)
    assert found.mix.n_real.point == pytest.approx(n, rel=3e-3)
    assert cost_of(found) == pytest.approx(5 * (n + price * volume), rel=1e-4)
    assert fit.value(found.mix.n_real.point, found.mix.n_synthetic.point).point == pytest.approx(price, rel=0.01)
    assert found.mix.response.point == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("price", [0.005, 0.02])
def test_the_cheapest_mix_is_the_one_that_a_search_along_the_contour_finds(price):
    """With harm and a generator that grows with n no closed form is at hand; scipy's scalar search stands in."""
    truth = {**CALM, "half": 2.0, "generator_exponent": 1.0, "harm": 0.02}
    fit, law = hand_fit(truth, law="peaked"), LAWS["peaked"]
    found = plan(fit, target=0.15, costs=Costs(real=1.0, synthetic=price, generator_per_real=0.01))

    def needed(m):
        return brentq(lambda n: float(law.error(fit.point, n, m, n)) - 0.15, 500, 200_000, rtol=1e-12)

    def cost(log_m):
        return 1.01 * needed(np.exp(log_m)) + price * np.exp(log_m)

    best = minimize_scalar(cost, bounds=np.log([10, 1e5]), method="bounded", options={"xatol": 1e-8})
    assert found.verdict == MIX
    assert found.mix.cost.point == pytest.approx(best.fun, rel=1e-4)
    assert found.mix.n_synthetic.point == pytest.approx(np.exp(best.x), rel=0.02)
    assert found.mix.n_real.point == pytest.approx(needed(np.exp(best.x)), rel=3e-3)


def test_the_best_for_a_budget_is_the_cheapest_for_its_response():
    fit, costs = hand_fit(CALM), Costs(real=1.0, synthetic=0.1, generator=50.0, training=7.0)
    cheapest = plan(fit, target=0.1, costs=costs)
    best = plan(fit, budget=cost_of(cheapest), costs=costs)
    assert best.verdict == MIX
    assert best.mix.response.point == pytest.approx(0.1, rel=1e-4)
    assert best.mix.n_synthetic.point == pytest.approx(cheapest.mix.n_synthetic.point, rel=0.02)
    assert cost_of(best) == pytest.approx(cost_of(cheapest), rel=1e-6)
    assert best.labels_only.n_real.point == pytest.approx(cost_of(cheapest) - 7)
    assert best.saving.point == pytest.approx(best.labels_only.response.point - 0.1, rel=1e-3)


# Labels only, and what cannot be reached.


def test_synthetic_images_that_cost_more_than_the_first_is_worth_are_not_bought():
    found = plan(hand_fit(CALM), target=0.1, costs=Costs(real=1.0, synthetic=0.41))
    assert (found.verdict, found.mix.n_synthetic.point, found.probability) == (LABELS, 0.0, 0.0)
    assert found.best is found.labels_only
    assert found.saving.point == 0
    assert "buy labels only" in words(found)


@pytest.mark.parametrize(("share", "verdict"), [(0.99, MIX), (1.01, LABELS)])
def test_a_generator_is_fitted_only_if_it_costs_less_than_it_saves(share, verdict):
    images = Costs(real=1.0, synthetic=0.1)
    saving = plan(hand_fit(CALM), target=0.1, costs=images).saving.point
    found = plan(hand_fit(CALM), target=0.1, costs=replace(images, generator=share * saving))
    assert found.verdict == verdict
    assert found.saving.point == pytest.approx(max(0.0, (1 - share) * saving), abs=1e-3 * saving)


def test_a_target_below_the_floor_cannot_be_reached():
    found = plan(hand_fit(CALM), target=0.02)
    assert found.verdict == UNREACHED
    assert found.mix.n_real.point == 200_000
    assert found.mix.response.point < found.labels_only.response.point
    assert "An expected error of 0.02 with test_resnet cannot be reached" in words(found)
    assert "below the floor of the fitted curve, 0.0300; the lowest is" in words(found)


def test_a_target_that_only_a_mix_reaches_within_the_ladder_is_bought_by_a_mix():
    """Labels alone would need 205,000 real images, and the ladder ends at 200,000."""
    found = plan(hand_fit(CALM), target=float(LAWS["hyperbolic"].error(list(CALM.values()), 205_000.0, 0.0, 0.0)))
    assert found.verdict == MIX
    assert found.labels_only.n_real.censored == "above"
    assert found.labels_only.cost.censored == "above"
    assert found.saving.censored == "above"
    assert found.probability == 1.0
    assert "for labels only (> 200,000 real images)" in words(found)


def test_a_target_that_the_smallest_size_meets_is_said_to_need_that_or_less():
    found = plan(hand_fit(CALM), target=0.9)
    assert found.labels_only.n_real.censored == "below"
    assert "fewer might do" in words(found)


# What is known and what is not.


def test_the_probability_counts_the_draws_in_which_this_purchase_is_cheaper():
    """Two of four draws say that synthetic images are worth nothing: there the purchase is a loss of its images."""
    useless = {**CALM, "rate": 0.0}
    costs = Costs(real=1.0, synthetic=0.1)
    for worse, verdict in ((1, MIX), (2, MIX), (3, LABELS)):
        draws = [CALM] * (4 - worse) + [useless] * worse
        found = plan(hand_fit(*draws), target=0.1, costs=costs)
        assert (found.probability, found.verdict) == (1 - worse / 4, verdict)
        assert found.saving.low == pytest.approx(-0.1 * found.mix.n_synthetic.point, rel=1e-3)
        assert found.mix.n_synthetic.low == 0
    assert "saves anything in 25% of the draws only" in words(found)


def test_laws_that_predict_as_well_widen_the_intervals_and_the_least_sure_one_decides():
    costs, sure = Costs(real=1.0, synthetic=0.1), hand_fit(CALM)
    other = hand_fit({**CALM, "rate": 0.01})
    both = plan(replace(sure, alternatives=(other,)), target=0.1, costs=costs)
    alone = plan(sure, target=0.1, costs=costs)
    assert (alone.verdict, both.verdict) == (MIX, LABELS)
    assert (alone.probability, both.probability) == (1.0, 0.0)
    assert both.mix.n_real.point == alone.mix.n_real.point
    assert both.mix.n_real.high > alone.mix.n_real.high
    assert both.saving.low < 0 < alone.saving.low


def test_what_lies_outside_the_measured_range_is_said():
    cheap = Costs(real=1.0, synthetic=1e-4)
    found = plan(hand_fit(CALM, m_max=10_000.0), target=0.1, costs=cheap)
    assert "the mix is extrapolated: no more than 10,000 synthetic images were measured" in words(found)
    assert "the mix is at the largest volume that a law is asked for" in words(found)
    assert "the mix is extrapolated: mixtures were measured beside 1,000 to 10,000 real images" in words(found)
    rejected = hand_fit(CALM, lack_of_fit=LackOfFit(3.0, (10, 30), 0.01))
    assert "the law does not fit the cells (p = 0.01)" in words(plan(rejected, target=0.1, costs=cheap))


def test_beside_an_extrapolated_mix_stands_the_best_of_what_was_measured():
    costs = Costs(real=1.0, synthetic=1e-4)
    found = plan(hand_fit(CALM, m_max=10_000.0), target=0.1, costs=costs)
    assert found.inside.n_synthetic.point == pytest.approx(10_000)
    assert found.inside.n_real.point == pytest.approx(real_size(0.1) - 4000 / 1.5, rel=1e-4)
    assert found.mix.cost.point < found.inside.cost.point < found.labels_only.cost.point
    assert "as far as measured" in found.to_text()
    assert plan(hand_fit(CALM), target=0.1, costs=Costs(real=1.0, synthetic=0.1)).inside is None


def test_a_generator_that_saw_more_real_images_makes_them_part_of_the_price():
    costs = Costs(real=1.0, synthetic=0.1)
    leaky = hand_fit(CALM, generators=((1000, 50_000), (10_000, 50_000)))
    found = plan(leaky, target=0.1, costs=costs)
    assert found.verdict == LABELS
    assert plan(leaky, target=0.1, costs=costs, n_generator=0).verdict == MIX
    mixed = hand_fit(CALM, generators=((1000, 50_000), (10_000, 20_000)))
    with pytest.raises(PlanError, match="the generators were fitted on 20000, 50000 real images; say which"):
        plan(mixed, target=0.1)


def test_contours_have_their_response_and_budget_lines_their_cost():
    fit, costs = hand_fit(CALM, {**CALM, "rate": 0.3}), Costs(real=2.0, synthetic=0.1, generator=10.0)
    found, law = plan(fit, target=0.1, costs=costs), LAWS["hyperbolic"]
    assert 0.1 in [line["response"] for line in found.contours]
    for line in found.contours:
        for n, m, low, high in zip(line["n_real"], line["n_synthetic"], line["low"], line["high"], strict=True):
            if n is not None:
                assert float(law.error(fit.point, n, m, n)) == pytest.approx(line["response"], rel=1e-4)
                assert (low or 0) <= n <= (high or np.inf)
    assert len(found.budget_lines) == 2
    for line in found.budget_lines:
        known = [(n, m) for n, m in zip(line["n_real"], line["n_synthetic"], strict=True) if n is not None]
        assert len(known) > 10
        for n, m in known:
            assert float(costs.of(n, m, n)) == pytest.approx(line["cost"], rel=1e-6)


def test_a_plan_is_strict_json_and_wraps_to_the_width():
    found = realfake.plan(hand_fit(CALM), target=0.1, costs=realfake.Costs(real=30.0, synthetic=0.01, unit="seconds"))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["verdict"] == MIX
    assert document["costs"]["unit"] == "seconds"
    assert document["sentence"].startswith("To reach an expected error of 0.1 with test_resnet, buy ")
    assert max(map(len, found.to_text(100).splitlines())) <= 100


@pytest.mark.parametrize("target", [1e-6, 0.1, 0.9])
def test_every_answer_is_strict_json(target):
    json.dumps(plan(hand_fit(CALM, {**CALM, "floor": 0.2}), target=target).to_json(), allow_nan=False)


def test_all_draws_cost_little_more_than_the_law_on_one_grid():
    fit = hand_fit(*({**CALM, "rate": 0.4 + 1e-3 * draw} for draw in range(400)))
    n, m = np.geomspace(500, 200_000, 65)[:, None], np.geomspace(1, 6e5, 81)
    started = time.perf_counter()
    np.log(LAWS["hyperbolic"].error(np.array(fit.draws).T[:, :, None, None], n, m, n))
    grid = time.perf_counter() - started
    started = time.perf_counter()
    plan(fit, target=0.1, costs=Costs(real=1.0, synthetic=0.1))
    assert time.perf_counter() - started < 30 * grid


def test_what_makes_no_sense_is_refused_in_a_sentence():
    fit = hand_fit(CALM)
    for asked in ({}, {"target": 0.1, "budget": 5.0}):
        with pytest.raises(PlanError, match="needs a target response or a budget, and not both"):
            plan(fit, **asked)
    with pytest.raises(PlanError, match="it must be above 0"):
        plan(fit, target=-1.0)
    with pytest.raises(PlanError, match="a budget of 10 buys less than the smallest real-only size"):
        plan(fit, budget=10.0)
    with pytest.raises(PlanError, match="no synthetic images"):
        plan(hand_fit(CALM, m_max=0.0), target=0.1)


# The command.


def asked(tmp_path, *arguments):
    path = tmp_path / "trials.csv"
    table(seeds=2, responses=("cross_entropy",)).to_csv(path, index=False)
    return CliRunner().invoke(cli.main, ["plan", "--table", str(path), "--response", "cross_entropy", *arguments])


def test_the_command_plans_from_a_table(tmp_path):
    done = asked(tmp_path, "--target-error", "0.1", "--real-cost", "1", "--synthetic-cost", "0.01", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["response"] == "cross_entropy"
    assert document["labels_only"]["n_real"]["point"] == pytest.approx(real_size(0.1), rel=0.1)


def test_the_command_refuses_to_guess_what_a_label_costs(tmp_path):
    done = asked(tmp_path, "--target-error", "0.1")
    assert done.exit_code == 2
    assert "nothing measures what a label costs; say it: --real-cost 30" in done.stderr
