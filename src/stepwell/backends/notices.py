"""Notices inside of one process: who listens to which topic, from whichever thread and loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable
from threading import Lock

_PRUNE_FROM = 100
"""How many topics there may be before those are dropped to which nobody listens any more."""


class Listener:
    """An endless iterator that yields after each ring, several rings at once if it was slow."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> None:
        if not self._rung:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._rung = False

    async def wait(self, seconds: float) -> None:
        """Return after a ring, or after so many seconds."""
        timer = self._loop.call_later(seconds, self._ring)
        try:
            await self.__anext__()
        finally:
            timer.cancel()

    def ring(self) -> None:
        """Wake the listener; from any thread."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            self._ring()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Notices:
    """Listeners by topic. A listener that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self._lock = Lock()
        # Mappings, for they have an order, sets have none; nothing else decides who is woken first.
        self._topics: dict[str, weakref.WeakKeyDictionary[Listener, None]] = {}
        self._prune_at = _PRUNE_FROM

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        with self._lock:
            return any(self._topics.values())

    def listen(self, *topics: str) -> Listener:
        """A listener that hears every ring of these topics from now on."""
        listener = Listener()
        with self._lock:
            if len(self._topics) >= self._prune_at:
                # Who follows a run listens to a topic of its own, which may never be rung again.
                self._topics = {topic: listeners for topic, listeners in self._topics.items() if listeners}
                self._prune_at = max(_PRUNE_FROM, 2 * len(self._topics))
            for topic in topics:
                self._topics.setdefault(topic, weakref.WeakKeyDictionary())[listener] = None
        return listener

    def ring(self, topics: Iterable[str]) -> None:
        """Wake whoever listens to one of these topics."""
        if self._topics:
            for listener in self._listeners(topics):
                listener.ring()

    def ring_all(self) -> None:
        """Wake everybody."""
        self.ring(list(self._topics))

    def _listeners(self, topics: Iterable[str]) -> dict[Listener, None]:
        found: dict[Listener, None] = {}
        with self._lock:
            for topic in topics:
                listeners = self._topics.get(topic)
                if listeners is None:
                    continue
                alive = dict(listeners)
                if alive:
                    found |= alive
                else:
                    del self._topics[topic]
        return found
