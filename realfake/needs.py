"""What specs need that is not made yet: everything that they hold, down to the shards of every pool.

One listing a pool. Which of it is ready, and what a failure blocks, is in ``board``.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from realfake.samples import SHARD_ROWS
from realfake.spec import (
    Audit,
    Captions,
    ClosedSet,
    Dataset,
    Distances,
    Evaluation,
    Fidelity,
    Gan,
    Lora,
    Pool,
    Pretrained,
    Spec,
    Subset,
    Translation,
    Trial,
    address,
    inputs,
    order,
    root_generator,
)
from realfake.store import Store
from realfake.synthesis import missing

Fitted = ClosedSet | Gan | Translation | Pretrained | Lora | Captions  # made in a lane before images can be
Sharded = Pool | Distances


@dataclass
class Needs:
    """What has no record yet. ``shards`` are the missing first indices of everything sharded that a spec uses."""

    trials: dict[str, Trial]
    fits: dict[str, Fitted]
    pools: dict[str, Sharded]
    shards: dict[str, set[int]]
    evaluations: dict[str, Evaluation | Audit | Fidelity] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether everything is made."""
        return not (self.specs or any(self.shards.values()))

    @property
    def specs(self) -> dict[str, Spec]:
        """Everything that is trained or evaluated in a lane, by address."""
        return {**self.fits, **self.trials, **self.evaluations}

    @property
    def images(self) -> int:
        """How many synthetic images are missing (whole shards)."""
        return self._rows(Pool)

    @property
    def distances(self) -> int:
        """How many distances of images are missing (whole shards)."""
        return self._rows(Distances)

    def _rows(self, kind: type) -> int:
        return SHARD_ROWS * sum(len(lacking) for name, lacking in self.shards.items() if type(self.pools[name]) is kind)


def needs(specs: Iterable[Spec], store: Store, verify: bool = True) -> Needs:
    """Return what these specs need that is not made: trials, evaluations, missing or corrupt shards, generators.

    What only a made thing was made from is not needed: a generator none of whose images is missing, a critic whose
    distances are there.
    """
    found = Needs({}, {}, {}, {})
    volumes: dict[str, int] = {}
    largest: dict[str, Subset] = {}  # of each pool: asked for after all else, so that a pool is listed once
    todo = deque(specs)
    store.refresh(order(tuple(todo)))
    while todo or largest:
        if not todo:
            todo += _shards(largest.pop(next(iter(largest))), store, verify, found, volumes)
            continue
        spec = todo.popleft()
        if isinstance(spec, Subset):
            before = largest.get(address(spec.of))
            largest[address(spec.of)] = spec if before is None or before.size < spec.size else before
        elif isinstance(spec, Trial):
            todo += spec.synthetic
            if not store.record(spec):
                found.trials[address(spec)] = spec
        elif isinstance(spec, Evaluation | Audit | Fidelity) and not store.record(spec):
            found.evaluations[address(spec)] = spec
            todo += foundations(spec)
        elif isinstance(spec, Fitted) and address(spec) not in found.fits and not store.record(spec):
            found.fits[address(spec)] = spec
            todo += foundations(spec)
    return found


def foundations(spec: Spec) -> tuple[Spec, ...]:
    """Return what must be made before a spec can be: subsets of what is sharded, and specs with a record."""
    match spec:
        case Trial():
            return spec.synthetic
        case Evaluation() | Audit():
            return (spec.of,)
        case Fidelity():
            return (spec.of, *spec.judges)
        case Translation():
            virtual = root_generator(spec.virtual.of.generator)  # type: ignore[union-attr]
            return (virtual, *filter(None, [spec.distances]), *_rounds_before(spec))
        case Distances():
            return (spec.critic,)
        case Pool() | Lora() | Pretrained():
            return tuple(_made_of(spec))
    return ()


def _made_of(spec: Spec) -> Iterator[Spec]:
    """Yield the things with a record that a spec holds, directly or through views; datasets are imported before."""
    for held in inputs(spec):
        if held.made == "view":
            yield from _made_of(held)
        elif not isinstance(held, Dataset):
            yield held


def _rounds_before(spec: Translation) -> list[Spec]:
    """Return what the critic was trained on, and the rounds that made it: their people, and which images are taken."""
    parts = spec.critic.synthetic if spec.critic else ()
    makers = [part.of.generator for part in parts if isinstance(part.of, Pool)]
    return [*parts, *(maker for maker in makers if isinstance(maker, Translation))]


def _shards(part: Subset, store: Store, verify: bool, found: Needs, volumes: dict[str, int]) -> list[Spec]:
    """Note which shards of a prefix are missing; return what those need in their turn."""
    name = address(part.of)
    if not isinstance(part.of, Sharded) or volumes.get(name, 0) >= part.size:
        return []
    volumes[name] = part.size
    found.pools[name], found.shards[name] = part.of, set(missing(store, part.of, part.size, verify))
    if not found.shards[name]:
        return []
    images = [Subset(of=part.of.of, size=part.size)] if isinstance(part.of, Distances) else []
    return [*foundations(part.of), *images]
