"""Changes of metadata as data: what one run asks of another's, and what a worker elsewhere reports."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.model.failures import NULL

_EXACT = 2**53


class MetadataOp(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change. `value` is a payload: what to set, to append, or to add (UNSET: 1)."""

    op: Literal["set", "increment", "append", "remove"]
    key: str
    value: Raw | UnsetType = UNSET


def applied(op: str, there: Raw | None, value: Raw | UnsetType) -> Raw:
    """The new value of a key, all in JSON; null: it has none any more.

    What is not a number counts as 0 for an increment, and what is no list as an empty one.
    """
    if op == "set":
        return NULL if value is UNSET else value
    if op == "remove":
        return NULL
    old: Any = None if there is None else msgspec.json.decode(there)
    if op == "append":
        items = old if isinstance(old, list) else []
        return Raw(msgspec.json.encode([*items, NULL if value is UNSET else value]))
    by: Any = 1 if value is UNSET else msgspec.json.decode(value)
    return Raw(msgspec.json.encode(_whole(_number(old) + _number(by))))


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _whole(number: float) -> float:
    """Without a fraction where there is none: other languages do not know 3.0 from 3."""
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < _EXACT else number
