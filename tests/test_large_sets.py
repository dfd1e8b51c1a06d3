"""Datasets too large to be held: only the images that are asked for are decoded, and all else is as with small ones."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from realfake import boxed, samples, shards
from realfake.datasets import import_dataset
from realfake.objects import Objects
from realfake.spec import Dataset, SpecError, Subset
from realfake.store import Store

SCENES = Dataset(name="aerial-urban", pixels=64)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Forty scenes in files of seven."""
    made = Store(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(boxed.RENDERED_SIZES, "train", 40)
        patch.setattr(boxed, "FILE_ROWS", 7)
        import_dataset(SCENES, made)
    return made


def alike(one, other):
    for name in ("images", "labels", "ids", "masks"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in ("start", "box", "label", "crowd", "area"):
        assert np.array_equal(getattr(one.objects, name), getattr(other.objects, name))
    assert one.classes == other.classes


@pytest.mark.parametrize("size", [1, 9, 40])
def test_a_subset_is_the_same_whether_all_or_only_its_images_are_read(store, monkeypatch, size):
    subset = Subset(of=SCENES, size=size, seed=3)
    whole = samples.load(store, subset)
    read = []
    monkeypatch.setattr(samples, "read_table", lambda path: (read.append(path.name), shards.read_table(path))[1])
    monkeypatch.setattr(samples, "LARGE", 1)
    alike(samples.load(store, subset), whole)
    assert len(read) == len({np.flatnonzero(samples.load_dataset(store, SCENES).ids == i)[0] // 7 for i in whole.ids})
    with pytest.raises(SpecError, match="takes 41 images"):
        samples.load(store, Subset(of=SCENES, size=41))


def test_what_is_known_of_a_large_set_has_no_pixels(store, monkeypatch):
    whole = samples.load_known(store, SCENES)
    monkeypatch.setattr(samples, "LARGE", 1)
    known = samples.load_known(store, SCENES)
    assert whole.images.shape == (40, 64, 64, 3)
    assert known.images.shape == (40, 0, 0, 0)
    assert np.array_equal(known.ids, whole.ids)
    assert np.array_equal(known.labels, whole.labels)


def test_images_are_decoded_into_their_place_and_not_held_twice(store):
    table = shards.read_table(sorted(store.folder(SCENES).glob("*.parquet"))[0])
    column = pa.chunked_array(table["image"].chunks * 20)
    expected = np.stack([shards.decode(data) for data in column.to_pylist()])
    tracemalloc.start()
    found = shards.decoded(column)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(found, expected)
    assert peak < found.nbytes * 1.6
    assert held >= found.nbytes


def test_files_of_large_images_hold_fewer_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(boxed, "FILE_BYTES", 3 * 8 * 8 * 3)
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    none, zeros = np.zeros((0, 4)), np.zeros(0, np.int64)
    rows = (boxed.Row(i, image, none, zeros, zeros.astype(bool), zeros.astype(float)) for i, image in enumerate(images))
    tally = boxed.write_rows(rows, ("person",), tmp_path)
    tables = [shards.read_table(path) for path in sorted(tmp_path.glob("*.parquet"))]
    assert tally.n == 8
    assert [table.num_rows for table in tables] == [3, 3, 2]
    read = samples.from_tables(tables, ("person",))
    assert np.array_equal(read.images, images)
    assert isinstance(read.objects, Objects)


def test_images_of_several_sizes_cannot_be_one_array():
    column = pa.chunked_array([pa.array([shards.encode(np.zeros((n, 4, 3), np.uint8)) for n in (4, 5)])])
    with pytest.raises(ValueError, match=r"image 1 is \(5, 4, 3\) and the first \(4, 4, 3\)"):
        shards.decoded(column)
