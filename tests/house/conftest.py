"""The project as the house checks read it: each file once."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "examples", "benchmarks")


class Source:
    """One Python file: its text, its syntax tree, and its name in the two forms that the checks use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(ROOT).as_posix()
        self.text = path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @property
    def is_shipped(self) -> bool:
        return self.name.startswith("src/")

    @property
    def module(self) -> str:
        """The dotted name; only for shipped files."""
        parts = Path(self.name).with_suffix("").parts[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def imports(self) -> Iterator[tuple[str, int]]:
        """Everything that is imported, with its line: `a.b` for `import a.b` and for `from a import b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def assert_none(offenders: Iterable[str]) -> None:
    """Fail with the whole list, one offender a line."""
    lines = sorted(offenders)
    if lines:
        pytest.fail("\n".join([f"{len(lines)} found:", *lines]), pytrace=False)


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """All Python files of the project."""
    return [Source(path) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture(scope="session")
def shipped(sources: list[Source]) -> list[Source]:
    """The Python files of the package."""
    return [source for source in sources if source.is_shipped]
