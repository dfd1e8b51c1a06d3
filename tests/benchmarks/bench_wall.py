"""The model of wall time (``forecast``) against runs with 1, 2 and 4 lanes and 1, 2 and 4 actors.

    python -m tests.benchmarks.bench_wall [trials a pool] [most workers]

The work sleeps: a generator takes 1 s, a shard 0.5 s, a trial 0.5 s, during which the core is free as it is while a GPU
computes; so 4 workers may be measured on 2 cores. Everything else is real: Ray, Tune, Ray Data, records, files. 8 pools
of 5 shards; 3 trials on each and as many on real images alone. What the model takes is measured with one worker of each
sort: the median seconds of each kind of thing, and how long a lane, or an actor, idles between two. Both clocks begin
when the first thing does: Ray's own start is given apart. Two lanes beside one actor wait for its images, which is the
case that says whether the model is more than a division. Prints one JSON document: foretold and measured seconds.
"""

import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from realfake import execution
from realfake.forecast import Play
from realfake.needs import needs
from realfake.resources import Cluster, Synthesis, Training, Where
from realfake.spec import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial
from realfake.store import Store
from tests.benchmarks import toys

TRAIN, TEST, RECIPE = Dataset(name="toy"), Dataset(name="toy", split="test"), Recipe(examples_seen=500)
POOLS, SAMPLES = 8, 1280
WORKERS = ((1, 1), (2, 1), (2, 2), (4, 4))  # lanes and actors


def study(each):
    """Return so many trials on each pool, at volumes one after another, and as many on real images alone."""
    trials = []
    for seed in range(POOLS):
        real = Subset(of=TRAIN, size=50, seed=seed)
        pool = Pool(generator=ClosedSet(real=real, steps=1000, seed=seed), sampling_steps=500)
        volumes = [SAMPLES * (k + 1) // each for k in range(each)]
        parts = [(), *((Subset(of=pool, size=volume),) for volume in volumes)]
        beside = {"real": real, "test": TEST, "recipe": RECIPE}
        trials += [Trial(synthetic=part, seed=seed, **beside) for part in parts]
        trials += [Trial(seed=100 + seed * each + k, **beside) for k in range(1, each)]
    return Study(name="wall", trials=tuple(trials))


def measured(each, lanes, actors):
    """Return the events of a run, and when it was called."""
    heard = []
    with tempfile.TemporaryDirectory() as folder, toys.instead(sleeping=True):
        where = Where(
            store=str(Path(folder) / "store"),
            cluster=Cluster(cpus=lanes + actors),  # no room for the one that Tune stages beside the lanes
            training=Training(lanes=lanes, cpus_per_lane=0.9, device="cpu"),
            synthesis=Synthesis(actors=actors, cpus_per_actor=0.9),
        )
        called = time.time()
        board = execution.run(study(each), where, heard.append)
    assert board is not None
    assert not board.failed, board.failed
    made = [event for event in heard if "process" in event]
    assert len({event["process"] for event in made if event["kind"] != "images"}) == lanes
    return made, called


def span(events):
    """Return the seconds from the beginning of the first thing to the end of the last."""
    return max(e["started"] + e["seconds"] for e in events) - min(e["started"] for e in events)


def foretold(each, lanes, actors, seconds):
    """Return the seconds that the model gives, of things that take so long by kind."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        lacking = needs(study(each).trials, store)
        things = {"fit": lacking.fits, "trial": lacking.trials, "images": lacking.pools}
        each_thing = {name: seconds[kind] for kind, specs in things.items() for name in specs}
        return max(done.ended for done in Play(lacking, store, each_thing).done(lanes, actors))


def with_gaps(events):
    """Return the median seconds by kind, with those that a lane, or an actor, idles between two that are ready."""
    found = {}
    for kind in ("fit", "images", "trial"):
        own = [event for event in events if event["kind"] == kind]
        found[kind] = statistics.median(event["seconds"] for event in own) + _gap(
            [event for event in events if (event["kind"] == "images") == (kind == "images")]
        )
    return found


def _gap(events):
    spans = sorted((event["started"], event["started"] + event["seconds"]) for event in events)
    return statistics.median(later[0] - before[1] for before, later in pairwise(spans))


def main(each=3, most=4):
    """Measure and print."""
    rows, seconds = [], {}
    for workers in (pair for pair in WORKERS if max(pair) <= most):
        events, called = measured(each, *workers)
        seconds = seconds or with_gaps(events)
        wall, model = span(events), foretold(each, *workers, seconds)
        start = min(event["started"] for event in events) - called
        rows.append({"lanes, actors": workers, "measured": wall, "foretold": model, "start": start})
        rows[-1]["measured / foretold"] = wall / model
        print(rows[-1], file=sys.stderr, flush=True)
    things = len(study(each).trials) + POOLS
    print(json.dumps({"things_in_lanes": things, "seconds_with_gap": seconds, "runs": rows}, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
