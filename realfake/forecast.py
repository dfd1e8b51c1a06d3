"""What a run would make, where, for how long and at what price, without making any of it and without Ray.

The run is played through: the same board hands out the same work in the same order to as many lanes and actors, each
thing taking the seconds that things alike took before (``rates``). What was never measured counts as nothing, and the
answer is then a lower bound and says so. Measured seconds are taken as they are: they hold for as many processes on as
many cores as there were. Not here: the words (``foretold``).
"""

import heapq
import itertools
from collections import deque
from dataclasses import dataclass

from realfake import execution, session
from realfake.board import Board
from realfake.needs import Needs, Sharded
from realfake.packing import Node
from realfake.rates import Overhead, Rates, overhead
from realfake.resources import Shares, Where, shares
from realfake.spec import Distances, Spec, Study, address
from realfake.store import Store

NONE = Overhead()
WITHOUT_END = 10**9  # so many lanes, actors and shards ahead as never wait for each other
SPLITS = 12  # ways to divide processes into lanes and actors that are played through, at most
WORTH_SAYING = 0.05  # of the wall time: a better division that saves less is not worth a word
MANY = 5_000  # things to make: beyond that, other divisions are not played through


@dataclass(frozen=True)
class Done:
    """One thing of a play: its kind (as a board counts), address, begin and end in seconds, and what it waited for."""

    kind: str
    name: str
    began: float
    ended: float
    after: "Done | None" = None


@dataclass(frozen=True)
class Stage:
    """All things of one kind: how many there are to make, seconds of work, and from when to when."""

    kind: str
    count: int
    work: float
    began: float
    ended: float


@dataclass(frozen=True)
class Forecast:
    """A run foretold, in seconds. ``share`` is None without Ray, and ``seconds`` where the machines are not known.

    ``unmeasured`` counts the things of each kind that nothing alike was measured of: if there are any, ``seconds`` and
    ``cost`` are lower bounds. ``longest`` is the chain of addresses that no number of machines makes shorter.
    """

    to_make: dict[str, int]
    nodes: tuple[Node, ...]
    share: Shares | None
    waits: bool = False
    stages: tuple[Stage, ...] = ()
    seconds: float | None = None
    overhead: Overhead = NONE
    unmeasured: dict[str, int] | None = None
    longest: tuple[str, ...] = ()
    longest_seconds: float = 0.0
    busy: dict[str, float] | None = None
    better: dict[str, float] | None = None
    cost: float | None = None


def of_study(study: Study, where: Where) -> Forecast:
    """Foretell the run of a study. Datasets are imported, as their sizes are checked; nothing else is made.

    Raises what ``execution.dry_run`` and ``resources.shares`` raise.
    """
    lacking, store = execution.dry_run(study, where), Store(where.store)
    counts = {"fits": len(lacking.fits), "images": lacking.images, "distances": lacking.distances}
    to_make = {**counts, "trials": len(lacking.trials), "evaluations": len(lacking.evaluations)}
    if where.cluster.address == "none":
        rates = Rates(store, *[where.training.device != "cpu" and session.machine(where.cluster).gpus > 0] * 2)
        return _told(Forecast(to_make, (), None), lacking, store, where, rates)
    nodes = _nodes(where)
    if not nodes:
        return Forecast(to_make, (), None)
    share = shares(where, nodes)
    known = Forecast(to_make, nodes, share, waits=not share.always_fit(nodes))
    rates = Rates(store, share.gpus_per_lane > 0, share.gpus_per_actor > 0, share.workers)
    return _told(known, lacking, store, where, rates)


def _nodes(where: Where) -> tuple[Node, ...]:
    """Return what the where-file tells of the machines: of a cluster that is joined, the sums that it promises."""
    if not where.cluster.address:
        return (session.machine(where.cluster),)
    if not where.cluster.cpus:
        return ()
    return (Node(cpus=float(where.cluster.cpus), gpus=float(where.cluster.gpus), labels=None),)


def _told(known: Forecast, lacking: Needs, store: Store, where: Where, rates: Rates) -> Forecast:
    seconds, unmeasured = _seconds(lacking, rates)
    lanes, actors = (known.share.lanes, known.share.actors) if known.share else (1, 0)
    beside = overhead(store) if known.share else NONE
    play = Play(lacking, store, seconds, beside)
    done = play.done(lanes, actors)
    wall = max((one.ended for one in done), default=0.0)
    wall += beside.end if done else 0.0
    chain = play.longest()
    return Forecast(
        **{name: getattr(known, name) for name in ("to_make", "nodes", "share", "waits")},
        stages=_stages(done),
        seconds=wall,
        overhead=beside,
        unmeasured=unmeasured,
        longest=tuple(dict.fromkeys(one.name for one in chain)),
        longest_seconds=chain[-1].ended if chain else 0.0,
        busy=_busy(done, lanes, actors, wall),
        better=_better(play, known.share, wall - beside.end) if known.share and not unmeasured else None,
        cost=where.cluster.price_per_hour * wall / 3600 if where.cluster.price_per_hour else None,
    )


def _seconds(lacking: Needs, rates: Rates) -> tuple[dict[str, float], dict[str, int]]:
    """Return the seconds of each thing in a lane, and of one shard of each pool; and what nothing is measured of."""
    found: dict[str, float] = {}
    unmeasured: dict[str, int] = {}
    sharded: dict[str, Spec] = {name: pool for name, pool in lacking.pools.items() if lacking.shards[name]}
    for name, spec in {**lacking.specs, **sharded}.items():
        seconds = rates.seconds(spec)
        if seconds is None:
            kind = f"{spec.kind} shards" if isinstance(spec, Sharded) else spec.kind
            unmeasured[kind] = unmeasured.get(kind, 0) + len(lacking.shards.get(name, "1"))
        found[name] = seconds or 0.0
    return found, unmeasured


# ---------------------------------------------------------------------------------------------------- played through


@dataclass(frozen=True)
class Play:
    """What there is to do, and how long each thing takes: played through with any number of lanes and actors."""

    lacking: Needs
    store: Store
    seconds: dict[str, float]
    beside: Overhead = NONE

    def done(self, lanes: int, actors: int) -> list[Done]:
        """Return everything in the order in which it ends; without actors, one process makes images and all else."""
        board = Board(self.store, _copy(self.lacking), ahead=2 * actors + 1)
        due: deque[tuple[Sharded, int]] = deque()
        board.add_due = due.extend
        board.feed()
        free = {"lanes": lanes, "actors": actors}
        makers = "actors" if actors else "lanes"
        going: list[tuple[float, int, Done, int | None]] = []
        found: list[Done] = []
        numbers, now = itertools.count(), 0.0
        while True:
            last = found[-1] if found else None
            while due and free[makers]:
                pool, first = due.popleft()
                one = self._shard(pool, now, last)
                heapq.heappush(going, (one.ended, next(numbers), one, first))
                free[makers] -= 1
            while free["lanes"] and (name := board.next()):
                one = self._thing(board.kind(name), name, now, last)
                heapq.heappush(going, (one.ended, next(numbers), one, None))
                free["lanes"] -= 1
            if not going:
                return found
            now, _, one, first = heapq.heappop(going)
            found.append(one)
            free["lanes" if first is None else makers] += 1
            _tell(board, one, first)

    def _shard(self, pool: Sharded, now: float, after: Done | None) -> Done:
        began, kind = max(now, self.beside.actor_start), "distances" if isinstance(pool, Distances) else "images"
        return Done(kind, address(pool), began, began + self.seconds[address(pool)], after)

    def _thing(self, kind: str, name: str, now: float, after: Done | None) -> Done:
        began = max(now, self.beside.lane_start)
        again = self.beside.between if now else 0.0
        return Done(kind, name, began, began + again + self.seconds[name], after)

    def longest(self) -> list[Done]:
        """Return the chain that ends last where nothing ever waits for a lane or an actor, in the order of time."""
        alone = Play(self.lacking, self.store, self.seconds)
        chain: list[Done] = []
        one = max(alone.done(WITHOUT_END, WITHOUT_END), key=lambda one: one.ended, default=None)
        while one:
            chain.append(one)
            one = one.after
        return chain[::-1]


def _tell(board: Board, one: Done, first: int | None) -> None:
    outcome = {"seconds": one.ended - one.began, "started": one.began, "process": 0}
    if first is None:
        board.finished(one.name, {"status": "ok", **outcome})
    else:
        board.shard_made({"address": one.name, "first": first, **outcome})


def _copy(lacking: Needs) -> Needs:
    """Return needs that a board may cross off."""
    shards = {name: set(firsts) for name, firsts in lacking.shards.items()}
    return Needs(lacking.trials, lacking.fits, lacking.pools, shards, lacking.evaluations)


def _stages(done: list[Done]) -> tuple[Stage, ...]:
    kinds = dict.fromkeys(one.kind for one in sorted(done, key=lambda one: one.began))
    own = {kind: [one for one in done if one.kind == kind] for kind in kinds}
    return tuple(
        Stage(
            kind=kind,
            count=len(ones),
            work=sum(one.ended - one.began for one in ones),
            began=min(one.began for one in ones),
            ended=max(one.ended for one in ones),
        )
        for kind, ones in own.items()
    )


def _busy(done: list[Done], lanes: int, actors: int, wall: float) -> dict[str, float] | None:
    """Return the share of the wall time that lanes, and actors, spend making things."""
    if not wall:
        return None
    images = sum(one.ended - one.began for one in done if one.kind in ("images", "distances"))
    rest = sum(one.ended - one.began for one in done) - images
    if not actors:
        return {"lanes": (rest + images) / wall}
    return {"lanes": rest / (lanes * wall), "actors": images / (actors * wall)}


def _better(play: Play, share: Shares, wall: float) -> dict[str, float] | None:
    """Return how the same processes should be divided, where another division ends earlier by a share worth saying.

    Only where lanes and actors are alike: on the same nodes, one process each, with or without GPUs.
    """
    processes = share.lanes + share.actors
    things = len(play.lacking.specs) + sum(map(len, play.lacking.shards.values()))
    alike = share.training_labels == share.synthesis_labels and (share.gpus_per_lane > 0) == (share.gpus_per_actor > 0)
    if not alike or share.workers > 1 or things > MANY or not any(play.lacking.shards.values()):
        return None

    def ends(actors: int) -> float:
        return max((one.ended for one in play.done(processes - actors, actors)), default=0.0)

    step = max(1, -(-(processes - 1) // SPLITS))
    ways: dict[int, float] = {actors: ends(actors) for actors in range(1, processes, step)}
    actors = min(ways, key=lambda actors: ways[actors])
    if wall <= 0 or ways[actors] > (1 - WORTH_SAYING) * wall:
        return None
    return {"lanes": processes - actors, "actors": actors, "seconds": ways[actors] + play.beside.end}
