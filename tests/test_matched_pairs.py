"""Wang et al.'s own procedure: known answers, scipy's fits of the same pairs, censoring, coverage."""

import json
import re

import numpy as np
import pytest
from scipy.optimize import curve_fit, least_squares

from realfake import wang
from realfake.intervals import Interval
from realfake.report.appendix import fits as fits_section
from realfake.statistics.analysis import analyse
from realfake.statistics.matched_pairs import PUBLISHED_C2, match
from realfake.statistics.trial_table import FitError
from realfake.statistics.wang_formula import fit_pairs, residuals
from tests.simulated import SMALL, evidence_of, mixtures_of, rng, table

EXACT = (0.0, 6.0, 0.45, 2e-5, 1.3)  # without a floor the ladder is a line in logarithms, so reading it is exact
PLACES = {
    "ladder": (1000, 2500, 5000, 10_000, 25_000, 50_000),
    "bases": (1000, 2500, 5000, 10_000),
    "ratios": (1, 2, 4, 8),
}


def exact(**changes):
    return table(EXACT, law="wang", **{"noise": 0.0, "seeds": 2, **PLACES, **changes})


def matched(rows, **more):
    return wang(rows, response="cross_entropy", **{"bootstrap": 60, **more})


def test_a_noiseless_table_gives_back_the_constants():
    found = matched(exact())
    assert found.parameters["ln_c1_over_k"].point == pytest.approx(EXACT[3], rel=1e-5)
    assert found.parameters["ln_c2"].point == pytest.approx(EXACT[4], rel=1e-6)
    assert found.c2.point == pytest.approx(np.exp(EXACT[4]), rel=1e-6)
    assert (found.n_pairs, found.n_censored, found.dropped, found.status) == (16, 0, 0.0, "converged")
    assert max(abs(pair.residual) for pair in found.pairs) < 1e-5
    assert found.typical_miss == pytest.approx(1)


def test_the_pairs_are_those_of_a_ladder_read_by_hand():
    found = matched(exact())
    pair = next(pair for pair in found.pairs if (pair.n_real, pair.n_synthetic) == (2500, 10_000))
    u, s = 4.0, np.exp(EXACT[3] * 2500)
    assert pair.n_real_added == pytest.approx(2500 * np.log(1 + u / s) / EXACT[4], rel=1e-9)


def hand_made(seed=0, noise=0.15):
    """Pairs of three bases with noise in ln u, and one far off."""
    generator = rng(seed)
    n = np.repeat([100.0, 400.0, 1600.0], 4)
    r = np.tile([0.3, 0.8, 1.5, 2.5], 3) * generator.uniform(0.8, 1.2, 12)
    log_u = 2e-4 * n + np.log(np.expm1(1.1 * r)) + generator.normal(0, noise, 12)
    log_u[5] += 1.5
    return n, r, log_u


def formula(where, a, b):
    n, r = where
    return a * n + np.log(np.expm1(b * r))


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_are_those_of_curve_fit(seed):
    n, r, log_u = hand_made(seed)
    expected, _ = curve_fit(formula, (n, r), log_u, p0=(1e-4, 1.0), xtol=1e-14, ftol=1e-14)
    a, log_b = fit_pairs(n, log_u, r[None], np.ones((1, 12), bool), scale=np.inf)[0]
    np.testing.assert_allclose((a, np.exp(log_b)), expected, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_robust_fit_is_scipy_s_soft_l1(seed):
    n, r, log_u = hand_made(seed)
    scaled = least_squares(
        lambda where: formula((n / 1000, r), *where) - log_u,
        (0.1, 1.0),
        loss="soft_l1",
        f_scale=0.2,
        xtol=1e-14,
        ftol=1e-14,
    )
    a, log_b = fit_pairs(n, log_u, r[None], np.ones((1, 12), bool), scale=0.2)[0]
    np.testing.assert_allclose((1000 * a, np.exp(log_b)), scaled.x, rtol=1e-5)
    assert abs(a - 2e-4) < 1e-4  # the far pair does not carry it away


def test_many_sets_of_pairs_are_fitted_as_each_alone_and_unusable_pairs_are_not_seen():
    n, r, log_u = hand_made()
    usable = rng(1).uniform(size=(30, 12)) < 0.8
    many = np.where(usable, r * rng(2).uniform(0.9, 1.1, (30, 12)), 1.0)
    together = fit_pairs(n, log_u, many, usable, scale=0.2)
    for row in range(30):
        keep = usable[row]
        one = fit_pairs(n[keep], log_u[keep], many[row : row + 1, keep], np.ones((1, keep.sum()), bool), scale=0.2)
        np.testing.assert_allclose(together[row], one[0], rtol=1e-4, atol=1e-7)
    left = residuals(n, log_u, many, together)
    assert np.isfinite(left).all()


def test_one_base_size_fixes_s_and_c2_and_says_so():
    rows = exact()
    found = matched(rows[~mixtures_of(rows) | (rows["n_real"] == 2500)])
    assert found.status == "one base size"
    assert found.parameters["ln_c1_over_k"].censored == "withheld"
    assert "all pairs have n_real 2500" in found.reason
    assert found.parameters["ln_s"].point == pytest.approx(EXACT[3] * 2500, rel=1e-4)
    assert found.c2.point == pytest.approx(np.exp(EXACT[4]), rel=1e-5)


def test_pairs_beyond_the_ladder_are_counted_and_never_invented():
    rows = exact(ladder=(1000, 2500, 5000, 10_000, 12_000))
    harmful = mixtures_of(rows) & (rows["n_real"] == 1000) & (rows["n_synthetic"] == 8000)
    rows.loc[harmful, "cross_entropy"] *= 3
    found = matched(rows)
    kinds = {(pair.n_real, pair.n_synthetic): pair for pair in found.pairs}
    worse, better = kinds[1000, 8000], kinds[10_000, 80_000]
    assert (worse.censored, worse.n_real_added, worse.residual) == ("below", None, None)
    assert (better.censored, better.n_real_added, better.residual) == ("above", None, None)
    assert found.n_pairs + found.n_censored == 16
    assert found.n_censored >= 2
    assert found.c2.point == pytest.approx(np.exp(EXACT[4]), rel=1e-4)


def test_with_too_few_pairs_there_is_no_fit_and_the_reason():
    rows = exact()
    rows.loc[mixtures_of(rows), "cross_entropy"] *= 3
    found = matched(rows)
    assert (found.status, found.n_pairs, found.n_censored) == ("no fit", 0, 16)
    assert found.c2.reason == "0 of 16 pairs lie within the ladder; two parameters need two"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["n_censored"] == 16


def test_pairs_lost_in_simulated_studies_widen_the_interval_and_are_reported():
    rows = exact(noise=0.05, ladder=(1000, 2500, 5000, 10_000, 20_000), seeds=3)
    found = matched(rows, bootstrap=200)
    assert 0 < found.dropped < 0.5
    assert found.c2.low < found.c2.point < found.c2.high


def test_tables_that_cannot_answer_are_refused():
    rows = exact()
    with pytest.raises(FitError, match="no trial with synthetic images beside real ones; nothing to match"):
        wang(rows[~mixtures_of(rows)], response="cross_entropy", arm="real-only")
    with pytest.raises(FitError, match="the table has no column 'error'"):
        wang(rows)
    with pytest.raises(FitError, match="no trial has the arm 'open-set'"):
        matched(rows, arm="open-set")


def test_intervals_cover_as_often_as_they_say():
    """60 studies of 3 replicates, noise shared by draws: 0.95 expected, 2 SE are 0.06."""
    covered = np.zeros(2)
    for study in range(60):
        rows = exact(noise=0.02, shared=0.02, seeds=3, rng=rng(study))
        found = match(evidence_of(rows, bootstrap=100)).parameters
        intervals = (found["ln_c1_over_k"], found["ln_c2"])
        covered += [i.low <= truth <= i.high for i, truth in zip(intervals, EXACT[3:], strict=True)]
    assert (covered / 60 >= 0.85).all()


# ---------------------------------------------------------------------------------------------------------- the answer


def test_the_document_holds_it_beside_the_joint_fit_and_the_report_prints_both():
    rows = table(EXACT, law="wang", noise=0.01, **SMALL)
    document = analyse(rows, bootstrap=60)
    (entry,) = document["wang"]
    pairs, joint = (Interval.from_json(c2) for c2 in (entry["pairs_fit"]["c2"], entry["c2"]))
    assert pairs.low < np.exp(EXACT[4]) < pairs.high
    assert joint.high - joint.low < pairs.high - pairs.low  # the joint fit uses the responses themselves
    page = fits_section(document).source
    assert "c2 by matched pairs" in page
    assert re.search(r"9 pairs, missed by a factor of 1\.\d\d at the median, 0 beyond the ladder; converged", page)
    assert "second-hand" in page
    assert all(f"{c2:g}" in page for _, _, c2 in PUBLISHED_C2)


def test_an_arm_without_evidence_says_why():
    rows = table(EXACT, law="wang", **SMALL)
    (entry,) = analyse(rows[mixtures_of(rows)], bootstrap=60)["wang"]
    assert entry["pairs_fit"]["status"] == "no fit"
    assert "no real-only trials" in entry["pairs_fit"]["reason"]
