"""`stepwell check`: finds in a file's workflow bodies what replay cannot repeat. It reads the file and runs nothing.

| code  | what it finds in a body                                                            |
|-------|------------------------------------------------------------------------------------|
| SW100 | the file cannot be parsed (or imported, by `--live`)                               |
| SW101 | reading a clock                                                                    |
| SW102 | chance that is not the run's own                                                   |
| SW103 | fresh ids and secrets                                                              |
| SW104 | files and the terminal                                                             |
| SW105 | the network, databases, other programs                                             |
| SW106 | threads, processes, other event loops                                              |
| SW107 | blocking sleep                                                                     |
| SW108 | `asyncio.as_completed` over bare coroutines                                        |
| SW109 | the order of a set                                                                 |
| SW110 | environment variables, and what machine this is                                    |
| SW201 | hiding that the run leaves memory: `except BaseException`, `return` in `finally`   |
| SW202 | a step, a workflow or a wait that nobody awaits                                    |
| SW203 | a workflow called with several inputs                                              |
| SW204 | changing what other runs share                                                     |
| SW205 | an endless loop that never waits                                                   |
| SW206 | a method as a step or workflow (anywhere in the file)                              |
| SW301 | `print`                                                                            |
| SW302 | a task that nobody holds                                                           |
| SW303 | `hash`, which differs between processes                                            |
| SW304 | an `except` that loses a cancel of the run                                         |

SW3xx are warnings. A body is the workflow's function and the functions that it calls: inside of it, in its file, and in
files beside it.

A comment `# stepwell: ignore[SW101]` on a line of the statement leaves that code out, `# stepwell: ignore` all of them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Literal

from msgspec import Struct

from stepwell.authoring.lint_files import Files, Source
from stepwell.authoring.lint_names import Scopes
from stepwell.authoring.lint_rules import bodies, check

Severity = Literal["error", "warning"]


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


def lint_files(paths: Iterable[str | PathLike[str]]) -> list[Finding]:
    """What is wrong in files, in the order of files and lines; each place once. `OSError` if one cannot be read.

    A finding may be in another file, if a body calls what is imported from there.
    """
    files = Files()
    found: dict[tuple[str, int, int, str], Finding] = {}
    for path in paths:
        for finding in _lint(str(path), Path(path).read_bytes(), files):
            place = (str(Path(finding.path).resolve()), finding.line, finding.column, finding.code)
            found.setdefault(place, finding)
    return list(found.values())


def lint_file(path: str | PathLike[str]) -> list[Finding]:
    """What is wrong in a file, in the order of its lines. `OSError` if it cannot be read."""
    return lint_files([path])


def makes_workflows(path: str | PathLike[str]) -> bool:
    """Whether a file defines a workflow or an app, by its text alone. `OSError`, `SyntaxError`."""
    scopes = Scopes(ast.parse(Path(path).read_bytes(), str(path)))
    return any(True for _ in bodies(scopes)) or any(
        isinstance(node, ast.Call) and scope.is_named(node.func, "Stepwell") for node, scope in scopes.nodes
    )


def lint_source(source: str | bytes, filename: str = "<source>") -> list[Finding]:
    """What is wrong in a text; bytes are decoded as Python does. Nothing is read besides."""
    return _lint(filename, source, None)


def _lint(name: str, text: str | bytes, files: Files | None) -> list[Finding]:
    try:
        source = Source(name, text, files)
    except (SyntaxError, ValueError) as error:
        line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
        return [Finding(name, line or 1, column or 1, "SW100", f"this is not Python: {error}")]
    files = files or Files()
    files.add(Path(name), source)
    findings: set[Finding] = set()

    def report(scopes: Scopes, node: ast.AST, code: str, message: str) -> None:
        place = files.of(scopes)
        line: int = node.lineno  # type: ignore[attr-defined]
        column: int = node.col_offset  # type: ignore[attr-defined]
        if not place.is_ignored(node, code):
            severity: Severity = "warning" if code.startswith("SW3") else "error"
            findings.add(Finding(place.name, line, column + 1, code, message, severity))

    check(source.scopes, report)
    return sorted(findings)
