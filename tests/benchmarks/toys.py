"""Toys in the place of generators and trainers, for measuring what is beside the work: no torch, no arithmetic.

A trial's record holds numbers from a formula, a shard's file holds one image; stores, records, files and boards are the
real ones. ``sleeping`` toys take the seconds that a spec names and leave the core free, as work on a GPU does:
thousandths of a second, ``steps`` of a generator, ``sampling_steps`` a shard of a pool, ``examples_seen`` of a trial.
"""

import contextlib
import os
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import numpy as np

from realfake import execution, sweep, synthesis, training
from realfake.samples import to_table
from realfake.spec import ClosedSet, Dataset, address, order, real_budget

FACTS = {"classes": [str(c) for c in range(10)], "n": 60_000, "pixels": 2, "channels": 1, "licence": "none"}
IMAGE = to_table(np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, int), np.zeros(1, int))
SLEEPING = "REALFAKE_TOYS_SLEEP"  # in the environment of a run's processes
SPENT: Counter = Counter()  # CPU seconds of this process in what stands for the work
HERE = Path(__file__).parents[2]

_lane = sweep.lane


class ToyMaker(synthesis.Maker):
    """Makes shards of one image: all that the real one does but loading a generator and drawing."""

    def __init__(self, store, **_):
        self.store, self.environment, self._drawn = store, {"device": "none"}, {}

    def _load(self, pool):
        pass

    def _table(self, pool, first):
        _sleep(pool.sampling_steps)
        return IMAGE

    def try_to_make(self, pool, first):
        return _timed("shards", super().try_to_make, pool, first)


def make(spec, store, *_):
    """Make the record of a generator or of a trial."""
    return _timed("records", _record, spec, store)


def lane(config, held, root, given):
    """Stand for ``sweep.lane`` in a process of Ray: the real one, with the toy trainer."""
    training.train = make
    _lane(config, held, root, given)


@contextlib.contextmanager
def instead(sleeping=False):
    """Let toys make everything, here and in the processes of a Ray that is started inside."""
    found = {name: os.environ.get(name, "") for name in ("PYTHONPATH", SLEEPING)}
    path = os.pathsep.join(filter(None, (str(HERE), found["PYTHONPATH"])))
    with (
        patch.dict(os.environ, {"PYTHONPATH": path, SLEEPING: "yes" if sleeping else ""}),
        patch.object(synthesis, "Maker", ToyMaker),
        patch.object(training, "make", make),
        patch.object(sweep, "lane", lane),
        patch.object(execution, "import_datasets", import_datasets),
    ):
        yield


def import_datasets(study, store, *_):
    """Write the records of data sets that have no images."""
    for spec in order([study]):
        if isinstance(spec, Dataset) and not store.record(spec):
            with store.making(spec) as (_, result):
                result |= FACTS


def _record(spec, store):
    with store.making(spec) as (_, result):
        _sleep(spec.steps if isinstance(spec, ClosedSet) else spec.recipe.examples_seen)
        result |= {"status": "ok"} if isinstance(spec, ClosedSet) else _measured(spec)
    return result


def _measured(trial):
    error = 0.4 / (1 + 0.01 * (trial.n_real + trial.n_synthetic / 4))
    budget = max(real.size for real in real_budget(trial))
    return {
        **{"status": "ok", "error": error, "cross_entropy": 3 * error, "n_test": 1000, "real_budget": budget},
        "pools": [{"pool": address(part.of), "images": part.size} for part in trial.synthetic],
        "environment": {"device": "none"},
    }


def _sleep(milliseconds):
    if os.environ.get(SLEEPING):
        time.sleep(milliseconds / 1000)


def _timed(what, function, *given):
    started = time.process_time()
    try:
        return function(*given)
    finally:
        SPENT[what] += time.process_time() - started
