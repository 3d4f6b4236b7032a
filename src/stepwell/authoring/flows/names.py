"""What the names in a flow stand for: variables of the run, or things of the module that are known beforehand."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_type_hints

from stepwell.authoring.context import Context
from stepwell.authoring.flows.reserved import RESERVED
from stepwell.authoring.flows.shapes import MISSING
from stepwell.authoring.flows.source import Source


class Names:
    """The names of one flow. `context` and `input` are its parameters; either may be missing."""

    def __init__(self, source: Source, fn: Callable[..., Any]) -> None:
        self._source = source
        self._hints = _hints(fn)
        self.context, self.input = self._parameters(fn)
        self.locals = set(_assigned(source.tree))
        if self.input is not None:
            self.locals.add(self.input)
        self._globals = {**vars(builtins), **fn.__globals__, **_closure(fn)}
        self._keys: dict[str, str] = {}
        for name in sorted(self.locals):
            self._keys[name] = self._free(name)
        self._inner: dict[str, tuple[str, Any]] = {}
        self.errors: dict[str, str] = {}

    @property
    def input_hint(self) -> Any:
        """The annotation of the input."""
        return self._hints.get(self.input or "", Any)

    @property
    def output_hint(self) -> Any:
        """The annotation of the result."""
        return self._hints.get("return", Any)

    def keys(self) -> list[str]:
        """The state keys of all variables."""
        return list(self._keys.values())

    def key(self, name: str) -> str:
        """Where a variable is kept: its own name, unless that means something in expressions."""
        return self._inner[name][0] if name in self._inner else self._keys[name]

    def inner_hint(self, name: str) -> Any:
        """What is known of a temporary, or MISSING."""
        return self._inner[name][1] if name in self._inner else MISSING

    def is_inner(self, name: str) -> bool:
        """Whether this is a temporary, or the variable of a comprehension around this place."""
        return name in self._inner

    def point(self, name: str, key: str) -> None:
        """Let a variable be read from another place, such as the output of a node."""
        self._keys[name] = key

    def is_variable(self, name: str) -> bool:
        """Whether this is something of the run."""
        return name in self._inner or name in self.locals

    def temporary(self, key: str, hint: Any) -> ast.Name:
        """A name for something that was computed beforehand. Nobody can write it, so it hides nothing."""
        name = f"${key}"
        self._inner[name] = (key, hint)
        return ast.Name(id=name, ctx=ast.Load())

    @contextmanager
    def within(self, name: str, key: str, hint: Any) -> Iterator[None]:
        """For a block, let `name` be the variable of a comprehension, or of nothing outside of it."""
        before = self._inner.get(name)
        self._inner[name] = (key, hint)
        try:
            yield
        finally:
            if before is None:
                del self._inner[name]
            else:
                self._inner[name] = before

    @contextmanager
    def error(self, name: str | None, key: str) -> Iterator[None]:
        """For the block of a handler, let `name` be the failure under `key`."""
        before = dict(self.errors)
        if name is not None:
            self.errors[name] = key
        try:
            yield
        finally:
            self.errors = before

    def static(self, node: ast.expr) -> Any:
        """What a name or a dotted name of the module stands for, or MISSING."""
        if isinstance(node, ast.Name):
            if self.is_variable(node.id) or node.id == self.context or node.id in self.errors:
                return MISSING
            return self._globals.get(node.id, MISSING)
        if isinstance(node, ast.Attribute):
            owner = self.static(node.value)
            return MISSING if owner is MISSING else getattr(owner, node.attr, MISSING)
        return MISSING

    def _free(self, name: str) -> str:
        """The name itself if it can stand in an expression and in `inputs`, where a leading `_` means something."""
        key = name if name.isascii() else "v" + "".join(f"_{ord(sign):x}" for sign in name)
        key = f"v{key}" if key[0] == "_" else key
        while key in RESERVED or (key != name and key in {*self.locals, *self._keys.values()}):
            key += "_"
        return key

    def _parameters(self, fn: Callable[..., Any]) -> tuple[str | None, str | None]:
        parameters = list(inspect.signature(fn).parameters.values())
        plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        first = parameters[0].name if parameters else ""
        has_context = bool(parameters) and (first == "ctx" or self._hints.get(first) is Context)
        rest = parameters[1:] if has_context else parameters
        if first == "self" or len(rest) > 1 or any(p.kind not in plain or p.default is not p.empty for p in parameters):
            shown = ", ".join(map(str, parameters))
            name = self._source.name
            raise self._source.refuse(
                self._source.tree,
                f"flow {name} takes ({shown})",
                f"write `async def {name}(input: T)` or `async def {name}(ctx: Context, input: T)`: one input without "
                "a default, a dataclass or Struct if it is more than one value",
            )
        return (first if has_context else None), (rest[0].name if rest else None)


def _assigned(tree: ast.AsyncFunctionDef) -> Iterator[str]:
    """The variables of the function; those of comprehensions are their own."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        todo += (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.comprehension))


def _closure(fn: Callable[..., Any]) -> dict[str, Any]:
    found = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(fn, localns=_closure(fn))
    except Exception:  # annotations are code of users; without them less is known
        return {}
