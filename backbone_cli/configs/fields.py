"""Config fields that check themselves: bounds are declared beside the field, types come from its annotation."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields
from functools import cache
from typing import Any, ClassVar, Union, get_args, get_origin

IntOrPair = int | Sequence[int]
"""One number for both axes, or (height, width)."""

MAX = 2**20
"""No real network has a number above this, and a list as long as a corrupt number says would fill the memory."""


def bounded(default: Any, least: int = 1) -> Any:
    """A dataclass field whose numbers, single or in (nested) lists, must lie between `least` and `MAX`."""
    return field(default=default, metadata={"least": least})


def pair(size: IntOrPair) -> tuple[int, int]:
    """`224` -> (224, 224), `[480, 640]` -> (480, 640)."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def check_fields(config: Any) -> None:
    """Raise ValueError if a dataclass field has the wrong type for its annotation, or a number out of bounds."""
    cls: Any = type(config)
    hints = field_types(cls)
    for f in fields(config):
        value = getattr(config, f.name)
        if not has_type(value, hints[f.name]):
            raise ValueError(f"{f.name}={value!r} should be {str(f.type).replace('IntOrPair', 'int or (int, int)')}.")
        least = f.metadata.get("least")
        if least is not None and not all(least <= number <= MAX for number in flatten(value)):
            raise ValueError(f"{f.name}={value!r} should lie between {least} and {MAX}.")


@cache
def field_types(cls: Any) -> dict[str, Any]:
    """Field name -> its type, of a dataclass whose annotations may be strings."""
    owners = {name: base for base in reversed(cls.__mro__) for name in inspect.get_annotations(base)}
    namespaces = {base: vars(sys.modules[base.__module__]) for base in set(owners.values())}
    return {
        f.name: eval(f.type, namespaces[owners[f.name]]) if isinstance(f.type, str) else f.type for f in fields(cls)
    }


def has_type(value: Any, expected: Any) -> bool:
    """Whether a value read from JSON is what a type annotation says. Raises TypeError for unknown annotations."""
    if expected is Any:
        return True
    if expected is None or expected is type(None):
        return value is None
    if expected == IntOrPair:
        return has_type(value, int) or (has_type(value, Sequence[int]) and len(value) == 2)
    if expected is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if expected in (bool, str):
        return isinstance(value, expected)
    origin, args = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        if has_type(None, args[-1]) and set(args[:-1]) == set(get_args(IntOrPair)):  # IntOrPair | None, flattened
            return value is None or has_type(value, IntOrPair)
        return any(has_type(value, arg) for arg in args)
    if origin in (list, Sequence):
        return isinstance(value, list | tuple) and all(has_type(item, args[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if isinstance(expected, type):
        return isinstance(value, expected)
    if origin is ClassVar:
        return True
    raise TypeError(f"config fields can't have the type {expected}")


def flatten(value: Any) -> Iterator[float]:
    """All numbers in a field: the value itself, or those in its lists; nothing for None."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from flatten(item)
    elif value is not None:
        yield value
