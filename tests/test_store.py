"""The store: things appear whole or not at all, a changed default is noticed, failures speak."""

import dataclasses
import errno
import json
import os
import threading

import pytest

from realfake.spec import Dataset, Recipe, Subset, Trial, address
from realfake.store import RECORD, Store, StoreError, explain, write_whole

SPEC = Dataset(name="digits")


def make(store, spec=SPEC, content=b"content"):
    with store.making(spec) as (folder, result):
        (folder / "data.bin").write_bytes(content)
        result["n"] = 3


def test_a_made_thing_has_a_record_of_its_fields_files_and_result(tmp_path):
    store = Store(tmp_path)
    make(store)
    record = store.record(SPEC)
    assert record["address"] == address(SPEC)
    assert record["result"] == {"n": 3}
    assert record["files"] == {"data.bin": "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"}
    assert record["spec"]["name"] == "digits"
    assert set(record["fields"]) == {f.name for f in dataclasses.fields(SPEC)}


def test_nothing_is_there_after_a_failure(tmp_path):
    store = Store(tmp_path)

    def half_way(folder):
        (folder / "data.bin").write_bytes(b"half")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"), store.making(SPEC) as (folder, _):
        half_way(folder)
    assert store.record(SPEC) is None
    assert list((tmp_path / ".scratch").iterdir()) == []


def test_a_folder_without_a_record_is_nothing_and_is_replaced(tmp_path):
    store = Store(tmp_path)
    store.folder(SPEC).mkdir(parents=True)
    (store.folder(SPEC) / "leftover").write_text("from a crash of the disk")
    assert not store.has(SPEC)
    make(store)
    assert sorted(os.listdir(store.folder(SPEC))) == ["data.bin", RECORD]


def test_the_first_of_two_makers_wins_and_the_other_does_no_harm(tmp_path):
    store, barrier = Store(tmp_path), threading.Barrier(2)

    def slowly(content):
        with store.making(SPEC) as (folder, _):
            (folder / "data.bin").write_bytes(content)
            barrier.wait()

    threads = [threading.Thread(target=slowly, args=(b"same",)) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (store.folder(SPEC) / "data.bin").read_bytes() == b"same"
    assert store.find() == [address(SPEC)]


def test_a_changed_default_is_an_error_that_names_field_values_and_cure(tmp_path):
    store = Store(tmp_path)
    make(store)
    path = store.folder(SPEC) / RECORD
    record = json.loads(path.read_text())
    record["fields"]["pixels"] = ["int", "28"]
    path.write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"made with pixels = 28, but the spec now says 0.*write Dataset\(pixels=…\)"):
        store.record(SPEC)


def test_a_changed_default_inside_a_held_value_is_noticed(tmp_path):
    store = Store(tmp_path)
    trial = Trial(real=Subset(of=SPEC, size=5), test=Dataset(name="x"), recipe=Recipe(epochs=1))
    make(store, trial)
    path = store.folder(trial) / RECORD
    path.write_text(path.read_text().replace("0.002", "0.004"))
    with pytest.raises(StoreError, match="recipe"):
        store.record(trial)


def test_find_and_show_by_prefix(tmp_path):
    store = Store(tmp_path)
    make(store)
    make(store, Dataset(name="fashion"))
    assert len(store.find("dataset-")) == 2
    assert store.show(address(SPEC)[:12])["spec"]["name"] == "digits"
    with pytest.raises(StoreError, match="2 things with an address that begins with 'dataset'"):
        store.show("dataset")
    with pytest.raises(StoreError, match="nothing with an address"):
        store.show("trial-")


def test_scratch_of_dead_processes_is_swept_and_that_of_living_ones_stays(tmp_path):
    store = Store(tmp_path)
    mine = store.scratch(SPEC)
    dead = mine.with_name(mine.name.replace(f".{os.getpid()}.", ".999999999."))
    dead.mkdir()
    assert store.sweep_scratch() == 1
    assert mine.is_dir()
    assert not dead.exists()


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="choose another folder with --store"):
        Store(tmp_path / "file").check_writable()


def test_no_space_left_is_one_sentence(tmp_path):
    sentence = str(explain(OSError(errno.ENOSPC, "No space left on device"), tmp_path))
    assert "no space left" in sentence
    assert "same command again" in sentence


def test_no_space_while_making_is_that_sentence_and_a_missing_input_keeps_its_name(tmp_path):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    with pytest.raises(StoreError, match="no space left"), Store(tmp_path).making(SPEC) as (folder, _):
        full(folder)
    with pytest.raises(FileNotFoundError) as caught, Store(tmp_path).making(SPEC):
        (tmp_path / "missing.parquet").read_bytes()
    assert str(caught.value.filename).endswith("missing.parquet")


def test_a_record_that_is_not_json_says_what_to_remove(tmp_path):
    store = Store(tmp_path)
    make(store)
    (store.folder(SPEC) / RECORD).write_text("{half")
    with pytest.raises(StoreError, match=r"is not JSON .* remove the folder"):
        store.record(SPEC)


def test_write_whole_leaves_no_scratch(tmp_path):
    write_whole(tmp_path / "deep" / "file.json", "{}")
    assert os.listdir(tmp_path / "deep") == ["file.json"]


def test_announcing_twice_checks_the_fields(tmp_path):
    store = Store(tmp_path)
    folder = store.announce(SPEC)
    assert store.announce(SPEC) == folder
    path = folder / "spec.json"
    path.write_text(path.read_text().replace('"pixels": [\n   "int",\n   "0"', '"pixels": [\n   "int",\n   "9"'))
    with pytest.raises(StoreError, match="made with pixels = 9"):
        store.announce(SPEC)
