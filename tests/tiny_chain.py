"""Rendered scenes of people in a store, and what makes all of a study that is in it: without Ray, in this process."""

from functools import partial

import numpy as np

from realfake import samples
from realfake.board import Board
from realfake.generators.procedural import render
from realfake.generators.rendered import of_scenes
from realfake.needs import needs
from realfake.spec import Dataset, DetectionRecipe, Pool, Procedural, Subset
from realfake.sweep import outcome_of
from realfake.synthesis import Maker
from realfake.training import make
from tests import tiny

PIXELS = 64
TRAIN, TEST = (Dataset(name="aerial-urban", split=split, pixels=PIXELS, zoom=2.0) for split in ("train", "test"))
PARK, PARK_TRAIN = (Dataset(name="aerial-park", split=split, pixels=PIXELS, zoom=2.0) for split in ("test", "train"))
RECIPE = DetectionRecipe(width=8, learning_rate=5e-3, examples_seen=1_200)
POOL = Pool(generator=Procedural(pixels=PIXELS, zoom=2.0, gap=1.0))
VIRTUAL = Subset(of=POOL, size=300)


def import_scenes(store, dataset, n):
    """Put the first scenes of a rendered data set into a store, as an import would."""
    seed = {"train": 1, "test": 2}[dataset.split]
    domain = dataset.name.removeprefix("aerial-")
    drawn = of_scenes([render(domain, i, seed, pixels=dataset.pixels, zoom=dataset.zoom) for i in range(n)])
    with store.making(dataset) as (folder, result):
        table = samples.to_table(drawn.images, np.zeros(n, int), np.arange(n), drawn.objects, drawn.masks)
        samples.write_table(table, folder / "0.parquet")
        result |= {"classes": ["person"], "n": n}


def make_all(specs, store):
    """Make all that these specs need, one after another as it becomes ready; return the board and what was made."""
    board = Board(store, needs(specs, store), ahead=1)
    due, made = [], []
    board.add_due = due.extend
    maker, kept = Maker(store, "cpu"), board.needs.specs
    board.feed()
    while due or (name := board.next()):
        if due:
            shard = maker.try_to_make(*due.pop(0))
            made.append((shard["address"], shard["first"]))
            board.shard_made(shard)
        else:
            made.append(name)
            work = partial(board.progress, name)
            board.finished(name, outcome_of(make, kept[name], store, work, tiny.CPU, {}))
    return board, made
