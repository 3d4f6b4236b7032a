"""What is awaited inside of an expression, and comprehensions, are computed beforehand, in Python's order."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable

from stepwell.authoring.flows.graph import Cursor
from stepwell.authoring.flows.source import Source

COMPREHENSIONS = (ast.ListComp, ast.GeneratorExp)
LIFTED = (ast.Await, *COMPREHENSIONS)

Compute = Callable[[Cursor, ast.expr], tuple[Cursor, ast.expr]]
"""Put the nodes for what is lifted at a place; a name for the result."""


class Lifting:
    """Takes out of expressions what needs nodes of its own."""

    def __init__(self, source: Source, compute: Compute) -> None:
        self._source = source
        self._compute = compute

    def lift(self, cursor: Cursor, node: ast.expr) -> tuple[Cursor, ast.expr]:
        """The place behind the nodes, and the expression with names in their stead."""
        if not needs_lifting(node):
            return cursor, node
        if isinstance(node, LIFTED):
            return self._compute(cursor, node)
        self._check_order(node)
        made = copy.copy(node)
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                cursor, lifted = self.lift(cursor, value)
                setattr(made, field, lifted)
            elif isinstance(value, list):
                cursor, items = self._lift_all(cursor, value)
                setattr(made, field, items)
        return cursor, made

    def _lift_all(self, cursor: Cursor, items: list[ast.AST]) -> tuple[Cursor, list[ast.AST]]:
        found: list[ast.AST] = []
        for item in items:
            if isinstance(item, ast.keyword):
                cursor, value = self.lift(cursor, item.value)
                found.append(ast.copy_location(ast.keyword(arg=item.arg, value=value), item))
            elif isinstance(item, ast.expr):
                cursor, value = self.lift(cursor, item)
                found.append(value)
            else:
                found.append(item)
        return cursor, found

    def _check_order(self, node: ast.expr) -> None:
        """Refuse what Python might not compute at all."""
        lazy: list[ast.expr] = []
        if isinstance(node, ast.BoolOp):
            lazy = node.values[1:]
        elif isinstance(node, ast.IfExp):
            lazy = [node.body, node.orelse]
        elif isinstance(node, ast.Compare):
            lazy = node.comparators[1:]
        for part in lazy:
            if needs_lifting(part):
                what = "a comprehension" if isinstance(_first(part), COMPREHENSIONS) else "`await`"
                raise self._source.refuse(
                    _first(part), f"{what} in a part of an expression that may not be reached", "write it as an `if`"
                )


def needs_lifting(node: ast.AST) -> bool:
    """Whether something in the expression needs nodes."""
    return any(isinstance(inner, LIFTED) for inner in ast.walk(node))


def _first(node: ast.AST) -> ast.AST:
    return next(inner for inner in ast.walk(node) if isinstance(inner, LIFTED))
