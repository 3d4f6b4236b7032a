"""What needs no parser: property paths such as `result.output.total`, numbers, true, false, null, undefined."""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET

from stepwell.engine.expressions.sources import Source
from stepwell.engine.expressions.syntax import Constant, Member, Name, Syntax
from stepwell.engine.expressions.values import finite
from stepwell.engine.expressions.work import MAX_BITS, Refusal

WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "undefined": UNSET}

NO_NAMES = ("this", "NaN", "Infinity")
"""Words of JavaScript that would be taken for names."""

_PATH = re.compile(r"[A-Za-z0-9_$.]+")
_DECIMAL = r"(?:0|[1-9](?:_?\d)*)"
_DIGITS = r"\d(?:_?\d)*"
_NUMBER = re.compile(
    r"(?P<based>0[xX][0-9a-fA-F](?:_?[0-9a-fA-F])*|0[oO][0-7](?:_?[0-7])*|0[bB][01](?:_?[01])*)"
    rf"|(?P<whole>{_DECIMAL})"
    rf"|(?:{_DECIMAL}\.(?:{_DIGITS})?|\.{_DIGITS}|{_DECIMAL}(?=[eE]))(?:[eE][+-]?{_DIGITS})?",
    re.ASCII,
)


def parse_path(source: Source) -> Syntax | None:
    """The expression, if it is a path or a constant. What is missing or null on a path makes all of it undefined."""
    text = source.parsed.strip()
    start = source.parsed.find(text)
    end = start + len(text)
    if not text:
        raise source.error("it is empty", 0)
    if text in WORDS:
        return Constant(WORDS[text], start, end)
    digits = text.removeprefix("-")
    if _NUMBER.fullmatch(digits):
        value = number(source, digits, start)
        return Constant(value if digits == text else -value, start, end)
    if not _PATH.fullmatch(text.replace(source.letter, "_") if source.letter else text):
        return None
    return _path(source, text, start)


def is_path(syntax: Syntax) -> bool:
    """Whether it is what `parse_path` makes of a path."""
    return isinstance(syntax, Name | Member)


def number(source: Source, text: str, at: int) -> int | float:
    """The value of a literal."""
    match = _NUMBER.fullmatch(text)
    if not match:
        raise source.error(f"{text[:60]!r} is not a number; write 255, 0xff, 2.5 or 1e3", at)
    try:
        if len(text) > MAX_BITS:
            raise Refusal(f"the number has {len(text)} digits")
        digits = text.replace("_", "")
        value: int | float = finite(float(digits) if not match["based"] and not match["whole"] else int(digits, 0))
    except Refusal as refusal:
        raise source.error(str(refusal), at) from None
    return value


def checked_name(source: Source, parsed: str, at: int) -> str:
    """A name or the key after a dot, as it stands in the text."""
    name = source.restored(parsed)
    if len(name) > 4 and name.startswith("__") and name.endswith("__"):
        raise source.error(f"{name}: names of that form are not for data", at)
    return name


def _path(source: Source, text: str, start: int) -> Syntax:
    first, *rest = text.split(".")
    if not first or not all(rest):
        raise source.error("between two dots of a path, before and after them, there must be a name", start)
    if first[0].isdigit():
        raise source.error(f'{first[:60]!r} begins with a digit; write context["{first[:60]}"]', start)
    if first in WORDS or first in NO_NAMES:
        raise source.error(f"{first!r} is no name here", start)
    end = start + len(first)
    path: Syntax = Name(checked_name(source, first, start), start, end)
    for part in rest:
        key = Constant(checked_name(source, part, end + 1), end + 1, end + 1 + len(part))
        path = Member(path, key, True, start, key.end)
        end = key.end
    return path
