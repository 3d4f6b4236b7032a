"""Repeating a call while the backend cannot answer it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stepwell.errors import BackendError

T = TypeVar("T")

_log = logging.getLogger("stepwell")
FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0


async def until_answered(
    what: str, call: Callable[[], Awaitable[T]], *, is_wanted: Callable[[], bool] | None = None
) -> T | None:
    """Call until there is an answer, ever more slowly; None when it is no longer wanted.

    For idempotent calls only: one that failed with `BackendError` may have been applied.
    """
    delay = FIRST_DELAY
    while is_wanted is None or is_wanted():
        try:
            return await call()
        except BackendError as error:
            _log.warning("%s: %s; again in %.2f s", what, error, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
    return None
