"""`stepwell check`: finds in a file's workflow bodies what replay cannot repeat. It reads the file and runs nothing.

| code  | what it finds in a body                                                            |
|-------|------------------------------------------------------------------------------------|
| SW100 | the file cannot be parsed                                                          |
| SW101 | reading a clock                                                                    |
| SW102 | chance that is not the run's own                                                   |
| SW103 | fresh ids and secrets                                                              |
| SW104 | files and the terminal                                                             |
| SW105 | the network, databases, other programs                                             |
| SW106 | threads and processes                                                              |
| SW107 | blocking sleep                                                                     |
| SW108 | `asyncio.as_completed` over bare coroutines                                        |
| SW109 | the order of a set                                                                 |
| SW110 | environment variables                                                              |
| SW201 | hiding that the run leaves memory: `except BaseException`, `return` in `finally`   |
| SW202 | a step, a workflow or a wait that is called without `await`                        |
| SW203 | a workflow called with several inputs                                              |
| SW204 | changing what other runs share                                                     |
| SW205 | an endless loop that never waits                                                   |
| SW206 | a method as a step or workflow (anywhere in the file)                              |
| SW301 | `print` (a warning)                                                                |

A comment `# stepwell: ignore[SW101]` on a line of the statement leaves that code out, `# stepwell: ignore` all of them.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from os import PathLike
from pathlib import Path
from typing import Literal

from msgspec import Struct

from stepwell.authoring.lint_names import Scopes
from stepwell.authoring.lint_rules import bodies, check

Severity = Literal["error", "warning"]
_IGNORE = re.compile(r"#\s*stepwell:\s*ignore(?:\[(?P<codes>[^\]]*)\])?")
_WARNINGS = frozenset({"SW301"})


class Finding(Struct, frozen=True, order=True):
    """One thing that is wrong, with its cure. `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    code: str
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.code} {self.message}"


def lint_file(path: str | PathLike[str]) -> list[Finding]:
    """What is wrong in a file, in the order of its lines. `OSError` if it cannot be read."""
    return lint_source(Path(path).read_bytes(), str(path))


def makes_workflows(path: str | PathLike[str]) -> bool:
    """Whether a file defines a workflow or an app, by its text alone. `OSError`, `SyntaxError`."""
    scopes = Scopes(ast.parse(Path(path).read_bytes(), str(path)))
    return any(True for _ in bodies(scopes)) or any(
        isinstance(node, ast.Call) and scope.is_named(node.func, "Stepwell") for node, scope in scopes.nodes
    )


def lint_source(source: str | bytes, filename: str = "<source>") -> list[Finding]:
    """What is wrong in a text; bytes are decoded as Python does."""
    try:
        tree = ast.parse(source, filename)
    except (SyntaxError, ValueError) as error:
        line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
        return [Finding(filename, line or 1, column or 1, "SW100", f"this is not Python: {error}")]
    ignored = _ignored(source)
    findings: set[Finding] = set()

    def report(node: ast.AST, code: str, message: str) -> None:
        line: int = node.lineno  # type: ignore[attr-defined]
        column: int = node.col_offset  # type: ignore[attr-defined]
        if not any(_covers(ignored.get(number), code) for number in _lines(node)):
            severity: Severity = "warning" if code in _WARNINGS else "error"
            findings.add(Finding(filename, line, column + 1, code, message, severity))

    check(tree, report)
    return sorted(findings)


def _lines(node: ast.AST) -> range:
    """The lines on which a comment counts: for a block, those of its head."""
    first: int = node.lineno  # type: ignore[attr-defined]
    body = getattr(node, "body", None)
    if isinstance(body, list):
        return range(first, max(first + 1, body[0].lineno))
    return range(first, (node.end_lineno or first) + 1)  # type: ignore[attr-defined]


def _ignored(source: str | bytes) -> dict[int, frozenset[str]]:
    """The codes that comments leave out, by line; no codes: all."""
    data = source.encode() if isinstance(source, str) else source
    ignored = {}
    for token in tokenize.tokenize(io.BytesIO(data).readline):
        match = _IGNORE.search(token.string) if token.type == tokenize.COMMENT else None
        if match is not None:
            codes = (match["codes"] or "").replace(",", " ").split()
            ignored[token.start[0]] = frozenset(codes)
    return ignored


def _covers(codes: frozenset[str] | None, code: str) -> bool:
    return codes is not None and (not codes or code in codes)
