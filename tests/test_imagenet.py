"""The variants of ImageNet in their released layouts, and classifiers on sets of other classes than their own."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from realfake import folders, imagenet, records, samples
from realfake.classes import restricted, shared
from realfake.datasets import DatasetError, import_dataset
from realfake.execution import check
from realfake.samples import Samples
from realfake.spec import Dataset, Evaluation, Recipe, SpecError, Study
from realfake.store import Store
from realfake.tasks import other_classes
from realfake.tasks.classification import metrics
from realfake.training import make
from tests import tiny

ALL = imagenet.class_names()
V2 = "imagenet-v2-matched-frequency"


def colour(number):
    """A colour that says which class it is."""
    return number % 256, number // 256, 77


def lay(root, folders_and_classes, name="{}.png", grey=False):
    """Write one 4×4 picture into each class folder."""
    for folder, number in folders_and_classes:
        (root / folder).mkdir(parents=True)
        picture = Image.new("L" if grey else "RGB", (4, 4), number % 256 if grey else colour(number))
        picture.save(root / folder / name.format(number))
    return root


def read_back(root, name, tmp_path, **fields):
    dataset = Dataset(**{"name": name, "split": "test", "fingerprint": folders.fingerprint(root), **fields})
    store = Store(tmp_path / "store")
    facts = import_dataset(dataset, store, {dataset.fingerprint: root})
    return facts, samples.load(store, dataset)


def seen(found: Samples):
    """Which class number the colour of each image is."""
    return found.images[:, 0, 0, 0].astype(int) + 256 * found.images[:, 0, 0, 1].astype(int)


# --------------------------------------------------------------------------------------------------------- the layouts


def test_timms_lists_are_those_of_the_papers():
    assert len(ALL) == 1000
    assert (ALL[0], ALL[999]) == ("n01440764", "n15075141")
    a, r = (imagenet.class_names(f"imagenet_{letter}_synsets.txt") for letter in "ar")
    assert (len(set(a)), len(set(r))) == (200, 200)
    places = {letter: [ALL.index(name) for name in names] for letter, names in (("a", a), ("r", r))}
    assert places["a"][:5] == [6, 11, 13, 15, 17]  # thousand_k_to_200 in hendrycks/natural-adv-examples
    assert places["a"][-4:] == [984, 986, 987, 988]
    assert r[:4] == ("n01443537", "n01484850", "n01494475", "n01498041")  # imagenet_r_wnids in hendrycks/imagenet-r
    assert places["r"][:4] == [1, 2, 4, 6]


def test_the_folders_of_v2_are_numbers_and_not_sorted_as_text(tmp_path):
    root = lay(tmp_path / "imagenetv2-matched-frequency-format-val", [(str(i), i) for i in range(1000)], "{}a.jpeg")
    for i in range(1000):  # jpeg spoils colours a little: exact ones instead
        Image.new("RGB", (4, 4), colour(i)).save(root / str(i) / f"{i}a.jpeg", "PNG")
    facts, found = read_back(root, V2, tmp_path)
    assert (facts["n"], len(facts["classes"])) == (1000, 1000)
    assert found.classes == ALL
    assert np.array_equal(found.labels, seen(found))
    assert found.classes[found.labels[list(seen(found)).index(10)]] == ALL[10]


def test_adversarial_images_have_spaces_in_their_names_and_lie_in_folders_of_wordnet_ids(tmp_path):
    names = imagenet.class_names("imagenet_a_synsets.txt")
    file = "0.0{}_digital clock _ digital clock_0.865662.jpg"
    root = lay(tmp_path / "unpacked" / "imagenet-a", [(name, i) for i, name in enumerate(names)], file)
    for i, name in enumerate(names):
        Image.new("RGB", (4, 4), colour(i)).save(root / name / file.format(i), "PNG")
    (root / "README.txt").write_text("what this is")
    facts, found = read_back(root.parent, "imagenet-a", tmp_path)  # the folder that the archive was unpacked into
    assert (facts["n"], found.classes) == (200, names)
    assert np.array_equal(found.labels, seen(found))


def test_sketches_are_rgb_even_where_all_are_grey(tmp_path):
    root = lay(tmp_path / "sketch", [(name, i) for i, name in enumerate(ALL)], "sketch_{}.JPEG", grey=True)
    facts, found = read_back(root, "imagenet-sketch", tmp_path)
    assert facts["channels"] == 3
    assert found.images.shape == (1000, 4, 4, 3)


def test_renditions_may_lack_classes_which_are_named_and_left_out_if_asked(tmp_path):
    names = imagenet.class_names("imagenet_r_synsets.txt")
    root = lay(tmp_path / "imagenet-r", [(name, i) for i, name in enumerate(names[:-2])], "art_{}.png")
    with pytest.raises(DatasetError, match=f"2 classes without an example \\({names[-2]}, {names[-1]}\\)"):
        read_back(root, "imagenet-r", tmp_path)
    facts, found = read_back(root, "imagenet-r", tmp_path, problems="skip")
    assert (len(facts["classes"]), found.classes) == (198, names[:-2])


def test_what_is_not_such_a_folder_is_refused(tmp_path):
    root = lay(tmp_path / "imagenet-a", [("n01498041", 0), ("dogs", 1)])
    with pytest.raises(DatasetError, match="holds the folders dogs, which are no classes of 'imagenet-a'"):
        read_back(root, "imagenet-a", tmp_path)
    shutil.rmtree(root / "dogs")
    with pytest.raises(DatasetError, match="called as 'imagenet-a' is, and 'imagenet-r' is asked for"):
        read_back(root, "imagenet-r", tmp_path)
    with pytest.raises(DatasetError, match="has one split; write split='test'"):
        read_back(root, "imagenet-a", tmp_path, split="train")
    other = lay(tmp_path / "imagenetv2-top-images-format-val", [("0", 0), ("1", 1)])
    with pytest.raises(DatasetError, match="called as 'imagenet-v2-top-images' is"):
        read_back(other, V2, tmp_path)
    by_name = lay(tmp_path / "plain", [("1000", 0), ("n01440764", 1)])
    with pytest.raises(DatasetError, match="has a folder for each of 1000, called 0 to 999"):
        read_back(by_name, V2, tmp_path)


# ------------------------------------------------------------------------------------------------------- other classes


def test_masked_and_full_argmax_on_logits_whose_argmax_is_known(tmp_path):
    own = tuple("abcdef")
    on = Samples(np.zeros((4, 1, 1, 1), np.uint8), np.array([0, 1, 2, 0]), np.arange(4), ("d", "b", "z"))
    logits = np.zeros((3, 6))  # the image of z is left out
    logits[0, 3], logits[0, 5] = 4, 9  # of d: outside the mask f wins, inside d does
    logits[1, 1] = 5  # of b: b wins both
    logits[2, 1], logits[2, 3] = 3, 1  # of d: b wins both
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    looked = other_classes.known_images(on, own)
    assert looked.labels.tolist() == [3, 1, 3]
    trial = np.full((3, 6), 0.02)
    trial[[0, 1, 2], [1, 0, 3]] = 0.9  # of its own b, d, a: in the mask the first is right, the second wrong
    trial[1, 1] = 0.05
    _write(tmp_path, trial, [1, 3, 0])
    found, masked, labels = other_classes.judged(probabilities, looked, on, tmp_path, metrics)
    assert (found["error_masked"], found["error"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found["error_full"] == pytest.approx(2 / 3)
    assert found["error_own_masked"] == 0.5
    assert (found["n_classes_shared"], found["n_classes_own"], found["n_left_out"]) == (2, 6, 1)
    two = logits[:, [1, 3]]
    softmax = np.exp(two) / np.exp(two).sum(axis=1, keepdims=True)
    assert masked == pytest.approx(softmax, rel=1e-5)
    assert labels.tolist() == [1, 0, 1]
    assert found["cross_entropy"] == pytest.approx(-np.log(softmax[[0, 1, 2], [1, 0, 1]]).mean(), rel=1e-5)


def _write(folder, probabilities, labels):
    import pyarrow as pa

    rows = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.astype(np.float32).ravel()), probabilities.shape[1])
    pq.write_table(
        pa.table({"label": np.array(labels, np.int32), "probabilities": rows}), folder / "predictions.parquet"
    )


def test_shared_classes_are_told_by_name_and_unrelated_ones_refused():
    both = shared(("cat", "dog", "emu"), ("emu", "cat", "yak"))
    assert (both.names, both.of_model.tolist(), both.of_test.tolist()) == (("cat", "emu"), [0, 2], [1, 0])
    with pytest.raises(SpecError, match=r"pets has the classes cat, yak, and the trial .* dog, emu: they share 0"):
        shared(("dog", "emu"), ("cat", "yak"), name="pets")
    with pytest.raises(SpecError, match=r"0, 1, 2, 3, … \(10 in all\): they share 1, and telling classes apart takes"):
        shared(tuple("0123456789"), ("9", "x"))
    own, labels = restricted(np.array([[0.0, 0.0, 1.0]]), np.array([1]), np.array([0, 1]))
    assert (own.tolist(), labels.tolist()) == ([[0.5, 0.5]], [1])  # nothing is left of what was kept


SOME, MORE = Dataset(name="tiny", split="validation"), Dataset(name="tiny", split="validation", pixels=8)
TRIAL = tiny.trial(real=tiny.real(100), recipe=Recipe(examples_seen=960, batch_size=32))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A trained classifier of ten digits, its test images of 3, 5 and 8, and all of them with letters beside."""
    store = tiny.import_digits(tmp_path_factory.mktemp("classes"))
    test = tiny.digits().take(slice(300, 500))
    few = test.take(np.isin(test.labels, [3, 5, 8]))
    _import(store, SOME, few, np.searchsorted([3, 5, 8], few.labels), ("3", "5", "8"))
    _import(store, MORE, test, np.where(test.labels == 9, 0, test.labels + 1), ("emu", *"012345678"))
    assert make(TRIAL, store, lambda event: None, tiny.CPU)["status"] == "ok"
    return store


def _import(store, dataset, images, labels, classes):
    with store.making(dataset) as (folder, result):
        samples.write_table(samples.to_table(images.images, labels, images.ids), folder / "0.parquet")
        result |= {"classes": list(classes), "n": len(labels), "pixels": 8, "channels": 1}


@pytest.mark.parametrize(("on", "n_shared"), [(SOME, 3), (MORE, 9)])
def test_a_classifier_is_judged_on_the_classes_that_both_have(store, on, n_shared):
    result = make(Evaluation(of=TRIAL, on=on), store, lambda event: None, tiny.CPU)
    table = pq.read_table(store.folder(TRIAL) / "predictions.parquet")
    probabilities, labels = np.array(table["probabilities"].to_pylist()), table["label"].to_numpy()
    kept = [3, 5, 8] if n_shared == 3 else list(range(9))
    there = np.isin(labels, kept)
    masked = np.array(kept)[probabilities[there][:, kept].argmax(axis=1)] != labels[there]
    full = probabilities[there].argmax(axis=1) != labels[there]
    assert result["n_classes_shared"] == n_shared
    assert result["n_test"] == there.sum()
    assert result["n_left_out"] == (0 if on == SOME else 200 - there.sum())
    assert result["error"] == result["error_masked"] == result["error_own_masked"] == pytest.approx(masked.mean())
    assert result["error_full"] == pytest.approx(full.mean())
    assert result["error_full"] > result["error"]
    row = records.table([TRIAL], store, evaluations=[Evaluation(of=TRIAL, on=on)])[1]
    assert (row["error_masked"], row["error_full"]) == (result["error_masked"], result["error_full"])
    each = records.per_image([row], store)[row["address"]]
    assert each["error"].mean() == pytest.approx(result["error"])
    kept_predictions = pq.read_table(store.root / row["address"] / "predictions.parquet")
    assert "full_prediction" in kept_predictions.column_names


def test_a_study_is_checked_for_shared_classes_before_anything_is_made(tmp_path):
    store = tiny.import_digits(tmp_path)
    for dataset in (tiny.TRAIN, tiny.TEST):
        store.record(dataset)
    facts = {"pixels": 8, "channels": 1}
    for dataset, classes, n in ((tiny.TRAIN, tuple("0123456789"), 300), (tiny.TEST, tuple("0123456789"), 200)):
        _again(store, dataset, {"classes": list(classes), "n": n, **facts})
    unrelated = Dataset(name="tiny", split="validation", pixels=4)
    _again(store, unrelated, {"classes": ["emu", "yak"], "n": 2, **facts})
    with pytest.raises(SpecError, match=r"'tiny' \(validation\) has the classes emu, yak, .* they share 0"):
        check(Study(name="a", trials=(TRIAL,), evaluations=(Evaluation(of=TRIAL, on=unrelated),)), store)


def _again(store, dataset, result):
    shutil.rmtree(store.folder(dataset), ignore_errors=True)
    with store.making(dataset) as (_, kept):
        kept |= result
