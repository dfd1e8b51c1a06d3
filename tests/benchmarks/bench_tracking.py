"""How long MLflow takes: 1,000 trials mirrored into a new sqlite file (at most 5 minutes), curves asked of it (2 s).

    uv run python -m tests.benchmarks.bench_tracking [number of trials]

Imports are paid before the clock starts. Exit code 1 when a limit is missed.
"""

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from realfake.tracking import curves, track
from realfake.tracking.server import client_of, explained
from tests.test_tracking import DATASETS, analysis, cell, interval, record, row

REAL_SIZES = tuple(range(10, 210, 10))
VOLUMES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
MIRROR_SECONDS, CURVES_SECONDS = 300.0, 2.0


def timed(what, function):
    """Print and return how many seconds a call took, and its answer."""
    started = time.perf_counter()
    answer = function()
    seconds = time.perf_counter() - started
    print(f"{what:<58} {seconds:8.2f} s", flush=True)
    return seconds, answer


def main(trials: int = 1000) -> int:
    sizes = [(n, m) for n in REAL_SIZES for m in (0, *VOLUMES)]
    rows = [row(*sizes[i % len(sizes)], seed=i // len(sizes)) for i in range(trials)]
    records, table = [record(each) for each in rows], pd.DataFrame(rows)
    rungs = [{"recipe": "test_resnet", "n_real": n, "replicates": 5, "diverged": 0} for n in REAL_SIZES]
    worth = {"error": interval(0.2), "cross_entropy": interval(0.6)}
    found = analysis(cells=[cell(m, n_real=n) for n in REAL_SIZES for m in (50, 200, 800)])
    found["ladder"] = [{**rung, **worth} for rung in rungs]

    with tempfile.TemporaryDirectory() as folder, explained("", "bench"):
        uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"

        def mirror():
            return track("bench", "How long?", records, table, found, uri=uri, datasets=DATASETS)

        making, _ = timed("a new sqlite file, with its migrations", lambda: client_of(uri, create=True))
        logging, counts = timed(f"{trials} trials and {len(REAL_SIZES) + 1} curves mirrored", mirror)
        assert counts["trials_new"] == trials, counts
        _, again = timed("the same again: nothing to do", mirror)
        assert (again["trials_new"], again["curves_new"]) == (0, 0), again
        asking, answer = timed("curves over them", lambda: curves(study="bench", uri=uri))
        assert len(answer) == len(found["cells"]) + len(found["ladder"]), len(answer)
        print(f"{1000 * logging / trials:.0f} ms a trial; the file is {Path(uri[10:]).stat().st_size / 2**20:.1f} MiB")
    return int(making + logging > MIRROR_SECONDS or asking > CURVES_SECONDS)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
