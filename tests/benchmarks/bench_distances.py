"""Distances over a pool of rendered people: images/s through Ray Data against the same loop here, one thread each.

    python -m tests.benchmarks.bench_distances [--images 17280]

A detector is trained on 40 scenes; then the distance of every image of the pool to what it found there is measured by
one actor of the pipeline, and again by a plain loop over the same shards (for a second pass of equal work, with people
cut out at no scale). The first shard of a process does not count: it pays the imports. Prints one JSON document.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from realfake.datasets import import_dataset
from realfake.execution import run
from realfake.resources import Where
from realfake.samples import SHARD_ROWS, load_distances, shards_of
from realfake.spec import Dataset, DetectionRecipe, Distances, Pool, Procedural, Study, Subset, Translation, Trial
from realfake.store import Store
from realfake.synthesis import Maker
from realfake.training import make

SIZE = {"pixels": 96, "zoom": 3.0}
TRAIN, TEST = Dataset(name="aerial-urban", **SIZE), Dataset(name="aerial-urban", split="test", **SIZE)
RECIPE = DetectionRecipe(width=24, learning_rate=5e-3, examples_seen=3_600)
REAL = Subset(of=TRAIN, size=40)
POOL = Pool(generator=Procedural(gap=1.0, **SIZE))


def critic(seed: int) -> Trial:
    return Trial(real=REAL, test=TEST, recipe=RECIPE, seed=seed)


def ranked(seed: int, images: int) -> Subset:
    return Subset(of=Distances(of=POOL, critic=critic(seed)), size=images)


def through_ray(where: Where, images: int) -> tuple[float, float]:
    """Images/s of the actor, and the seconds of the whole run, its start included."""
    choice = Translation(real=REAL, virtual=Subset(of=POOL, size=images), distances=ranked(0, images))
    trial = Trial(real=REAL, synthetic=(Subset(of=Pool(generator=choice), size=10),), test=TEST, recipe=RECIPE)
    started = time.monotonic()
    board = run(Study(name="distances", trials=(trial,)), where)
    assert board is not None
    assert not board.failed, board.failed
    seconds = [m["seconds"] for m in board.made if m["kind"] == "shard" and m["address"].startswith("distances-")]
    return SHARD_ROWS / statistics.median(seconds[1:]), time.monotonic() - started


def here(store: Store, images: int) -> float:
    """Images/s of the same loop in this process."""
    maker, seconds = Maker(store), []
    for first in shards_of(images):
        started = time.monotonic()
        maker.make(ranked(1, images).of, first)
        seconds.append(time.monotonic() - started)
    return SHARD_ROWS / statistics.median(seconds[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=17_280)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        where = Where(store=str(Path(folder) / "store"))
        store = Store(where.store)
        for dataset in (TRAIN, TEST):
            import_dataset(dataset, store)
        for seed in (0, 1):
            make(critic(seed), store, lambda event: None)
        maker, started = Maker(store), time.monotonic()
        for first in shards_of(images):
            maker.make(POOL, first)
        rendered = time.monotonic() - started
        pipeline, run_seconds = through_ray(where, images)
        loop = here(store, images)
        assert len(load_distances(store, ranked(0, images))[1]) == images
        found = {"images": images, "rendered_images_per_second": images / rendered, "run_seconds": run_seconds}
        found |= {"pipeline_images_per_second": pipeline, "loop_images_per_second": loop, "ratio": pipeline / loop}
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
