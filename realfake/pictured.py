"""What the synthetic images of a study look like: how many there are, which are copies, and a sheet beside real ones.

How copies are told is in ``fidelity``; the report that shows this is written by ``results``.
"""

from typing import Any

import numpy as np

from realfake import pool_facts, records
from realfake.samples import SHARD_ROWS, load, load_dataset, shard_name
from realfake.spec import (
    ClosedSet,
    Dataset,
    Distances,
    Fidelity,
    Gan,
    Generator,
    OpenSet,
    Pool,
    Relabel,
    Spec,
    Subset,
    Translation,
    Trial,
    address,
    fitted_on,
    order,
    real_of,
    root_generator,
)
from realfake.store import Store
from realfake.studyfile import StudyFile

COPY_IMAGES = 1024  # held-out real images whose distances set the scale of copies
SHEET_COLUMNS = 8


def volumes(wanted: tuple[Spec, ...]) -> dict[Pool | Distances, int]:
    """Return the largest volume of everything sharded that trials, or what is measured beside them, stand on.

    Virtual images that are chosen without distances are drawn one by one, and no shard of them is made.
    """
    largest: dict[Pool | Distances, int] = {}
    held = order(wanted)
    parts = [part for spec in held if isinstance(spec, Trial) for part in spec.synthetic]
    parts += [spec.of for spec in held if isinstance(spec, Fidelity)]
    ranked = [spec for spec in held if isinstance(spec, Translation) and spec.distances]
    for part in (*parts, *(part for spec in ranked for part in (spec.virtual, spec.distances) if part)):
        if isinstance(part.of, Pool | Distances):
            largest[part.of] = max(largest.get(part.of, 0), part.size)
    return largest


def _fitted_pools(trials: tuple[Trial, ...], store: Store) -> list[tuple[Pool, int]]:
    """Return the pools of fitted generators with the number of images that are there to look at."""
    found = []
    for pool, size in volumes(trials).items():
        there = store.file(pool, shard_name(0)).is_file()
        if isinstance(pool, Pool) and there and _looked_at(pool.generator):
            found.append((pool, min(size, SHARD_ROWS)))
    return found


def _looked_at(generator: Generator) -> bool:
    """Say whether a generator's images are its own and it saw real ones, so that some may be copies of those."""
    plain = not isinstance(generator, Relabel) and isinstance(root_generator(generator), ClosedSet | Gan | OpenSet)
    return plain and real_of(generator) is not None


def copy_rates(file: StudyFile, store: Store) -> list[dict[str, Any]]:
    """Measure, for every fitted pool, how many of its images are copies of the real images of its generator."""
    from realfake.fidelity import copy_rate

    arm = {address(part.of): (t, t.n_real) for t in file.study.trials for part in t.synthetic}
    names = records.arms(file.study.trials)
    found = []
    for pool, size in _fitted_pools(file.study.trials, store):
        trial, n_real = arm[address(pool)]
        real = _real(pool)
        fresh = _held_out(store, real).images
        if not len(fresh):  # a generator fitted on all there is leaves nothing to say how near is near
            continue
        made = load(store, Subset(of=pool, size=size)).images
        rate = copy_rate(made, load(store, real).images, fresh)
        found.append({"arm": names[address(trial)], "n_real": n_real, "seed": root_seed(pool), **rate})
    return found


def drawn(file: StudyFile, store: Store) -> list[dict[str, Any]]:
    """Return how the images of every pool were drawn whose shards say so, with its arm and how many are used."""
    names = records.arms(file.study.trials)
    arm = {address(part.of): names[address(t)] for t in file.study.trials for part in t.synthetic}
    pools = [(address(pool), size) for pool, size in volumes(file.study.trials).items() if address(pool) in arm]
    told = [(name, size, pool_facts.of_pool(store, name)) for name, size in pools]
    return [{"arm": arm[name], "pool": name, "images": size, **facts} for name, size, facts in told if facts]


def fidelities(file: StudyFile, store: Store) -> list[dict[str, Any]]:
    """Return the facts of every ``Fidelity`` of a study that is made, with the arm of its pool and whose images it
    was fitted on."""
    names, trials = records.arms(file.study.trials), file.study.trials
    arm = {part.of: names[address(t)] for t in trials for part in t.synthetic}
    found = []
    for spec in file.study.fidelities:
        record = store.record(spec)
        if record and record["result"]["status"] == "ok" and isinstance(spec.of.of, Pool):
            seen = max((real.size for real in fitted_on(spec.of.of.generator)), default=0)
            place = {"arm": arm[spec.of.of], "pool": address(spec.of.of), "n_generator": seen}
            found.append({**place, **{k: v for k, v in record["result"].items() if k not in ("status", "environment")}})
    return found


def root_seed(pool: Pool) -> int:
    """Return the seed of the subset that the generator of a pool was fitted on."""
    return _real(pool).seed


def _real(pool: Pool) -> Subset:
    real = real_of(pool.generator)
    assert real is not None  # of a fitted generator
    return real


def _held_out(store: Store, real: Subset) -> Any:
    assert isinstance(real.of, Dataset)
    whole = load_dataset(store, real.of)
    outside = np.flatnonzero(~np.isin(whole.ids, load(store, real).ids))
    evenly = np.linspace(0, len(outside) - 1, min(COPY_IMAGES, len(outside))).astype(int)  # sources may be sorted
    return whole.take(outside[evenly])


def contact_sheet(file: StudyFile, store: Store) -> bytes | None:
    """Return a PNG of real images beside the synthetic ones of the largest fitted pool; None if there is none."""
    from realfake.fidelity import contact_sheet as sheet
    from realfake.samples import encode

    pools = _fitted_pools(file.study.trials, store)
    if not pools:
        return None
    pool, size = max(pools, key=lambda item: _real(item[0]).size)
    real, synthetic = load(store, _real(pool)), load(store, Subset(of=pool, size=size))
    return encode(sheet(real, synthetic, columns=SHEET_COLUMNS))
