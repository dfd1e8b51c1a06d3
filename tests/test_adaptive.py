"""A study that grows in rounds: what follows from the records, and nothing else. Records are simulated from a law."""

import dataclasses
import zlib

import numpy as np
import pytest

from realfake import Adaptive, ClosedSet, Pool, Recipe, SpecError, Study, Subset, Trial, address
from realfake.laws import LAWS
from realfake.planning.adaptive import grown
from realfake.records import sizes
from realfake.store import Store
from tests.conftest import DIGITS, DIGITS_TEST

RECIPE = Recipe(examples_seen=128, augment="none")
TRUTH = (0.03, 3.0, 0.5, 0.3, 6.0)


def trial(size, ratio=0, seed=0):
    real = Subset(of=DIGITS, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, steps=5, seed=seed), sampling_steps=2, seed=seed)
    synthetic = (Subset(of=pool, size=ratio * size),) if ratio else ()
    return Trial(real=real, synthetic=synthetic, test=DIGITS_TEST, recipe=RECIPE, seed=seed)


PILOT = (trial(25), trial(100), trial(800), *(trial(100, r) for r in (1, 4, 16)), *(trial(50, r) for r in (4, 16)))


def study(trials=14, batch=3, **more):
    return Study(name="rounds", trials=PILOT, adaptive=Adaptive(at=(100, 1600), trials=trials, batch=batch, **more))


def make(store, trials):
    """Write the record that each trial would leave: the law's response with noise of its address."""
    for one in trials:
        if store.has(one):
            continue
        size = sizes(one)
        at = (float(size["n_real"]), float(size["n_synthetic"]), float(size["n_real"]))
        noise = np.random.default_rng(zlib.crc32(address(one).encode())).normal(0, 0.03)
        response = float(LAWS["scaled"].error(TRUTH, *at)) * float(np.exp(noise))
        with store.making(one) as (_, result):
            measured = {"status": "ok", "cross_entropy": response, "error": response / 3, "n_test": 500}
            result.update(measured, real_budget=size["n_real"])


def run(asked, store):
    """Make round after round; return the number of trials after each."""
    counts = []
    while len(longer := grown(asked, store).trials) > (counts[-1] if counts else 0):
        counts.append(len(longer))
        make(store, longer)
    return counts


def test_a_study_grows_by_its_batch_until_it_has_its_trials(tmp_path):
    store = Store(tmp_path / "store")
    assert run(study(), store) == [8, 11, 14]


def test_a_round_waits_for_the_one_before(tmp_path):
    store = Store(tmp_path / "store")
    make(store, PILOT[:-1])
    assert grown(study(), store).trials == PILOT
    make(store, PILOT)
    first = grown(study(), store).trials
    make(store, first[:-1])
    assert grown(study(), store).trials == first


def test_asking_again_gives_the_same_trials(tmp_path):
    asked = study()
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    run(asked, one)
    run(asked, other)
    assert [address(t) for t in grown(asked, one).trials] == [address(t) for t in grown(asked, other).trials]


def test_new_trials_are_new_and_aim_at_the_operating_point(tmp_path):
    store = Store(tmp_path / "store")
    run(study(trials=20, batch=4), store)
    chosen = grown(study(trials=20, batch=4), store).trials[len(PILOT) :]
    assert len({address(t) for t in (*PILOT, *chosen)}) == 20
    near = [t for t in chosen if t.n_real == 100 or t.n_synthetic == 0]
    assert len(near) >= len(chosen) / 2


def test_a_study_without_rounds_stays_as_it_is(tmp_path):
    plain = Study(name="plain", trials=PILOT)
    make(Store(tmp_path / "store"), PILOT)
    assert grown(plain, Store(tmp_path / "store")) is plain


def test_rounds_change_no_address():
    assert [address(t) for t in study().trials] == [address(t) for t in Study(name="plain", trials=PILOT).trials]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"at": (100,)}, "give \\(n_real, n_synthetic\\)"),
        ({"at": (0, 5)}, "both at least 1"),
        ({"batch": 0}, "batch"),
        ({"law": "scald"}, "scaled"),
    ],
)
def test_rounds_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(SpecError, match=message):
        Adaptive(**{"at": (100, 1600), "trials": 20, **fields})


def test_the_interval_narrows_with_the_rounds(tmp_path):
    from realfake.planning.designs import half_width_now
    from realfake.queries import trials as table_of
    from realfake.statistics.fits import fit_evidence, gather
    from realfake.statistics.trial_table import normalised, select

    store, widths = Store(tmp_path / "store"), []
    for count in (8, 20):
        run(study(trials=count, batch=4), store)
        rows = table_of(dataclasses.replace(grown(study(trials=count, batch=4), store)), store=str(store.root))
        evidence = gather(select(normalised(rows), response="cross_entropy"), bootstrap=60, seed=0)
        widths.append(half_width_now(fit_evidence(evidence, law="scaled"), evidence, 100, 1600))
    assert widths[1] < widths[0]


@pytest.mark.parametrize(
    ("pilot", "message"),
    [
        ((trial(25), trial(100), trial(50, 4)), "asks beside 100 real images; the pilot mixes 50"),
        ((*PILOT, *(trial(25, seed=s) for s in range(1, 15))), "the pilot alone has 22 trials"),
        ((trial(25), trial(100, 4)), "needs real-only trials of two sizes"),
    ],
)
def test_a_pilot_that_could_not_be_fitted_is_refused_before_it_runs(pilot, message):
    with pytest.raises(SpecError, match=message):
        Study(name="rounds", trials=pilot, adaptive=Adaptive(at=(100, 1600), trials=20))
