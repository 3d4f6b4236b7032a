"""Type-check tests/typing and examples under mypy --strict and pyright strict, in one run of each per folder.

A file there must be free of errors under both, but for the lines that carry a mark:

    charge("seven")  # E: arg-type  # P: reportArgumentType

`E` is for mypy, `P` for pyright. The text after it must stand in one of the checker's messages for that line, or be
the name of the rule. A marked line without its error is as wrong as an error without a mark. Marks are welcome in
files named ``*_errors.py`` only: all other files are examples of what is right.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests/typing", "examples")
MARK = re.compile(r"#\s*(?P<checker>[EP]):\s*(?P<text>.*?)\s*(?=#\s*[EP]:|$)")
CHECKERS = {"E": "mypy", "P": "pyright"}


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


class Finding(NamedTuple):
    """What a checker says of a line."""

    place: Place
    text: str


def marks(file: Path) -> Iterator[tuple[str, Finding]]:
    """The marks of a file, each with the letter of its checker."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        for match in MARK.finditer(line):
            yield match["checker"], Finding(Place(file.name, number), match["text"])


def differences(expected: Iterable[Finding], found: Iterable[Finding]) -> list[str]:
    """Marks without their error, and errors without a mark."""
    said: dict[Place, list[str]] = {}
    for place, text in found:
        said.setdefault(place, []).append(text)
    wanted = list(expected)
    marked = {place for place, _ in wanted}
    missing = [
        f"{place.file}:{place.line}: no error with {text!r} in it; it says {said.get(place, 'nothing')}"
        for place, text in wanted
        if not any(text in message for message in said.get(place, ()))
    ]
    surplus = [
        f"{place.file}:{place.line}: {message}"
        for place, messages in said.items()
        if place not in marked
        for message in messages
    ]
    return missing + surplus


def read_mypy(output: str) -> Iterator[Finding]:
    """The errors in ``mypy --output json``."""
    for line in filter(None, output.splitlines()):  # with nothing to say, it may print an empty line
        item = json.loads(line)
        if item["severity"] == "error":
            yield Finding(Place(Path(item["file"]).name, item["line"]), f"{item['message']} [{item['code']}]")


def read_pyright(output: str) -> Iterator[Finding]:
    """The errors and warnings in ``basedpyright --outputjson``."""
    for item in json.loads(output)["generalDiagnostics"]:
        if item["severity"] != "information":
            place = Place(Path(item["file"]).name, item["range"]["start"]["line"] + 1)
            yield Finding(place, f"{item['message']} [{item.get('rule', '')}]")


def check(folder: Path) -> list[str]:
    """Everything that is not as marked, each line headed by the checker's name."""
    files = sorted(folder.glob("*.py"))
    expected = [mark for file in files for mark in marks(file)]
    wrong = [
        f"{finding.place.file}:{finding.place.line}: marks belong into files named *_errors.py"
        for _, finding in expected
        if not finding.place.file.endswith("_errors.py")
    ]
    names = [str(file) for file in files]
    mypy = _start("mypy", "--strict", "--output", "json", *names)
    pyright = _start("basedpyright", "--outputjson", "--pythonpath", sys.executable, *names)
    found = {"E": read_mypy(_finish(mypy)), "P": read_pyright(_finish(pyright))}
    for letter, name in CHECKERS.items():
        wanted = [finding for checker, finding in expected if checker == letter]
        wrong += [f"{name}: {line}" for line in differences(wanted, found[letter])]
    return wrong


def main() -> int:
    """Print what is wrong; the exit code says whether anything is."""
    count = 0
    for name in FOLDERS:
        wrong = check(ROOT / name)
        count += len(wrong)
        print(*wrong, f"{name}: {len(wrong)} differences in {len(list((ROOT / name).glob('*.py')))} files", sep="\n")
    return 1 if count else 0


def _start(tool: str, *arguments: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate()
    if process.returncode not in (0, 1):
        sys.exit(f"{process.args!r} ended with {process.returncode}:\n{output}{errors}")
    return output


if __name__ == "__main__":
    sys.exit(main())
