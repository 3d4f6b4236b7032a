"""The event bus: tells an app's sinks what happens in its blueprints' runs, and never stands in the way of a run.

A sink is told after the frame is durable. Each has a queue of its own, bounded, and an async one a task, any other a
thread. One that hangs loses events, which are counted; one that raises goes on with the next.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from stepwell.engine.decisions import Decision
from stepwell.engine.driver import Driver
from stepwell.engine.graph.events import GraphEvent, Teller
from stepwell.engine.graph.program import GraphProgram
from stepwell.errors import DefinitionError

EventSink = Callable[[GraphEvent], Awaitable[None] | None]
"""What is told of events: a function, or an async one."""

LIMIT = 10_000
_CLOSE_WITHIN_S = 1.0
_log = logging.getLogger("stepwell")


class EventBus:
    """The sinks of one app. `limit` is how many events may wait for each."""

    def __init__(self, sinks: Iterable[EventSink], *, limit: int = LIMIT) -> None:
        self.lines = [_made(sink, limit) for sink in sinks]

    @property
    def dropped(self) -> int:
        """How many events a sink was too slow for."""
        return sum(line.dropped for line in self.lines)

    def tell(self, driver: Driver, decision: Decision) -> None:
        """This decision is durable: tell what happened."""
        program, origin = driver.program, driver.origin
        if not isinstance(program, GraphProgram):
            return
        happened, program.events = program.events, []
        teller = Teller(driver.run, program.plan.graph.id, origin.base)
        events = [
            *teller.noted(decision.entries, driver.seq, driver.at),
            *teller.happened(happened, driver.seq),
            *teller.ended(decision.entries, driver.seq, driver.at),
        ]
        for line in self.lines if events else ():
            line.put(events)

    async def close(self) -> None:
        """Let the sinks hear what waits for them, for a moment."""
        for line in self.lines:
            await line.close()


class _Line:
    """What all sinks have in common."""

    def __init__(self, sink: EventSink) -> None:
        self.sink = sink
        self.dropped = 0
        self._has_failed = False

    def _drop(self, count: int) -> None:
        if not self.dropped:
            _log.warning("event sink %s is too slow: events are dropped; this is said once", _name(self.sink))
        self.dropped += count

    def _failed(self) -> None:
        if not self._has_failed:
            self._has_failed = True
            _log.warning("event sink %s failed; this is said once", _name(self.sink), exc_info=True)


class _AsyncLine(_Line):
    """An async sink, in a task of its own."""

    def __init__(self, sink: EventSink, limit: int) -> None:
        super().__init__(sink)
        self._limit = limit
        self._queue: asyncio.Queue[GraphEvent] = asyncio.Queue(limit)
        self._task: asyncio.Task[None] | None = None

    def put(self, events: list[GraphEvent]) -> None:
        """Queue them."""
        if self._task is None:
            self._queue = asyncio.Queue(self._limit)
            self._task = asyncio.get_running_loop().create_task(self._listen(), name="stepwell event sink")
        room = self._limit - self._queue.qsize()
        for event in events[:room]:
            self._queue.put_nowait(event)
        if room < len(events):
            self._drop(len(events) - room)

    async def close(self) -> None:
        """Wait a moment, then stop."""
        task, self._task = self._task, None
        if task is None:
            return
        empty = asyncio.ensure_future(self._queue.join())
        await asyncio.wait([empty, task], timeout=_CLOSE_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        empty.cancel()
        task.cancel()
        await asyncio.wait([task, empty], timeout=_CLOSE_WITHIN_S)

    async def _listen(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await cast("Awaitable[None]", self.sink(event))
            except Exception:
                self._failed()
            finally:
                self._queue.task_done()


class _ThreadLine(_Line):
    """A plain function, in a thread of its own, which ends with the process."""

    def __init__(self, sink: EventSink, limit: int) -> None:
        super().__init__(sink)
        self._queue: queue.Queue[GraphEvent | None] = queue.Queue(limit)
        self._thread: threading.Thread | None = None

    def put(self, events: list[GraphEvent]) -> None:
        """Queue them."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="stepwell event sink", daemon=True)
            self._thread.start()
        for number, event in enumerate(events):
            try:
                self._queue.put_nowait(event)
            except queue.Full:
                self._drop(len(events) - number)
                return

    async def close(self) -> None:
        """Wait a moment, then leave it alone."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        await asyncio.get_running_loop().run_in_executor(None, thread.join, _CLOSE_WITHIN_S)

    def _listen(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self.sink(event)
            except Exception:
                self._failed()


def _made(sink: EventSink, limit: int) -> _AsyncLine | _ThreadLine:
    if not callable(sink):
        raise DefinitionError(f"event_sinks holds {sink!r}; give functions of an event, async or not")
    is_async = inspect.iscoroutinefunction(sink) or inspect.iscoroutinefunction(type(sink).__call__)
    return _AsyncLine(sink, limit) if is_async else _ThreadLine(sink, limit)


def _name(sink: Any) -> str:
    return str(getattr(sink, "__qualname__", sink))
