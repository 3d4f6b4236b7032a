"""What annotations say of values in JSON: which kind they are, and which fields they have."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NewType, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from msgspec import Struct

MISSING: Final = object()

PLAIN = frozenset({"bool", "number", "text", "record", "none"})
"""Shapes whose truth is the same in Python and in expressions."""


class Field(Struct, frozen=True):
    """A field in JSON: its name there, its type, and what it is if it is left out; MISSING: it never is."""

    name: str
    hint: Any
    default: Any = MISSING


def shapes(hint: Any) -> frozenset[str]:
    """The kinds of JSON that values of a type have; "any" if that is not known."""
    origin = get_origin(hint)
    if origin is Annotated:
        return shapes(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return frozenset().union(*map(shapes, get_args(hint)))
    if origin is Literal:
        return frozenset().union(*(shapes(type(value)) for value in get_args(hint)))
    if isinstance(hint, NewType):
        return shapes(hint.__supertype__)
    return frozenset({_shape(origin or hint)})


def shape(hint: Any) -> str:
    """The one kind that the values have, None aside; "any" if that is not known."""
    found = shapes(hint) - {"none"}
    return next(iter(found)) if len(found) == 1 else "any"


def item_of(hint: Any) -> Any:
    """The type of the items of a list, or of the values of a dict."""
    arguments = get_args(hint)
    kind = shape(hint)
    if kind == "text":
        return str
    if kind == "map" and len(arguments) == 2:
        return arguments[1]
    if kind == "list" and arguments and (len(arguments) == 1 or arguments[1] is Ellipsis or len(set(arguments)) == 1):
        return arguments[0]
    return Any


def length_of(hint: Any) -> int | None:
    """How many items a tuple has, if its type says so."""
    arguments = get_args(hint)
    return len(arguments) if get_origin(hint) is tuple and Ellipsis not in arguments else None


def foreign_in(hint: Any) -> type | None:
    """A class whose values are something else in JSON, so that operators would mean something else, too."""
    for part in _parts(hint):
        kind = part.__supertype__ if isinstance(part, NewType) else get_origin(part) or part
        if isinstance(kind, type) and kind not in (object, Any) and shapes(kind) == {"any"}:
            return kind
    return None


def fields_of(hint: Any) -> dict[str, Field] | None:
    """The fields of a dataclass, Struct or TypedDict by their names in Python, or None."""
    classes = [part for part in _parts(hint) if part is not type(None)]
    if len(classes) != 1 or shapes(classes[0]) != {"record"}:
        return None
    try:
        hints = get_type_hints(classes[0])
    except Exception:  # annotations are code of users
        return None
    if dataclasses.is_dataclass(classes[0]):
        return {field.name: Field(field.name, hints[field.name]) for field in dataclasses.fields(classes[0])}
    if not issubclass(classes[0], Struct):
        return {name: Field(name, hint) for name, hint in hints.items()}
    defaults = defaults_of(classes[0]) if classes[0].__struct_config__.omit_defaults else {}
    return {
        info.name: Field(info.encode_name, hints[info.name], defaults.get(info.name, MISSING))
        for info in msgspec.structs.fields(classes[0])
    }


def defaults_of(kind: type) -> dict[str, Any]:
    """The fields that need not be given, as JSON."""
    found: dict[str, Any] = {}
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            if field.default is not dataclasses.MISSING:
                found[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
    elif issubclass(kind, Struct):
        for info in msgspec.structs.fields(kind):
            if info.default is not msgspec.NODEFAULT:
                found[info.name] = info.default
            elif info.default_factory is not msgspec.NODEFAULT:
                found[info.name] = info.default_factory()
    return {name: msgspec.to_builtins(value) for name, value in found.items()}


def is_record(kind: Any) -> bool:
    """A class whose values are objects with fields in JSON."""
    if not isinstance(kind, type):
        return False
    if issubclass(kind, Struct):
        return not kind.__struct_config__.array_like
    return dataclasses.is_dataclass(kind) or is_typeddict(kind)


def _shape(kind: Any) -> str:
    if kind is None or kind is type(None):
        return "none"
    if not isinstance(kind, type):
        return "any"
    if issubclass(kind, enum.Enum):
        found = {_shape(type(member.value)) for member in kind}
        return found.pop() if len(found) == 1 else "any"
    if is_record(kind):
        return "record"
    for base, name in ((bool, "bool"), (int | float, "number"), (str, "text")):
        if issubclass(kind, base):
            return name
    if issubclass(kind, Mapping):
        return "map"
    return "list" if issubclass(kind, Sequence | set | frozenset) else "any"


def _parts(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        return _parts(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
