"""The table of Flowcraft's features names tests that exist, and has a row for each feature."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.blueprints.sentences import SENTENCES
from tests.house.conftest import ROOT, assert_none

TABLE = ROOT / "docs" / "flowcraft.md"
FEATURES = 66
WITHOUT_A_TEST = {65}
"""What there is nothing of yet."""
_ROW = re.compile(r"^\| (\d+) \| .* \| (.*) \|$", re.MULTILINE)
_NAME = re.compile(r"`([\w/]+)::([^`]+)`")


def test_each_feature_has_a_row() -> None:
    assert [int(number) for number, _ in _rows()] == list(range(1, FEATURES + 1))


def test_each_row_names_a_test() -> None:
    assert {int(number) for number, shown in _rows() if not _NAME.search(shown)} == WITHOUT_A_TEST


def test_each_test_that_is_named_exists() -> None:
    assert_none(
        f"row {number}: {place}::{name}"
        for number, shown in _rows()
        for place, name in _NAME.findall(shown)
        if name not in _tests(ROOT / "tests" / f"{place}.py")
    )


def _rows() -> list[tuple[str, str]]:
    return _ROW.findall(TABLE.read_text(encoding="utf-8"))


@cache
def _tests(path: Path) -> set[str]:
    """The names of a file's tests; those of the cases are their sentences, too."""
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    names = {node.name for node in functions}
    return names | {sentence.text for sentence in SENTENCES} if path.stem == "test_cases" else names
