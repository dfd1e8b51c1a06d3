"""Fits to simulated tables: the truth comes back, with honest intervals, and what cannot be answered is refused."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

from realfake.laws import LAWS, PEAKED, POWER, real_error
from realfake.statistics.fits import Fit, FitError, fit_law, gather
from realfake.statistics.inversion import invert, real_curve
from realfake.statistics.trial_table import normalised, select
from tests.simulated import (
    LADDER,
    PEAKED_TRUTH,
    SMALL,
    WANG_TRUTH,
    evidence_of,
    fit,
    mixtures_of,
    rng,
    several_arms,
    small,
    table,
)

CALM = (0.03, 6.0, 0.45, 0.4, 2.0, 1.0, 0.0)


def true_equivalent(n, m, truth=PEAKED_TRUTH, law="peaked"):
    return float(LAWS[law].equivalent(truth, float(n), float(m), float(n)))


def as_text(found):
    return json.dumps(found.to_json(), allow_nan=False)


# The truth comes back.


@pytest.mark.parametrize(("law", "truth"), [("peaked", PEAKED_TRUTH), ("wang", WANG_TRUTH)])
def test_a_table_without_noise_gives_back_its_parameters(law, truth):
    found = fit(table(truth, law=law, noise=0.0, seeds=2), law=law, bootstrap=20)
    np.testing.assert_allclose(found.point, truth, rtol=1e-4)
    assert found.status == "converged"
    assert not found.lack_of_fit.fails


@pytest.mark.parametrize(("law", "truth"), [("peaked", PEAKED_TRUTH), ("wang", WANG_TRUTH)])
def test_a_noisy_table_gives_back_the_surface(law, truth):
    found = fit(table(truth, law=law, noise=0.01, seeds=5), law=law, bootstrap=50)
    for n, m in ((1000, 4000), (5000, 5000), (10_000, 160_000)):
        assert found.error(n, m).point == pytest.approx(LAWS[law].error(truth, n, m, n), rel=0.01)
        assert found.equivalent(n, m).point == pytest.approx(true_equivalent(n, m, truth, law), rel=0.15)
    assert found.parameters["exponent"].point == pytest.approx(0.45, rel=0.05)


def test_the_median_equivalent_is_within_a_tenth_with_three_seeds():
    """Truth f(n) = 0.03 + 6·n^-0.45, rate 0.4, half volume 20,000 whatever the generator saw, noise of 2 %."""
    truth = (0.03, 6.0, 0.45, 0.4, 20_000.0, 0.0, 0.0)
    errors = []
    for seed in range(4):
        rows = table(truth, seeds=3, ladder=LADDER[:6], rng=rng(seed))
        found = fit(rows, bootstrap=20)
        for n, m in rows.loc[mixtures_of(rows), ["n_real", "n_synthetic"]].drop_duplicates().to_numpy():
            errors.append(abs(found.equivalent(n, m).point / true_equivalent(n, m, truth) - 1))
    assert np.median(errors) < 0.1


def test_the_real_only_curve_agrees_with_curve_fit():
    rows = table(noise=0.01, seeds=4)
    ladder = evidence_of(rows).ladder
    n = ladder.trials.cells.n[ladder.trials.cells.of_trial]
    theirs, _ = curve_fit(
        lambda n, *parameters: np.log(real_error(parameters, n)),
        n,
        ladder.trials.log_response,
        p0=(0.02, 5.0, 0.4),
        bounds=([0, 1e-9, 0.01], [1, 1e3, 3]),
    )
    ours = fit_law(ladder, POWER).point
    # curve_fit minimises squares and this a robust loss, so they agree within the noise, not to the digit
    np.testing.assert_allclose(real_error(ours, np.array(LADDER)), real_error(theirs, np.array(LADDER)), rtol=3e-3)
    assert ours[2] == pytest.approx(theirs[2], rel=0.02)


def test_an_outlier_moves_the_fit_little():
    rows = table(noise=0.01, seeds=5)
    spoiled = rows.copy()
    spoiled.loc[
        (rows["n_real"] == 5000) & (rows["n_synthetic"] == 20_000) & (rows["subset_seed"] == 0), "cross_entropy"
    ] *= 3
    clean, robust = fit(rows, bootstrap=20), fit(spoiled, bootstrap=20)
    assert robust.equivalent(5000, 20_000).point == pytest.approx(clean.equivalent(5000, 20_000).point, rel=0.1)


def test_harmful_images_have_a_negative_equivalent():
    harmful = (0.03, 6.0, 0.45, 0.02, 0.5, 1.0, 0.1)
    found = fit(table(harmful, seeds=3), bootstrap=100)
    worth = found.equivalent(5000, 20_000)
    assert worth.point == pytest.approx(true_equivalent(5000, 20_000, harmful), rel=0.1)
    assert worth.high < 0
    assert found.value(5000, 20_000).high < 0


def test_wangs_law_leaves_out_trials_on_synthetic_images_alone():
    rows = several_arms()
    both = pd.concat(
        [rows, rows[rows["arm"] == "alone"].assign(arm="closed-set", address=lambda t: t["address"] + "s")]
    )
    found = [fit(both, arm="closed-set", law=law, bootstrap=20) for law in ("peaked", "wang")]
    assert found[0].n_trials - found[1].n_trials == 3 * 9
    assert "the law 'wang' says nothing about synthetic images alone" in found[1].error(0, 1000, 1000).reason
    with pytest.raises(FitError, match="the arm 'alone' has 0 mixed cells, too few for the 2 parameters of the law"):
        fit(rows, arm="alone", law="wang", bootstrap=20)


# Questions to a fit.


@pytest.fixture(scope="module")
def calm():
    """A fit to a table of the peaked law without harm, three replicates."""
    return fit(table(CALM, noise=0.01), bootstrap=100)


def test_the_questions_agree_with_each_other(calm):
    assert calm.effective(2500, 10_000) == calm.equivalent(2500, 10_000).shifted(2500)
    assert calm.average_value(2500, 10_000) == calm.equivalent(2500, 10_000).scaled(1 / 10_000)
    assert calm.net(2500, 10_000, 4000) == calm.effective(2500, 10_000).shifted(-4000)
    step = calm.equivalent(2500, 10_010).point - calm.equivalent(2500, 9990).point
    assert calm.value(2500, 10_000).point == pytest.approx(step / 20, rel=1e-4)
    assert calm.equivalent(2500, 40_000).point < calm.cap(2500).point
    assert calm.cap(2500).point == pytest.approx(0.4 * 2.0 * 2500, rel=0.15)


def test_the_resolution_is_the_gain_of_one_half_width(calm):
    half_width = dict(calm.noise_half_widths)[2500.0]
    lower = real_error(calm.point, 2500) * np.exp(-half_width)
    assert real_error(calm.point, 2500 + calm.resolution(2500).point) == pytest.approx(lower)


def test_outside_the_measured_range_nothing_is_said(calm):
    assert "n_real 400 is outside the real-only ladder, 1000 to 200000" in calm.equivalent(400, 400).reason
    assert "more than 4 times the 160000" in calm.error(5000, 10**6).reason
    assert "extrapolated: measured to 160000" in calm.error(5000, 200_000).reason
    assert calm.replacement(1000).reason == "no trial was trained on synthetic images alone"
    assert calm.error(0, 1000, 1000).censored == "withheld"
    with pytest.raises(ValueError, match="cannot be negative"):
        calm.error(5000, -1)
    with pytest.raises(ValueError, match="an average over no images does not exist"):
        calm.average_value(5000, 0)


def test_a_fit_reads_back_equal_from_strict_json(calm):
    text = as_text(calm)
    again = Fit.from_json(json.loads(text))
    assert again == calm
    assert as_text(again) == text
    assert again.equivalent(2500, 10_000) == calm.equivalent(2500, 10_000)


def test_replacement_says_what_synthetic_images_alone_are_worth():
    rows = table(noise=0.01)
    alone = [
        {"n_real": 0, "n_synthetic": m, "n_generator": n, "arm": "closed-set", "subset_seed": seed, "trial_seed": n}
        | {"address": f"alone-{n}-{m}-{seed}", "cross_entropy": float(PEAKED.error(PEAKED_TRUTH, 0.0, m, n))}
        for n in (5000, 10_000)
        for m in (10_000, 40_000)
        for seed in range(3)
    ]
    found = fit(pd.concat([rows, pd.DataFrame(alone)], ignore_index=True), bootstrap=50)
    truth = float(PEAKED.equivalent(PEAKED_TRUTH, 0.0, 40_000.0, 10_000.0))
    assert found.replacement(40_000, 10_000).point == pytest.approx(truth, rel=0.1)
    with pytest.raises(ValueError, match="say n_generator= one of 5000, 10000"):
        found.replacement(40_000)


# What cannot be answered is refused in one sentence.


def only_ladder_size(rows):
    return rows[mixtures_of(rows) | (rows["n_real"] == 1000)]


def spoiled(rows, column, value, row=3):
    rows = rows.astype({column: object if isinstance(value, str) else float})
    rows.loc[row, column] = value
    return rows


def mixed_generators(rows):
    return spoiled(rows, "n_generator", 777.0, row=rows.index[mixtures_of(rows)][0])


REFUSED = {
    "no column": (lambda t: t.drop(columns="n_real"), "the table has no column 'n_real'"),
    "no response": (lambda t: t.drop(columns="cross_entropy"), "the table has no column 'cross_entropy' or 'error'"),
    "one real size": (only_ladder_size, "all real-only trials have n_real 1000; one size cannot say"),
    "no ladder": (lambda t: t[mixtures_of(t)], "the table has no real-only trials"),
    "constant": (lambda t: t.assign(cross_entropy=0.5), "cross_entropy is 0.5 in every trial; a constant response"),
    "not a number": (lambda t: spoiled(t, "cross_entropy", np.nan), "cross_entropy is not a number in 1 rows"),
    "infinite": (lambda t: spoiled(t, "cross_entropy", np.inf), "cross_entropy is not a number in 1 rows"),
    "negative response": (lambda t: spoiled(t, "cross_entropy", -0.1), "cross_entropy is -0.1 in one row"),
    "negative volume": (lambda t: spoiled(t, "n_synthetic", -5.0), "n_synthetic is -5 in row 3"),
    "size of text": (
        lambda t: spoiled(t, "n_real", "many"),
        "column 'n_real' has a value that is not a number in row 3",
    ),
    "copied row": (lambda t: pd.concat([t, t[:1]]), "the trial trial-0-1000-0 is in the table twice"),
    "same seeds": (lambda t: pd.concat([t, t[:1].assign(address="x")]), "two rows have the same sizes, arm and seeds"),
    "mixed generators": (mixed_generators, "mixes generators fitted on 777, 1000 real images at n_real 1000"),
    "unnamed arm": (lambda t: t.assign(arm="real-only"), "a row with n_synthetic above 0 has the arm 'real-only'"),
    "two arms": (lambda t: several_arms(), "the table has 3 arms with trials"),
    "two recipes": (lambda t: t.assign(recipe=t["subset_seed"].astype(str)), "the table has 2 recipes with trials"),
    "few mixtures": (
        lambda t: t[~mixtures_of(t) | (t["n_synthetic"] == 1000)],
        "the arm 'closed-set' has 1 mixed cell, too few for the 3 parameters of the law 'peaked'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_cannot_answer_is_refused(case):
    spoil, message = REFUSED[case]
    with pytest.raises(FitError) as refusal:
        fit(spoil(small()), bootstrap=20)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"law": "linear"}, "there is no law 'linear'; known are auto, hyperbolic, scaled, peaked, wang"),
        ({"arm": "open-set"}, "no trial has the arm 'open-set'; the table has 'closed-set'"),
        ({"recipe": "resnet"}, "no trial has the recipe 'resnet'"),
        ({"response": "error"}, "the table has no column 'error'"),
        ({"bootstrap": 19}, "bootstrap is 19; an interval needs at least 20 draws"),
        ({"per_image": {}}, "per_image has no cross_entropy of the trial"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(asked, message):
    with pytest.raises(FitError, match=message):
        fit(small(), **{"bootstrap": 20, **asked})


def test_too_few_single_cells_for_any_noise_are_refused():
    rows = table(seeds=1, ladder=(1000, 2500), bases=(1000,), ratios=(1, 4))
    with pytest.raises(FitError, match="every cell was run once and there are too few cells"):
        fit(rows, bootstrap=20)


# The answer depends on the table and the seed alone.


def test_the_order_of_rows_does_not_matter_and_the_seed_fixes_every_draw():
    rows = small()
    first = as_text(fit(rows, bootstrap=40, seed=1))
    assert as_text(fit(rows.sample(frac=1, random_state=2), bootstrap=40, seed=1)) == first
    assert as_text(fit(rows, bootstrap=40, seed=2)) != first


def test_diverged_trials_are_counted_and_left_out():
    rows = small().assign(status="ok")
    diverged = rows.copy()
    diverged.loc[[2, 20], ["status", "cross_entropy"]] = ["diverged", np.nan]
    found = fit(diverged, bootstrap=20)
    assert found.n_diverged == 2
    assert found.n_trials == len(rows) - 2
    assert replace(found, n_diverged=0) == fit(rows.drop([2, 20]), bootstrap=20)


def test_zero_errors_count_as_half_a_test_image():
    rows = small(responses=("error",)).assign(n_test=1000)
    rows.loc[4, "error"] = 0.0
    trials = select(normalised(rows), response="error")
    assert trials.log_response.min() == pytest.approx(np.log(0.5 / 1000))
    assert trials.notes == ("1 trials with error 0 count as half an error",)


def test_one_seed_takes_its_noise_from_the_residuals():
    found = fit(table(seeds=1, noise=0.03), bootstrap=100)
    assert found.noise == "residuals of the fit"
    assert found.n_replicates == 1
    assert found.lack_of_fit is None
    worth = found.equivalent(5000, 20_000)
    assert worth.low < true_equivalent(5000, 20_000) < worth.high


def test_one_seed_and_one_mixed_cell_take_their_noise_from_the_ladder():
    whole = table(seeds=1, noise=0.03)
    ladder = whole[whole["n_synthetic"] == 0].head(5)
    mixed = whole[whole["n_real"].isin(ladder["n_real"]) & (whole["n_synthetic"] > 0)].head(1)
    trials = select(normalised(pd.concat([ladder, mixed])), response="cross_entropy")
    gathered = gather(trials, bootstrap=50, seed=0)
    assert gathered.noise.method == "residuals of the fit"
    assert gathered.deviations.shape == (50, 6)
    assert gathered.noise.levels[-1].square.df == 2  # five sizes less a power law's three parameters


def test_one_subset_draw_is_noted():
    rows = small().assign(trial_seed=lambda t: t["subset_seed"], subset_seed=0)
    found = fit(rows, bootstrap=20)
    assert found.notes == ("one subset draw: intervals hold for it alone, replicates differ in trial_seed",)
    assert found.n_replicates == 2


def test_what_a_small_table_cannot_fix_is_held_and_said():
    found = fit(small(ladder=(1000, 50_000), bases=(2500, 5000)), bootstrap=20)
    assert found.parameters["floor"].point == 0
    assert found.parameters["generator_exponent"].point == 1
    assert "floor held at 0: it needs three real-only sizes" in found.reason
    assert "generator_exponent held at 1: it needs three generator sizes" in found.reason


# Beyond the ladder an answer is a bound.


def kinked(n, m, generator):
    """A response that halves at an effective size of 6,000: no power law runs through it."""
    effective = n + 0.5 * m
    return effective**-0.3 * np.where(effective > 6000, 0.5, 1.0)


def inverted(**more):
    """The method of the real-only curve, and the equivalent of every (n, m)."""
    rows = table(CALM, noise=0.002, ladder=(1000, 2500, 5000, 10_000), bases=(1000, 2500), ratios=(1, 4, 40), **more)
    evidence = evidence_of(rows)
    curve, cells = real_curve(evidence), evidence.trials.cells
    return curve.method, dict(zip(zip(cells.n, cells.m, strict=True), invert(evidence, curve), strict=True))


def test_inversion_by_a_power_law_gives_back_the_truth():
    method, found = inverted()
    assert method == "power law"
    for n, m in ((1000, 1000), (2500, 2500), (2500, 100_000)):
        assert found[n, m].point == pytest.approx(true_equivalent(n, m, CALM), rel=0.1)
        assert found[n, m].low < true_equivalent(n, m, CALM) < found[n, m].high


def test_inversion_by_interpolation_gives_bounds_beyond_the_ladder():
    method, found = inverted(response=kinked)
    assert method == "interpolation"
    assert found[1000, 1000].point == pytest.approx(500, rel=0.1)
    assert found[1000, 40_000].censored == "above"
    assert (found[1000, 40_000].point, found[1000, 40_000].floor) == (9000, 0)
    assert str(found[1000, 40_000]) == "> 9,000"
    assert str(found[10_000, 0]).startswith("0")  # the end of the ladder is no more than itself


def test_what_is_worse_than_the_smallest_ladder_size_is_a_bound():
    rows = small()
    rows.loc[rows["n_synthetic"] == 80_000, "cross_entropy"] *= 10
    evidence = evidence_of(rows)
    worth = invert(evidence, real_curve(evidence))[int(evidence.trials.cells.m.argmax())]
    assert worth.censored == "below"
    assert worth.point == 1000 - 5000


def test_a_law_is_censored_at_the_ends_of_the_ladder_too():
    generous = (0.03, 6.0, 0.45, 1.0, 50.0, 1.0, 0.0)
    found = fit(table(generous, ladder=LADDER[:5], bases=(2500, 5000, 10_000)), bootstrap=50)
    worth = found.equivalent(10_000, 160_000)
    assert worth.censored == "above"
    assert worth.point == 15_000
    assert found.value(10_000, 160_000).censored == "withheld"


# Coverage and the test of the law.


def test_the_interval_covers_the_truth():
    """40 studies of three replicates that share their subset draws; 200 equivalents, nominally 95 %."""
    places = [(1000, 1000), (1000, 16_000), (2500, 10_000), (5000, 20_000), (5000, 80_000)]
    covered = []
    for seed in range(40):
        found = fit(table(shared=0.03, by_size=0.02, rng=rng(seed), **SMALL), bootstrap=100, seed=seed)
        for n, m in places:
            worth = found.equivalent(n, m)
            covered.append(worth.low <= true_equivalent(n, m) <= worth.high)
    assert np.mean(covered) >= 0.8
    assert found.equivalent(2500, 10_000).high < 4 * true_equivalent(2500, 10_000)  # not by saying nothing


def test_lack_of_fit_is_rarely_seen_where_the_law_holds():
    """A test at 5 % of 60 tables in which the law is true: more than nine refusals have a chance of 1 in 1,000."""
    tables = (table(shared=0.03, by_size=0.02, rng=rng(100 + seed), **SMALL) for seed in range(60))
    assert sum(fit(rows, bootstrap=80).lack_of_fit.fails for rows in tables) <= 9


def test_lack_of_fit_is_seen_where_the_law_is_wrong():
    def wave(n, m, generator):
        return real_error(CALM, n) * (1 + 0.3 * np.sin(np.log1p(m)))

    assert fit(table(response=wave), bootstrap=80).lack_of_fit.fails
    assert not fit(table(), bootstrap=80).lack_of_fit.fails
