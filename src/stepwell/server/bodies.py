"""JSON from strangers: what is malformed, ambiguous or too deep is refused before anything is made of it."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from stepwell.formats.strict import is_deeper, no_constant, unique_members
from stepwell.server.problems import Problem

T = TypeVar("T")

MAX_DEPTH = 64
"""How deep arrays and objects of a body may be nested."""


def checked_json(data: bytes) -> Any:
    """The value of a JSON text (RFC 8259): UTF-8, no NaN, no name twice in an object, bounded depth.

    `Problem` 400 `invalid_json`. Two programs may read an object with a name twice differently; so nobody reads it.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(f"the body is not UTF-8 at byte {error.start}") from None
    try:
        value = _decoder.decode(text.strip(" \t\r\n"))
    except RecursionError:
        raise _invalid(f"the body is nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError as error:
        raise _invalid(f"the body is not JSON: {error}") from None
    if _HALF.search(text) is not None and _has_half(value):
        raise _invalid("the body holds half of a surrogate pair, which UTF-8 cannot express")
    if text.count("[") + text.count("{") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise _invalid(f"the body is nested deeper than {MAX_DEPTH}")
    return value


def decoded(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """A body of a certain type. `Problem` 400 `invalid_json`, or `invalid_body` with the path of the field."""
    checked_json(data)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise Problem(400, "invalid_body", f"the body does not fit: {error}") from None
    except msgspec.DecodeError as error:  # what json takes and msgspec does not, such as lone surrogates
        raise _invalid(f"the body is not JSON: {error}") from None


def _invalid(message: str) -> Problem:
    return Problem(400, "invalid_json", message)


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_decoder = json.JSONDecoder(object_pairs_hook=unique_members, parse_constant=no_constant)


def _has_half(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return True
    return False
