"""What a run of 10,000 trials and 10 million samples' worth of shards costs beside the work itself.

    python -m tests.benchmarks.bench_scale [trials] [pools] [samples a pool] [mirrored]

By default 10,000 trials over 100 pools of 100,000 samples (39,100 shards), of which each trial uses another prefix. The
generator, the trainer and the drawing of images are toys that compute nothing and wait for nothing: a record with
numbers from a formula, a shard file of one image. All else is real: the study and its checks, what is needed, the
board, ``execution.make_here``, records and shards in a store on disk, tables, MLflow in a sqlite file. Seconds are CPU
seconds of this process, so that a busy machine changes little; ``wall`` is beside them. Orchestration is what is left
of the run after the toys, which write the files. Through Ray: ``bench_scale_ray``. Prints one JSON document.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from realfake import execution, queries, records, results, studyfile, tracking
from realfake.board import Board
from realfake.needs import needs
from realfake.resources import Cluster, Where
from realfake.samples import shards_of
from realfake.store import Store
from tests.benchmarks import toys

STUDY = """
from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

train, test, recipe = Dataset(name="toy"), Dataset(name="toy", split="test"), Recipe(examples_seen=100)
sizes = (50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600)


def trials():
    for p in range(POOLS):
        real = Subset(of=train, size=sizes[p % 10], seed=p // 10)
        pool = Pool(generator=ClosedSet(real=real, seed=p // 10), seed=p // 10)
        for k in range(EACH):
            synthetic = (Subset(of=pool, size=SAMPLES * k // (EACH - 1)),) if k else ()
            yield Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=p // 10)


study = Study(name="large", trials=tuple(trials()))
"""


def measured(found, name, function, *given, **more):
    """Call; note the CPU seconds and the wall, and the memory that the process has reached."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = function(*given, **more)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    found[name] = {"seconds": round(cpu, 2), "wall": round(wall, 2), "peak_mib": round(peak)}
    print(name, found[name], file=sys.stderr, flush=True)
    return answer


def run(found, file, where):
    """Run the study by the plain path; return the board."""
    store = Store(where.store)
    measured(found, "check", execution.check, file.study, store)
    lacking = measured(found, "needs of nothing made", needs, file.study.wanted, store)
    board = measured(found, "board", Board, store, lacking, 1)
    measured(found, "run", execution.make_here, board, where)
    assert not board.failed, next(iter(board.failed.items()))
    return board


def ask(found, file, where):
    """Ask what a complete study is asked for."""
    store = Store(where.store)
    for name in ("needs, every shard verified for the first time", "needs again"):
        assert measured(found, name, needs, file.study.wanted, store).nothing
    measured(found, "state (status)", results.state, (file.study,), store)
    measured(found, "needs without verifying (status)", needs, file.study.wanted, store, verify=False)
    rows = measured(found, "records.table", records.table, file.study.trials, store)
    measured(found, "digest of the table", results.digest, rows, file.study)
    return rows


def mirror(found, rows, file, where, count):
    """Mirror so many trials into a new sqlite file, and ask for curves and trials."""
    from tests.test_tracking import analysis, cell

    store, uri = Store(where.store), where.tracking_uri()
    made = [record for trial in file.study.trials[:count] if (record := store.record(trial))]
    told = analysis(cells=[cell(m, n_real=n) for n in range(10, 210, 10) for m in (50, 200, 800)])
    given = ("large", "How many?", made, pd.DataFrame(rows[:count]), told)
    with tracking.server.explained(uri, "large"):
        measured(found, "a new sqlite file", tracking.server.client_of, uri, create=True)
    said = {"uri": uri, "datasets": results.tracked_datasets(file, store)}
    assert measured(found, f"{count} trials mirrored", tracking.track, *given, **said)["trials_new"] == count
    assert measured(found, "mirrored again", tracking.track, *given, **said)["trials_new"] == 0
    assert len(measured(found, "curves", queries.curves, study="large", uri=uri)) > 60
    assert len(measured(found, "trials of MLflow", queries.trials, uri, study="large")) == count


def main(trials=10_000, pools=100, samples=100_000, mirrored=1000):
    """Measure and print."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, toys.instead():
        where = Where(store=str(Path(folder) / "store"), cluster=Cluster(address="none"))
        text = STUDY.replace("POOLS", str(pools)).replace("EACH", str(trials // pools)).replace("SAMPLES", str(samples))
        (Path(folder) / "large.py").write_text(f'"""How many?"""\n{text}')
        file = measured(found, "study read", studyfile.read, Path(folder) / "large.py")
        toys.import_datasets(file.study, Store(where.store))
        board = run(found, file, where)
        made, shards = board.tally["trials"], pools * len(shards_of(samples))
        rows = ask(found, file, where)
        if mirrored:
            mirror(found, rows, file, where, mirrored)
    beside = found["run"]["seconds"] - sum(toys.SPENT.values())
    once = sum(found[name]["seconds"] for name in ("study read", "check", "needs of nothing made", "board"))
    found["milliseconds a trial"] = {
        "before the run": round(1000 * once / made, 3),
        "board and plain path": round(1000 * beside / made, 3),
        "of that a shard, at most": round(1000 * beside / shards, 3),
        "the record itself": round(1000 * toys.SPENT["records"] / (made + pools), 3),
        "a shard's file itself": round(1000 * toys.SPENT["shards"] / shards, 3),
    }
    print(json.dumps({"trials": made, "shards": shards, "pools": pools, **found}, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
