"""What a study still needs, and what of it is ready: the state of a run, on the driver.

One rule: make what is ready until nothing is left; what failed blocks only what holds it. Which process does the work
is decided in ``sweep`` and ``synthesis``; they and the driver's threads call in here, under one lock.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from realfake.samples import SHARD_ROWS, shards_of
from realfake.spec import ClosedSet, Pool, Spec, Trial, address, root_generator
from realfake.store import Store
from realfake.synthesis import missing

RETRIES = 2  # of a spec whose lane died or whose images were corrupt: machines die, but so do specs that eat memory

RECENT = 1000  # things made that a board remembers one by one; of the others it keeps the count and the seconds


@dataclass
class Needs:
    """What has no record yet. ``shards`` are the missing first indices of every pool that a trial of the study uses."""

    trials: dict[str, Trial]
    fits: dict[str, ClosedSet]
    pools: dict[str, Pool]
    shards: dict[str, set[int]]

    @property
    def nothing(self) -> bool:
        """Whether everything is made."""
        return not (self.trials or self.fits or any(self.shards.values()))

    @property
    def images(self) -> int:
        """How many synthetic images are missing (whole shards)."""
        return SHARD_ROWS * sum(map(len, self.shards.values()))


def needs(trials: Iterable[Trial], store: Store, verify: bool = True) -> Needs:
    """Return what these trials need that is not made: trials, missing or corrupt shards, and generators for those."""
    trials = tuple(trials)
    volumes: dict[str, int] = {}
    pools: dict[str, Pool] = {}
    for trial in trials:
        for part in trial.synthetic:
            assert isinstance(part.of, Pool)
            name = address(part.of)
            pools[name] = part.of
            volumes[name] = max(volumes.get(name, 0), part.size)
    shards = {name: set(missing(store, pools[name], size, verify)) for name, size in volumes.items()}
    roots = [root_generator(pools[name].generator) for name, lacking in shards.items() if lacking]
    fits = {address(root): root for root in roots if isinstance(root, ClosedSet) and not store.record(root)}
    return Needs({address(t): t for t in trials if not store.record(t)}, fits, pools, shards)


@dataclass
class Board:
    """The state of a run.

    ``add_due`` sends shards to the pipeline, at most ``ahead`` at a time; ``on_event`` is told of every thing made;
    ``tally`` and ``seconds`` are totals over the run; ``failed`` maps an address to the sentence that says why it
    could not be made.
    """

    store: Store
    needs: Needs
    ahead: int
    on_event: Callable[[dict[str, Any]], None] = lambda event: None
    add_due: Callable[[list[tuple[Pool, int]]], None] = lambda rows: None
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    made: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.waiting: dict[str, Spec] = {**self.needs.fits, **self.needs.trials}
        self.total = {"fits": len(self.needs.fits), "trials": len(self.needs.trials), "images": self.needs.images}
        self.tally = {"fits": 0, "trials": 0, "images": 0}
        self.seconds = {"fits": 0.0, "trials": 0.0, "images": 0.0}
        self.retries: dict[str, int] = {}
        self.outstanding: set[tuple[str, int]] = set()
        self._due: list[tuple[int, str]] = []  # a heap: small indices first, so that small volumes are there early
        self._images = dict.fromkeys(self.needs.fits, 0)  # how much hangs on each generator
        for name, lacking in self.needs.shards.items():
            root = address(root_generator(self.needs.pools[name].generator))
            if root in self._images:
                self._images[root] += len(lacking)
            else:
                self._make_due(name)
        for record in (self.store.record(root_generator(pool.generator)) for pool in self.needs.pools.values()):
            if record and record["result"].get("status") == "diverged":
                self._fail(record["address"], "the fit of its generator diverged")

    # ------------------------------------------------------------------------------------------- asked by the sweep

    def next(self) -> str | None:
        """Return the address of a ready spec: generators first, those with the most images to make before others."""
        with self.lock:
            ready = [name for name, spec in self.waiting.items() if self._ready(spec)]
            if not ready:
                return None
            name = min(ready, key=lambda name: -self._images.get(name, -1))
            del self.waiting[name]
            self.running[name] = {"started": time.time()}
            return name

    def over(self) -> bool:
        """Say whether no spec waits or runs."""
        with self.lock:
            return not self.waiting and not self.running

    def progress(self, name: str, event: dict[str, Any]) -> None:
        """Note how far a running spec is, and when it was first heard of (imports and loading come before that)."""
        with self.lock:
            if name in self.running:
                first = {"first": event.get("done", 0), "first_heard": time.time()}
                self.running[name] = {**first, **self.running[name], **event}

    def finished(self, name: str, outcome: dict[str, Any]) -> None:
        """Note that a spec is made, or what kept it from being made."""
        with self.lock:
            self.running.pop(name, None)
            again = self.retries.get(name, 0) < RETRIES
            if "error" not in outcome:
                self._made(name, outcome)
            elif again and (outcome.get("lost") or self._in_pool(outcome.get("path", ""))):
                self.retries[name] = self.retries.get(name, 0) + 1
                self._again(name)
            else:
                self._fail(name, outcome["error"])
        self.feed()

    # -------------------------------------------------------------------------------------- asked by the synthesis

    def feed(self) -> None:
        """Send due shards to the pipeline, as many as it should have ahead."""
        with self.lock:
            rows = []
            while self._due and len(self.outstanding) < self.ahead:
                first, name = heapq.heappop(self._due)
                if name not in self.failed:
                    self.outstanding.add((name, first))
                    rows.append((self.needs.pools[name], first))
        if rows:
            self.add_due(rows)

    def shard_made(self, made: dict[str, Any]) -> None:
        """Note that a shard is made, or that its pool failed."""
        with self.lock:
            self.outstanding.discard((made["address"], made["first"]))
            if "error" in made:
                self._fail(made["address"], made["error"])
            elif made["first"] in self.needs.shards[made["address"]]:
                self.needs.shards[made["address"]].discard(made["first"])
                self._count("images", SHARD_ROWS, {"kind": "shard", **made})
        self.feed()

    def synthesis_over(self) -> bool:
        """Say whether no shard will become due any more."""
        with self.lock:
            return not (self._due or self.outstanding) and self.over()

    def synthesis_failed(self, why: str) -> None:
        """Note that the pipeline is gone: nothing that waits for images can be made."""
        with self.lock:
            for name, lacking in self.needs.shards.items():
                if lacking:
                    self._fail(name, why)
            self._due, self.outstanding = [], set()

    # ------------------------------------------------------------------------------------------------------- inside

    def _spec(self, name: str) -> Spec:
        return self.needs.fits.get(name) or self.needs.trials[name]

    def _ready(self, spec: Spec) -> bool:
        if not isinstance(spec, Trial):
            return True
        return all(
            self.needs.shards[address(part.of)].isdisjoint(shards_of(part.size))  # type: ignore[arg-type]
            for part in spec.synthetic
        )

    def _made(self, name: str, outcome: dict[str, Any]) -> None:
        kind = "fit" if name in self.needs.fits else "trial"
        self._count(f"{kind}s", 1, {"kind": kind, "address": name, **outcome})
        self.on_event({"kind": kind, "address": name, **outcome})
        if kind == "fit" and outcome["status"] == "diverged":
            self._fail(name, "the fit of its generator diverged")
        elif kind == "fit":
            for pool_name, pool in self.needs.pools.items():
                if address(root_generator(pool.generator)) == name:
                    self._make_due(pool_name)

    def _count(self, what: str, count: int, made: dict[str, Any]) -> None:
        self.tally[what] += count
        self.seconds[what] += made["seconds"]
        self.made.append(made)

    def _make_due(self, pool: str) -> None:
        for first in self.needs.shards[pool]:
            heapq.heappush(self._due, (first, pool))

    def _in_pool(self, path: str) -> bool:
        return any(f"/{name}/" in path for name in self.needs.pools)

    def _again(self, name: str) -> None:
        """Let a spec wait once more; shards under it that are corrupt or gone become due again."""
        spec = self._spec(name)
        self.waiting[name] = spec
        for part in spec.synthetic if isinstance(spec, Trial) else ():
            assert isinstance(part.of, Pool)
            pool = address(part.of)
            lacking = set(missing(self.store, part.of, part.size, verify=True)) - self.needs.shards[pool]
            self.needs.shards[pool] |= lacking
            self.total["images"] += SHARD_ROWS * len(lacking)
            for first in lacking:
                heapq.heappush(self._due, (first, pool))

    def _fail(self, name: str, why: str) -> None:
        """Fail a spec, and all that waits for it."""
        self.failed.setdefault(name, why)
        for pool_name, pool in self.needs.pools.items():
            if address(root_generator(pool.generator)) == name:
                self.failed.setdefault(pool_name, why)
        for waiting, spec in list(self.waiting.items()):
            if isinstance(spec, Trial):
                lost = [address(part.of) for part in spec.synthetic if address(part.of) in self.failed]
                if lost and not self._ready(spec):
                    del self.waiting[waiting]
                    self.failed[waiting] = f"not made, because {lost[0]} is not: {why}"
