"""The runner of tests/typing: marks and errors must agree both ways."""

from __future__ import annotations

import json
from pathlib import Path

from tests.house.typing_check import Finding, Place, differences, marks, read_mypy, read_pyright

HERE = Place("a_errors.py", 3)


def test_a_line_may_be_marked_for_both_checkers(tmp_path: Path) -> None:
    file = tmp_path / "a_errors.py"
    file.write_text("\n\nf(1)  # E: arg-type  # P: reportArgumentType\n", encoding="utf-8")

    assert list(marks(file)) == [("E", Finding(HERE, "arg-type")), ("P", Finding(HERE, "reportArgumentType"))]


def test_an_error_where_it_is_marked_is_right() -> None:
    assert differences([Finding(HERE, "arg-type")], [Finding(HERE, "Bad argument [arg-type]")]) == []


def test_an_error_without_a_mark_is_wrong() -> None:
    assert differences([], [Finding(HERE, "Bad argument")]) == ["a_errors.py:3: Bad argument"]


def test_a_mark_without_an_error_is_wrong() -> None:
    assert differences([Finding(HERE, "arg-type")], []) == [
        "a_errors.py:3: no error with 'arg-type' in it; it says nothing"
    ]


def test_another_error_than_the_marked_one_is_wrong() -> None:
    assert len(differences([Finding(HERE, "arg-type")], [Finding(HERE, "No such name [name-defined]")])) == 1


def test_notes_of_mypy_are_not_errors() -> None:
    error = {"file": "x/a_errors.py", "line": 3, "message": "Bad", "code": "misc", "severity": "error"}
    output = "\n".join(json.dumps(item) for item in (error, {**error, "severity": "note"}))

    assert list(read_mypy(output)) == [Finding(HERE, "Bad [misc]")]


def test_lines_of_pyright_count_from_zero() -> None:
    item = {
        "file": "/x/a_errors.py",
        "severity": "error",
        "message": "Bad",
        "rule": "r",
        "range": {"start": {"line": 2}},
    }

    assert list(read_pyright(json.dumps({"generalDiagnostics": [item]}))) == [Finding(HERE, "Bad [r]")]
