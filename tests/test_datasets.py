"""Importing: known counts, held-out splits, pixels kept as they were, and every kind of bad data, on tiny files."""

import gzip
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from realfake import datasets, folders, samples, sources
from realfake.datasets import DatasetError, fingerprint, import_dataset
from realfake.spec import Dataset
from realfake.store import Store, StoreError


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def picture(seed, side=8, channels=3):
    """Random pixels that no other seed has."""
    shape = (side, side, channels) if channels > 1 else (side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pets(tmp_path):
    """A folder with train and test, two classes, 6 + 3 images of each: numbers 0 … 17 are their seeds."""
    root, seed = tmp_path / "pets", 0
    for split, n in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            for i in range(n):
                save(root / split / name / f"{i}.png", picture(seed))
                seed += 1
    return root


def folder_spec(root, **fields):
    return Dataset(**{"name": "imagefolder", "fingerprint": fingerprint(root), "pixels": 8, **fields})


def imported(root, store, **fields):
    """Import a folder and return its facts and its samples."""
    dataset = folder_spec(root, **fields)
    facts = import_dataset(dataset, store, {dataset.fingerprint: root})
    return facts, samples.load(store, dataset)


# ------------------------------------------------------------------------------------------------------- built-in sets


@pytest.mark.parametrize(("split", "n"), [("train", 1297), ("test", 500)])
def test_digits_have_known_counts_and_keep_class_proportions(store, split, n):
    facts = import_dataset(Dataset(name="digits", split=split), store)
    in_all = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert facts["n"] == sum(facts["counts"]) == n
    assert (abs(np.array(facts["counts"]) - in_all * n / 1797) <= 1).all()
    assert (facts["pixels"], facts["channels"], facts["classes"]) == (8, 1, list("0123456789"))
    assert facts["problems"]["repeated_in_split"] == 0
    assert "unverified" in facts["licence"]
    assert "scikit-learn" in facts["source"]


@pytest.mark.parametrize("pixels", [14, 16])
def test_mnist5k_holds_out_150_of_each_class_and_has_no_duplicates_when_resized(store, pixels):
    train, test = (import_dataset(Dataset(name="mnist5k", pixels=pixels, split=s), store) for s in ("train", "test"))
    assert train["counts"] == [350] * 10
    assert test["counts"] == [150] * 10
    assert train["pixels"] == pixels
    assert not any(train["problems"].values())


def test_stored_pixels_are_those_of_the_source(store):
    from sklearn.datasets import load_digits

    whole = load_digits()
    train, test = (Dataset(name="digits", split=s) for s in ("train", "test"))
    for dataset in (train, test):
        import_dataset(dataset, store)
        loaded = samples.load(store, dataset)
        assert np.array_equal(loaded.labels, whole.target[loaded.ids])
        assert np.array_equal(loaded.images[..., 0], np.round(whole.images[loaded.ids] * 255 / 16))
    ids = [*samples.load(store, train).ids, *samples.load(store, test).ids]
    assert sorted(ids) == list(range(1797))


def test_importing_again_does_nothing_and_elsewhere_gives_the_same_bytes(store, tmp_path):
    dataset = Dataset(name="digits", split="test")
    facts = import_dataset(dataset, store)
    written = os.stat(store.folder(dataset) / "part-00000.parquet").st_mtime_ns
    assert import_dataset(dataset, store) == facts
    assert os.stat(store.folder(dataset) / "part-00000.parquet").st_mtime_ns == written
    other = Store(tmp_path / "other")
    import_dataset(dataset, other)
    assert other.record(dataset)["files"] == store.record(dataset)["files"]


def test_files_hold_at_most_so_many_rows(store, monkeypatch):
    monkeypatch.setattr(datasets, "FILE_ROWS", 200)
    dataset = Dataset(name="digits", split="test")
    import_dataset(dataset, store)
    assert list(store.record(dataset)["files"]) == [f"part-{i:05d}.parquet" for i in range(3)]
    assert list(np.diff(samples.load(store, dataset).ids) > 0) == [True] * 499


def test_other_pixels_under_a_known_name_are_refused(monkeypatch):
    monkeypatch.setitem(sources.SHA256, "digits", "0" * 64)
    with pytest.raises(DatasetError, match="not the set of that name"):
        sources.digits()


def test_an_unknown_name_names_the_nearest(store):
    with pytest.raises(DatasetError, match="did you mean 'digits'"):
        import_dataset(Dataset(name="digit"), store)


def test_sets_without_a_validation_split_say_so(store):
    with pytest.raises(DatasetError, match="'digits' has no validation split; it has train and test"):
        import_dataset(Dataset(name="digits", split="validation"), store)


@pytest.mark.parametrize(("name", "beside"), [("digits", {"scipy"}), ("aerial-urban", set())])
def test_importing_a_built_in_set_loads_no_large_library(tmp_path, name, beside):
    code = (
        "import sys; from realfake import boxed; from realfake.datasets import import_dataset; "
        "from realfake.spec import Dataset; from realfake.store import Store; boxed.RENDERED_SIZES['train'] = 1; "
        f"import_dataset(Dataset(name={name!r}), Store({str(tmp_path)!r})); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "torchvision", "sklearn", "mlxtend", "ray", *beside} & set(loaded)


# ------------------------------------------------------------------------------------------------------- Fashion-MNIST


def idx_bytes(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def tiny_fashion(tmp_path, monkeypatch):
    """Four IDX files in the format of Fashion-MNIST, 40 + 20 images, known by their digest."""
    images, labels = np.stack([picture(i, 6, 1) for i in range(60)]), (np.arange(60) % 10).astype(np.uint8)
    parts = (images[:40], labels[:40], images[40:], labels[40:])
    for name, part in zip(sources.FASHION_FILES, parts, strict=True):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(part)))
    digest = sources.hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    monkeypatch.setitem(sources.SHA256, "fashion", digest)
    return tmp_path


def test_fashion_is_read_from_a_folder_with_its_own_split(tiny_fashion, store):
    train, test = Dataset(name="fashion"), Dataset(name="fashion", split="test")
    assert import_dataset(train, store, {"fashion": tiny_fashion})["counts"] == [4] * 10
    assert import_dataset(test, store, {"fashion": tiny_fashion})["counts"] == [2] * 10
    assert np.array_equal(samples.load(store, test).images[3, ..., 0], picture(43, 6, 1))
    assert store.record(train)["result"]["classes"][9] == "Ankle boot"


def test_fashion_that_is_nowhere_names_three_cures(store, tmp_path):
    with pytest.raises(DatasetError, match=r"apt-get install dataset-fashion-mnist.*\[data\].*torchvision"):
        import_dataset(Dataset(name="fashion"), store, {"fashion": tmp_path})


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5)])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_idx_files_are_read_as_written(tmp_path, shape, suffix):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"a-ubyte{suffix}"
    path.write_bytes(gzip.compress(idx_bytes(array)) if suffix else idx_bytes(array))
    assert np.array_equal(sources.read_idx(path), array)


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b"\1" + b[1:], lambda b: b"", lambda b: b + b"0"])
def test_spoilt_idx_files_are_refused(tmp_path, spoil):
    path = tmp_path / "a-ubyte"
    path.write_bytes(spoil(idx_bytes(picture(0, 4, 1))))
    with pytest.raises(DatasetError, match="not a whole IDX file"):
        sources.read_idx(path)


def test_a_truncated_gz_file_is_refused(tmp_path):
    path = tmp_path / "a-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(picture(0, 16, 1)))[:-20])
    with pytest.raises(DatasetError, match="fetch it again"):
        sources.read_idx(path)


# ------------------------------------------------------------------------------------------------------- image folders


def test_a_folder_with_train_and_test_is_read_as_it_is(pets, store):
    facts, train = imported(pets, store)
    assert (facts["classes"], facts["counts"], facts["channels"]) == (["cat", "dog"], [6, 6], 3)
    assert facts["source"] == str(pets)
    assert np.array_equal(train.images, np.stack([picture(i) for i in range(12)]))
    assert train.labels.tolist() == [0] * 6 + [1] * 6
    _, test = imported(pets, store, split="test")
    assert np.array_equal(test.images, np.stack([picture(i) for i in range(12, 18)]))
    assert sorted([*train.ids, *test.ids]) == list(range(18))


def test_val_stands_in_for_test_and_what_is_not_used_is_said(pets, store):
    shutil.copytree(pets / "test", pets / "val")
    assert imported(pets, store, split="test")[0]["source"] == f"{pets}; not used: val/"
    shutil.rmtree(pets / "test")
    save(pets / "train" / "beside.png", picture(99))
    facts, _ = imported(pets, store, split="test")
    assert facts["n"] == 6
    assert facts["source"] == f"{pets}; not used: 1 images outside class folders"


def test_images_are_cropped_to_the_central_square_and_resized(pets, store):
    wide = np.zeros((16, 40, 3), np.uint8)
    wide[:, 12:28] = (255, 0, 0)
    save(pets / "train" / "cat" / "0.png", wide)
    _, train = imported(pets, store, pixels=8)
    assert (train.images[0] == (255, 0, 0)).all()


def test_grey_images_have_one_channel_unless_another_image_has_colour(tmp_path, store):
    for i in range(20):
        save(tmp_path / "grey" / "ab"[i % 2] / f"{i}.png", picture(i, channels=1))
    facts, train = imported(tmp_path / "grey", store)
    assert facts["channels"] == train.images.shape[-1] == 1
    save(tmp_path / "grey" / "a" / "colour.png", picture(50))
    for split in ("train", "test"):
        assert imported(tmp_path / "grey", store, split=split)[1].images.shape[-1] == 3


def test_sixteen_bits_transparency_and_camera_rotation(pets, store):
    deep = np.full((8, 8), 128 * 257, np.uint16)
    Image.fromarray(deep).save(pets / "train" / "cat" / "0.png")
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:4] = (10, 20, 30, 255)
    Image.fromarray(clear).save(pets / "train" / "cat" / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(picture(2)).save(pets / "train" / "cat" / "2.png", exif=exif)
    _, train = imported(pets, store)
    assert (train.images[0] == 128).all()
    assert (train.images[1][:4] == (10, 20, 30)).all()
    assert (train.images[1][4:] == 255).all()
    assert np.array_equal(train.images[2], picture(2)[::-1, ::-1])


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "webp", "bmp"])
def test_other_formats_are_read(pets, store, suffix):
    flat = np.full((8, 8, 3), 200, np.uint8)
    save(pets / "train" / "cat" / f"new.{suffix}", flat)
    facts, train = imported(pets, store)
    assert facts["counts"] == [7, 6]
    assert (abs(train.images[6].astype(int) - 200) <= 2).all()


def test_images_of_several_sizes_need_pixels(pets, store):
    save(pets / "test" / "cat" / "0.png", picture(0, side=12))
    with pytest.raises(DatasetError, match=r"2 sizes, from 8×8 to 12×12.*set Dataset\(pixels=32\)"):
        imported(pets, store, pixels=0)
    assert imported(pets, store, pixels=8)[0]["n"] == 12


# ----------------------------------------------------------------------------------------------- held out by content


@pytest.fixture
def unsplit(tmp_path):
    for i in range(400):
        save(tmp_path / "all" / ("cat" if i < 300 else "dog") / f"{i}.png", picture(i, side=4))
    return tmp_path / "all"


def test_a_fifth_of_each_class_is_held_out_and_a_new_file_moves_no_other(unsplit):
    before = {entry.name: entry.split for entry in folders.image_folder(unsplit).entries}
    for name, n in (("cat", 300), ("dog", 100)):
        held = sum(split == "test" for key, split in before.items() if key.startswith(name))
        assert abs(held / n - 0.2) < 3 * (0.2 * 0.8 / n) ** 0.5
    for i in range(400, 440):
        save(unsplit / "cat" / f"a{i}.png", picture(i, side=4))
    after = {entry.name: entry.split for entry in folders.image_folder(unsplit).entries}
    assert {name: after[name] for name in before} == before


def test_equal_files_fall_on_one_side(unsplit):
    for file in sorted((unsplit / "cat").iterdir()):
        shutil.copy(file, file.with_name(f"copy of {file.name}"))
    split = {entry.name: entry.split for entry in folders.image_folder(unsplit).entries}
    assert all(split[f"cat/{i}.png"] == split[f"cat/copy of {i}.png"] for i in range(300))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_small_class_has_images_on_both_sides(tmp_path, n):
    for i in range(20):
        for k in range(n):
            save(tmp_path / f"class {i:02d}" / f"{k}.png", picture(100 * i + k, side=4))
    source = folders.image_folder(tmp_path)
    for split in ("train", "test"):
        assert {entry.label for entry in source.of(split)} == set(range(20))


# ------------------------------------------------------------------------------------------------------------ bad data


def refused(root, store, match, **fields):
    with pytest.raises(DatasetError, match=match) as failure:
        imported(root, store, **fields)
    assert store.find() == []
    return str(failure.value)


def test_unreadable_images_are_refused_by_name_or_skipped_and_counted(pets, store):
    (pets / "train" / "cat" / "0.png").write_bytes(b"no image")
    whole = (pets / "train" / "dog" / "1.png").read_bytes()
    (pets / "train" / "dog" / "1.png").write_bytes(whole[:-60])
    (pets / "train" / "dog" / "2.png").write_bytes(b"")
    said = refused(pets, store, "3 unreadable images")
    assert "train/cat/0.png, train/dog/1.png, train/dog/2.png" in said
    assert "set problems='skip' to leave them out and have them counted" in said
    facts, train = imported(pets, store, problems="skip")
    assert facts["problems"]["unreadable"] == ["train/cat/0.png", "train/dog/1.png", "train/dog/2.png"]
    assert facts["counts"] == [5, 4]
    kept = np.stack([picture(i) for i in (1, 2, 3, 4, 5, 6, 9, 10, 11)])
    assert np.array_equal(train.images, kept)


def test_no_more_than_five_names_are_said(pets, store):
    for i in range(6):
        (pets / "train" / "cat" / f"bad{i}.png").write_bytes(b"no image")
    assert "bad4.png, …)" in refused(pets, store, "6 unreadable images")


def test_an_unreadable_test_image_is_refused_or_counted_in_the_test_split(pets, store):
    (pets / "test" / "cat" / "0.png").write_bytes(b"no image")
    refused(pets, store, "1 unreadable image ", split="test")
    facts, _ = imported(pets, store, split="test", problems="skip")
    assert (facts["n"], facts["problems"]["unreadable"]) == (5, ["test/cat/0.png"])


def test_train_images_that_are_in_test_are_refused_or_left_out_of_train(pets, store):
    save(pets / "train" / "cat" / "leak.bmp", picture(12))  # the pixels of test/cat/0.png in another format
    said = refused(pets, store, "1 train image that is in test too")
    assert "train/cat/leak.bmp" in said
    facts, train = imported(pets, store, problems="skip")
    assert facts["problems"]["train_images_in_test"] == ["train/cat/leak.bmp"]
    assert not any(np.array_equal(image, picture(12)) for image in train.images)
    assert imported(pets, store, problems="skip", split="test")[0]["n"] == 6


def test_repeated_images_within_a_split_are_counted_and_kept(pets, store):
    for name in ("again.png", "and again.png"):
        shutil.copy(pets / "train" / "cat" / "0.png", pets / "train" / "cat" / name)
    facts, train = imported(pets, store)
    assert facts["problems"]["repeated_in_split"] == 2
    assert len(train) == 14


def test_an_empty_class_is_refused_or_named_and_left_out(pets, store):
    (pets / "train" / "bird").mkdir()
    refused(pets, store, r"1 class without an example \(bird\)")
    facts, train = imported(pets, store, problems="skip")
    assert facts["problems"]["empty_classes"] == ["bird"]
    assert facts["classes"] == ["cat", "dog"]
    assert set(train.labels) == {0, 1}


def test_a_class_of_one_split_keeps_its_place_in_both(pets, store):
    save(pets / "train" / "bird" / "0.png", picture(70))
    facts, _ = imported(pets, store, problems="skip", split="test")
    assert (facts["classes"], facts["counts"]) == (["bird", "cat", "dog"], [0, 3, 3])
    assert facts["problems"]["empty_classes"] == ["bird"]


@pytest.mark.parametrize("problems", ["refuse", "skip"])
def test_a_single_class_is_always_refused(pets, store, problems):
    for split in ("train", "test"):
        shutil.rmtree(pets / split / "dog")
    refused(pets, store, "images of 1 class, and telling classes apart takes two", problems=problems)


@pytest.mark.parametrize("problems", ["refuse", "skip"])
def test_an_empty_folder_is_always_refused(tmp_path, store, problems):
    (tmp_path / "nothing").mkdir()
    refused(tmp_path / "nothing", store, "images of 0 classes", problems=problems)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read"):
        fingerprint(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="not a folder"):
        folders.image_folder(save(tmp_path / "a.png", picture(0)))


# ------------------------------------------------------------------------------------------------ fingerprint and place


def test_the_fingerprint_follows_names_and_content_and_nothing_else(pets, tmp_path):
    before = fingerprint(pets)
    assert len(before) == 16
    assert int(before, 16) >= 0
    (pets / "notes.txt").write_text("not an image")
    save(pets / ".thumbnails" / "a.png", picture(0))
    shutil.copytree(pets, tmp_path / "moved")
    assert fingerprint(pets) == fingerprint(tmp_path / "moved") == before
    (pets / "train" / "cat" / "0.png").rename(pets / "train" / "cat" / "renamed.png")
    renamed = fingerprint(pets)
    save(pets / "train" / "cat" / "renamed.png", picture(1000))
    assert len({before, renamed, fingerprint(pets)}) == 3


def test_a_folder_that_has_changed_is_refused(pets, store):
    dataset = folder_spec(pets)
    save(pets / "train" / "cat" / "new.png", picture(80))
    with pytest.raises(DatasetError, match=f"has changed since.*fingerprint='{fingerprint(pets)}'"):
        import_dataset(dataset, store, {"imagefolder": pets})


def test_a_folder_of_no_known_place_says_what_to_type(pets, store):
    dataset = folder_spec(pets)
    with pytest.raises(DatasetError, match=r"under \[data\] in the --on file, or type realfake new --images DIR"):
        import_dataset(dataset, store)
    with pytest.raises(DatasetError, match="is no longer at /gone"):
        import_dataset(dataset, store, {dataset.fingerprint: pets.__class__("/gone")})


def test_a_folder_without_a_fingerprint_is_refused_with_the_one_to_write(pets, store):
    with pytest.raises(DatasetError, match=f"write fingerprint='{fingerprint(pets)}'"):
        import_dataset(Dataset(name="imagefolder", pixels=8), store, {"imagefolder": pets})


def test_a_place_given_by_name_is_used_where_the_remembered_one_is_gone(pets, store):
    datasets.remember_location(store, pets)
    dataset, moved = folder_spec(pets), pets.with_name("moved")
    pets.rename(moved)
    places = {**datasets.known_locations(store), "imagefolder": moved}
    assert import_dataset(dataset, store, places)["source"] == str(moved)


def test_places_are_remembered_in_the_store(pets, store, tmp_path):
    assert datasets.known_locations(store) == {}
    mark = datasets.remember_location(store, pets)
    other = datasets.remember_location(store, save(tmp_path / "other" / "a.png", picture(0)).parent)
    assert datasets.known_locations(store) == {mark: pets, other: tmp_path / "other"}
    (store.root / "locations.json").write_text("{")
    with pytest.raises(StoreError, match="not JSON"):
        datasets.known_locations(store)


# ------------------------------------------------------------------------------------------------------------- Parquet


def png(seed):
    return samples.encode(picture(seed))


def write_parquet(path, seeds, struct=False, names=False, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(s), "path": None} if struct else png(s) for s in seeds]
    columns = {"image": images, "label": [3 + 4 * (s % 2) for s in seeds], **columns}
    if names:
        columns["class_name"] = ["even" if s % 2 == 0 else "odd" for s in seeds]
    pq.write_table(pa.table(columns), path, row_group_size=4)
    return path


@pytest.mark.parametrize("struct", [False, True])
def test_a_folder_of_train_and_test_parquet_files(tmp_path, store, struct):
    root = write_parquet(tmp_path / "set" / "train-0.parquet", range(6), struct, names=True).parent
    write_parquet(root / "train-1.parquet", range(6, 10), struct, names=True)
    write_parquet(root / "test.parquet", range(10, 16), struct, names=True)
    facts, train = imported(root, store, name="parquet")
    assert (facts["classes"], facts["counts"]) == (["even", "odd"], [5, 5])
    assert np.array_equal(train.images, np.stack([picture(i) for i in range(10)]))
    assert train.labels.tolist() == [i % 2 for i in range(10)]
    assert np.array_equal(imported(root, store, name="parquet", split="test")[1].images[0], picture(10))


def test_a_single_parquet_file_has_a_test_split_held_out(tmp_path, store):
    path = write_parquet(tmp_path / "all.parquet", range(100))
    train, test = (imported(path, store, name="parquet", split=split)[0] for split in ("train", "test"))
    assert train["n"] + test["n"] == 100
    assert 8 <= test["n"] <= 32
    assert train["classes"] == ["3", "7"]
    assert "held out by content (20%)" in train["source"]


def test_unreadable_rows_of_parquet_are_named(tmp_path, store):
    images = [png(0), b"no image", png(2), png(3), png(4), None]
    root = write_parquet(tmp_path / "set" / "train.parquet", range(6), image=images).parent
    write_parquet(root / "test.parquet", range(10, 14))
    said = refused(root, store, "2 unreadable images", name="parquet")
    assert "train.parquet row 1 of group 0, train.parquet row 1 of group 1" in said


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"label": ["a"] * 6}, r"label \(string\).*whole numbers"),
        ({"image": [1] * 6}, r"image \(int64\).*it needs 'image'"),
        ({"label": [1, None, 1, 2, 2, 2]}, "row 1 of group 0 has no label"),
        ({"label": [1] * 6, "class_name": ["a", "b"] * 3}, "label 1 has two class names, 'a' and 'b'"),
    ],
)
def test_parquet_with_other_columns_is_refused(tmp_path, store, columns, match):
    path = write_parquet(tmp_path / "a.parquet", range(6), **columns)
    with pytest.raises(DatasetError, match=match):
        imported(path, store, name="parquet")


def test_what_is_no_parquet_file_is_refused(tmp_path, store):
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="not a Parquet file that can be read"):
        imported(tmp_path / "a.parquet", store, name="parquet")
    with pytest.raises(DatasetError, match="holds no Parquet file"):
        folders.parquet(save(tmp_path / "folder" / "a.png", picture(0)).parent)
