"""JSON from the other end of the wire: refused if it could be read in two ways, and else kept as it came.

What is a payload stays `Raw`: its numbers keep their digits, its objects their order. JavaScript's texts may hold half
of a surrogate pair, which UTF-8 cannot express, and no decoder of ours takes. While it is here such a half is four
characters: U+FFFD and three that Unicode reserves for nobody (U+FDE0 to U+FDEF, one for each digit). They become the
half again on the wire.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw

from stepwell.errors import StepwellError
from stepwell.formats.fields import key_path
from stepwell.formats.strict import is_deeper, no_constant, unique_members
from stepwell.model.blueprint_rules import shown

T = TypeVar("T")

EXACT_MAX = 2**53 - 1
"""The largest integer that JavaScript knows from its neighbours."""
DEPTH_MAX = 128
"""How deep arrays and objects may be nested."""
NAME_MAX = 1000
"""How many characters an id or a key may have."""

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Count = Annotated[int, Meta(ge=0, le=EXACT_MAX)]
Number = Annotated[int, Meta(ge=0, le=EXACT_MAX)] | Annotated[float, Meta(ge=0, le=EXACT_MAX)]
"""Times and durations, in ms. Whole ones are integers wherever they are written."""


class WireFault(StepwellError):
    """An answer of a step worker that is none. The text begins with the path of the member that is wrong."""


# --- whole texts


def tamed(data: bytes) -> bytes:
    """A JSON text as it is kept here: halves of surrogate pairs are characters."""
    return data if _HALF.search(data) is None else _ESCAPE.sub(_tame, data)


def wild(data: bytes) -> bytes:
    """A JSON text for the wire: the halves are escapes again."""
    return data if _RESERVED not in data else _TAMED.sub(_untame, data)


def readable(text: str) -> str:
    """A text for people: U+FFFD alone for each half."""
    return _TAMED_TEXT.sub("\ufffd", text)


_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u[dD]([89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)
_RESERVED = b"\xef\xb7"
_TAMED = re.compile(rb"\xef\xbf\xbd\xef\xb7([\xa8-\xaf])\xef\xb7([\xa0-\xaf])\xef\xb7([\xa0-\xaf])")
_TAMED_TEXT = re.compile("\ufffd[\ufde8-\ufdef][\ufde0-\ufdef]{2}")


def _tame(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    if digits is None:
        return match[0]
    return ("\ufffd" + "".join(chr(0xFDE0 + int(digit, 16)) for digit in digits.decode())).encode()


def _untame(match: re.Match[bytes]) -> bytes:
    return b"\\ud" + b"".join(b"%x" % (byte[0] - 0xA0) for byte in match.groups())


def checked(data: bytes) -> Any:
    """The value of a JSON text: UTF-8, no name twice in an object, finite numbers, bounded depth. `WireFault`."""
    try:
        text = data.decode("utf-8")
        value = _decoder.decode(text.strip(" \t\r\n"))
    except UnicodeDecodeError as error:
        raise WireFault(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise WireFault(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise WireFault(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError as error:
        raise WireFault(f"not JSON: {error}") from None
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX and is_deeper(value, DEPTH_MAX):
        raise WireFault(_TOO_DEEP)
    return value


_TOO_DEEP = f"nested deeper than {DEPTH_MAX}"


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:30]} is too large")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=unique_members, parse_constant=no_constant, parse_float=_finite)


# --- parts of a text that was checked


def members(raw: Raw | bytes, path: str) -> dict[str, Raw]:
    """The members of an object, in order."""
    return fitted(_members, raw, path)


def items(raw: Raw | bytes, path: str) -> list[Raw]:
    """The items of an array."""
    return fitted(_items, raw, path)


def fitted(decoder: msgspec.json.Decoder[T], raw: Raw | bytes, path: str) -> T:
    """The value of a type. `WireFault` with the path of what does not fit."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        text, _, inner = str(error).partition(" - at `$")
        text = f"{text[0].lower()}{text[1:]}"
        raise WireFault(f"{path}{inner.rstrip('`')}: {text}".removeprefix(".").removeprefix(": ")) from None
    except msgspec.DecodeError as error:
        raise WireFault(f"{path}: {error}".removeprefix(": ")) from None


def named(path: str, name: str) -> str:
    """The path of a member of an object whose names are anything."""
    return key_path(path, name if len(name) <= 100 else f"{name[:99]}…")


def check_name(name: str, path: str) -> None:
    """Refuse a name that cannot be one."""
    if not 0 < len(name) <= NAME_MAX:
        raise WireFault(f"{path}: a name has 1 to {NAME_MAX} characters, not {len(name)}")


def is_object(raw: Raw) -> bool:
    """Whether it is an object."""
    return bytes(memoryview(raw)[:1]) == b"{"


def kind_of(raw: Raw) -> str:
    """A value as messages name it."""
    first = bytes(memoryview(raw)[:1])
    return _KINDS.get(first) or shown(msgspec.json.decode(raw))


def text_of(raw: Raw) -> Any:
    """The value of a part."""
    return msgspec.json.decode(raw)


def whole(number: float) -> float:
    """Without `.0`, where there is no fraction."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


_KINDS = {b"{": "an object", b"[": "an array", b'"': "text"}
_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
