"""Detectors trained on rendered scenes: they learn, spend their budget, and every number can be had again."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from realfake.spec import Recipe, SpecError
from realfake.tasks import detection
from realfake.tasks.feature_gaussians import read_gaussian
from realfake.tasks.torchvision_detectors import NAMES
from tests.tiny_scenes import CPU, PIXELS, Made, evaluated, fresh, learn, of, run, scenes, trial


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A detector of 8 features trained on 60 scenes and tried on 30 others."""
    return learn(tmp_path_factory.mktemp("learned"))


# ------------------------------------------------------------------------------------------------------------- learning


def test_eight_scenes_are_learned_by_heart(tmp_path):
    result = run(tmp_path, trial(examples_seen=640, width=32), scenes())
    assert result["average_precision_50"] > 0.5
    assert result["ap50_error"] == 1 - result["average_precision_50"]
    assert result["n_objects"] == len(scenes().objects.box)


def test_a_trial_leaves_its_files_and_spends_its_budget(learned):
    assert {path.name for path in learned.folder.iterdir()} == {
        *("model.safetensors", "history.jsonl", "detections.parquet", "gaussian.npz")
    }
    lines = [json.loads(line) for line in (learned.folder / "history.jsonl").read_text().splitlines()]
    assert 50 <= len(lines) <= 100
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert lines[-1]["step"] == learned.result["steps"] == 300
    assert [event["done"] for event in learned.events] == [line["step"] for line in lines]
    assert learned.result["examples_seen"] == learned.result["real_examples_seen"] == 2400
    json.dumps(learned.result, allow_nan=False)
    assert all(isinstance(value, int | float | str | None) for value in learned.result.values())


def test_the_same_trial_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, trial(seed=seed), scenes(), test=scenes(seed=1))
    for file in ("model.safetensors", "detections.parquet", "gaussian.npz"):
        first, second, third = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert first == second
        assert first != third or file == "gaussian.npz"  # of nothing yet, for any seed


def test_real_and_synthetic_are_mixed_as_the_recipe_says(tmp_path):
    made = trial(examples_seen=None, real_examples_seen=20, mixing="weighted", synthetic_weight=0.2)
    result = run(tmp_path, made, scenes(), synthetic=[scenes("synthetic", 5), scenes("urban", 3)])
    assert result["examples_seen"] == 40
    assert result["real_examples_seen"] == 20


def test_bf16_trains_too(tmp_path):
    result = run(tmp_path, trial(precision="bf16"), scenes(), precision="bf16")
    assert result["status"] == "ok"


def test_a_learning_rate_that_is_far_too_high_is_a_result(tmp_path):
    result = run(tmp_path, trial(learning_rate=1e12), scenes())
    assert result["status"] == "diverged"
    assert 1 <= result["step"] <= 2
    with pytest.raises(SpecError, match="has no model"):
        detection.load(tmp_path, trial())


# -------------------------------------------------------------------------------------------- what there is to be found


def test_images_without_any_object_train_and_have_no_average_precision(tmp_path):
    empty = of(scenes().images, [[]] * 8)
    result = run(tmp_path, trial(), empty)
    assert (result["status"], result["n_objects"], result["n_population"]) == ("ok", 0, 0)
    assert result["average_precision"] is None
    assert result["ap_error"] is None
    assert result["distance_status"] == "too few detections: 0 ≤ d + 2"
    assert result["ap_t2t_0.1"] is None


def test_a_region_of_every_class_hides_what_lies_in_it_from_training_and_test(learned, tmp_path):
    whole = [[0, 0, PIXELS, PIXELS]]
    hidden = of(scenes().images, [whole] * 8, labels=[[-1]] * 8, crowds=[[True]] * 8)
    result = run(tmp_path, trial(weight_decay=0.0), hidden)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [0.0, 0.0]
    assert result["n_objects"] == 0
    boxes = [learned.test.objects.box[learned.test.objects.of_image(i)] for i in range(30)]
    crowds = [np.arange(len(b)) == 0 for b in boxes]
    less = evaluated(learned, of(learned.test.images, boxes, crowds=crowds), tmp_path)
    assert less["n_objects"] == learned.result["n_objects"] - sum(map(len, boxes)) + sum(
        max(0, len(b) - 1) for b in boxes
    )
    assert less["n_detections"] == learned.result["n_detections"]


def test_several_classes_have_a_gaussian_each(tmp_path):
    boxes = [scenes(n=24).objects.box[scenes(n=24).objects.of_image(i)] for i in range(24)]
    labels = [np.arange(len(b)) % 2 for b in boxes]
    two = of(scenes(n=24).images, boxes, labels=labels, classes=("left", "right"))
    result = run(tmp_path, trial(examples_seen=160), two)
    fitted = read_gaussian(tmp_path / "gaussian.npz")
    assert set(fitted) == {0, 1}
    assert sum(part.count for part in fitted.values()) == result["n_population"]
    assert set(pq.read_table(tmp_path / "detections.parquet")["category"].to_pylist()) <= {0, 1}


def test_visdrones_protocol_is_reported_where_it_is_chosen_or_where_regions_are(learned, tmp_path):
    boxes = [learned.test.objects.box[learned.test.objects.of_image(i)] for i in range(30)]
    regions = [[*b, [0, 0, 20, PIXELS]] for b in boxes]
    labels = [[0] * len(b) + [-1] for b in boxes]
    with_regions = of(learned.test.images, regions, labels=labels, crowds=[np.array(x) < 0 for x in labels])
    coco = evaluated(learned, with_regions, tmp_path)
    visdrone = evaluated(learned, with_regions, tmp_path, protocol="visdrone")
    assert "average_precision_visdrone" not in learned.result
    assert visdrone["average_precision"] == coco["average_precision_visdrone"]
    assert visdrone["average_precision_50_coco"] == coco["average_precision_50"]
    assert coco["average_precision"] != coco["average_precision_visdrone"]


# ----------------------------------------------------------------------------------------------------------- evaluation


def test_evaluating_the_trials_own_test_set_gives_its_numbers_to_the_digit(learned, tmp_path):
    again = evaluated(learned, learned.test, tmp_path)
    assert len(again) > 30
    assert again == {name: learned.result[name] for name in again}
    assert pq.read_table(tmp_path / "detections.parquet") == pq.read_table(learned.folder / "detections.parquet")


def test_another_domain_of_another_size_is_evaluated_and_other_classes_are_refused(learned, tmp_path):
    other = evaluated(learned, scenes("park", 4, seed=1, pixels=96), tmp_path)
    assert other["n_test"] == 4
    assert other["n_population"] == learned.result["n_population"]
    with pytest.raises(SpecError, match="tells 1 classes apart"):
        evaluated(learned, of(scenes().images, [[]] * 8, classes=("a", "b")), tmp_path)


def test_samples_that_do_not_fit_are_refused_in_one_sentence(tmp_path):
    bare = dataclasses.replace(scenes(), objects=None)
    with pytest.raises(SpecError, match="without boxes"):
        run(tmp_path, trial(), bare)
    with pytest.raises(SpecError, match="one size"):
        run(tmp_path, trial(), scenes(), synthetic=[scenes(pixels=96)])
    with pytest.raises(SpecError, match="the same of both"):
        run(tmp_path, trial(), scenes(), test=dataclasses.replace(scenes(), classes=("car",)))
    wrong = dataclasses.replace(trial(), recipe=Recipe(examples_seen=1))
    with pytest.raises(SpecError, match="write a DetectionRecipe"):
        run(tmp_path, wrong, scenes())


# --------------------------------------------------------------------------------------------- other people's detectors


@pytest.mark.parametrize("name", NAMES)
def test_torchvisions_detectors_take_a_step_and_give_detections(name, tmp_path):
    few = scenes(n=1, pixels=48)
    made = trial(model=name, examples_seen=1, batch_size=1, score_threshold=0.0, max_detections=5, learning_rate=1e-4)
    result = run(tmp_path, made, few)
    assert (result["status"], result["steps"], result["n_detections"]) == ("ok", 1, 5)
    assert result["dimension"] == (1024 if name.startswith("faster") else 256)
    assert result["distance_status"].startswith("too few detections")
    assert (
        evaluated(Made(tmp_path, made, result, few, few, []), few, tmp_path)["average_precision"]
        == result["average_precision"]
    )


# ------------------------------------------------------------------------------------------------------ several workers


def worker(rank, port, folder):
    import os

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    part = Path(folder) / str(rank)
    part.mkdir()
    result = detection.train(
        trial(examples_seen=80), scenes(), [], scenes(), part, lambda event: None, accelerator=fresh(), training=CPU
    )
    (Path(folder) / f"{rank}.json").write_text(json.dumps(result))


@pytest.mark.cluster
def test_two_workers_learn_what_one_learns(tmp_path):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    torch.multiprocessing.spawn(worker, (port, str(tmp_path)), nprocs=2)
    alone = run(tmp_path / "alone", trial(examples_seen=80), scenes())
    both = json.loads((tmp_path / "0.json").read_text())
    assert json.loads((tmp_path / "1.json").read_text()) == {}
    assert both["n_detections"] == alone["n_detections"]
    from safetensors.torch import load_file

    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("0", "alone"))
    assert all(torch.allclose(ours[k], theirs[k], atol=2e-3) for k in ours)
