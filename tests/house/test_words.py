"""What stands in the text: no promises without a number, and a sentence for every public name."""

from __future__ import annotations

import re

import stepwell
from tests.house.conftest import FOLDERS, ROOT, assert_none

PUBLIC_NAMES = 70
PROMISE = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b(?!\(#\d+\))")
TEXT = {".py", ".sql", ".toml", ".md", ".html", ".js", ".css"}


def test_every_promise_has_an_issue_number() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in (*FOLDERS, "docs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in TEXT and "node_modules" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PROMISE.search(line)
    ]

    assert_none(found)


def test_the_public_names_are_few() -> None:
    assert len(_public_names()) <= PUBLIC_NAMES


def test_every_public_name_exists() -> None:
    assert_none(name for name in _public_names() if not hasattr(stepwell, name))


def test_every_public_class_and_function_has_a_docstring() -> None:
    objects = {name: getattr(stepwell, name) for name in _public_names()}

    assert_none(name for name, value in objects.items() if callable(value) and not _doc(value))


def _public_names() -> list[str]:
    return list(getattr(stepwell, "__all__", []))


def _doc(value: object) -> str:
    return (value.__dict__.get("__doc__") if isinstance(value, type) else value.__doc__) or ""
