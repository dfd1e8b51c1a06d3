"""The table of trials: names of arms and recipes say what differs and nothing else; losses come from predictions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from realfake import records
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Relabel, Repeat, Subset, Trial, address
from realfake.store import Store

TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")
RECIPE = Recipe(examples_seen=100)


def real(size=50, seed=0):
    return Subset(of=TRAIN, size=size, seed=seed)


def trial(generator=None, volume=100, n=50, seed=0, recipe=RECIPE, **pool):
    synthetic = (Subset(of=Pool(generator=generator, **pool), size=volume),) if generator else ()
    return Trial(real=real(n, seed) if n else None, synthetic=synthetic, test=TEST, recipe=recipe, seed=seed)


def names(*trials):
    found = records.arms(trials)
    return [found[address(t)] for t in trials]


def test_arms_are_named_by_what_made_their_images():
    assert names(
        trial(),
        trial(ClosedSet(real=real())),
        trial(ClosedSet(real=real(200))),
        trial(ClosedSet(real=real(seed=1))),
        trial(Repeat(real=real())),
        trial(Relabel(generator=ClosedSet(real=real()))),
        trial(ClosedSet(real=real()), n=0),
    ) == [
        "real-only",
        "closed-set",
        "closed-set leaky",
        "closed-set leaky",
        "repeat",
        "closed-set permuted",
        "closed-set",
    ]


def test_a_generator_fitted_on_less_than_the_trial_has_is_strict():
    assert names(trial(ClosedSet(real=real(20)), n=50)) == ["closed-set"]


def test_a_setting_is_part_of_the_name_only_where_trials_of_one_size_differ_in_it():
    weak, strong = (trial(ClosedSet(real=real()), guidance=w) for w in (1.0, 2.0))
    assert names(weak, strong) == ["closed-set guidance=1.0", "closed-set guidance=2.0"]
    small, large = (trial(ClosedSet(real=real(n), steps=10 * n), n=n) for n in (50, 100))
    assert names(small, large) == ["closed-set", "closed-set"]


def test_seeds_are_no_part_of_an_arm():
    assert set(names(*(trial(ClosedSet(real=real(seed=s), seed=s), seed=s) for s in range(3)))) == {"closed-set"}


def test_recipes_are_named_by_model_and_by_what_differs():
    trials = (trial(), trial(recipe=Recipe(epochs=5)), trial(recipe=Recipe(model="test_vit", examples_seen=100)))
    found = records.recipes(trials)
    assert [found[address(t)] for t in trials] == [
        "test_resnet 100 examples seen",
        "test_resnet 5.0 epochs",
        "test_vit",
    ]


def test_a_row_has_sizes_seeds_and_metrics_and_unmade_trials_have_none(tmp_path):
    store = Store(tmp_path)
    made = trial(ClosedSet(real=real(seed=2), seed=3), seed=2)
    with store.making(made) as (_, result):
        result.update(status="ok", error=0.25, cross_entropy=0.5, n_test=8, real_budget=50)
    (row,) = records.table([made, trial()], store)
    assert {k: row[k] for k in ("n_real", "n_synthetic", "n_generator", "subset_seed", "generator_seed")} == {
        "n_real": 50,
        "n_synthetic": 100,
        "n_generator": 50,
        "subset_seed": 2,
        "generator_seed": 3,
    }
    assert (row["error"], row["real_budget"], row["external_budget"], row["budget"]) == (
        0.25,
        50,
        0,
        "examples_seen=100",
    )


def test_losses_per_image_are_those_of_the_predictions(tmp_path):
    store, made = Store(tmp_path), trial()
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0]], np.float32)
    with store.making(made) as (folder, result):
        result.update(status="ok", real_budget=50)
        column = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), 2)
        pq.write_table(pa.table({"probabilities": column, "label": [0, 0, 1]}), folder / "predictions.parquet")
    losses = records.per_image(records.table([made], store), store)[address(made)]
    assert losses["error"].tolist() == [0, 1, 1]
    np.testing.assert_allclose(losses["cross_entropy"], -np.log([0.9, 0.2, 1e-7]), rtol=1e-6)
