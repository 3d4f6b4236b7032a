"""Which lists a flow may change in place: those that only one name holds.

The variables of a run are values. `items.append(x)` becomes a new list under the same name, which is the same only if
nothing else holds the old one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

CHANGES = ("append", "extend")
"""Methods that change a list in place."""

_FRESH = (ast.List, ast.ListComp, ast.BinOp, ast.Await, ast.Constant)
_FRESH_CALLS = ("list", "sorted", "range")
_READING = ("all", "any", "bool", "float", "int", "len", "list", "range", "sorted", "str", "sum")
"""Functions whose result does not hold what they were given."""


def alias_of(tree: ast.AsyncFunctionDef, name: str) -> ast.AST | None:
    """The place where something else comes to hold the list of this variable, or None."""
    for statement in tree.body:
        for node in ast.walk(statement):
            found = next((part for part in _aliasing(node, name)), None)
            if found is not None:
                return found
    return None


def _aliasing(node: ast.AST, name: str) -> Iterator[ast.AST]:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets: Sequence[ast.expr] = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target, value in ((target, node.value) for target in targets if node.value is not None):
            yield from (part for part in _held(value) if _is(part, name))
            if any(_names(part, name) and not _is_fresh(given) for part, given in _paired(target, value)):
                yield node
    elif isinstance(node, ast.For):
        if _names(node.target, name):
            yield node
        if _is(node.iter, name) and any(_changes(inner, name) for part in node.body for inner in ast.walk(part)):
            yield node.iter
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        yield from (part for argument in node.args for part in _held(argument) if _is(part, name))
    elif isinstance(node, ast.comprehension) and _names(node.target, name):
        yield node.target


def _held(value: ast.expr) -> Iterator[ast.expr]:
    """The parts of an expression that its value may hold as they are."""
    yield value
    if isinstance(value, ast.List | ast.Tuple):
        inner = value.elts
    elif isinstance(value, ast.Dict):
        inner = value.values
    elif isinstance(value, ast.IfExp):
        inner = [value.body, value.orelse]
    elif isinstance(value, ast.BoolOp):
        inner = value.values
    elif isinstance(value, ast.ListComp | ast.GeneratorExp):
        inner = [value.elt]
    elif isinstance(value, ast.Call) and not (isinstance(value.func, ast.Name) and value.func.id in _READING):
        inner = [*value.args, *(keyword.value for keyword in value.keywords)]
    else:
        inner = []
    for part in inner:
        yield from _held(part)


def _paired(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """What gets what, if that can be seen."""
    if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        return list(zip(target.elts, value.elts, strict=False))
    return [(target, value)]


def _is_fresh(value: ast.expr) -> bool:
    if isinstance(value, ast.Subscript):
        return isinstance(value.slice, ast.Slice)
    if isinstance(value, ast.Call):
        return (isinstance(value.func, ast.Name) and value.func.id in _FRESH_CALLS) or _is_copy(value)
    return isinstance(value, _FRESH)


def _is_copy(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in ("copy", "split", "keys", "values")


def _changes(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.AugAssign):
        return _is(node.target, name)
    return changed_list(node) == name


def changed_list(node: ast.AST) -> str | None:
    """The name whose list this call appends to, or None."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES):
        return None
    return node.func.value.id if isinstance(node.func.value, ast.Name) else None


def _names(target: ast.AST, name: str) -> bool:
    return any(_is(inner, name) for inner in ast.walk(target))


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
