"""Waiting, and how long it took: on an event loop, and in a thread."""

from __future__ import annotations

import asyncio
import threading

from stepwell.backends.clock import SystemClock

CLOCK = SystemClock()


async def async_pause(seconds: float) -> None:
    """Let so much time pass."""
    await asyncio.sleep(seconds)


def async_elapsed() -> float:
    """Seconds on the loop's clock."""
    return asyncio.get_running_loop().time()


def blocking_pause(seconds: float) -> None:
    """Let so much time pass, in this thread."""
    threading.Event().wait(seconds)


def blocking_elapsed() -> float:
    """Seconds on the machine's clock."""
    return CLOCK.monotonic()


def fresh_id() -> str:
    """An id that nobody has given before."""
    return CLOCK.random_bytes(12).hex()


def fresh_run_id() -> str:
    """The same for a run. Time first, so that runs that were started together are found together."""
    return f"{CLOCK.now():011x}{CLOCK.random_bytes(7).hex()}"
