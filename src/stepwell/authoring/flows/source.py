"""The text of a function: its syntax tree at the lines of its file, and how a place in it is refused."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable
from typing import Any

from stepwell.errors import FlowError


class Source:
    """One function as text. `tree` has the line numbers and columns of the file."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.name = getattr(fn, "__name__", repr(fn))
        if not (inspect.isfunction(fn) and inspect.iscoroutinefunction(fn)):
            raise FlowError(f"flow {self.name} is not an `async def`")
        code = fn.__code__
        self.file = code.co_filename
        try:
            lines, first = inspect.getsourcelines(fn)
        except (OSError, TypeError) as error:
            raise FlowError(
                f"the source of flow {self.name} is not to be found ({error}); a flow is compiled from its text, "
                "so write it in a file",
                file=self.file,
                line=code.co_firstlineno,
            ) from None
        self._lines = {first + index: line.rstrip("\n") for index, line in enumerate(lines)}
        text = "".join(lines)
        is_indented = text[:1].isspace()
        self.tree = _function(f"if 1:\n{text}" if is_indented else text, self.name)
        ast.increment_lineno(self.tree, first - 1 - is_indented)

    def refuse(self, node: ast.AST, what: str, instead: str) -> FlowError:
        """The error for a place: what is not supported there, and what to write."""
        line = getattr(node, "lineno", self.tree.lineno)
        text = self._lines.get(line) or linecache.getline(self.file, line).rstrip("\n")
        shown = len(text.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore"))
        message = f"{self.file}:{line}:{shown + 1}: {what}\n    {text}\n    {' ' * shown}^\n{instead}"
        return FlowError(message, file=self.file, line=line, column=shown + 1)


def _function(text: str, name: str) -> ast.AsyncFunctionDef:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        raise FlowError(f"flow {name} cannot be read by itself; write it as a function of its own") from None
    return next(node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef))
