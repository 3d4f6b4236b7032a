"""Servers of one backend, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from stepwell import Stepwell
from stepwell.errors import BackendError
from stepwell.ports import Backend
from stepwell.server.access import Access
from stepwell.testing import VirtualClock, VirtualLoop
from stepwell.testing.faults import Call, FaultyBackend

T = TypeVar("T")
DAY_MS = 86_400_000


class Place:
    """A backend that may be down, and what opens servers on it."""

    def __init__(self, clock: VirtualClock, url: str) -> None:
        self.clock = clock
        self.url = url
        self.is_down = False
        self.policy: Callable[[Call], Coroutine[Any, Any, Any]] = self._decide

    async def _decide(self, call: Call) -> Any:
        if self.is_down:
            raise BackendError(f"{call.name}: down on purpose")
        return await call.apply()

    async def _policy(self, call: Call) -> Any:
        return await self.policy(call)

    def app(self) -> Stepwell:
        """Another process's app."""
        return _App(self)

    @asynccontextmanager
    async def server(self, **options: Any) -> AsyncIterator[Access]:
        """A server: an app with its access."""
        async with self.app() as app, Access.open(app, **options) as access:
            yield access

    async def streams(self, name: str) -> list[bytes]:
        """What a stream holds."""
        async with self.app() as app:
            return list((await app.backend.streams.read(name, 0, 100_000)).items)


class _App(Stepwell):
    def __init__(self, place: Place) -> None:
        super().__init__(place.url, worker=False, clock=place.clock)
        self._place = place

    async def _open_backend(self) -> Backend:
        return FaultyBackend(await super()._open_backend(), self._place._policy)


def play(test: Callable[[Place], Coroutine[Any, Any, T]], *, url: str = "memory://") -> T:
    """Run a test in virtual time."""
    loop = VirtualLoop(VirtualClock())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(loop.drive(_played(test, Place(loop.clock, url))))


async def _played(test: Callable[[Place], Coroutine[Any, Any, T]], place: Place) -> T:
    if place.url != "memory://":
        return await test(place)
    place.url = f"memory://access-{id(place)}"
    async with place.app():  # keeps what is in memory
        return await test(place)


def bearer(text: str) -> str:
    """The header's value."""
    return f"Bearer {text}"
