"""A study in a real MLflow server with Postgres behind it: mirrored once, asked of the server alone, two at once."""

import threading
import time
from collections import Counter

import pandas as pd
import psutil
import pytest

from realfake import queries, tracking
from realfake.intervals import Interval
from realfake.tracking import LiveLog, TrackingError
from realfake.tracking.mirror import Mirror
from realfake.tracking.server import explained
from tests import server_mlflow
from tests.server_mlflow import PASSWORD, Postgres
from tests.test_tracking import DATASETS, analysis, cell, mirrored, record, row, rows_of, runs

LACKING = server_mlflow.lacking()
pytestmark = [
    pytest.mark.faults,  # starting the servers takes a quarter of a minute
    pytest.mark.skipif(bool(LACKING), reason=LACKING),
    pytest.mark.timeout(600),
]

RUNS = """SELECT address.value, run.status FROM runs run JOIN experiments study USING (experiment_id)
JOIN tags address ON address.run_uuid = run.run_uuid AND address.key = 'realfake.address'
WHERE run.lifecycle_stage = 'active' AND study.name = 'realfake/{study}'"""


@pytest.fixture(scope="module")
def both():
    with server_mlflow.servers() as (postgres, server):
        yield postgres, server


@pytest.fixture(scope="module")
def postgres(both):
    return both[0]


@pytest.fixture(scope="module")
def uri(both):
    return both[1].uri


def kept(postgres, study):
    """Return how many runs of every address Postgres itself holds, asked without MLflow."""
    return Counter(address for address, _ in postgres.asked(RUNS.format(study=study)))


def test_a_study_mirrored_through_the_server_lies_in_postgres_once(uri, postgres):
    first = mirrored(uri, "once", datasets=DATASETS)
    assert (first["trials_new"], first["trials_known"], first["curves_new"]) == (12, 0, 2)
    held = kept(postgres, "once")
    assert set(held.values()) == {1}
    assert Counter(name.split("-")[0] for name in held) == {"trial": 12, "curve": 2, "study": 1}
    before = postgres.asked("SELECT count(*) FROM metrics")
    second = mirrored(uri, "once", datasets=DATASETS)
    assert (second["trials_new"], second["trials_known"], second["curves_new"]) == (0, 12, 0)
    assert kept(postgres, "once") == held
    assert postgres.asked("SELECT count(*) FROM metrics") == before


def test_curves_and_trials_are_asked_of_the_server_alone(uri):
    mirrored(uri, "asked", datasets=DATASETS)
    found = queries.curves(study="asked", arm="closed-set", uri=uri)
    said = [Interval.from_json(one["equivalent"]["cross_entropy"]) for one in analysis()["cells"]]
    assert [tuple(pair) for pair in found[["equivalent_low", "equivalent_high"]].to_numpy()] == [
        (one.low, one.high) for one in said
    ]
    assert list(found["equivalent_censored"]) == [one.censored for one in said]
    table = queries.trials(uri, study="asked").sort_values("address", ignore_index=True)
    expected = pd.DataFrame(rows_of()).sort_values("address", ignore_index=True)
    for name in ("address", "arm", "n_real", "n_synthetic", "error", "cross_entropy", "seconds"):
        assert list(table[name]) == list(expected[name]), name


def test_many_cells_and_files_go_through_the_server_and_come_back(uri, tmp_path):
    (tmp_path / "report.html").write_text("<h1>worth</h1>")
    cells = [cell(m, equivalent=Interval(m / 7, m / 9, m / 5)) for m in range(10, 610, 10)]
    mirrored(uri, "many", [row()], analysis(cells=cells), artifacts=tmp_path)
    assert list(queries.curves(study="many", arm="closed-set", uri=uri)["equivalent"]) == [
        m / 7 for m in range(10, 610, 10)
    ]
    (run,) = runs(uri, "many", "study")
    files = tracking.server.client_of(uri, create=False).list_artifacts(run.info.run_id)
    assert {file.path for file in files} == {"report.html", "fits.json"}


def at_once(*works):
    """Run in threads; return what each returned or the TrackingError that it met."""
    found = [None] * len(works)

    def run(index, work):
        try:
            found[index] = work()
        except TrackingError as error:
            found[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    return found


def test_two_mirrors_at_once_are_doubled_runs_that_nobody_sees_and_the_next_removes(uri, postgres, monkeypatch):
    """The worst case: both look before either writes. Each run is then there twice, until somebody mirrors again."""
    looked, real = threading.Barrier(2, timeout=60), tracking.open_mirror

    def together(*given):
        mirror = real(*given)
        looked.wait()
        return mirror

    monkeypatch.setattr(tracking, "open_mirror", together)
    found = at_once(lambda: mirrored(uri, "two"), lambda: mirrored(uri, "two"))
    monkeypatch.undo()
    assert [counts["trials_new"] for counts in found] == [12, 12]
    assert set(kept(postgres, "two").values()) == {2}
    assert len(queries.trials(uri, study="two")) == 12
    once = queries.curves(study="two", uri=uri)
    assert sorted(once["n_synthetic"]) == [0, 0, 0, 50, 200, 800]
    assert mirrored(uri, "two")["trials_new"] == 0
    assert set(kept(postgres, "two").values()) == {1}
    pd.testing.assert_frame_equal(queries.curves(study="two", uri=uri), once)


def test_a_mirror_that_another_overtakes_ends_in_a_sentence_or_whole_and_leaves_each_run_once(
    uri, postgres, monkeypatch
):
    """The second finds a run that the first still writes, takes it for what a killed process left, and deletes it."""
    writing, overtaken, real = threading.Event(), threading.Event(), Mirror.write
    slow = threading.local()

    def write(self, run_id, run):
        if getattr(slow, "me", False) and run.address == rows_of()[3]["address"]:
            writing.set()
            assert overtaken.wait(60)
        real(self, run_id, run)

    def first():
        slow.me = True
        return mirrored(uri, "overtaken")

    def second():
        assert writing.wait(60)
        try:
            return mirrored(uri, "overtaken")
        finally:
            overtaken.set()

    monkeypatch.setattr(Mirror, "write", write)
    found = at_once(first, second)
    monkeypatch.undo()
    assert isinstance(found[0], TrackingError)
    assert "run `realfake track overtaken` later" in str(found[0])
    assert (found[1]["trials_new"], found[1]["trials_known"]) == (9, 3)
    assert set(kept(postgres, "overtaken").values()) == {1}
    assert mirrored(uri, "overtaken")["trials_new"] == 0
    assert len(kept(postgres, "overtaken")) == 12 + 2 + 1


def test_a_database_that_goes_away_holds_nobody_up_and_what_was_missed_is_added_later(uri, postgres):
    rows = rows_of()
    live = LiveLog("away", uri, DATASETS)
    live.log({"record": record(rows[0]), "row": rows[0]})
    until = time.monotonic() + 30
    while not live.logged and time.monotonic() < until:
        time.sleep(0.05)
    postgres.end()
    started = time.monotonic()
    for one in rows[1:]:
        live.log({"record": record(one), "row": one})
    assert time.monotonic() - started < 0.5
    with pytest.raises(TrackingError, match="are safe in the store; run `realfake track away` later") as said:
        mirrored(uri, "away", rows)
    assert PASSWORD not in str(said.value)
    live.close(timeout_seconds=20)
    assert time.monotonic() - started < 60
    assert (live.logged, live.dropped) == (1, 11)
    assert PASSWORD not in live.problem
    postgres.again()
    counts = mirrored(uri, "away", rows)
    assert (counts["trials_new"], counts["trials_known"]) == (11, 1)
    assert set(kept(postgres, "away").values()) == {1}


def test_the_password_of_the_database_is_in_no_argument(both):
    family = [psutil.Process(one.process.pid) for one in both]
    family += [child for one in family for child in one.children(recursive=True)]
    assert len(family) > 2
    assert not [process for process in family if PASSWORD in " ".join(process.cmdline())]


def test_the_password_of_the_database_is_in_no_sentence():
    """Where the database itself is the tracking URI; the path of a file is told whole."""
    uri = Postgres(None, 5432, None).uri
    with pytest.raises(TrackingError, match=r"MLflow at postgresql\+psycopg2://127.0.0.1:5432/postgres cannot") as said:  # noqa: SIM117
        with explained(uri, "study"):
            raise ConnectionRefusedError("refused")
    assert PASSWORD not in str(said.value)
    with (
        pytest.raises(TrackingError, match=r"MLflow at sqlite:////home/me@work:8/mlflow\.db cannot"),
        explained("sqlite:////home/me@work:8/mlflow.db", "study"),
    ):
        raise ConnectionRefusedError("refused")
