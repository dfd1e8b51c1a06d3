"""Validation images held out of train: which they are, and what is refused."""

import numpy as np
import pytest

from realfake.datasets import DatasetError, import_dataset
from realfake.records import of_study
from realfake.samples import load_dataset
from realfake.spec import Choice, Dataset, Evaluation, Recipe, Study, Subset, Trial
from realfake.store import Store
from realfake.values import SpecError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("holdout"))


def ids(store, **fields):
    dataset = Dataset(name="digits", **fields)
    import_dataset(dataset, store)
    samples = load_dataset(store, dataset)
    return dict(zip(samples.ids.tolist(), samples.labels.tolist(), strict=True))


def test_train_and_validation_share_the_images_of_train(store):
    whole, test = ids(store), ids(store, split="test")
    train, validation = ids(store, holdout=300), ids(store, holdout=300, split="validation")
    assert len(validation) == 300
    assert {**train, **validation} == whole
    assert not train.keys() & validation.keys()
    assert not validation.keys() & test.keys()


def test_each_class_is_held_out_in_proportion_and_smaller_ones_lie_inside_larger_ones(store):
    whole, small, large = ids(store), *(ids(store, holdout=n, split="validation") for n in (100, 300))
    assert small.keys() <= large.keys()
    for n, found in ((100, small), (300, large)):
        share = np.bincount(list(whole.values())) * n / len(whole)
        assert np.abs(np.bincount(list(found.values()), minlength=10) - share).max() <= 1


def test_what_cannot_be_held_out_is_refused(store):
    with pytest.raises(SpecError, match="leave holdout out"):
        Dataset(name="digits", split="test", holdout=5)
    with pytest.raises(DatasetError, match="1,297 train images"):
        import_dataset(Dataset(name="digits", holdout=1297), store)
    with pytest.raises(DatasetError, match="boxes are not held out"):
        import_dataset(Dataset(name="aerial-urban", holdout=5), store)


def test_what_is_held_out_of_a_set_is_not_judged_on_by_what_was_trained_on_it():
    recipe, test = Recipe(examples_seen=100), Dataset(name="digits", split="test")
    held_out = Dataset(name="digits", split="validation", holdout=100)

    def trained(**fields):
        return Trial(real=Subset(of=Dataset(name="digits", **fields), size=20), test=test, recipe=recipe)

    for clean in (trained(holdout=100), trained(holdout=300)):  # the larger one holds the smaller one
        assert Evaluation(of=clean, on=held_out).on == held_out
    two = ("1", "2")
    for spoilt in (trained(), trained(holdout=99), trained(holdout=100, classes=two), trained(pixels=16, holdout=99)):
        with pytest.raises(SpecError, match="or train on a Dataset of the same holdout"):
            Evaluation(of=spoilt, on=held_out)
    with pytest.raises(SpecError, match="is also trained on"):
        Trial(real=Subset(of=Dataset(name="digits"), size=20), test=held_out, recipe=recipe)


def test_images_held_out_to_choose_on_count_as_real_budget(store):
    train, held_out = Dataset(name="digits", holdout=300), Dataset(name="digits", holdout=300, split="validation")
    import_dataset(held_out, store)
    test = Dataset(name="digits", split="test")
    real = Subset(of=train, size=20)
    trials = tuple(
        Trial(real=real, test=test, recipe=Recipe(examples_seen=100, learning_rate=rate)) for rate in (1e-3, 2e-3)
    )
    choice = Choice(candidates=trials, on=held_out, by="error")
    for trial, error in zip(trials, (0.4, 0.2), strict=True):
        for spec in (trial, Evaluation(of=trial, on=held_out)):
            with store.making(spec) as (_, result):
                result.update(
                    {"status": "ok", "n_test": 500, "real_budget": 20, "error": error, "cross_entropy": error}
                )
    rows = of_study(Study(name="tuned", trials=trials, choices=(choice,)), store)
    assert [(row["error"], row["real_budget"]) for row in rows] == [(0.4, 20), (0.2, 20), (0.2, 320)]
