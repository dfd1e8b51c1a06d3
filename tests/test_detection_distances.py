"""Distances of detections: features of the training population give a Gaussian, and tables give every number again."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

from realfake.representation.closeness import average_precision_t2t
from realfake.representation.gaussians import gaussian
from realfake.spec import DistanceRule
from realfake.tasks import detection
from realfake.tasks.detectors import Keep, detect
from realfake.tasks.feature_gaussians import (
    Population,
    Ruler,
    population_of,
    read_gaussian,
    read_population,
    write_population,
)
from tests.tiny_scenes import PLAIN, learn, run, scenes, trial


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A detector of 8 features trained on 60 scenes and tried on 30 others."""
    return learn(tmp_path_factory.mktemp("learned"))


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
    sample = {0: random.random((7, 3)), 2: np.empty((0, 3)), 5: random.random((40, 3))}
    write_population(tmp_path / "g.npz", Population(fitted, sample), "real")
    read = read_gaussian(tmp_path / "g.npz")
    for k, rows in read_population(tmp_path / "g.npz").sample.items():
        assert np.array_equal(rows, sample[k])
    for k, part in fitted.items():
        for name, value in dataclasses.asdict(part).items():
            assert np.array_equal(getattr(read[k], name), value)
    assert str(np.load(tmp_path / "g.npz")["fitted_on"]) == "real"


def test_a_file_from_before_there_were_samples_is_read_without_one(tmp_path):
    fitted = {0: gaussian(np.random.default_rng(0).random((9, 3)))}
    write_population(tmp_path / "g.npz", Population(fitted, {0: np.empty((0, 3))}), "all")
    with np.load(tmp_path / "g.npz") as file:
        np.savez(tmp_path / "old.npz", **{name: file[name] for name in file if not name.startswith("sample")})
    old = read_population(tmp_path / "old.npz")
    assert old.sample == {}
    assert np.array_equal(old.gaussians[0].scatter, fitted[0].scatter)


def test_parts_of_the_training_images_give_the_gaussian_of_all(learned, monkeypatch):
    from realfake.tasks import feature_gaussians

    monkeypatch.setattr(feature_gaussians, "IMAGES_AT_ONCE", 5)
    model = detection.load(learned.folder, learned.trial)
    found = population_of(model, learned.train, learned.trial.recipe)
    parts, whole = found.gaussians, read_gaussian(learned.folder / "gaussian.npz")
    assert parts[0].count == whole[0].count
    assert np.allclose(parts[0].scatter, whole[0].scatter, rtol=1e-3)
    kept = read_population(learned.folder / "gaussian.npz").sample[0]
    assert np.allclose(found.sample[0], kept, atol=1e-3)  # the same ones, whatever the parts


def test_a_gaussian_of_the_real_images_knows_nothing_of_the_synthetic_ones(tmp_path):
    made = trial(examples_seen=160, distance=DistanceRule(ridge=0.0, fitted_on="real", least_score=0.0))
    run(tmp_path / "a", made, scenes(), synthetic=[scenes("synthetic", 8)])
    model = detection.load(tmp_path / "a", made)
    alone = population_of(model, scenes(), made.recipe).gaussians
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
    fitted = population_of(model, few, dataclasses.replace(learned.trial.recipe, distance=rule)).gaussians
    ruler = Ruler.of(fitted, rule)
    assert 2 < fitted[0].count <= 10
    assert ruler.status == f"{status}: {fitted[0].count} ≤ d + 2"
    away = ruler.distance(detect(model, few.images))
    assert np.isnan(away).all() if ridge == 0 else np.isfinite(away).all()
