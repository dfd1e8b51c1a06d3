"""From records to facts: copies, contact sheet, stages and environments of a study that is made, without Ray."""

import errno

import numpy as np
import pytest

from realfake import pictured, results
from realfake.resources import Cluster, Synthesis, Where
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial
from realfake.store import Store, StoreError
from realfake.studyfile import StudyFile
from tests.conftest import DIGITS, DIGITS_TEST

RECIPE = Recipe(examples_seen=128, augment="none")


def trial(size, seed, volume=0, of=None):
    real = Subset(of=DIGITS, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=of or real, steps=5, seed=seed), sampling_steps=2, seed=seed)
    synthetic = (Subset(of=pool, size=volume),) if volume else ()
    return Trial(real=real, synthetic=synthetic, test=DIGITS_TEST, recipe=RECIPE, seed=seed)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny study, made in this process."""
    from realfake.execution import run

    folder = tmp_path_factory.mktemp("results")
    where = Where(store=str(folder / "store"), cluster=Cluster(address="none"), synthesis=Synthesis(batch_size=256))
    everything = Subset(of=DIGITS, size=1297)
    trials = (*(trial(n, s) for n in (20, 40, 80) for s in (0, 1)), trial(40, 0, 40), trial(40, 1, 40, of=everything))
    file = StudyFile(Study(name="facts", trials=trials), folder / "facts.py", "How many?\n\nMore.")
    run(file.study, where)
    return file, where


def test_the_answer_is_kept_until_the_table_changes(made):
    file, where = made
    rows, analysis, said = results.answer(file, where)
    kept = Store(where.store).study_folder("facts") / "fits.json"
    stamp = kept.stat().st_mtime_ns
    assert results.answer(file, where) == (rows, analysis, said)
    assert kept.stat().st_mtime_ns == stamp
    assert len(rows) == 8
    assert said["question"] == "How many?"
    assert (said["missing"], said["diverged"]) == (0, 0)


def test_copies_are_measured_where_something_fresh_is_left_to_compare_with(made):
    file, where = made
    _, _, said = results.answer(file, where)
    assert [(rate["arm"], rate["n_real"]) for rate in said["copy_rates"]] == [("closed-set", 40)]
    assert said["copy_rates"][0]["null_rate"] == pytest.approx(0.01, abs=0.005)


def test_held_out_images_are_spread_over_a_sorted_source(made):
    _file, where = made
    fresh = pictured._held_out(Store(where.store), Subset(of=DIGITS, size=40))
    assert len(fresh) == pictured.COPY_IMAGES
    assert np.bincount(fresh.labels, minlength=10).min() > 80


def test_facts_say_what_was_made_where_and_in_what_time(made):
    file, where = made
    _, _, said = results.answer(file, where)
    assert {stage["stage"]: stage["things"] for stage in said["stages"]} == {
        "datasets": 2,
        "generators": 2,
        "shards": 2,
        "trials": 8,
    }
    assert all(stage["seconds"] > 0 for stage in said["stages"])
    (environment,) = said["environments"]
    assert environment["trials"] == 8
    assert environment["volumes"] == [0, 40]
    assert "BSD-3" in said["data"][0]["licence"]


def test_the_contact_sheet_is_a_picture_of_the_largest_generator(made):
    file, where = made
    picture = results.contact_sheet(file, Store(where.store))
    assert picture is not None
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_study_without_pools_has_neither_copies_nor_a_sheet(made):
    file, where = made
    ladder = StudyFile(Study(name="ladder", trials=file.study.trials[:6]), file.path, "")
    _, _, said = results.answer(ladder, where)
    assert said["copy_rates"] == []
    assert results.contact_sheet(ladder, Store(where.store)) is None


def test_the_report_is_written_once_for_one_answer(made):
    file, where = made
    page = results.publish(file, where, *results.answer(file, where))
    stamp = page.stat().st_mtime_ns
    assert results.publish(file, where, *results.answer(file, where)) == page
    assert page.stat().st_mtime_ns == stamp
    assert Dataset(name="digits").name in page.read_text()


def test_a_disk_that_takes_nothing_is_one_sentence(tmp_path):
    with pytest.raises(StoreError, match=f"no space left in {tmp_path}"), results.writing(Where(store=str(tmp_path))):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), results.writing(Where(store=str(tmp_path))):
        (tmp_path / "nothing").read_text()
