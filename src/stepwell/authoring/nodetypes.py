"""What the annotations of node code say of its input and its output."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

from stepwell.authoring.nodes import NodeContext, NodeResult
from stepwell.codec import resolve_annotations
from stepwell.errors import DefinitionError


def input_type(fn: Callable[..., Any]) -> Any:
    """`T` of the `NodeContext[T]` that the function takes."""
    target = signed(fn)
    parameters = [name for name in inspect.signature(target).parameters if name != "self"]
    if not parameters:
        raise DefinitionError(
            f"node {getattr(fn, '__qualname__', fn)!r} takes nothing; write it as f(ctx: NodeContext)"
        )
    return _type_in(resolve_annotations(target).get(parameters[0], Any))


def signed(fn: Callable[..., Any]) -> Any:
    """What has the annotations of a callable."""
    inner: Any = fn
    while isinstance(inner, functools.partial) and not inner.args:
        inner = inner.func
    return inner if inspect.isfunction(inner) or inspect.ismethod(inner) else type(inner).__call__


def return_type(fn: Any) -> Any:
    """What a function says that it returns, besides a `NodeResult`."""
    hint = resolve_annotations(fn).get("return", Any) if inspect.isfunction(fn) or inspect.ismethod(fn) else Any
    if get_origin(hint) in (Union, UnionType):
        rest = [part for part in get_args(hint) if part is not NodeResult]
        return Union[tuple(rest)]  # noqa: UP007 - made at run time
    return Any if hint is NodeResult else hint


def class_return_type(kind: type[Any]) -> Any:
    """The same of a class: what its last phase returns."""
    return return_type(getattr(kind, "post", None) or getattr(kind, "exec", None))


def class_input_type(kind: type[Any]) -> Any:
    """The same of the context that its phases take."""
    for name in ("prep", "exec", "post"):
        phase = getattr(kind, name, None)
        hints = resolve_annotations(phase).values() if inspect.isfunction(phase) else ()
        found = [type for hint in hints if (type := _type_in(hint)) is not Any]
        if found:
            return found[0]
    return Any


def _type_in(hint: Any) -> Any:
    return (get_args(hint) or (Any,))[0] if get_origin(hint) is NodeContext else Any
