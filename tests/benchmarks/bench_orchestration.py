"""What costs no arithmetic: the command's start, ``status`` on 1,000 records, the driver's memory over many shards.

    python -m tests.benchmarks.bench_orchestration

Prints one JSON document: seconds of ``realfake --help`` and of ``status``, and how much the board of a run grows from
10⁴ to 10⁶ samples' worth of shards.
"""

import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from realfake.board import Board, Needs
from realfake.samples import SHARD_ROWS, shards_of
from realfake.spec import ClosedSet, Dataset, Pool, Subset, address
from realfake.store import Store
from realfake.studyfile import read

STUDY = """
from realfake import Dataset, Recipe, Study, Subset, Trial
train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
recipe = Recipe(examples_seen=100)
reals = [Subset(of=train, size=50 + s % 100, seed=s) for s in range(1000)]
trials = (Trial(real=real, test=test, recipe=recipe, seed=real.seed) for real in reals)
study = Study(name="thousand", trials=tuple(trials))
"""


def seconds(*command: str, expect: int = 0) -> float:
    """Return the best of three wall times of a command."""
    times = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "realfake", *command], capture_output=True)
        assert done.returncode == expect, done.stderr
        times.append(time.monotonic() - started)
    return min(times)


def status_seconds(folder: Path) -> float:
    """Return the time of ``status`` on a store with 1,000 trial records."""
    (folder / "study.py").write_text(STUDY)
    store = Store(folder / "store")
    for trial in read(folder / "study.py").study.trials:
        with store.making(trial) as (_, result):
            result.update(status="ok", error=0.1, cross_entropy=0.3, n_test=500, real_budget=50)
    return seconds("status", str(folder / "study.py"), "--store", str(store.root), expect=1)


def board_bytes(samples: int, folder: Path) -> int:
    """Return what the board of a run holds after that many samples' worth of shards went through it."""
    pool = Pool(generator=ClosedSet(real=Subset(of=Dataset(name="digits"), size=50)))
    name = address(pool)
    tracemalloc.start()
    lacking = {name: set(shards_of(samples))}
    board = Board(Store(folder), Needs({}, {}, {name: pool}, lacking), ahead=5)
    board.feed()
    for first in shards_of(samples):
        board.shard_made({"address": name, "first": first, "rows": SHARD_ROWS, "seconds": 1.0, "digest": "0" * 64})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "help_seconds": seconds("--help"),
            "status_of_1000_seconds": status_seconds(Path(folder)),
            "board_mib_at_1e4_samples": board_bytes(10**4, Path(folder)) / 2**20,
            "board_mib_at_1e6_samples": board_bytes(10**6, Path(folder)) / 2**20,
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
