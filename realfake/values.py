"""Frozen, keyword-only, type-checked data with a stable text: what every spec is built on.

The machinery only: names and types of fields are checked when a value is made, so that a study with a slip of the pen
stops at once with one clear sentence. The vocabulary itself is in ``spec``. Standard library only.
"""

import dataclasses
import difflib
import functools
import sys
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal, Union, dataclass_transform


class SpecError(ValueError):
    """A spec that makes no sense; the message says what, why, and what to type."""


def nearest(word: str, words: Iterable[str]) -> str:
    """Return 'did you mean …?' for the nearest of the words, or the list of them."""
    words = sorted(words)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(words) or 'none'}"


def _check_names(cls: type, init: Any) -> Any:
    @functools.wraps(init)
    def checked(self: Any, *args: Any, **given: Any) -> None:
        names = [f.name for f in fields(cls)]
        if args:
            raise SpecError(f"{cls.__name__}: fields are given by name, such as {cls.__name__}({names[0]}=…)")
        for name in given:
            if name not in names:
                raise SpecError(f"{cls.__name__} has no field {name!r}; {nearest(name, names)}")
        missing = [f.name for f in fields(cls) if f.default is dataclasses.MISSING and f.name not in given]
        if missing:
            raise SpecError(f"{cls.__name__} needs {', '.join(f'{name}=…' for name in missing)}")
        init(self, **given)

    return checked


_TYPES: dict[str, type] = {}  # specs name each other across modules, which therefore cannot all import each other


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Value:
    """Frozen, keyword-only, type-checked data that other specs hold. Counted by its type and fields."""

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        cls.__init__ = _check_names(cls, cls.__init__)
        _TYPES[cls.__name__] = cls

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in fields(self):
            where = f"{type(self).__name__}.{field.name}"
            object.__setattr__(self, field.name, _checked(getattr(self, field.name), hints[field.name], where))
        self.check()

    def check(self) -> None:
        """Raise SpecError when the fields, each of the right type, make no sense together."""

    def canonical(self, full: bool) -> list[Any]:
        """Return stable JSON: the type, and all fields or those that differ from their defaults."""
        return [type(self).__name__, full_fields(self) if full else differing(self)]


def fields(value: Value | type[Value]) -> tuple[dataclasses.Field, ...]:
    """Return the dataclass fields of a spec or of its type."""
    return dataclasses.fields(value)  # type: ignore[arg-type]


def full_fields(value: Value) -> dict[str, Any]:
    """Return every field as canonical JSON, defaults included: what a record keeps, to notice a changed default."""
    return {f.name: canonical(getattr(value, f.name), full=True) for f in fields(value)}


def differing(value: Value) -> dict[str, Any]:
    """Return the fields that differ from their defaults as canonical JSON: what an address is made of."""
    return {f.name: canonical(v) for f in fields(value) if not _same(v := getattr(value, f.name), f.default)}


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default


def canonical(value: Any, full: bool = False) -> Any:
    """Stable JSON for a value: int, float and bool stay apart, floats by repr, specs by address."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return [type(value).__name__, repr(value)]
    if isinstance(value, tuple):
        return ["tuple", *(canonical(v, full) for v in value)]
    if isinstance(value, Value):
        return value.canonical(full)
    raise SpecError(
        f"a {type(value).__name__} has no stable text, so no address can be made from it; "
        "use numbers, text, tuples and specs"
    )


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the declared types of a class's fields; names of its own module come before those of other specs."""
    return typing.get_type_hints(cls, localns={**_TYPES, **vars(sys.modules[cls.__module__])})


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return the value as its declared type (an int where a float is declared becomes one), or raise SpecError."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is Literal and type(value) is str and value in typing.get_args(option):
            return value
        if typing.get_origin(option) is tuple and isinstance(value, tuple | list | types.GeneratorType):
            item = typing.get_args(option)[0]
            return tuple(_checked(v, item, f"{where}[{i}]") for i, v in enumerate(value))
        if option is float and type(value) is int:
            return float(value)
        if isinstance(option, type) and type(value) is option:
            return value
    raise SpecError(f"{where} is {value!r}, a {type(value).__name__}; it must be {_named(options)}")


def _named(options: tuple[Any, ...]) -> str:
    def name(option: Any) -> str:
        if typing.get_origin(option) is Literal:
            return " or ".join(repr(v) for v in typing.get_args(option))
        if option is type(None):
            return "None"
        return getattr(option, "__name__", str(option)) if typing.get_origin(option) is None else str(option)

    return " or ".join(name(option) for option in options)


def at_least(value: Value, **lowest: float) -> None:
    """Raise SpecError when a field is below its lowest sensible value."""
    for name, low in lowest.items():
        if not getattr(value, name) >= low:
            raise SpecError(f"{type(value).__name__}.{name} is {getattr(value, name)!r}; it must be at least {low}")


def within(value: Value, low: float, high: float, *names: str) -> None:
    """Raise SpecError when a field lies outside [low, high]."""
    for name in names:
        if not low <= getattr(value, name) <= high:
            shown = getattr(value, name)
            raise SpecError(f"{type(value).__name__}.{name} is {shown!r}; it must lie between {low} and {high}")
