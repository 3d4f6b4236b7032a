"""JSON as JavaScript writes it: a whole number has no `.0`, and there is no negative zero."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

_WHOLE_MAX = 1e21
"""From here on JavaScript writes an exponent."""


def plain(raw: Raw) -> Raw:
    """The same JSON with whole floats as integers. Order and all else stay."""
    if b".0" not in bytes(memoryview(raw)):
        return raw
    return Raw(msgspec.json.encode(_plain(msgspec.json.decode(raw))))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _WHOLE_MAX else value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
