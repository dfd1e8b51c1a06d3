"""Records and shards written by hand, for tests of what a run needs and how it goes: nothing is trained or drawn."""

import numpy as np

from realfake.board import Board
from realfake.needs import needs
from realfake.samples import SHARD_ROWS, shard_name, to_table, write_table
from realfake.shards import distance_table
from realfake.spec import address
from realfake.store import Store

OK = {"status": "ok", "seconds": 1.0}


def make_shard(store, of, first):
    """Write one shard of a pool, of grey images."""
    image = np.full((SHARD_ROWS, 2, 2, 1), first % 251, np.uint8)
    write_table(
        to_table(image, np.zeros(SHARD_ROWS, int), np.arange(first, first + SHARD_ROWS)),
        store.announce(of) / shard_name(first),
    )


def make_record(store, spec, **result):
    """Write the record of something that is made in a lane, without any files."""
    with store.making(spec) as (_, kept):
        kept.update({"status": "ok", **result})


def make_distances(store, of, first, distance=1.0):
    """Write one shard of distances, all of them alike."""
    ids = np.arange(first, first + SHARD_ROWS)
    write_table(distance_table(ids, np.full(SHARD_ROWS, distance)), store.announce(of) / shard_name(first))


def board(tmp_path, trials, **changes):
    """Return the board of a run of these specs, and the list of shards that it sends to be made."""
    store = Store(tmp_path)
    sent = []
    made = Board(store, needs(trials, store), **{"ahead": 100, "add_due": sent.extend, **changes})
    return made, sent


def shard(of, first, **changes):
    """Return how the pipeline tells of a shard."""
    return {"address": address(of), "first": first, "seconds": 0.5, **changes}
