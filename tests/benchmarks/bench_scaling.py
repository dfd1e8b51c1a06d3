"""How near twice as fast two workers are as one, at real work that fills a core: synthesis, and trials.

    python -m tests.benchmarks.bench_scaling [shards a worker] [trials a worker] [examples a trial]

Needs two quiet cores: every process has one thread. Synthesis is closed-set (unet-xs, 14 px) through Ray Data with 1
and 2 actors, trials go through the lanes of Tune, 1 and 2; each of the four is a run on a Ray of its own, and
a worker is given as much to do in each. Efficiency is rate(2) / (2 rate(1)) in the steady state: from when every worker
has made its first thing (imports and loading are over) to when the first of them has made its last. Beside it the same
with all of that, from the call to the last thing. Prints one JSON document; exit code 1 below 0.95 in the steady state.
"""

import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from realfake.datasets import import_dataset
from realfake.execution import run
from realfake.resources import Cluster, Synthesis, Training, Where
from realfake.samples import SHARD_ROWS
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial
from realfake.store import Store
from realfake.training import make

TRAIN, TEST = Dataset(name="mnist5k", pixels=14), Dataset(name="mnist5k", split="test", pixels=14)
REAL = Subset(of=TRAIN, size=100)
GENERATOR = ClosedSet(real=REAL, network="unet-xs", steps=20)
ENOUGH = 0.95


def steady_rate(events):
    """Return things a second while all workers were at work: what was begun before or ended after counts in part."""
    spans = defaultdict(list)
    for event in events:
        spans[event["process"]].append((event["started"], event["started"] + event["seconds"]))
    begin = max(min(end for _, end in own) for own in spans.values())
    end = min(max(end for _, end in own) for own in spans.values())
    if end <= begin:
        raise SystemExit("no worker had made its second thing when another had made its last: give more of each")
    inside = [max(0.0, min(b, end) - max(a, begin)) / (b - a) for own in spans.values() for a, b in own]
    return sum(inside) / (end - begin)


def of_run(name, trials, kind, store, workers, where):
    """Run; return both rates of the things of one kind, and how many processes made them."""
    heard, called = [], time.time()
    board = run(Study(name=name, trials=tuple(trials)), where, heard.append)
    assert board is not None
    assert not board.failed, board.failed
    own = [event for event in heard if event["kind"] == kind]
    there = len({event["process"] for event in own})
    if there != workers:  # fewer: one had nothing left to do when it had started
        raise SystemExit(f"{name}: {there} processes did the work of {workers}; give more of each")
    in_all = len(own) / (max(event["started"] + event["seconds"] for event in own) - called)
    return {"steady": steady_rate(own), "in_all": in_all, "things": len(own)}


def synthesis(store, actors, shards):
    """Rates of shards with so many actors; the one trial that uses them is trained when they are there."""
    pool = Pool(generator=GENERATOR, sampling_steps=8, seed=actors)
    part = Subset(of=pool, size=actors * shards * SHARD_ROWS)
    last = Trial(real=REAL, synthetic=(part,), test=TEST, recipe=Recipe(examples_seen=64), seed=actors)
    where = Where(
        store=str(store.root),
        cluster=Cluster(cpus=actors + 1),
        training=Training(lanes=1, cpus_per_lane=0.5, device="cpu"),
        synthesis=Synthesis(actors=actors, cpus_per_actor=1.0),
    )
    return of_run(f"synthesis-{actors}", [last], "images", store, actors, where)


def trials(store, lanes, count, examples):
    """Rates of trials on so many lanes."""
    recipe = Recipe(examples_seen=examples, augment="none")
    own = [Trial(real=REAL, test=TEST, recipe=recipe, seed=1000 * lanes + k) for k in range(lanes * count)]
    where = Where(
        store=str(store.root),
        cluster=Cluster(cpus=lanes),  # no room for the one that Tune stages beside the lanes
        training=Training(lanes=lanes, cpus_per_lane=0.8, device="cpu"),
        synthesis=Synthesis(actors=1, cpus_per_actor=0.1),
    )
    return of_run(f"trials-{lanes}", own, "trial", store, lanes, where)


def scaled(one, two):
    """Return the efficiency of two workers by both rates, and the rates."""
    rates = {"one": one, "two": two}
    return {name: two[name] / (2 * one[name]) for name in ("steady", "in_all")} | {"things_a_second": rates}


def main(shards=20, count=6, examples=20_000):
    """Measure and print."""
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        for dataset in (TRAIN, TEST):
            import_dataset(dataset, store)
        make(GENERATOR, store, lambda event: None)
        found = {
            "synthesis": scaled(synthesis(store, 1, shards), synthesis(store, 2, shards)),
            "trials": scaled(trials(store, 1, count, examples), trials(store, 2, count, examples)),
        }
    print(json.dumps({**found, "seconds": time.time() - started}, indent=1))
    return int(min(part["steady"] for part in found.values()) < ENOUGH)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
