"""Shadow models and audits: halves and canaries, what is refused, what attacks reach from records, and what is told."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from realfake import records, samples
from realfake.needs import needs
from realfake.privacy import Membership, membership
from realfake.report import privacy as told
from realfake.shadows import shadow_models
from realfake.spec import (
    Audit,
    BestOf,
    ClosedSet,
    Dataset,
    DetectionRecipe,
    LatentPrior,
    OpenSet,
    Pool,
    Pretrained,
    Recipe,
    Repeat,
    SpecError,
    Study,
    Subset,
    Trial,
    address,
)
from tests import tiny
from tests.by_hand import make_record
from tests.tiny_chain import make_all

RECIPE = Recipe(model="test_resnet", examples_seen=64, batch_size=32)


def pipeline(real, index):
    """A classifier on images of a generator that was fitted to the half."""
    pool = Pool(generator=ClosedSet(real=real, steps=4, seed=index), seed=index)
    return Trial(synthetic=(Subset(of=pool, size=50),), test=tiny.TEST, recipe=RECIPE, seed=index)


def audit(**changes):
    return shadow_models(**{"of": tiny.TRAIN, "size": 100, "make": pipeline, "models": 4, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.import_digits(tmp_path_factory.mktemp("shadows"))


# ----------------------------------------------------------------------------------------------------- halves, canaries


def ids_of(store, subset):
    whole = samples.load_dataset(store, subset.of)
    return whole.ids[samples.subset_rows(whole, subset)]


@pytest.mark.parametrize("models", [4, 10])
def test_every_audited_image_is_in_exactly_half_of_the_models(store, models):
    shadows = audit(models=models, canaries=20)
    on = shadows.audits[0].on
    everyone = ids_of(store, on)
    member = np.stack([np.isin(everyone, ids_of(store, a.half)) for a in shadows.audits if a.of.real])
    assert member.shape == (models, 100)
    assert (member.sum(axis=0) == models // 2).all()
    assert (member.sum(axis=1) == 50).all()
    assert (member[::2] == ~member[1::2]).all()
    assert len({tuple(row) for row in member.tolist()}) == models


def test_canaries_carry_one_wrong_label_in_all_halves_and_the_others_their_own(store):
    on = audit(canaries=30).audits[0].on
    plain = dataclasses.replace(on, canaries=0)
    wrong, right = samples.load(store, on), samples.load(store, plain)
    assert (wrong.ids == right.ids).all()
    whole = samples.load_dataset(store, tiny.TRAIN)
    assert set(wrong.ids[wrong.labels != right.labels]) == set(samples.canary_ids(whole, on))
    assert (wrong.labels != right.labels).sum() == 30
    assert len(set(((wrong.labels - right.labels) % 10).tolist())) > 4  # no one class away
    labels = dict(zip(wrong.ids.tolist(), wrong.labels.tolist(), strict=True))
    for half in (a.half for a in audit(canaries=30).audits):
        seen = samples.load(store, half)
        assert [labels[i] for i in seen.ids.tolist()] == seen.labels.tolist()
    fewer = dataclasses.replace(on, canaries=10)
    assert set(samples.canary_ids(whole, fewer)) <= set(samples.canary_ids(whole, on))


def test_wrong_labels_are_for_real_images_and_not_for_more_than_there_are():
    pool = Pool(generator=Repeat(real=tiny.real()))
    for of, more in (
        (pool, {"canaries": 1}),
        (tiny.TRAIN, {"canaries": 51}),
        (tiny.TRAIN, {"canaries": 101, "half": 0}),
    ):
        with pytest.raises(SpecError, match="wrong labels are put on real images"):
            Subset(of=of, size=50, **more)
    assert Subset(of=tiny.TRAIN, size=50, half=0, canaries=100).canaries == 100


# -------------------------------------------------------------------------------------------------------- the pipelines


def test_shadow_models_are_pairs_of_arms_with_an_audit_each():
    shadows = audit(models=6, seed=3)
    assert len(shadows.trials) == len(shadows.audits) == 12
    assert {a.half.half for a in shadows.audits} == set(range(6))
    assert {a.on for a in shadows.audits} == {Subset(of=tiny.TRAIN, size=100, seed=3)}
    alone = audit(baseline=False)
    assert [trial.real for trial in alone.trials] == [None] * 4
    study = Study(name="audit", trials=shadows.trials, audits=shadows.audits)
    assert len(study.audits) == 12
    with pytest.raises(SpecError, match="which is none of its trials"):
        Study(name="audit", trials=alone.trials, audits=shadows.audits)


PRETRAINED = Pretrained(real=Subset(of=tiny.TRAIN, size=30, seed=9))


@pytest.mark.parametrize(
    "leak",
    [
        lambda real: ClosedSet(real=dataclasses.replace(real, half=None, size=100)),
        lambda real: ClosedSet(real=dataclasses.replace(real, half=real.half ^ 1)),
        lambda real: ClosedSet(real=dataclasses.replace(real, size=25)),
        lambda real: ClosedSet(real=Subset(of=dataclasses.replace(tiny.TRAIN, pixels=16), size=20)),
        lambda real: BestOf(
            generator=ClosedSet(real=real), critic=Trial(real=tiny.real(), test=tiny.TEST, recipe=RECIPE)
        ),
        lambda real: OpenSet(base=PRETRAINED, like=tiny.TRAIN),
    ],
)
def test_a_pipeline_that_has_seen_more_than_its_half_is_refused(leak):
    def leaky(real, index):
        return Trial(
            real=real, synthetic=(Subset(of=Pool(generator=leak(real)), size=50),), test=tiny.TEST, recipe=RECIPE
        )

    with pytest.raises(SpecError, match="saw its half and also"):
        audit(make=leaky)


def test_what_is_no_audit_is_refused():
    trial = pipeline(Subset(of=tiny.TRAIN, size=50, half=0), 0)
    for on in (Subset(of=tiny.TRAIN, size=99), Subset(of=tiny.TRAIN, size=100, half=0)):
        with pytest.raises(SpecError, match="give both halves"):
            Audit(of=trial, on=on)
    for on in (Subset(of=tiny.TRAIN, size=100, seed=1), Subset(of=tiny.TRAIN, size=100, canaries=5)):
        with pytest.raises(SpecError, match="saw no half of these images"):
            Audit(of=trial, on=on)
    with pytest.raises(SpecError, match="saw no half"):
        audit(make=lambda real, index: tiny.trial())
    with pytest.raises(SpecError, match="built trial 1 from another half"):
        audit(make=lambda real, index: pipeline(dataclasses.replace(real, half=0), index))
    with pytest.raises(SpecError, match="return a Trial"):
        audit(make=lambda real, index: real)
    for models in (2, 5):
        with pytest.raises(SpecError, match="give an even number, 16"):
            audit(models=models)
    with pytest.raises(SpecError, match="even number of images"):
        audit(size=51)
    boxes = Trial(real=Subset(of=tiny.TRAIN, size=50, half=0), test=tiny.TEST, recipe=DetectionRecipe(epochs=1))
    with pytest.raises(SpecError, match="probabilities of classes"):
        Audit(of=boxes, on=Subset(of=tiny.TRAIN, size=100))


def test_images_of_another_data_set_may_be_seen_by_all():
    other = Dataset(name="mnist")

    def make(real, index):
        generator = OpenSet(base=Pretrained(real=Subset(of=other, size=30)), real=real, prior=LatentPrior())
        return Trial(synthetic=(Subset(of=Pool(generator=generator), size=50),), test=tiny.TEST, recipe=RECIPE)

    assert len(audit(make=make).trials) == 8


# --------------------------------------------------------------------------------------------------------- from records


def answers(store, audit, separation, n=100):
    """Write the record of an audit whose trial's margins are ``separation`` larger for members."""
    seen = samples.load(store, audit.on)
    random = np.random.default_rng(samples.seed_of(address(audit)) % 2**32)
    member = np.isin(seen.ids, ids_of(store, audit.half))
    margin = separation * member + random.normal(size=n)
    p = np.full((n, 10), 0.0)
    p[:] = (1 / (1 + np.exp(margin)) / 9)[:, None]
    p[np.arange(n), seen.labels] = 1 / (1 + np.exp(-margin))
    with store.making(audit) as (folder, result):
        rows = pa.FixedSizeListArray.from_arrays(pa.array(p.astype(np.float32).ravel()), 10)
        order = random.permutation(n)
        table = pa.table({"id": seen.ids, "label": seen.labels, "probabilities": rows}).take(order)
        pq.write_table(table, folder / "predictions.parquet")
        result |= {"status": "ok"}


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A study of 16 shadow models whose pipelines leak half as much as the models trained on the half."""
    store = tiny.import_digits(tmp_path_factory.mktemp("audited"))
    shadows = audit(models=16, canaries=20)
    for one in shadows.audits:
        answers(store, one, 2.0 if one.of.real else 1.0)
    study = Study(name="audit", trials=shadows.trials, audits=shadows.audits)
    return study, store, membership(study, store, draws=100)


def test_attacks_on_records_reach_what_was_planted_in_every_arm_and_population(audited):
    _, _, found = audited
    assert len(found.attacks) == 20
    assert found.unmade == ()
    for attack in found.attacks:
        d = 2.0 if attack.arm == "real-only" else 1.0
        if attack.mode == "threshold":  # margins have no hardness here
            assert attack.auc.point == pytest.approx(norm.cdf(d / np.sqrt(2)), abs=0.05)
        else:
            assert 0.6 < attack.auc.point < norm.cdf(d / np.sqrt(2)) + 0.03
    sizes = {(attack.population, attack.examples) for attack in found.attacks}
    assert sizes == {("ordinary examples", 80), ("mislabelled canaries", 20)}
    assert "20 mislabelled canaries, fewer than 100" in found.attacks[5].notes


def test_arms_are_compared_on_the_same_halves(audited):
    _, _, found = audited
    first, second = found.contrasts
    expected = norm.cdf(1 / np.sqrt(2)) - norm.cdf(2 / np.sqrt(2))
    assert (first.arm, first.against, first.population) == ("closed-set", "real-only", "ordinary examples")
    assert first.difference.high < 0
    assert first.difference.low < expected < first.difference.high
    assert second.population == "mislabelled canaries"
    assert Membership.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    assert not any("private" in sentence for sentence in found.sentences())


def test_a_model_that_is_not_made_takes_its_complement_with_it(audited, tmp_path):
    study, _, _ = audited
    store = tiny.import_digits(tmp_path)
    for one in study.audits:
        if one.half.half == 5:
            make_record(store, one, status="diverged")
        elif one.half.half not in (8, 9) and one.of.real:
            answers(store, one, 1.0)
    found = membership(study, store, draws=5)
    assert {attack.models for attack in found.attacks} == {12}
    assert {attack.arm for attack in found.attacks} == {"real-only"}
    assert found.contrasts == ()
    assert [line.split(":")[1][:9] for line in sorted(found.unmade)] == [" 16 of 16", " 4 of 16 "]


def test_the_report_tables_attacks_draws_curves_and_calls_nothing_private(audited, tmp_path):
    _, _, found = audited
    html = told.sections(found.to_json(), tmp_path).source
    assert "below resolution" in html
    assert "online LiRA, fixed variance" in html
    assert "private" not in html
    assert "20 mislabelled canaries" in html
    assert html.count("<svg") == 2
    assert len((tmp_path / "membership_attacks.csv").read_text().splitlines()) == 21
    assert len((tmp_path / "membership.csv").read_text().splitlines()) == 20 * 60 + 1
    assert told.sections(None, tmp_path).source == ""
    assert "left out" in told.sections(Membership((), (), ("a: 2 left out",)).to_json(), tmp_path).source


# ----------------------------------------------------------------------------------------------------------- end to end


def test_an_audit_is_made_like_everything_else_and_finds_what_a_small_net_has_memorised(store):
    recipe = Recipe(model="test_resnet", examples_seen=800, batch_size=20, learning_rate=1e-2)

    def repeated(real, index):
        pool = Pool(generator=Repeat(real=real), seed=index)
        return Trial(synthetic=(Subset(of=pool, size=20),), test=tiny.TEST, recipe=recipe, seed=index)

    shadows = shadow_models(of=tiny.TRAIN, size=40, make=repeated, models=4, canaries=20, baseline=False)
    study = Study(name="audit", trials=shadows.trials, audits=shadows.audits)
    assert len(needs(study.audits, store).evaluations) == 4
    board, made = make_all((*study.trials, *study.audits), store)
    assert not board.failed
    assert sum(str(name).startswith("audit-") for name in made) == 4
    kept = store.record(study.audits[0])
    assert kept["result"]["n_audited"] == 40
    assert "error" not in kept["result"]
    assert set(kept["files"]) == {"predictions.parquet"}
    assert needs((*study.trials, *study.audits), store).nothing
    found = membership(study, store, draws=50)
    auc = {(a.population, a.name): a.auc.point for a in found.attacks}
    assert auc["mislabelled canaries", "global threshold"] > 0.8


def test_shadow_models_are_no_replicates_of_the_study_s_own_trials():
    """Halves, and images with wrong labels, say nothing of what n real images do: they stay out of the table."""
    own = tiny.trial()
    audit = shadow_models(
        of=tiny.TRAIN, size=40, make=lambda real, i: tiny.trial(real=real, seed=i), models=4, canaries=4
    )
    both = Study(name="both", trials=(own, *audit.trials), audits=audit.audits)
    assert records.counted(both) == (own,)
    alone = Study(name="alone", trials=audit.trials, audits=audit.audits)
    assert records.counted(alone) == alone.trials
