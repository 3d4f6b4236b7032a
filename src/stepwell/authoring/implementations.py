"""Where the implementations of a blueprint's nodes come from: names in modules, never imports by a file's will."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from stepwell.authoring.steps import Step
from stepwell.authoring.workflows import WorkflowRef
from stepwell.errors import DefinitionError
from stepwell.model.blueprints import ALIASES

Implementation = Step[..., Any] | WorkflowRef[Any, Any] | type[Any] | Callable[..., Any]
"""A step, a workflow, a class with `exec`, or a function of `NodeContext`."""


def implementation_name(implementation: Implementation) -> str:
    """The name by which a blueprint's `uses` calls it; empty if it has none."""
    if isinstance(implementation, WorkflowRef):
        return implementation.id
    inner: Any = implementation
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = str(getattr(inner, "__name__", type(inner).__name__))
    return "" if name == "<lambda>" else name


def checked_implementation(name: str, value: Any) -> Any:
    """The same. `DefinitionError` if no node can be made of it."""
    if inspect.isclass(value) and not callable(getattr(value, "exec", None)):
        raise DefinitionError(
            f"{name!r} is {value!r}, which has no exec; a node's class has one, see docs/blueprints.md"
        )
    if not isinstance(value, WorkflowRef) and not callable(value):
        raise DefinitionError(f"{name!r} is {value!r}, which no node can be made of; give a step, function or class")
    return value


def found_implementations(include: Iterable[object]) -> dict[str, Implementation]:
    """All implementations in what was given, by name. `DefinitionError` if two have one name."""
    found: dict[str, Implementation] = {}
    for item in [include] if isinstance(include, Mapping) else include:
        for name, implementation in _of(item):
            present = found.setdefault(name, implementation)
            if present is not implementation:
                raise DefinitionError(
                    f"two implementations are called {name!r}; include them by a dict with other names"
                )
    return found


def _of(item: object) -> Iterable[tuple[str, Any]]:
    if isinstance(item, str):
        item = sys.modules.get(item) or importlib.import_module(item)
    if isinstance(item, Mapping):
        return [(str(name), checked_implementation(str(name), value)) for name, value in item.items()]
    if isinstance(item, ModuleType):
        return [pair for name, value in vars(item).items() for pair in _in_module(item, name, value)]
    if callable(item) and (name := implementation_name(item)):
        return [(name, checked_implementation(name, item))]
    raise DefinitionError(f"include holds {item!r}; give modules, module names, nodes, blueprints, or a dict of nodes")


def _in_module(module: ModuleType, name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """What a module offers: what it defines itself, under its own name, and all steps and workflows in it. A helper
    that happens to be called `join` or `start` replaces no built-in node; what shall is included by itself."""
    if has_type(value, Step, WorkflowRef):
        names = [implementation_name(value), *([] if name.startswith("_") else [name])]
        return [(name, value) for name in dict.fromkeys(names) if name not in ALIASES]
    is_node = has_type(value, FunctionType) or (has_type(value, type) and callable(getattr(value, "exec", None)))
    is_own = is_node and not name.startswith("_") and name not in ALIASES and value.__module__ == module.__name__
    return [(name, value)] if is_own else ()


def has_type(value: object, *types: type[Any]) -> bool:
    """As `isinstance`, which asks the value too: a module may hold one that cannot answer now, such as Flask's
    `request` where there is none."""
    return issubclass(type(value), types)
