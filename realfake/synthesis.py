"""Which shards of a pool are missing, how one is made, and the Ray Data pipeline that makes them across a cluster.

A shard is a pure function of its pool's spec and its first index, so it may be made anywhere, twice, or again after
a fault: the file is the same. What a generator is belongs to ``generators``; when a pool is due, to ``execution``.
"""

import json
import os
import pickle
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from realfake import generators, logs, pool_facts
from realfake.objects import Objects
from realfake.samples import RENDERED, class_counts, from_tables, image_seeds, pool_labels
from realfake.shards import (
    SHARD_ROWS,
    CorruptShard,
    distance_table,
    read_table,
    shard_digest,
    shard_name,
    shards_of,
    to_table,
    write_table,
)
from realfake.spec import Distances, Pool, address
from realfake.store import Store, explain, write_whole

Made = dict[str, Any]  # address, first, rows, digest, seconds, started, process, node; or error instead

# ---------------------------------------------------------------------------------------------------- what is missing


def missing(store: Store, pool: Pool | Distances, size: int, verify: bool = False) -> list[int]:
    """Return the first indices of the shards that a prefix of ``size`` samples lacks: one listing.

    With ``verify``, files that changed since they were last read are read whole; corrupt ones are removed, so that
    they are missing too.
    """
    there = store.files(pool)
    if verify:
        there -= remove_corrupt(store, pool, there & {shard_name(first) for first in shards_of(size)})
    return [first for first in shards_of(size) if shard_name(first) not in there]


def remove_corrupt(store: Store, pool: Pool | Distances, names: set[str]) -> set[str]:
    """Read the shards whose size or time is not the one last verified, remove the corrupt ones, return their names.

    Of an object store only copies on this machine are read; the objects are, as they are fetched.
    """
    folder = store.root / address(pool)
    copies = bool(store.mirror)
    names = {name for name in names if not copies or (folder / name).is_file()}
    ledger = folder / "verified.json"
    known = json.loads(ledger.read_text()) if ledger.is_file() else {}
    stamps = {name: [(s := (folder / name).stat()).st_size, s.st_mtime_ns] for name in names}
    corrupt = {name for name in sorted(names) if stamps[name] != known.get(name) and not _sound(folder / name)}
    verified = {**known, **{name: stamp for name, stamp in stamps.items() if name not in corrupt}}
    if verified != known:
        write_whole(ledger, json.dumps(verified))
    return set() if copies else corrupt


def _sound(path: Path) -> bool:
    try:
        read_table(path)
    except CorruptShard:
        path.unlink(missing_ok=True)
        return False
    return True


# --------------------------------------------------------------------------------------------------- how one is made


class Maker:
    """Makes shards, and keeps the generator of the last pool loaded. Plain Python: works without Ray."""

    def __init__(
        self,
        store: Store,
        device: str = "auto",
        batch_size: int = 64,
        threads: int = 1,
        weights: Mapping[str, Path] | None = None,
        **faster: bool,
    ) -> None:
        self.store, self.batch_size, self.weights, self.faster = store, batch_size, weights or {}, faster
        self.device = generators.device(device, threads)
        self.environment = {"device": generators.device_name(self.device), "threads": threads, "batch_size": batch_size}
        self.environment |= {name: True for name, on in faster.items() if on}  # they round otherwise
        self._pool = ""
        self._loaded: Any = None
        self._counts = np.zeros(0)
        self._drawn: dict[str, Any] = {}

    def make(self, pool: Pool | Distances, first: int) -> Made:
        """Make one shard, unless it is there, and return what it is. The file appears whole, by a rename."""
        started, began = time.monotonic(), time.time()
        self.store.announce(pool)
        path = self.store.file(pool, shard_name(first))
        if not path.is_file():
            self._load(pool)
            table = self._table(pool, first)
            try:
                made = {**self.environment, "seconds": time.monotonic() - started, pool_facts.DRAWN: self._drawn}
                write_table(table, path, made)
            except OSError as error:
                raise explain(error, self.store.root) from error
            self.store.keep(pool, path.name)
        made = {"address": address(pool), "first": first, "rows": SHARD_ROWS, "digest": shard_digest(path)}
        by = {"process": os.getpid(), "node": platform.node()}
        return {**made, "seconds": time.monotonic() - started, "started": began, **by}

    def try_to_make(self, pool: Pool | Distances, first: int) -> Made:
        """Make one shard, or return the error: synthesis outlives a pool that fails; the driver decides."""
        try:
            return self.make(pool, first)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and fails this pool only
            logs.told(error)
            return {"address": address(pool), "first": first, "error": f"{type(error).__name__}: {error}"}

    def _load(self, pool: Pool | Distances) -> None:
        if self._pool == address(pool):
            return
        self._loaded = None  # free the old generator before the new one takes its memory
        if isinstance(pool, Distances):
            from realfake.tasks import nearness

            self._loaded, self._drawn = nearness.load(pool, self.store, self.device), {}
        else:
            self._loaded = generators.load_generator(
                pool.generator, self.store, self.device, self.weights, **self.faster
            )
            self._counts = class_counts(self.store, pool)
            self._drawn = generators.facts(self._loaded, pool, self.store)
        self._pool = address(pool)

    def _table(self, pool: Pool | Distances, first: int) -> Any:
        if isinstance(pool, Distances):
            from realfake.tasks import nearness

            images = from_tables([read_table(self.store.file(pool.of, shard_name(first)))], RENDERED)
            return distance_table(images.ids, nearness.distances(self._loaded, images, pool.scales))
        labels = pool_labels(pool, first, SHARD_ROWS, self._counts)
        seeds, indices = image_seeds(pool, first, SHARD_ROWS), range(first, first + SHARD_ROWS)
        parts = [slice(i, i + self.batch_size) for i in range(0, SHARD_ROWS, self.batch_size)]
        drawn = [generators.draw(self._loaded, pool, labels[p], seeds[p], indices[p]) for p in parts]
        boxed = [part.objects for part in drawn if part.objects is not None]
        masks = [part.masks for part in drawn if part.masks is not None]
        return to_table(
            np.concatenate([part.images for part in drawn]),
            labels,
            np.array(indices),
            Objects.joined(boxed) if boxed else None,
            np.concatenate(masks) if masks else None,
        )


# --------------------------------------------------------------------------------------------- the pipeline (Ray Data)


def pipeline(
    store: Store, due: Any, *, actors: int, feeder_cpus: float, resources: dict[str, Any], maker: dict[str, Any]
) -> Iterator[Made]:
    """Yield every shard as it is made, until the ``Due`` list ends: one Ray Data pipeline for the whole run.

    A single read task yields the shards that become due; a fixed pool of actors makes them. With blocks of one row,
    each flows on at once; the object store carries descriptors only, images go straight to the store. ``resources``
    are those of an actor, as ``map_batches`` takes them: num_cpus, num_gpus, label_selector.
    """
    import ray

    context = ray.data.DataContext.get_current().copy()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    context.execution_options.preserve_order = False
    with ray.data.DataContext.current(context):
        shards = ray.data.read_datasource(_due_source(due), override_num_blocks=1, num_cpus=feeder_cpus, concurrency=1)
        made = shards.map_batches(
            _actor_class(),
            fn_constructor_kwargs={"root": store.place, "maker": maker},
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            batch_size=1,
            batch_format="pyarrow",
            **resources,  # pyright: ignore[reportArgumentType]
        )
        made.set_name("synthesis")
        for batch in made.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
            yield from map(json.loads, cast(Any, batch)["made"].to_pylist())


def due_list() -> Any:
    """Start and return the Ray actor that holds the shards that are due: append-only, so a replay reads the same.

    It is on the driver's node, so that the loss of another one does not take it.
    """
    import asyncio

    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote(num_cpus=0)
    class Due:
        def __init__(self) -> None:
            self.rows: list[tuple[bytes, int]] = []
            self.ended = False
            self.news = asyncio.Condition()

        async def add(self, rows: list[tuple[bytes, int]]) -> None:
            async with self.news:
                self.rows.extend(rows)
                self.news.notify_all()

        async def end(self) -> None:
            async with self.news:
                self.ended = True
                self.news.notify_all()

        async def get(self, index: int) -> tuple[bytes, int] | None:
            async with self.news:
                await self.news.wait_for(lambda: self.ended or index < len(self.rows))
                return self.rows[index] if index < len(self.rows) else None

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Due.options(name=f"shards due {uuid.uuid4().hex[:6]}", scheduling_strategy=here).remote()


def descriptor(pool: Pool | Distances, first: int) -> tuple[bytes, int]:
    """Return a shard as the ``Due`` list carries it."""
    return pickle.dumps(pool), first


def _due_source(due: Any) -> Any:
    """Return a Ray Data source whose one read task yields shards as they become due."""
    import pyarrow as pa
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    def rows() -> Iterator[pa.Table]:
        import ray

        index = 0
        while (row := ray.get(due.get.remote(index))) is not None:
            yield pa.table({"pool": pa.array([row[0]], pa.binary()), "first": [row[1]]})
            index += 1

    class DueSource(Datasource):
        def get_name(self) -> str:
            return "ShardsDue"

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
            return [ReadTask(rows, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]

    return DueSource()


def _actor_class() -> Callable[..., Any]:
    class MakeShards:
        def __init__(self, root: str, maker: dict[str, Any]) -> None:
            logs.open_log()
            self.maker = Maker(Store(root), **maker)

        def __call__(self, batch: Any) -> Any:
            import pyarrow as pa

            rows = [self._make(pickle.loads(row["pool"]), row["first"]) for row in batch.to_pylist()]
            return pa.table({"made": [json.dumps(row) for row in rows]})

        def _make(self, pool: Pool | Distances, first: int) -> Made:
            with logs.making(f"{address(pool)}/{shard_name(first)}"):
                return self.maker.try_to_make(pool, first)

    return MakeShards
