"""Specs: addresses that do not move by accident, checks that speak, the graph, and the real budget."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realfake.spec import (
    ClosedSet,
    Dataset,
    External,
    Pool,
    Recipe,
    Relabel,
    Repeat,
    Study,
    Subset,
    Trial,
    address,
    external_budget,
    inputs,
    order,
    real_budget,
)
from realfake.values import SpecError

TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")
RECIPE = Recipe(examples_seen=1000)
GOLDEN = Path(__file__).parent / "golden" / "addresses.json"


def real(size=50, seed=0):
    return Subset(of=TRAIN, size=size, seed=seed)


def pool(**changes):
    return Pool(**{"generator": ClosedSet(real=real()), **changes})


def trial(**changes):
    synthetic = (Subset(of=pool(), size=100),)
    return Trial(**{"real": real(), "synthetic": synthetic, "test": TEST, "recipe": RECIPE, **changes})


def specimens():
    """One of each kind, with fields off their defaults: what the golden addresses are of."""
    external = External(name="resnet18.a1_in1k", n_images=1_281_167)
    return {
        "dataset": Dataset(name="mnist5k", pixels=14),
        "subset": real(),
        "subset of a pool": Subset(of=pool(), size=100),
        "closed set": ClosedSet(real=real(), network="unet-s", steps=10, seed=3),
        "repeat": Repeat(real=real()),
        "relabel": Relabel(generator=ClosedSet(real=real())),
        "external": external,
        "pool": pool(guidance=2.0, labels="proportional"),
        "trial": trial(),
        "frozen trial": trial(recipe=Recipe(model="resnet18", init=external, frozen=True, augment="none", epochs=5)),
        "study": Study(name="golden", trials=(trial(), trial(seed=1))),
    }


def test_addresses_are_the_golden_ones():
    """An address that moves makes everything anew: change this file only together with a revision or on purpose."""
    assert {name: address(spec) for name, spec in specimens().items()} == json.loads(GOLDEN.read_text())


def test_an_address_is_the_same_in_another_process():
    code = "from tests.test_spec import trial; from realfake.spec import address; print(address(trial()))"
    root = Path(__file__).parents[1]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == address(trial())


def test_a_field_at_its_default_is_not_part_of_the_address():
    assert address(Dataset(name="digits")) == address(Dataset(name="digits", split="train", pixels=0))


@given(st.integers(1, 10**9), st.integers(0, 10**6))
def test_different_fields_give_different_addresses(size, seed):
    assert address(real(size, seed)) != address(real(size + 1, seed)) != address(real(size + 1, seed + 1))


def test_a_change_below_changes_every_address_above():
    below = trial(synthetic=(Subset(of=pool(generator=ClosedSet(real=real(), steps=1)), size=100),))
    assert address(below) != address(trial())
    assert address(below.synthetic[0]) != address(trial().synthetic[0])


def test_int_float_and_bool_stay_apart_but_an_int_serves_for_a_float():
    assert address(pool(guidance=2)) == address(pool(guidance=2.0))
    with pytest.raises(SpecError, match=r"Subset\.size is True, a bool; it must be int"):
        Subset(of=TRAIN, size=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dataset(nam="digits"), r"Dataset has no field 'nam'; did you mean 'name'\?"),
        (lambda: Dataset("digits"), r"fields are given by name"),
        (lambda: Dataset(), r"Dataset needs name=…"),
        (lambda: Subset(of=TRAIN, size="50"), r"Subset.size is '50', a str; it must be int"),
        (lambda: Subset(of=TRAIN, size=0), r"must be at least 1"),
        (lambda: Subset(of=pool(), size=5, seed=1), r"is its prefix and takes no seed"),
        (lambda: Dataset(name="digits", split="val"), r"it must be 'train' or 'validation' or 'test'"),
        (lambda: Recipe(), r"0 budgets are given"),
        (lambda: Recipe(epochs=1, examples_seen=5), r"2 budgets are given"),
        (lambda: Recipe(epochs=1, frozen=True), r"features of random weights"),
        (lambda: Recipe(epochs=1, frozen=True, init=External(name="resnet18")), r"give augment='none'"),
        (lambda: Trial(test=TEST, recipe=RECIPE), r"neither real nor synthetic"),
        (lambda: trial(real=Subset(of=TEST, size=5)), r"the test set 'digits' \(test\) is also trained on"),
        (lambda: trial(synthetic=(real(),)), r"give subsets of a Pool"),
        (lambda: ClosedSet(real=Subset(of=pool(), size=5)), r"a subset of a pool is synthetic"),
        (lambda: ClosedSet(real=real(), label_dropout=1.5), r"must lie between 0 and 1"),
        (lambda: Study(name="No Spaces", trials=(trial(),)), r"becomes a folder"),
        (lambda: Study(name="empty", trials=()), r"has no trials"),
        (lambda: Dataset(name="digits", pixels=float("nan")), r"a float; it must be int"),
    ],
)
def test_bad_fields_get_one_clear_sentence(make, message):
    with pytest.raises(SpecError, match=message):
        make()


def test_a_leak_through_the_generator_is_refused_too():
    leaking = Pool(generator=ClosedSet(real=Subset(of=TEST, size=50)))
    with pytest.raises(SpecError, match="directly or through a generator"):
        trial(synthetic=(Subset(of=leaking, size=10),))


def test_inputs_come_first_and_once():
    made = order([trial(), trial(seed=1)])
    assert len({address(s) for s in made}) == len(made)
    place = {address(s): i for i, s in enumerate(made)}
    assert all(place[address(held)] < place[address(s)] for s in made for held in inputs(s))


def test_real_budget_sees_through_generators_and_counts_nested_subsets_once():
    inside = trial(real=real(200))  # the generator's 50 lie inside these 200
    assert [(s.size, s.seed) for s in real_budget(inside)] == [(200, 0)]
    outside = trial(real=real(200, seed=1))
    assert sorted((s.size, s.seed) for s in real_budget(outside)) == [(50, 0), (200, 1)]
    alone = trial(real=None)
    assert [(s.size, s.seed) for s in real_budget(alone)] == [(50, 0)]


def test_external_budget_is_unknown_when_any_part_is():
    def frozen(n_images):
        init = External(name="resnet18", n_images=n_images)
        return trial(recipe=Recipe(init=init, frozen=True, augment="none", epochs=1))

    assert external_budget(trial()) == 0
    assert external_budget(frozen(1000)) == 1000
    assert external_budget(frozen(None)) is None


def test_equal_trials_of_a_study_count_once():
    assert len(Study(name="twice", trials=(trial(), trial(), trial(seed=1))).trials) == 2


def test_specs_are_frozen():
    with pytest.raises(AttributeError):
        TRAIN.name = "other"  # type: ignore[misc]
