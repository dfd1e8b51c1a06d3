"""Average precision as a response of its own: from a table of a detector to its answer, by every door."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from realfake import report
from realfake.cli import main
from realfake.flat_rows import csv_rows
from realfake.hypotheses import Adaptive, Claim
from realfake.intervals import Interval
from realfake.laws import LAWS
from realfake.queries import curves, trials
from realfake.responses import MEANS, PRINTED, RESPONSES, SHARES, heading, measured
from realfake.statistics.analysis import analyse
from realfake.statistics.choice import compare
from realfake.statistics.claims import judge
from realfake.statistics.fits import FitError
from realfake.statistics.inversion import response_interval
from realfake.statistics.trial_table import normalised, responses_of, select
from realfake.tables import terminal
from realfake.tracking import track
from tests.simulated import SMALL, fit, rng, table
from tests.test_queries import filled
from tests.test_tracking import record

TRUTH = (0.25, 6.0, 0.45, 0.4, 2.0)
ASKED = {"study": "aerial", "question": "How many?"}


@pytest.fixture(scope="module")
def rows():
    """A study of a detector: 1 − AP50 and 1 − AP, no error and no cross-entropy."""
    made = table(TRUTH, law="scaled", noise=0.01, rng=rng(2), responses=("ap50_error", "ap_error"), **SMALL)
    return made.assign(ap_error=0.3 + 0.7 * made["ap_error"])


@pytest.fixture(scope="module")
def document(rows):
    return analyse(rows, bootstrap=60, claims=(DEAR,))


DEAR = Claim(name="dear", quantity="average price", at=((2500, 10_000),), above=1.0, smallest_effect=0.1)


def test_every_response_is_named_once_and_in_one_place():
    assert tuple(RESPONSES) == ("cross_entropy", "error", "ap50_error", "ap_error")
    assert sorted(PRINTED) == sorted(RESPONSES)
    assert set(SHARES) | set(MEANS) == set(RESPONSES)
    assert [heading(name) for name in PRINTED] == ["error, %", "1 − AP50, %", "1 − AP, %", "cross-entropy"]
    assert measured(["ap_error", "ap50_error", "seconds"]) == ("ap50_error", "ap_error")
    assert measured([]) == ("cross_entropy", "error")


def test_the_main_response_is_the_first_that_has_numbers(rows):
    assert responses_of(rows) == ["ap50_error", "ap_error"]
    assert responses_of(rows.assign(error=np.nan, cross_entropy=np.nan)) == ["ap50_error", "ap_error"]
    assert responses_of(rows.assign(error=0.5)) == ["error", "ap50_error", "ap_error"]
    assert responses_of(rows.assign(ap50_error=np.nan, ap_error=np.nan)) == ["ap50_error", "ap_error"]
    assert select(normalised(rows)).response == "ap50_error"


def test_a_fit_is_that_of_the_law_behind_it(rows):
    found = fit(rows, law="scaled", bootstrap=60)
    truth = float(LAWS["scaled"].equivalent(np.array(TRUTH), 2500.0, 10_000.0, 2500.0))
    assert found.response == "ap50_error"
    worth = found.equivalent(2500, 10_000)
    assert worth.low < truth < worth.high
    assert worth.point == pytest.approx(truth, rel=0.15)
    assert compare(rows, laws=("scaled", "hyperbolic"), bootstrap=40, response="ap_error").fit.response == "ap_error"


def test_what_exceeds_the_whole_is_refused(rows):
    with pytest.raises(FitError, match=r"ap_error is 35 in one row; it is a share of 1, so write 0\.25 for 25 %"):
        select(normalised(rows.assign(ap_error=35.0)), response="ap_error")


def test_an_interval_of_a_share_ends_at_one():
    near = response_interval(np.array([0.97, 0.98]), np.linspace(-0.1, 0.1, 401), most=1.0)
    assert near.high == 1.0
    assert near.low == pytest.approx(0.975 * np.exp(-0.095), rel=1e-3)
    steep = table((0.25, 60.0, 0.6, 0.4, 2.0), law="scaled", responses=("ap50_error",), noise=0.05, **SMALL)
    steep = steep.assign(ap50_error=steep["ap50_error"].clip(upper=0.99))
    assert fit(steep, law="scaled", bootstrap=40).error(1000, 0).high <= 1.0


def test_average_precision_is_no_mean_and_its_test_images_are_not_drawn(rows):
    images = {name: {"ap50_error": np.ones(5)} for name in rows["address"]}
    with pytest.raises(FitError, match="1 − AP50 is no mean over test images"):
        fit(rows, bootstrap=40, per_image=images)
    found = analyse(rows, bootstrap=40, per_image={})
    assert any("the choice of test images is not in the intervals; 1 − AP50" in text for text in found["warnings"])


def test_zeros_of_average_precision_are_no_half_errors(rows):
    perfect = rows.copy()
    perfect.loc[0, "ap_error"] = 0.0
    perfect["n_test"] = 100
    found = select(normalised(perfect), response="ap_error")
    assert found.notes == ("1 trials with ap_error 0 count as half the smallest above 0",)


def test_the_document_holds_the_measured_responses_alone(document):
    assert document["settings"]["responses"] == ["ap50_error", "ap_error"]
    assert {fit["response"] for fit in document["fits"]} == {"ap50_error", "ap_error"}
    assert all({"ap50_error", "ap_error"} <= set(one) and "error" not in one for one in document["cells"])
    assert all("in 1 − AP50, measured to" in text for text in document["sentences"])
    assert document["claims"][0]["verdict"] == "supported"


def test_the_terminal_and_the_rows_show_them_in_per_cent(document, rows):
    text = terminal(document, ASKED, 120)
    assert "1 − AP50, %" in text
    assert "1 − AP, %" in text
    assert "cross-entropy" not in text
    assert "equivalents in 1 − AP50" in text
    mean = rows[(rows["n_real"] == 1000) & (rows["n_synthetic"] == 0)]["ap50_error"].mean()
    assert f"{100 * mean:.1f} [" in text or f"{100 * mean:.2f} [" in text
    (first, *_) = csv_rows(document)
    assert first["ap50_error"] == pytest.approx(mean)
    assert {"equivalent_ap50_error", "equivalent_ap_error"} <= set(first)
    assert "error" not in first


def test_the_report_is_of_average_precision(document, rows, tmp_path):
    page = report.write(tmp_path, rows.assign(status="ok"), document, ASKED).read_text().replace("\u00a0", " ")
    for words in ("1 − AP50, %", "added real equivalent (1 − AP)", "1 − AP50 and 1 − AP on the sealed test set"):
        assert words in page
    assert "cross-entropy" not in page.lower()
    responses = pd.read_csv(tmp_path / "figures" / "response.csv")
    assert set(responses["quantity"]) == {"ap50_error", "ap_error"}
    assert "diverged" not in set(responses["kind"])


def test_mlflow_keeps_them_and_answers_in_them(document, rows, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    plain = [filled({**one, "cross_entropy": 1.0}) | one for one in rows.to_dict("records")]
    full = [{name: value for name, value in one.items() if name not in MEANS} for one in plain]
    track("aerial", "?", [record(one) for one in full], pd.DataFrame(full), document, uri=uri)
    read = trials(uri, study="aerial")
    assert responses_of(read) == ["ap50_error", "ap_error"]
    assert not {"error", "cross_entropy"} & set(read)
    assert sorted(read["ap_error"]) == pytest.approx(sorted(rows["ap_error"]))
    listed = curves(uri=uri, study="aerial")
    assert {"ap50_error", "ap_error_high", "equivalent_from_ap_error"} <= set(listed)
    assert not {"error", "cross_entropy", "equivalent_from_error"} & set(listed)
    (asked,) = curves(uri=uri, study="aerial", at=[(2500, 10_000)], metric="ap_error").to_dict("records")
    assert (asked["metric"], asked["response"]) == ("ap_error", "ap_error")
    said = CliRunner().invoke(main, ["curves", "--study", "aerial", "--at", "2500,10000", "--uri", uri])
    assert said.exit_code == 0
    assert "1 − AP50" in said.output
    every = CliRunner().invoke(main, ["curves", "--study", "aerial", "--uri", uri])
    assert "1 − AP, %" in every.output
    assert "cross-entropy" not in every.output
    named = CliRunner().invoke(main, ["curves", "--study", "aerial", "--metric", "ap50_error", "--uri", uri])
    assert "1 − AP50, %" in named.output


def test_the_command_line_fits_and_plans_from_a_table(rows, tmp_path):
    rows.to_csv(tmp_path / "detector.csv", index=False)
    found = CliRunner().invoke(main, ["fit", "--table", str(tmp_path / "detector.csv"), "--json"])
    assert found.exit_code == 0
    assert json.loads(found.output)["settings"]["responses"] == ["ap50_error", "ap_error"]
    asked = ["plan", "--table", str(tmp_path / "detector.csv"), "--target-error", "0.35", "--real-cost", "30"]
    said = CliRunner().invoke(main, asked)
    assert said.exit_code == 0, said.output
    assert "1 − AP50" in said.output
    other = CliRunner().invoke(main, [*asked, "--response", "ap_error"])
    assert "1 − AP" in other.output


def test_claims_and_rounds_may_name_them(rows):
    low = Claim(name="low", quantity="response", response="ap_error", at=((5000, 0),), below=0.9, smallest_effect=0.01)
    (found,) = judge([low], rows, bootstrap=40)
    mean = rows[(rows["n_real"] == 5000) & (rows["n_synthetic"] == 0)]["ap_error"].mean()
    assert found["verdict"] == "supported"
    assert Interval.from_json(found["estimate"]).point == pytest.approx(mean)
    assert Adaptive(at=(50, 100), trials=10, response="ap50_error").response == "ap50_error"
