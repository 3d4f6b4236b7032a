"""Whether a value came back as it went in, and if not, where it differs.

Python's `==` cannot tell: `1 == True`, a named tuple equals a tuple, and a class may define equality as it likes or not
at all. So values are compared by exact type and by fields. Flat collections take a path that runs in C.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import datetime, time
from enum import Enum
from typing import Any, NamedTuple

ATOMS: frozenset[type] = frozenset({int, str, bool, float, bytes, type(None)})
"""Types for which equality between two values of the same type says all there is to say."""


class Difference(NamedTuple):
    """The first place where two values part; `path` is `` for the values themselves, else `.items[3].price`."""

    path: str
    before: Any
    after: Any


def difference(before: Any, after: Any) -> Difference | None:
    """The first difference, or None. An int that became the equal float is none."""
    kind = type(before)
    if kind is not type(after):
        if kind is int and type(after) is float and before == after:
            return None
        return Difference("", before, after)
    if kind in ATOMS:
        return None if before == after else Difference("", before, after)
    if kind is list or issubclass(kind, tuple):
        return _of_items(before, after)
    if kind is dict:
        return _of_mappings(before, after)
    if kind is set or kind is frozenset:
        return _of_sets(before, after)
    names = field_names(kind)
    return _of_leaves(before, after) if names is None else _of_fields(names, before, after)


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a value, each with its step of the path."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"[{key!r}]", part
    elif isinstance(value, list | tuple | set | frozenset):
        for index, part in enumerate(value):
            yield f"[{index}]", part
    else:
        for name in field_names(type(value)) or ():
            yield f".{name}", getattr(value, name, None)


def field_names(kind: type) -> tuple[str, ...] | None:
    """The fields that make up a value of this class; None for a class that is compared by `==`."""
    if (names := getattr(kind, "__struct_fields__", None)) is not None:
        return tuple(names)
    if issubclass(kind, Enum):
        return None
    if is_dataclass(kind):
        return tuple(field.name for field in dataclass_fields(kind))
    if isinstance(names := getattr(kind, "model_fields", None), dict):
        return (*names, "__pydantic_extra__")
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        return tuple(attribute.name for attribute in attributes)
    return None


def _of_items(before: Any, after: Any) -> Difference | None:
    kinds = list(map(type, before))
    if kinds == list(map(type, after)) and ATOMS.issuperset(kinds) and before == after:
        return None
    if len(before) != len(after):
        return Difference("", before, after)
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if found := difference(old, new):
            return _under(f"[{index}]", found)
    return None


def _of_mappings(before: dict[Any, Any], after: dict[Any, Any]) -> Difference | None:
    if found := _of_items(list(before), list(after)):
        return found._replace(path=f"[{found.before!r}]" if found.path else "")
    for key, old in before.items():
        if found := difference(old, after[key]):
            return _under(f"[{key!r}]", found)
    return None


def _of_sets(before: Any, after: Any) -> Difference | None:
    same = {(type(part), part) for part in before} == {(type(part), part) for part in after}
    return None if same else Difference("", before, after)


def _of_fields(names: tuple[str, ...], before: Any, after: Any) -> Difference | None:
    for name in names:
        if found := difference(getattr(before, name, None), getattr(after, name, None)):
            return _under(f".{name}", found)
    return None


def _of_leaves(before: Any, after: Any) -> Difference | None:
    kind: Any = type(before)
    if isinstance(before, datetime | time):
        # By offset, not by zone: a ZoneInfo comes back as the offset it stood for. `fold` has a meaning only without.
        naive = before.tzinfo is None, after.tzinfo is None
        same = before.isoformat() == after.isoformat() and (
            naive == (False, False) or (naive == (True, True) and before.fold == after.fold)
        )
    elif kind.__eq__ is object.__eq__ and not isinstance(before, Enum):
        return _of_fields(_attributes(before, after), before, after)
    else:
        try:
            same = bool(before == after)
        except Exception:  # a signalling NaN, an array: what cannot be compared is not known to be the same
            same = False
    return None if same else Difference("", before, after)


def _attributes(*values: Any) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for value in values:
        names.update(dict.fromkeys(getattr(value, "__dict__", ())))
    for kind in type(values[0]).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names.update(dict.fromkeys((slots,) if isinstance(slots, str) else slots))
    return tuple(names)


def _under(step: str, found: Difference) -> Difference:
    return Difference(step + found.path, found.before, found.after)
