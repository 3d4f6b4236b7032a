"""Where the order of a set would decide what a body does: it differs between processes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from stepwell.authoring.lint_names import Scope, own_nodes

_OPERATORS = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub)
_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_ORDERED = frozenset(
    {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed", "dict.fromkeys", "collections.deque"}
    | {f"itertools.{name}" for name in ("chain", "islice", "cycle", "product", "permutations", "combinations")}
    | {f"itertools.{name}" for name in ("accumulate", "batched", "pairwise", "zip_longest")}
)
_ORDERLESS = frozenset({"sorted", "sum", "min", "max", "any", "all", "len", "set", "frozenset"})
_MAX_ALIASES = 8


def set_iterations(node: ast.AST, scope: Scope) -> Iterator[ast.expr]:
    """The sets whose order is seen by this very node (not by what is inside of it)."""
    for candidate in _iterated(node, scope):
        if is_set(candidate, scope):
            yield candidate


def orderless_arguments(call: ast.Call, scope: Scope) -> Iterator[ast.expr]:
    """Comprehensions whose order the call does not show: `sorted(f(x) for x in names)`. Not if they wait within."""
    if scope.qualified(call.func).removeprefix("builtins.") in _ORDERLESS:
        for argument in call.args:
            if isinstance(argument, ast.GeneratorExp | ast.ListComp | ast.SetComp) and not _waits(argument):
                yield argument


def is_set(node: ast.AST | None, scope: Scope, aliases: int = 0) -> bool:
    """Whether this is surely a set, and not of numbers or tasks."""
    match node:
        case ast.Set(elts=elements):
            return not all(_has_fixed_hash(item) for item in elements)
        case ast.SetComp(elt=element):
            return not _has_fixed_hash(element)
        case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _METHODS:
            return is_set(value, scope, aliases)
        case ast.Call(func=function):
            return scope.qualified(function) in ("builtins.set", "builtins.frozenset")
        case ast.BinOp(left=left, op=operator, right=right) if isinstance(operator, _OPERATORS):
            return is_set(left, scope, aliases) or is_set(right, scope, aliases)
        case ast.Attribute(value=ast.Name() as owner, attr=field):
            return _is_set_field(owner, field, scope)
        case ast.Name(id=name):
            return aliases < _MAX_ALIASES and _is_set_name(name, scope, aliases + 1)
        case _:
            return False


def _iterated(node: ast.AST, scope: Scope) -> Iterator[ast.expr]:
    match node:
        case ast.For(iter=iterated) | ast.comprehension(iter=iterated) | ast.Starred(value=iterated):
            yield iterated
        case ast.Assign(targets=[ast.Tuple() | ast.List()], value=value):
            yield value
        case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]):
            yield value
        case ast.Call(func=function, args=arguments):
            name = scope.qualified(function).removeprefix("builtins.")
            method = function.attr if isinstance(function, ast.Attribute) else ""
            if name in _ORDERED or method in ("join", "map", "extend"):
                yield from arguments


def _is_set_name(name: str, scope: Scope, aliases: int) -> bool:
    found = scope.find(name)
    if found is None:
        return False
    where, bindings = found
    return all(
        is_set(item.node, where, aliases) if item.annotation is None else _is_set_annotation(item.annotation, where)
        for item in bindings
    )


def _is_set_field(owner: ast.Name, field: str, scope: Scope) -> bool:
    """Whether `order.tags` is annotated as a set, in the class that the name `order` is annotated with or made of."""
    found = scope.find(owner.id)
    if found is None or len(found[1]) != 1:
        return False
    where, (binding,) = found[0], found[1]
    made_of = binding.node.func if isinstance(binding.node, ast.Call) else None
    kind = binding.annotation or made_of
    definition = None if kind is None else where.definition(kind)
    if definition is None or not isinstance(definition.node, ast.ClassDef):
        return False
    return any(
        isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and item.target.id == field
        and _is_set_annotation(item.annotation, definition.scope)
        for item in definition.node.body
    )


def _is_set_annotation(annotation: ast.expr | None, scope: Scope) -> bool:
    if not isinstance(annotation, ast.Subscript):
        return False
    item = annotation.slice.value if isinstance(annotation.slice, ast.Subscript) else annotation.slice
    has_fixed_hash = scope.qualified(item) in ("builtins.int", "builtins.bool", "asyncio.Task", "asyncio.Future")
    return not has_fixed_hash and scope.qualified(annotation.value) in ("builtins.set", "builtins.frozenset")


def makes_task(node: ast.expr) -> bool:
    """Whether this starts a task, as in `group.create_task(...)`."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("create_task", "ensure_future", "start_soon")


def _has_fixed_hash(node: ast.expr) -> bool:
    """Numbers, and tasks: those of a workflow are ordered by when they began."""
    return (isinstance(node, ast.Constant) and isinstance(node.value, int)) or makes_task(node)


def _waits(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Await) for inner in own_nodes(node))
