"""Trials and answers read back from a real MLflow file, against the store, MLflow's own client and closed forms."""

import base64
import json
import math
import shutil
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from pandas.testing import assert_frame_equal
from scipy.stats import norm

from realfake import cli, listing, records
from realfake.answers import Answer, Curve, Question, chance, share_above
from realfake.intervals import Interval
from realfake.laws import LAWS
from realfake.queries import QueryError, curves, point, trials
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial, address
from realfake.statistics.analysis import analyse
from realfake.statistics.choice import CANDIDATES
from realfake.statistics.equivalence import Fit
from realfake.store import Store
from realfake.tracking import Analysed, LiveLog, TrackingError, track
from tests.simulated import fit, table
from tests.test_tracking import analysis, record, row

SIZES = {"ladder": (50, 100, 200, 400, 800), "bases": (50, 100, 200), "ratios": (1, 4, 16), "noise": 0.03}
STRONG, WEAK = (0.03, 6.0, 0.45, 0.6, 20.0, 1.0, 0.0), (0.03, 6.0, 0.45, 0.1, 0.5, 1.0, 0.0)


@pytest.fixture(scope="module")
def documents():
    """The analyses of two simulated studies, by name, and the tables they were made from."""
    rng = np.random.default_rng(3)
    tables = {name: table(truth, rng=rng, **SIZES) for name, truth in (("strong", STRONG), ("weak", WEAK))}
    return {name: (analyse(rows, bootstrap=40), rows) for name, rows in tables.items()}


@pytest.fixture(scope="module")
def uri(tmp_path_factory, documents):
    """A copy of an MLflow file that holds both studies; the file itself and everything beside it is gone."""
    made = tmp_path_factory.mktemp("made")
    for name, (document, rows) in documents.items():
        full = [filled(each) for each in rows.to_dict("records")]
        uri = f"sqlite:///{made / 'mlflow.db'}"
        track(name, "?", [record(each) for each in full], pd.DataFrame(full), document, uri=uri)
    copy = tmp_path_factory.mktemp("copy") / "elsewhere.db"
    shutil.copy(made / "mlflow.db", copy)
    shutil.rmtree(made)
    return f"sqlite:///{copy}"


@pytest.fixture
def own(tmp_path, uri):
    """A copy for one test, to write into: its tracking URI."""
    shutil.copy(uri.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def filled(simulated):
    """A simulated row with every column that trials have."""
    plain = {**row(simulated["n_real"], simulated["n_synthetic"], simulated["subset_seed"]), "n_test": 500}
    return {**plain, **simulated, "error": simulated["cross_entropy"] / 5}


def fit_of(documents, study="strong"):
    (values,) = documents[study][0]["fits"]
    return Fit.from_json(values)


def answer(uri, n, m, study="strong", **more):
    (found,) = curves(uri=uri, study=study, at=[(n, m)], **more).to_dict("records")
    return found


def interval(found):
    at = found["bound"] if found["censored"] in ("above", "below") else found["point"]
    limits = {name: found[name] for name in ("low", "high", "censored", "reason", "floor", "ceiling")}
    return Interval(at, **limits)


# -------------------------------------------------------------------------------------------------------------- trials


TRAIN, TEST = Dataset(name="digits"), Dataset(name="digits", split="test")


def trial(size, seed=0, volume=0, **pool):
    real = Subset(of=TRAIN, size=size, seed=seed)
    images = Pool(generator=ClosedSet(real=real, seed=seed + 5), seed=seed + 7, **pool)
    synthetic = (Subset(of=images, size=volume),) if volume else ()
    return Trial(real=real, synthetic=synthetic, test=TEST, recipe=Recipe(examples_seen=100), seed=seed + 9)


def made(folder, study):
    """The store in which every trial of a study has a record, with numbers that do not end; the last has diverged."""
    store = Store(folder)
    for number, one in enumerate(t for t in study.trials if not store.has(t)):
        ok = {"status": "ok", "error": 1 / (number + 3), "cross_entropy": math.exp(-number / 7), "n_test": 797}
        with store.making(one) as (_, result):
            result |= {"status": "diverged", "step": 3} if one is study.trials[-1] else ok
            result |= {"real_budget": one.n_real + 1, "environment": {"device": "cpu"}}
    return store


def tracked(study, store, uri, digest="a" * 64):
    rows = records.table(study.trials, store)
    kept = [store.record(one) for one in study.trials]
    track(study.name, "?", kept, pd.DataFrame(rows), analysis(digest), uri=uri)


def in_order(table):
    return table.sort_values("address", ignore_index=True)


def test_trials_from_mlflow_are_those_of_the_store(tmp_path, own):
    study = Study(name="round", trials=(trial(20), trial(20, 1), trial(20, volume=40), trial(40), trial(40, 1, 80)))
    store = made(tmp_path / "store", study)
    tracked(study, store, own)
    said, read = trials(study, store=str(store.root)), trials(own, study="round")
    assert_frame_equal(in_order(read), in_order(said), check_exact=True)
    assert len(read) == 5
    assert list(read["status"].value_counts().items()) == [("ok", 4), ("diverged", 1)]
    assert read["seconds"].notna().all()
    assert said["pool_seed"].max() == 8


def test_a_study_file_gives_the_trials_of_its_study(tmp_path):
    study = Study(name="file", trials=(trial(20), trial(40)))
    made(tmp_path / "store", study)
    text = "from tests.test_queries import Study, trial\nstudy = Study(name='file', trials=(trial(20), trial(40)))\n"
    (tmp_path / "file.py").write_text(text)
    found = trials(tmp_path / "file.py", store=str(tmp_path / "store"))
    assert list(found["address"]) == [address(one) for one in study.trials]
    with pytest.raises(QueryError, match="leave it out"):
        trials(study, study="file")


def test_trials_have_the_names_of_today_and_only_those_of_the_study(tmp_path, own):
    first = Study(name="grown", trials=(trial(20), trial(30), trial(20, volume=40)))
    store = made(tmp_path / "store", first)
    tracked(first, store, own)
    grown = Study(name="grown", trials=(trial(20), trial(20, volume=40), trial(20, volume=40, guidance=3.0)))
    made(tmp_path / "store", grown)
    tracked(grown, store, own, "b" * 64)
    read = trials(own, study="grown")
    assert_frame_equal(in_order(read), in_order(trials(grown, store=str(store.root))), check_exact=True)
    assert set(read["arm"]) == {"real-only", "closed-set guidance=1.0", "closed-set guidance=3.0"}


def test_trials_of_a_run_that_goes_on_are_there_before_any_analysis(own):
    live = LiveLog("live", own)
    live.log({"record": record(row(50, 200)), "row": row(50, 200)})
    live.close(timeout_seconds=30)
    (found,) = trials(own, study="live").to_dict("records")
    assert {name: found[name] for name in row(50, 200)} == row(50, 200)
    with pytest.raises(QueryError, match="no analysis of live yet"):
        curves(uri=own, study="live", at=[(50, 100)])


def test_trials_can_be_fitted_and_agree_with_what_mlflow_itself_reads(uri, documents):
    rows, found = documents["strong"][1], trials(uri, study="strong")
    assert fit(found, bootstrap=20).point == fit(rows.assign(recipe="test_resnet"), bootstrap=20).point
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("realfake/strong").experiment_id
    seen = client.search_runs([experiment], "tags.`realfake.kind` = 'trial'", max_results=1000)
    metrics = {run.data.tags["realfake.address"]: run.data.metrics["cross_entropy"] for run in seen}
    assert dict(zip(found["address"], found["cross_entropy"], strict=True)) == metrics
    assert metrics == dict(zip(rows["address"], rows["cross_entropy"], strict=True))


def test_trials_of_several_studies_say_which(uri, documents):
    found = trials(uri)
    assert found.groupby("study").size().to_dict() == {name: len(rows) for name, (_, rows) in documents.items()}
    with pytest.raises(TrackingError, match="no study 'string'; did you mean 'strong'"):
        trials(uri, study="string")


# ------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("metric", ["equivalent", "effective", "value", "average_value"])
def test_an_answer_is_that_of_the_fit_at_any_point(uri, documents, metric):
    fitted = fit_of(documents)
    found = answer(uri, 120, 700, metric=metric)
    assert interval(found) == getattr(fitted, metric)(120, 700)
    assert (found["by"], found["law"], found["response"], found["n_generator"]) == (
        *("law", fitted.law, "cross_entropy", 120),
    )


def test_a_response_is_answered_by_the_law_and_listed_as_measured(uri, documents):
    assert interval(answer(uri, 120, 700, metric="cross_entropy")) == fit_of(documents).error(120, 700)
    listed = curves(uri=uri, study="strong", arm="closed-set", metric="cross_entropy").to_dict("records")
    cells = documents["strong"][0]["cells"]
    assert {each["by"] for each in listed} == {"measured"}
    assert [each["point"] for each in listed] == [cell["cross_entropy"]["point"] for cell in cells]
    assert answer(uri, 120, 700, metric="error")["censored"] == "withheld"


def test_a_censored_answer_is_a_bound(uri, documents):
    found = answer(uri, 200, 6000)
    said = fit_of(documents).equivalent(200, 6000)
    assert (found["censored"], found["bound"], said.censored) == ("above", 600.0, "above")
    assert math.isnan(found["point"])
    assert interval(found) == said


def test_what_the_fit_withholds_says_why(uri):
    assert "outside the real-only ladder" in answer(uri, 5000, 100)["reason"]
    assert "alone" in answer(uri, 0, 100)["reason"]
    assert "no images" in answer(uri, 100, 0, metric="average_value")["reason"]


def test_fits_are_in_the_tags_for_any_reader(uri, documents):
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("realfake/strong").experiment_id
    (run,) = client.search_runs([experiment], "tags.`realfake.kind` = 'study'")
    text = "".join(run.data.tags[key] for key in sorted(run.data.tags) if key.startswith("realfake.statistics.fits."))
    assert json.loads(zlib.decompress(base64.b64decode(text)))["fits"] == documents["strong"][0]["fits"]


def edited(documents, digest, **fit_changes):
    """The document of 'strong' with its fit changed."""
    document = documents["strong"][0]
    (values,) = document["fits"]
    return {**document, "digest": digest * 64, "fits": [{**values, "alternatives": [], **fit_changes}]}


def other_law(documents):
    """A law that is not the chosen one of 'strong'."""
    return next(name for name in ("wang", "exponential") if name != fit_of(documents).law)


def test_where_the_law_fails_only_cells_answer_unless_a_law_is_named(own, documents):
    document = edited(documents, "c", lack_of_fit={"F": 9.0, "df": [4, 20], "p": 0.002})
    read_off = {"equivalent_by": "inversion", "equivalent_by_response": {"cross_entropy": "inversion"}}
    document["cells"] = [{**cell, "equivalent": cell["inversion"], **read_off} for cell in document["cells"]]
    track("strong", "?", [], documents["strong"][1], document, uri=own)
    law = document["fits"][0]["law"]
    cell = next(c for c in document["cells"] if (c["n_real"], c["n_synthetic"]) == (100, 400))
    at_cell, between = answer(own, 100, 400), answer(own, 100, 500)
    assert at_cell["by"] == "inversion"
    assert interval(at_cell) == Interval.from_json(cell["equivalent"]["cross_entropy"])
    assert between["censored"] == "withheld"
    assert f"the law '{law}' does not fit (p = 0.002)" in between["reason"]
    named = answer(own, 100, 500, law=law)
    assert named["point"] == fit_of(documents).equivalent(100, 500).point
    assert named["reason"] == "the law does not fit (p = 0.002)"


def test_laws_that_predict_as_well_widen_the_answer_and_can_be_asked_one_by_one(own, documents):
    law = other_law(documents)
    beside = fit(documents["weak"][1], law=law, bootstrap=20).to_json()
    document = edited(documents, "d", alternatives=[beside])
    track("strong", "?", [], documents["strong"][1], document, uri=own)
    both = answer(own, 100, 500)
    one, other = (answer(own, 100, 500, law=name) for name in (both["law"], law))
    assert both["spanned_laws"] == law
    assert (both["low"], both["high"]) == (min(one["low"], other["low"]), max(one["high"], other["high"]))
    assert both["point"] == one["point"] != other["point"]
    with pytest.raises(QueryError, match=r"no fit of the law 'linear'; there are exponential, hyperbolic, "):
        answer(own, 100, 500, law="linear")


def test_every_law_that_was_tried_can_be_asked_or_says_why_it_could_not_be_fitted(own, documents):
    document, rows = documents["strong"]
    (compared,) = document["comparisons"]
    asked = {row["law"]: answer(own, 200, 3200, law=row["law"]) for row in compared["laws"] if row["equivalent"]}
    assert set(asked) == set(CANDIDATES)
    for law, found in asked.items():  # the others are rounded to six digits
        expected = Fit.from_json(compare_alone(rows, law)).equivalent(200, 3200)
        bounds = (found["low"], found["high"], found["bound"] if found["censored"] else found["point"])
        assert bounds == pytest.approx((expected.low, expected.high, expected.point), rel=1e-3)
    why = "the arm 'closed-set' has 4 mixed cells, too few for the 5 parameters of the law 'm4'"
    silent = {"recipe": "", "arm": "closed-set", "response": "cross_entropy", "law": "m4", "why": why}
    kept = [fit for fit in document["other_fits"] if fit["law"] != "m4"]
    gone = {**edited(documents, "9"), "other_fits": kept, "unfitted": [silent]}
    track("strong", "?", [], rows, gone, uri=own)
    refused = answer(own, 200, 3200, law="m4")
    assert (refused["censored"], refused["reason"]) == ("withheld", why)


def compare_alone(rows, law):
    return fit(rows, law=law, bootstrap=40).to_json()


def test_fits_of_seven_laws_are_small_in_the_database(uri):
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("realfake/strong").experiment_id
    (run,) = client.search_runs([experiment], "tags.`realfake.kind` = 'study'")
    size = sum(len(text) for key, text in run.data.tags.items() if "fits." in key)
    draws = 40 * sum(len(LAWS[law].parameter_names) for law in CANDIDATES)
    assert size < 6 * draws + 4000


def test_other_fits_of_an_analysis_are_found_by_their_law(own, documents):
    other = fit(documents["weak"][1], law=other_law(documents), bootstrap=20)
    document = {**edited(documents, "e"), "other_fits": [other.to_json()]}
    track("strong", "?", [], documents["strong"][1], document, uri=own)
    found, said = answer(own, 100, 500, law=other.law), other.equivalent(100, 500)
    assert (found["point"], found["low"], found["high"]) == (said.point, said.low, said.high)
    assert answer(own, 100, 500)["law"] == document["fits"][0]["law"] != other.law


def test_an_arm_without_a_fit_says_why(own, documents):
    document = {**edited(documents, "f"), "fits": [], "warnings": ["closed-set, cross_entropy: 2 mixed cells, too few"]}
    track("strong", "?", [], documents["strong"][1], document, uri=own)
    found = answer(own, 100, 500)
    assert (found["censored"], found["reason"]) == ("withheld", "2 mixed cells, too few")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"metric": "equivalents"}, "did you mean 'equivalent'"),
        ({"response": "accuracy"}, "known: ap50_error, ap_error, cross_entropy, error"),
        ({"metric": "error", "response": "error"}, "leave out response"),
        ({"at": [(50, 100)], "n_real": 50}, "leave out n_real"),
        ({"at": [(50, -1)]}, "none negative"),
        ({"at": [(50,)]}, "a point is"),
        ({"at": (50, 100)}, r"at=\[\(200, 3200\)\]"),
        ({"at": [(50, 100)], "arm": "closedset"}, "did you mean 'closed-set'"),
    ],
)
def test_a_query_that_makes_no_sense_is_one_sentence(uri, asked, message):
    with pytest.raises(QueryError, match=message):
        curves(uri=uri, study="strong", **asked)


def test_points_are_read_from_text():
    assert (point("200,3200"), point("0,400,50")) == ((200, 3200), (0, 400, 50))
    for wrong in ("200", "200;3200", "200,many", "1,2,3,4", "-1,2"):
        with pytest.raises(QueryError, match="type --at 200,3200"):
            point(wrong)


# ------------------------------------------------------------------------------------------------------------ comparing


def normal(mean, sd, size=1001):
    return mean + sd * norm.ppf((np.arange(size) + 0.5) / size)


@pytest.mark.parametrize(("difference", "sd"), [(0.0, 1.0), (1.0, 2.0), (-2.0, 0.5)])
def test_the_chance_of_two_normals_is_that_of_the_closed_form(difference, sd):
    exact = norm.cdf(difference / math.hypot(1.0, sd))
    assert share_above(normal(difference, 1.0), normal(0.0, sd)) == pytest.approx(exact, abs=5e-4)


def test_the_chance_is_the_share_of_all_pairs_ties_and_infinities_and_unknowns_included():
    rng = np.random.default_rng(1)
    ends = [math.inf, -math.inf, math.nan]
    a, b = (np.append(rng.integers(0, 5, size).astype(float), ends) for size in (20, 33))

    def wins(x, y):
        return 0.5 if math.isnan(x) or math.isnan(y) or x == y else float(x > y)

    assert share_above(a, b) == pytest.approx(np.mean([wins(x, y) for x in a for y in b]), abs=1e-12)
    assert share_above(a, b) + share_above(b, a) == pytest.approx(1, abs=1e-12)


def held(draws, metric="equivalent", **limits):
    curve = Curve(Analysed("s", "", (), {}), "", "arm")
    at = Interval(float(np.mean(draws[0])), -math.inf, math.inf, **limits)
    return Answer(curve, 50, 100, 50, Question(metric), at, "law", ("peaked",), tuple(map(np.asarray, draws)))


def test_draws_beyond_either_ladder_count_as_its_end():
    short = held([[400.0, 900.0, math.inf]], floor=0, ceiling=500)
    long = held([[450.0, 700.0, 800.0]], floor=0, ceiling=1000)
    # 400 loses to all three; 900 and inf are "at least 500": they beat 450 and tie with 700 and 800.
    assert chance(short, long)["probability"] == pytest.approx((0 + 2 * (1 + 0.5 + 0.5)) / 9)
    assert chance(held([[1.0]], floor=0, ceiling=2), held([[5.0]], floor=4, ceiling=6))["probability"] is None


def test_a_smaller_error_is_better_and_laws_give_a_range():
    low, high = held([[0.1], [0.3]], "error"), held([[0.2]], "error")
    odds = chance(low, high)
    assert (odds["probability"], odds["low"], odds["high"]) == (1, 0, 1)


def test_studies_are_compared_at_a_point_by_their_draws(uri, documents):
    found = curves(uri=uri, study=["strong", "weak"], at=[(100, 400), (120, 900)])
    assert list(zip(found["study"], found["n_real"], strict=True)) == [
        *(("strong", 100), ("weak", 100), ("strong", 120), ("weak", 120))
    ]
    first, second = found.to_dict("records")[:2]
    strong, weak = (fit_of(documents, name) for name in ("strong", "weak"))
    drawn = [np.clip(f.formula.equivalent(np.array(f.draws).T, 100, 400, 100), -50, 700) for f in (strong, weak)]
    pairs = np.subtract.outer(*drawn)
    assert first["versus"][0]["probability"] == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=1e-12)
    assert first["versus"][0]["probability"] + second["versus"][0]["probability"] == pytest.approx(1)
    assert first["versus"][0]["probability"] > 0.9
    assert (first["versus"][0]["study"], second["versus"][0]["study"]) == ("weak", "strong")


def test_without_a_point_studies_are_compared_at_the_cells_of_both(uri):
    found = curves(uri=uri, study=["strong", "weak"], n_real=100)
    assert sorted(set(zip(found["n_real"], found["n_synthetic"], strict=True))) == [(100, 100), (100, 400), (100, 1600)]
    assert [len(each) for each in found["versus"]] == [1] * 6


def test_arms_of_a_study_are_compared(own, documents):
    document, rows = documents["strong"]
    cells = [{**cell, "arm": "repeat"} for cell in document["cells"]]
    copy = {**document["fits"][0], "arm": "repeat"}
    both = {**document, "digest": "9" * 64, "cells": [*document["cells"], *cells], "fits": [*document["fits"], copy]}
    track("strong", "?", [], rows, both, uri=own)
    found = curves(uri=own, study="strong", arm=["repeat", "closed-set"], at=[(100, 400)])
    assert list(found["arm"]) == ["repeat", "closed-set"]
    assert [each[0]["probability"] for each in found["versus"]] == [0.5, 0.5]


# ---------------------------------------------------------------------------------------------------- the command line


def printed(*arguments, code=0):
    done = CliRunner().invoke(cli.main, ["curves", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_answers_compares_and_speaks_json_and_csv(uri, documents):
    text = printed("--uri", uri, "--study", "strong", "--study", "weak", "--at", "100,400")
    shown = str(fit_of(documents).equivalent(100, 400))
    assert shown in text, text
    assert "At 100 + 400, strong is better than weak with probability " in text
    assert "count as independent" in text
    found = json.loads(printed("--uri", uri, "--study", "strong", "--at", "100,400", "--json"))
    assert found[0]["point"] == pytest.approx(fit_of(documents).equivalent(100, 400).point, rel=1e-9)
    lines = printed("--uri", uri, "--study", "strong", "--study", "weak", "--at", "100,400", "--csv").splitlines()
    assert len(lines) == 3
    assert "versus" in lines[0]
    assert "type --at 200,3200" in printed("--uri", uri, "--at", "200x", code=2)


def test_withheld_and_censored_answers_are_words(uri):
    text = printed("--uri", uri, "--study", "strong", "--at", "200,6000", "--at", "5000,100")
    assert "> 600" in text
    assert "withheld" in text
    assert "closed-set at 5,000 + 100: n_real 5000 is outside the real-only ladder, 50 to 800." in text


def test_certainty_is_never_printed():
    assert [listing._share(p) for p in (0.0, 0.004, 0.5, 1.0)] == ["< 0.01", "< 0.01", "0.50", "> 0.99"]


def test_the_file_beside_the_runs_holds_the_whole_analysis(tmp_path, own, documents):
    document = {**documents["weak"][0], "digest": "8" * 64}
    track("files", "?", [], documents["weak"][1], document, uri=own)
    client = MlflowClient(own)
    experiment = client.get_experiment_by_name("realfake/files").experiment_id
    (run,) = client.search_runs([experiment], "tags.`realfake.kind` = 'study'")
    kept = json.loads(Path(client.download_artifacts(run.info.run_id, "fits.json", str(tmp_path))).read_text())
    assert kept["analysis"] == document
    assert Fit.from_json(kept["analysis"]["fits"][0]) == fit_of(documents, "weak")
