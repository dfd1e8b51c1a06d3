"""What a spec is, its address, what it holds, and the order in which things are made. The vocabulary is in ``spec``.

A spec that holds a spec depends on it: that one sentence is the graph, the cache key and the resume rule. Standard
library only.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from realfake.values import Value, differing, fields


class Spec(Value):
    """A Value with an address of its own. ``revision`` is raised when the meaning of a kind changes."""

    kind: ClassVar[str] = "spec"
    revision: ClassVar[int] = 1
    made: ClassVar[Literal["record", "shards", "view"]] = "view"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.kind = cls.__name__.lower()
        for name in ("__hash__", "__eq__", "__repr__"):  # instead of the ones that dataclass has just made
            setattr(cls, name, getattr(Spec, name))

    # By address: fields of fields would be walked anew at every mention, exponentially along a chain of rounds.

    def __hash__(self) -> int:
        return hash(address(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and type(other) is type(self) and address(other) == address(self)

    def __repr__(self) -> str:
        """Show the fields, with what is held inside those by address."""
        parts = ", ".join(f"{field.name}={_brief(getattr(self, field.name))}" for field in fields(self))
        return f"{type(self).__name__}({parts})"

    def canonical(self, full: bool) -> list[Any]:
        """Return the address: whoever holds a spec holds that, not its fields."""
        return ["spec", address(self)]


def _brief(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({''.join(f'{_brief(item)}, ' for item in value)})"
    return address(value) if isinstance(value, Spec) else repr(value)


def address(spec: Spec) -> str:
    """Return ``<kind>-<12 hex of sha256>`` of kind, revision, and the fields that differ from their defaults."""
    if "_address" not in spec.__dict__:
        text = json.dumps([spec.kind, spec.revision, differing(spec)], sort_keys=True, separators=(",", ":"))
        object.__setattr__(spec, "_address", f"{spec.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}")
    return spec.__dict__["_address"]


def inputs(spec: Value) -> tuple[Spec, ...]:
    """Return the specs that this one holds, directly or inside tuples and values."""
    return tuple(_held(getattr(spec, f.name) for f in fields(spec)))


def order(specs: Iterable[Spec], closed: type | tuple[type, ...] = ()) -> tuple[Spec, ...]:
    """Return the specs and all that they hold, each once, inputs first; what ``closed`` kinds hold is left out."""
    seen: dict[str, Spec] = {}
    for spec in specs:
        _visit(spec, seen, closed)
    return tuple(seen.values())


def _held(values: Iterable[Any]) -> Iterator[Spec]:
    for value in values:
        if isinstance(value, Spec):
            yield value
        elif isinstance(value, tuple):
            yield from _held(value)
        elif isinstance(value, Value):
            yield from inputs(value)


def _visit(spec: Spec, seen: dict[str, Spec], closed: type | tuple[type, ...]) -> None:
    if address(spec) not in seen:
        for held in () if isinstance(spec, closed) else inputs(spec):
            _visit(held, seen, closed)
        seen[address(spec)] = spec
