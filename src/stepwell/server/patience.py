"""How long requests wait for what they are about: for a time, and never beyond the end of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Patience:
    """The waits of one server."""

    def __init__(self) -> None:
        self.is_over = False
        self._waits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def at_most(self, seconds: float) -> AsyncIterator[None]:
        """`TimeoutError` after that time, or when the server drains: then the request is answered as things are."""
        async with asyncio.timeout(0 if self.is_over else seconds) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    def end(self) -> None:
        """Nobody waits any longer."""
        self.is_over = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)
