"""How long MLflow takes: 1,000 trials mirrored into a new sqlite file (at most 5 minutes), curves (2 s) and
trials (5 s) asked of it.

    uv run python -m tests.benchmarks.bench_tracking [number of trials]

Imports are paid before the clock starts. Exit code 1 when a limit is missed.
"""

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from realfake.queries import curves
from realfake.queries import trials as trials_of
from realfake.tracking import track
from realfake.tracking.server import client_of, explained
from tests.simulated import fit, small
from tests.test_tracking import DATASETS, analysis, cell, interval, record, row

REAL_SIZES = tuple(range(10, 210, 10))
VOLUMES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
MIRROR_SECONDS, CURVES_SECONDS, TRIALS_SECONDS = 300.0, 2.0, 5.0


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
    found["fits"] = [{**fit(small(), law="peaked").to_json(), "recipe": "test_resnet"}]

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
        points = [(n, m) for n in range(1000, 50_000, 1000) for m in (500, 5000)]
        at, answers = timed(f"{len(points)} points asked of the fit", lambda: curves(study="bench", uri=uri, at=points))
        assert list(answers["by"]) == ["law"] * len(points), answers
        reading, rows_read = timed("the trials as a table", lambda: trials_of(uri, study="bench"))
        assert len(rows_read) == trials, len(rows_read)
        print(f"{1000 * logging / trials:.0f} ms a trial; the file is {Path(uri[10:]).stat().st_size / 2**20:.1f} MiB")
    slow = max(asking, at) > CURVES_SECONDS or reading > TRIALS_SECONDS
    return int(making + logging > MIRROR_SECONDS or slow)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
