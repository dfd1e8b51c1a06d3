"""Whether processes of two sorts find room on the nodes of a cluster at once, however they happen to be placed.

Ray puts each process where it fits, one after another, and moves none. A share below one GPU lies on one GPU whole, and
a process on one node, so totals that suffice may still not fit. Plain arithmetic: what shares a run asks for is in
``resources``; Ray is asked in ``arrival``.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import replace

from realfake.values import SpecError, Value

WORST, BEST = 0, 1  # ways to place processes: so that they leave the least room to others, or the most
NEVER = -1  # so few of a sort find room where the other sort itself does not
LABEL = re.compile(r"(?P<key>[\w./-]+)=(?P<value>!?(in\([\w.-]+(, ?[\w.-]+)*\)|[\w.-]+))")
TINY = 1e-9


class Node(Value):
    """What one node has. ``labels`` are "key=value"; None where they are not known: such a node takes what asks."""

    cpus: float
    gpus: float = 0.0
    labels: tuple[str, ...] | None = ()

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")


class Sort(Value):
    """So many processes that ask for the same of one node. ``labels`` are selectors, as Ray reads them."""

    count: int
    cpus: float
    gpus: float = 0.0
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")


def check_labels(labels: Sequence[str], section: str) -> None:
    """Raise SpecError for a selector that Ray would not read."""
    for label in labels:
        if not LABEL.fullmatch(label):
            raise SpecError(
                f"[{section}] labels: {label!r} selects no node; write key = value, "
                'such as labels = {"ray-subcluster" = "training"}, "!value", "in(a, b)" or "!in(a, b)"'
            )


def selector(labels: Sequence[str]) -> dict[str, str]:
    """Return labels as Ray takes them: by key."""
    return dict(label.split("=", 1) for label in labels)


def admits(node: Node, labels: Sequence[str]) -> bool:
    """Say whether a node has the labels asked for, by Ray's rule: a label that is not there is not equal to any."""
    if node.labels is None:
        return True
    have = selector(node.labels)
    for key, wanted in selector(labels).items():
        bare = wanted.removeprefix("!")
        values = re.split(", ?", bare[3:-1]) if bare.startswith("in(") else [bare]
        if (have.get(key) in values) == wanted.startswith("!"):
            return False
    return True


def fit(nodes: Sequence[Node], one: Sort, other: Sort, feeder: float = 0.0) -> bool:
    """Say whether there is a way to place both sorts, and ``feeder`` CPUs on one of the nodes."""
    return most(nodes, one, other, feeder) >= one.count


def always_fit(nodes: Sequence[Node], one: Sort, other: Sort, feeder: float = 0.0) -> bool:
    """Say whether both sorts find room in whichever way the processes that come first are placed.

    The last of a sort is refused only if the others leave no room, and they leave least when all of the other sort are
    there: so it is enough to look at the worst way to place each sort alone.
    """
    less = [_without(node, feeder) for node in nodes]
    return _rooms(less, one, other, WORST) >= one.count and _rooms(less, other, one, WORST) >= other.count


def most(nodes: Sequence[Node], one: Sort, other: Sort, feeder: float = 0.0) -> int:
    """Return how many of one sort find room beside all of the other, at best; NEVER if the other finds none."""
    found = NEVER
    for place in {node: index for index, node in enumerate(nodes) if node.cpus >= feeder}.values():
        less = [_without(node, feeder) if index == place else node for index, node in enumerate(nodes)]
        found = max(found, _rooms(less, one, other, BEST))
    return found


def _without(node: Node, cpus: float) -> Node:
    return Node(cpus=max(0.0, node.cpus - cpus), gpus=node.gpus, labels=node.labels)


def _rooms(nodes: Sequence[Node], one: Sort, other: Sort, way: int) -> int:
    """Return how many of one sort find room beside all of the other, placed in the worst or in the best way.

    Of two sorts that ask for the same, each takes a room that the other could have; that is quickly counted.
    """
    if (one.cpus, one.gpus, one.labels) == (other.cpus, other.gpus, other.labels):
        both = replace(one, count=one.count + other.count)
        free = sum(_here(node, both, Sort(count=0, cpus=0.0))[0][way] for node in nodes) - other.count
        return free if free >= 0 else NEVER
    found = [0]
    for node in nodes:
        found = _joined(found, [rooms[way] for rooms in _here(node, one, other)], other.count, way)
    return found[other.count] if len(found) > other.count else NEVER


def _here(node: Node, one: Sort, other: Sort) -> tuple[tuple[int, int], ...]:
    return _on_node(
        node.cpus,
        int(node.gpus),
        (one.cpus, one.gpus) if admits(node, one.labels) else None,
        (other.cpus, other.gpus) if admits(node, other.labels) else None,
        other.count,
        one.count,
    )


def _joined(so_far: Sequence[int], here: Sequence[int], limit: int, way: int) -> list[int]:
    """Return the rooms on two parts of a cluster, by how many of the other sort are on both: the lists' places."""
    if len(here) == 1:
        return [rooms + here[0] for rooms in so_far]
    import numpy as np

    choose, none = (np.minimum, np.inf) if way == WORST else (np.maximum, -np.inf)
    found, rooms = np.full(len(so_far) + len(here) - 1, none), np.array(so_far, dtype=float)
    for more, room in enumerate(here):
        part = found[more : more + len(rooms)]
        choose(part, rooms + room, out=part)
    return [int(rooms) for rooms in found[: limit + 1]]


@functools.lru_cache(maxsize=10_000)
def _on_node(
    cpus: float,
    devices: int,
    one: tuple[float, float] | None,
    other: tuple[float, float] | None,
    others: int,
    ones: int,
) -> tuple[tuple[int, int], ...]:
    """Return the rooms for one sort on a node, worst and best, by how many of the other sort are on it (0, 1, …)."""
    by_gpu = _on_gpus(devices, one[1] if one else 0.0, other[1] if other else 0.0, others if other else 0, ones)
    found = []
    for placed, (low, high) in enumerate(by_gpu):
        left = cpus - placed * (other[0] if other else 0.0)
        if left < -TINY:
            break
        by_cpu = (_times(left, one[0]) if one[0] else ones) if one else 0
        found.append((min(low, by_cpu, ones), min(high, by_cpu, ones)))
    return tuple(found)


def _on_gpus(devices: int, one: float, other: float, others: int, ones: int) -> list[tuple[int, int]]:
    """Return the rooms on GPUs alike. Shares above 1 are whole GPUs: then rooms are counted in free ones."""
    if not other:
        free = ones if not one else devices * _times(1.0, one) if one <= 1 else devices // int(one)
        return [(free, free)] * (others + 1)
    each = [
        _times(1.0 - placed * min(other, 1.0), min(one, 1.0)) if one else ones
        for placed in range(_times(1.0, other) + 1)
    ]
    if other > 1:
        each = [_times(1.0, min(one, 1.0)) if one else ones, 0]
    low, high = [0], [0]
    limit = others * max(1, int(other))
    for _ in range(devices):
        low, high = _joined(low, each, limit, WORST), _joined(high, each, limit, BEST)
    step, whole = max(1, int(other)), max(1, int(one))
    placed = [count * step for count in range(others + 1) if count * step < len(high)]
    if not one:
        return [(ones, ones)] * len(placed)
    return [(low[count] // whole, high[count] // whole) for count in placed]


def _times(room: float, share: float) -> int:
    return int(room / share + TINY)
