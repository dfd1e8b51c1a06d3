"""Sets of Hugging Face's ``datasets``: saved by that package, read by it and by us; and what is said without it."""

import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image

from realfake import hugging_face
from realfake.datasets import DatasetError, import_dataset
from realfake.folders import fingerprint
from realfake.samples import load_dataset
from realfake.spec import Dataset
from realfake.store import Store
from tests.test_datasets import picture

CLASSES = ["cat", "dog"]
needs_package = pytest.mark.skipif(not importlib.util.find_spec("datasets"), reason="the package datasets is missing")


def part(seeds, **more):
    """A data set of a PNG image for every seed, of class seed modulo two."""
    library = pytest.importorskip("datasets")
    columns = {"photo": [Image.fromarray(picture(seed)) for seed in seeds], "kind": [seed % 2 for seed in seeds]}
    kinds = {"photo": library.Image(), "kind": library.ClassLabel(names=CLASSES)}
    extra = {name: library.Value("int64") if name == "n" else library.ClassLabel(names=["a"]) for name in more}
    return library.Dataset.from_dict({**columns, **more}, features=library.Features({**kinds, **extra}))


def saved(folder, **parts):
    library = pytest.importorskip("datasets")
    found = parts.pop("alone", None) or library.DatasetDict(parts)
    found.save_to_disk(str(folder))
    return folder


def spec(folder, **fields):
    return Dataset(**{"name": "hf", "fingerprint": fingerprint(folder, "hf"), **fields})


@needs_package
def test_a_saved_set_is_imported_pixel_by_pixel_with_its_splits(tmp_path):
    folder = saved(tmp_path / "set", train=part(range(6)), valid=part([6, 7]), test=part(range(8, 12)))
    store, seeds = Store(tmp_path / "store"), {"train": range(6), "validation": [6, 7], "test": range(8, 12)}
    for split, wanted in seeds.items():
        facts = import_dataset(spec(folder, split=split), store, {"hf": folder})
        samples = load_dataset(store, spec(folder, split=split))
        assert facts["classes"] == CLASSES
        assert samples.ids.tolist() == list(wanted)
        assert samples.labels.tolist() == [seed % 2 for seed in wanted]
        assert np.array_equal(samples.images, np.stack([picture(seed) for seed in wanted]))


@needs_package
def test_without_a_test_split_the_validation_split_is_it_or_one_is_held_out_by_content(tmp_path):
    two = saved(tmp_path / "two", train=part(range(6)), validation=part([6, 7]))
    found = hugging_face.read(spec(two), {"hf": two})
    assert [entry.id for entry in found.of("test")] == [6, 7]
    alone = saved(tmp_path / "alone", alone=part(range(40)))
    found = hugging_face.read(spec(alone), {"hf": alone})
    assert 2 <= len(found.of("test")) <= 20
    backwards = saved(tmp_path / "backwards", alone=part(range(39, -1, -1)))
    again = hugging_face.read(spec(backwards), {"hf": backwards})
    assert {e.open().tobytes() for e in again.of("test")} == {e.open().tobytes() for e in found.of("test")}


@needs_package
def test_the_name_is_the_content_and_not_the_folder(tmp_path):
    folder = saved(tmp_path / "set", train=part(range(6)), test=part([6, 7]))
    dataset = spec(folder)
    assert spec(saved(tmp_path / "copy", train=part(range(6)), test=part([6, 7]))) == dataset
    (tmp_path / "copy" / "train" / "cache-12.arrow").write_bytes(b"computed")
    assert spec(tmp_path / "copy") == dataset
    saved(tmp_path / "other", train=part(range(1, 7)), test=part([8, 9]))
    with pytest.raises(DatasetError, match="the folder has changed since"):
        import_dataset(dataset, Store(tmp_path / "store"), {"hf": tmp_path / "other"})
    with pytest.raises(DatasetError, match=f"write fingerprint='{dataset.fingerprint}'"):
        import_dataset(Dataset(name="hf"), Store(tmp_path / "store"), {"hf": folder})


@needs_package
def test_columns_are_found_by_type_and_several_are_refused(tmp_path):
    with_number = saved(tmp_path / "number", train=part(range(4), n=[1, 2, 3, 4]), test=part([4, 5], n=[1, 2]))
    assert hugging_face.read(spec(with_number), {"hf": with_number}).classes == tuple(CLASSES)
    second = [0, 0, 0, 0]
    coarse = saved(tmp_path / "coarse", alone=part(range(4), coarse=second))
    with pytest.raises(DatasetError, match=r"columns photo \(Image\), kind \(ClassLabel\), coarse \(ClassLabel\)"):
        hugging_face.read(spec(coarse), {"hf": coarse})
    chosen = saved(tmp_path / "chosen", alone=part(range(4), coarse=second).rename_column("kind", "label"))
    assert hugging_face.read(spec(chosen), {"hf": chosen}).classes == tuple(CLASSES)


@needs_package
def test_missing_splits_and_classes_are_refused(tmp_path):
    nothing = saved(tmp_path / "nothing", test=part([0, 1]))
    with pytest.raises(DatasetError, match="has the splits test and no train"):
        hugging_face.read(spec(nothing), {"hf": nothing})
    unlabelled = saved(tmp_path / "unlabelled", alone=part([0, 1, 2]).map(lambda row: {"kind": -1}))
    with pytest.raises(DatasetError, match=r"3 images have no class \(train 0"):
        hugging_face.read(spec(unlabelled), {"hf": unlabelled})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"is no folder of Dataset\.save_to_disk"):
        hugging_face.read(spec(tmp_path / "empty"), {"hf": tmp_path / "empty"})


@needs_package
def test_a_set_of_the_hub_is_asked_for_by_its_revision(monkeypatch):
    library = pytest.importorskip("datasets")
    asked, revision = [], "0123456789abcdef" * 2 + "01234567"

    def load(*names, **keywords):
        asked.append((names, keywords))
        return library.DatasetDict(train=part(range(4)), test=part([4, 5]))

    monkeypatch.setattr(library, "load_dataset", load)
    found = hugging_face.read(Dataset(name="hf:owner/name:small", fingerprint=revision), {})
    assert asked == [(("owner/name", "small"), {"revision": revision})]
    assert len(found.of("train")) == 4
    with pytest.raises(DatasetError, match="names no content, and what the hub holds may change"):
        hugging_face.read(Dataset(name="hf:owner/name", fingerprint="main"), {})

    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(library, "load_dataset", offline)
    with pytest.raises(DatasetError, match=r"cannot be had \(ConnectionError: no route\); go online, or save it"):
        hugging_face.read(Dataset(name="hf:owner/name", fingerprint=revision), {})


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="pip install datasets"):
        hugging_face.read(Dataset(name="hf:owner/name"), {})
