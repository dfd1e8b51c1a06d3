"""Runs foretold: closed forms of the play, what counts as alike, and what a dry run says."""

import json
import math
from dataclasses import replace

import pytest
from click.testing import CliRunner

from realfake import forecast, foretold, timelines
from realfake.cli import main
from realfake.forecast import Play
from realfake.needs import needs
from realfake.rates import Overhead, Rates, likeness, overhead
from realfake.resources import Cluster, Synthesis, Training, Where
from realfake.samples import SHARD_ROWS
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial, address
from realfake.store import Store, tree
from tests.conftest import DIGITS, DIGITS_TEST

FIT, SHARD, TRIAL = 7.0, 3.0, 2.0  # seconds


def real(size=100, seed=0):
    return Subset(of=DIGITS, size=size, seed=seed)


def pool(seed=0, steps=300):
    return Pool(generator=ClosedSet(real=real(seed=seed), network="unet-xs", steps=steps, seed=seed), seed=seed)


def trial(seed=0, of=None, volume=0, size=100, **recipe):
    synthetic = (Subset(of=of, size=volume),) if of else ()
    recipe = Recipe(model="test_resnet", **(recipe or {"examples_seen": 6000}))
    return Trial(real=real(size, seed), synthetic=synthetic, test=DIGITS_TEST, recipe=recipe, seed=seed)


def play(store, *trials, beside=None):
    """Return a play of these trials in which all things of a kind take alike."""
    lacking = needs(trials, store)
    seconds = dict.fromkeys(lacking.trials, TRIAL) | dict.fromkeys(lacking.fits, FIT)
    seconds |= dict.fromkeys(lacking.pools, SHARD)
    return Play(lacking, store, seconds, beside or Overhead())


def wall(done):
    return max(one.ended for one in done)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.mark.parametrize(("n", "lanes"), [(1, 1), (5, 2), (6, 2), (7, 3), (3, 8)])
def test_equal_trials_take_as_many_rounds_as_lanes_need(store, n, lanes):
    done = play(store, *(trial(seed) for seed in range(n))).done(lanes, 1)
    assert wall(done) == math.ceil(n / lanes) * TRIAL
    assert len(done) == n


@pytest.mark.parametrize("actors", [1, 2, 3, 5])
def test_a_chain_takes_the_sum_and_its_images_share_the_actors(store, actors):
    chain = play(store, trial(of=pool(), volume=5 * SHARD_ROWS))
    assert wall(chain.done(4, actors)) == FIT + math.ceil(5 / actors) * SHARD + TRIAL
    longest = chain.longest()
    assert [one.name.split("-")[0] for one in longest] == ["closedset", "pool", "trial"]
    assert longest[-1].ended == FIT + SHARD + TRIAL


def test_without_ray_one_process_does_everything_one_after_another(store):
    both = play(store, trial(of=pool(), volume=2 * SHARD_ROWS), trial(1))
    assert wall(both.done(1, 0)) == FIT + 2 * SHARD + 2 * TRIAL


def test_a_trial_starts_when_its_own_volume_is_there(store):
    one = pool()
    small, large = trial(of=one, volume=SHARD_ROWS), trial(of=one, volume=4 * SHARD_ROWS)
    ended = {one.name: one.ended for one in play(store, small, large).done(1, 1)}
    assert ended[address(small)] == FIT + SHARD + TRIAL
    assert ended[address(large)] == FIT + 4 * SHARD + TRIAL


def test_the_same_play_twice_ends_alike_and_crosses_nothing_off(store):
    chain = play(store, trial(of=pool(), volume=3 * SHARD_ROWS), trial(of=pool(1), volume=SHARD_ROWS))
    assert chain.done(2, 1) == chain.done(2, 1)
    assert sum(map(len, chain.lacking.shards.values())) == 4


def test_what_a_run_takes_beside_the_work_is_added(store):
    beside = Overhead(lane_start=10.0, actor_start=30.0, between=0.5, end=4.0, runs=1)
    done = play(store, trial(of=pool(), volume=SHARD_ROWS), beside=beside).done(1, 1)
    assert [one.ended for one in done] == [10 + FIT, 30 + SHARD, 30 + SHARD + 0.5 + TRIAL]


# ------------------------------------------------------------------------------------------------------ measured before


def put(store, spec, seconds, device="x86_64", **result):
    """Keep a record of a thing that took so long."""
    with store.making(spec) as (_, kept):
        kept |= {"environment": {"device": device, "world_size": 1}, **result}
    path = store.folder(spec) / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))


def test_alike_is_what_differs_in_seeds_and_sizes_alone():
    def like(spec):
        return likeness(tree(spec))

    assert like(pool().generator).key == like(replace(pool(1).generator, real=real(50, 1))).key
    assert like(pool().generator).key != like(pool(steps=301).generator).key
    assert like(pool()).key == like(pool(1)).key != like(replace(pool(), sampling_steps=9)).key
    assert like(trial()).key == like(trial(1, of=pool(), volume=300)).key
    assert like(trial()).key != like(trial(epochs=3)).key
    assert like(trial(1, of=pool(), volume=300, size=50)).size == 350
    other = replace(
        trial(), test=Dataset(name="mnist5k", split="test"), real=Subset(of=Dataset(name="mnist5k"), size=100)
    )
    assert like(trial()).key != like(other).key


def test_a_record_from_before_a_field_was_added_is_alike():
    told = tree(trial())
    del told["recipe"]["weight_decay"]
    assert likeness(told).key == likeness(tree(trial())).key
    assert likeness(told).key != likeness({**told, "recipe": {**told["recipe"], "augment": "flip"}}).key


def test_seconds_are_a_line_in_the_images_of_things_alike(store):
    for seed, size in enumerate((100, 200, 400)):
        put(store, trial(seed, size=size), 3 + 0.01 * size)
    put(store, trial(8, size=800), 99.0, status="diverged")
    put(store, trial(9, size=800), 99.0, device="NVIDIA H100 80GB HBM3")
    assert Rates(store).seconds(trial(5, of=pool(), volume=500)) == pytest.approx(3 + 0.01 * 600)
    assert Rates(store).seconds(trial(5, epochs=3)) is None
    assert Rates(store, train_on_gpu=True).seconds(trial(5)) == 99.0
    assert Rates(store, workers=2).seconds(trial(5)) is None


def test_a_run_measures_what_it_takes_beside_the_work(store):
    assert overhead(store) == Overhead()
    for seed in (0, 1):
        put(store, trial(seed), TRIAL)
    started = {"run": "r", "kind": "run", "started": 100.0, "begun": 104.0, "lanes": 1, "actors": 1}
    bars = [
        {"kind": "trial", "address": address(trial(0)), "lane": "h:1", "started": 105.0, "seconds": TRIAL + 9},
        {"kind": "trial", "address": address(trial(1)), "lane": "h:1", "started": 120.0, "seconds": TRIAL + 0.5},
        {"kind": "images", "address": address(pool()), "lane": "h:2", "started": 108.0, "seconds": 1.0, "first": 0},
    ]
    lines = [started, *({"run": "r", **bar} for bar in bars), {"run": "r", "kind": "end", "ended": 125.5}]
    folder = store.study_folder("any")
    folder.mkdir(parents=True)
    (folder / timelines.FILE).write_text("\n".join(map(json.dumps, lines)))
    assert overhead(store) == Overhead(lane_start=14.0, actor_start=8.0, between=0.5, end=3.0, runs=1)


# --------------------------------------------------------------------------------------------------------- a dry run


def where(store, price=0.0, **cluster):
    shares = {"training": Training(lanes=2), "synthesis": Synthesis(actors=1)}
    return Where(store=str(store.root), cluster=Cluster(**{"cpus": 4, "price_per_hour": price, **cluster}), **shares)


def study(*seeds):
    return Study(name="told", trials=tuple(trial(seed) for seed in seeds))


def test_a_dry_run_tells_time_and_price_from_what_is_measured(store):
    for seed in range(3):
        put(store, trial(seed), 60.0)
    told = forecast.of_study(study(*range(3, 8)), where(store, price=36.0))
    assert told.seconds == 180.0  # five on two lanes
    assert told.cost == pytest.approx(1.8)
    assert told.busy == {"lanes": pytest.approx(5 / 6), "actors": 0.0}
    words = foretold.in_words(study(*range(3, 8)), where(store), told)
    assert "wall time: about 3:00 (the start of Ray" in words
    assert "would cost about 1.80" in words
    assert "trials       5  60.00 a trial  5:00" in words


def test_what_is_not_measured_is_said_and_makes_a_lower_bound(store):
    put(store, trial(0), 60.0)
    mixed = Study(name="told", trials=(trial(1), trial(2, of=pool(), volume=300)))
    told = forecast.of_study(mixed, where(store))
    assert told.unmeasured == {"closedset": 1, "pool shards": 2}
    assert told.seconds == 60.0
    assert told.better is None
    words = foretold.in_words(mixed, where(store), told)
    assert "wall time: at least 1:00" in words
    assert "not measured yet: 1 of closedset, 2 of pool shards" in words
    fresh = Store(store.root / "fresh")
    nothing = forecast.of_study(mixed, where(fresh))
    assert "wall time: not known before something alike is made" in foretold.in_words(mixed, where(fresh), nothing)


def test_a_better_division_of_the_same_processes_is_found(store):
    trials = [trial(seed, of=pool(seed), volume=8 * SHARD_ROWS) for seed in range(4)]
    chain = play(store, *trials)
    share = forecast.shares(replace(where(store), training=Training(lanes=3)), [forecast.Node(cpus=4)])
    better = forecast._better(chain, share, wall(chain.done(3, 1)))
    ends = {actors: wall(chain.done(4 - actors, actors)) for actors in (1, 2, 3)}
    assert better is not None
    assert (better["actors"], better["seconds"]) == min(ends.items(), key=lambda end: end[1])
    assert forecast._better(chain, share, better["seconds"]) is None  # already as good
    apart = replace(share, training_labels=("a=b",))
    assert forecast._better(chain, apart, 1e9) is None  # on other nodes: nothing to exchange


def test_a_cluster_that_nobody_told_of_has_no_times(store):
    there = where(store, address="auto", cpus=0)
    told = forecast.of_study(study(0), there)
    assert told.seconds is None
    assert "write in [cluster] of the --on file how many cpus" in foretold.in_words(study(0), there, told)
    alone = forecast.of_study(study(0), where(store, address="none"))
    assert "in one process" in foretold.place(where(store, address="none"), alone)


def test_the_command_prints_words_or_data(store, tmp_path):
    put(store, trial(0), 60.0)
    file = tmp_path / "told.py"
    file.write_text(
        "from realfake import Dataset, Recipe, Study, Subset, Trial\n"
        "train, test = Dataset(name='digits'), Dataset(name='digits', split='test')\n"
        "recipe = Recipe(model='test_resnet', examples_seen=6000)\n"
        "def trial(s):\n    return Trial(real=Subset(of=train, size=100, seed=s), test=test, recipe=recipe, seed=s)\n"
        "study = Study(name='told', trials=(trial(1), trial(2)))\n"
    )
    (tmp_path / "on.toml").write_text("[cluster]\ncpus = 2\nprice_per_hour = 2.5\n")
    ask = ["run", str(file), "--dry-run", "--store", str(store.root), "--on", str(tmp_path / "on.toml")]
    said = CliRunner().invoke(main, ask, catch_exceptions=False).output
    assert said.startswith(
        "told: 0 generators to fit, 0 images to make, 2 trials to train\nwhere: here (2 CPU): 2 lanes of"
    )
    data = json.loads(CliRunner().invoke(main, [*ask, "--json"], catch_exceptions=False).output)
    assert (data["seconds"], data["lower_bound"]) == (60.0, False)
    assert data["cost"] == pytest.approx(2.5 / 60)
    assert (data["share"]["lanes"], data["stages"][0]["count"]) == (2, 2)
    assert not (store.root / address(trial(1))).exists()
