"""Which law: held-out cells, the set, what an answer spans, and verdicts on which laws disagree."""

import math
from dataclasses import replace

import numpy as np
import pytest

from realfake.intervals import Interval, spanning, withheld
from realfake.laws import LAWS
from realfake.statistics import choice
from realfake.statistics.analysis import analyse
from realfake.statistics.equivalence import Fit
from realfake.statistics.sentences import _verdict, disagreement
from realfake.statistics.trial_table import FitError
from tests.simulated import LADDER, SMALL, WANG_TRUTH, evidence_of, rng, small, table

SCALED = (0.03, 6.0, 0.45, 0.4, 2.0)
LAWS_TRIED = ("scaled", "hyperbolic", "exponential")


@pytest.fixture(scope="module")
def scaled():
    """A comparison where the scaled law is true, three replicates."""
    return choice.compare(table(SCALED, law="scaled", noise=0.01, rng=rng(3)), laws=LAWS_TRIED, bootstrap=60)


def test_the_true_law_is_in_the_set_and_a_wrong_one_is_not(scaled):
    in_set = {contender.law for contender in scaled.contenders if contender.in_set}
    assert "scaled" in in_set
    assert "hyperbolic" not in in_set
    assert scaled.fit.law == "scaled"


def test_wangs_law_is_found_where_it_is_true():
    rows = table(WANG_TRUTH, law="wang", noise=0.01, rng=rng(1))
    found = choice.compare(rows, laws=("hyperbolic", "scaled", "wang"), bootstrap=60)
    assert [c.law for c in found.contenders if c.in_set] == ["wang"]


def test_every_kind_of_cell_is_held_out():
    trials = evidence_of(table(**{**SMALL, "ladder": LADDER})).trials
    masks = list(choice.held_out_sets(evidence_of(table(**{**SMALL, "ladder": LADDER}))))
    held = [set(zip(trials.cells.n[mask], trials.cells.m[mask], strict=True)) for mask in masks]
    assert held[0] == {(n, 16 * n) for n in (1000, 2500, 5000)}
    assert held[1:-1] == [{(n, ratio * n) for ratio in (1, 4, 16)} for n in (1000, 2500, 5000)]
    assert held[-1] == {(200_000, 0)}


def test_the_held_out_error_is_that_of_a_fit_which_never_saw_the_cells():
    """Changing a held-out cell changes its own error and not the fit that predicts it."""
    evidence = evidence_of(table(SCALED, law="scaled", noise=0.01, **SMALL))
    mask = next(iter(choice.held_out_sets(evidence)))
    kept = evidence.only(~mask[evidence.trials.cells.of_trial])
    before = choice.point_fit(kept, LAWS["scaled"])
    moved = evidence.trials.log_response + 1.0 * mask[evidence.trials.cells.of_trial]
    spoiled = replace(evidence, trials=replace(evidence.trials, log_response=moved))
    errors = choice._squared_errors(spoiled, "scaled", mask)
    predicted = np.log(LAWS["scaled"].error(before, *(getattr(evidence.trials.cells, k)[mask] for k in SIZES)))
    np.testing.assert_allclose(errors, (evidence.trials.cell_means[mask] + 1.0 - predicted) ** 2)


SIZES = ("n", "m", "n_generator")


def test_an_answer_spans_the_laws_of_the_set(scaled):
    fit = scaled.fit
    assert fit.alternatives
    alone = [replace(one, alternatives=()).equivalent(5000, 20_000) for one in (fit, *fit.alternatives)]
    whole = fit.equivalent(5000, 20_000)
    assert whole.point == alone[0].point
    assert (whole.low, whole.high) == (min(a.low for a in alone), max(a.high for a in alone))
    assert dict(zip(fit.by_law(5000, 20_000), alone, strict=True)) == fit.by_law(5000, 20_000)
    assert Fit.from_json(fit.to_json()) == fit


def test_far_beyond_what_was_measured_the_answer_of_every_law_is_said(scaled):
    far = 5 * scaled.fit.measured.m_max
    alone = replace(scaled.fit, alternatives=()).error(5000, far)
    assert alone.censored == "withheld"
    answer = scaled.fit.error(5000, far)
    assert answer.reason.startswith("extrapolated more than 4 times beyond 160000: scaled ")
    assert "exponential " in answer.reason


def test_a_rejected_law_is_left_out_while_another_is_accepted():
    contenders = choice.compare(table(SCALED, law="scaled", noise=0.01), laws=LAWS_TRIED, bootstrap=60).contenders
    assert not any(contender.in_set and contender.rejected for contender in contenders)


def test_a_table_too_small_to_hold_anything_out_still_has_a_fit():
    rows = small(ladder=(1000, 2500, 5000, 10_000), bases=(2500,), ratios=(1, 2, 4, 8))
    found = choice.fit(rows, bootstrap=40)
    assert found.law in choice.CANDIDATES


def test_an_unknown_law_is_named_with_the_nearest():
    with pytest.raises(FitError, match="there is no law 'scald'; did you mean 'scaled'"):
        choice.compare(small(), laws=("scald",), bootstrap=20)


def test_the_table_of_laws_prints_and_is_plain(scaled):
    text = str(scaled)
    assert len(text.splitlines()) == 1 + len(LAWS_TRIED)
    rows = scaled.to_json()["laws"]
    assert {row["law"] for row in rows} == set(LAWS_TRIED)
    assert all(math.isfinite(row["held_out_error"]) for row in rows)


def test_the_span_of_answers_leaves_out_what_is_withheld():
    first = Interval(3.0, 2.0, 4.0)
    assert spanning([first, Interval(9.0, 1.0, 10.0), withheld("no")]) == Interval(3.0, 1.0, 10.0)
    assert spanning([withheld("no"), first]).censored == "withheld"
    assert spanning([first, Interval(9.0, 9.0, math.inf, "above")]).high == math.inf


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        (("more", "less"), "1 says more, 1 less"),
        (("more", "more", "unclear"), "2 say more, 1 not distinguishable"),
        (("unclear", "less", "unclear", "withheld"), "1 says less, 2 not distinguishable"),
        (("less", "unclear", "more"), "1 says more, 1 less, 1 not distinguishable"),
    ],
)
def test_laws_that_disagree_leave_no_verdict_and_the_interval_stands(signs, said):
    worth = Interval(10.0, -20.0, 40.0)
    text = _verdict(worth, beside_real=True, signs=dict(zip(choice.CANDIDATES, signs, strict=False)))
    assert text == f"have no verdict, for the laws disagree: {said}: worth 10 [-20, 40] more real images"


@pytest.mark.parametrize("signs", [{}, {"scaled": "more"}, {"scaled": "more", "wang": "more", "m4": "withheld"}])
def test_laws_that_agree_leave_the_verdict_to_the_interval(signs):
    assert disagreement(signs) == ""
    assert _verdict(Interval(10.0, 2.0, 40.0), beside_real=True, signs=signs).startswith("were worth 10.0")


def test_a_law_that_cannot_say_none_has_no_vote_for_a_trace():
    """Wang's worth is positive whatever its parameters; where there is none it comes near to 0 and is no gain."""
    rows = table(response=lambda n, m, generator: 0.03 + 6 * n**-0.45, noise=0.02, seeds=4, **SMALL)
    fit = choice.fit(rows, law="wang", bootstrap=60)
    answer = fit.equivalent(5000, 80_000)
    assert 0 < answer.low < 0.5
    assert (answer.sign, fit.signs(5000, 80_000)) == ("more", {"wang": "unclear"})


def test_the_document_holds_the_comparison_and_the_alternatives():
    document = analyse(table(SCALED, law="scaled", noise=0.01, **SMALL), bootstrap=60)
    (comparison,) = document["comparisons"]
    assert {row["law"] for row in comparison["laws"]} == set(choice.CANDIDATES)
    (fit,) = document["fits"]
    assert [fit["law"], *(other["law"] for other in fit["alternatives"])] == [
        row["law"] for row in comparison["laws"] if row["in_set"]
    ]


def test_a_set_that_leaves_too_little_for_every_law_is_not_held_out():
    """Without the real size that has three volumes only two mixed cells are left."""
    rows = table(SCALED, law="scaled", noise=0.01, ladder=LADDER[:4], bases=(2500, 5000), ratios=(1, 4, 16))
    rows = rows[~((rows["n_real"] == 2500) & (rows["n_synthetic"] == 2500))]
    found = choice.compare(rows, laws=("scaled", "hyperbolic", "peaked"), bootstrap=40)
    assert found.fit.law in ("scaled", "hyperbolic")
    assert found.held_out_cells == 2 + 2
    peaked = next(contender for contender in found.contenders if contender.law == "peaked")
    assert not peaked.in_set
    assert "too little for this law" in peaked.trouble or "too few" in peaked.trouble


@pytest.mark.parametrize(
    ("worth", "said"),
    [
        (
            Interval(0.0, -math.inf, 4.7, "below", floor=0.0),
            "were not distinguishable from 0: worth < 0.0 [< 0.0, 4.7]",
        ),
        (Interval(0.0, -math.inf, 0.0, "below", floor=0.0), "were worse than none: worth < 0 more"),
        (Interval(-10.0, -math.inf, -2.0, "below", floor=-10.0), "were worse than none: worth < -10.0 [< -10.0, -2."),
        (
            Interval(240.0, 110.0, math.inf, "above", ceiling=240.0),
            "were worth > 240 [110, > 240] more real images, be",
        ),
        (Interval(240.0, -50.0, math.inf, "above", ceiling=240.0), "were not distinguishable from 0: worth > 240 [-50"),
    ],
)
def test_a_censored_answer_is_judged_by_its_whole_interval(worth, said):
    assert _verdict(worth, beside_real=True, signs={}).startswith(said)
