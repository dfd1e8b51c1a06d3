"""Faults: killed at every named point, interrupted, doubled, corrupted; then the same command, and the same files.

Without Ray, a crash is injected where a file is about to appear (the process ends there, without clean-up); with Ray,
real processes are killed while they work. What counts is the end: digests equal to those of an undisturbed run.
"""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.test_end_to_end import files, study_file

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
HERE = '[cluster]\naddress = "none"\n'

# Each crash replaces a function by one that ends the process at its k-th call: exactly as kill -9 would, but there.
CRASHES = {
    "while a dataset is imported": ("realfake.store", "_write_synced", 1),
    "before a dataset takes its place": ("realfake.store.Store", "_into_place", 2),
    "while a generator is fitted": ("realfake.board.Board", "progress", 1),
    "before a generator takes its place": ("realfake.store.Store", "_into_place", 3),
    "before the images of a shard are made": ("realfake.synthesis.Maker", "_table", 2),
    "before a shard takes its place": ("realfake.shards", "pq.write_table", 3),
    "after a shard, before the next": ("realfake.board.Board", "shard_made", 2),
    "before the record of a trial": ("realfake.store", "describe", 8),
    "before a trial takes its place": ("realfake.store.Store", "_into_place", 8),
    "before the analysis is kept": ("realfake.results", "_analyse", 1),
    "before the report": ("realfake.report", "write", 1),
    "before MLflow": ("realfake.tracking", "track", 1),
}
INJECT = """
import functools, importlib, os, sys
place, name, call = sys.argv[1], sys.argv[2], int(sys.argv[3])
module, _, inner = (place, "", "") if not place[place.rfind(".") + 1].isupper() else place.rpartition(".")
owner = importlib.import_module(module or place)
for part in ([inner] if inner else []) + name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
function, calls = getattr(owner, name), []

@functools.wraps(function)
def crash(*args, **given):
    calls.append(1)
    if len(calls) >= call:
        os._exit(137)
    return function(*args, **given)

setattr(owner, name, crash)
sys.argv = ["realfake", "run", "tiny.py", "--on", "here.toml"]
from realfake.cli import main
main()
"""


def user_folder(tmp_path):
    study_file(tmp_path)
    (tmp_path / "here.toml").write_text(HERE)
    return tmp_path


def start(folder, *arguments):
    command = [sys.executable, "-m", "realfake", "run", "tiny.py", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, preexec_fn=_interruptible)


def _interruptible():
    """A shell's background jobs ignore Ctrl-C, and so would what they start: the tests may be one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err[-3000:]
    return out, err


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What an undisturbed run leaves, and what it prints."""
    folder = user_folder(tmp_path_factory.mktemp("undisturbed"))
    out, _ = finish(folder, "--on", "here.toml")
    return files(folder / "store"), out


@pytest.mark.parametrize("point", CRASHES)
def test_a_crash_at_a_named_point_and_the_same_command_again(tmp_path, point, undisturbed):
    folder, (place, name, call) = user_folder(tmp_path), CRASHES[point]
    command = [sys.executable, "-c", INJECT, place, name, str(call)]
    crashed = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert crashed.returncode == 137, f"the crash did not happen: {crashed.stderr[-2000:]}"
    out, _ = finish(folder, "--on", "here.toml")
    assert (files(folder / "store"), out) == undisturbed
    assert not [path for path in (folder / "store/.scratch").iterdir() if path.name[0] != "."]


# ----------------------------------------------------------------------------------------------------------- with Ray

STAGES = {
    "fitting": lambda store: next(store.glob("dataset-*/record.json"), None) and _lanes(),
    "synthesis": lambda store: next(store.glob("pool-*/*.parquet"), None),
    "training": lambda store: len(list(store.glob("trial-*/record.json"))) >= 2,
}


def _named(part):
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if line.startswith("ray::") and part in line:
            found.append(process)
    return found


def _lanes():
    return _named("ImplicitFunc")


def _makers():
    return _named("MapWorker")


def wait_for(condition, process, seconds=240):
    started = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() - started < seconds
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_driver_ends_at_a_stage_and_the_same_command_again(tmp_path, stage, how, undisturbed):
    folder = user_folder(tmp_path)
    process = start(folder)
    wait_for(lambda: STAGES[stage](folder / "store"), process)
    process.send_signal(how)
    _, err = process.communicate(timeout=120)
    if how == signal.SIGINT:
        assert process.returncode == 130, err[-3000:]
        assert "what is made is kept" in err
        assert "Traceback" not in err
    _until(lambda: not (_lanes() or _makers()))
    out, _ = finish(folder)
    assert (files(folder / "store"), out) == undisturbed


def _until(condition, seconds=60):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "workers of Ray outlived their driver"
        time.sleep(0.2)


@pytest.mark.parametrize("worker", ["a lane", "a synthesis actor"])
def test_a_killed_worker_is_replaced_within_the_run(tmp_path, worker, undisturbed):
    folder = user_folder(tmp_path)
    process = start(folder)
    find = _lanes if worker == "a lane" else _makers
    wait_for(lambda: find() and STAGES["fitting"](folder / "store"), process)
    os.kill(find()[0].pid, signal.SIGKILL)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    assert (files(folder / "store"), out) == undisturbed


def test_two_runs_of_one_study_at_once(tmp_path, undisturbed):
    folder = user_folder(tmp_path)
    processes = [start(folder, "--on", "here.toml") for _ in range(2)]
    ended = [process.communicate(timeout=800) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [err[-1500:] for _, err in ended]
    assert (files(folder / "store"), ended[0][0]) == undisturbed
    assert ended[0][0] == ended[1][0]


def test_a_corrupted_shard_is_found_by_its_digest_and_made_again(tmp_path, undisturbed):
    folder = user_folder(tmp_path)
    finish(folder, "--on", "here.toml")
    shard = sorted((folder / "store").glob("pool-*/*.parquet"))[0]
    data = shard.read_bytes()
    shard.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    finish(folder, "--on", "here.toml")
    assert (files(folder / "store"))[1] == undisturbed[0][1]
    from realfake.samples import read_table, shard_digest

    read_table(shard)
    shard_before = tmp_path / "before.parquet"
    shard_before.write_bytes(data)
    assert shard_digest(shard) == shard_digest(shard_before)


def test_a_trial_that_diverges_is_a_result_and_is_not_run_again(tmp_path):
    folder = user_folder(tmp_path)
    path = folder / "tiny.py"
    text = path.read_text().replace("examples_seen=640", "examples_seen=640, learning_rate=1e30")
    path.write_text(text.replace("mixed = (trial", "mixed = () if True else (trial"))
    _, err = finish(folder, "--on", "here.toml")
    out, again = finish(folder, "--on", "here.toml")
    assert "0 trials" in again
    assert "diverged" in out
    assert "Traceback" not in err
