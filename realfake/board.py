"""What of a run is ready, and what a failure blocks: the state of a run, on the driver.

One rule: make what is ready until nothing is left; what failed blocks only what holds it. What is needed at all is in
``needs``. Which process does the work is decided in ``sweep`` and ``synthesis``; they and the driver's threads call in
here, under one lock.
"""

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from realfake.needs import Needs, Sharded, foundations
from realfake.samples import SHARD_ROWS
from realfake.spec import Distances, Spec, Subset, address
from realfake.store import Store
from realfake.synthesis import missing

RETRIES = 2  # of a spec whose lane died or whose images were corrupt: machines die, but so do specs that eat memory

RECENT = 1000  # things made that a board remembers one by one; of the others it keeps the count and the seconds

DIVERGED = "the fit of its generator diverged"


@dataclass
class Board:
    """The state of a run.

    ``add_due`` sends shards to the pipeline, at most ``ahead`` at a time; ``on_event`` is told of every thing made (and
    of every shard, as "images" or "distances"), under the lock, so it must not wait;
    ``tally`` and ``seconds`` are totals over the run; ``failed`` maps an address to the sentence that says why it
    could not be made.
    """

    store: Store
    needs: Needs
    ahead: int
    on_event: Callable[[dict[str, Any]], None] = lambda event: None
    add_due: Callable[[list[tuple[Sharded, int]]], None] = lambda rows: None
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    made: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.specs = self.needs.specs
        self.waiting: dict[str, Spec] = dict(self.specs)
        of = self.needs
        self.total = {"fits": len(of.fits), "images": of.images, "distances": of.distances}
        self.total |= {"trials": len(of.trials), "evaluations": len(of.evaluations)}
        self.tally = dict.fromkeys(self.total, 0)
        self.seconds = dict.fromkeys(self.total, 0.0)
        self.retries: dict[str, int] = {}
        self.outstanding: set[tuple[str, int]] = set()
        self._due: list[tuple[int, str]] = []  # a heap: small indices first, so that small volumes are there early
        self._unmade = set(self.waiting)
        self._blocked = {name: set(lacking) for name, lacking in of.shards.items() if lacking}
        self._index()
        for held in {address(h): h for pool in of.pools.values() for h in foundations(pool)}.values():
            if (record := self.store.record(held)) and record["result"].get("status") == "diverged":
                self._diverged(record["address"])
        self._free = {name for name, spec in self.waiting.items() if self._ready(spec)}
        for name in (*self._blocked, *self.waiting):
            self._settle(name)

    def _index(self) -> None:
        """Note who stands on what, so that a thing that is made or fails is told to those alone.

        To ask all of them every time took 17 ms a trial where there were 1,000, and grew with their number.
        """
        of = self.needs
        self._hanging = dict.fromkeys(self.waiting, 0)  # how many shards hang on each spec
        self._turn = {name: turn for turn, name in enumerate(self.waiting)}
        self._open: list[tuple[int, bool, bool, int, str]] = []  # a heap of what was ready when it came in
        self._awaiting: dict[str, list[str]] = {}  # who waits for a record
        self._awaiting_images: dict[str, list[tuple[int, str]]] = {}  # who waits for so much of a pool: a heap each
        self._lacking = {name: sorted(lacking) for name, lacking in of.shards.items()}  # a heap each
        self._holders: dict[str, list[str]] = {}
        self._distances: dict[str, list[str]] = {}  # of the images of each pool
        for name, thing in of.pools.items():
            if isinstance(thing, Distances):
                self._distances.setdefault(address(thing.of), []).append(name)
        for name, thing in {**of.pools, **self.waiting}.items():
            for held in _stands_on(thing):
                self._holders.setdefault(held, []).append(name)
            for held in foundations(thing) if name in of.pools else ():
                if address(held) in self._hanging:
                    self._hanging[address(held)] += len(of.shards[name])

    # ------------------------------------------------------------------------------------------- asked by the sweep

    def next(self) -> str | None:
        """Return the address of a ready spec: those on which the most images hang first, then generators, then what had
        to wait: what could be begun at any time is kept for when nothing else is ready, so that no lane idles.
        """
        with self.lock:
            while self._open:
                name = heapq.heappop(self._open)[-1]
                if name in self.waiting and not self._wait(name, self.waiting[name]):  # images may have become corrupt
                    del self.waiting[name]
                    self.running[name] = {"started": time.time()}
                    return name
            return None

    def over(self) -> bool:
        """Say whether no spec waits or runs."""
        with self.lock:
            return not self.waiting and not self.running

    def kind(self, name: str) -> str:
        """Return how a spec of the lanes is counted: "fits", "trials" or "evaluations"."""
        return next(kind for kind in ("fits", "trials", "evaluations") if name in getattr(self.needs, kind))

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
                what = self._rows(made["address"])
                self._count(what, SHARD_ROWS, {"kind": "shard", **made})
                self.on_event({"kind": what, **made})
                self._wake(made["address"], made["first"])
        self.feed()

    def in_the_making(self) -> list[tuple[Sharded, int]]:
        """Return the shards that were sent to the pipeline and have not come back."""
        with self.lock:
            return [(self.needs.pools[name], first) for name, first in sorted(self.outstanding)]

    def synthesis_over(self) -> bool:
        """Say whether no shard will become due any more."""
        with self.lock:
            blocked = any(name not in self.failed for name in self._blocked)
            return not (self._due or self.outstanding or blocked) and self.over()

    def synthesis_failed(self, why: str) -> None:
        """Note that the pipeline is gone: nothing that waits for images can be made."""
        with self.lock:
            for name, lacking in self.needs.shards.items():
                if lacking:
                    self._fail(name, why)
            self._due, self.outstanding, self._blocked = [], set(), {}

    # ------------------------------------------------------------------------------------------------------- inside

    def _ready(self, spec: Spec) -> bool:
        return all(self._there(held) for held in foundations(spec))

    def _there(self, held: Spec) -> bool:
        """Say whether something that a spec stands on is made."""
        if isinstance(held, Subset):
            return self._first_lacking(address(held.of)) >= held.size
        return address(held) not in self._unmade

    def _first_lacking(self, pool: str) -> float:
        """Return where a pool begins to lack images: prefixes up to there are whole."""
        heap, lacking = self._lacking.get(pool, []), self.needs.shards.get(pool, set())
        while heap and heap[0] not in lacking:
            heapq.heappop(heap)
        return heap[0] if heap else math.inf

    def _settle(self, name: str) -> None:
        """Let a spec be handed out, or the shards of a pool become due, if what they stand on is there."""
        spec = self.needs.pools.get(name) or self.waiting.get(name)
        if spec is None or self._wait(name, spec):
            return
        if name in self.needs.pools:
            self._release(name, self._blocked.get(name, set()))
        else:
            rank = -self._hanging[name], name not in self.needs.fits, name in self._free, self._turn[name]
            heapq.heappush(self._open, (*rank, name))

    def _wait(self, name: str, spec: Spec) -> bool:
        """Let a spec or a pool wait for the first thing that it lacks; say whether there is one."""
        for held in foundations(spec):
            if not self._there(held):
                if isinstance(held, Subset):
                    heapq.heappush(self._awaiting_images.setdefault(address(held.of), []), (held.size, name))
                else:
                    self._awaiting.setdefault(address(held), []).append(name)
                return True
        return False

    def _wake(self, pool: str, first: int) -> None:
        """Settle those who waited for a shard."""
        heap = self._awaiting_images.get(pool, [])
        while heap and heap[0][0] <= self._first_lacking(pool):
            self._settle(heapq.heappop(heap)[1])
        for name in self._distances.get(pool, ()):
            if first in self._blocked.get(name, ()) and self._ready(self.needs.pools[name]):
                self._release(name, {first})

    def _release(self, name: str, firsts: set[int]) -> None:
        """Let shards become due of a pool whose foundations are there: distances where their images are."""
        thing = self.needs.pools[name]
        ready = {first for first in firsts if self._image_there(thing, first)}
        for first in ready:
            heapq.heappush(self._due, (first, name))
        if name in self._blocked:
            self._blocked[name] -= ready
            if not self._blocked[name]:
                del self._blocked[name]

    def _image_there(self, thing: Sharded, first: int) -> bool:
        return not isinstance(thing, Distances) or first not in self.needs.shards.get(address(thing.of), ())

    def _rows(self, pool: str) -> str:
        return "distances" if isinstance(self.needs.pools[pool], Distances) else "images"

    def _made(self, name: str, outcome: dict[str, Any]) -> None:
        self._unmade.discard(name)
        kind = self.kind(name).removesuffix("s")
        self._count(f"{kind}s", 1, {"kind": kind, "address": name, **outcome})
        self.on_event({"kind": kind, "address": name, **outcome})
        if outcome["status"] == "diverged":
            self._diverged(name)
        for waiting in self._awaiting.pop(name, ()):
            self._settle(waiting)

    def _diverged(self, name: str) -> None:
        """Fail what stands on a fit, or on a critic, that diverged; a diverged trial by itself is a result."""
        if not name.startswith(("trial-", "evaluation-", "audit-", "fidelity-")):
            self._fail(name, DIVERGED)
        for pool, thing in self.needs.pools.items():
            if _critic(thing) == name and self.needs.shards[pool]:
                self._fail(pool, f"its critic {name} diverged")

    def _count(self, what: str, count: int, made: dict[str, Any]) -> None:
        self.tally[what] += count
        self.seconds[what] += made["seconds"]
        self.made.append(made)

    def _in_pool(self, path: str) -> bool:
        return any(f"/{name}/" in path for name in self.needs.pools)

    def _again(self, name: str) -> None:
        """Let a spec wait once more; shards under it that are corrupt or gone become due again."""
        spec = self.specs[name]
        self.waiting[name] = spec
        self._turn[name] = len(self._turn) + sum(self.retries.values())  # behind all others
        for part in foundations(spec):
            if isinstance(part, Subset) and isinstance(part.of, Sharded):
                pool = address(part.of)
                lacking = set(missing(self.store, part.of, part.size, verify=True)) - self.needs.shards[pool]
                self.needs.shards[pool] |= lacking
                self._lacking[pool] = sorted(self.needs.shards[pool])
                self.total[self._rows(pool)] += SHARD_ROWS * len(lacking)
                self._blocked.setdefault(pool, set()).update(lacking)
                self._settle(pool)
        self._settle(name)

    def _fail(self, name: str, why: str) -> None:
        """Fail a spec, and all that stands on it and is not there yet."""
        lost = [name]
        self.failed.setdefault(name, why)
        while lost:
            culprit = lost.pop()
            for name in self._holders.get(culprit, ()):
                if name in self.needs.pools:
                    if name not in self.failed and self.needs.shards[name]:
                        self.failed[name] = why
                        lost.append(name)
                elif name in self.waiting and (culprit in self.specs or not self._ready(self.waiting[name])):
                    del self.waiting[name]
                    self.failed[name] = f"not made, because {culprit} is not: {why}"
                    lost.append(name)


def _stands_on(spec: Spec) -> list[str]:
    """Return what a spec or a pool stands on: records and pools; distances on their images too."""
    held = [address(part.of) if isinstance(part, Subset) else address(part) for part in foundations(spec)]
    return list(dict.fromkeys([*held, *([address(spec.of)] if isinstance(spec, Distances) else [])]))


def _critic(thing: Sharded) -> str:
    return address(thing.critic) if isinstance(thing, Distances) else ""
