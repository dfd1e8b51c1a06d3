"""From records to a plan: costs read off a store that is written by hand, and the verb on it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from realfake import cli, samples
from realfake.laws import LAWS
from realfake.planning.costs import Costs, PlanError, measured_costs
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Repeat, Subset, Trial, address
from realfake.store import Store
from realfake.studyfile import read

TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")
RECIPE = Recipe(examples_seen=100)
STUDY = '''"""How many?"""
from realfake import ClosedSet, Dataset, Pool, Recipe, Repeat, Study, Subset, Trial

train, test = Dataset(name="digits"), Dataset(name="digits", split="test")

def trial(size, seed, ratio=0):
    real = Subset(of=train, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, steps=5, seed=seed), seed=seed)
    synthetic = (Subset(of=pool, size=ratio * size),) if ratio else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=Recipe(examples_seen=100), seed=seed)

ladder = (trial(size, seed) for size in (25, 50, 100, 200, 400, 800) for seed in (0, 1, 2))
mixtures = (trial(size, seed, ratio) for size in (50, 100, 200) for ratio in (1, 4, 16) for seed in (0, 1, 2))
study = Study(name="hand", trials=(*ladder, *mixtures))
'''


def make(store, spec, seconds, **result):
    """Write a record that says how long it took."""
    with store.making(spec) as (_, facts):
        facts.update(result)
    path = store.folder(spec) / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))


def make_trial(store, spec, seconds, error=0.5):
    """A trial with predictions for 400 test images, `error` of them wrong."""
    wrong = np.arange(400) < round(400 * error)
    of_label = np.where(wrong, 0.3, 0.9)
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.stack([of_label, 1 - of_label], axis=1).ravel()), 2)
    measured = {"error": float(wrong.mean()), "cross_entropy": float(-np.log(of_label).mean())}
    make(store, spec, seconds, status="ok", n_test=400, real_budget=spec.n_real, **measured)
    table = pa.table({"probabilities": column, "label": np.zeros(400, int)})
    pq.write_table(table, store.folder(spec) / "predictions.parquet")


def trial(n, seed=0, m=0, generator=None):
    real = Subset(of=TRAIN, size=n, seed=seed)
    pool = Pool(generator=generator or ClosedSet(real=real, seed=seed), seed=seed)
    synthetic = (Subset(of=pool, size=m),) if m else ()
    return Trial(real=real, synthetic=synthetic, test=TEST, recipe=RECIPE, seed=seed)


def test_costs_are_lines_through_the_seconds_of_records_and_images(tmp_path):
    store = Store(tmp_path)
    mixed = [trial(n, m=m) for n, m in ((50, 100), (50, 300), (200, 400))]
    for spec in (*mixed, trial(100)):
        make_trial(store, spec, 2.0 + 0.01 * (spec.n_real + spec.n_synthetic))
    for spec in {pool.of.generator for one in mixed for pool in one.synthetic}:
        make(store, spec, 40.0 + 0.1 * spec.real.size)
    rows = np.zeros((samples.SHARD_ROWS, 8, 8, 1), np.uint8)
    shard = samples.to_table(rows, np.zeros(len(rows), np.int64), np.arange(len(rows)))
    for pool, seconds in ((mixed[0].synthetic[0].of, 2.56), (mixed[2].synthetic[0].of, 5.12)):
        store.folder(pool).mkdir()
        samples.write_table(shard, store.folder(pool) / samples.shard_name(0), {"seconds": seconds})
    found = measured_costs([*mixed, trial(100), trial(777)], store, real=30.0)
    assert (found.real, found.unit) == (30.0, "seconds")
    assert found.generator == pytest.approx(40.0)
    assert found.generator_per_real == pytest.approx(0.1)
    assert found.training == pytest.approx(2.0)
    assert found.training_per_image == pytest.approx(0.01)
    assert found.synthetic == pytest.approx(0.015)


def test_one_size_gives_a_constant_and_a_control_has_no_generator_to_fit(tmp_path):
    store = Store(tmp_path)
    spec = trial(50, m=100, generator=Repeat(real=Subset(of=TRAIN, size=50)))
    make_trial(store, spec, 3.0)
    found = measured_costs([spec], store, real=1.0)
    assert (found.generator, found.generator_per_real, found.synthetic) == (0, 0, 0)
    assert (found.training, found.training_per_image) == (3.0, 0.0)
    with pytest.raises(PlanError, match="no trial of the study is made"):
        measured_costs([trial(77)], store, real=1.0)


def test_a_purchase_costs_labels_one_generator_the_candidates_and_one_training():
    costs = Costs(
        real=10,
        synthetic=0.5,
        candidates_per_kept=4,
        generator=100,
        generator_per_real=2,
        training=7,
        training_per_image=1,
    )
    assert costs.of(50, 0, 50) == 50 * 10 + 7 + 50
    assert costs.of(50, 30, 50) == 50 * 10 + 100 + 50 * 2 + 30 * 4 * 0.5 + 7 + 80
    assert costs.of(50, 30, 80) == 80 * 10 + 100 + 80 * 2 + 30 * 4 * 0.5 + 7 + 80
    assert costs.of(50, 0, 80) == 50 * 10 + 7 + 50
    np.testing.assert_array_equal(costs.of(np.array([50.0, np.inf]), 0, np.array([50.0, np.inf])), [557, np.inf])
    assert "a synthetic one 0.5 (4 made for each kept)" in str(costs)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"real": 0}, "where labels cost nothing"),
        ({"synthetic": -1}, "Costs.synthetic is -1; a cost is a number, 0 or more"),
        ({"training": float("nan")}, "Costs.training is nan"),
        ({"candidates_per_kept": 0.5}, "it must be at least 1"),
    ],
)
def test_costs_that_make_no_sense_are_refused(given, why):
    with pytest.raises(PlanError, match=why):
        Costs(**given)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study whose records were written by hand: (study file, store)."""
    folder = tmp_path_factory.mktemp("purchasing")
    (folder / "hand.py").write_text(STUDY)
    store, rng = Store(folder / "store"), np.random.default_rng(0)
    law = LAWS["scaled"]
    for spec in read(folder / "hand.py").study.trials:
        error = law.error((0.02, 3.0, 0.5, 0.4, 8.0), float(spec.n_real), float(spec.n_synthetic), float(spec.n_real))
        make_trial(store, spec, 4.0, float(error) * np.exp(rng.normal(0, 0.03)))
        for part in spec.synthetic:
            if not store.has(part.of.generator):
                make(store, part.of.generator, 50.0)
    return folder / "hand.py", store


def asked(made, *arguments):
    path, store = made
    return CliRunner().invoke(cli.main, ["plan", str(path), "--store", str(store.root), *arguments])


def test_the_command_plans_in_measured_seconds_and_proposes_trials(made):
    done = asked(made, "--target-error", "0.2", "--real-cost", "30", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    costs = document["costs"]
    assert [costs[name] for name in ("real", "generator", "training")] == pytest.approx([30, 50, 4])
    assert costs["unit"] == "seconds"
    size = ((0.2 - 0.02) / 3.0) ** -2
    assert document["labels_only"]["n_real"]["low"] < size < document["labels_only"]["n_real"]["high"]
    assert document["verdict"] == "mix"
    proposed = document["next"]["trials"]
    known = {address(spec) for spec in read(made[0]).study.trials}
    assert len(proposed) == 6
    assert not known & {row["address"] for row in proposed}
    widths = [row["half_width"] for row in proposed]
    assert document["next"]["at"] == [200, 3200]
    assert widths == sorted(widths, reverse=True)


def test_costs_that_are_given_leave_no_measured_seconds_among_them(made):
    done = asked(made, "--budget", "500", "--real-cost", "3", "--synthetic-cost", "0.01", "--response", "cross_entropy")
    assert done.exit_code == 0, done.output
    assert "Costs: a real image 3, a synthetic one 0.01, a generator 0, a training 0." in done.stdout
    assert "Trials that would narrow the effective size at 200 + 3,200 images" in " ".join(done.stdout.split())


def test_an_arm_that_is_not_there_is_refused_with_those_that_are(made):
    done = asked(made, "--target-error", "0.2", "--real-cost", "3", "--arm", "open-set")
    assert done.exit_code == 2
    assert "0 fits of the study answer that in error" in done.stderr
    assert "--arm 'closed-set' --recipe 'test_resnet'" in done.stderr
