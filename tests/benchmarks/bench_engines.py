"""The engines against bare loops, in one run: images/s through Ray Data, examples/s in a lane, processes, gaps.

    python -m tests.benchmarks.bench_engines

One synthesis actor and one lane are compared with the same loop in this process, one thread each, warm: the first
shard and the first trial of a process do not count, they pay the imports. Then 20 equal trials on two lanes: how many
processes served them, and how long a lane took from the end of one to the start of the next. Prints one JSON document.
"""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from realfake import generators
from realfake.datasets import import_dataset
from realfake.execution import run
from realfake.resources import Synthesis, Training, Where
from realfake.samples import SHARD_ROWS
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial, address
from realfake.store import Store
from realfake.synthesis import Maker
from realfake.training import make

TRAIN, TEST = Dataset(name="mnist5k", pixels=14), Dataset(name="mnist5k", split="test", pixels=14)
REAL = Subset(of=TRAIN, size=100)
SHARDS = 8


def pool(seed: int) -> Pool:
    return Pool(generator=ClosedSet(real=REAL, steps=20), sampling_steps=8, seed=seed)


def trial(seed: int, examples: int = 10_000, synthetic: tuple = ()) -> Trial:
    recipe = Recipe(examples_seen=examples, augment="none")
    return Trial(real=REAL, synthetic=synthetic, test=TEST, recipe=recipe, seed=seed)


def board_of(name: str, trials: list[Trial], where: Where) -> list[dict]:
    board = run(Study(name=name, trials=tuple(trials)), where)
    assert board is not None
    assert not board.failed, board.failed
    return list(board.made)


def synthesis_ratio(where: Where) -> dict:
    """Images/s of one actor in the pipeline ÷ images/s of the loop here, the same PNG encoding and files on both."""
    store, wanted = Store(where.store), (Subset(of=pool(1), size=SHARDS * SHARD_ROWS),)
    shards = [m for m in board_of("synthesis", [trial(1, 64, wanted)], where) if m["kind"] == "shard"]
    through = SHARD_ROWS / statistics.median(m["seconds"] for m in shards[1:])
    maker = Maker(store)
    seconds = []
    for first in range(0, SHARDS * SHARD_ROWS, SHARD_ROWS):
        started = time.monotonic()
        maker.make(pool(2), first)
        seconds.append(time.monotonic() - started)
    loop = SHARD_ROWS / statistics.median(seconds[1:])
    return {"pipeline_images_per_second": through, "loop_images_per_second": loop, "ratio": through / loop}


def lane_ratio(where: Where) -> dict:
    """Examples/s in a lane ÷ examples/s of the same loop here, with one lane, so that nothing contends."""
    alone = Where(store=where.store, training=Training(lanes=1), synthesis=Synthesis())
    store = Store(where.store)
    made = board_of("one-lane", [trial(100 + s) for s in range(4)], alone)
    lane = [store.show(m["address"])["result"]["examples_per_second"] for m in made[1:]]
    here = [make(trial(200 + s), store, lambda event: None)["examples_per_second"] for s in range(4)][1:]
    found = {"lane": statistics.median(lane), "loop": statistics.median(here)}
    return {f"{k}_examples_per_second": v for k, v in found.items()} | {"ratio": found["lane"] / found["loop"]}


def twenty_trials(where: Where) -> dict:
    """Processes and gaps over 20 equal trials on two lanes."""
    made = board_of("twenty", [trial(300 + s, 4_000) for s in range(20)], where)
    lanes = defaultdict(list)
    for m in made:
        lanes[m["process"]].append((m["started"], m["started"] + m["seconds"]))
    gaps = [b[0] - a[1] for spans in lanes.values() for a, b in zip(sorted(spans), sorted(spans)[1:], strict=False)]
    return {"processes": len(lanes), "median_gap_seconds": statistics.median(gaps), "largest_gap_seconds": max(gaps)}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        where = Where(store=str(Path(folder) / "store"))
        store = Store(where.store)
        for dataset in (TRAIN, TEST):
            import_dataset(dataset, store)
        make(pool(0).generator, store, lambda event: None)
        generators.device("cpu", 1)
        found = {"synthesis": synthesis_ratio(where), "lane": lane_ratio(where), "twenty": twenty_trials(where)}
        found["generator"] = address(pool(0).generator)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
