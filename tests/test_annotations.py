"""Detection data sets: every format from small files in it, to COCO and back, bad input, ignored regions, subsets."""

import copy
import json
import pickle
import random

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from realfake.annotations import (
    BOXES,
    IMAGES,
    NO_CLASS,
    Annotations,
    DatasetError,
    drop_in_regions,
    ends,
    image_order,
    in_regions,
    in_words,
    read_archangel,
    read_coco,
    read_heridal,
    read_icg,
    read_okutama,
    read_sard,
    read_visdrone,
    read_voc,
    read_yolo,
    split,
    write_coco,
    write_voc,
    write_yolo,
)

VISDRONE = """10,20,30,40,1,1,0,0
100,50,8,16,1,2,0,1,
0,0,50,60,0,0,0,0

70,5,20,9,0,11,-1,-1
5,90,12,9,1,4,1,2
9,9,5,7,0,1,0,0
"""
OKUTAMA = """1 300 600 390 900 0 0 0 0 "Person" "Standing"
1 303 600 393 900 1 0 1 1 "Person" "Standing" "Reading"
2 0 0 60 90 1 1 0 1 "Person"
1 306 600 396 900 3 0 0 0 "Person" "Walking"
"""
VOC = """<annotation><filename>a.jpg</filename><size><width>100</width><height>80</height><depth>3</depth></size>
<object><name>human</name><truncated>1</truncated><difficult>0</difficult>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>20</xmax><ymax>80</ymax></bndbox></object>
<object><name>human</name><difficult>1</difficult>
<bndbox><ymin>5</ymin><xmin>31</xmin><xmax>40</xmax><ymax>24</ymax></bndbox></object></annotation>"""


def picture(path, size=(100, 80), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, **options)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def coco(path, boxes, *, images=None, categories=({"id": 1, "name": "person"},)):
    images = [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80}] if images is None else images
    boxes = [{"id": i, "image_id": 7, "category_id": 1, **box} for i, box in enumerate(boxes, 1)]
    return text(path, json.dumps({"images": images, "annotations": boxes, "categories": list(categories)}))


def random_coco(path, seed=0, n_images=12):
    """A COCO file with gaps in its category ids, crowds, mask areas, images without boxes and awkward numbers."""
    noise = np.random.default_rng(seed)
    images = [{"id": 3 * i + 1, "file_name": f"d/{i:03}.jpg", "width": 640, "height": 427} for i in range(n_images)]
    categories = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 44, "name": "bottle"}]
    boxes = []
    for image in images[:-1]:
        for _ in range(noise.integers(1, 9)):
            w, h = noise.uniform(2, 300), noise.uniform(2, 200)
            box = [noise.uniform(0, 640 - w), noise.uniform(0, 427 - h), w, h]
            keys = {"id": len(boxes) + 100, "image_id": image["id"], "category_id": int(noise.choice([1, 18, 44]))}
            boxes.append(
                {**keys, "bbox": box, "area": w * h * noise.uniform(0.3, 1), "iscrowd": int(noise.random() < 0.2)}
            )
    noise.shuffle(boxes)
    return text(path, json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def same(a, b, but=()):
    assert a.classes == b.classes
    for one, other, schema in ((a.images, b.images, IMAGES), (a.boxes, b.boxes, BOXES)):
        assert one.schema == other.schema == schema
        for name in set(schema.names) - set(but):
            assert one[name].to_pylist() == other[name].to_pylist(), name


def visdrone(tmp_path):
    text(tmp_path / "annotations/v1.txt", VISDRONE)
    text(tmp_path / "annotations/v2.txt", "")
    return read_visdrone({"v1.jpg": (160, 120), "v2.jpg": (160, 120)}, tmp_path / "annotations")


def okutama(tmp_path, **options):
    text(tmp_path / "labels/1.1.3.txt", OKUTAMA)
    return read_okutama(tmp_path / "labels", **{"frame_name": "{sequence}/{frame}.jpg", **options})


def icg(tmp_path):
    content = {"000": [np.array([[10, 20], [50, 99]])], "001": [], "004": [np.array([[5999, 0], [6000, 8]])]}
    (tmp_path / "imgIdToBBoxArray.p").write_bytes(pickle.dumps(content, protocol=2))
    return read_icg(tmp_path / "imgIdToBBoxArray.p")


def heridal(tmp_path):
    picture(tmp_path / "trainImages/train_BLI_0001.JPG")
    text(tmp_path / "trainImages/labels/train_BLI_0001.xml", VOC)
    return read_heridal(tmp_path, "train")


def sard(tmp_path):
    picture(tmp_path / "train/images/gss1.jpg", (192, 108))
    text(tmp_path / "train/labels/gss1.txt", "5 0.5 0.5 0.125 0.25\n2 0.25 0.25 0.0625 0.125\n")
    return read_sard(tmp_path / "train")


def archangel(tmp_path):
    track = [{"position": p, "coords": {"xMin": 10.5, "yMin": 5, "xMax": 20.5, "yMax": 30}} for p in (0, 3)]
    objects = [{"labels": [{"name": name}], "tracks": [{"annotations": track}]} for name in ("standing", "sedan")]
    content = {"data": [{"name": "AA_1_EO-301-600.mp4", "objectOccurrences": objects}]}
    path = text(tmp_path / "one.json", json.dumps(content))
    return read_archangel(path, people=["standing"], size=(640, 480), frame_name="{sequence}/{frame:05}.png")


def voc(tmp_path):
    text(tmp_path / "xml/a.xml", VOC)
    return read_voc(tmp_path / "xml")


def yolo(tmp_path):
    text(tmp_path / "labels/a.txt", "0 0.5 0.5 0.25 0.5\n1 0.1 0.2 0.05 0.1\n")
    text(tmp_path / "labels/b.txt", "")
    return read_yolo({"a.png": (64, 48), "b.png": (64, 48)}, tmp_path / "labels", classes=("person", "dog"))


# ---------------------------------------------------------------------------------------------------------- the formats


def test_coco_reads_what_pycocotools_reads(tmp_path):
    path = random_coco(tmp_path / "a.json")
    ours, theirs = read_coco(path), COCO(str(path))
    assert ours.classes == tuple(theirs.cats[i]["name"] for i in sorted(theirs.cats)) == ("person", "dog", "bottle")
    assert [int(i) for i in ours.images["id"].to_pylist()] == list(theirs.imgs)
    assert ours.boxes.num_rows == len(theirs.anns) > 30
    files, ids = ours.images["file_name"].to_pylist(), ours.images["id"].to_pylist()
    for row in ours.boxes.to_pylist():
        box = theirs.anns[int(row["id"])]
        assert [row[name] for name in ("x", "y", "width", "height")] == box["bbox"]
        assert (row["area"], row["crowd"], row["ignore"]) == (box["area"], box["iscrowd"] == 1, box["iscrowd"] == 1)
        assert ours.classes[row["label"]] == row["source_class"] == theirs.cats[box["category_id"]]["name"]
        assert (ids[row["image"]], files[row["image"]]) == (
            str(box["image_id"]),
            theirs.imgs[box["image_id"]]["file_name"],
        )


def test_pycocotools_scores_the_written_file_as_the_original(tmp_path):
    original = random_coco(tmp_path / "a.json", seed=1)
    write_coco(read_coco(original), tmp_path / "b.json")
    names = {c["name"]: c["id"] for c in json.loads((tmp_path / "b.json").read_text())["categories"]}
    truth, noise = COCO(str(original)), np.random.default_rng(2)
    found = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": float(noise.random())}
        | {"bbox": (np.array(a["bbox"]) * noise.uniform(0.7, 1.3, 4)).tolist()}
        for a in truth.anns.values()
        for _ in range(3)
    ]
    renamed = [{**d, "category_id": names[truth.cats[d["category_id"]]["name"]]} for d in found]
    scores = [stats(truth, found), stats(COCO(str(tmp_path / "b.json")), renamed)]
    assert 0.01 < scores[0][0] < 0.99
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-12)


def stats(truth, found):
    run = COCOeval(truth, truth.loadRes([dict(d) for d in found]), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return run.stats


MADE = [visdrone, okutama, icg, heridal, sard, archangel, voc, yolo]


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.__name__)
def test_every_format_goes_to_coco_and_back_exactly(made, tmp_path):
    annotations = made(tmp_path)
    write_coco(annotations, tmp_path / "coco.json")
    back = read_coco(tmp_path / "coco.json")
    same(annotations, back)
    assert back.digest() == annotations.digest()
    assert not back.problems
    assert len(COCO(str(tmp_path / "coco.json")).anns) >= annotations.boxes.num_rows > 0


def test_random_coco_goes_to_coco_and_back_exactly(tmp_path):
    annotations = read_coco(random_coco(tmp_path / "a.json", seed=3))
    write_coco(annotations, tmp_path / "b.json")
    same(annotations, read_coco(tmp_path / "b.json"))


def test_visdrone_categories_scores_and_trailing_commas(tmp_path):
    found = visdrone(tmp_path)
    assert found.classes == ("person",)
    assert found.left_out == {"boxes of class car": 1}
    assert len(found) == 2
    rows = {row["id"]: row for row in found.boxes.to_pylist()}
    assert list(rows) == ["v1:1", "v1:2", "v1:3", "v1:5", "v1:7"]
    assert [row["source_class"] for row in rows.values()] == [
        "pedestrian",
        "people",
        "ignored regions",
        "others",
        "pedestrian",
    ]
    assert [row["label"] for row in rows.values()] == [0, 0, NO_CLASS, NO_CLASS, 0]
    assert [row["crowd"] for row in rows.values()] == [False, False, True, True, True]
    assert [row["region"] for row in rows.values()] == [False, False, True, False, False]
    assert (rows["v1:2"]["occlusion"], rows["v1:5"]["occlusion"], rows["v1:1"]["truncation"]) == (1, -1, 0)
    np.testing.assert_array_equal(found.xywh()[0], [10, 20, 30, 40])
    sizes = {"v1.jpg": (160, 120), "v2.jpg": (160, 120)}
    ten = read_visdrone(sizes, tmp_path / "annotations", names=None, others="drop")
    assert len(ten.classes) == 10
    assert ten.left_out == {"boxes of class others": 1}
    assert [ten.classes[label] for label in ten.column("label") if label >= 0] == [
        "pedestrian",
        "people",
        "car",
        "pedestrian",
    ]


def test_a_region_of_every_class_is_a_crowd_of_each_in_coco(tmp_path):
    visdrone(tmp_path)
    ten = read_visdrone({"v1.jpg": (160, 120), "v2.jpg": (160, 120)}, tmp_path / "annotations", names=None)
    write_coco(ten, tmp_path / "coco.json")
    same(ten, read_coco(tmp_path / "coco.json"))
    written = COCO(str(tmp_path / "coco.json"))
    assert all(len(written.getAnnIds(catIds=[i], iscrowd=True)) >= 2 for i in written.cats)


def test_okutama_lost_occluded_scale_stride_and_shift(tmp_path):
    found = okutama(tmp_path)
    assert found.images["file_name"].to_pylist() == ["1.1.3/0.jpg", "1.1.3/1.jpg", "1.1.3/3.jpg"]
    assert found.left_out == {"boxes of lost people": 1}
    assert found.boxes.num_rows == 3
    assert found.column("occlusion").tolist() == [0, 1, 0]
    small = okutama(tmp_path, frame_size=(1280, 720))
    np.testing.assert_allclose(small.xywh(), found.xywh() / 3, rtol=1e-15)
    np.testing.assert_allclose(small.xywh()[0], [100, 200, 30, 100])
    second = okutama(tmp_path, stride=3, shifts={"1.1.3": 5})
    assert second.images["frame"].to_pylist() == [6]
    assert second.left_out == {"boxes of frames between every 3": 2, "boxes of lost people": 1}


def test_archangel_counts_frames_from_the_clip_and_leaves_vehicles_out(tmp_path):
    found = archangel(tmp_path)
    assert found.images["file_name"].to_pylist() == ["AA_1_EO/00300.png", "AA_1_EO/00303.png"]
    assert found.left_out == {"boxes of class sedan": 2}
    np.testing.assert_array_equal(found.xywh(), [[10.5, 5, 10, 25]] * 2)


def test_icg_pickles_run_nothing(tmp_path):
    found = icg(tmp_path)
    assert found.images["file_name"].to_pylist() == ["000.jpg", "001.jpg", "004.jpg"]
    np.testing.assert_array_equal(found.xywh(), [[10, 20, 40, 79], [5999, 0, 1, 8]])

    class Evil:
        def __reduce__(self):
            return print, ("this must not be printed",)

    (tmp_path / "evil.p").write_bytes(pickle.dumps({"000": Evil()}))
    with pytest.raises(DatasetError, match=r"builtins\.print"):
        read_icg(tmp_path / "evil.p")


def test_voc_corners_are_read_as_pixels_or_as_edges(tmp_path):
    found = voc(tmp_path)
    np.testing.assert_array_equal(found.xywh(), [[0, 10, 20, 70], [30, 4, 10, 20]])  # the kit: from 1, last one in
    assert found.column("ignore").tolist() == [False, True]
    assert found.column("truncation").tolist() == [1, -1]
    edges = read_voc(tmp_path / "xml", corners="edges", names={"human": "person"})
    np.testing.assert_array_equal(edges.xywh(), [[1, 11, 19, 69], [31, 5, 9, 19]])
    assert edges.classes == ("person",)
    assert edges.boxes["source_class"].to_pylist() == ["human"] * 2


def test_heridal_upper_case_suffix_missing_size_and_the_repack(tmp_path):
    bare = VOC.replace("<size><width>100</width><height>80</height><depth>3</depth></size>", "")
    picture(tmp_path / "JPEGImages/test_BLI_0001.JPG")
    text(tmp_path / "Annotations/test_BLI_0001.xml", bare)
    text(tmp_path / "Annotations/train_GOR_0007.xml", bare)
    text(tmp_path / "ImageSets/Main/test.txt", "test_BLI_0001\n")
    found = read_heridal(tmp_path, "test")
    assert found.images.to_pylist() == [
        {"id": "test_BLI_0001", "file_name": "test_BLI_0001.JPG", "width": 100, "height": 80}
        | {"sequence": "BLI", "frame": None, "domain": "heridal"}
    ]
    assert heridal(tmp_path).images["file_name"].to_pylist() == ["train_BLI_0001.JPG"]
    with pytest.raises(DatasetError, match=r"1 image of unknown size \(a.jpg\)"):
        read_voc(text(tmp_path / "x/a.xml", bare).parent)


def test_sard_poses_are_people_in_both_layouts(tmp_path):
    found = sard(tmp_path)
    assert found.classes == ("person",)
    assert found.boxes["source_class"].to_pylist() == ["stands", "laying_down"]
    np.testing.assert_allclose(found.xywh(), [[84, 40.5, 24, 27], [42, 20.25, 12, 13.5]])
    text(tmp_path / "xml/a.xml", VOC.replace("human", "Seated"))
    assert read_sard(tmp_path / "xml").classes == ("person",)


def test_yolo_comes_back_from_its_own_files(tmp_path):
    found = read_coco(random_coco(tmp_path / "a.json"))
    plain = Annotations(found.images, found.boxes.filter(pa.array(found.counted())), found.classes)
    assert write_yolo(plain, tmp_path / "labels") == {}
    sizes = dict.fromkeys(found.images["file_name"].to_pylist(), (640, 427))
    back = read_yolo(sizes, tmp_path / "labels", classes=tmp_path / "labels/classes.txt")
    np.testing.assert_allclose(back.xywh(), plain.xywh(), rtol=0, atol=1e-9)
    for name in ("image", "label", "ignore", "source_class"):
        assert back.boxes[name].to_pylist() == plain.boxes[name].to_pylist()
    with pytest.raises(DatasetError, match=r"YOLO cannot carry \d+ crowds"):
        write_yolo(found, tmp_path / "other")
    assert write_yolo(found, tmp_path / "other", problems="skip") == {"crowds": int(found.column("crowd").sum())}


@pytest.mark.parametrize("corners", ["pixels", "edges"])
def test_voc_comes_back_from_its_own_files(corners, tmp_path):
    found = voc(tmp_path)
    write_voc(found, tmp_path / "out", corners=corners)
    same(found, read_voc(tmp_path / "out", corners=corners))  # whole pixels: exactly
    many = read_coco(random_coco(tmp_path / "a.json"))
    assert write_voc(many, tmp_path / "many", corners=corners, problems="skip") == {
        "crowds": int(many.column("crowd").sum())
    }
    back = read_voc(tmp_path / "many", corners=corners)
    np.testing.assert_allclose(back.xywh(), many.xywh()[~many.column("crowd")], rtol=0, atol=1e-9)


def test_class_names_of_a_yaml_file(tmp_path):
    yolo(tmp_path)
    sizes = {"a.png": (64, 48), "b.png": (64, 48)}
    for content in ("names: [person, dog]", "nc: 2\nnames:\n  0: person\n  1: dog\n"):
        path = text(tmp_path / "data.yaml", content)
        assert read_yolo(sizes, tmp_path / "labels", classes=path).classes == ("person", "dog")
    with pytest.raises(DatasetError, match="no class names"):
        read_yolo(sizes, tmp_path / "labels", classes=text(tmp_path / "data.yaml", "train: x"))


# ------------------------------------------------------------------------------------------------------------ bad input

GOOD = {"bbox": [5, 5, 10, 10]}
BAD = [
    ({"bbox": [5, 5, 0, 10]}, "no_size", 0),
    ({"bbox": [5, 5, 10, -3]}, "no_size", 0),
    ({"bbox": [5, 5, float("nan"), 3]}, "no_size", 0),
    ({"bbox": [100, 5, 10, 10]}, "outside", 0),
    ({"bbox": [-20, 5, 10, 10]}, "outside", 0),
    ({"bbox": [95, 70, 10, 20]}, "sticking_out", 1),
    ({"bbox": [20, 20, 0.5, 9]}, "under_a_pixel", 0),
    (GOOD, "repeated_boxes", 0),
    ({"bbox": [1, 2, 3]}, "malformed", 0),
    ({"bbox": None}, "malformed", 0),
    ({"bbox": [1, 2, 3, 4], "category_id": 9}, "wrong_category", 0),
    ({"bbox": [1, 2, 3, 4], "image_id": 8}, "unknown_images", 0),
]


@pytest.mark.parametrize(("bad", "kind", "kept"), BAD, ids=[f"{kind}-{i}" for i, (_, kind, _) in enumerate(BAD)])
def test_a_bad_box_is_refused_or_counted_and_named(bad, kind, kept, tmp_path):
    path = coco(tmp_path / "a.json", [GOOD, bad])
    with pytest.raises(DatasetError, match="problems='skip'"):
        read_coco(path)
    found = read_coco(path, problems="skip")
    assert list(found.problems) == [kind]
    assert len(found.problems[kind]) == 1
    assert "2" in found.problems[kind][0]
    assert found.boxes.num_rows == 1 + kept
    assert in_words(found.problems)[0].startswith("1 ")


def test_a_box_that_sticks_out_is_trimmed_with_its_area_and_rounding_is_no_problem(tmp_path):
    boxes = [{"bbox": [95, 70, 10, 20], "area": 200}, {"bbox": [90, 0, 20, 10], "area": 100}]
    found = read_coco(coco(tmp_path / "a.json", boxes), problems="skip")
    np.testing.assert_array_equal(found.xywh(), [[95, 70, 5, 10], [90, 0, 10, 10]])
    assert found.column("area").tolist() == [50, 50]  # the box's own area; half of a mask of 100
    rounding = read_coco(coco(tmp_path / "b.json", [{"bbox": [90, 0, 10.004, 10]}]))
    assert not rounding.problems
    assert rounding.xywh()[0, 2] == 10


def test_images_missing_broken_repeated_resized_or_lying_on_their_side(tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in (7, 8, 9, 10, 11, 7)]
    path = coco(tmp_path / "a.json", [GOOD, {**GOOD, "image_id": 8}], images=images)
    picture(tmp_path / "i/7.jpg")
    text(tmp_path / "i/9.jpg", "no picture")
    picture(tmp_path / "i/10.jpg", (50, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "i/11.jpg", (80, 100), exif=exif)
    with pytest.raises(DatasetError, match="missing"):
        read_coco(path, images=tmp_path / "i")
    found = read_coco(path, images=tmp_path / "i", problems="skip")
    assert found.images["id"].to_pylist() == ["7", "11"]
    assert found.left_out == {"boxes of images left out": 1}
    assert found.problems == {
        **{"missing_images": ("8.jpg",), "unreadable_images": ("9.jpg",)},
        **{"wrong_image_size": ("10.jpg: 50×40, not 100×80",), "repeated_images": ("7",)},
    }


@pytest.mark.parametrize("bad", [{"width": 0}, {"height": 1 << 31}, {"frame": 1 << 63}, {"width": "wide"}])
def test_an_image_with_impossible_numbers_is_named(bad, tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in (7, 8)]
    found = read_coco(coco(tmp_path / "a.json", [GOOD], images=[images[0], {**images[1], **bad}]), problems="skip")
    assert found.images["id"].to_pylist() == ["7"]
    assert [names for names in found.problems.values() if len(names) == 1 and "8" in names[0]]


def test_labels_and_images_that_do_not_pair(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"images/{name}.png", (64, 48))
    text(
        tmp_path / "labels/a.txt",
        "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5\n3 0.5 0.5 0.1 0.1\n0 300 200 30 40\n0 0.5 0.5 0.1 0.1 0.9\n",
    )
    text(tmp_path / "labels/c.txt", VISDRONE)
    text(tmp_path / "labels/z.txt", "0 0.5 0.5 0.5 0.5")
    found = read_yolo(tmp_path / "images", classes=("person",), problems="skip")
    assert found.images["id"].to_pylist() == ["a"]
    assert found.boxes.num_rows == 1
    assert found.problems == {
        "unreadable_files": ("c.txt: a VisDrone label, use read_visdrone",),
        "malformed": ("a:2: 4 values", "a:4: pixels, not shares", "a:5: 6 values"),
        **{"missing_images": ("z.txt",), "missing_labels": ("b.png",), "wrong_category": ("a:3: 3",)},
    }
    with pytest.raises(DatasetError, match="1 image without an annotation file"):
        read_yolo(tmp_path / "images", classes=("person",))


def test_a_set_without_a_person_is_refused_or_named(tmp_path):
    path = coco(tmp_path / "a.json", [{**GOOD, "iscrowd": 1}])
    with pytest.raises(DatasetError, match=r"1 class without a box \(person\)"):
        read_coco(path)
    assert read_coco(path, problems="skip").problems == {"empty_classes": ("person",)}
    dogs = coco(tmp_path / "b.json", [{**GOOD}], categories=[{"id": 1, "name": "dog"}, {"id": 2, "name": "pedestrian"}])
    assert read_coco(dogs).classes == ("dog", "pedestrian")
    found = read_coco(dogs, names={"pedestrian": "person"}, problems="skip")
    assert found.problems == {"empty_classes": ("person",)}
    assert found.left_out == {"boxes of class dog": 1}
    with pytest.raises(DatasetError, match="no usable image"):
        read_coco(coco(tmp_path / "c.json", [], images=[]), problems="skip")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("0 0.5 0.5 0.1 0.1\n", "a YOLO label, not COCO JSON .*; use read_yolo"),
        (VISDRONE, "a VisDrone label, not COCO JSON .*; use read_visdrone"),
        (OKUTAMA, "an Okutama-Action label, not COCO JSON .*; use read_okutama"),
        (VOC, "Pascal VOC XML, not COCO JSON .*; use read_voc"),
        ('{"data": [{"objectOccurrences": []}]}', "an Archangel file, not COCO JSON .*; use read_archangel"),
        ('[{"image_id": 1, "score": 0.5}]', "other JSON, not COCO JSON .*no list of images"),
        ('{"images": [], "annotations": [', "COCO JSON that cannot be read"),
        ("", "an empty file, not COCO JSON"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(content, said, tmp_path):
    with pytest.raises(DatasetError, match=said):
        read_coco(text(tmp_path / "a.json", content))


def test_wrong_files_in_folders_are_named_with_their_reader(tmp_path):
    text(tmp_path / "xml/a.xml", VOC)
    text(tmp_path / "xml/b.xml", "<annotation><object><name>x</name><polygon/></object></annotation>")
    text(tmp_path / "xml/c.xml", "<annotation><object>")
    found = read_voc(tmp_path / "xml", problems="skip")
    assert [name.split(":")[0] for name in found.problems["unreadable_files"]] == ["b.xml", "c.xml"]
    assert len(found) == 1
    with pytest.raises(DatasetError, match="a YOLO label, use read_yolo"):
        read_visdrone({"a.jpg": (9, 9)}, text(tmp_path / "v/a.txt", "0 0.5 0.5 0.1 0.1\n").parent)
    with pytest.raises(DatasetError, match=r"holds no \.xml file"):
        read_voc(tmp_path / "v")
    with pytest.raises(DatasetError, match="name the folder of the annotations"):
        read_okutama(tmp_path / "nowhere", frame_name="x")


def test_damaged_values_are_an_error_of_ours_or_a_problem_or_harmless(tmp_path):
    source, noise = json.loads(random_coco(tmp_path / "a.json", n_images=4).read_text()), random.Random(0)
    values = [None, -1, 1e308, float("nan"), float("inf"), "x", [], {}, [1, 2], True, 10**30, "7", [[1]], 300]
    outcomes = set()
    for _ in range(150):
        damaged = copy.deepcopy(source)
        place, key = noise.choice(list(places(damaged)))
        place[key] = noise.choice(values)
        path = text(tmp_path / "b.json", json.dumps(damaged))
        for policy in ("refuse", "skip"):
            try:
                found = read_coco(path, problems=policy)
            except DatasetError:
                outcomes.add(policy)
            else:
                assert (found.xywh()[:, 2:] >= 1).all()
                assert policy == "skip" or not found.problems
                write_coco(found, tmp_path / "c.json")
                same(found, read_coco(tmp_path / "c.json", problems="skip"))
                outcomes.add(f"{policy} {bool(found.problems)}")
    assert outcomes == {"refuse", "skip", "refuse False", "skip False", "skip True"}


def places(content):
    for key in content if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places(content[key])


# ------------------------------------------------------------------------------------------------------ ignored regions


def by_pixels(box, regions, width, height):
    """The toolkit's rule with sets of pixels, counted from 1: a box of w · h begins one pixel after its corner."""
    ignored = set()
    for left, top, w, h in np.maximum(1, regions).astype(int).tolist():
        ignored |= {(x, y) for x in range(left, min(width, left + w) + 1) for y in range(top, min(height, top + h) + 1)}
    left, top, w, h = (max(1, int(np.floor(value + 0.5))) for value in box)
    left, top = min(left, width), min(top, height)
    inside = sum(
        (x, y) in ignored
        for x in range(left + 1, min(width, left + w) + 1)
        for y in range(top + 1, min(height, top + h) + 1)
    )
    return inside / (w * h) >= 0.5


def test_the_visdrone_rule_agrees_with_counting_pixels():
    noise = np.random.default_rng(0)
    for _ in range(60):
        width, height = noise.integers(8, 30, 2).tolist()
        regions = np.column_stack([noise.integers(0, 20, (3, 2)), noise.integers(1, 12, (3, 2))])
        boxes = np.column_stack([noise.uniform(-2, 30, (12, 2)), noise.uniform(0.2, 12, (12, 2))])
        expected = [by_pixels(box, regions, width, height) for box in boxes]
        assert in_regions(boxes, regions, width, height).tolist() == expected


def test_a_box_half_in_a_region_is_dropped_and_one_just_below_half_is_kept():
    region = np.array([[10, 10, 9, 9]])  # pixels 10 … 19 of 1 … 40
    boxes = np.array([[9, 9, 20, 10], [9, 9, 21, 10], [25, 25, 5, 5], [11, 11, 4, 4]])  # 100/200, 100/210, 0, 1
    assert in_regions(boxes, region, 40, 40).tolist() == [True, False, False, True]
    assert not in_regions(boxes, np.empty((0, 4)), 40, 40).any()


def test_boxes_in_regions_are_left_out_and_counted(tmp_path):
    text(tmp_path / "a.txt", VISDRONE + "20,20,10,10,1,1,0,0\n")
    found = read_visdrone({"a.jpg": (160, 120)}, tmp_path)
    kept = drop_in_regions(found)
    assert set(found.boxes["id"].to_pylist()) - set(kept.boxes["id"].to_pylist()) == {"a:1", "a:7", "a:8"}
    assert kept.left_out == {"boxes of class car": 1, "boxes in ignored regions": 3}
    assert kept.column("region").sum() == 1


# -------------------------------------------------------------------------------------------------------------- subsets


def videos(lengths):
    images = [
        {"id": f"{name}{frame}", "file_name": f"{name}/{frame}.jpg", "width": 9, "height": 9}
        | {"sequence": name, "frame": frame, "domain": ""}
        for name, length in lengths.items()
        for frame in range(length)
    ]
    empty = pa.table({name: [] for name in BOXES.names}, schema=BOXES)
    return Annotations(pa.Table.from_pylist(images, schema=IMAGES), empty, ("person",))


def test_every_prefix_of_an_order_is_a_subset_that_depends_on_ids_alone():
    found = videos({"a": 40, "b": 30, "c": 30})
    order = image_order(found, seed=1)
    assert sorted(order) == list(range(100))
    assert image_order(found, seed=2).tolist() != order.tolist()
    mixed = found.take(np.random.default_rng(0).permutation(100))
    names = lambda a, rows: a.images["id"].take(rows).to_pylist()  # noqa: E731
    assert names(mixed, image_order(mixed, seed=1)) == names(found, order)
    fewer = found.take(np.arange(70))
    assert names(fewer, image_order(fewer, seed=1)) == [name for name in names(found, order) if name[0] != "c"]
    assert found.take(order[:20]).digest() != found.take(order[:50]).digest() == found.take(order[:50]).digest()


def test_sequences_stay_together_and_ends_are_where_none_is_cut():
    found = videos({"a": 5, "b": 3, "c": 4})
    order = image_order(found, seed=3, by="sequence")
    names = [found.images["sequence"][int(row)].as_py() for row in order]
    changes = [i for i in range(1, 12) if names[i] != names[i - 1]]
    assert len(changes) == 2
    assert ends(found, order).tolist() == [*changes, 12]
    assert len(ends(found, image_order(found, seed=3))) < 3  # single images: frames of all videos are mixed
    train, test = split(found, 0.2, seed=3)
    assert not set(train.images["sequence"].to_pylist()) & set(test.images["sequence"].to_pylist())
    assert len(train) + len(test) == 12
    assert len(test) >= 3
    with pytest.raises(DatasetError, match="smaller share"):
        split(videos({"a": 5}), 0.5, seed=0)


def test_take_keeps_boxes_with_their_images(tmp_path):
    found = read_coco(random_coco(tmp_path / "a.json"))
    rows = image_order(found, seed=0)[:5]
    part = found.take(rows)
    starts, whole = part.starts(), found.starts()
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(part.xywh()[starts[i] : starts[i + 1]], found.xywh()[whole[row] : whole[row + 1]])
    same(part.take(np.arange(5)), part)
    with pytest.raises(ValueError, match="asked for twice"):
        found.take(np.array([1, 1]))


def test_a_sequence_is_told_from_the_file_name(tmp_path):
    images = [{"id": i, "file_name": name, "width": 100, "height": 80} for i, name in ((7, "v1_3.jpg"), (8, "x.jpg"))]
    path = coco(tmp_path / "a.json", [GOOD], images=images)
    found = read_coco(path, sequence=r"^(\w+)_\d+\.jpg$", problems="skip")
    assert found.images["sequence"].to_pylist() == ["v1", None]
    assert found.problems == {"no_sequence": ("x.jpg",)}
