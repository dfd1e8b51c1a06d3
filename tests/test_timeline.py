"""How a run went: kept line by line, read back after whatever happened, and what it says of lanes. No Ray."""

import json
import random
import time
from itertools import pairwise

import pytest

from realfake import lanes, results, timelines
from realfake.report import timeline as pages
from realfake.resources import Cluster, Where
from realfake.spec import (
    ClosedSet,
    Dataset,
    DetectionRecipe,
    Distances,
    Pool,
    Procedural,
    Recipe,
    Repeat,
    Study,
    Subset,
    Trial,
    address,
)
from realfake.store import Store
from realfake.studyfile import StudyFile
from realfake.timelines import Bar, Run, Timeline, common, kept, length, outside, runs, timeline, union
from tests.by_hand import OK, board, make_record, shard
from tests.conftest import DIGITS, DIGITS_TEST

TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")
REAL = Subset(of=TRAIN, size=50)
POOL = Pool(generator=ClosedSet(real=REAL))
BEGIN = {"kind": "begin", "board": None, "lanes": 2, "actors": 1}


def trial(volume=0, seed=0, of=POOL):
    synthetic = (Subset(of=of, size=volume),) if volume else ()
    return Trial(real=REAL, synthetic=synthetic, test=TEST, recipe=Recipe(examples_seen=100), seed=seed)


def event(kind, name="trial-0", started=1000.0, seconds=1.0, process=7, **more):
    return {
        "kind": kind,
        "address": name,
        "started": started,
        "seconds": seconds,
        "process": process,
        "node": "a",
        **more,
    }


def bar(spec, lane, started, ended, kind="trial", **more):
    return Bar(kind, address(spec), lane, started, ended, **more)


# --------------------------------------------------------------------------------------------------- kept and read back


def test_a_run_that_begins_nothing_leaves_no_file(tmp_path):
    with kept(tmp_path, lambda event: None) as on_event:
        on_event({"kind": "dataset", "address": "dataset-0"})
    assert not list(tmp_path.iterdir())
    assert runs(tmp_path) == []


def test_lines_say_what_was_made_where_and_when_and_events_go_on(tmp_path):
    told = []
    with kept(tmp_path / "new", told.append) as on_event:
        on_event(BEGIN)
        on_event(event("images", "pool-0", first=256, rows=256, digest="x"))
        on_event(event("trial", started=1001.0, status="diverged"))
        on_event({"kind": "round", "new": 1})
    assert [one["kind"] for one in told] == ["begin", "images", "trial", "round"]
    (run,) = runs(tmp_path / "new")
    assert (run.complete, run.lanes, run.actors, run.busy) == (True, 2, 1, 2.0)
    assert run.bars[0] == Bar("images", "pool-0", "a:7", 1000.0, 1001.0, first=256, rows=256)
    assert run.bars[1].status == "diverged"
    assert run.ended >= run.begun[0] >= run.started


def test_runs_are_kept_apart_and_half_a_line_spoils_no_other(tmp_path):
    for name in ("trial-0", "trial-1"):
        with kept(tmp_path, lambda event: None) as on_event:
            on_event(BEGIN)
            on_event(event("trial", name))
        with open(tmp_path / timelines.FILE, "ab") as file:  # what a killed process leaves, in the middle of a letter
            file.write('\n{"run": "x", "kind": "trial", "address": "é'.encode()[:-1])
    found = runs(tmp_path)
    assert [[one.address for one in run.bars] for run in found] == [["trial-0"], ["trial-1"]]
    assert all(run.complete for run in found)
    assert found[0].name != found[1].name


def test_a_run_that_was_killed_ends_with_its_last_thing(tmp_path):
    lost = Timeline(tmp_path)
    lost(BEGIN)
    lost(event("trial", started=time.time(), seconds=5.0))
    lost._flush()
    (run,) = runs(tmp_path)
    assert not run.complete
    assert run.ended == run.bars[0].ended


def test_lines_are_on_the_disk_soon_and_nobody_waits_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(timelines, "FLUSH_SECONDS", 0.05)
    with kept(tmp_path, lambda event: None) as on_event:
        on_event(BEGIN)
        began = time.monotonic()
        for number in range(2_000):
            on_event(event("trial", f"trial-{number}"))
        assert time.monotonic() - began < 1
        until = time.monotonic() + 10
        while not (runs(tmp_path) and len(runs(tmp_path)[0].bars) == 2_000) and time.monotonic() < until:
            time.sleep(0.1)
        assert len(runs(tmp_path)[0].bars) == 2_000
        assert not runs(tmp_path)[0].complete


def test_a_disk_that_takes_nothing_costs_no_run(tmp_path):
    (tmp_path / "studies").write_text("a file where a folder should be")
    with kept(tmp_path / "studies" / "x", lambda event: None) as on_event:
        on_event(BEGIN)
        on_event(event("trial"))
    assert runs(tmp_path / "studies" / "x") == []


def test_the_table_has_a_row_for_each_thing_of_all_runs(tmp_path):
    store = Store(tmp_path)
    assert len(timeline("x", store)) == 0
    for _ in range(2):
        with kept(store.study_folder("x"), lambda event: None) as on_event:
            on_event(BEGIN)
            on_event(event("trial"))
            on_event(event("images", "pool-0", first=0, rows=256))
    table = timeline("x", store)
    assert list(table["kind"]) == ["trial", "images"] * 2
    assert table["run"].nunique() == 2
    assert set(table.loc[table["kind"] == "images", "rows"]) == {256}


def test_a_board_tells_of_every_shard_once(tmp_path):
    told = []
    made, _ = board(tmp_path, [trial(300)], on_event=told.append)
    made.finished(made.next(), OK)
    for _ in range(2):
        made.shard_made(shard(POOL, 0, process=1, rows=256))
    assert [(one["kind"], one.get("first")) for one in told] == [("fit", None), ("images", 0)]


# ---------------------------------------------------------------------------------------------------------------- spans


@pytest.mark.parametrize("seed", range(20))
def test_spans_agree_with_counting_seconds_one_by_one(seed):
    draw = random.Random(seed)
    spans = [[(a := draw.randrange(50), a + draw.randrange(12)) for _ in range(draw.randrange(7))] for _ in range(2)]
    one, other = map(union, spans)
    here, there = ({t for a, b in part for t in range(a, b)} for part in spans)
    assert length(one) == len(here)
    assert length(common(one, other)) == len(here & there)
    assert length(outside(one, 10, 40)) == len(set(range(10, 40)) - here)
    assert all(a[1] < b[0] for a, b in pairwise(one))


# ---------------------------------------------------------------------------------------------------------------- lanes

EARLY, LATE, ALONE = trial(200), trial(500), trial()
FIT = POOL.generator
BARS = (  # two lanes and an actor, asked from 10 s on; the run begins at 0 and ends at 100
    bar(FIT, "a:1", 10, 40, "fit"),
    bar(ALONE, "a:2", 20, 30),
    bar(POOL, "a:3", 42, 50, "images", first=0, rows=256),
    bar(POOL, "a:3", 50, 60, "images", first=256, rows=256),
    bar(EARLY, "a:1", 51, 71),
    bar(LATE, "a:2", 65, 95),
)
RUN = Run("r", 0.0, (10.0,), 100.0, True, 2, 1, BARS)


def facts(run=RUN):
    specs = {address(spec): spec for spec in (FIT, POOL, EARLY, LATE, ALONE)}
    return lanes._run(run, specs)


def test_busy_shares_and_idle_seconds_of_a_schedule_made_by_hand():
    rows = {row["process"]: row for row in facts()["lanes"]}
    assert [row["name"] for row in facts()["lanes"]] == ["lane 1", "lane 2", "actor 1"]
    assert {name: row["busy"] for name, row in rows.items()} == {"a:1": 50, "a:2": 40, "a:3": 18}
    assert [rows[name]["of_run"] for name in rows] == pytest.approx([0.5, 0.4, 0.18])
    assert [rows[name]["of_life"] for name in rows] == pytest.approx([50 / 61, 40 / 75, 1.0])
    # ready and not begun: ALONE from 10 to 20, EARLY from 50 to 51, LATE from 60 to 65; shards from 40 on
    assert rows["a:1"]["idle_in_vain"] == pytest.approx(1)
    assert rows["a:2"]["idle_in_vain"] == pytest.approx(10 + 1 + 5)
    assert rows["a:3"]["idle_in_vain"] == pytest.approx(2)


def test_a_trial_is_ready_when_its_own_volume_is_there(tmp_path):
    found = facts()["overlap"]
    assert found == {
        **{"trials": 2, "before_last_image": 1, "first_trial": 51.0, "last_image": 60.0},
        **{"waited": 3.0, "too_early": 0},
    }
    early = tuple(one if one.address != address(LATE) else bar(LATE, "a:2", 55, 95) for one in BARS)
    wrong = facts(Run("r", 0.0, (10.0,), 100.0, True, 2, 1, early))
    assert wrong["overlap"]["too_early"] == 1
    assert "1 before its own volume was there" in pages.sections([wrong], tmp_path).source
    assert facts(Run("r", 0.0, (10.0,), 100.0, True, 2, 1, BARS[:3]))["overlap"] is None


def test_stages_and_generators_have_their_seconds():
    found = facts()
    assert found["stages"] == [
        {"stage": "fit", "things": 1, "wall": 30, "seconds": 30},
        {"stage": "images", "things": 2, "wall": 18, "seconds": 18},
        {"stage": "trial", "things": 3, "wall": 75, "seconds": 60},
    ]
    assert found["generators"] == [{"generator": address(FIT), "images": 512, "seconds": 18}]


def test_distances_wait_for_their_critic_and_their_image():
    critic = Trial(real=REAL, test=TEST, recipe=DetectionRecipe(examples_seen=64))
    people = Pool(generator=Procedural())
    measured = Distances(of=people, critic=critic)
    images = [bar(people, "a:3", 40 + first / 256, 50 + first / 256, "images", first=first) for first in (0, 256, 512)]
    bars = (bar(critic, "a:1", 10, 30), *images, bar(measured, "a:3", 62, 63, "distances", first=256))
    specs = {address(spec): spec for spec in (people, critic, measured)}
    ready = lanes._ready(Run("r", 0.0, (10.0,), 70.0, True, 2, 1, bars), specs)
    assert ready[bars[-1]] == 51  # its own image and those before, not the last one


def test_what_a_study_no_longer_holds_counts_as_ready_at_once():
    assert set(lanes._ready(RUN, {}).values()) == {10.0}


def test_near_bars_of_a_kind_are_drawn_as_one_and_the_seconds_stay():
    many = tuple(Bar("trial", f"trial-{i}", "a:1", i / 10, i / 10 + 0.09) for i in range(10_000))
    row = lanes._run(Run("r", 0.0, (0.0,), 1000.0, True, 1, 0, many), {})["lanes"][0]
    assert len(row["bars"]) < 1500
    assert len(lanes._run(RUN, {})["lanes"][2]["bars"]) == 2
    assert row["busy"] == pytest.approx(900)
    assert row["bars"][0][1] == 0.0
    assert row["bars"][-1][2] == pytest.approx(1000, abs=0.1)


# --------------------------------------------------------------------------------------------------------------- report


def test_the_section_says_busy_shares_and_shows_every_process(tmp_path):
    found = pages.sections([facts()], tmp_path).source
    for words in (
        "How the run went",
        "lane 2",
        "actor 1",
        "fitting generators",
        "50\u00a0%",
        "53 to 82",
        "1 of 2 such trials",
    ):
        assert words in found
    drawing = (tmp_path / "timeline-1.svg").read_text()
    assert all(f">{name}<" in drawing for name in ("lane 1", "lane 2", "actor 1", "training trials"))
    lines = (tmp_path / "timeline.csv").read_text().splitlines()
    assert len(lines) == 1 + 3
    assert lines[1].startswith("r,lane 1,a:1,2,50")


def test_a_store_without_a_timeline_shows_nothing(tmp_path):
    assert lanes.account((trial(),), tmp_path) == []
    assert pages.sections([], tmp_path).source == ""
    assert pages.sections(None, tmp_path).source == ""


@pytest.mark.parametrize(("processes", "seconds"), [(1, 5.0), (200, 90_000.0)])
def test_any_number_of_lanes_fits_on_the_page(processes, seconds):
    bars = tuple(Bar("trial", f"trial-{i}", f"a:{i}", 0.0, seconds / 2) for i in range(processes))
    figure = pages.draw(lanes._run(Run("r", 0.0, (0.0,), seconds, False, processes, 0, bars), {}))
    width, height = figure.get_size_inches()
    assert width == pages.FIGURE_WIDTH
    assert height < 7
    assert ("hours" if seconds > 300 else "seconds") in figure.axes[0].get_xlabel()


def test_a_real_run_keeps_its_timeline_and_its_report_shows_it(tmp_path):
    from realfake.execution import run

    real = Subset(of=DIGITS, size=20)
    pool = Pool(generator=Repeat(real=real))
    parts = ((), (Subset(of=pool, size=20),))
    recipe = Recipe(examples_seen=64, augment="none")
    trials = tuple(Trial(real=real, synthetic=part, test=DIGITS_TEST, recipe=recipe) for part in parts)
    file = StudyFile(Study(name="went", trials=trials), tmp_path / "went.py", "How?")
    where = Where(store=str(tmp_path / "store"), cluster=Cluster(address="none"))
    run(file.study, where)
    store = Store(where.store)
    found = timeline("went", store)
    assert sorted(found["kind"]) == ["images", "trial", "trial"]
    assert set(found["address"]) == {address(pool), *map(address, trials)}
    assert found["lane"].nunique() == 1
    for name, seconds in found.loc[found["kind"] == "trial", ["address", "seconds"]].itertuples(index=False):
        assert seconds >= json.loads((store.root / name / "record.json").read_text())["seconds"]
    (went,) = results.facts(file, store, [])["runs"]
    assert [row["name"] for row in went["lanes"]] == ["driver 1"]
    assert went["overlap"]["too_early"] == 0
    run(file.study, where)
    assert len(timeline("went", store)) == 3
    make_record(store, trial(seed=9))
    assert len(runs(store.study_folder("went"))) == 1
