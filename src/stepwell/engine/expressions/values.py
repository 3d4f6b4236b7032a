"""JSON values as the language sees them: their kinds, their truth, when they are equal, and as text and numbers."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

from msgspec import UNSET

from stepwell.engine.expressions.work import MAX_BITS, MAX_DEPTH, Refusal, Work

SPACES = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f"
    "\u3000\ufeff"
)
"""What `trim` takes away."""

_NUMERAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_KINDS: dict[type, str] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def truthy(value: Any) -> bool:
    """Whether JavaScript takes the value for true: all but false, 0, NaN, "", null and undefined."""
    if value is None or value is UNSET:
        return False
    if isinstance(value, list | dict):
        return True
    return bool(value) and value == value


def kind(value: Any) -> str:
    """What the value is, in the words of JSON."""
    if value is None:
        return "null"
    if value is UNSET:
        return "undefined"
    return _KINDS.get(type(value)) or f"{type(value).__name__}, which is not JSON"


def is_nullish(value: Any) -> bool:
    """null or undefined."""
    return value is None or value is UNSET


def is_number(value: Any) -> bool:
    """A number; true and false are none."""
    return type(value) is int or type(value) is float


def equal(left: Any, right: Any, work: Work) -> bool:
    """Whether two values are the same JSON: deep, 1 and 1.0 alike, true and 1 not."""
    pending = [(left, right)]
    while pending:
        a, b = pending.pop()
        if kind(a) != kind(b):
            return False
        if isinstance(a, dict):
            work.charge(len(a))
            if a.keys() != b.keys():
                return False
            pending += ((a[key], b[key]) for key in a)
        elif isinstance(a, list):
            work.charge(len(a))
            if len(a) != len(b):
                return False
            pending += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


def finite(number: Any) -> Any:
    """A number, if JSON can hold it and it is not absurdly large."""
    if type(number) is int:
        if number.bit_length() > MAX_BITS:
            raise Refusal(f"a number of more than {MAX_BITS} bits")
    elif type(number) is not float or not math.isfinite(number):
        raise Refusal("this is not a finite number")
    return number


def whole(value: Any, what: str) -> int:
    """A whole number; 2.0 is one."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise Refusal(f"{what} is {kind(value)}; it must be a whole number")


def number_text(number: float) -> str:
    """A number as JavaScript writes it: 2.0 is "2"; whole numbers keep all their digits."""
    if type(number) is int:
        return str(finite(number))
    if finite(number) == 0:
        return "0"
    if 1e-6 <= abs(number) < 1e21:
        return format(Decimal(repr(number)), "f").removesuffix(".0")
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def text_of(value: Any) -> str:
    """A string, number or boolean as text."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if is_number(value):
        return number_text(value)
    raise Refusal(f"{kind(value)} is not made text by itself; name the part that you want, or use ?? to replace null")


def key_of(value: Any) -> str:
    """A string or number as the key of an object."""
    if type(value) is str:
        return value
    if is_number(value):
        return number_text(value)
    raise Refusal(f"a key is a string or a number, not {kind(value)}")


def numeral(text: str) -> int | float:
    """The number that a text writes, in JavaScript's way: blanks around it, nothing at all is 0."""
    stripped = text.strip(SPACES)
    if not stripped:
        return 0
    if len(stripped) > MAX_BITS or not _NUMERAL.fullmatch(stripped):
        raise Refusal("this text is not a number")
    is_whole = stripped.lstrip("+-").isdigit()
    result: int | float = finite(int(stripped) if is_whole else float(stripped))
    return result


def property_of(value: Any, key: str) -> Any:
    """A field of an object, an item or the length of an array or a string; UNSET if it has no such thing."""
    if isinstance(value, dict):
        return value.get(key, UNSET)
    if not isinstance(value, list | str):
        return UNSET
    if key == "length":
        return len(value)
    if key.isascii() and key.isdigit() and len(key) < 16:
        position = int(key)
        return value[position] if position < len(value) else UNSET
    return UNSET


def measure(value: Any, work: Work) -> None:
    """Go through a whole value, and refuse it if it is too large or too deep to be written down."""
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth > 2 * MAX_DEPTH:
            raise Refusal(f"this value is nested deeper than {2 * MAX_DEPTH}")
        if isinstance(item, str):
            work.read(item)
        elif isinstance(item, list):
            work.charge(len(item))
            pending += ((inner, depth + 1) for inner in item)
        elif is_number(item):
            finite(item)
        elif isinstance(item, dict):
            work.charge(len(item))
            for key, inner in item.items():
                work.read(key)
                pending.append((inner, depth + 1))
