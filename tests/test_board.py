"""The state of a run: what is needed, in which order it becomes ready, and what a failure blocks. No Ray, no torch."""

import io

import pytest

from realfake.board import RETRIES
from realfake.needs import needs
from realfake.progress import Progress, clock, line, read, state, time_left
from realfake.samples import SHARD_ROWS, shard_name
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Repeat, Subset, Trial, address
from realfake.store import Store
from tests.by_hand import OK, board, make_record, make_shard, shard

TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")
RECIPE = Recipe(examples_seen=100)


def pool(size=50, **changes):
    return Pool(**{"generator": ClosedSet(real=Subset(of=TRAIN, size=size)), **changes})


def trial(volume=0, size=50, **changes):
    synthetic = (Subset(of=changes.pop("of", pool(size)), size=volume),) if volume else ()
    real = Subset(of=TRAIN, size=size)
    return Trial(**{"real": real, "synthetic": synthetic, "test": TEST, "recipe": RECIPE, **changes})


def test_needs_are_trials_then_shards_of_the_largest_volume_then_generators(tmp_path):
    found = needs([trial(), trial(100), trial(600)], Store(tmp_path))
    assert len(found.trials) == 3
    assert found.shards == {address(pool()): {0, 256, 512}}
    assert list(found.fits) == [address(pool().generator)]
    assert found.images == 3 * SHARD_ROWS


def test_a_generator_is_not_needed_when_its_images_are_there(tmp_path):
    store = Store(tmp_path)
    make_shard(store, pool(), 0)
    found = needs([trial(100)], store)
    assert not found.fits
    assert not found.images
    assert len(found.trials) == 1


def test_a_deleted_shard_under_made_trials_is_needed_again_and_nothing_else(tmp_path):
    store = Store(tmp_path)
    trials = [trial(300)]
    make_record(store, trials[0])
    make_record(store, pool().generator)
    for first in (0, 256):
        make_shard(store, pool(), first)
    assert needs(trials, store).nothing
    (store.folder(pool()) / shard_name(256)).unlink()
    found = needs(trials, store)
    assert found.shards == {address(pool()): {256}}
    assert not found.trials
    assert not found.fits


def test_a_corrupt_shard_is_removed_and_needed_again(tmp_path):
    store = Store(tmp_path)
    for first in (0, 256):
        make_shard(store, pool(), first)
    assert needs([trial(300)], store).images == 0
    path = store.folder(pool()) / shard_name(0)
    data = bytearray(path.read_bytes())
    data[data.index(b"IHDR") + 5] ^= 1
    path.write_bytes(bytes(data))
    assert needs([trial(300)], store).shards == {address(pool()): {0}}
    assert not path.exists()


def test_generators_with_most_to_make_go_first_then_trials_in_order(tmp_path):
    small, large = trial(100, size=50), trial(900, size=100)
    ladder = trial(size=200)
    made, _ = board(tmp_path, [ladder, small, large])
    assert [made.next() for _ in range(3)] == [
        address(pool(100).generator),
        address(pool(50).generator),
        address(ladder),
    ]
    assert made.next() is None
    assert not made.over()


def test_a_trial_is_ready_when_its_own_volume_is_there(tmp_path):
    early, late = trial(100), trial(600)
    made, sent = board(tmp_path, [early, late])
    fit = made.next()
    made.finished(fit, OK)
    assert [first for _, first in sent] == [0, 256, 512]
    assert made.next() is None
    made.shard_made(shard(pool(), 0))
    assert made.next() == address(early)
    for first in (512, 256):
        assert made.next() is None
        made.shard_made(shard(pool(), first))
    assert made.next() == address(late)
    for name in (address(early), address(late)):
        made.finished(name, OK)
    assert made.over()
    assert made.synthesis_over()
    assert not made.failed


def test_small_volumes_of_all_pools_come_before_large_ones_of_any(tmp_path):
    store = Store(tmp_path)
    for size in (50, 100):
        make_record(store, pool(size).generator)
    made, sent = board(tmp_path, [trial(900, size=50), trial(900, size=100)])
    made.feed()
    assert [first for _, first in sent] == sorted(first for _, first in sent)


def test_only_so_many_shards_are_sent_ahead(tmp_path):
    make_record(Store(tmp_path), pool().generator)
    made, sent = board(tmp_path, [trial(2000)], ahead=3)
    made.feed()
    assert len(sent) == 3
    made.shard_made(shard(pool(), sent[0][1]))
    assert len(sent) == 4


def test_what_fails_blocks_only_what_holds_it(tmp_path):
    other = trial(100, size=100)
    made, _ = board(tmp_path, [trial(), trial(100), other])
    names = [made.next(), made.next()]
    bad = address(pool(50).generator)
    made.finished(bad, {"error": "ValueError: no"})
    made.finished(next(n for n in names if n != bad), OK)
    made.shard_made(shard(pool(100), 0))
    assert {made.next(), made.next()} == {address(trial()), address(other)}
    assert address(trial(100)) in made.failed
    assert "ValueError: no" in made.failed[address(trial(100))]
    assert made.next() is None


def test_a_diverged_generator_is_a_result_that_blocks_its_trials(tmp_path):
    made, sent = board(tmp_path, [trial(100)])
    made.finished(made.next(), {"status": "diverged", "seconds": 1.0})
    assert not sent
    assert made.over()
    assert "diverged" in made.failed[address(trial(100))]
    make_record(Store(tmp_path), pool().generator, status="diverged")
    again, _ = board(tmp_path, [trial(100)])
    assert again.over()
    assert "diverged" in again.failed[address(trial(100))]


def test_a_pool_that_cannot_be_made_fails_its_trials(tmp_path):
    make_record(Store(tmp_path), pool().generator)
    made, _ = board(tmp_path, [trial(100), trial()])
    made.feed()
    made.shard_made(shard(pool(), 0, error="StoreError: no space left"))
    assert "no space left" in made.failed[address(trial(100))]
    assert made.next() == address(trial())


def test_the_end_of_the_pipeline_fails_what_waits_for_images_only(tmp_path):
    make_record(Store(tmp_path), pool().generator)
    made, _ = board(tmp_path, [trial(100), trial()])
    made.feed()
    made.synthesis_failed("gone")
    assert list(made.waiting) == [address(trial())]
    assert made.failed[address(trial(100))].endswith("gone")


def test_a_spec_whose_lane_died_is_tried_again_but_not_for_ever(tmp_path):
    made, _ = board(tmp_path, [trial()])
    for _ in range(RETRIES + 1):
        made.finished(made.next(), {"error": "the process of its lane died", "lost": True})
    assert made.over()
    assert address(trial()) in made.failed


def test_a_trial_that_met_a_corrupt_shard_waits_until_it_is_made_again(tmp_path):
    store = Store(tmp_path)
    make_shard(store, pool(), 0)
    made, sent = board(tmp_path, [trial(100)])
    name = made.next()
    path = store.folder(pool()) / shard_name(0)
    path.write_bytes(b"broken")
    made.finished(name, {"error": "CorruptShard: …", "path": str(path)})
    assert [first for _, first in sent] == [0]
    assert made.next() is None
    make_shard(store, pool(), 0)
    made.shard_made(shard(pool(), 0))
    assert made.next() == name


def test_controls_without_a_fit_are_due_at_once(tmp_path):
    repeat = Pool(generator=Repeat(real=Subset(of=TRAIN, size=50)))
    made, sent = board(tmp_path, [trial(100, of=repeat)])
    assert not made.needs.fits
    made.feed()
    assert [first for _, first in sent] == [0]


def test_events_tell_of_everything_made(tmp_path):
    told = []
    made, _ = board(tmp_path, [trial()], on_event=told.append)
    made.finished(made.next(), OK)
    assert [(e["kind"], e["address"]) for e in told] == [("trial", address(trial()))]


def test_the_line_of_progress_and_the_time_left(tmp_path):
    made, _ = board(tmp_path, [trial(seed=s) for s in range(5)])
    assert time_left(made, 1) == "starting"
    assert "trials 0/5" in line(made, 1, 0.0)
    made.finished(made.next(), {"status": "ok", "seconds": 10.0})
    assert time_left(made, 1) == "about 0:40 left"
    assert time_left(made, 2) == "about 0:20 left"
    assert line(made, 2, 10.0).startswith("0:10  trials 1/5 · about 0:20 left")
    assert clock(3723) == "1:02:03"


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_what_a_log_says_of_a_run_is_read_again(tmp_path, finished):
    made, _ = board(tmp_path, [trial(seed=s) for s in (0, 1)] + [trial(600)])
    for name in [made.next() for _ in range(3)][:finished]:
        made.finished(name, {"status": "ok", "seconds": 10.0})
    made.tally["images"] = 256 * finished
    said = state(made, 1, 3700.0)
    told = read(f"imported digits\n0:10  trials 0/3 · starting\n{said}\nclosedset-0: ValueError: no")
    assert told is not None
    assert str(told) == str(said)
    assert told.done == {what: done for what, done in said.done.items() if said.total[what]}
    assert told.images_per_second == (pytest.approx(said.images_per_second, abs=0.06) if finished else None)
    assert told.at_least == said.at_least
    assert read("nothing of the kind\ntrials 1/5 · done") is None


def test_what_had_to_wait_comes_before_what_could_be_begun_at_any_time(tmp_path):
    made, _ = board(tmp_path, [trial(seed=s) for s in (0, 1)] + [trial(100)])
    made.finished(made.next(), OK)
    assert made.next() == address(trial(seed=0))  # nothing else is ready: its lane does not idle
    made.shard_made(shard(pool(), 0))
    assert [made.next(), made.next()] == [address(trial(100)), address(trial(seed=1))]


def test_a_kind_that_was_never_measured_makes_the_time_left_a_lower_bound(tmp_path):
    made, _ = board(tmp_path, [trial(), trial(100)])
    made.finished(made.next(), {"status": "ok", "seconds": 10.0})
    assert time_left(made, 1) == "more than 0:00 left"


def test_a_spec_in_hand_counts_by_its_progress_since_it_was_first_heard_of(tmp_path):
    made, _ = board(tmp_path, [trial()])
    name = made.next()
    made.progress(name, {"done": 100, "total": 1000})
    made.running[name]["first_heard"] -= 10
    made.progress(name, {"done": 200, "total": 1000})
    assert time_left(made, 1) in ("about 1:39 left", "about 1:40 left")


def test_progress_goes_on_through_the_rounds_of_a_study(tmp_path):
    said = io.StringIO()
    with Progress(said) as progress:
        for number in (1, 2):
            made, _ = board(tmp_path / str(number), [trial(seed=number)])
            progress({"kind": "begin", "board": made, "lanes": 1})
            made.finished(made.next(), OK)
            if number == 1:
                progress({"kind": "round", "new": 1, "trials": 2, "of": 2})
    lines = said.getvalue().splitlines()
    assert [text for text in lines if "chosen" in text] == ["1 trials more were chosen: 2 of 2"]
    assert sum("trials 1/1 · done" in text for text in lines) == 2
