"""Nothing grows past the size at which it can still be read in one sitting. A failure lists all offenders."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.conftest import Source, assert_none

FILE_LINES = 500
FUNCTION_LINES = 60
PUBLIC_METHODS = 20

FOREIGN_INTERFACES = {"WorkflowLoop"}
"""Classes whose methods are those of an interface of asyncio."""


def test_no_file_is_too_long(sources: list[Source]) -> None:
    lengths = {source.name: source.text.count("\n") for source in sources}

    assert_none(f"{name}: {lines} lines" for name, lines in lengths.items() if lines > FILE_LINES)


def test_no_function_is_too_long(shipped: list[Source]) -> None:
    long = [
        f"{source.name}:{node.lineno} {node.name}: {lines} lines"
        for source in shipped
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]

    assert_none(long)


def test_no_class_has_too_many_public_methods(shipped: list[Source]) -> None:
    wide = [
        f"{source.name}:{node.lineno} {node.name}: {count} public methods"
        for source in shipped
        for node in _classes(source)
        if node.name not in FOREIGN_INTERFACES and (count := len(_public_methods(node))) > PUBLIC_METHODS
    ]

    assert_none(wide)


def _classes(source: Source) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))


def _public_methods(node: ast.ClassDef) -> set[str]:
    return {
        item.name
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")
    }
