"""Which trial drew on which pool, which arms are controls, and what a study says of its pools; nothing is trained."""

import pandas as pd
import pytest

from realfake import pooled, records
from realfake.results import digest
from realfake.spec import Evaluation, Pool, Relabel, Study, Subset, address
from realfake.statistics.pool_worths import SCORE
from tests import tiny


def fitted(size, seed):
    return Pool(generator=tiny.closed_set(real=tiny.real(size, seed=seed), seed=seed))


def mixed(size, seed, of=None, alone=False):
    real = None if alone else tiny.real(size, seed=seed)
    return tiny.trial(real=real, synthetic=(Subset(of=of or fitted(size, seed), size=2 * size),), seed=seed)


SEEDS = (0, 1, 2)
LADDER = [tiny.trial(real=tiny.real(n, seed=s), seed=s) for n in (25, 50, 100, 200, 400) for s in SEEDS]
MIXED = [mixed(n, s) for n in (50, 100) for s in SEEDS]
ALONE = [mixed(100, s, alone=True) for s in SEEDS]
CONTROLS = [
    mixed(50, s, of=Pool(generator=Relabel(generator=tiny.closed_set(real=tiny.real(50, seed=s), seed=s))))
    for s in SEEDS
]
STUDY = Study(name="pools", trials=(*LADDER, *MIXED, *ALONE, *CONTROLS))


def row(trial):
    """A row of the study's table: synthetic images are worth half a real one, alone and beside; permuted ones none."""
    arm = records.arms(STUDY.trials)[address(trial)]
    worth = 0 if "permuted" in arm else 0.5 * trial.n_synthetic + trial.seed
    value = 0.1 + 5 * (trial.n_real + worth) ** -0.5
    named = {"arm": arm, "recipe": "", "address": address(trial), "status": "ok", "n_test": 500}
    return {**records.sizes(trial), **named, "cross_entropy": value, "error": value / 5}


TABLE = pd.DataFrame([row(trial) for trial in STUDY.trials])


def likeness(trial, value):
    measures = [{"measure": "Fréchet distance", "space": "pixels", "value": value}]
    return {"arm": "", "pool": address(trial.synthetic[0].of), "n_generator": trial.n_real, "measures": measures}


def test_worths_scores_and_ranks_are_those_of_the_pools():
    found = pooled.by_pool(STUDY, TABLE, [likeness(t, -t.n_synthetic - t.seed) for t in (*MIXED, *CONTROLS)])
    worths = {one["pool"]: one["equivalent"] for one in found["worths"]}
    assert set(worths) == {address(trial.synthetic[0].of) for trial in (*MIXED, *CONTROLS)}
    assert worths[address(fitted(100, 2))] == pytest.approx(102, rel=0.02)
    assert {(one["pool"], one["n_generator"]) for one in found["scores"]} == {
        (address(fitted(100, seed)), 100) for seed in SEEDS
    }
    ranked = {(one["among"], one["measure"]): one for one in found["correlations"]}
    without = ranked["without controls", "Fréchet distance"]
    assert (without["pools"], without["equivalent"]["point"]) == (6, pytest.approx(-1))
    assert ranked["every pool", "Fréchet distance"]["pools"] == 9
    assert ranked["every pool", SCORE]["pools"] == 3


def test_controls_are_arms_of_no_generator_of_their_own():
    assert pooled.controls(STUDY) == ["closed-set permuted"]


def test_a_trial_and_its_evaluations_share_a_pool():
    on = Evaluation(of=MIXED[0], on=tiny.trial().test)
    study = Study(name="more", trials=STUDY.trials, evaluations=(on,))
    assert pooled._pools(study)[address(on)] == address(fitted(50, 0))


def test_nothing_is_said_where_nothing_was_measured():
    some = Study(name="some", trials=(*LADDER, *MIXED))
    assert pooled.by_pool(some, TABLE[TABLE["n_real"] > 0], []) == {}


def test_what_was_measured_of_images_is_part_of_what_an_analysis_rests_on():
    rows = [{"address": "trial-1"}]
    assert digest(rows, STUDY) == digest(rows, STUDY, [])
    assert digest(rows, STUDY) != digest(rows, STUDY, [likeness(MIXED[0], 1.0)])
