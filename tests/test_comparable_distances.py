"""Distances between training sets of unequal size: one distribution, growing n; what falls by itself and what not."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from realfake import measures, records
from realfake.representation.distances import at_equal_counts
from realfake.representation.gaussians import gaussian
from realfake.representation.mahalanobis import expected_distance
from realfake.representation.sampling import Sampled
from realfake.spec import DistanceRule
from realfake.tasks import detection, detection_measures
from realfake.tasks.comparable_distances import of_equal_counts, relative_to, true_medians
from realfake.tasks.feature_gaussians import Ruler, read_population
from realfake.tasks.keeping import Found, detect
from tests.tiny_scenes import evaluated, learn, scenes

D, TEST = 16, 400
SIZES = (40, 160, 640)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("learned"))


# ------------------------------------------------------------------------------- one distribution, growing sample sizes


def looked(n, seed, shift=0.7, spread=1.2):
    """What a look measures when n training detections and the test set's are drawn from the same two distributions."""
    random = np.random.default_rng([n, seed])
    mixing = np.random.default_rng(1).normal(size=(D, D)) / 4 + np.eye(D)
    train, home = (random.normal(size=(k, D)) @ mixing for k in (n, TEST))
    here = (shift + spread * random.normal(size=(TEST, D))) @ mixing
    rule = DistanceRule(ridge=0.0)
    ruler = Ruler.of({0: gaussian(train)}, rule)
    told = [_numbers(features, ruler, {0: train}, rule) for features in (home, here)]
    return told[1] | relative_to(told[0], told[1]) | _ranked(told)


def _numbers(features, ruler, sample, rule):
    zeros, score = np.zeros(len(features), np.int64), np.full(len(features), 0.6)
    found = Found(zeros, zeros, np.zeros((len(features), 4)), score, features, zeros)
    right = np.arange(len(features)) % 2 == 0
    matches = SimpleNamespace(correct=right[None, None], false=~right[None, None])
    away = ruler.distance(found)
    numbers = detection_measures._of_distances(found, away, ruler, matches)
    numbers |= of_equal_counts(found, sample, rule, matches)
    quantiles = {
        "ranked_median": float(np.median(away)),
        "ranked_spread": float(np.ptp(np.quantile(away, (0.05, 0.95)))),
    }
    return numbers | {"distribution_gap": float(away.mean()), "distance_objects": float(np.median(away))} | quantiles


def _ranked(told):
    """The pool's distances are those of ``here``; the critic's own test set is ``home``."""
    ranked = {name: told[1][name] for name in ("ranked_median", "ranked_spread")}
    name = {"name": "aerial-urban", "fingerprint": ""}
    critic = SimpleNamespace(
        real=SimpleNamespace(of=records.Dataset(**name)), test=records.Dataset(split="test", **name)
    )
    store = SimpleNamespace(record=lambda spec: {"result": {"distance_objects": told[0]["distance_objects"]}})
    return records._relative(ranked, SimpleNamespace(critic=critic), store)


@pytest.fixture(scope="module")
def by_size():
    """Every measure at each number of training detections: means of 12 replicates."""
    found = {n: [looked(n, seed) for seed in range(12)] for n in SIZES}
    return {n: {name: float(np.mean([one[name] for one in rows])) for name in rows[0]} for n, rows in found.items()}


RAW = (
    "distance_true_0.1",
    "distance_false_0.1",
    "distribution_gap",
    "distance_objects",
    "ranked_median",
    "ranked_spread",
)
IMMUNE = (
    *("rho_0.1", "distance_true_0.1_at_32", "distance_false_0.1_at_32", "distance_true_0.1_relative"),
    *("distance_false_0.1_relative", "ranked_median_relative"),
)


@pytest.mark.parametrize("name", RAW)
def test_raw_distances_fall_though_nothing_is_better_represented(by_size, name):
    values = [by_size[n][name] for n in SIZES]
    expected = [expected_distance(n, D) for n in SIZES]
    assert values[0] > values[1] > values[2]
    if name != "ranked_spread":  # its tails are heavier besides
        assert values[0] / values[2] == pytest.approx(expected[0] / expected[2], rel=0.15)
    assert expected[0] / expected[2] > 1.7
    assert name in measures.BY_COUNT


@pytest.mark.parametrize("name", IMMUNE)
def test_comparable_ones_stay(by_size, name):
    values = [by_size[n][name] for n in SIZES]
    assert max(values) / min(values) < 1.12
    assert name not in measures.BY_COUNT


def test_a_relative_spread_still_falls_with_few_and_is_not_called_comparable(by_size):
    """One factor cancels, the heavier tails of distances to few training detections do not."""
    values = [by_size[n]["ranked_spread_relative"] for n in SIZES]
    assert values[0] > 1.15 * values[1]
    assert values[1] == pytest.approx(values[2], rel=0.1)
    assert "ranked_spread_relative" in measures.BY_COUNT


def test_comparable_ones_move_when_the_test_set_is_farther_away():
    near, far = ([looked(80, seed, shift=shift) for seed in range(6)] for shift in (0.2, 1.2))
    for name in IMMUNE:
        assert np.mean([one[name] for one in far]) > 1.5 * np.mean([one[name] for one in near])


# --------------------------------------------------------------------------------------------------------- equal counts


def test_a_sample_is_the_same_in_any_parts_and_takes_each_row_as_often():
    rows = np.arange(3000, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    whole, parts = Sampled(500, 2), Sampled(500, 2)
    whole.add(rows)
    for part in np.array_split(rows, 7):
        parts.add(part)
    assert np.array_equal(whole.rows, parts.rows)
    assert len(np.unique(whole.rows[:, 0])) == 500
    firsts = []
    for seed in range(200):
        drawn = Sampled(30, 2, seed)
        drawn.add(rows[:300])
        firsts.append((drawn.rows[:, 0] < 100).sum())
    assert np.mean(firsts) == pytest.approx(10, abs=4 * np.std(firsts) / np.sqrt(200))
    few = Sampled(500, 2)
    few.add(rows[:40])
    assert sorted(few.rows[:, 0]) == list(range(40))


def test_the_look_of_a_trial_gives_distances_at_equal_counts_again(learned):
    kept = read_population(learned.folder / "gaussian.npz")
    assert len(kept.sample[0]) == learned.result["n_population"] == kept.gaussians[0].count
    again = gaussian(kept.sample[0])
    assert np.allclose(again.scatter, kept.gaussians[0].scatter, rtol=1e-5)
    model = detection.load(learned.folder, learned.trial)
    found = detect(model, learned.test.images)
    away = at_equal_counts({"": kept.sample[0]}, found.feature, count=32, repeats=10)[""]
    table = pq.read_table(learned.folder / "detections.parquet")
    matched, ignored = (np.array(table[name].to_pylist())[:, 0] for name in ("matched", "ignored"))
    right = matched & ~ignored & (found.score >= 0.1)
    assert learned.result["distance_true_0.1_at_32"] == pytest.approx(np.median(away[right]), rel=1e-4)
    too_many = next(n for n in measures.COUNTS if n > learned.result["n_population"])
    assert learned.result[f"distance_true_0.1_at_{too_many}"] is None


def test_a_class_that_has_too_few_leaves_the_measure_open():
    random = np.random.default_rng(0)
    rule, n = DistanceRule(), 60
    category = np.arange(n) % 2
    found = Found(category * 0, category, np.zeros((n, 4)), np.ones(n), random.normal(size=(n, 4)), category * 0)
    matches = SimpleNamespace(correct=np.ones((1, 1, n), bool), false=np.zeros((1, 1, n), bool))
    rows = random.normal(size=(70, 4))
    both = of_equal_counts(found, {0: rows, 1: rows}, rule, matches)
    assert np.isfinite(both["distance_true_0.1_at_64"])
    assert np.isnan(both["distance_true_0.1_at_128"])
    assert np.isnan(of_equal_counts(found, {0: rows, 1: rows[:40]}, rule, matches)["distance_true_0.1_at_64"])
    assert np.isnan(of_equal_counts(found, {}, rule, matches)["distance_true_0.1_at_32"])  # trials made before
    wide = Found(category * 0, category * 0, found.box, found.score, random.normal(size=(n, 40)), category)
    assert np.isnan(of_equal_counts(wide, {0: random.normal(size=(70, 40))}, rule, matches)["distance_true_0.1_at_32"])


# ----------------------------------------------------------------------------------------------- relative to the source


def test_a_trial_is_its_own_unit_and_an_evaluation_is_told_in_it(learned, tmp_path):
    home = true_medians(pq.read_table(learned.folder / "detections.parquet"))
    for least in measures.SCORES:
        assert home[f"distance_true_{least}"] == pytest.approx(learned.result[f"distance_true_{least}"])
        assert learned.result[f"distance_true_{least}_relative"] == 1
    other = scenes("garden", 12, seed=1)
    found = evaluated(learned, other, tmp_path)
    ratio = found["distance_false_0.1"] / home["distance_true_0.1"]
    assert found["distance_false_0.1_relative"] == pytest.approx(ratio)


def test_without_a_test_set_of_the_trained_domain_there_is_no_unit(learned, tmp_path):
    elsewhere = dataclasses.replace(learned.trial, test=records.Dataset(name="elsewhere", split="test"))
    assert records.tests_at_home(learned.trial)
    assert not records.tests_at_home(elsewhere)
    made = dataclasses.replace(learned, trial=elsewhere)
    assert "distance_true_0.1_relative" not in evaluated(made, learned.test, tmp_path)


# ----------------------------------------------------------------------------------------------------------- the words


def test_everything_that_is_measured_of_a_detector_has_words(learned):
    found = {name: value for name, value in learned.result.items() if name.startswith(records.OF_DETECTORS)}
    found = {name for name, value in found.items() if value is None or isinstance(value, int | float)}
    assert found - set(measures.OF_DETECTORS) == set()
    assert len(set(measures.WORDS.values())) == len(measures.WORDS)
    never = {name for name in measures.OF_DETECTORS if name not in learned.result}
    assert {name.split("_")[0] for name in never} == {"average", "ranked"}  # by another protocol, and of rounds


def test_measures_are_found_by_names_like_theirs():
    assert measures.near("distance_tru_0.1", measures.WORDS)[0] == "distance_true_0.1"
    assert "ap50_error" in measures.near("ap50", measures.WORDS)
    assert measures.near("zzz", measures.WORDS) == []
    assert measures.in_per_cent("ap_t2t_0.1") == "AP_t2t at 0.1, %"
    assert measures.words("rho_0.1") == "ρ at 0.1"
    assert measures.words("unheard of") == "unheard of"
