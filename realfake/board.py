"""What of a run is ready, and what a failure blocks: the state of a run, on the driver.

One rule: make what is ready until nothing is left; what failed blocks only what holds it. What is needed at all is in
``needs``. Which process does the work is decided in ``sweep`` and ``synthesis``; they and the driver's threads call in
here, under one lock.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from realfake.needs import Needs, Sharded, foundations
from realfake.samples import SHARD_ROWS, shards_of
from realfake.spec import Distances, Spec, Subset, address
from realfake.store import Store
from realfake.synthesis import missing

RETRIES = 2  # of a spec whose lane died or whose images were corrupt: machines die, but so do specs that eat memory

RECENT = 1000  # things made that a board remembers one by one; of the others it keeps the count and the seconds

DIVERGED = "the fit of its generator diverged"


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
    add_due: Callable[[list[tuple[Sharded, int]]], None] = lambda rows: None
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    made: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.waiting: dict[str, Spec] = self.needs.specs
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
        self._hanging = dict.fromkeys(self.waiting, 0)  # how many shards hang on each spec
        for name, lacking in of.shards.items():
            for held in foundations(of.pools[name]):
                if address(held) in self._hanging:
                    self._hanging[address(held)] += len(lacking)
        for held in {address(h): h for pool in of.pools.values() for h in foundations(pool)}.values():
            if (record := self.store.record(held)) and record["result"].get("status") == "diverged":
                self._diverged(record["address"])
        self._release()

    # ------------------------------------------------------------------------------------------- asked by the sweep

    def next(self) -> str | None:
        """Return the address of a ready spec: those on which the most images hang first, then generators."""
        with self.lock:
            ready = [name for name, spec in self.waiting.items() if self._ready(spec)]
            if not ready:
                return None
            name = min(ready, key=lambda name: (-self._hanging[name], name not in self.needs.fits))
            del self.waiting[name]
            self.running[name] = {"started": time.time()}
            return name

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
                self._count(self._rows(made["address"]), SHARD_ROWS, {"kind": "shard", **made})
                self._release()
        self.feed()

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
            return self.needs.shards.get(address(held.of), set()).isdisjoint(shards_of(held.size))
        return address(held) not in self._unmade

    def _release(self) -> None:
        """Let shards become due whose foundations are there."""
        for name, firsts in list(self._blocked.items()):
            thing = self.needs.pools[name]
            if not self._ready(thing):
                continue
            ready = {first for first in firsts if self._image_there(thing, first)}
            for first in ready:
                heapq.heappush(self._due, (first, name))
            firsts -= ready
            if not firsts:
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
        self._release()

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
        spec = self.needs.specs[name]
        self.waiting[name] = spec
        for part in foundations(spec):
            if isinstance(part, Subset) and isinstance(part.of, Sharded):
                pool = address(part.of)
                lacking = set(missing(self.store, part.of, part.size, verify=True)) - self.needs.shards[pool]
                self.needs.shards[pool] |= lacking
                self.total[self._rows(pool)] += SHARD_ROWS * len(lacking)
                self._blocked.setdefault(pool, set()).update(lacking)
        self._release()

    def _fail(self, name: str, why: str) -> None:
        """Fail a spec, and all that stands on it and is not there yet."""
        lost = [name]
        self.failed.setdefault(name, why)
        while lost:
            culprit = lost.pop()
            for pool, thing in self.needs.pools.items():
                if pool not in self.failed and self.needs.shards[pool] and self._stands_on(thing, culprit):
                    self.failed[pool] = why
                    lost.append(pool)
            for waiting, spec in list(self.waiting.items()):
                if self._stands_on(spec, culprit) and (culprit in self.needs.specs or not self._ready(spec)):
                    del self.waiting[waiting]
                    self.failed[waiting] = f"not made, because {culprit} is not: {why}"
                    lost.append(waiting)

    def _stands_on(self, spec: Spec, name: str) -> bool:
        held = [address(part.of) if isinstance(part, Subset) else address(part) for part in foundations(spec)]
        images = [address(spec.of)] if isinstance(spec, Distances) else []
        return name in (*held, *images)


def _critic(thing: Sharded) -> str:
    return address(thing.critic) if isinstance(thing, Distances) else ""
