"""Durations as users write them: a timedelta, seconds, or text such as "1h30m"."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from stepwell.errors import DefinitionError

Duration = timedelta | float | str
"""A `timedelta`, a number of seconds, or text made of `ms s m h d w` parts, largest first: "1h30m", "250ms"."""

_UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")
_MAX_MS = 100 * 365 * 86_400_000


def duration_ms(value: Duration, *, what: str = "a duration") -> int:
    """Whole milliseconds, rounded up; `what` names the option in the error."""
    if isinstance(value, timedelta):
        exact = value / timedelta(milliseconds=1)
    elif isinstance(value, str):
        exact = _parse(value, what)
    elif isinstance(value, bool):
        raise DefinitionError(f'{what} is {value!r}; give a timedelta, seconds, or text such as "1h30m"')
    else:
        exact = value * 1000
    if math.isnan(exact) or exact < 0:
        raise DefinitionError(f"{what} is {value!r}; a duration cannot be negative")
    if exact > _MAX_MS:
        raise DefinitionError(f"{what} is {value!r}; the longest duration is 100 years")
    return math.ceil(exact - 1e-9)


def _parse(text: str, what: str) -> float:
    total, position, last = 0.0, 0, math.inf
    compact = text.replace(" ", "")
    while match := _PART.match(compact, position):
        unit = _UNITS_MS[match[2]]
        if unit >= last:
            break
        total, position, last = total + float(match[1]) * unit, match.end(), unit
    if not compact or position != len(compact):
        raise DefinitionError(f'{what} is {text!r}; write it as "1h30m", with the units w d h m s ms, largest first')
    return total


def format_ms(ms: int) -> str:
    """The shortest exact text for people: `1h30m`, `250ms`."""
    if ms == 0:
        return "0s"
    parts = []
    for unit, size in _UNITS_MS.items():
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
