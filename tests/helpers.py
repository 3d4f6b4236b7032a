"""Small helpers that several test files share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run an async test to its end."""
    return asyncio.run(coroutine)


async def until(condition: Callable[[], Awaitable[Any]], *, within: float = 5.0) -> Any:
    """The first true answer of `condition`, asked again and again."""
    async with asyncio.timeout(within):
        while not (answer := await condition()):
            await asyncio.sleep(0.005)
        return answer
