"""A study of one's own images: it loads, fits its data, and says what was found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from realfake import datasets, scaffold, studyfile
from realfake.datasets import DatasetError
from realfake.scaffold import ScaffoldError, ladder_sizes, mixed_sizes, write_study
from realfake.spec import ClosedSet, Dataset, DetectionRecipe, Procedural, Subset, order
from realfake.store import Store


@pytest.fixture
def photos(tmp_path):
    """60 + 20 images of three classes."""
    random = np.random.default_rng(0)
    for split, n in (("train", 20), ("test", 7)):
        for name in ("ant", "bee", "wasp"):
            folder = tmp_path / "My Photos" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                Image.fromarray(random.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "My Photos"


def test_the_study_loads_and_fits_its_images(photos, tmp_path):
    store, out = Store(tmp_path / "store"), tmp_path / "studies" / "My_photos.py"
    said = write_study(photos, out, store)
    read = studyfile.read(out)
    assert read.question == "How many synthetic images are worth one real image of My Photos?"
    assert f"realfake run {out}" in read.docstring
    assert read.study.name == "my_photos"
    held = order([read.study])
    facts = {spec.split: store.record(spec)["result"] for spec in held if isinstance(spec, Dataset)}
    assert (facts["train"]["n"], facts["test"]["n"], facts["train"]["pixels"]) == (60, 21, 32)
    real = [spec for spec in held if isinstance(spec, Subset) and isinstance(spec.of, Dataset)]
    assert max(subset.size for subset in real) == 60
    assert max(spec.real.size for spec in held if isinstance(spec, ClosedSet)) <= 60 / 4
    assert {spec.network for spec in held if isinstance(spec, ClosedSet)} == {"unet-s"}
    assert f"realfake run {out} --store {store.root}" in said
    assert "ant" in said
    assert "21 test images" in said


def test_the_network_is_made_for_the_pixels():
    from realfake.generators.networks import network_for

    assert network_for(scaffold.NETWORK, scaffold.PIXELS, scaffold.PIXELS)


def test_what_is_printed_counts_what_the_study_makes(photos, tmp_path):
    out = tmp_path / "a.py"
    said = write_study(photos, out, Store(tmp_path / "store"))
    sizes, classes = mixed_sizes(60, 3), 3
    assert sizes == (3, 6, 12)[-len(sizes) :]
    assert min(sizes) >= classes
    trials = 3 * (len(ladder_sizes(60, sizes)) + 3 * len(sizes))
    assert f"{trials} trials, {3 * len(sizes)} generators, {3 * 16 * sum(sizes):,} synthetic images" in said


def test_the_place_is_remembered_so_that_the_study_runs_elsewhere(photos, tmp_path):
    store = Store(tmp_path / "store")
    write_study(photos, tmp_path / "a.py", store)
    assert list(datasets.known_locations(store).values()) == [photos]


def test_problems_are_told_and_the_study_leaves_them_out(photos, tmp_path):
    (photos / "train" / "ant" / "3.png").write_bytes(b"no image")
    said = write_study(photos, tmp_path / "a.py", Store(tmp_path / "store"))
    assert "train, left out: 1 unreadable image (train/ant/3.png)" in said
    study = studyfile.read(tmp_path / "a.py").study
    assert {spec.problems for spec in order([study]) if isinstance(spec, Dataset)} == {"skip"}


def test_an_existing_file_is_left_alone(photos, tmp_path):
    (tmp_path / "a.py").write_text("mine")
    with pytest.raises(ScaffoldError, match="give another file with --out"):
        write_study(photos, tmp_path / "a.py", Store(tmp_path / "store"))
    assert (tmp_path / "a.py").read_text() == "mine"


def test_unusable_folders_write_nothing(tmp_path):
    for images in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError):
            write_study(images, tmp_path / "a.py", Store(tmp_path / "store"))
    assert not (tmp_path / "a.py").exists()


def test_a_title_cannot_break_out_of_the_docstring(photos, tmp_path):
    odd = photos.rename(tmp_path / 'a"""b\\ {c}')
    write_study(odd, tmp_path / "a.py", Store(tmp_path / "store"))
    assert "a b {c}" in studyfile.read(tmp_path / "a.py").question


@pytest.fixture
def boxes(tmp_path):
    """40 + 12 drone pictures with YOLO labels of one class."""
    random = np.random.default_rng(1)
    root = tmp_path / "Drone"
    for split, n in (("train", 40), ("val", 12)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(n):
            pixels = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / split / f"{i}.png")
            (root / "labels" / split / f"{i}.txt").write_text("0 0.5 0.5 0.25 0.5\n" * (i % 3 > 0))
    (root / "classes.txt").write_text("person\n")
    return root


def test_a_folder_with_boxes_becomes_a_study_of_a_detector(boxes, tmp_path):
    store, out = Store(tmp_path / "store"), tmp_path / "studies" / "drone.py"
    said = write_study(boxes, out, store)
    read = studyfile.read(out)
    assert read.question == "How many rendered scenes of people are worth one real image of Drone?"
    assert "34 objects of person on 40 training and 12 test images, at 320×320 pixels" in read.docstring
    held = order([read.study])
    assert {(spec.name, spec.pixels) for spec in held if isinstance(spec, Dataset)} == {("yolo", 320)}
    assert {trial.recipe for trial in read.study.trials} == {DetectionRecipe(examples_seen=10_000)}
    assert {spec.pixels for spec in held if isinstance(spec, Procedural)} == {320}
    assert not [spec for spec in held if isinstance(spec, ClosedSet)]
    assert max(trial.n_real for trial in read.study.trials) == 40
    assert max(trial.n_synthetic for trial in read.study.trials) == 4 * max(mixed_sizes(40, 1))
    assert f"{boxes} (yolo): colour images with boxes, fitted whole into 320×320 pixels" in said
    assert "objects: person       26        8" in said
    assert "points" not in said
    assert f"{len(read.study.trials)} trials, 0 generators" in said
    for dataset in (spec for spec in held if isinstance(spec, Dataset)):
        assert store.record(dataset)["result"]["source"].endswith("its validation split is the test split")


def test_what_the_renderer_does_not_draw_gets_a_ladder_alone(boxes, tmp_path):
    (boxes / "classes.txt").write_text("dog\n")
    (boxes / "labels/train/3.txt").write_text("7 0.5 0.5 0.25 0.5\n")
    said = write_study(boxes, tmp_path / "a.py", Store(tmp_path / "store"))
    assert "train, left out: 1 box of an unknown category (3:1: 7)" in said
    study = studyfile.read(tmp_path / "a.py").study
    assert not any(trial.n_synthetic for trial in study.trials)
    assert {spec.problems for spec in order([study]) if isinstance(spec, Dataset)} == {"skip"}


@given(st.integers(1, 100_000), st.integers(2, 200))
def test_sizes_suit_any_folder(n_train, classes):
    if n_train // 4 < classes:
        with pytest.raises(ScaffoldError, match=f"until there are {4 * classes} to train on"):
            mixed_sizes(n_train, classes)
        return
    mixed = mixed_sizes(n_train, classes)
    ladder = ladder_sizes(n_train, mixed)
    assert classes <= min(mixed)
    assert 4 * max(mixed) <= n_train
    assert list(ladder) == sorted(set(ladder))
    assert set(mixed) < set(ladder)
    assert ladder[-1] == n_train
