"""What Ray adds to a trial and to a shard: a part of ``bench_scale`` through Tune's lanes and Ray Data's actors.

    python -m tests.benchmarks.bench_scale_ray [trials] [pools] [samples a pool] [lanes]

By default 1,000 trials over 10 pools of 10,000 samples (400 shards), 2 lanes and 1 actor: ``execution.run`` itself, on
a Ray of its own, with toys that compute nothing and wait for nothing. Prints one JSON document: milliseconds of wall a
trial over the first and the last quarter of the trials (equal, if nothing grows with their number), the driver's CPU a
trial, the median gap of a lane between two trials, and of an actor between two shards, peak memory.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from realfake import execution, studyfile
from realfake.resources import Cluster, Synthesis, Training, Where
from tests.benchmarks import toys
from tests.benchmarks.bench_scale import STUDY


def gaps(events):
    """Return the median of milliseconds between the end of one thing and the start of the next of its process."""
    own = defaultdict(list)
    for event in events:
        own[event["process"]].append((event["started"], event["started"] + event["seconds"]))
    found = [b[0] - a[1] for spans in own.values() for a, b in pairwise(sorted(spans))]
    return {"processes": len(own), "median_gap": 1000 * statistics.median(found), "most": 1000 * max(found)}


def quarters(events):
    """Return milliseconds a trial over the first and over the last quarter, by the clock of the driver."""
    at = sorted(event["heard"] for event in events)
    part = max(len(at) // 4, 2)
    return [1000 * (some[-1] - some[0]) / (len(some) - 1) for some in (at[:part], at[-part:])]


def main(trials=1000, pools=10, samples=10_000, lanes=2):
    """Measure and print."""
    heard = []
    with tempfile.TemporaryDirectory() as folder, toys.instead():
        text = STUDY.replace("POOLS", str(pools)).replace("EACH", str(trials // pools)).replace("SAMPLES", str(samples))
        (Path(folder) / "large.py").write_text(f'"""How many?"""\n{text}')
        where = Where(
            store=str(Path(folder) / "store"),
            cluster=Cluster(cpus=lanes + 1),
            training=Training(lanes=lanes, cpus_per_lane=0.9, device="cpu"),
            synthesis=Synthesis(actors=1, cpus_per_actor=0.9),
        )
        study, cpu, wall = studyfile.read(Path(folder) / "large.py").study, time.process_time(), time.time()
        board = execution.run(study, where, lambda event: heard.append({**event, "heard": time.time()}))
        cpu, wall = time.process_time() - cpu, time.time() - wall
    assert board is not None
    assert not board.failed, next(iter(board.failed.items()))
    trained = [event for event in heard if event["kind"] == "trial"]
    drawn = [event for event in heard if event["kind"] == "images"]
    first, last = quarters(trained)
    found = {
        "trials": len(trained),
        "shards": len(drawn),
        "seconds_in_all": wall,
        "seconds_to_the_first_thing": min(event["started"] for event in heard if "started" in event)
        - (heard[0]["heard"]),
        "milliseconds_a_trial": {"first_quarter": first, "last_quarter": last, "driver_cpu": 1000 * cpu / len(trained)},
        "milliseconds_inside_a_trial": 1000 * statistics.median(event["seconds"] for event in trained),
        "milliseconds_between_trials_of_a_lane": gaps(trained),
        "milliseconds_between_shards": gaps(drawn),
        "driver_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
