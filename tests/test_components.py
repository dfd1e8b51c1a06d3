"""Variance components of a nested design: a textbook's, restricted maximum likelihood's, and what to repeat."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from realfake import replicated
from realfake.statistics import components
from realfake.statistics.components import estimate, nested, replicate, variance_components

LEVELS = ("subset draw", "generator", "pool", "training")


def test_the_turnip_greens_of_snedecor_and_cochran():
    """Calcium of 4 plants, 3 leaves of each, 2 determinations a leaf (Statistical Methods, nested classifications):
    printed are mean squares 2.5201, 0.3288, 0.0067 and variances 0.3652, 0.1610, 0.0067."""
    calcium = (
        *(3.28, 3.09, 3.52, 3.48, 2.88, 2.80, 2.46, 2.44, 1.87, 1.92, 2.19, 2.19),
        *(2.77, 2.66, 3.74, 3.44, 2.55, 2.55, 3.78, 3.87, 4.07, 4.12, 3.31, 3.31),
    )
    sources = {"plant": np.repeat(range(4), 6), "leaf": np.repeat(range(12), 2), "own": np.arange(24)}
    found = estimate(np.array(calcium), sources)
    assert [round(one.sd.point**2, 4) for one in found] == [0.3652, 0.1611, 0.0067]
    assert [one.df for one in found] == [3, 8, 12]
    assert sum(one.share for one in found) == pytest.approx(1)


def rows(draws=5, generators=3, pools=2, trainings=2, sds=(0.1, 0.05, 0.03, 0.04), seed=0, alone=0):
    """The table of one mixed cell, nested in all seeds; and of `alone` trainings on each draw by itself."""
    random, found = np.random.default_rng(seed), []
    shared = random.normal(0, sds[0], draws)
    for draw in range(draws):
        for generator in range(generators):
            of_generator = shared[draw] + random.normal(0, sds[1])
            for pool in range(pools):
                of_pool = of_generator + random.normal(0, sds[2])
                seeds = (draw, generator, pool)
                found += [(200, 800, *seeds, t, of_pool + random.normal(0, sds[3])) for t in range(trainings)]
        found += [(200, 0, draw, 0, 0, t, shared[draw] + random.normal(0, sds[3])) for t in range(alone)]
    names = ["n_real", "n_synthetic", "subset_seed", "generator_seed", "pool_seed", "trial_seed", "log"]
    table = pd.DataFrame(found, columns=names)
    return table.assign(cross_entropy=np.exp(table.pop("log"))).assign(seconds=4.0)


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.ConvergenceWarning")
def test_four_levels_are_those_of_restricted_maximum_likelihood():
    """In a balanced design the two agree where nothing is clipped (Searle et al. 1992, §4.8)."""
    mixed_model = pytest.importorskip("statsmodels.regression.mixed_linear_model").MixedLM
    table = rows(4, 2, 2, 2, (1.0, 0.8, 0.6, 0.4), seed=3)
    sources = nested(table)
    ours = [one.sd.point**2 for one in estimate(np.log(table["cross_entropy"].to_numpy()), sources)]
    frame = pd.DataFrame({"y": np.log(table["cross_entropy"]), **sources}).rename(columns={"subset draw": "draw"})
    within = {"a": "0 + C(generator)", "b": "0 + C(pool)"}
    fitted = mixed_model.from_formula("y ~ 1", groups="draw", re_formula="1", vc_formula=within, data=frame).fit()
    theirs = [float(fitted.cov_re.iloc[0, 0]), *map(float, fitted.vcomp), float(fitted.scale)]
    assert min(ours) > 0.01
    np.testing.assert_allclose(ours, theirs, rtol=5e-3)


def test_the_interval_of_the_finest_level_is_the_exact_one():
    from scipy.stats import chi2

    table = rows()
    values = np.log(table["cross_entropy"].to_numpy())
    *_, own = estimate(values, nested(table))
    within = pd.Series(values).groupby(nested(table)["pool"]).transform("mean")
    square = float(((values - within) ** 2).sum())
    assert own.df == 30
    assert own.sd.point == pytest.approx(math.sqrt(square / 30))
    assert own.sd.low == pytest.approx(math.sqrt(square / chi2.ppf(0.975, 30)), rel=0.01)
    assert own.sd.high == pytest.approx(math.sqrt(square / chi2.ppf(0.025, 30)), rel=0.01)


def test_intervals_hold_the_truth_about_as_often_as_they_say(monkeypatch):
    """Of 100 simulated designs with six draws: 95 % ± 2.2 %."""
    monkeypatch.setattr(components, "DRAWS", 800)
    truth, held = (0.1, 0.05, 0.03, 0.04), np.zeros(4)
    for seed in range(100):
        table = rows(6, 2, 2, 2, truth, seed=seed)
        found = estimate(np.log(table["cross_entropy"].to_numpy()), nested(table))
        held += [one.sd.low <= sd <= one.sd.high for one, sd in zip(found, truth, strict=True)]
    assert (held >= 89).all()
    assert held[3] < 100


def test_every_cell_has_the_sources_that_its_seeds_tell_apart():
    mixed, alone = variance_components(rows(alone=4))[::-1]
    assert [one["source"] for one in mixed["components"]] == list(LEVELS)
    assert [one["count"] for one in mixed["components"]] == [5, 15, 30, 60]
    assert [one["source"] for one in alone["components"]] == ["subset draw", "training"]
    assert (mixed["trials"], alone["trials"], mixed["response"]) == (60, 20, "cross_entropy")


def test_seeds_that_change_together_are_one_source_and_one_source_is_not_told_apart():
    table = rows(pools=1)
    assert list(nested(table)) == ["subset draw", "generator", "training"]
    together = table.assign(generator_seed=table["subset_seed"], trial_seed=range(len(table)))
    assert list(nested(together)) == ["subset draw", "training"]
    one_each = rows(draws=6, generators=1, pools=1, trainings=1)
    assert variance_components(one_each) == []


def test_diverged_trials_are_left_out():
    table = rows()
    worst = table.assign(status=["diverged", *["ok"] * 59])
    worst.loc[0, "cross_entropy"] = 1e9
    assert variance_components(worst)[0]["trials"] == 59
    assert variance_components(worst)[0]["components"][3]["sd"]["point"] < 0.1


# ---------------------------------------------------------------------------------------------------- what to repeat

VARIANCES = dict(zip(LEVELS, (0.01, 0.004, 0.002, 0.009), strict=True))
COSTS = dict(zip(LEVELS, (200.0, 40.0, 5.0, 1.0), strict=True))


def mean_variance(counts, draws):
    made = list(itertools.accumulate(counts, int.__mul__))
    return sum(v / (draws * n) for v, n in zip(VARIANCES.values(), made, strict=True))


def test_nothing_else_tells_more_for_the_money():
    """By brute force over designs that cost as much: with as many draws as the money buys, none has less variance."""
    best = replicate(VARIANCES, COSTS)
    counts = tuple(best.each.values())
    money = 1e6
    for other in itertools.product((1,), range(1, 6), range(1, 6), range(1, 8)):
        cost = sum(COSTS[k] * n for k, n in zip(LEVELS, itertools.accumulate(other, int.__mul__), strict=True))
        assert mean_variance(counts, money / best.seconds) <= mean_variance(other, money / cost) + 1e-15
    assert best.sd**2 == pytest.approx(mean_variance(counts, 1))


def test_the_numbers_are_those_of_the_formula():
    """n_k = √(c_{k−1} V_k / (c_k V_{k−1})) (Cochran 1977), here chosen so that all are whole."""
    variances = dict(zip(LEVELS, (0.02, 0.02 * 4 / 5, 0.02 * 4 / 5 * 9 / 8, 0.02 * 4 / 5 * 9 / 8 * 4 / 5), strict=True))
    assert list(replicate(variances, COSTS).each.values()) == [1, 2, 3, 2]


def test_what_tells_nothing_is_made_once():
    assert replicate({"subset draw": 0.01, "training": 0.0}, {"subset draw": 0.0, "training": 4.0}).each == {
        "subset draw": 1,
        "training": 1,
    }
    only_training = replicate({"pool": 0.0, "training": 0.01}, {"pool": 9.0, "training": 1.0})
    assert only_training.each["training"] == components.MOST


def test_the_advice_takes_what_things_cost_from_the_table():
    table = rows().assign(generator_seconds=40.0, pool_seconds=3.0)
    found = variance_components(table)[0]
    assert found["costs"] == {"subset draw": 0.0, "generator": 40.0, "pool": 3.0, "training": 4.0}
    assert found["replication"]["each"]["generator"] == 1  # another draw of real images costs nothing more
    tied = variance_components(rows(generators=1, pools=1).assign(generator_seconds=40.0, pool_seconds=3.0))[0]
    assert tied["costs"] == {"subset draw": 43.0, "training": 4.0}
    assert variance_components(rows())[0]["replication"] is None


def test_the_table_and_the_advice_in_words():
    table = rows(alone=4).assign(generator_seconds=40.0, pool_seconds=3.0, arm="closed-set")
    (text,) = replicated.block({"components": variance_components(table)}, 120)
    lines = text.splitlines()
    assert lines[1].split() == ["cell", "source", "seeds", "SD", "in", "%", "share", "of", "the", "variance"]
    assert any(line.startswith("200 real-only") and "subset draw" in line for line in lines)
    assert any(line.startswith("200 + 800 closed-set") for line in lines)
    told = " ".join(text.split())
    assert "(a generator 40 s, a pool 3 s, a training 4 s), 1 generator for each subset draw, " in told
    assert "for each generator and " in told
    assert replicated.block({"components": []}, 120) == replicated.block({}, 120) == []


def test_the_report_has_the_table_where_seeds_are_nested():
    from realfake.report.components import sections

    page = sections({"components": variance_components(rows())}).source
    assert replicated.TITLE in page
    assert all(f"<td>{source}</td>" in page for source in LEVELS)
    assert sections({"components": []}).source == ""
