"""What annotations say: resolved to types, and judged whether values of them can be written down."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

from msgspec import inspect as types

from stepwell.errors import DefinitionError


def resolve_annotations(fn: Callable[..., Any], *, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The types of the parameters and of `return`. `names` are further names, such as the locals around `fn`."""
    function = _function(fn)
    try:
        return get_type_hints(function, localns=dict(names) if names else None, include_extras=True)
    except NameError as error:
        raise DefinitionError(_unknown_name(function, error)) from error
    except Exception as error:  # annotations are code of users
        raise DefinitionError(f"the annotations of {_name(function)} are not types: {error}") from error


def annotation_problem(annotation: Any, *, custom: Callable[[Any], bool]) -> str | None:
    """Why values of this type cannot be written down, or None. `custom` says which foreign classes can be."""
    try:
        info = types.type_info(annotation)
    except NameError as error:
        return f"it mentions {error.name!r}, which is not defined when the program runs"
    except Exception as error:  # annotations are code of users
        return str(error)
    for kind in _custom_types(info, set()):
        if kind is object:
            continue
        if not custom(kind):
            return f"values of {getattr(kind, '__qualname__', kind)} cannot be written as JSON"
    return None


def _custom_types(info: Any, seen: set[int]) -> Iterator[Any]:
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, types.CustomType):
        yield info.cls
    elif isinstance(info, types.Type | types.Field):
        for name in info.__struct_fields__:
            if name not in ("default", "default_factory"):
                yield from _custom_types(getattr(info, name), seen)
    elif isinstance(info, tuple):
        for part in info:
            yield from _custom_types(part, seen)


def _function(fn: Any) -> Any:
    while isinstance(fn, functools.partial):
        fn = fn.func
    fn = inspect.unwrap(fn)
    return fn if inspect.isroutine(fn) or inspect.isclass(fn) else type(fn).__call__


def _unknown_name(function: Any, error: NameError) -> str:
    name = str(error.name)
    written = getattr(function, "__annotations__", {})
    parameter = next((key for key, text in written.items() if isinstance(text, str) and name in text), None)
    place = {None: "", "return": ", in the return type"}.get(parameter, f", at parameter `{parameter}`")
    return (
        f"{_name(function)}{place}: the name {name!r} is not defined when the program runs; "
        f"import it outside of `if TYPE_CHECKING:`, at the top level of the module"
    )


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", repr(function))
