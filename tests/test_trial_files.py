"""The table of a study beside it: written from a store, read and fitted without one, refused where it cannot be."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from realfake import cli, records, results, trial_files
from realfake.intervals import Interval
from realfake.samples import SHARD_ROWS
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial
from realfake.statistics.trial_table import FitError, read_csv
from realfake.store import Store
from realfake.studyfile import StudyFile
from tests.by_hand import make_record

IMAGES = 200
RECIPE = Recipe(examples_seen=128, augment="none")
TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")


def pool(size, seed):
    real = Subset(of=TRAIN, size=size, seed=seed)
    return Pool(generator=ClosedSet(real=real, steps=5, seed=seed), sampling_steps=2, seed=seed)


def trial(size, seed, volume=0):
    synthetic = (Subset(of=pool(size, seed), size=volume),) if volume else ()
    real = Subset(of=TRAIN, size=size, seed=seed)
    return Trial(real=real, synthetic=synthetic, test=TEST, recipe=RECIPE, seed=seed)


LADDER = tuple(trial(size, seed) for size in (20, 40, 80, 160) for seed in (0, 1, 2))
STUDY = Study(name="beside", trials=(*LADDER, *(trial(40, seed, 300) for seed in (0, 1, 2))))


def tried(store, spec, rng):
    """Write the record of a trial and what it said of every test image, as good as its images are many."""
    labels = np.arange(IMAGES) % 10
    scores = rng.normal(size=(IMAGES, 10)) + np.log(spec.n_real + spec.n_synthetic / 3) * np.eye(10)[labels]
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    of_label = np.clip(shares[np.arange(IMAGES), labels], 1e-7, 1)
    wrong = shares.argmax(1) != labels
    with store.making(spec) as (folder, kept):
        pq.write_table(pa.table({"label": labels, "probabilities": list(shares)}), folder / "predictions.parquet")
        kept.update(status="ok", error=float(wrong.mean()), cross_entropy=float(-np.log(of_label).mean()))
        kept.update(n_test=IMAGES, real_budget=spec.n_real)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study, its store with all trials in it, and the table that was written of it."""
    folder = tmp_path_factory.mktemp("beside")
    store, rng = Store(folder / "store"), np.random.default_rng(0)
    for spec in STUDY.trials:
        tried(store, spec, rng)
    for seed in (0, 1, 2):
        make_record(store, pool(40, seed).generator)
    file = StudyFile(STUDY, folder / "beside.py", "How many?")
    return file, store, trial_files.write(file, store, folder / "beside.csv")


def test_a_table_and_the_single_images_are_written_beside_the_study(made):
    file, store, paths = made
    assert [path.name for path in paths] == ["beside.csv", "beside.images.parquet"]
    table, images = read_csv(str(paths[0])), trial_files.read_images(paths[0])
    exact = records.per_image(records.of_study(file.study, store), store)
    assert list(table["address"]) == list(exact) == list(images)
    for name, values in exact.items():
        np.testing.assert_allclose(images[name]["cross_entropy"], values["cross_entropy"], rtol=2e-3, atol=1e-6)
        np.testing.assert_array_equal(images[name]["error"], values["error"])


def test_seconds_of_generators_stand_where_there_is_one(made):
    table = read_csv(str(made[2][0]))
    mixed = table["n_synthetic"] > 0
    assert mixed.sum() == 3
    assert (table["generator_seconds"].notna() == mixed).all()
    assert "pool_seconds" not in table  # no image file is there to say it


def test_seconds_of_a_pool_are_those_of_its_files(made, monkeypatch):
    """Two files of 3 s on average hold 300 images."""
    file, store, _ = made
    monkeypatch.setattr(trial_files, "shards_made", lambda *_: [{"seconds": 2.0}, {"seconds": 4.0}])
    rows = trial_files.costed(records.of_study(file.study, store), file.study, store)
    assert {row.get("pool_seconds") for row in rows} == {None, 6.0}
    assert SHARD_ROWS < 300 <= 2 * SHARD_ROWS


def test_a_refit_says_what_the_store_says_and_asks_none(made, monkeypatch):
    file, store, paths = made
    rows = records.of_study(file.study, store)
    asked = results.analysed(file.study, pd.DataFrame(rows), records.per_image(rows, store), {})
    monkeypatch.setattr(results, "Store", None)
    again, said = results.refit(file, paths[0])
    assert said == {"study": "beside", "question": "How many?"}
    for one, other in zip(asked["cells"], again["cells"], strict=True):
        assert one["cross_entropy"]["high"] == pytest.approx(other["cross_entropy"]["high"], rel=1e-4)
        worths = [Interval.from_json(cell["equivalent"]["cross_entropy"]) for cell in (one, other)]
        assert str(worths[0]) == str(worths[1])


def test_single_images_are_asked_where_they_stand_beside_the_table(made, tmp_path, monkeypatch):
    file, _, paths = made
    (tmp_path / "alone.csv").write_text(paths[0].read_text())
    monkeypatch.setattr(results, "analysed", lambda study, table, images, words: images)
    assert results.refit(file, tmp_path / "alone.csv")[0] is None
    assert len(results.refit(file, paths[0])[0]) == 15


def test_images_that_would_be_large_are_not_kept(made, tmp_path, monkeypatch):
    file, store, _ = made
    (tmp_path / "beside.images.parquet").write_text("from before")
    monkeypatch.setattr(trial_files, "LARGEST", 1000)
    assert trial_files.write(file, store, tmp_path / "beside.csv") == [tmp_path / "beside.csv"]
    assert trial_files.read_images(tmp_path / "beside.csv") is None


def test_a_table_with_foreign_trials_is_refused(made, tmp_path):
    file, _, paths = made
    (tmp_path / "other.csv").write_text(paths[0].read_text().replace("trial-", "trial-0"))
    with pytest.raises(FitError, match="15 of its 15 trials are none of the study"):
        results.refit(file, tmp_path / "other.csv")


STUDY_FILE = """from realfake import Dataset, Recipe, Study, Subset, Trial
real, test = Subset(of=Dataset(name="digits"), size=20), Dataset(name="digits", split="test")
study = Study(name="none", trials=(Trial(real=real, test=test, recipe=Recipe(examples_seen=9)),))
"""


@pytest.mark.parametrize("verb", ["fit", "table"])
def test_a_study_of_which_nothing_is_made_is_told_what_to_type(tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.py").write_text(STUDY_FILE)
    done = CliRunner().invoke(cli.main, [verb, "none.py"])
    assert done.exit_code == 2
    assert "holds no trial of none.py; make them: realfake run none.py\n" in done.output
    (tmp_path / "none.csv").write_text("n_real\n")
    assert "realfake fit none.py --table none.csv" in CliRunner().invoke(cli.main, [verb, "none.py"]).output
