"""What pools were worth, their accuracy scores, and rank correlations, against closed forms, scipy and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from realfake.intervals import Interval
from realfake.report import fidelity as section
from realfake.statistics import ranks
from realfake.statistics.pool_worths import SCORE, accuracy_scores, as_measures, pool_worths, worth_correlations

QUALITY = {50: 0.2, 120: 0.5, 280: 1.0}  # what a synthetic image is worth, by the generator's real images


def response(n):
    return 0.03 + 6.0 * n**-0.45


def study():
    """Ladder and mixtures of three draws; a pool of draw s beside n is worth QUALITY[n]·(1 + s/10) an image."""
    rows, pools, true = [], {}, {}
    for seed in (0, 1, 2):
        drawn = {"subset_seed": seed, "n_test": 1000}
        for n in (25, 50, 120, 280, 600, 1600, 6400):
            rows.append({**drawn, "n_real": n, "n_synthetic": 0, "arm": "real-only", "cross_entropy": response(n)})
        for n, quality in QUALITY.items():
            for ratio in (1, 4):
                worth = quality * (1 + seed / 10) * ratio * n
                own = {"n_real": n, "n_synthetic": ratio * n, "arm": "closed-set", "cross_entropy": response(n + worth)}
                rows.append({**drawn, **own})
                true[f"pool-{n}-{seed}"] = worth
        alone = {"n_real": 0, "n_synthetic": 800, "n_generator": 280, "arm": "closed-set", "cross_entropy": 0.9}
        rows.append({**drawn, **alone})
    table = pd.DataFrame(rows)
    table["n_generator"] = table["n_generator"].fillna(table["n_real"])
    table["address"] = [f"trial-{i}" for i in range(len(table))]
    table["error"] = table["cross_entropy"] / 4
    for row in table[table["n_synthetic"] > 0].itertuples():
        pools[row.address] = f"pool-{int(row.n_generator)}-{row.subset_seed}"
    return table, pools, true


def test_the_worth_of_a_pool_is_its_largest_volume_read_off_the_real_curve():
    table, pools, true = study()
    found = {row["pool"]: row for row in pool_worths(table, pools)}
    assert set(found) == set(true)
    assert [found[name]["equivalent"] for name in true] == pytest.approx(list(true.values()), rel=0.01)
    one = found["pool-120-2"]
    assert (one["n_real"], one["n_synthetic"], one["n_generator"], one["subset_seed"]) == (120, 480, 120, 2)
    assert one["relative"] == pytest.approx(one["equivalent"] / 120)
    assert not one["censored"]


def test_beyond_the_ladder_a_worth_is_its_end():
    table, pools, _ = study()
    table.loc[table["n_real"] == 120, "cross_entropy"] *= np.where(table["n_synthetic"] > 0, 0.01, 1)[
        table["n_real"] == 120
    ]
    worths = [row for row in pool_worths(table, pools) if row["n_real"] == 120]
    assert {(row["equivalent"], row["censored"]) for row in worths} == {(6400 - 120, True)}


def test_the_accuracy_score_is_that_of_synthetic_only_trials_beside_real_ones_of_the_same_draw():
    table, pools, _ = study()
    scores = accuracy_scores(table, pools)
    assert [(row["pool"], row["n_synthetic"], row["n_generator"]) for row in scores] == [
        (f"pool-280-{seed}", 800, 280) for seed in (0, 1, 2)
    ]
    score = Interval.from_json(scores[0]["score"])
    assert score.point == pytest.approx(1 - 0.9 / 4)
    assert score.low < score.point < score.high
    assert scores[0]["real"]["point"] == pytest.approx(1 - response(280) / 4)
    (first, *_) = as_measures(scores)
    assert first["measures"][0]["measure"] == SCORE


def test_a_measure_that_foretells_the_worth_is_told_from_one_that_follows_the_size():
    table, pools, true = study()
    truth = pool_worths(table, pools)
    measured = [
        {"pool": name, "measures": [{"measure": m, "space": "pixels", "value": v}]}
        for name, worth in true.items()
        for m, v in (("worth", worth), ("size", float(name.split("-")[1])))
    ]
    found = {row["measure"]: row for row in worth_correlations(truth, measured)}
    assert found["worth"]["equivalent"]["point"] == pytest.approx(1)
    assert found["worth"]["within_n"]["point"] == pytest.approx(1)
    assert found["size"]["equivalent"]["point"] > 0.9
    assert found["size"]["within_n"]["censored"] == "withheld"  # within one size it does not vary
    assert (found["size"]["pools"], found["size"]["clusters"]) == (9, 9)


def test_controls_are_left_out_of_a_second_look():
    table, pools, _ = study()
    worths = pool_worths(table, pools)
    again = [{**row, "arm": "repeat", "pool": f"{row['pool']}-again"} for row in worths[:3]]
    measured = [
        {"pool": row["pool"], "measures": [{"measure": "m", "space": "s", "value": row["equivalent"]}]}
        for row in (*worths, *again)
    ]
    found = worth_correlations([*worths, *again], measured, ["repeat"])
    assert [(row["among"], row["pools"]) for row in found] == [("every pool", 12), ("without controls", 9)]
    assert {row["among"] for row in worth_correlations(worths, measured, ["repeat"])} == {"every pool"}


# --------------------------------------------------------------------------------------------------------------- ranks


def test_coefficients_are_scipys():
    x, y = np.random.default_rng(0).integers(0, 6, (2, 20)).astype(float)  # with ties
    assert ranks.coefficient(x, y) == pytest.approx(spearmanr(x, y).statistic)
    two = np.repeat([0, 1], 10)
    parts = [ranks.coefficient(x[two == k], y[two == k]) for k in (0, 1)]
    assert min(parts) <= ranks.coefficient(x, y, two) <= max(parts)


def test_within_strata_a_common_cause_is_gone():
    random = np.random.default_rng(1)
    size = np.repeat(np.arange(5.0), 40)
    x, y = 3 * size + random.normal(size=200), 3 * size + random.normal(size=200)
    assert ranks.coefficient(x, y) > 0.9
    assert abs(ranks.coefficient(x, y, size)) < 0.2
    assert spearmanr(x - 3 * size, y - 3 * size).statistic == pytest.approx(ranks.coefficient(x, y, size), abs=0.05)


def test_the_jackknife_over_clusters_covers_where_independent_pairs_would_not():
    random, inside, naive = np.random.default_rng(2), 0, 0
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair with correlation 0.6
    cluster = np.repeat(np.arange(12), 4)
    half = np.linalg.cholesky([[1, 0.6], [0.6, 1]])
    for _ in range(120):
        shared, own = half @ random.normal(size=(2, 12)), half @ random.normal(size=(2, 48))
        x, y = np.sqrt(0.8) * shared[:, cluster] + np.sqrt(0.2) * own
        found, alone = ranks.clustered(x, y, cluster), ranks.spearman(x, y)
        inside += found.low <= truth <= found.high
        naive += alone.low <= truth <= alone.high
    assert inside / 120 == pytest.approx(0.95, abs=0.05)
    assert naive / 120 < 0.85


def test_what_cannot_be_ranked_says_so():
    x = np.arange(8.0)
    assert ranks.spearman(x, np.ones(8)).reason == ranks.CONSTANT
    assert ranks.clustered(x, x, np.arange(8) % 4).reason.startswith("4 clusters")
    perfect = ranks.clustered(x, x, np.arange(8))
    assert perfect.point == pytest.approx(1)
    assert perfect.low > 0.8


# ---------------------------------------------------------------------------------------------------------- the report


def test_the_report_tables_scores_and_correlations(tmp_path):
    table, pools, true = study()
    scores, worths = accuracy_scores(table, pools), pool_worths(table, pools)
    row = {"measure": "Fréchet distance", "low": 0.0, "high": 9.0, "space": "pixels"}
    counts = {"n_real": 50, "n_synthetic": 50, "n_held_out": 50, "arm": "closed-set", "space": "pixels"}
    found = [
        {**counts, "pool": name, "n_generator": int(name.split("-")[1]), "measures": [{**row, "value": 1 / worth}]}
        for name, worth in true.items()
    ]
    told = {"worths": worths, "scores": scores, "correlations": worth_correlations(worths, found)}
    page = section.sections(found, tmp_path, told).source.replace("\N{NO-BREAK SPACE}", " ")
    assert "Classification accuracy score" in page
    assert "[77.5, 77.5]" in page
    assert "Does any measure foretell the worth?" in page
    kept = pd.read_csv(tmp_path / "worth_correlations.csv")
    assert kept["equivalent"].tolist() == pytest.approx([-1.0])
    assert len(pd.read_csv(tmp_path / "pool_worths.csv")) == 9
    alone = section.sections(None, tmp_path, {"scores": scores}).source
    assert "Classification accuracy score" in alone
    assert "foretell" not in alone
