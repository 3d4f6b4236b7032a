"""Repeating a call while the backend cannot answer it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from stepwell.errors import BackendError

T = TypeVar("T")

_log = logging.getLogger("stepwell")
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0


def delays() -> Iterator[float]:
    """How long (s) to wait after each failure; without end."""
    delay = _FIRST_DELAY
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY)


async def until_answered(
    what: str, call: Callable[[], Awaitable[T]], *, is_wanted: Callable[[], bool] | None = None
) -> T | None:
    """Call until there is an answer, ever more slowly; None when it is no longer wanted.

    For idempotent calls only: one that failed with `BackendError` may have been applied.
    """
    for delay in delays():
        if is_wanted is not None and not is_wanted():
            break
        try:
            return await call()
        except BackendError as error:
            _log.warning("%s: %s; again in %.2f s", what, error, delay)
            await asyncio.sleep(delay)
    return None
