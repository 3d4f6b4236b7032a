"""The app's lifespan, for a step worker: entered once, and left in the task that entered it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stepwell.runtime.working import by_type

if TYPE_CHECKING:
    from stepwell.runtime.app import Lifespan


def _none() -> None:
    return None


class Lifetime:
    """Holds what the lifespan yields. A task of its own enters and leaves it, since what is in it may insist on that;
    if its event loop ends, it is left, and entered again on the next one. `given` is asked first: an app that is open
    has entered its lifespan already."""

    def __init__(self, lifespan: Lifespan | None, *, given: Callable[[], Mapping[type, Any] | None] = _none) -> None:
        self._lifespan = lifespan
        self._given = given
        self._task: asyncio.Task[None] | None = None
        self._entered: asyncio.Future[Mapping[type, Any]] | None = None
        self._leave: asyncio.Event | None = None

    async def resources(self) -> Mapping[type, Any]:
        """What steps share, by type. Raises what the lifespan raises, and tries again the next time."""
        if self._lifespan is None:
            return {}
        if (given := self._given()) is not None:
            return given
        entered = self._entered
        if entered is None or self._task is None or self._task.done() or entered.get_loop() is not _loop():
            entered = self._begin()
        return await asyncio.shield(entered)

    async def close(self) -> None:
        """Leave the lifespan. Raises what that raises."""
        task, leave = self._task, self._leave
        self._task = self._entered = self._leave = None
        if task is not None and leave is not None and not task.done() and task.get_loop() is _loop():
            leave.set()
            await task

    def _begin(self) -> asyncio.Future[Mapping[type, Any]]:
        loop = _loop()
        entered = self._entered = loop.create_future()
        leave = self._leave = asyncio.Event()
        self._task = loop.create_task(self._hold(entered, leave), name="stepwell-lifespan")
        return entered

    async def _hold(self, entered: asyncio.Future[Mapping[type, Any]], leave: asyncio.Event) -> None:
        assert self._lifespan is not None, "without one, nothing is held"
        try:
            async with self._lifespan() as resources:
                entered.set_result(by_type(resources))
                await leave.wait()
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            if not isinstance(error, Exception):
                raise


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
