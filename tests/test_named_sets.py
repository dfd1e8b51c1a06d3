"""torchvision's named sets: tiny ones in the released formats, read by torchvision itself and by us."""

import bz2
import dataclasses
import hashlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torchvision
from PIL import Image
from scipy.io import savemat

from realfake import cifar, datasets, named_sets
from realfake.samples import load_dataset
from realfake.sources import DatasetError
from realfake.spec import Dataset
from realfake.store import Store
from tests.test_datasets import picture, save

CHECKED = ("cifar", "svhn", "stl10", "flowers102")  # torchvision's modules that compare md5 sums with the releases'


@pytest.fixture
def released(monkeypatch):
    """torchvision takes files of any md5: those of a test are in the released formats, and are not the releases."""
    for module in CHECKED:
        there = lambda path, md5=None: Path(path).is_file()  # noqa: E731
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", there)


def sized(monkeypatch, name, **sizes):
    """Take the number of images that a test has for the number in the release."""
    row = named_sets.SETS[name]
    parts = tuple((split, keywords, sizes[split]) for split, keywords, _ in row.parts)
    monkeypatch.setitem(named_sets.SETS, name, dataclasses.replace(row, parts=parts))


# ------------------------------------------------------------------------------------------ files as they are released


def write_cifar(root, fine=False):
    """Pickled batches of 4 train and 2 test images: numbers 0 … 5 are their seeds, not in the order of content."""
    folder = root / ("cifar-100-python" if fine else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    key, classes = ("fine_labels", 100) if fine else ("labels", 10)
    train = [range(4)] if fine else [[0], [1], [2], [3], []]
    names = ["train", "test"] if fine else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, seeds in zip(names, [*train, [4, 5]], strict=True):
        pixels = [picture(seed, 32).transpose(2, 0, 1).ravel() for seed in seeds]
        data = np.array(pixels, np.uint8).reshape(len(pixels), 3072)
        (folder / name).write_bytes(pickle.dumps({"data": data, key: [seed % 2 for seed in seeds]}))
    words = [f"class {i}" for i in range(classes)]
    if fine:
        (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": words}))
    else:
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(cifar.CIFAR10)}))


def write_svhn(root):
    for name, seeds in (("train", [0, 1, 2]), ("test", [3, 4])):
        pixels = np.stack([picture(seed, 32) for seed in seeds], axis=-1)
        labels = np.array([[10 if seed == 0 else seed] for seed in seeds], np.uint8)  # ten stands for zero
        savemat(root / f"{name}_32x32.mat", {"X": pixels, "y": labels})


def write_stl10(root):
    folder = root / "stl10_binary"
    folder.mkdir()
    for name, seeds in (("train", [0, 1]), ("test", [2, 3, 4]), ("unlabeled", [5])):
        (folder / f"{name}_X.bin").write_bytes(b"".join(picture(s, 96).transpose(2, 1, 0).tobytes() for s in seeds))
        (folder / f"{name}_y.bin").write_bytes(bytes([1 + seed for seed in seeds]))
    (folder / "class_names.txt").write_text("\n".join(f"kind {i}" for i in range(10)))


def idx(values):
    """A file of unsigned bytes in the IDX format."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


def write_idx(root, folder, prefix, test, first=0):
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for name, seeds in ((f"{prefix}train", [0, 1, 2]), (f"{prefix}{test}", [3, 4])):
        pixels = np.stack([picture(seed, 28, channels=1) for seed in seeds])
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(pixels))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.array([first + seed for seed in seeds], np.uint8)))


def write_usps(root):
    for name, seeds in (("usps.bz2", [0, 1, 2]), ("usps.t.bz2", [3, 4])):
        grey = [np.random.default_rng(seed).uniform(-1, 1, 256) for seed in seeds]
        lines = (
            f"{1 + seed} " + " ".join(f"{i}:{x:.6f}" for i, x in enumerate(row, 1))
            for seed, row in zip(seeds, grey, strict=True)
        )
        (root / name).write_bytes(bz2.compress("\n".join(lines).encode() + b"\n"))


def write_food(root):
    for name, seeds in (("train", [0, 1]), ("test", [2, 3])):
        said = {label: [f"{label}/{seed}" for seed in seeds] for label in ("cake", "apple_pie")}
        (root / "food-101" / "meta").mkdir(parents=True, exist_ok=True)
        (root / "food-101" / "meta" / f"{name}.json").write_text(json.dumps(said))
        for label in said:
            for seed in seeds:
                save(root / "food-101" / "images" / label / f"{seed}.jpg", picture(seed + len(label)))


def write_pets(root):
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for name, seeds in (("trainval", [0, 1]), ("test", [2, 3])):
        ids = [f"{kind}_{seed}" for kind in ("Abyssinian", "great_dane") for seed in seeds]
        lines = [f"{i} {1 + (not i[0].isupper())} 1 1" for i in ids]
        (base / "annotations" / f"{name}.txt").write_text("\n".join(lines))
        for number, i in enumerate(ids):
            save(base / "images" / f"{i}.jpg", picture(seeds[0] * 10 + number))


def write_flowers(root):
    base = root / "flowers-102"
    for number in range(1, 7):
        save(base / "jpg" / f"image_{number:05d}.jpg", picture(number))
    savemat(base / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 3, 3]])})
    savemat(base / "setid.mat", {"trnid": np.array([[1, 2]]), "valid": np.array([[3, 6]]), "tstid": np.array([[4, 5]])})


def write_dtd(root):
    base = root / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for name, seed in (("train", 0), ("val", 1), ("test", 2)):
        paths = [f"{kind}/{kind}_{seed}.jpg" for kind in ("woven", "banded")]
        (base / "labels" / f"{name}1.txt").write_text("\n".join(paths))
        for number, path in enumerate(paths):
            save(base / "images" / path, picture(10 * seed + number))


def write_aircraft(root):
    base = root / "fgvc-aircraft-2013b" / "data"
    base.mkdir(parents=True)
    (base / "variants.txt").write_text("707-320\nA 300\n")
    for name, seed in (("train", 0), ("val", 1), ("test", 2)):
        lines = {f"{seed}0": "A 300", f"{seed}1": "707-320"}
        (base / f"images_variant_{name}.txt").write_text("".join(f"{i} {label}\n" for i, label in lines.items()))
        for i in lines:
            save(base / "images" / f"{i}.jpg", picture(int(i)))


def write_country(root):
    for seed, name in enumerate(("train", "valid", "test")):
        for number, country in enumerate(("AD", "ZW")):
            save(root / "country211" / name / country / "1.jpg", picture(10 * seed + number))


def write_eurosat(root):
    for number, label in enumerate(("Forest", "River")):
        for i in range(5):
            save(root / "eurosat" / "2750" / label / f"{label}_{i}.jpg", picture(10 * number + i))


def write_gtsrb(root):
    base = root / "gtsrb"
    for number, label in enumerate(("00000", "00001")):
        save(base / "GTSRB" / "Training" / label / "00000_00000.ppm", picture(number))
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for number in range(3):
        save(base / "GTSRB" / "Final_Test" / "Images" / f"{number:05d}.ppm", picture(10 + number))
        rows.append(f"{number:05d}.ppm;8;8;0;0;8;8;{number % 2}")
    (base / "GT-final_test.csv").write_text("\n".join(rows))


def write_imagenette(root):
    for seed, name in enumerate(("train", "val")):
        for number, label in enumerate(("n01440764", "n02102040")):
            save(root / "imagenette2" / name / label / f"{seed}.JPEG", picture(10 * seed + number))


TINY = {  # how to write a set, and how many images it then has in train, validation, test
    "svhn": (write_svhn, (3, 0, 2)),
    "stl10": (write_stl10, (2, 0, 3)),
    "mnist": (lambda root: write_idx(root, "MNIST", "", "t10k"), (3, 0, 2)),
    "kmnist": (lambda root: write_idx(root, "KMNIST", "", "t10k"), (3, 0, 2)),
    "emnist-letters": (lambda root: write_idx(root, "EMNIST", "emnist-letters-", "test", first=1), (3, 0, 2)),
    "emnist-balanced": (lambda root: write_idx(root, "EMNIST", "emnist-balanced-", "test"), (3, 0, 2)),
    "usps": (write_usps, (3, 0, 2)),
    "food101": (write_food, (4, 0, 4)),
    "pets": (write_pets, (4, 0, 4)),
    "flowers102": (write_flowers, (2, 2, 2)),
    "dtd": (write_dtd, (2, 2, 2)),
    "aircraft": (write_aircraft, (2, 2, 2)),
    "country211": (write_country, (2, 2, 2)),
    "gtsrb": (write_gtsrb, (2, 0, 3)),
    "imagenette": (write_imagenette, (2, 0, 2)),
}
N_CLASSES = {"stl10": 10, "kmnist": 10, "emnist-letters": 26, "emnist-balanced": 47, "flowers102": 102, "gtsrb": 43}


def test_every_set_of_the_table_is_tried_here():
    assert {*TINY, "cifar10", "cifar100", "eurosat"} == set(named_sets.SETS)
    assert set(named_sets.SETS) <= set(datasets.NAMES)


@pytest.mark.parametrize("name", TINY)
def test_a_set_is_what_torchvision_gives_in_its_order(name, tmp_path, monkeypatch, released):
    write, counts = TINY[name]
    write(tmp_path)
    sizes = dict(zip(("train", "validation", "test"), counts, strict=True))
    sized(monkeypatch, name, **sizes)
    found = named_sets.read(name, {name: tmp_path}, tmp_path / "downloads")
    row = named_sets.SETS[name]
    assert [entry.id for entry in found.entries] == list(range(sum(counts)))
    assert len(found.classes) == N_CLASSES.get(name, len(found.classes))
    for split, keywords, size in row.parts:
        theirs = getattr(torchvision.datasets, row.torchvision)(str(tmp_path), **keywords)
        assert len(theirs) == len(found.of(split)) == size
        for (image, label), entry in zip(theirs, found.of(split), strict=True):
            assert entry.label + row.first == label
            assert np.array_equal(np.asarray(image), np.asarray(entry.open()))
    assert all(0 <= entry.label < len(found.classes) for entry in found.entries)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("emnist-letters", {0: "a", 4: "e"}),
        ("svhn", {0: "0", 4: "4"}),
        ("imagenette", {0: "n01440764", 1: "n02102040"}),
        ("pets", {0: "Abyssinian", 1: "Great Dane"}),
        ("mnist", {0: "0", 4: "4"}),
    ],
)
def test_classes_are_called_by_their_names(name, names, tmp_path, monkeypatch, released):
    write, counts = TINY[name]
    write(tmp_path)
    sized(monkeypatch, name, **dict(zip(("train", "validation", "test"), counts, strict=True)))
    found = named_sets.read(name, {name.partition("-")[0]: tmp_path}, tmp_path)
    assert {label: found.classes[label] for label in names} == names
    assert {0, max(names)} <= {entry.label for entry in found.entries}


def test_a_fifth_of_what_was_released_in_one_piece_is_tested_on(tmp_path, monkeypatch):
    write_eurosat(tmp_path)
    sized(monkeypatch, "eurosat", train=10)
    found = named_sets.read("eurosat", {"eurosat": tmp_path}, tmp_path)
    assert [entry.label for entry in found.of("test")] == [0, 1]
    assert len(found.of("train")) == 8
    again = named_sets.read("eurosat", {"eurosat": tmp_path / "eurosat"}, tmp_path)  # the folder itself
    assert [entry.split for entry in again.entries] == [entry.split for entry in found.entries]


# --------------------------------------------------------------------------------------------------- CIFAR and Parquet


def encoded(pixels, kind="PNG"):
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, kind)
        return file.getvalue()


def write_parquet(folder, train, test, column="image", label="label", kind="PNG", metadata=None, struct=False):
    folder.mkdir(exist_ok=True)
    for name, seeds in (("train", train), ("test", test)):
        images = [encoded(picture(seed, 32), kind) for seed in seeds]
        values = [{"bytes": image, "path": None} for image in images] if struct else images
        table = pa.table({column: values, label: pa.array([seed % 2 for seed in seeds], pa.int64())})
        if metadata:
            table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=3)
    return folder


@pytest.fixture
def small_cifar(monkeypatch, released):
    """Releases of four train and two test images, of two classes."""
    for name in ("cifar10", "cifar100"):
        sized(monkeypatch, name, train=4, test=2)
    monkeypatch.setattr(cifar, "SIZES", {"train": 4, "test": 2})
    monkeypatch.setattr(cifar, "CIFAR10", ("airplane", "automobile"))


def table(source):
    """Everything that a sample is made of, by id."""
    return [(e.id, e.name, e.label, e.split, np.asarray(e.open().convert("RGB")).tobytes()) for e in source.entries]


def test_cifar_is_the_same_samples_from_batches_and_from_parquet_in_any_order(tmp_path, small_cifar):
    write_cifar(tmp_path)
    batches = named_sets.read("cifar10", {"cifar10": tmp_path}, tmp_path)
    shuffled = write_parquet(tmp_path / "parquet", [2, 0, 3, 1], [5, 4])
    parquet = named_sets.read("cifar10", {"cifar10": shuffled}, tmp_path)
    assert table(batches) == table(parquet)
    first = write_parquet(tmp_path / "shards", [1, 0], [4])  # as on the hub: several files a split
    for name in ("train", "test"):
        (first / f"{name}.parquet").rename(first / f"{name}-00000-of-00002.parquet")
    write_parquet(first, [3, 2], [5])
    assert table(named_sets.read("cifar10", {"cifar10": first}, tmp_path)) == table(batches)
    assert batches.classes[:2] == parquet.classes == ("airplane", "automobile")
    digests = [hashlib.sha256(picture(seed, 32).tobytes()).hexdigest()[:16] for seed in range(6)]
    assert [e.name for e in batches.entries] == [*sorted(digests[:4]), *sorted(digests[4:])]
    assert {e.name: e.label for e in batches.entries} == {digest: i % 2 for i, digest in enumerate(digests)}


def test_cifar_100_goes_by_its_fine_labels_which_the_parquet_files_name(tmp_path, small_cifar):
    write_cifar(tmp_path, fine=True)
    batches = named_sets.read("cifar100", {"cifar100": tmp_path}, tmp_path)
    said = {"info": {"features": {"fine_label": {"names": ["class 0", "class 1"]}}}}
    folder = write_parquet(tmp_path / "parquet", [3, 2, 1, 0], [4, 5], "img", "fine_label", metadata=said, struct=True)
    parquet = named_sets.read("cifar100", {"cifar100": folder}, tmp_path)
    assert table(batches) == table(parquet)
    assert parquet.classes == ("class 0", "class 1") == batches.classes[:2]
    write_parquet(folder, [3, 2, 1, 0], [4, 5], "img", "fine_label")
    with pytest.raises(DatasetError, match="does not say what the fine labels are called"):
        named_sets.read("cifar100", {"cifar100": folder}, tmp_path)


def test_cifar_as_jpeg_is_another_set_of_a_known_digest(tmp_path, small_cifar, monkeypatch):
    folder = write_parquet(tmp_path / "jpeg", [2, 0, 3, 1], [5, 4], kind="JPEG")
    with pytest.raises(DatasetError, match=r"holds 4 JPEG files.* write Dataset\(name='cifar10-jpeg'\)"):
        named_sets.read("cifar10", {"cifar10": folder}, tmp_path)
    with pytest.raises(DatasetError, match="one known copy of CIFAR-10, and here are other JPEG files"):
        named_sets.read("cifar10-jpeg", {"cifar10": folder}, tmp_path)
    files = {seed: hashlib.sha256(encoded(picture(seed, 32), "JPEG")).digest() for seed in range(6)}
    order = [*sorted(range(4), key=files.__getitem__), *sorted([4, 5], key=files.__getitem__)]
    known = hashlib.sha256(b"".join(files[seed] + bytes([seed % 2]) for seed in order)).hexdigest()
    monkeypatch.setattr(cifar, "SHA256_JPEG", known)
    found = named_sets.read("cifar10-jpeg", {"cifar10": folder}, tmp_path)
    assert [entry.label for entry in found.entries] == [seed % 2 for seed in order]
    with pytest.raises(DatasetError, match="holds 4 images that are no JPEG"):
        named_sets.read("cifar10-jpeg", {"cifar10": write_parquet(folder, [0, 1, 2, 3], [4, 5])}, tmp_path)


@pytest.mark.parametrize(
    ("train", "reason"),
    [([0, 1, 2], "2 of each of 2 classes, and here are 3 of 2"), ([0, 2, 4, 1], "and here are 4 of 2")],
)
def test_other_counts_are_another_set(train, reason, tmp_path, small_cifar):
    folder = write_parquet(tmp_path / "parquet", train, [5, 4])
    with pytest.raises(DatasetError, match=reason):
        named_sets.read("cifar10", {"cifar10": folder}, tmp_path)


def test_other_columns_and_broken_files_are_refused(tmp_path, small_cifar):
    folder = write_parquet(tmp_path / "parquet", [0, 1, 2, 3], [4, 5], column="picture")
    with pytest.raises(DatasetError, match="lacks image or img"):
        named_sets.read("cifar10", {"cifar10": folder}, tmp_path)
    write_parquet(folder, [0, 1, 2, 3], [4, 5])
    (folder / "test.parquet").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="not a Parquet file that can be read"):
        named_sets.read("cifar10", {"cifar10": folder}, tmp_path)
    pixels = pa.table({"image": [b"no image"] * 2, "label": [0, 1]})
    pq.write_table(pixels, folder / "test.parquet")
    with pytest.raises(DatasetError, match="cannot be read"):
        named_sets.read("cifar10", {"cifar10": folder}, tmp_path)


# ------------------------------------------------------------------------------------------------ imported, or refused


def test_a_named_set_is_imported_and_its_validation_images_are_held_out_of_train(tmp_path, small_cifar):
    write_cifar(tmp_path)
    store, place = Store(tmp_path / "store"), {"cifar10": tmp_path}
    parts = {
        "all": Dataset(name="cifar10", pixels=16),
        "train": Dataset(name="cifar10", pixels=16, holdout=2),
        "validation": Dataset(name="cifar10", pixels=16, holdout=2, split="validation"),
        "test": Dataset(name="cifar10", pixels=16, split="test"),
    }
    monkey = {name: datasets.import_dataset(dataset, store, place) for name, dataset in parts.items()}
    ids = {name: set(load_dataset(store, dataset).ids.tolist()) for name, dataset in parts.items()}
    assert ids["train"] | ids["validation"] == ids["all"] == {0, 1, 2, 3}
    assert not ids["train"] & ids["validation"]
    assert monkey["train"]["counts"] == monkey["validation"]["counts"] == [1, 1]
    assert ids["test"] == {4, 5}
    assert monkey["test"]["source"].startswith("torchvision ")


def test_another_number_of_images_than_the_release_is_refused(tmp_path):
    write_idx(tmp_path, "MNIST", "", "t10k")
    with pytest.raises(DatasetError, match=r"'mnist' \(train\) has 60,000 images as it was released, and .* holds 3"):
        named_sets.read("mnist", {"mnist": tmp_path}, tmp_path)


def test_files_of_another_md5_than_the_release_are_refused(tmp_path):
    write_svhn(tmp_path)
    with pytest.raises(
        DatasetError, match=r"'svhn' is not at hand \(torchvision does not find it whole in .*corrupted"
    ):
        named_sets.read("svhn", {"svhn": tmp_path}, tmp_path)


def test_a_set_that_is_nowhere_says_what_to_write(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.usps.download_url", offline)
    with pytest.raises(DatasetError, match=r"the download failed: OSError: no route.*usps = \"DIR\" under \[data\]"):
        named_sets.read("usps", {}, tmp_path)
    with pytest.raises(DatasetError, match="no folder holds no Parquet files"):
        named_sets.read("cifar10-jpeg", {}, tmp_path)


def test_nothing_is_downloaded_where_a_folder_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.usps.download_url", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(DatasetError, match="does not find it whole"):
        named_sets.read("usps", {"usps": tmp_path}, tmp_path)
