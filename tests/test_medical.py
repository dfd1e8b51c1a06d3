"""MedMNIST: files written as the released ones are, their md5, and what is refused."""

import hashlib

import numpy as np
import pytest

from realfake import datasets, medical
from realfake.samples import load_dataset
from realfake.sources import DatasetError
from realfake.spec import Dataset
from realfake.store import Store
from tests.test_datasets import picture

COUNTS = {"train": 16, "val": 8, "test": 9}


def write(file, side=28, channels=3, classes=8):
    """A file with the six arrays of MedMNIST; the pixels of each image are those of its own seed."""
    arrays, seed = {}, side
    for part, n in COUNTS.items():
        arrays[f"{part}_images"] = np.stack([picture(seed + i, side, channels) for i in range(n)])
        arrays[f"{part}_labels"] = (np.arange(n)[:, None] % classes).astype(np.uint8)
        seed += n
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, **arrays)
    return file


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Files of 28 and 64 pixels that are taken for the released ones."""
    for name, side in (("bloodmnist", 28), ("bloodmnist_64", 64)):
        file = write(tmp_path / "medical" / f"{name}.npz", side)
        monkeypatch.setitem(medical.FILES, name, hashlib.md5(file.read_bytes()).hexdigest())
    return tmp_path / "medical"


def test_names_are_eleven_sets_at_four_sizes_with_an_md5_each():
    assert len(medical.SETS) == 11
    assert len(set(medical.FILES.values())) == len(medical.FILES) == 44
    assert all(len(md5) == 32 and int(md5, 16) for md5 in medical.FILES.values())
    assert {"bloodmnist", "bloodmnist_64", "organsmnist_224"} <= set(datasets.NAMES)


@pytest.mark.parametrize(("name", "side"), [("bloodmnist", 28), ("bloodmnist_64", 64)])
def test_a_set_is_imported_pixel_by_pixel_with_its_three_splits(name, side, released, tmp_path):
    store = Store(tmp_path / "store")
    first = 0
    for split, part in medical.PARTS:
        dataset = Dataset(name=name, split=split)
        facts = datasets.import_dataset(dataset, store, {"bloodmnist": released})
        samples = load_dataset(store, dataset)
        assert samples.ids.tolist() == list(range(first, first + COUNTS[part]))
        assert samples.labels.tolist() == [i % 8 for i in range(COUNTS[part])]
        wanted = np.stack([picture(side + first + i, side) for i in range(COUNTS[part])])
        assert np.array_equal(samples.images, wanted)
        first += COUNTS[part]
    assert facts["classes"][0] == "basophil"
    assert facts["licence"] == "CC BY 4.0"


def test_grey_images_stay_grey_and_the_file_itself_may_be_named(tmp_path, monkeypatch):
    file = write(tmp_path / "any.npz", channels=1, classes=2)
    monkeypatch.setitem(medical.FILES, "pneumoniamnist", hashlib.md5(file.read_bytes()).hexdigest())
    store = Store(tmp_path / "store")
    facts = datasets.import_dataset(Dataset(name="pneumoniamnist", split="test"), store, {"pneumoniamnist": file})
    assert (facts["channels"], facts["classes"], facts["counts"]) == (1, ["normal", "pneumonia"], [5, 4])


def test_another_file_is_refused_and_told_by_its_md5(released, tmp_path):
    swapped = released / "bloodmnist_64.npz"
    with pytest.raises(DatasetError, match="it is 'bloodmnist_64': write that name"):
        medical.read("bloodmnist", {"bloodmnist": swapped}, tmp_path)
    other = write(tmp_path / "other" / "bloodmnist.npz", side=20)
    md5 = hashlib.md5(other.read_bytes()).hexdigest()
    with pytest.raises(DatasetError, match=rf"\(md5 {md5} instead of {medical.FILES['bloodmnist']}\).*fetch https"):
        medical.read("bloodmnist", {"bloodmnist": other.parent}, tmp_path)


def test_a_file_in_the_downloads_is_not_fetched_again_and_none_at_all_says_where_it_is(released, tmp_path, monkeypatch):
    def offline(*_):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", offline)
    assert len(medical.read("bloodmnist", {}, released).of("train")) == 16
    with pytest.raises(DatasetError, match=r"the download failed: no route to host.*octmnist = \"FILE or DIR\""):
        medical.read("octmnist", {}, tmp_path)
    with pytest.raises(DatasetError, match=r"holds no octmnist\.npz"):
        medical.read("octmnist", {"octmnist": tmp_path}, tmp_path)


@pytest.mark.parametrize("name", ["chestmnist", "chestmnist_64"])
def test_several_labels_an_image_are_refused(name, tmp_path):
    with pytest.raises(DatasetError, match="a multi-label set"):
        datasets.import_dataset(Dataset(name=name), Store(tmp_path))


def test_the_sets_of_solids_are_no_names_and_the_nearest_is_told(tmp_path):
    with pytest.raises(DatasetError, match=r"there is no dataset 'bloodmnst'; .*'bloodmnist'"):
        datasets.import_dataset(Dataset(name="bloodmnst"), Store(tmp_path))


def test_a_set_with_validation_images_holds_none_out(released, tmp_path):
    with pytest.raises(DatasetError, match="has a validation split of its own"):
        datasets.import_dataset(Dataset(name="bloodmnist", holdout=4), Store(tmp_path), {"bloodmnist": released})
