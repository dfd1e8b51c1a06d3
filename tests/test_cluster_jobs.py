"""Studies sent to a real Ray head with a token: run once, resumed when killed, stopped, and refused to strangers."""

import json
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.ray_head import LACKING, TOKEN, start

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(LACKING, reason="the job server needs more of Ray: uv run --group cluster pytest -m cluster"),
]

LADDER = '''"""How well do few digits do?"""
from realfake import Dataset, Recipe, Study, Subset, Trial

train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
recipe = Recipe(model="test_resnet", examples_seen=EXAMPLES)
subsets = [Subset(of=train, size=size, seed=0) for size in (20, 40, 60, 80, 100, 120)]
study = Study(name="NAME", trials=tuple(Trial(real=real, test=test, recipe=recipe, seed=0) for real in subsets))
'''
CHAIN = '''"""How many tiny digits are worth one?"""
from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
recipe, real = Recipe(model="test_resnet", examples_seen=640), Subset(of=train, size=40, seed=0)
pool = Pool(generator=ClosedSet(real=real, steps=20, seed=0), sampling_steps=2, seed=0)
mixed = Trial(real=real, synthetic=(Subset(of=pool, size=40),), test=test, recipe=recipe, seed=0)
study = Study(name="chain", trials=(Trial(real=real, test=test, recipe=recipe, seed=0), mixed))
'''


@pytest.fixture(scope="module")
def head():
    with tempfile.TemporaryDirectory(prefix="rf-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        started = start(folder)
        yield started
        started.end()


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A folder with studies and where-files: ``none.toml`` runs in the driver alone, without Ray."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "short.py").write_text(LADDER.replace("EXAMPLES", "6_400").replace("NAME", "short"))
    (folder / "long.py").write_text(LADDER.replace("EXAMPLES", "900_000").replace("NAME", "long"))
    (folder / "chain.py").write_text(CHAIN)
    (folder / "none.toml").write_text('[cluster]\naddress = "none"\n')
    return folder


def records(folder):
    """Return when every record of a trial was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("store/trial-*/record.json")}


def wait_for(what, seconds=400):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.2)
    return found


def listed(head, user, study):
    out, _ = head.run("jobs", "list", "--to", head.url, "--json", folder=user)
    return [job for job in json.loads(out) if job["study"] == study]


@pytest.mark.parametrize(("token", "message"), [("wrong", "refuses the token"), ("", "asks for a token")])
def test_without_the_right_token_there_is_one_sentence_and_no_job(head, user, token, message):
    for arguments in (("jobs", "list"), ("submit", "short.py", "--on", "none.toml")):
        out, err = head.run(*arguments, "--to", head.url, folder=user, token=token, expect=2)
        assert not out
        assert message in err
        assert "Traceback" not in err
        assert TOKEN not in err
    assert listed(head, user, "short") == []


def test_a_job_that_is_killed_is_sent_again_and_resumes(head, user):
    watching = head.realfake("submit", "short.py", "--to", head.url, "--on", "none.toml", folder=user)
    made = wait_for(lambda: records(user) or (watching.poll() is not None and "ended"))
    assert made != "ended", watching.communicate()
    assert head.kill_drivers()
    out, err = watching.communicate(timeout=600)
    assert watching.returncode == 0, err
    assert "died" in err
    assert "it is sent again and goes on where it was" in err
    assert "short: How well do few digits do?" in out
    assert "trials" not in out.splitlines()[0]
    assert len(records(user)) == 6
    assert made.items() <= records(user).items()  # what the first attempt made was not made again
    assert [(job["attempt"], job["status"]) for job in listed(head, user, "short")] == [(1, "FAILED"), (2, "SUCCEEDED")]


def test_the_same_study_is_not_run_twice_and_its_answer_is_shown_again(head, user):
    before = records(user)
    out, err = head.run("submit", "short.py", "--to", head.url, "--on", "none.toml", folder=user)
    assert "is not run twice" in err
    assert "short: How well do few digits do?" in out
    assert records(user) == before
    assert len(listed(head, user, "short")) == 2


def test_the_token_is_in_no_log_record_or_argument(head, user):
    out, err = head.run("jobs", "logs", "short", "--to", head.url, folder=user)
    assert TOKEN not in out + err
    kept = [
        *user.rglob("*"),
        *head.folder.glob("ray/session_*/logs/**/*"),
        *head.folder.glob("ray/session_*/runtime_resources/**/*"),
    ]
    holding = [str(path) for path in kept if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert not holding
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if TOKEN.encode() in command]


def test_ctrl_c_leaves_the_job_running_and_stop_stops_it(head, user):
    watching = head.realfake("submit", "long.py", "--to", head.url, "--on", "none.toml", folder=user)
    wait_for(head.drivers)
    time.sleep(3)  # it follows the log by now
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=60)
    assert watching.returncode == 130
    (job,) = listed(head, user, "long")
    assert job["status"] == "RUNNING"
    far, _ = head.run("status", "long.py", "--to", head.url, "--json", folder=user, expect=1)
    assert (json.loads(far)["job"], json.loads(far)["status"]) == (job["job"], "RUNNING")
    assert f"realfake jobs logs {job['job']} --to {head.url}" in err
    assert f"realfake jobs stop {job['job']} --to {head.url}" in err
    again, _ = head.run("submit", "long.py", "--to", head.url, "--on", "none.toml", "--no-wait", folder=user)
    assert again.strip() == job["job"]  # it runs there already
    out, err = head.run("jobs", "stop", "long", "--to", head.url, folder=user)
    assert out == f"{job['job']}: stopped\n"
    assert "what it made is kept" in err
    assert not head.drivers()
    _, err = head.run("jobs", "logs", "long", "--to", head.url, folder=user, expect=1)
    assert "was stopped" in err
    second, _ = head.run("submit", "long.py", "--to", head.url, "--on", "none.toml", "--no-wait", folder=user)
    assert second.strip() == job["job"].removesuffix("1") + "2"
    head.run("jobs", "stop", second.strip(), "--to", head.url, folder=user)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tracking = "http://127.0.0.1:9"', "does not answer the cluster's head"),
        ("[training]\nlanes = 64\ncpus_per_lane = 1.0", "the run would wait for ever"),
        ('store = "short.py"', "choose another folder with --store"),
    ],
)
def test_what_the_cluster_cannot_do_is_said_by_the_cluster(head, user, text, message):
    (user / "cannot.toml").write_text(text)
    _, err = head.run("submit", "chain.py", "--to", head.url, "--on", "cannot.toml", folder=user, expect=2)
    assert "the cluster cannot run this study" in err
    assert message in err
    assert "Traceback" not in err


def test_a_chain_runs_on_the_cluster_itself(head, user, record_property):
    began = time.time()
    out, err = head.run("submit", "chain.py", "--to", head.url, folder=user, seconds=1200)
    assert "chain: How many tiny digits are worth one?" in out
    far, _ = head.run("status", "chain.py", "--to", head.url, "--json", folder=user)
    assert json.loads(far)["progress"]["done"] == {"fits": 1, "images": 256, "trials": 2}
    (shard,) = user.glob("store/pool-*/*.parquet")
    record_property("submit_to_first_image_seconds", round(shard.stat().st_mtime - began, 1))
    print(f"submit to first image: {shard.stat().st_mtime - began:.1f} s; to the answer: {time.time() - began:.1f} s")
    assert "trials 2/2" in err
