"""The table of what ails Voyant's routes names tests that exist, and each point that those tests name is in it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.house.conftest import ROOT, assert_none

TABLE = ROOT / "docs" / "voyant.md"
FILES = ("gaps", "defects", "surface", "remote", "remote_ends", "remote_resume", "remote_rows")
WITHOUT_A_TEST = {"G-5"}
"""What there is nothing of yet."""
CONCERNED = {
    *("G-1", "G-2", "G-3", "G-3b", "G-4", "G-5", "G-6"),
    *("W-12", "W-17", "W-18", "W-20", "W-21", "W-22", "W-31", "W-33", "W-38"),
    *("W-40", "W-41", "W-42", "W-45", "W-46", "W-49", "W-50"),
}
"""What the run routes cannot do without."""
EXECUTION = {
    *("W-01", "W-02", "W-03", "W-04", "W-05", "W-06", "W-07"),
    *("W-10", "W-11", "W-12", "W-13", "W-14", "W-15", "W-17", "W-19"),
    *("W-20", "W-21", "W-22", "W-23", "W-25", "W-26"),
    *("W-30", "W-31", "W-32", "W-33", "W-34", "W-35", "W-36", "W-38"),
    *("W-43", "W-44", "W-47", "W-49"),
}
"""What runs in workers elsewhere cannot do without: all that concerns how they are carried out."""
ELSEWHERE = "## The same for workers elsewhere"
_ROW = re.compile(r"^\| ([GW]-\w+) \| .* \| (.*) \|$", re.MULTILINE)
_NAME = re.compile(r"`([\w/]+)::(\w+)`")
_POINT = re.compile(r"\b[GW]-\d+b?\b")


def test_what_concerns_the_run_routes_has_a_row() -> None:
    assert_none(CONCERNED - {point for point, _ in _rows()})


def test_what_concerns_execution_has_a_row_for_workers_elsewhere() -> None:
    _, _, text = TABLE.read_text(encoding="utf-8").partition(ELSEWHERE)
    assert_none(EXECUTION ^ {point for point, _ in _ROW.findall(text)})


def test_each_row_names_a_test() -> None:
    assert {point for point, shown in _rows() if not _NAME.search(shown)} == WITHOUT_A_TEST


def test_each_test_that_is_named_exists() -> None:
    assert_none(
        f"row {point}: {place}::{name}"
        for point, shown in _rows()
        for place, name in _NAME.findall(shown)
        if name not in _tests(ROOT / "tests" / f"{place}.py")
    )


def test_each_point_that_a_test_is_about_has_a_row() -> None:
    paths = [ROOT / "tests" / "server" / f"test_voyant_{name}.py" for name in FILES]
    about = {point for path in paths for text in _tests(path).values() for point in _POINT.findall(text)}
    assert_none(about - {point for point, _ in _rows()})


def _rows() -> list[tuple[str, str]]:
    return _ROW.findall(TABLE.read_text(encoding="utf-8"))


@cache
def _tests(path: Path) -> dict[str, str]:
    """The tests of a file by name, with what they say of themselves."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: ast.get_docstring(node) or "" for node in functions}
