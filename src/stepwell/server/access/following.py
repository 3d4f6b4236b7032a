"""Keeping up with what other servers of the backend write: on a notice at once, and by looking every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from stepwell.errors import BackendError
from stepwell.runtime.client import Client
from stepwell.runtime.patience import Trouble
from stepwell.server.access.keys import TOPIC

LOOK_EVERY_S = 5.0
STALE_AFTER_S = 60.0
_TRY_AGAIN_AFTER_S = 1.0
_READ_WITHIN_S = 10.0


class Follower:
    """Calls `readers` when something may be new."""

    def __init__(self, client: Client, readers: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._client = client
        self._readers = tuple(readers)
        self._monotonic = client.backend.clock.monotonic
        self._read_at = 0.0
        self._failed_at: float | None = None
        self._rung = asyncio.Event()
        self._reading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Read, and from then on keep up until `close`. `BackendError`."""
        notices = self._client.backend.queue.listen(TOPIC)  # before reading, so that nothing is missed between
        await self.read()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._follow(), name="stepwell keys"),
            loop.create_task(self._listen(notices), name="stepwell keys listener"),
        ]

    async def close(self) -> None:
        """Keep up no longer."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def read(self) -> None:
        """Read now. `BackendError`."""
        began_at = self._monotonic()
        try:
            async with asyncio.timeout(_READ_WITHIN_S):
                for reader in self._readers:
                    await reader()
        except TimeoutError:
            raise BackendError(f"API keys could not be read within {_READ_WITHIN_S:g} s") from None
        self._read_at = began_at

    async def be_fresh(self) -> None:
        """Return if what is known is not older than a minute, or could be read. `BackendError`: nobody may be let in by
        what was so long ago."""
        if self._monotonic() - self._read_at < STALE_AFTER_S:
            return
        async with self._reading:
            now = self._monotonic()
            if now - self._read_at < STALE_AFTER_S:
                return
            if self._failed_at is not None and now - self._failed_at < _TRY_AGAIN_AFTER_S:
                raise BackendError("API keys could not be read for a minute, so nobody can be let in")
            try:
                await self.read()
            except BackendError:
                self._failed_at = self._monotonic()
                raise

    async def _follow(self) -> None:
        has_failed = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._rung.wait()
            self._rung.clear()
            try:
                await self.read()
            except BackendError as error:
                has_failed = True
                Trouble.here().met("reading API keys", error)
                await asyncio.sleep(_TRY_AGAIN_AFTER_S)
                continue
            if has_failed:
                Trouble.here().over()
            has_failed = False

    async def _listen(self, notices: AsyncIterator[None]) -> None:
        """Wake `_follow`. Notices are a comfort: without them it looks by itself."""
        while True:
            with contextlib.suppress(BackendError):
                async for _ in notices:
                    self._rung.set()
            await asyncio.sleep(LOOK_EVERY_S)
            notices = self._client.backend.queue.listen(TOPIC)
