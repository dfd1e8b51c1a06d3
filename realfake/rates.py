"""How long things take, from what a store holds: the seconds of records and image files of things that are alike.

Alike are things that differ in seeds and in sizes alone, made on the same sort of processor by as many workers; in
size, seconds are a line. What is not measured is not guessed. What follows for a run is in ``forecast``.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from realfake import spec, timelines
from realfake.needs import Sharded
from realfake.planning.costs import line
from realfake.pool_facts import shards_made
from realfake.spec import Spec
from realfake.store import ANNOUNCED, RECORD, Store, tree
from realfake.values import Value, fields

PROCESSORS = {"x86_64", "AMD64", "i686", "aarch64", "arm64", "ppc64le", "s390x", "riscv64"}  # all other names are GPUs
TRIAL = ("type", "test", "recipe", "validation")  # what seconds of a trial depend on, beside how many images it sees
APART = ("address", "seed", "size")


@dataclass(frozen=True)
class Rate:
    """Seconds of one thing: ``fixed``, and ``each`` for every real or synthetic image in it; of ``n`` measured ones."""

    fixed: float
    each: float
    n: int

    def of(self, size: int) -> float:
        """Return the seconds of a thing with so many images."""
        return self.fixed + self.each * size


@dataclass(frozen=True)
class Likeness:
    """What a spec has in common with those that differ in seeds and sizes alone, and its own size in images."""

    key: str
    size: int


def likeness(told: dict[str, Any]) -> Likeness:
    """Return the likeness of a spec, from the tree that ``store.tree`` makes of it and a record keeps."""
    keys: dict[str, str] = {}
    sizes: dict[str, int] = {}
    key = _key(told, keys, sizes)
    parts = [part for value in told.values() for part in (value if isinstance(value, list) else [value])]
    return Likeness(key, sum(sizes.get(p.get("address", ""), 0) for p in parts if isinstance(p, dict)))


def _key(value: Any, keys: dict[str, str], sizes: dict[str, int]) -> Any:
    """Return what counts of a value; a tree tells each spec once, so ``keys`` remember it by address."""
    if isinstance(value, list):
        return [_key(part, keys, sizes) for part in value]
    if not isinstance(value, dict):
        return value
    name = value.get("address", "")
    if name in keys:
        return keys[name]
    parts = {part: _key(held, keys, sizes) for part, held in value.items()}
    if value["type"] == "Subset":
        keys[name], sizes[name] = parts["of"], value["size"]
        return parts["of"]
    usual = _defaults(value["type"])  # a field that was added since a record was written is at its default
    told = {k: v for k, v in parts.items() if k not in usual or value[k] != usual[k]}
    kept = {k: v for k, v in told.items() if (k in TRIAL if value["type"] == "Trial" else k not in APART)}
    if not name:
        return kept
    keys[name] = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
    return keys[name]


@functools.cache
def _defaults(kind: str) -> dict[str, Any]:
    cls = getattr(spec, kind, None)
    known = fields(cls) if isinstance(cls, type) and issubclass(cls, Value) else ()
    return {field.name: tree(field.default) for field in known if field.default is not dataclasses.MISSING}


class Rates:
    """The measured seconds of a store. Things of a kind are read when the first of the kind is asked for."""

    def __init__(self, store: Store, train_on_gpu: bool = False, make_on_gpu: bool = False, workers: int = 1) -> None:
        self.store, self.train_on_gpu, self.make_on_gpu, self.workers = store, train_on_gpu, make_on_gpu, workers
        self._rates: dict[str, dict[str, Rate]] = {}

    def seconds(self, thing: Spec) -> float | None:
        """Return the seconds to make a thing with a record, or one shard of a pool; None if none alike is measured."""
        if thing.kind not in self._rates:
            found = self._shards(thing.kind) if isinstance(thing, Sharded) else self._records(thing.kind)
            self._rates[thing.kind] = _rates(found)
        like = likeness(tree(thing))
        rate = self._rates[thing.kind].get(like.key)
        return rate.of(0 if isinstance(thing, Sharded) else like.size) if rate else None

    def _records(self, kind: str) -> Iterable[tuple[Likeness, float]]:
        for name in self.store.find(f"{kind}-"):
            record = json.loads(self.store.file(name, RECORD).read_text())
            made = record["result"].get("environment", {})
            ended_early = record["result"].get("status") == "diverged"
            if not ended_early and made.get("world_size", 1) == self.workers and _on_gpu(made) == self.train_on_gpu:
                yield likeness(record["spec"]), record["seconds"]

    def _shards(self, kind: str) -> Iterable[tuple[Likeness, float]]:
        for name in self.store.find(f"{kind}-", ANNOUNCED):
            like = likeness(json.loads(self.store.file(name, ANNOUNCED).read_text())["spec"])
            for made in shards_made(self.store, name):
                if "seconds" in made and _on_gpu(made) == self.make_on_gpu:
                    yield Likeness(like.key, 0), made["seconds"]


def _on_gpu(made: dict[str, Any]) -> bool:
    return made.get("device", "x86_64") not in PROCESSORS


def _rates(measured: Iterable[tuple[Likeness, float]]) -> dict[str, Rate]:
    points: dict[str, list[tuple[float, float]]] = {}
    for like, seconds in measured:
        points.setdefault(like.key, []).append((like.size, seconds))
    return {key: Rate(*line(own), n=len(own)) for key, own in points.items()}


# ------------------------------------------------------------------------------------- what a run takes beside that


@dataclass(frozen=True)
class Overhead:
    """Seconds of a run beside the work itself, from timelines: until the first lane and the first actor work, between
    two things of a lane, and from the last thing to the end. ``runs`` is how many were measured.
    """

    lane_start: float = 0.0
    actor_start: float = 0.0
    between: float = 0.0
    end: float = 0.0
    runs: int = 0


def overhead(store: Store) -> Overhead:
    """Return the medians over the runs on Ray whose timelines the store keeps; zeros without one."""
    found = [run for folder in sorted((store.root / "studies").glob("*/")) for run in timelines.runs(folder)]
    found = [run for run in found if run.lanes and run.actors and run.complete]
    if not found:
        return Overhead()
    first, later, actors = [], [], []
    for run in found:
        seen: set[str] = set()
        for bar in sorted(run.bars, key=lambda bar: bar.started):
            if bar.kind in timelines.OF_ACTORS:
                actors += [bar.started - run.started] if bar.lane not in seen else []
            elif (work := _work(store, bar.address)) is not None:
                beside = bar.ended - bar.started - work
                first += [bar.started - run.started + beside] if bar.lane not in seen else []
                later += [beside] if bar.lane in seen else []
            seen.add(bar.lane)
    ends = [run.ended - max(bar.ended for bar in run.bars) for run in found]
    medians = [max(0.0, median(values)) if values else 0.0 for values in (first, actors, later)]
    return Overhead(*medians, end=fmean(ends), runs=len(found))


def _work(store: Store, name: str) -> float | None:
    path = store.file(name, RECORD)
    return json.loads(path.read_text())["seconds"] if path.is_file() else None
