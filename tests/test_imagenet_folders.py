"""ImageNet-1K and ImageNet-100: the layouts that they are handed out in, read by us and by torchvision where it can."""

import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.imagenet as theirs
from PIL import Image
from scipy.io import savemat

from realfake import datasets, execution, imagenet_folders, studyfile
from realfake.folders import fingerprint
from realfake.resources import Cluster, Where
from realfake.samples import load_dataset
from realfake.sources import DatasetError
from realfake.spec import Dataset
from realfake.store import Store
from tests.test_datasets import picture, save

IDS = ("n01440764", "n01443537", "n01484850")
NUMBERS = (3, 1, 2)  # the development kit's own, which do not follow the order of the ids


@pytest.fixture(autouse=True)
def three_classes(monkeypatch):
    for name in imagenet_folders.CLASSES:
        monkeypatch.setitem(imagenet_folders.CLASSES, name, 3)


def write_train(folder, ids=IDS, first=0):
    for label, name in enumerate(ids):
        for i in range(2):
            save(folder / name / f"{name}_{i}.JPEG", picture(first + 10 * label + i, side=12))


def write_val(folder, nested=True):
    """Validation images 1 … 6, of classes 0, 1, 2, 0, 1, 2."""
    for number in range(1, 7):
        label = IDS[(number - 1) % 3] if nested else ""
        save(folder / label / f"ILSVRC2012_val_{number:08d}.JPEG", picture(100 + number, side=12))


def write_answers(folder):
    lines = [f"ILSVRC2012_val_{n:08d},{IDS[(n - 1) % 3]} 1 2 3 4 {IDS[0]} 5 6 7 8" for n in range(1, 7)]
    (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]))


def write_devkit(folder):
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(number, name, f"word {name}", "gloss", 0) for number, name in zip(NUMBERS, IDS, strict=True)]
    savemat(data / "meta.mat", {"synsets": np.array([*rows, (4, "n00001740", "entity", "gloss", 3)], dtype=kinds)})
    truth = "".join(f"{NUMBERS[(n - 1) % 3]}\n" for n in range(1, 7))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    return data.parent


def nested(root):
    write_train(root / "train")
    write_val(root / "val")


def kaggle(root):
    write_train(root / "ILSVRC" / "Data" / "CLS-LOC" / "train")
    write_val(root / "ILSVRC" / "Data" / "CLS-LOC" / "val", nested=False)
    save(root / "ILSVRC" / "Data" / "CLS-LOC" / "test" / "ILSVRC2012_test_00000001.JPEG", picture(7, side=12))
    write_answers(root)


def with_devkit(root):
    write_train(root / "train")
    write_val(root / "val", nested=False)
    write_devkit(root)


def in_parts(root):
    for part, name in enumerate(IDS, 1):
        write_train(root / f"train.X{part}", [name], first=10 * (part - 1))
    write_val(root / "val.X")
    (root / "Labels.json").write_text("{}")


@pytest.mark.parametrize("name", ["imagenet1k", "imagenet100"])
@pytest.mark.parametrize("layout", [nested, kaggle, with_devkit, in_parts])
def test_every_layout_is_the_same_images_of_the_same_classes(layout, name, tmp_path):
    root, store = tmp_path / "photos", Store(tmp_path / "store")
    layout(root)
    mark, found = fingerprint(root, name), {}
    for split in ("train", "test"):
        dataset = Dataset(name=name, split=split, pixels=8, fingerprint=mark)
        facts = datasets.import_dataset(dataset, store, {name: root})
        assert (facts["classes"], facts["counts"], facts["channels"]) == ([*IDS], [2, 2, 2], 3)
        samples = load_dataset(store, dataset)
        found |= {image.tobytes(): int(label) for image, label in zip(samples.images, samples.labels, strict=True)}
    seeds = {10 * label + i: label for label in range(3) for i in range(2)}
    seeds |= {100 + number: (number - 1) % 3 for number in range(1, 7)}
    assert found == {seen(seed): label for seed, label in seeds.items()}


def seen(seed):
    """What the image of a seed looks like as a JPEG file, at 8 pixels."""
    file = io.BytesIO()
    Image.fromarray(picture(seed, side=12)).save(file, "JPEG")
    return np.array(Image.open(file).resize((8, 8), Image.Resampling.LANCZOS)).tobytes()


def test_the_development_kit_is_understood_as_torchvision_does(tmp_path, monkeypatch):
    with_devkit(tmp_path)
    with tarfile.open(tmp_path / "kit.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    monkeypatch.setattr(theirs, "_verify_archive", lambda *_: None)
    theirs.parse_devkit_archive(tmp_path, "kit.tar.gz")
    _, ids = theirs.load_meta_file(tmp_path)
    ours = imagenet_folders._answers(tmp_path, tmp_path)
    assert [ours[f"ILSVRC2012_val_{n:08d}"] for n in range(1, 7)] == ids == [*IDS, *IDS]


def spec(root, **fields):
    mark = fingerprint(root, "imagenet100")
    return Dataset(**{"name": "imagenet100", "pixels": 8, "fingerprint": mark, **fields})


def test_train_images_are_held_out_to_validate_on(tmp_path):
    nested(tmp_path / "photos")
    dataset = spec(tmp_path / "photos", holdout=3, split="validation")
    facts = datasets.import_dataset(dataset, Store(tmp_path), {"imagenet100": tmp_path / "photos"})
    assert facts["counts"] == [1, 1, 1]


def test_answers_belong_to_the_content_of_imagenet_1k(tmp_path):
    kaggle(tmp_path)
    before = fingerprint(tmp_path, "imagenet1k")
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n")
    assert fingerprint(tmp_path, "imagenet1k") != before


def refused(root, **fields):
    with pytest.raises(DatasetError) as error:
        datasets.import_dataset(spec(root, **fields), Store(root.parent / "store"), {"imagenet100": root})
    return str(error.value)


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    root = tmp_path / "photos"
    save(root / "train" / "cat" / "0.JPEG", picture(1))
    assert "holds no train/ and val/" in refused(root)
    save(root / "val" / "0.JPEG", picture(2))
    assert "1 images whose classes nothing tells (0.JPEG" in refused(root)
    save(root / "val" / "cat" / "0.JPEG", picture(3))
    (root / "val" / "0.JPEG").unlink()
    assert "WordNet ids such as n01440764" in refused(root)
    assert "photographs of many sizes" in refused(root, pixels=0)
    assert "names no content" in refused(root, fingerprint="")


def test_another_number_of_classes_is_another_set(tmp_path):
    root = tmp_path / "photos"
    write_train(root / "train", IDS[:2])
    save(root / "val" / IDS[0] / "0.JPEG", picture(2))
    assert "holds 2 classes and 'imagenet100' has 3" in refused(root)


def test_the_study_of_imagenet_100_counts_on_photographs_in_the_layout_of_kaggle(tmp_path, monkeypatch):
    """A 250th of its sizes, ten classes: what it says of its generators and trials is what it then would make."""
    monkeypatch.setitem(imagenet_folders.CLASSES, "imagenet100", 10)
    root = tmp_path / "photos"
    for number in range(10):
        name = f"n{number:08d}"
        for i in range(50):
            save(root / f"train.X{1 + number // 3}" / name / f"{i}.JPEG", picture(100 * number + i))
        save(root / "val.X" / name / "0.JPEG", picture(100 * number + 99))
    text = (Path(__file__).parents[1] / "studies" / "imagenet100_closed_set.py").read_text()
    for size in ("3750", "7500", "15_000", "30_000", "60_000", "120_000", "5000"):
        text = re.sub(rf"\b{size}\b", str(int(size) // 250), text)
    told = [int(count) for count in re.findall(r"(\d+) (?:generators,|trials:)", text)]
    text = text.replace('FINGERPRINT = ""', f'FINGERPRINT = "{fingerprint(root, "imagenet100")}"')
    (tmp_path / "study.py").write_text(text)
    where = Where(store=str(tmp_path / "store"), cluster=Cluster(address="none"), data=(f"imagenet100={root}",))
    lacking = execution.dry_run(studyfile.read(tmp_path / "study.py").study, where)
    assert [len(lacking.fits), len(lacking.trials)] == told == [12, 99]
