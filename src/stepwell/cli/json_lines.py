"""On which line of a JSON text a path stands, such as `nodes[3].config.timeout`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from stepwell.formats.fields import key_path

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+|\n')


def lines_of(text: str) -> dict[str, int]:
    """The line, from 1, of everything in the text. That of an entry of an object is the line of its key."""
    return {"": 1, **dict(_entries(text))}


def line_at(lines: dict[str, int], path: str) -> int:
    """The line of a path; of one that is not there, that of the next thing around it."""
    while path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines[path]


def _entries(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    stack: list[tuple[str, int]] = []  # what is open: its path, and the next index; -1 in objects
    path, key = "", ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token in ("}", "]"):
            path = stack.pop()[0] if stack else ""
        elif token == ":":
            path = key_path(stack[-1][0] if stack else "", key).removeprefix(".")
            yield path, line
        elif token == ",":
            continue
        else:
            if stack and stack[-1][1] >= 0:
                base, index = stack[-1]
                stack[-1] = (base, index + 1)
                path = f"{base}[{index}]"
                yield path, line
            if token in ("{", "["):
                stack.append((path, 0 if token == "[" else -1))
            elif token.startswith('"'):
                key = json.loads(token, strict=False)
