"""Where a workflow body is: the file, line and function that a message should name.

A traceback of a body is mostly asyncio and library frames. The reader wants the line of their own code, which is the
innermost frame that belongs neither to the standard library, nor to an installed package, nor to Stepwell.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

_STDLIB = os.path.dirname(os.__file__) + os.sep
_STEPWELL = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
NOWHERE = "an unknown place"
"""The place of something that no frame of the body leads to."""


@lru_cache(maxsize=4096)
def is_user_file(filename: str) -> bool:
    """Whether this file is the user's own."""
    return not (_is_machinery(filename) or any(part in filename for part in _INSTALLED))


def place_of(frames: Iterable[FrameType]) -> str:
    """The innermost frame of user code, as "orders.py:41, in checkout"; `frames` are given innermost first.

    A workflow that is itself an installed package has no user code by that measure; then any frame outside of asyncio
    and Stepwell will do.
    """
    second = ""
    for frame in frames:
        filename = frame.f_code.co_filename
        if is_user_file(filename):
            return describe(frame)
        if not second and not _is_machinery(filename) and f"{os.sep}anyio{os.sep}" not in filename:
            second = describe(frame)
    return second or NOWHERE


def describe(frame: FrameType) -> str:
    """This frame, as "orders.py:41, in checkout"."""
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}, in {frame.f_code.co_name}"


def calling_frames(bottom: CodeType) -> Iterator[FrameType]:
    """The frames that are executing now, innermost first, up to (not including) that of `bottom`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not bottom:
        yield frame
        frame = frame.f_back


def waiting_frames(awaitable: Any) -> list[FrameType]:
    """The frames of a suspended coroutine and of what it awaits, innermost first."""
    frames = []
    while awaitable is not None:
        frame, awaitable = _look_into(awaitable)
        if frame is not None:
            frames.append(frame)
    frames.reverse()
    return frames


def _look_into(awaitable: Any) -> tuple[FrameType | None, Any]:
    for prefix, inner in (("cr", "cr_await"), ("ag", "ag_await"), ("gi", "gi_yieldfrom")):
        if hasattr(awaitable, inner):
            return getattr(awaitable, f"{prefix}_frame"), getattr(awaitable, inner)
    return None, None


def _is_machinery(filename: str) -> bool:
    if filename.startswith((_STEPWELL, "<frozen ")):
        return True
    return filename.startswith(_STDLIB) and not any(part in filename for part in _INSTALLED)
