"""Trials and generators made from a store and into it: results, determinism, faults, and the ways through Ray Train."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from realfake import samples, training
from realfake.resources import ResourceError, Training
from realfake.samples import CorruptShard
from realfake.spec import External, Pool, Recipe, Relabel, SpecError, Subset, address
from realfake.store import StoreError
from tests import tiny


def ignore(event):
    """Take a report and do nothing with it."""


def make(spec, store, report=ignore, **options):
    return training.make(spec, store, report, tiny.CPU, **options)


def digests(store, spec):
    return store.record(spec)["files"]


@pytest.fixture
def store(tmp_path):
    return tiny.import_digits(tmp_path / "store")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one made trial on 40 real and 300 synthetic images, its result, and what it reported."""
    store = tiny.import_digits(tmp_path_factory.mktemp("made"))
    pool = tiny.repeat_pool(size=30, seed=1)
    tiny.write_pool(store, pool, 300)
    trial = tiny.trial(real=tiny.real(40), synthetic=(Subset(of=pool, size=300),))
    events = []
    return store, trial, make(trial, store, events.append), events


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A store with one trial on 200 real images that learned something, and its result."""
    store = tiny.import_digits(tmp_path_factory.mktemp("learned"))
    trial = tiny.trial(real=tiny.real(200), recipe=Recipe(examples_seen=8000, batch_size=32))
    return store, trial, make(trial, store)


# -------------------------------------------------------------------------------------------------------------- results


def test_a_trial_learns_and_says_what_it_was_made_of(learned):
    _, _, result = learned
    assert result["status"] == "ok"
    assert result["error"] < 0.4  # chance: 0.9
    assert result["n_generator"] is None
    assert (result["n_real"], result["n_synthetic"], result["real_budget"]) == (200, 0, 200)
    assert result["external_budget"] == 0


def test_the_result_holds_metrics_budget_and_environment(made):
    store, trial, result, _ = made
    assert result == {**store.record(trial)["result"]}
    assert (result["n_real"], result["n_synthetic"], result["n_generator"], result["n_test"]) == (40, 300, 30, 200)
    assert (result["steps"], result["examples_seen"], result["budget"]) == (4, 128, "examples_seen=128")
    assert 0 < result["real_examples_seen"] < 40
    assert result["classes_missing"] == []
    assert result["examples_per_second"] == pytest.approx(128 / result["train_seconds"])
    known = {"device", "torch", "python", "platform", "threads", "world_size", "precision"}
    assert set(result["environment"]) == known


def test_the_real_budget_counts_every_real_image_once(made):
    store, _, result, _ = made
    whole = samples.load(store, tiny.TRAIN)
    rows = set(samples.subset_rows(whole, tiny.real(40, 0))) | set(samples.subset_rows(whole, tiny.real(30, 1)))
    assert 40 < len(rows) < 70
    assert result["real_budget"] == len(rows)


def test_the_shards_trained_on_are_named_with_their_digests(made):
    store, trial, result, _ = made
    folder = store.folder(trial.synthetic[0].of)
    assert [shard["file"] for shard in result["shards"]] == sorted(p.name for p in folder.iterdir())
    assert len(result["shards"]) == 2
    for shard in result["shards"]:
        assert shard["pool"] == folder.name
        assert (
            shard["digest"] == samples.read_table(folder / shard["file"]).schema.metadata[b"realfake.digest"].decode()
        )


def test_predictions_give_the_metrics_again(made):
    from realfake.tasks import classification

    store, trial, result, _ = made
    table = pq.read_table(store.folder(trial) / "predictions.parquet")
    probabilities = np.stack(table["probabilities"].to_numpy())
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    again = classification.metrics(probabilities, table["label"].to_numpy())
    assert again == {key: result[key] for key in again}
    assert table["id"].to_pylist() == samples.load(store, tiny.TEST).ids.tolist()


def test_the_history_is_what_was_reported_and_ends_at_the_last_step(made):
    store, trial, _, events = made
    lines = [json.loads(line) for line in (store.folder(trial) / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [set(line) for line in lines] == [{"step", "loss", "learning_rate"}] * 4
    assert [{key: event[key] for key in lines[0]} for event in events] == lines
    assert events[-1]["examples_seen"] == 128


def test_a_long_history_has_at_most_a_hundred_lines(store):
    trial = tiny.trial(recipe=Recipe(model="test_efficientnet", examples_seen=404, batch_size=2))
    make(trial, store)
    lines = (store.folder(trial) / "history.jsonl").read_text().splitlines()
    assert 50 < len(lines) <= 100
    assert json.loads(lines[-1])["step"] == 202


def test_classes_without_a_training_image_are_named(store):
    assert len(make(tiny.trial(real=tiny.real(6)), store)["classes_missing"]) == 4


@pytest.mark.parametrize("mixing", ["weighted", "synthetic_then_real"])
def test_other_mixing_rules_train_and_see_half_real_images(made, mixing):
    store, trial, _, _ = made
    recipe = Recipe(examples_seen=128, batch_size=32, mixing=mixing)
    result = make(tiny.trial(real=trial.real, synthetic=trial.synthetic, recipe=recipe), store)
    assert result["real_examples_seen"] == 64


def test_synthetic_alone_is_not_real_free(made):
    store, trial, _, _ = made
    result = make(tiny.trial(real=None, synthetic=trial.synthetic), store)
    assert (result["n_real"], result["real_examples_seen"], result["real_budget"]) == (0, 0, 30)


def test_frozen_features_stay_and_only_the_head_learns(learned, store):
    from safetensors.torch import load_file

    path = learned[0].folder(learned[1]) / "model.safetensors"
    init = External(name="mine", n_images=200)
    recipe = Recipe(init=init, frozen=True, augment="none", examples_seen=6000, learning_rate=0.01)
    trial = tiny.trial(real=tiny.real(100), recipe=recipe)
    result = make(trial, store, weights={"mine": path})
    before, after = load_file(path), load_file(store.folder(trial) / "model.safetensors")
    assert {key for key in before if not torch.equal(before[key], after[key])} == {"fc.weight", "fc.bias"}
    assert result["error"] < 0.5
    assert result["external_budget"] == 200


# ----------------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("examples", [128, 2])
def test_a_trial_that_diverges_is_a_result_without_metrics(store, examples):
    recipe = Recipe(model="test_vit", examples_seen=examples, batch_size=32, learning_rate=1e30)
    trial = tiny.trial(real=tiny.real(), recipe=recipe)
    result = make(trial, store)
    assert result["status"] == "diverged"
    assert 1 <= result["step"] <= 4
    assert "error" not in result
    assert store.has(trial)


def test_a_generator_that_diverges_is_a_result_and_its_trials_say_so(store):
    generator = tiny.closed_set(learning_rate=1e30, steps=30)
    assert make(generator, store)["status"] == "diverged"
    pool = Pool(generator=Relabel(generator=generator))
    with pytest.raises(StoreError, match="diverged at step"):
        make(tiny.trial(synthetic=(Subset(of=pool, size=10),)), store)


# ---------------------------------------------------------------------------------------------------------- determinism


def test_the_same_spec_gives_the_same_files(made, tmp_path):
    _, trial, _, _ = made
    store = tiny.import_digits(tmp_path)
    tiny.write_pool(store, trial.synthetic[0].of, 300)
    torch.rand(10)  # whatever went before in this process
    make(trial, store)
    assert digests(store, trial) == digests(made[0], trial)


def test_precisions_may_follow_each_other_in_one_process(made):
    store, trial, _, _ = made
    bf16 = Recipe(examples_seen=128, batch_size=32, precision="bf16")
    result = make(tiny.trial(real=trial.real, recipe=bf16), store)
    assert (result["status"], result["environment"]["precision"]) == ("ok", "bf16")
    test_the_same_spec_gives_the_same_files(made, store.root / "again")


def test_what_is_made_is_not_made_again(made):
    store, trial, result, _ = made
    assert make(trial, store, lambda event: pytest.fail("trained again")) == result


def test_a_generator_is_fitted_on_its_real_images_alone(store):
    generator = tiny.closed_set()
    result = make(generator, store)
    assert result["status"] == "ok"
    assert {"model.safetensors", "history.jsonl"} <= set(digests(store, generator))


# --------------------------------------------------------------------------------------------------------------- faults


def test_an_interrupted_trial_leaves_nothing(store):
    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tiny.trial(), store, interrupt)
    assert not store.has(tiny.trial())
    assert list((store.root / ".scratch").iterdir()) == []


def test_missing_and_corrupt_shards_are_named(store):
    pool = tiny.repeat_pool()
    trial = tiny.trial(synthetic=(Subset(of=pool, size=10),))
    with pytest.raises(FileNotFoundError, match=r"00000000-00000255\.parquet"):
        make(trial, store)
    tiny.write_pool(store, pool, 10)
    shard = store.folder(pool) / samples.shard_name(0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CorruptShard) as caught:
        make(trial, store)
    assert caught.value.path == shard
    assert not store.has(trial)


def test_images_that_do_not_match_the_test_set_are_refused(store):
    from realfake.spec import Dataset

    wide = Dataset(name="wide")
    images = np.zeros((10, 16, 16, 1), dtype=np.uint8)
    with store.making(wide) as (folder, result):
        table = samples.to_table(images, np.arange(10), np.arange(10))
        samples.write_table(table, folder / "0.parquet")
        result |= {"classes": list("0123456789"), "n": 10}
    with pytest.raises(SpecError, match="same size, channels and classes"):
        make(tiny.trial(real=Subset(of=wide, size=10)), store)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(store):
    with pytest.raises(ResourceError, match="no CUDA device"):
        training.make(tiny.trial(), store, ignore, Training(device="cuda"))


# ---------------------------------------------------------------------------------------------------- through Ray Train


def test_ray_train_in_this_process_gives_the_same_files_and_the_same_errors(made, tmp_path, capsys):
    import ray

    _, trial, result, _ = made
    store = tiny.import_digits(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"00000000-00000255\.parquet"):
        training.train(trial, store, ignore, tiny.CPU)
    tiny.write_pool(store, trial.synthetic[0].of, 300)
    events = []
    through_ray = training.train(trial, store, events.append, tiny.CPU)
    assert through_ray["cross_entropy"] == result["cross_entropy"]
    assert digests(store, trial) == digests(made[0], trial)
    assert len(events) == 4
    assert not ray.is_initialized()
    assert capsys.readouterr().out == ""


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_two_workers_share_every_batch(made, tmp_path):
    import ray

    _, trial, result, _ = made
    store = tiny.import_digits(tmp_path)
    tiny.write_pool(store, trial.synthetic[0].of, 300)
    two = Training(device="cpu", workers=2, cpus_per_lane=0.5)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        lost = tiny.trial(synthetic=(Subset(of=tiny.repeat_pool(), size=10),))
        with pytest.raises(FileNotFoundError, match=r"00000000-00000255\.parquet"):
            training.train(lost, store, ignore, two)
        events = []
        shared = training.train(trial, store, events.append, two)
    finally:
        ray.shutdown()
    assert shared["environment"]["world_size"] == 2
    assert len(events) == 4
    assert events[0]["loss"] == pytest.approx(made[3][0]["loss"], rel=0.1)
    for key in ("steps", "examples_seen", "real_examples_seen", "n_test"):
        assert shared[key] == result[key]
    assert address(trial) in store.find("trial-")
    assert list((store.root / ".scratch").iterdir()) == []
