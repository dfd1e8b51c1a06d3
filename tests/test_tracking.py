"""Mirroring into a real MLflow (one sqlite file for all tests here, a study each) and reading curves back."""

import json
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from realfake import watching
from realfake.intervals import Interval, withheld
from realfake.privacy import lira
from realfake.privacy.curves import numbers
from realfake.progress import State
from realfake.queries import QueryError, audits, curves, trials
from realfake.resources import Where
from realfake.spec import Dataset as SpecDataset
from realfake.spec import Recipe, Study, Subset, Trial, address
from realfake.store import Store
from realfake.studyfile import StudyFile
from realfake.tracking import LiveLog, TrackingError, flat, track, ui_command
from realfake.tracking.texts import TAG_CHARACTERS, joined, packed, split, unpacked
from realfake.watching import numbers as numbers_of
from realfake.watching import stage
from tests.by_hand import OK, board, make_record

NOBODY = "http://127.0.0.1:9"  # the discard port: connections are refused
DIGITS = {"type": "Dataset", "address": "dataset-aaaaaaaaaaaa", "name": "digits", "split": "train"}
TEST = {**DIGITS, "address": "dataset-bbbbbbbbbbbb", "split": "test"}
DATASETS = {
    DIGITS["address"]: {"name": "digits", "split": "train", "n": 1000, "digest": "aaaaaaaaaaaa", "licence": "CC BY"},
    TEST["address"]: {"name": "digits", "split": "test", "n": 797, "digest": "bbbbbbbbbbbb", "licence": "CC BY"},
}
STARTED = 1_700_000_000.0


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """The tracking URI of an MLflow file that is made on first use, as in a new store."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def row(n_real=50, n_synthetic=0, seed=0, status="ok"):
    error = 0.4 / (1 + 0.01 * (n_real + n_synthetic / 4)) + 0.001 * seed
    arm = "closed-set" if n_synthetic else "real-only"
    seeds = dict.fromkeys(("subset_seed", "generator_seed", "pool_seed", "trial_seed"), seed)
    measured = {"error": error, "cross_entropy": 3 * error, "n_test": 797} if status == "ok" else {}
    budgets = {"real_budget": n_real, "external_budget": 0, "budget": "examples_seen=1000"}
    sizes = {"n_real": n_real, "n_synthetic": n_synthetic, "n_generator": n_real if n_synthetic else 0}
    name = f"trial-{n_real:04}{n_synthetic:06}{seed:02}"
    named = {"arm": arm, "recipe": "test_resnet", "status": status, "address": name, "seconds": 1.5}
    return {**sizes, **named, **seeds, **measured, **budgets}


def record(row):
    result = {name: row[name] for name in ("status", "error", "cross_entropy", "n_test", "real_budget") if name in row}
    spec = {
        "type": "Trial",
        "real": {"type": "Subset", "of": DIGITS, "size": row["n_real"], "seed": row["subset_seed"]},
        "test": TEST,
        "recipe": {"type": "Recipe", "model": "test_resnet", "init": None, "batch_size": 64},
    }
    result |= {"environment": {"device": "cpu", "torch": "2.15"}, "per_class_error": [0.1] * 10}
    head = {"address": row["address"], "kind": "trial", "fields": {}, "spec": spec, "files": {}}
    return {**head, "result": result, "started": STARTED, "seconds": row["seconds"]}


def rows_of(seeds=2, **more):
    sizes = [(25, 0), (50, 0), (100, 0), (50, 50), (50, 200), (50, 800)]
    return [row(n, m, seed, **more) for n, m in sizes for seed in range(seeds)]


def interval(point, width=0.1):
    return Interval(point, point * (1 - width), point * (1 + width)).to_json()


EQUIVALENTS = {
    50: Interval(12.5, 3.0, 20.0),
    200: Interval(31.0, 20.0, math.inf, ceiling=50.0),
    800: Interval(50.0, 41.0, math.inf, "above", "beyond the ladder", ceiling=50.0),
}


def cell(m, *, n_real=50, arm="closed-set", equivalent=None):
    worth = equivalent or EQUIVALENTS[m]
    return {
        **{"arm": arm, "recipe": "test_resnet", "n_real": n_real, "n_synthetic": m, "n_generator": 50},
        **{"replicates": 2, "diverged": 0, "error": interval(0.2), "cross_entropy": interval(0.6)},
        "equivalent": {"cross_entropy": worth.to_json(), "error": withheld("one seed").to_json()},
        **{"equivalent_by": "law", "equivalent_by_response": {"cross_entropy": "law", "error": "inversion"}},
        **{"value": withheld("the law does not fit").to_json(), "average_value": worth.scaled(1 / m).to_json()},
        "resolution": interval(7.0),
    }


def analysis(digest="a" * 64, cells=None):
    rung = {"recipe": "test_resnet", "replicates": 2, "diverged": 0}
    measured = {"error": interval(0.25), "cross_entropy": interval(0.8)}
    return {
        "schema": 1,
        "digest": digest,
        "settings": {"bootstrap": 400, "seed": 0, "responses": ["cross_entropy", "error"]},
        "cells": [cell(m) for m in EQUIVALENTS] if cells is None else cells,
        "ladder": [{**rung, "n_real": n, **measured} for n in (25, 50, 100)],
        "fits": [{"arm": "closed-set", "law": "peaked", "parameters": {"alpha": interval(0.4)}}],
        "sentences": ["On digits, 800 images beside 50 real ones were worth > 50 more real images."],
        "warnings": [],
    }


def mirrored(uri, study, rows=None, found=None, **more):
    rows = rows_of() if rows is None else rows
    question = "How many are worth one?"
    table = pd.DataFrame(rows)
    return track(study, question, [record(r) for r in rows], table, found or analysis(), uri=uri, **more)


def runs(uri, study, kind=None):
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(f"realfake/{study}").experiment_id], max_results=1000)
    return [run for run in found if kind in (None, run.data.tags["realfake.kind"])]


def rung_rows(found):
    return found[found["arm"] == "real-only"]


# ----------------------------------------------------------------------------------------------------------- mirroring


def test_tracking_twice_adds_nothing(uri):
    first = mirrored(uri, "twice", datasets=DATASETS)
    before = {run.info.run_id: run.data.to_dictionary() for run in runs(uri, "twice")}
    second = mirrored(uri, "twice", datasets=DATASETS)
    assert (first["trials_new"], first["trials_known"], first["curves_new"], first["superseded"]) == (12, 0, 2, 0)
    assert (second["trials_new"], second["trials_known"], second["curves_new"], second["superseded"]) == (0, 12, 0, 0)
    assert {run.info.run_id: run.data.to_dictionary() for run in runs(uri, "twice")} == before
    assert len(before) == 12 + 2 + 1


def test_a_trial_run_says_what_was_asked_and_what_was_measured(uri):
    asked = row(50, 200, 1)
    mirrored(uri, "trial", [asked], datasets=DATASETS)
    (run,) = runs(uri, "trial", "trial")
    (study,) = runs(uri, "trial", "study")
    assert run.data.tags["realfake.address"] == asked["address"]
    assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert joined("realfake.environment", run.data.tags) == {"device": "cpu", "torch": "2.15"}
    for name in ("n_real", "n_synthetic", "n_generator", "pool_seed", "real_budget", "external_budget"):
        assert run.data.params[name] == str(asked[name])
        assert run.data.metrics[name] == asked[name]
    assert {run.data.params[name] for name in ("arm", "model", "budget")} == {
        *("closed-set", "test_resnet", "examples_seen=1000")
    }
    assert {name: run.data.metrics[name] for name in ("error", "cross_entropy", "seconds")} == {
        name: asked[name] for name in ("error", "cross_entropy", "seconds")
    }
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_001_500)
    used = {used.tags[0].value: used.dataset for used in run.inputs.dataset_inputs}
    assert {use: (dataset.name, dataset.digest) for use, dataset in used.items()} == {
        "train": ("digits", "aaaaaaaaaaaa"),
        "test": ("digits", "bbbbbbbbbbbb"),
    }
    assert json.loads(used["test"].source)["licence"] == "CC BY"


def test_trials_are_found_by_their_numbers_and_by_their_data(uri):
    mirrored(uri, "found", datasets=DATASETS)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("realfake/found").experiment_id
    more = client.search_runs([experiment], "metrics.n_synthetic >= 200 AND tags.realfake.kind = 'trial'")
    assert sorted(run.data.params["n_synthetic"] for run in more) == ["200", "200", "800", "800"]
    assert len(client.search_runs([experiment], "datasets.digest = 'bbbbbbbbbbbb'")) == 12


def test_a_diverged_trial_is_a_failed_run_without_numbers(uri):
    mirrored(uri, "diverged", [row(), row(50, 50, status="diverged")])
    failed = [run for run in runs(uri, "diverged", "trial") if run.data.tags["realfake.status"] == "diverged"]
    assert [run.info.status for run in failed] == ["FAILED"]
    assert failed[0].data.metrics == {"seconds": 1.5}
    assert failed[0].data.params["n_synthetic"] == "50"
    assert runs(uri, "diverged", "study")[0].data.metrics == {"trials": 2, "diverged": 1}
    assert mirrored(uri, "diverged", [row(), row(50, 50, status="diverged")])["trials_new"] == 0


def test_a_trial_of_two_studies_has_a_run_in_each(uri):
    assert mirrored(uri, "one", [row()])["trials_new"] == 1
    assert mirrored(uri, "other", [row(), row(seed=1)])["trials_new"] == 2
    address = row()["address"]
    for study in ("one", "other"):
        assert [r.data.tags["realfake.address"] for r in runs(uri, study, "trial")].count(address) == 1


def test_a_new_analysis_supersedes_the_old_one_and_an_old_one_can_come_back(uri):
    mirrored(uri, "again", found=analysis("a" * 64))
    changed = analysis("b" * 64, [cell(50, equivalent=Interval(14.0, 5.0, 21.0)), cell(200), cell(800)])
    second = mirrored(uri, "again", [*rows_of(), row(seed=7)], changed)
    assert (second["trials_new"], second["curves_new"], second["superseded"]) == (1, 2, 3)
    now = curves(study="again", arm="closed-set", uri=uri)
    assert list(now["equivalent"].fillna(-1)) == [14.0, 31.0, -1]
    every = curves(study="again", arm="closed-set", uri=uri, all=True)
    assert len(every) == 6
    assert set(every["digest"]) == {"a" * 64, "b" * 64}

    back = mirrored(uri, "again", found=analysis("a" * 64))
    assert (back["trials_new"], back["curves_new"], back["superseded"]) == (0, 0, 3)
    assert list(curves(study="again", arm="closed-set", uri=uri)["equivalent"].fillna(-1)) == [12.5, 31.0, -1]


def test_the_study_run_says_what_was_found_and_holds_the_files(uri, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "report.html").write_text("<h1>worth</h1>")
    (tmp_path / "figures" / "equivalent.csv").write_text("n,m")
    mirrored(uri, "files", artifacts=tmp_path)
    (run,) = runs(uri, "files", "study")
    assert joined("realfake.statistics.sentences", run.data.tags) == analysis()["sentences"]
    assert unpacked("realfake.statistics.fits", run.data.tags) == {"fits": analysis()["fits"]}
    assert run.data.tags["mlflow.note.content"].startswith("How many are worth one?\n\nOn digits")
    assert (run.info.status, run.data.params["bootstrap"]) == ("FINISHED", "400")
    client = MlflowClient(uri)
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"report.html", "figures", "fits.json"}
    kept = client.download_artifacts(run.info.run_id, "fits.json", str(tmp_path / "figures"))
    assert json.loads(Path(kept).read_text()) == {"analysis": analysis()}


@pytest.mark.parametrize("stage", ["create_run", "log_batch", "set_terminated"])
def test_what_a_killed_process_left_is_completed(uri, stage, monkeypatch):
    """The process 'dies' at its 5th call of a stage: the next one must leave what an undisturbed one leaves."""
    calls, real = [], getattr(MlflowClient, stage)

    def dying(self, *args, **given):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(self, *args, **given)

    study = f"killed-{stage.replace('_', '-')}"
    monkeypatch.setattr(MlflowClient, stage, dying)
    with pytest.raises(KeyboardInterrupt):
        mirrored(uri, study)
    monkeypatch.undo()
    mirrored(uri, study)
    left = runs(uri, study)
    assert len(left) == len({run.data.tags["realfake.address"] for run in left}) == 12 + 2 + 1
    assert all(run.info.status == "FINISHED" for run in left)
    assert all("error" in run.data.metrics for run in left if run.data.tags["realfake.kind"] == "trial")


def test_a_deleted_run_is_made_again(uri):
    mirrored(uri, "deleted")
    MlflowClient(uri).delete_run(runs(uri, "deleted", "trial")[0].info.run_id)
    assert mirrored(uri, "deleted")["trials_new"] == 1


def test_two_processes_may_be_the_first_to_use_a_file(tmp_path):
    code = "import sys; from realfake.tracking import server; server.client_of(sys.argv[1], create=True)"
    code += ".create_experiment(sys.argv[2])"
    new = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    both = [subprocess.Popen([sys.executable, "-c", code, new, name]) for name in ("a", "b")]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert {found.name for found in MlflowClient(new).search_experiments()} == {"Default", "a", "b"}
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mlflow.db"]


# -------------------------------------------------------------------------------------------------------------- curves


def test_curves_say_what_the_analysis_said(uri):
    mirrored(uri, "curves")
    found = curves(study="curves", uri=uri)
    cells = found[found["arm"] == "closed-set"].reset_index(drop=True)
    for (_, got), said in zip(cells.iterrows(), analysis()["cells"], strict=True):
        for name, value in flat(said).items():
            assert got[name] == value or (math.isnan(got[name]) and math.isnan(value)), name
    assert list(cells["n_synthetic"]) == [50, 200, 800]
    assert list(rung_rows(found)["n_real"]) == [25, 50, 100]
    assert set(rung_rows(found)["n_synthetic"]) == {0}


def test_a_censored_answer_is_a_bound_and_never_a_number(uri):
    mirrored(uri, "censored")
    last = curves(study="censored", n_real=50, arm="closed-set", uri=uri).iloc[-1]
    assert (last["equivalent_censored"], last["equivalent_bound"], last["equivalent_low"]) == ("above", 50.0, 41.0)
    assert math.isnan(last["equivalent"])
    assert last["equivalent_high"] == math.inf
    assert (last["value_censored"], math.isnan(last["value"])) == ("withheld", True)

    client = MlflowClient(uri)
    (curve,) = [run for run in runs(uri, "censored", "curve") if run.data.params["arm"] == "closed-set"]

    def steps(metric):
        return {point.step: point.value for point in client.get_metric_history(curve.info.run_id, metric)}

    assert steps("equivalent") == {50: 12.5, 200: 31.0}
    assert steps("equivalent_bound") == {800: 50.0}
    assert steps("equivalent_low") == {50: 3.0, 200: 20.0, 800: 41.0}
    assert steps("equivalent_high") == {50: 20.0}
    assert steps("value") == {}
    assert steps("error") == {0: 0.25, 50: 0.2, 200: 0.2, 800: 0.2}  # the ladder is where the curve begins


def test_curves_can_be_asked_by_size_and_arm(uri):
    cells = [cell(50), cell(50, n_real=100), cell(50, arm="repeat")]
    mirrored(uri, "asked", found=analysis(cells=cells))
    assert len(curves(study="asked", uri=uri)) == 3 + 3
    assert set(curves(study="asked", n_real=100, uri=uri)["n_real"]) == {100}
    assert list(curves(study="asked", arm="repeat", uri=uri)["arm"]) == ["repeat"]
    everything = curves(uri=uri)
    assert {"asked"} < set(everything["study"])
    assert list(everything) == list(curves(study="asked", n_real=7, uri=uri))
    with pytest.raises(QueryError, match="no curve has the arm 'closed-sets'; did you mean 'closed-set'"):
        curves(study="asked", arm="closed-sets", uri=uri)


def test_curves_of_synthetic_images_alone_are_told_apart_by_their_generator(uri):
    alone = [{**cell(200, n_real=0), "n_generator": size} for size in (50, 100)]
    mirrored(uri, "alone", found=analysis(cells=alone))
    assert list(curves(study="alone", n_real=0, uri=uri)["n_generator"]) == [50, 100]
    assert len(runs(uri, "alone", "curve")) == 2 + 1


def test_many_cells_survive_the_limits_of_tags_and_batches(uri):
    cells = [cell(m, equivalent=Interval(m / 7, m / 9, m / 5)) for m in range(10, 610, 10)]
    mirrored(uri, "many", [row()], analysis(cells=cells))
    found = curves(study="many", arm="closed-set", uri=uri)
    assert list(found["n_synthetic"]) == list(range(10, 610, 10))
    assert list(found["equivalent"]) == [m / 7 for m in range(10, 610, 10)]


def test_split_text_comes_together_again():
    value = [{"text": "⟨m⟩ images " * 2000}]
    tags = split("realfake.cells", value)
    assert len(tags) > 2
    assert all(len(text) <= TAG_CHARACTERS for text in tags.values())
    assert joined("realfake.cells", {**tags, "realfake.cell": "other"}) == value
    assert joined("realfake.statistics.fits", tags) is None


def test_packed_draws_come_out_exactly_and_take_less_room():
    draws = np.random.default_rng(0).lognormal(0, 3, (400, 7)).tolist()
    value = [[float(f"{number:.8g}") for number in row] for row in draws]
    tags, plain = packed("realfake.statistics.fits", value), split("realfake.statistics.fits", value)
    assert all(len(text) <= TAG_CHARACTERS for text in tags.values())
    assert unpacked("realfake.statistics.fits", {**tags, "realfake.fitness": "other"}) == value
    assert sum(map(len, tags.values())) < 0.65 * sum(map(len, plain.values()))
    assert unpacked("realfake.statistics.fits", {}) is None


def test_a_real_analysis_comes_back_whole(uri):
    from realfake.statistics.analysis import analyse
    from tests.simulated import table

    trials = table(ladder=(50, 100, 200, 400), bases=(50, 100), ratios=(1, 4, 16), responses=("cross_entropy", "error"))
    found = analyse(trials, bootstrap=20)
    track("real", "?", [], trials, found, uri=uri)
    got = curves(study="real", arm="closed-set", uri=uri)
    assert len(got) == len(found["cells"]) == 6
    for (_, seen), said in zip(got.iterrows(), found["cells"], strict=True):
        worth = Interval.from_json(said["equivalent"]["cross_entropy"])
        assert (seen["equivalent_low"], seen["equivalent_high"]) == (worth.low, worth.high)
        assert (seen["error"], seen["equivalent_by"]) == (said["error"]["point"], said["equivalent_by"])


# ----------------------------------------------------------------------------------------------- what may not be there


def test_an_unknown_study_names_the_nearest(uri):
    mirrored(uri, "quickstart", [row()])
    with pytest.raises(TrackingError, match="no study 'quikstart'; did you mean 'quickstart'"):
        curves(study="quikstart", uri=uri)


def test_a_file_that_is_not_there_is_not_made_by_asking(tmp_path):
    with pytest.raises(TrackingError, match="there is no MLflow file"):
        curves(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert not list(tmp_path.iterdir())


def test_nobody_there_is_one_sentence_within_seconds():
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"9 cannot be reached \(.*Connection refused\); records are safe"):
        curves(study="quickstart", uri=NOBODY)
    with pytest.raises(TrackingError, match="run `realfake track quickstart` later"):
        mirrored(NOBODY, "quickstart")
    assert time.monotonic() - started < 15


def test_a_deleted_experiment_says_how_to_bring_it_back(uri):
    experiment = mirrored(uri, "gone", [row()])["experiment_id"]
    MlflowClient(uri).delete_experiment(experiment)
    with pytest.raises(TrackingError, match=f"mlflow experiments restore --experiment-id {experiment}"):
        mirrored(uri, "gone", [row()])


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match=r"cannot be reached .*records are safe"):
        mirrored(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", "nowhere", [row()])


# ---------------------------------------------------------------------------------------------------------------- live


def how_far(done, total=12, ended=""):
    """Return what is told of a run that has made so many trials."""
    now = State(10.0 * done, {"trials": done}, {"trials": total}, seconds_left=10.0 * (total - done))
    return {"progress": numbers_of(now), "said": str(now), "stage": stage(now), "ended": ended}


def test_live_logging_then_tracking_makes_no_duplicates(uri):
    rows = rows_of()
    live = LiveLog("live", uri, DATASETS)
    for done, finished in enumerate(rows[:5]):
        live.log({"record": record(finished), "row": finished})
        live.log(how_far(done + 1))
    live.close(timeout_seconds=60)
    assert (live.logged, live.dropped, live.problem) == (5, 0, "")
    (waiting,) = runs(uri, "live", "study")
    assert (waiting.info.status, waiting.data.metrics) == ("RUNNING", {})
    logged = {run.data.tags["realfake.address"]: run.data.to_dictionary() for run in runs(uri, "live", "trial")}

    counts = mirrored(uri, "live", rows, datasets=DATASETS)
    assert (counts["trials_new"], counts["trials_known"]) == (7, 5)
    (study,) = runs(uri, "live", "study")
    assert (study.info.run_id, study.info.status) == (waiting.info.run_id, "FINISHED")
    trials = {run.data.tags["realfake.address"]: run for run in runs(uri, "live", "trial")}
    assert len(trials) == len(runs(uri, "live", "trial")) == 12
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {study.info.run_id}
    assert {name: trials[name].data.to_dictionary() for name in logged} == logged
    assert {frozenset(run.data.params) for run in trials.values()} == {
        frozenset(trials[rows[0]["address"]].data.params)
    }


def test_two_that_log_the_same_trial_leave_one(uri):
    mirrored(uri, "race", [row()])
    late = LiveLog("race", uri)
    late.log(how_far(0))  # reads what is there, before the other trial is mirrored
    deadline = time.monotonic() + 30
    while not any("failed" in run.data.metrics for run in runs(uri, "race")) and time.monotonic() < deadline:
        time.sleep(0.05)
    mirrored(uri, "race", [row(), row(seed=1)])
    late.log({"record": record(row(seed=1)), "row": row(seed=1)})
    late.close(timeout_seconds=30)
    assert len(runs(uri, "race", "trial")) == 3
    assert len(runs(uri, "race", "progress")) == 1
    assert mirrored(uri, "race", [row(), row(seed=1)])["trials_new"] == 0
    assert len(runs(uri, "race", "trial")) == 2


def test_progress_is_a_run_of_its_own_over_time_that_no_query_sees(uri):
    for number in (1, 2):  # the first process is killed: it never says that it ended
        live = LiveLog("going", uri, DATASETS)
        for done in (0, 5, 12):
            live.log(how_far(done, ended="FINISHED" if (done, number) == (12, 2) else ""))
        live.close(timeout_seconds=60)
        assert (live.dropped, live.problem) == (0, "")
    first, second = sorted(runs(uri, "going", "progress"), key=lambda run: run.info.start_time)
    assert (first.info.status, second.info.status) == ("KILLED", "FINISHED")
    client = MlflowClient(uri)
    told = {
        name: [point.value for point in client.get_metric_history(second.info.run_id, name)]
        for name in ("trials_done", "trials_total", "seconds_left", "failed")
    }
    assert told == {
        **{"trials_done": [0, 5, 12], "trials_total": [12] * 3},
        **{"seconds_left": [120, 70, 0], "failed": [0] * 3},
    }
    busy = second.data.metrics["system/cpu_utilization_percentage"]
    assert 0 <= busy <= 100
    assert second.data.metrics["system/system_memory_usage_megabytes"] > 100
    assert second.data.tags["realfake.stage"] == "done"
    assert second.data.tags["mlflow.note.content"] == "2:00  trials 12/12 · done"
    (study,) = runs(uri, "going", "study")
    assert second.data.tags["mlflow.parentRunId"] == study.info.run_id

    counts = mirrored(uri, "going")
    assert (counts["trials_new"], counts["superseded"]) == (12, 0)
    assert len(curves(study="going", uri=uri)) == 6
    assert len(trials(uri, study="going")) == 12
    assert len(runs(uri, "going", "progress")) == 2
    assert mirrored(uri, "going")["trials_new"] == 0


def tried(where, monkeypatch, ended=None):
    """Return what a server would be told of a run of two trials that ends so, and what its own caller hears."""
    said, heard = [], []

    class Told:
        def __init__(self, *_, **__):
            pass

        log, close = said.append, lambda self, timeout_seconds: said.append("closed")

    monkeypatch.setattr(watching.tracking, "LiveLog", Told)
    study = Study(name="watched", trials=tuple(_trial(seed) for seed in (0, 1)))
    made, _ = board(Path(where.store), study.trials)
    with watching.watched(StudyFile(study, Path("watched.py"), ""), where, heard.append) as on_event:
        on_event({"kind": "dataset"})
        on_event({"kind": "begin", "board": made, "lanes": 1})
        made.finished(name := made.next(), OK)
        make_record(
            Store(where.store), next(one for one in study.trials if address(one) == name), error=0.2, real_budget=50
        )
        on_event({"kind": "trial", "address": name})
        on_event({"kind": "trial", "address": "trial-of-a-critic"})
        if ended:
            raise ended
        made.finished(made.next(), {"error": "ValueError: no"})
    return said, heard


def _trial(seed):
    train, test = SpecDataset(name="digits"), SpecDataset(name="digits", split="test")
    return Trial(real=Subset(of=train, size=50), test=test, recipe=Recipe(examples_seen=100), seed=seed)


def test_a_server_is_told_of_trials_and_progress_and_how_the_run_ended(tmp_path, monkeypatch):
    where = Where(store=str(tmp_path), tracking=NOBODY)
    said, heard = tried(where, monkeypatch)
    assert [event["kind"] for event in heard] == ["dataset", "begin", "trial", "trial"]
    start, logged, end, closed = said
    assert start["progress"] == {"failed": 0, "trials_done": 0, "trials_total": 2}
    assert (start["stage"], start["ended"]) == ("training trials", "")
    assert logged["record"]["result"]["error"] == logged["row"]["error"] == 0.2
    assert (end["progress"]["trials_done"], end["progress"]["failed"]) == (1, 1)
    assert (end["stage"], end["ended"], closed) == ("failed", "FAILED", "closed")


@pytest.mark.parametrize(("error", "ended"), [(KeyboardInterrupt(), "KILLED"), (RuntimeError("no"), "FAILED")])
def test_a_run_that_is_interrupted_or_fails_is_told_so(tmp_path, monkeypatch, error, ended):
    said: list = []
    monkeypatch.setattr(watching._Told, "end", lambda self, how: said.append(how))
    with pytest.raises(type(error)):
        tried(Where(store=str(tmp_path), tracking=NOBODY), monkeypatch, ended=error)
    assert said == [ended]


def test_the_stage_is_what_is_in_hand_and_a_bound_is_no_number():
    total = {"fits": 4, "images": 512, "distances": 0, "trials": 2, "evaluations": 1}
    none = dict.fromkeys(total, 0)
    assert stage(State(0.0, none, total)) == "fitting generators"
    going = State(9.0, {**none, "images": 256}, total, in_hand=("closedset", "trial"), seconds_left=3.0, at_least=True)
    assert stage(going) == "fitting generators, making images, training trials"
    assert {name: value for name, value in numbers_of(going).items() if "left" in name} == {
        "seconds_left_at_least": 3.0
    }
    assert stage(State(9.0, {**total, "evaluations": 0}, total, in_hand=("audit",))) == "evaluating"
    assert stage(State(9.0, total, total)) == "done"


def test_progress_is_told_now_and_then_and_stops_with_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "TELL_SECONDS", 0.02)
    said = []
    told = watching._Told(type("Live", (), {"log": lambda self, event: said.append(event)})())
    made, _ = board(tmp_path, [_trial(0)])
    told.begin(made, 1)
    deadline = time.monotonic() + 10
    while len(said) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    told.end("FINISHED")
    told._thread.join(timeout=10)
    assert [event["ended"] for event in said].count("FINISHED") == 1
    assert len(said) >= 5
    assert not told._thread.is_alive()


def test_a_local_file_is_told_nothing_while_a_study_runs(tmp_path):
    events = []
    file = StudyFile(Study(name="local", trials=(_trial(0),)), Path("local.py"), "")
    with watching.watched(file, Where(store=str(tmp_path)), events.append) as on_event:
        assert on_event == events.append
    assert not list(tmp_path.iterdir())


def test_live_logging_to_nobody_never_waits():
    live = LiveLog("nobody", NOBODY, capacity=3)
    started = time.monotonic()
    for _ in range(100):
        live.log({"record": record(row()), "row": row()})
    assert time.monotonic() - started < 0.5
    live.close(timeout_seconds=10)
    assert time.monotonic() - started < 11
    assert live.logged == 0
    assert live.dropped >= 96
    assert "cannot be reached" in live.problem


def test_closing_a_live_log_waits_no_longer_than_told(monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(LiveLog, "_send", lambda self, event: hang.wait(30))
    live = LiveLog("slow", NOBODY, capacity=1)
    live.log({"done": 1})
    live.log({"done": 2})
    started = time.monotonic()
    live.close(timeout_seconds=0.3)
    assert time.monotonic() - started < 1
    hang.set()


def attacked(arm, separation, models=16, n=400):
    """Return attacks on random models that give their members away so much, as they are kept beside a study."""
    random = np.random.default_rng(7)
    member = np.stack([random.permutation(np.arange(n) % 2 == 0) for _ in range(models // 2)])
    member = np.concatenate([member, ~member])
    scores = random.normal(size=member.shape) + separation * member
    told = {"arm": arm, "recipe": "test_resnet", "population": "ordinary examples", "draws": 20, "notes": ("few",)}
    return [lira(scores, member, mode, **told).to_json() for mode in ("online", "threshold")]


def test_attacks_on_membership_are_runs_and_come_back_from_mlflow_alone(uri):
    kept = {"key": "a" * 64, "attacks": [*attacked("closed-set", 0.5), *attacked("real-only", 2.0)]}
    assert mirrored(uri, "audit")["attacks_new"] == 0
    with pytest.raises(QueryError, match="no audit of audit; run `realfake track`"):
        audits(uri=uri, study="audit")
    assert [mirrored(uri, "audit", membership=kept)["attacks_new"] for _ in range(2)] == [4, 0]
    table = audits(uri=uri, study="audit")
    names = ["arm", "attack"]
    expected = pd.DataFrame([{**numbers(one), "study": "audit", "digest": "a" * 64} for one in kept["attacks"]])
    expected = expected[list(table.columns)].sort_values(names, ignore_index=True)
    pd.testing.assert_frame_equal(table.sort_values(names, ignore_index=True), expected)
    auc = {tuple(line[name] for name in names): line["auc"] for line in table.to_dict("records")}
    assert auc["real-only", "online LiRA, fixed variance"] > 0.85 > auc["closed-set", "online LiRA, fixed variance"]
    found = runs(uri, "audit", "attack")
    assert {tuple(run.data.params[name] for name in names): run.data.metrics["auc"] for run in found} == auc
    assert {run.data.params["models"] for run in found} == {"16"}


def test_a_rate_below_resolution_is_no_metric_and_later_audits_supersede(uri):
    short = {"key": "b" * 64, "attacks": attacked("closed-set", 1.0, models=4, n=100)}
    mirrored(uri, "later", membership=short)
    assert all("tpr_at_0.001" not in run.data.metrics for run in runs(uri, "later", "attack"))
    rare = audits(uri=uri, study="later")
    assert rare["tpr_at_0.001"].isna().all()
    assert rare["tpr_at_0.001_said"].str.contains("resolution").all()
    assert (
        mirrored(uri, "later", membership={**short, "key": "c" * 64, "attacks": short["attacks"][:1]})["attacks_new"]
        == 1
    )
    assert audits(uri=uri, study="later")["digest"].tolist() == ["c" * 64]
    assert len(audits(uri=uri, study="later", all=True)) == 3
    assert len(curves(uri=uri, study="later"))


def test_the_command_that_shows_the_curves():
    assert ui_command("http://tracking:5000") == "http://tracking:5000"
    assert ui_command("sqlite:////my data/mlflow.db") == "mlflow ui --backend-store-uri 'sqlite:////my data/mlflow.db'"


def test_importing_tracking_does_not_import_mlflow():
    code = "import realfake.tracking, sys; assert not {'mlflow', 'pandas', 'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
