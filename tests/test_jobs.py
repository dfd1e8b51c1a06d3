"""The job server as realfake sees it: attempts, what died, one sentence for whatever goes wrong.

Ray's own client talks to a small server here that answers as Ray's does; the real one is in test_cluster_jobs.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from realfake import cli, jobs, remote
from realfake.jobs import Job, JobsError, Refused, Server
from realfake.submission import Submission

STUDY = Submission("ladder", {"a": b"1"}, "python a")
TOKEN = "right-token-0123456789"
LADDER = """from realfake import Dataset, Recipe, Study, Subset, Trial
train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
real = Subset(of=train, size=40, seed=0)
study = Study(name="a", trials=(Trial(real=real, test=test, recipe=Recipe(model="test_resnet", examples_seen=64)),))
"""


@contextmanager
def answering(version="2.60.0", token="", first=None, known=()):
    """Yield the address of a server that keeps jobs as Ray does; ``first`` is (status, text) for everything instead."""
    kept = {name: {"submission_id": name, "status": status, **more} for name, status, more in known}

    class Handler(BaseHTTPRequestHandler):
        def say(self, code, body):
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def handle_one(self):
            given = self.headers.get("Authorization", "")
            if first:
                return self.say(*first)
            if token and given != f"Bearer {token}":
                return self.say(*((403, "Forbidden") if given else (401, "Unauthorized")))
            return self.asked()

        def asked(self):
            if self.path == "/api/version":
                return self.say(200, {"version": "4", "ray_version": version, "ray_commit": "x"})
            if self.path.startswith("/api/packages"):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return self.say(404 if self.command == "GET" else 200, "")
            if self.command == "POST":
                return self.posted()
            if self.path == "/api/jobs/":
                return self.say(200, [details(job) for job in kept.values()])
            if self.path.endswith("/logs"):
                log = kept[self.path.split("/")[3]].get("log")
                return self.say(500, "no log yet") if log is None else self.say(200, {"logs": log})
            name = self.path.removeprefix("/api/jobs/")
            return self.say(200, details(kept[name])) if name in kept else self.say(404, f"Job {name} does not exist")

        def posted(self):
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            if self.path.endswith("/stop"):
                kept[self.path.split("/")[3]]["status"] = "STOPPED"
                return self.say(200, {"stopped": True})
            name = sent["submission_id"]
            if name in kept:
                return self.say(500, f"Job with submission_id {name} already exists.")
            kept[name] = {"submission_id": name, "status": "PENDING", "sent": sent}
            return self.say(200, {"job_id": name, "submission_id": name})

        do_GET = do_POST = do_PUT = handle_one

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        server.server_close()


def details(job):
    return {"type": "SUBMISSION", "entrypoint": "python", **{k: v for k, v in job.items() if k not in ("sent", "log")}}


@pytest.fixture(autouse=True)
def token_of_the_user(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


def test_a_study_is_sent_once_and_again_only_after_it_died(monkeypatch):
    with answering(token=TOKEN) as (url, kept):
        server = Server(url)
        job, new = server.submit(STUDY)
        assert (job.name, job.attempt, job.study, new) == (STUDY.name(1), 1, "ladder", True)
        assert server.submit(STUDY) == (job, False)
        kept[job.name]["status"] = "SUCCEEDED"
        assert server.submit(STUDY)[1] is False
        assert server.submit(STUDY, again=True)[0].name == STUDY.name(2)
        kept[STUDY.name(2)]["status"] = "FAILED"
        assert server.submit(STUDY)[0].name == STUDY.name(3)
        assert server.stop(STUDY.name(3)).status == "STOPPED"
        assert server.submit(STUDY)[0].name == STUDY.name(4)
        assert server.submit(Submission("ladder", {"a": b"2"}, "python a"))[0].attempt == 1
        assert len(kept) == 5
        assert "working_dir" in kept[job.name]["sent"]["runtime_env"]
        assert TOKEN not in json.dumps(kept)


def test_two_who_send_the_same_at_once_get_one_job(monkeypatch):
    with answering() as (url, kept):
        first, second = Server(url), Server(url)
        before = iter([second.jobs()])  # the second looked before the first had sent
        first.submit(STUDY)
        monkeypatch.setattr(second, "jobs", lambda: next(before, None) or first.jobs())
        job, new = second.submit(STUDY)
        assert (job.name, new) == (STUDY.name(1), False)
        assert len(kept) == 1


def test_jobs_are_found_by_name_study_or_as_the_latest_and_others_jobs_are_left_alone():
    known = [
        (STUDY.name(1), "SUCCEEDED", {"start_time": 1000}),
        ("realfake-other-0123456789ab-1", "RUNNING", {"start_time": 3000}),
        ("raysubmit_XYZ", "RUNNING", {"start_time": 9000}),
    ]
    with answering(known=known) as (url, _):
        server = Server(url)
        assert [job.study for job in server.jobs()] == ["ladder", "other"]
        assert server.find().study == "other"
        assert server.find("ladder").name == STUDY.name(1)
        assert server.find("realfake-oth").started == 3.0
        with pytest.raises(JobsError, match="has no job 'nonsense'; there are realfake-ladder"):
            server.find("nonsense")
        gone = server.job("realfake-gone-0123456789ab-1")
        assert gone.died
        assert "forgotten" in gone.said


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"token": "another"}, Refused, "refuses the token that is set here"),
        ({"version": "2.40.1"}, JobsError, "runs Ray 2.40.1; realfake needs 2.55 or newer"),
        ({"version": "3.1.0"}, JobsError, "below 3"),
        ({"first": (404, "nothing here")}, JobsError, "is no Ray dashboard"),
        ({"first": (200, "<html>hello</html>")}, JobsError, "is no Ray dashboard"),
        ({"first": (200, "{}")}, JobsError, "is no Ray dashboard"),
        ({"first": (502, "bad gateway")}, JobsError, "http://127.0.0.1"),
    ],
)
def test_whatever_answers_gets_one_sentence(given, kind, message):
    with answering(**given) as (url, _), pytest.raises(kind, match=message) as told:
        Server(url)
    assert "\n" not in str(told.value)
    assert TOKEN not in str(told.value)


def test_a_missing_token_and_a_closed_port_get_one_sentence(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with answering(token=TOKEN) as (url, _), pytest.raises(Refused, match="asks for a token"):
        Server(url)
    with pytest.raises(JobsError, match="no Ray dashboard answers at"):
        Server("http://127.0.0.1:9")


def test_the_address_given_holds_against_the_environment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    with answering() as (url, _):
        assert Server(url).version == "2.60.0"


def test_another_version_of_ray_is_told():
    with answering(version="2.58.0") as (url, _):
        assert Server(url).note().endswith("and 2.58.0 there, where the study runs")
    with answering(version="2.60.9") as (url, _):
        assert Server(url).note() == ""


@pytest.mark.parametrize(
    ("status", "code", "error", "died"),
    [
        ("FAILED", None, "", True),
        ("FAILED", -9, "", True),
        ("FAILED", 137, "", True),
        ("FAILED", 1, "", False),
        ("FAILED", 2, "", False),
        ("FAILED", 127, "", False),
        ("FAILED", None, "JOB_SUPERVISOR_ACTOR_START_FAILURE_RUNTIME_ENV_SETUP", False),
        ("STOPPED", None, "", False),
        ("SUCCEEDED", 0, "", False),
        ("RUNNING", None, "", False),
    ],
)
def test_only_what_was_killed_or_lost_has_died(status, code, error, died):
    assert Job("realfake-a-0123456789ab-1", status, exit_code=code, error=error).died is died


def test_a_log_read_again_from_the_start_is_told_once():
    told = []
    lines = jobs._Lines(told.append)
    for piece in ("one\ntw", "o\nthr"):
        lines.add(piece)
    lines.from_the_start()
    for piece in ("one\n", "two\nthree\n", "four"):
        lines.add(piece)
    lines.end()
    assert told == ["one", "two", "three", "four"]


def test_the_answer_goes_to_stdout_and_all_else_to_stderr(capsys):
    log = ["Running entrypoint for job x: python", "0:15 fits", jobs.ANSWER, "table", jobs.END, "after"]
    for as_json, out in ((False, "table\n"), (True, "")):
        shown = remote._Shown(as_json)
        for line in log:
            shown(line)
        told = capsys.readouterr()
        assert told.out == out
        assert told.err.splitlines() == ["0:15 fits", *(["table"] if as_json else []), "after"]


def test_the_verbs_list_stop_and_say_what_is_there():
    known = [(STUDY.name(1), "RUNNING", {"start_time": 1000, "end_time": 62_000})]
    with answering(known=known) as (url, kept):
        listed = CliRunner().invoke(cli.main, ["jobs", "list", "--to", url])
        assert listed.output.splitlines()[-1].split()[:2] == [STUDY.name(1), "running"]
        assert listed.output.rstrip().endswith("1:01")
        stopped = CliRunner().invoke(cli.main, ["jobs", "stop", "ladder", "--to", url])
        assert (stopped.exit_code, stopped.stdout) == (0, f"{STUDY.name(1)}: stopped\n")
        assert kept[STUDY.name(1)]["status"] == "STOPPED"
        again = CliRunner().invoke(cli.main, ["jobs", "stop", "--to", url])
        assert "had ended before: stopped" in again.stderr
        listed = CliRunner().invoke(cli.main, ["jobs", "list", "--json"], env={"RAY_API_SERVER_ADDRESS": url})
        assert [job["attempt"] for job in json.loads(listed.output)] == [1]


LOG = """2026-11-21 23:00:00 INFO job_manager.py:500 -- Runtime env is set up.
Running entrypoint for job x: python -m realfake.arrival study/s.py where.toml
0:15  fits 0/1 · images 0/512 · trials 0/1 · in hand: closedset · starting
0:30  fits 1/1 · images 256/512 · trials 0/1 · 8.5 images/s · 1 failed · in hand: trial · more than 0:42 left
closedset-0123456789ab: ValueError: no
"""
ASKED = "http://mlflow:5000"


def status_of(tmp_path, url, *arguments):
    (tmp_path / "s.py").write_text(LADDER)
    return CliRunner().invoke(cli.main, ["status", str(tmp_path / "s.py"), "--to", url, *arguments])


def test_status_says_how_far_a_job_is_and_where_to_look(tmp_path):
    times = {"start_time": 1000, "end_time": 62_000}
    other = Submission("a", {}, "python a")
    known = [
        ("realfake-ab-0123456789ab-1", "RUNNING", {"start_time": 9000}),
        (other.name(1), "FAILED", {"start_time": 500}),
        (other.name(2), "RUNNING", {**times, "log": LOG, "metadata": {"tracking": ASKED}}),
    ]
    with answering(token=TOKEN, known=known) as (url, kept):
        said = status_of(tmp_path, url)
        lines = dict(line.split(maxsplit=1) for line in said.stdout.replace("in hand", "hand").splitlines())
        assert said.exit_code == 1
        assert lines["job"] == f"{other.name(2)} (attempt 2)"
        assert lines["status"].startswith("running, started ")
        assert lines["made"] == "fits 1 of 1 · images 256 of 512 · trials 0 of 1"
        assert (lines["failed"], lines["hand"], lines["rate"]) == ("1", "trial", "8.5 images/s")
        assert "time left  more than 0:42 left" in said.stdout
        assert lines["dashboard"] == f"{url}/#/jobs/{other.name(2)}"
        assert lines["MLflow"] == ASKED
        assert lines["log"] == f"realfake jobs logs {other.name(2)} --to {url}"
        found = json.loads(status_of(tmp_path, url, "--json").stdout)
        assert (found["job"], found["attempt"], found["status"]) == (other.name(2), 2, "RUNNING")
        assert found["progress"]["done"] == {"fits": 1, "images": 256, "trials": 0}
        assert (found["progress"]["images_per_second"], found["progress"]["seconds_left"]) == (8.5, 42.0)
        assert (found["mlflow"], found["dashboard"]) == (ASKED, lines["dashboard"])
        kept[other.name(2)] |= {
            "status": "SUCCEEDED",
            "log": f"{LOG}1:00  fits 1/1 · images 512/512 · trials 1/1 · done\n",
        }
        ended = status_of(tmp_path, url)
        assert ended.exit_code == 0
        assert "trials 1 of 1" in ended.stdout
        assert "left" not in ended.stdout
        assert "images/s" not in ended.stdout


def test_status_of_a_job_that_has_not_begun_failed_or_was_never_sent(tmp_path):
    sent = Submission("a", {}, "python a")
    with answering(known=[(sent.name(1), "PENDING", {})]) as (url, kept):
        waiting = status_of(tmp_path, url)
        assert waiting.exit_code == 1
        assert "pending" in waiting.stdout
        assert "made" not in waiting.stdout
        assert json.loads(status_of(tmp_path, url, "--json").stdout)["progress"] is None
        kept[sent.name(1)] |= {"status": "FAILED", "driver_exit_code": 137, "log": ""}
        failed = status_of(tmp_path, url)
        assert (failed.exit_code, "failed, exit code 137" in failed.stdout) == (1, True)
        del kept[sent.name(1)]
        nothing = status_of(tmp_path, url)
        assert (nothing.exit_code, nothing.stdout) == (2, "")
        assert "was never sent the study 'a'" in nothing.stderr
        assert "Traceback" not in nothing.output
    assert "no Ray dashboard answers" in status_of(tmp_path, "http://127.0.0.1:9").stderr


def test_a_job_tells_where_its_progress_can_be_watched(tmp_path, monkeypatch):
    (tmp_path / "s.py").write_text(LADDER)
    (tmp_path / "on.toml").write_text(f'tracking = "{ASKED}"\n')
    monkeypatch.chdir(tmp_path)
    with answering(token=TOKEN) as (url, kept):
        for arguments in (["--on", "on.toml"], []):
            CliRunner().invoke(cli.main, ["submit", "s.py", "--to", url, "--no-wait", *arguments])
        told = [job["sent"]["metadata"] for job in kept.values()]
        assert told == [{"study": "a", "attempt": "1", "tracking": ASKED}, {"study": "a", "attempt": "1"}]


def test_submit_without_waiting_prints_the_name_alone_and_refuses_before_it_asks(tmp_path, monkeypatch):
    (tmp_path / "s.py").write_text(LADDER)
    (tmp_path / "secret.toml").write_text("# password = hunter22\n")
    monkeypatch.chdir(tmp_path)
    with answering(token=TOKEN) as (url, kept):
        for said in ("sent as", "it runs there already"):
            done = CliRunner().invoke(cli.main, ["submit", "s.py", "--to", url, "--no-wait"])
            assert (done.exit_code, done.stdout.strip()) == (0, next(iter(kept)))
            assert said in done.stderr
            assert f"{tmp_path}/store on the machines of the cluster" in done.stderr
        asked = [details(job) for job in kept.values()]
        for arguments, message in (
            (["--to", url, "--on", "secret.toml"], "secret.toml:1 holds a secret"),
            (["--to", "http://192.0.2.1:8265"], "is a folder beside you"),
            (["--to", url, "--on", "missing.toml"], "give one of cluster/*.toml"),
        ):
            refused = CliRunner().invoke(cli.main, ["submit", "s.py", *arguments])
            assert (refused.exit_code, refused.stdout) == (2, "")
            assert message in refused.stderr
        assert [details(job) for job in kept.values()] == asked
