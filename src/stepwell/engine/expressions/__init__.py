"""The expressions of blueprints: conditions, transforms, inputs of loops.

A subset of JavaScript over JSON, compiled to closures. Nothing in it can repeat, assign, call what is not on a closed
list, or reach a Python attribute. Property paths and constants need no parser; all else needs the extra `expressions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from stepwell.engine.expressions.compiling import Compiling
from stepwell.engine.expressions.paths import is_path, parse_path
from stepwell.engine.expressions.sources import Source
from stepwell.engine.expressions.syntax import Syntax
from stepwell.engine.expressions.values import measure, truthy
from stepwell.engine.expressions.work import MAX_RESULT, Lookup, Refusal, Work
from stepwell.errors import DefinitionError

__all__ = ["Expression", "compile_expression", "truthy"]

_PARSING = "stepwell.engine.expressions.parsing"
_LIBRARIES = ("tree_sitter", "tree_sitter_javascript")


class Expression:
    """A compiled expression. Keep it: compiling costs some hundred times what evaluating does."""

    __slots__ = ("_code", "_makes", "_reads", "_source", "is_path", "text")

    def __init__(self, source: Source, syntax: Syntax, *, is_path: bool) -> None:
        compiling = Compiling(source)
        self._code = compiling.compile(syntax)
        self._makes = compiling.makes
        self._reads = frozenset(compiling.reads)
        self._source = source
        self.text = source.text
        self.is_path = is_path

    def evaluate(self, lookup: Lookup) -> Any:
        """The value: JSON, or UNSET for undefined. It may share parts with what the lookup gave.

        `lookup` gives the JSON value of a name, or UNSET. Raises `ExpressionFailed`.
        """
        value = self._code(Work(lookup))
        if self._makes:
            try:
                measure(value, Work(lookup, MAX_RESULT))
            except Refusal as refusal:
                raise self._source.failed(str(refusal), 0) from None
        return value

    def reads(self) -> frozenset[str]:
        """The names that it may look up; `context` stands for any name."""
        return self._reads

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def compile_expression(text: str, *, names: Iterable[str] = ()) -> Expression:
    """Compile a text, or raise `ExpressionError`.

    `names`: those with a hyphen may be written as they are; a set or a dict is not copied.
    """
    source = Source(text, names)
    path = parse_path(source)
    if path is not None:
        return Expression(source, path, is_path=is_path(path))
    return Expression(source, _parse(source), is_path=False)


def _parse(source: Source) -> Syntax:
    try:
        parsing = import_module(_PARSING)
    except ModuleNotFoundError as missing:
        if missing.name not in _LIBRARIES:
            raise
        raise DefinitionError(
            f"expression {source.excerpt(0, len(source.text))!r} is more than a property path, and needs "
            f"{missing.name}, which is not installed: pip install 'stepwell[expressions]'"
        ) from missing
    syntax: Syntax = parsing.parse(source)
    return syntax
