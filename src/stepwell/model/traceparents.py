"""Where a run was asked for: the W3C `traceparent` of a request, kept as a tag of the run.

A run outlives what asked for it, and may be looked at by others, so the trace of a run is its own and only links to
that of the request.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TAG = "traceparent"
_FORMAT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Traceparent(NamedTuple):
    """A span of another trace."""

    trace: int
    span: int
    flags: int


def traceparent_of(text: str | None) -> Traceparent | None:
    """None for what is not one: the standard wants that ignored."""
    found = None if text is None else _FORMAT.fullmatch(text.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    parent = Traceparent(int(found[2], 16), int(found[3], 16), int(found[4], 16))
    return parent if parent.trace and parent.span else None


def tags_of(text: str | None) -> dict[str, str]:
    """The tags for a run that is asked for with this header."""
    return {TAG: text.strip()} if text is not None and traceparent_of(text) is not None else {}
