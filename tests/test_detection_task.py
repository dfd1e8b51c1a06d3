"""Detectors trained on rendered scenes: they learn, features give a Gaussian, and every number can be had again."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from realfake.generators.procedural import render
from realfake.objects import Objects
from realfake.representation.closeness import average_precision_t2t
from realfake.representation.gaussians import gaussian
from realfake.resources import Training
from realfake.samples import Samples
from realfake.spec import Dataset, DetectionRecipe, DistanceRule, Recipe, SpecError, Subset, Trial
from realfake.tasks import batches, detection, views
from realfake.tasks.detectors import Keep, detect
from realfake.tasks.feature_gaussians import Ruler, population_gaussians, read_gaussian, write_gaussian
from realfake.tasks.torchvision_detectors import NAMES

CPU = Training(device="cpu")
PIXELS = 64
PLAIN = DistanceRule(ridge=0.0)


@functools.cache
def scenes(domain="garden", n=8, seed=0, pixels=PIXELS):
    """Rendered scenes with their people."""
    shown = [render(domain, i, seed=seed, pixels=pixels) for i in range(n)]
    images = np.stack([scene.image for scene in shown])
    return of(images, [scene.boxes for scene in shown])


def of(images, boxes, **columns):
    classes = columns.pop("classes", ("person",))
    n = len(images)
    return Samples(images, np.zeros(n, np.int64), np.arange(100, 100 + n), classes, Objects.of(boxes, **columns))


def trial(seed=0, **fields):
    recipe = DetectionRecipe(**{"examples_seen": 16, "width": 8, "distance": PLAIN, **fields})
    train = Dataset(name="scenes")
    return Trial(real=Subset(of=train, size=8), test=Dataset(name="scenes", split="test"), recipe=recipe, seed=seed)


def fresh(precision="no", **options):
    """An accelerator as training makes it: seeded, nothing left of the one before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.manual_seed(1)
    return Accelerator(cpu=True, mixed_precision=precision, **options)


def run(folder, made, real, synthetic=(), test=None, precision="no", report=lambda event: None):
    folder.mkdir(parents=True, exist_ok=True)
    options = {"accelerator": fresh(precision), "training": CPU}
    return detection.train(made, real, list(synthetic), test or real, folder, report, **options)


@dataclasses.dataclass
class Made:
    """A trained trial: its folder, itself, its result, what it saw, and what it reported."""

    folder: Path
    trial: Trial
    result: dict
    train: Samples
    test: Samples
    events: list


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A detector of 8 features trained on 60 scenes and tried on 30 others."""
    folder, events = tmp_path_factory.mktemp("learned"), []
    made, train, test = trial(examples_seen=2400), scenes("synthetic", 60), scenes("synthetic", 30, seed=1)
    return Made(folder, made, run(folder, made, train, test=test, report=events.append), train, test, events)


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


# ------------------------------------------------------------------------------------------------------------ distances


def evaluated(made, on, folder, **fields):
    recipe = dataclasses.replace(made.trial.recipe, **fields)
    changed = dataclasses.replace(made.trial, recipe=recipe)
    return detection.evaluate(made.folder, changed, on, folder, accelerator=fresh(), training=CPU)


def trained_features(made):
    """Features of the training population: by hand the best detection of each object that it overlaps by over half."""
    found = detect(
        made.trial and detection.load(made.folder, made.trial), made.train.images, Keep(score_threshold=0.05)
    )
    best = {}
    for i in np.argsort(-found.score, kind="stable"):
        rows = range(*made.train.objects.of_image(found.image[i]).indices(len(made.train.objects.box)))
        overlaps = [(iou(found.box[i], made.train.objects.box[r]), -r) for r in rows]
        if overlaps and max(overlaps)[0] > 0.5:
            best.setdefault(-max(overlaps)[1], i)
    return found, sorted(best.values())


def iou(a, b):
    shared = np.maximum(np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return shared / (a[2:].prod() + b[2:].prod() - shared)


def test_training_detections_are_d_away_on_average_and_the_file_holds_their_gaussian(learned):
    """The trace identity: the mean of (f − μ)ᵀ Σ⁻¹ (f − μ) over those that μ and Σ are of is their dimension."""
    found, population = trained_features(learned)
    fitted = read_gaussian(learned.folder / "gaussian.npz")
    expected = gaussian(found.feature[population])
    assert fitted[0].count == len(population) == learned.result["n_population"] > 10
    assert np.allclose(fitted[0].mean, expected.mean)
    assert np.allclose(fitted[0].scatter, expected.scatter)
    away = Ruler.of(fitted, PLAIN).distance(found)[population]
    assert away.mean() == pytest.approx(8, rel=1e-6)
    assert learned.result["distance_status"] == "ok"


def test_a_gaussian_is_read_as_it_was_written(tmp_path):
    random = np.random.default_rng(0)
    fitted = {k: gaussian(random.random((n, 3))) for k, n in ((0, 7), (2, 0), (5, 40))}
    write_gaussian(tmp_path / "g.npz", fitted, "real")
    read = read_gaussian(tmp_path / "g.npz")
    for k, part in fitted.items():
        for name, value in dataclasses.asdict(part).items():
            assert np.array_equal(getattr(read[k], name), value)
    assert str(np.load(tmp_path / "g.npz")["fitted_on"]) == "real"


def test_parts_of_the_training_images_give_the_gaussian_of_all(learned, monkeypatch):
    from realfake.tasks import feature_gaussians

    monkeypatch.setattr(feature_gaussians, "IMAGES_AT_ONCE", 5)
    model = detection.load(learned.folder, learned.trial)
    parts = population_gaussians(model, learned.train, learned.trial.recipe)
    whole = read_gaussian(learned.folder / "gaussian.npz")
    assert parts[0].count == whole[0].count
    assert np.allclose(parts[0].scatter, whole[0].scatter, rtol=1e-3)


def test_a_gaussian_of_the_real_images_knows_nothing_of_the_synthetic_ones(tmp_path):
    made = trial(examples_seen=160, distance=DistanceRule(ridge=0.0, fitted_on="real", least_score=0.0))
    run(tmp_path / "a", made, scenes(), synthetic=[scenes("synthetic", 8)])
    model = detection.load(tmp_path / "a", made)
    alone = population_gaussians(model, scenes(), made.recipe)
    assert np.array_equal(read_gaussian(tmp_path / "a" / "gaussian.npz")[0].scatter, alone[0].scatter)


def test_the_table_gives_average_precision_again_when_ranked_by_score(learned):
    table = pq.read_table(learned.folder / "detections.parquet")
    matched, ignored = (np.array(table[name].to_pylist())[:, 0] for name in ("matched", "ignored"))
    score, distance = table["score"].to_numpy(), table["distance"].to_numpy()
    count = learned.result["n_objects"]
    right = matched & ~ignored
    by_score = average_precision_t2t(-score, score, right, count, 0.0, ignored=ignored)
    assert by_score == pytest.approx(learned.result["average_precision_50"], abs=1e-9)
    assert 0.1 < by_score < 1
    for kind, of_what in (("ap_t2t", "ground truth"), ("ap_t2t_of_true", "true positives")):
        for least in (0.01, 0.1, 0.5):
            by_distance = average_precision_t2t(
                distance, score, right, count, least, normalisation=of_what, ignored=ignored
            )
            assert learned.result[f"{kind}_{least}"] == pytest.approx(by_distance)
    sure = score >= 0.1
    assert learned.result["distance_true_0.1"] == pytest.approx(np.median(distance[sure & right]))
    assert learned.result["distance_false_0.1"] == pytest.approx(np.median(distance[sure & ~matched & ~ignored]))
    expected = 8 * (learned.result["n_population"] + 1) / (learned.result["n_population"] - 8 - 2)
    assert learned.result["distance_expected"] == pytest.approx(expected)
    assert learned.result["rho_0.1"] == pytest.approx(learned.result["distance_true_0.1"] / expected)
    assert set(table["image"].to_pylist()) <= set(learned.test.ids.tolist())
    assert set(table["level"].to_pylist()) <= {0, 1}


def test_objects_that_were_missed_are_counted_and_measured(learned):
    table = pq.read_table(learned.folder / "detections.parquet")
    found = {
        row[0]
        for row, ignored in zip(table["truth"].to_pylist(), table["ignored"].to_pylist(), strict=True)
        if not ignored[0]
    }
    assert learned.result["n_missed"] == learned.result["n_objects"] - len(found - {None})
    assert learned.result["distribution_gap"] > 0


def test_bands_are_the_detections_of_those_scores_alone(learned):
    table = pq.read_table(learned.folder / "detections.parquet")
    matched, ignored = (np.array(table[name].to_pylist())[:, 0] for name in ("matched", "ignored"))
    score, distance = table["score"].to_numpy(), table["distance"].to_numpy()
    for low, high in ((0.01, 0.1), (0.1, 0.5), (0.5, 1)):
        band = (score >= low) & ((score < high) | (high == 1)) & ~ignored
        alone = average_precision_t2t(distance[band], score[band], matched[band], learned.result["n_objects"], 0)
        assert band.any()
        assert learned.result[f"ap_t2t_{low}_to_{high}"] == pytest.approx(alone)


@pytest.mark.parametrize(("ridge", "status"), [(0.0, "too few detections"), (1e-3, "only by regularisation")])
def test_too_few_training_detections_are_said_and_no_error(learned, tmp_path, ridge, status):
    few = learned.train.take(slice(0, 6))
    model = detection.load(learned.folder, learned.trial)
    rule = DistanceRule(ridge=ridge)
    fitted = population_gaussians(model, few, dataclasses.replace(learned.trial.recipe, distance=rule))
    ruler = Ruler.of(fitted, rule)
    assert 2 < fitted[0].count <= 10
    assert ruler.status == f"{status}: {fitted[0].count} ≤ d + 2"
    away = ruler.distance(detect(model, few.images))
    assert np.isnan(away).all() if ridge == 0 else np.isfinite(away).all()


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


# ---------------------------------------------------------------------------------------------------------------- views


def test_boxes_move_along_when_images_are_flipped_and_light_is_light():
    random = np.random.default_rng(0)
    boxes = [[[*random.integers(0, 20, 2), *random.integers(3, 12, 2)]] for _ in range(6)]
    images = np.zeros((6, 40, 48, 3), np.uint8)
    for image, ((left, top, width, height),) in zip(images, boxes, strict=True):
        image[top : top + height, left : left + width] = 250
    recipe = DetectionRecipe(examples_seen=200, batch_size=200)
    seen = views.view(batches.plan(recipe, 6, 0, seed=3), 0, "flip-light")
    shown = views.Scenes.on(torch.device("cpu"), of(images, boxes))
    pixels, truth = shown.images(seen).numpy(), shown.truth(seen)
    assert 0.4 < seen.flip.mean() < 0.6
    assert truth.image.tolist() == list(range(200))
    for image, light, (left, top, width, height) in zip(pixels, seen.light, truth.box.astype(int), strict=True):
        box = image[:, top : top + height, left : left + width]
        assert np.allclose(box, min(255, 250 * light), atol=1e-3)
        assert image.sum() == pytest.approx(box.sum(), rel=1e-5)
    assert 0.7 <= seen.light.min() < 0.75
    assert 1.25 < seen.light.max() <= 1.3


@pytest.mark.parametrize(
    ("augment", "flips", "lights"), [("none", False, False), ("flip", True, False), ("flip-light", True, True)]
)
def test_views_depend_on_seed_and_step_alone_and_vary_as_the_recipe_says(augment, flips, lights):
    plan = batches.plan(DetectionRecipe(examples_seen=640, batch_size=64, augment=augment), 10, 0, seed=3)
    seen, again, other = (views.view(plan, step, augment) for step in (4, 4, 5))
    assert seen.flip.any() == flips
    assert (seen.light != 1).any() == lights
    for a, b in zip(dataclasses.astuple(seen), dataclasses.astuple(again), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(seen.rows, other.rows)
    assert sorted(np.concatenate([seen.slice(r, 3).rows for r in range(3)])) == sorted(seen.rows)


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
