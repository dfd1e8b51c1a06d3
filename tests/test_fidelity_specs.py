"""Fidelity as something that a study asks for: specs, what they need, their records against the API, the report."""

import math
from dataclasses import replace

import pandas as pd
import pytest

import realfake
from realfake import execution
from realfake.fidelity import compare_images
from realfake.fidelity.comparison import DIVERSE, RECOGNISED
from realfake.fidelity.pools import held_out
from realfake.needs import needs
from realfake.pictured import fidelities, volumes
from realfake.report import fidelity as section
from realfake.resources import Cluster, Training, Where
from realfake.samples import load
from realfake.spec import DetectionRecipe, Fidelity, Pool, Repeat, Study, Subset, address
from realfake.studyfile import StudyFile
from realfake.training import make
from realfake.values import SpecError
from tests import tiny
from tests.by_hand import make_record

FITTED = Pool(generator=tiny.closed_set(real=tiny.real(60)))  # its shards are written by hand
JUDGE = tiny.trial(real=tiny.real(100))
COPIES = tiny.repeat_pool(60)
TRIALS = (
    JUDGE,
    tiny.trial(real=tiny.real(60), synthetic=(Subset(of=FITTED, size=120),)),
    tiny.trial(real=tiny.real(60), synthetic=(Subset(of=COPIES, size=90),)),
)
ASKED = realfake.fidelities(TRIALS, images=100, classifier=JUDGE, seed=3)
STUDY = Study(name="like", trials=TRIALS, fidelities=ASKED)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in which the whole study has been run, in this process."""
    store = tiny.import_digits(tmp_path_factory.mktemp("like"))
    tiny.write_pool(store, FITTED, 120)
    make_record(store, FITTED.generator)
    where = Where(store=str(store.root), cluster=Cluster(address="none"), training=Training(device="cpu"))
    board = execution.run(STUDY, where)
    assert board is not None
    assert not board.failed
    assert board.tally["evaluations"] == 2
    return store


def test_every_pool_of_a_study_is_asked_for_once():
    assert [(spec.of.of, spec.of.size, spec.real) for spec in ASKED] == [
        (FITTED, 100, tiny.real(60)),
        (COPIES, 90, tiny.real(60)),
    ]
    assert all(spec.judges == (JUDGE,) for spec in ASKED)
    assert volumes(STUDY.wanted)[FITTED] == 120


def test_an_address_tells_pools_spaces_and_classifiers_apart():
    one = ASKED[0]
    others = [replace(one, space=JUDGE), replace(one, classifier=None), replace(one, of=Subset(of=FITTED, size=99))]
    assert len({address(spec) for spec in (one, *others)}) == 4
    assert address(one).startswith("fidelity-")


def test_it_needs_the_images_and_the_trial_that_judges(tmp_path):
    found = needs(ASKED[:1], tiny.import_digits(tmp_path))
    assert set(found.trials) == {address(JUDGE)}
    assert found.shards == {address(FITTED): {0}}
    assert set(found.fits) == {address(FITTED.generator)}
    assert set(found.evaluations) == {address(ASKED[0])}


@pytest.mark.parametrize("spec", ASKED, ids=["fitted", "copies"])
def test_a_record_holds_the_numbers_of_the_api_on_the_same_images(store, spec):
    result = store.record(spec)["result"]
    real, made, fresh = load(store, spec.real), load(store, spec.of), held_out(store, spec.real, spec.of.size)
    table = compare_images(real, made, held_out=fresh, classifier=JUDGE, store=store, seed=3)
    assert (result["space"], result["n_real"], result["n_synthetic"]) == ("pixels", 60, spec.of.size)
    assert result["n_held_out"] == len(fresh) == spec.of.size
    assert [row["measure"] for row in result["measures"]] == table["measure"].tolist()
    assert len(table) == 13
    for row, expected in zip(result["measures"], table.to_dict("records"), strict=True):
        for name in ("value", "low", "high", "null", "null_low", "null_high", "p_value"):
            known = expected[name]
            assert row[name] == known if known == known else name not in row, (row, name)


def test_a_record_holds_recognisability_and_diversity_of_every_class(store):
    result = store.record(ASKED[0])["result"]
    made = load(store, ASKED[0].of)
    by_class = {(row["measure"], row["class"]): row for row in result["classes"]}
    names = [str(name) for name in made.classes]
    assert set(by_class) == {(measure, name) for measure in (RECOGNISED, DIVERSE) for name in names}
    means = {row["measure"]: row["value"] for row in result["measures"]}
    for measure, mean in ((RECOGNISED, "recognisability (mean F1)"), (DIVERSE, "diversity within class")):
        own = [by_class[measure, name]["value"] for name in names]
        assert sum(own) / len(own) == pytest.approx(means[mean])
    pixels = made.images.reshape(len(made), -1) / 255
    spread = pixels[made.labels == 3].std(axis=0, ddof=1).mean()
    assert by_class[DIVERSE, names[3]]["value"] == pytest.approx(spread, rel=1e-5)


def test_copies_are_seen_as_such_and_nothing_that_was_seen_is_held_out(store):
    rates = {}
    for spec in ASKED:
        (rates[spec],) = (row for row in store.record(spec)["result"]["measures"] if row["measure"].startswith("copy"))
    assert rates[ASKED[1]]["value"] == 1
    assert rates[ASKED[1]]["null"] < 0.1
    assert rates[ASKED[0]]["value"] < 0.5
    more = held_out(store, tiny.real(60), 1000, seen=[tiny.real(200)])
    assert len(more) == 100
    assert not set(more.ids) & set(load(store, tiny.real(200)).ids)


def test_a_space_may_be_what_a_trial_sees_and_a_diverged_one_leaves_nothing(store):
    spec = replace(ASKED[1], space=JUDGE, classifier=None)
    result = make(spec, store, lambda event: None, tiny.CPU)
    assert result["space"] == address(JUDGE)
    lost = tiny.trial(seed=91)
    make_record(store, lost, status="diverged", step=7)
    diverged = make(replace(spec, space=lost), store, lambda event: None, tiny.CPU)
    assert (diverged["status"], diverged["step"]) == ("diverged", 7)


def test_the_report_shows_every_pool_beside_real_images(store, tmp_path):
    found = fidelities(StudyFile(STUDY, tmp_path / "like.py", "?"), store)
    page = section.sections(found, tmp_path).source.replace("\N{NO-BREAK SPACE}", " ")
    table = pd.read_csv(tmp_path / "fidelity.csv")
    assert len(table) == 26
    kept = store.record(ASKED[0])["result"]["measures"]
    own = table[table["pool"] == address(FITTED)]
    assert own["value"].tolist() == pytest.approx([row.get("value", math.nan) for row in kept], nan_ok=True)
    first = kept[0]
    assert f"{first['value']:.3g} [{first['low']:.3g}, {first['high']:.3g}]" in page
    assert page.count(section.REAL) >= 2
    assert "<svg" in page
    assert (tmp_path / "fidelity.svg").is_file()
    assert not section.sections([], tmp_path).source


def test_several_pools_of_an_arm_are_told_by_their_mean_and_range():
    rows = [
        {"measure": "m", "value": v, "low": v - 1, "high": v + 1, "null": 0.5, "space": "pixels"} for v in (1.0, 4.0)
    ]
    names = {"arm": "a", "n_generator": 9, "space": "pixels", "n_real": 9, "n_synthetic": 9, "n_held_out": 9}
    data = section.long_table([{**names, "pool": f"pool-{i}", "measures": [row]} for i, row in enumerate(rows)])
    assert section._cell(data, "value") == "2.5 [1, 4]"
    assert section._cell(data[:1], "value") == "1 [0, 2]"


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SpecError, match="synthetic with real images"):
        Fidelity(of=tiny.real(60), real=tiny.real(60))
    detector = tiny.trial(recipe=DetectionRecipe(examples_seen=10))
    with pytest.raises(SpecError, match="a detector tells no classes"):
        replace(ASKED[0], classifier=detector)
    other = Pool(generator=Repeat(real=tiny.real(70)))
    with pytest.raises(SpecError, match="which none of its trials uses"):
        Study(name="x", trials=TRIALS, fidelities=(replace(ASKED[0], of=Subset(of=other, size=10)),))
