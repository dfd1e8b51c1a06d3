"""The quickstart from nothing, and the same study the scripts' way, on the same cores: wall time and memory.

    python -m tests.benchmarks.bench_quickstart [STUDY] [--scripts]

The scripts' way is ``plain_script.py``: a process for every generator and every trial, as many at once as there are
cores, each trial sampling its own synthetic images with a plain diffusers loop. Prints one JSON document.
"""

import argparse
import concurrent.futures
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from realfake import records, results, studyfile
from realfake.resources import cores
from realfake.samples import shard_made
from realfake.spec import ClosedSet, Trial, order
from realfake.store import Store

SCRIPT = Path(__file__).with_name("plain_script.py")


class Peak(threading.Thread):
    """Samples the proportional set size of a process tree, and the processes by name."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root, self.bytes, self.lanes = psutil.Process(pid), 0, set()

    def run(self) -> None:
        while self.root.is_running():
            try:
                tree = [self.root, *self.root.children(recursive=True)]
                self.bytes = max(self.bytes, sum(p.memory_full_info().pss for p in tree))
                self.lanes |= {p.pid for p in tree if "ImplicitFunc" in " ".join(p.cmdline())}
            except psutil.Error:
                pass
            time.sleep(0.5)


def ours(study: str, folder: Path) -> dict:
    """Run the study in a new folder; return wall seconds, arithmetic by stage, memory and processes."""
    started = time.monotonic()
    with open(folder / "log.txt", "wb") as log:
        command = [sys.executable, "-m", "realfake", "run", study, "--store", str(folder / "store")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        peak = Peak(process.pid)
        peak.start()
        assert process.wait() == 0, (folder / "log.txt").read_text()[-3000:]
    wall = time.monotonic() - started
    again = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    arithmetic = arithmetic_seconds(study, Store(folder / "store"))
    return {
        "wall_seconds": wall,
        "arithmetic_core_seconds": arithmetic,
        "not_arithmetic_seconds": wall - sum(arithmetic.values()) / cores(),
        "second_run_seconds": time.monotonic() - again,
        "peak_pss_gib": peak.bytes / 2**30,
        "lane_processes": len(peak.lanes),
    }


def arithmetic_seconds(study: str, store: Store) -> dict[str, float]:
    """Return the seconds inside model loops, by stage, over all processes."""
    trials = studyfile.read(study).study.trials
    made = [(spec, store.record(spec)["result"]) for spec in order(trials) if isinstance(spec, ClosedSet | Trial)]
    shards = [path for pool in results.volumes(trials) for path in store.folder(pool).glob("*.parquet")]
    return {
        "generators": sum(result["seconds"] for spec, result in made if isinstance(spec, ClosedSet)),
        "shards": sum(shard_made(path)["seconds"] for path in shards),
        "trials": sum(result["train_seconds"] for spec, result in made if isinstance(spec, Trial)),
    }


def scripts(study: str, store: Store, folder: Path) -> dict:
    """Do the same with a process per generator and per trial, ``cores()`` at once; return wall seconds and errors."""
    trials = studyfile.read(study).study.trials
    fits, cells = {}, []
    for trial in trials:
        pools = records.pools_of(trial)
        generator = pools[0].generator if pools else None
        sizes = records.sizes(trial)
        cell = {**sizes, "model": trial.recipe.model, "examples_seen": trial.recipe.examples_seen}
        cell |= {"augment": trial.recipe.augment, "batch": trial.recipe.batch_size, "rate": trial.recipe.learning_rate}
        if isinstance(generator, ClosedSet):
            name = str(folder / f"generator-{sizes['n_generator']}-{generator.seed}.pt")
            fit = {"network": generator.network, "steps": generator.steps, "batch": generator.batch_size}
            fits[name] = {**sizes, **fit, "rate": generator.learning_rate, "save": name}
            cell |= {"generator": name, "network": generator.network, "sampling_steps": pools[0].sampling_steps}
        cells.append(cell)
    data = {"train": str(store.folder(trials[0].real.of)), "test": str(store.folder(trials[0].test))}
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda job: run_script("fit", {**data, **job}), fits.values()))
        errors = list(pool.map(lambda job: run_script("trial", {**data, **job}), cells))
    return {"wall_seconds": time.monotonic() - started, "processes": len(fits) + len(cells), "errors": errors}


def run_script(what: str, job: dict) -> float:
    """Run the plain script in a process of its own; return the error that it printed."""
    done = subprocess.run([sys.executable, str(SCRIPT), what, json.dumps(job)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", nargs="?", default="studies/quickstart.py")
    parser.add_argument("--scripts", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"ours": ours(asked.study, Path(folder))}
        if asked.scripts:
            found["scripts"] = scripts(asked.study, Store(Path(folder) / "store"), Path(folder))
            found["ratio"] = found["ours"]["wall_seconds"] / found["scripts"]["wall_seconds"]
            found["scripts"].pop("errors")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
