"""What a workflow loop has scheduled: callbacks that are ready, and timers.

Both are leaner than asyncio's own, of which they are subclasses only so that `isinstance` holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Any

TIMER_NAMES = {
    "_set_result_unless_cancelled": "sleep",
    "Timeout._on_timeout": "timeout",
    "_release_waiter": "timeout",
    "as_completed.<locals>._on_timeout": "timeout",
    "_AsCompletedIterator._handle_timeout": "timeout",
    "CancelScope._timeout": "timeout",
}
"""What a timer is for, by the callback that it was set for: asyncio's own, and anyio's."""

_SLACK = 64


class Handle(asyncio.Handle):
    """A callback in the ready queue."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context

    def __repr__(self) -> str:
        return f"<Handle {self._callback!r}>"

    def cancel(self) -> None:
        """Leave the callback out; it may have run already."""
        self._callback = _nothing
        self._args = ()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._callback is _nothing


class Timer(asyncio.TimerHandle):
    """A callback for later. `n` counts from 1 per loop (0: it never waits); `due`, and `since` when it was set, are in
    milliseconds."""

    __slots__ = ("_pending", "due", "n", "name", "since")

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._when = when
        self._callback = callback
        self._args = args
        self._context = context
        self._pending: dict[int, Timer] | None = None
        self.n = 0
        self.due = 0
        self.since = 0
        self.name = ""

    def __repr__(self) -> str:
        return f"<Timer {self.n} {self.name!r} due {self.due} {self._callback!r}>"

    def cancel(self) -> None:
        """Leave the callback out; the timer no longer counts as pending."""
        self._callback = _nothing
        self._args = ()
        if self._pending is not None:
            self._pending.pop(self.n, None)

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._callback is _nothing


class Timers:
    """The pending timers of a loop, in the order (due, n). Cancelled ones leave the heap lazily.

    `pending` holds them by number; it is always the same mapping.
    """

    __slots__ = ("_count", "_heap", "pending")

    def __init__(self) -> None:
        self._count = 0
        self.pending: dict[int, Timer] = {}
        self._heap: list[tuple[int, int]] = []

    def add(self, timer: Timer, due: int, name: str) -> None:
        """Give the timer its number and wait for it."""
        heap, pending = self._heap, self.pending
        self._count = n = self._count + 1
        timer.n, timer.due, timer._pending = n, due, pending
        timer.name = name or TIMER_NAMES.get(getattr(timer._callback, "__qualname__", ""), "timer")
        pending[n] = timer
        if len(heap) > 2 * len(pending) + _SLACK:
            heap[:] = [(other.due, other.n) for other in pending.values()]
            heapify(heap)
        else:
            heappush(heap, (due, n))

    def take(self, n: int, due: int) -> Timer:
        """Remove the timer that fires. Raises `LookupError` unless `n` is pending and due at `due`."""
        timer = self.pending[n]
        if timer.due != due:
            raise LookupError(f"timer {n} is due at {timer.due}, not at {due}")
        del self.pending[n]
        return timer

    def next(self) -> Timer | None:
        """The earliest."""
        heap, pending = self._heap, self.pending
        while heap:
            timer = pending.get(heap[0][1])
            if timer is not None:
                return timer
            heappop(heap)
        return None

    def due(self, until: int) -> list[Timer]:
        """Those due by `until`, in order; they stay pending."""
        found = []
        while (timer := self.next()) is not None and timer.due <= until:
            heappop(self._heap)
            found.append(timer)
        for timer in found:
            heappush(self._heap, (timer.due, timer.n))
        return found

    def all(self) -> list[Timer]:
        """All, in order."""
        return sorted(self.pending.values(), key=lambda timer: (timer.due, timer.n))

    def clear(self) -> None:
        """Forget all; the numbers go on."""
        self.pending.clear()
        self._heap.clear()


def _nothing() -> None:
    """What a cancelled handle calls, so that running one needs no test."""
