"""Coroutines that nobody awaits: a step that is called and then left, or used as if it were its result."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from stepwell.authoring.lint_names import FunctionNode, Scope

_CONTEXT_COROUTINES = frozenset({"sleep", "sleep_until", "receive", "create_hook", "start", "call", "map"})
_LIBRARY = frozenset({"asyncio.sleep", "asyncio.gather", "asyncio.wait", "asyncio.wait_for", "anyio.sleep"})
_HANDLE_COROUTINES = frozenset({"result", "send", "cancel"})
_OWN_METHODS = frozenset({"close", "send", "throw", "cancel", "done", "add_done_callback"})


class Coroutines:
    """The calls in one function that make a coroutine and nothing else, and what becomes of them."""

    def __init__(self, node: FunctionNode, *, is_workflow: bool) -> None:
        self._node = node
        self._is_workflow = is_workflow
        self._parents: dict[ast.AST, ast.AST] = {
            child: parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)
        }

    def lost_by(self, node: ast.AST, scope: Scope) -> Iterator[tuple[ast.Call, str]]:
        """The calls whose coroutines this very node loses, with what is called."""
        for value in self._used(node):
            if isinstance(value, ast.Call) and (called := self.name_of(value, scope)):
                yield value, called
        target = _assigned(node)
        if target is not None and self._is_lost(target, scope):
            value = node.value  # type: ignore[attr-defined]
            if isinstance(value, ast.Call) and (called := self.name_of(value, scope)):
                yield value, called

    def name_of(self, node: ast.expr, scope: Scope) -> str:
        """What a call calls, if it makes a coroutine and nothing else."""
        if not isinstance(node, ast.Call):
            return ""
        function = node.func
        name = ast.unparse(function)
        kind = scope.kind(function)
        if kind is not None:
            return f"{kind} {name}"
        found = scope.function(function)
        if found is not None and isinstance(found[1], ast.AsyncFunctionDef) and not _is_other(found[1]):
            return f"{name}()"
        if isinstance(function, ast.Attribute) and _makes_coroutine(function, scope):
            return f"{name}()"
        return f"{name}()" if scope.qualified(function) in _LIBRARY else ""

    def is_statement(self, node: ast.Call) -> bool:
        """Whether nothing is done with what the call gives."""
        return isinstance(self._parents.get(node), ast.Expr)

    def _used(self, node: ast.AST) -> list[ast.expr]:
        """The values of which this node wants what they are not: anything else than coroutines."""
        match node:
            case ast.Expr(value=value):
                return [value]
            case ast.Return(value=ast.Call() as value):
                return [value] if self._is_workflow and self._is_own(node) else []
            case _:
                return list(_operands(node))

    def _is_own(self, node: ast.AST) -> bool:
        """Whether the statement is not of a function within."""
        parent = self._parents.get(node)
        while parent is not None and not isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            parent = self._parents.get(parent)
        return parent is self._node

    def _is_lost(self, name: str, scope: Scope) -> bool:
        """Whether a name that is bound once is nowhere used as a coroutine."""
        found = scope.find(name)
        if found is None or len(found[1]) != 1 or found[0].node is not scope.node:
            return False
        loads = (
            item
            for item in ast.walk(self._node)
            if isinstance(item, ast.Name) and item.id == name and isinstance(item.ctx, ast.Load)
        )
        return all(any(used is load for used in _operands(self._parents[load])) for load in loads)


def _assigned(node: ast.AST) -> str | None:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return None


def _operands(node: ast.AST) -> Iterator[ast.expr]:
    """What the expression or statement computes with."""
    match node:
        case ast.Attribute(value=value, attr=name) if name not in _OWN_METHODS:
            yield value
        case ast.Subscript(value=value) | ast.UnaryOp(operand=value) | ast.FormattedValue(value=value):
            yield value
        case ast.BinOp(left=left, right=right):
            yield from (left, right)
        case ast.Compare(left=left, comparators=others) if not _is_identity(node):
            yield from (left, *others)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield test


def _is_identity(node: ast.Compare) -> bool:
    return all(isinstance(operator, ast.Is | ast.IsNot | ast.In | ast.NotIn) for operator in node.ops)


def _is_other(node: ast.AsyncFunctionDef) -> bool:
    """An async generator gives no coroutine, and nobody knows what a decorator gives."""
    own = list(ast.iter_child_nodes(node))
    while own:
        item = own.pop()
        if isinstance(item, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            own.extend(ast.iter_child_nodes(item))
    return bool(node.decorator_list)


def _makes_coroutine(function: ast.Attribute, scope: Scope) -> bool:
    """Whether this is a method of the context, or of the handle of a child, that is to be awaited."""
    if function.attr in _CONTEXT_COROUTINES and _is_context(function.value, scope):
        return True
    found = scope.find(function.value.id) if isinstance(function.value, ast.Name) else None
    if found is None or function.attr not in _HANDLE_COROUTINES or len(found[1]) != 1:
        return False
    match found[1][0].node:
        case ast.Await(value=ast.Call(func=ast.Attribute(value=context, attr="start"))):
            return _is_context(context, found[0])
        case _:
            return False


def _is_context(node: ast.expr, scope: Scope) -> bool:
    if isinstance(node, ast.Call):
        return scope.is_named(node.func, "current_run")
    found = scope.find(node.id) if isinstance(node, ast.Name) else None
    if found is None:
        return False
    where, bindings = found
    annotation = bindings[-1].annotation
    return annotation is not None and where.is_named(annotation, "Context")
