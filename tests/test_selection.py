"""Weighted draws without replacement, against enumeration, numpy's Philox and the Gumbel distribution."""

import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats

from realfake.syn2real import selection

DISTANCE = np.array([2.0, 5.0, 8.0, 14.0, 28.0, 60.0])


def drawn_sets(temperature, draws, n=3):
    """How often each set of n of the six items is drawn, over as many seeds."""
    counts = dict.fromkeys(itertools.combinations(range(len(DISTANCE)), n), 0)
    ids = np.arange(len(DISTANCE))
    for seed in range(draws):
        chosen = selection.order(ids, selection.keys(ids, DISTANCE, temperature, seed))[:n]
        counts[tuple(sorted(chosen.tolist()))] += 1
    return counts


def exact_sets(temperature, n=3):
    """The chance of each set, summed over every sequence of n draws in proportion to exp(−d/τ)."""
    weight = np.exp(-DISTANCE / temperature)
    chances = dict.fromkeys(itertools.combinations(range(len(DISTANCE)), n), 0.0)
    for sequence in itertools.permutations(range(len(DISTANCE)), n):
        left, chance = weight.sum(), 1.0
        for item in sequence:
            chance *= weight[item] / left
            left -= weight[item]
        chances[tuple(sorted(sequence))] += chance
    return chances


def fit_of(counts, chances):
    """The chi-square p-value of counts, sets that are expected fewer than five times taken together."""
    seen, total = np.array(list(counts.values())), sum(counts.values())
    expected = np.array(list(chances.values())) * total
    rare = expected < 5
    pool = [np.append(part[~rare], part[rare].sum()) for part in (seen, expected)]
    return stats.chisquare(*([part[:-1] for part in pool] if pool[1][-1] == 0 else pool), sum_check=False).pvalue


def test_draws_are_those_of_sequential_weighted_sampling_without_replacement():
    counts = drawn_sets(temperature=5.0, draws=8000)
    assert fit_of(counts, exact_sets(5.0)) > 1e-3
    assert fit_of(counts, exact_sets(6.0)) < 1e-6  # the check would see a slightly wrong temperature


def test_an_infinite_temperature_draws_every_item_as_often():
    counts = drawn_sets(temperature=math.inf, draws=4000)
    assert fit_of(counts, exact_sets(1e12)) > 1e-3
    assert max(exact_sets(1e12).values()) == pytest.approx(1 / 20)


def test_a_small_temperature_draws_the_nearest_and_a_large_n_draws_all():
    ids = np.arange(100, 200)
    distance = np.random.default_rng(0).uniform(0, 50, 100)
    sequence = selection.order(ids, selection.keys(ids, distance, 1e-6, seed=3))
    assert sequence.tolist() == ids[np.argsort(distance)].tolist()
    assert sorted(sequence[:1000].tolist()) == ids.tolist()


def test_keys_belong_to_the_id_and_the_seed_whatever_the_partition():
    ids = np.random.default_rng(1).permutation(1000)
    distance = np.random.default_rng(2).uniform(0, 400, 1000)
    whole = selection.keys(ids, distance, 5.0, seed=4)
    parts = [selection.keys(ids[i : i + 77], distance[i : i + 77], 5.0, seed=4) for i in range(0, 1000, 77)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, selection.keys(ids, distance, 5.0, seed=5))


def test_ties_go_by_id_and_what_was_taken_is_left_out():
    ids, keys = np.array([7, 3, 9, 1]), np.array([0.5, 0.5, 2.0, 0.5])
    assert selection.order(ids, keys).tolist() == [9, 1, 3, 7]
    assert selection.order(ids, keys, without=[3, 9, 55]).tolist() == [1, 7]
    assert selection.order(ids, keys, without={1, 3, 7, 9}).tolist() == []
    assert selection.order(ids[:0], keys[:0]).tolist() == []


def test_the_noise_is_numpys_philox_and_gumbel_distributed():
    key = np.array([2**64 - 5, 17], np.uint64)
    for counter in (1, 2, 255, 2**33 + 7, 2**63 + 11):
        theirs = np.random.Philox(key=key, counter=counter - 1).random_raw()
        assert selection.philox(np.array([counter], np.uint64), 2**64 - 5, 17)[0] == theirs
    assert stats.kstest(selection.gumbel(np.arange(50_000), seed=0), stats.gumbel_r.cdf).pvalue > 1e-3


def test_the_papers_pool_is_ordered_in_less_than_half_a_second():
    ids, distance = np.arange(17_280), np.random.default_rng(0).uniform(0, 300, 17_280)
    started = time.process_time()
    assert len(selection.order(ids, selection.keys(ids, distance, 5.0, seed=0))) == 17_280
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("ids", "distance", "temperature", "why"),
    [
        ([1, 2], [1.0, math.nan], 5.0, "1 of 2 distances are not finite"),
        ([1, 2], [1.0, math.inf], 5.0, "leave those images out"),
        ([1, 2], [1.0, 2.0], 0.0, "use a positive number"),
        ([1, 2], [1.0, 2.0], math.nan, "use a positive number"),
        ([1, 2], [1.0, 2.0], 1e-320, "too small"),
        ([1, 2], [1.0], 5.0, "do not pair up"),
        ([1.5, 2], [1.0, 2.0], 5.0, "whole numbers"),
    ],
)
def test_what_gives_no_weights_is_refused(ids, distance, temperature, why):
    with pytest.raises(ValueError, match=why):
        selection.keys(np.array(ids), np.array(distance), temperature, seed=0)


def test_an_order_of_unclear_keys_is_refused():
    with pytest.raises(ValueError, match="occurs twice"):
        selection.order(np.array([1, 1]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="NaN"):
        selection.order(np.array([1, 2]), np.array([0.0, math.nan]))
