"""Steps, networks and guidance of generators in a study: names of arms, columns of compute, and choices among them.

The records are written by hand: errors of trials are given, so that what a choice must find is known.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from realfake import records, results
from realfake.generators.networks import NETWORKS
from realfake.spec import Choice, ClosedSet, Dataset, Evaluation, Gan, Pool, Recipe, Study, Subset, Trial
from realfake.store import Store
from realfake.studyfile import StudyFile

IMAGES, SEEDS, GUIDANCE = 100, (0, 1, 2), {1.0: 0.30, 1.5: 0.10, 2.0: 0.20}  # guidance: the error on validation data
RECIPE = Recipe(examples_seen=128, augment="none")
TRAIN, TEST = Dataset(name="digits", holdout=100), Dataset(name="digits", split="test")
VALIDATION = Dataset(name="digits", split="validation", holdout=100)


def trial(size, seed, generator=None, **pool):
    real = Subset(of=TRAIN, size=size, seed=seed)
    synthetic = (Subset(of=Pool(generator=generator(real, seed), seed=seed, **pool), size=200),) if generator else ()
    return Trial(real=real, synthetic=synthetic, test=TEST, recipe=RECIPE, seed=seed)


def usual(real, seed):
    return ClosedSet(real=real, steps=5, seed=seed)


def write(store, spec, error, **facts):
    """Write the record of a trial or an evaluation that was wrong on this share of its images."""
    labels = np.arange(IMAGES) % 10
    said = np.where(np.arange(IMAGES) < round(error * IMAGES), (labels + 1) % 10, labels)
    shares = 0.02 + 0.8 * np.eye(10)[said]
    with store.making(spec) as (folder, result):
        pq.write_table(pa.table({"label": labels, "probabilities": list(shares)}), folder / "predictions.parquet")
        loss = float(-np.log(shares[np.arange(IMAGES), labels]).mean())
        result.update(status="ok", error=error, cross_entropy=loss, n_test=IMAGES, real_budget=40, **facts)


# --------------------------------------------------------------------------------------------- steps and capacity


def test_steps_networks_and_families_are_arms_of_their_own():
    kinds = [lambda real, seed, steps=steps: ClosedSet(real=real, steps=steps, seed=seed) for steps in (400, 800)]
    kinds += [lambda real, seed: ClosedSet(real=real, steps=800, network="dit-xs", seed=seed)]
    kinds += [lambda real, seed: Gan(real=real, steps=800, seed=seed)]
    trials = tuple(trial(40, seed, kind) for kind in kinds for seed in SEEDS)
    assert list(dict.fromkeys(records.arms(trials).values())) == [
        "closed-set network=unet-xs steps=400",
        "closed-set network=unet-xs steps=800",
        "closed-set network=dit-xs steps=800",
        "gan",
    ]


def test_rows_hold_the_compute_of_generators_that_were_fitted(tmp_path):
    store, alone = Store(tmp_path), trial(40, 0)
    mixed = trial(40, 0, usual)
    for one in (alone, mixed):
        write(store, one, 0.3)
    with store.making(mixed.synthetic[0].of.generator) as (_, result):
        result.update(status="ok", parameters=1234)
    real_only, with_images = records.table([alone, mixed], store)
    assert with_images["generator_steps"] == 5
    assert with_images["generator_parameters"] == 1234
    assert with_images["generator_seconds"] == store.record(mixed.synthetic[0].of.generator)["seconds"]
    assert not {key for key in real_only if key.startswith("generator_")} - {"generator_seed"}


def test_a_mixture_of_unlike_generators_has_no_one_number_of_steps(tmp_path):
    one, other = (Pool(generator=ClosedSet(real=Subset(of=TRAIN, size=40), steps=s)) for s in (5, 6))
    both = Trial(synthetic=tuple(Subset(of=p, size=50) for p in (one, other)), test=TEST, recipe=RECIPE)
    store = Store(tmp_path)
    write(store, both, 0.3)
    for pool in (one, other):
        with store.making(pool.generator) as (_, result):
            result.update(status="ok", parameters=1234)
    (row,) = records.table([both], store)
    assert "generator_steps" not in row
    assert row["generator_parameters"] == 1234


def test_only_those_presets_are_a_gpus_that_say_so():
    assert all(network.largest <= 64 for network in NETWORKS.values())
    assert {name for name, network in NETWORKS.items() if network.largest == 64} >= {"unet-s-64", "dit-xs-64"}


# ------------------------------------------------------------------------- guidance, chosen on validation data


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """A study of a ladder and three guidances at one size, one chosen for each draw, and its store."""
    folder = tmp_path_factory.mktemp("chosen")
    store = Store(folder / "store")
    ladder = [trial(size, seed) for size in (20, 40, 80, 160) for seed in SEEDS]
    guided = {seed: [trial(40, seed, usual, guidance=w) for w in GUIDANCE] for seed in SEEDS}
    for one in ladder:
        write(store, one, 0.6 - 0.1 * np.log2(one.n_real / 20) + 0.02 * one.seed)
    for candidates in guided.values():
        for one, (w, on_validation) in zip(candidates, GUIDANCE.items(), strict=True):
            write(store, one, {1.0: 0.25, 1.5: 0.38, 2.0: 0.45}[w])  # the test set would have chosen another
            write(store, Evaluation(of=one, on=VALIDATION), on_validation)
        with store.making(candidates[0].synthetic[0].of.generator) as (_, result):
            result.update(status="ok", parameters=1234)
    with store.making(VALIDATION) as (_, result):
        result.update(n=100)
    choices = tuple(Choice(candidates=tuple(c), on=VALIDATION, by="cross_entropy") for c in guided.values())
    trials = (*ladder, *(one for candidates in guided.values() for one in candidates))
    return StudyFile(Study(name="chosen", trials=trials, choices=choices), folder / "chosen.py", "How?"), store


def test_guidance_is_chosen_on_validation_data_alone(chosen):
    rows = records.of_study(chosen[0].study, chosen[1])
    best = [row for row in rows if row["arm"] == "closed-set, best by validation"]
    assert len(best) == len(SEEDS)
    assert {row["error"] for row in best} == {0.38}
    assert {row["real_budget"] for row in best} == {140}
    assert {row["test"] for row in rows} == {"digits"}


def test_the_chosen_arm_is_analysed_beside_its_candidates(chosen):
    file, store = chosen
    rows = records.of_study(file.study, store)
    images = records.per_image(rows, store)
    assert all(len(images[row["address"]]["error"]) == IMAGES for row in rows)
    document = results._analyse(file, rows, store, [])
    cells = {cell["arm"]: cell for cell in document["cells"] if cell["n_synthetic"]}
    assert set(cells) == {*(f"closed-set guidance={w}" for w in GUIDANCE), "closed-set, best by validation"}
    best, same = cells["closed-set, best by validation"], cells["closed-set guidance=1.5"]
    assert best["equivalent"]["cross_entropy"]["point"] == pytest.approx(same["equivalent"]["cross_entropy"]["point"])
