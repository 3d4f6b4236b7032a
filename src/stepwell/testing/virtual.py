"""Time that costs nothing: a clock that stands still until it is moved, and an event loop that moves it.

`VirtualLoop` is asyncio's own selector loop. Only its waiting differs: when nothing is ready, it does not sleep until
the next timer, it goes there. While a thread works, or a socket has something to say, that is waited for in real time,
and virtual time stands still. When nothing could ever move again, that is an error, with a list of who waits for what.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack
from weakref import WeakSet

from stepwell.engine.places import place_of, waiting_frames
from stepwell.model.durations import Duration, duration_ms, format_ms

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time begins, unless told otherwise."""

_LAST_MS = 100 * 365 * 86_400_000
_IO_SECONDS = 0.05
_HOUSEKEEPING = frozenset({"stepwell worker", "stepwell renewal", "stepwell lookout"})
"""The tasks whose timers come again for ever, so that they alone are no sign of life."""


class DeadlockError(AssertionError):
    """Everything waits, and nothing would ever end that: no timer, no thread, no message to come."""


class VirtualClock:
    """The Clock port for tests: it stands still until `advance`, or until its `VirtualLoop` goes to the next timer.

    The same `seed` gives the same `random_bytes`. `start` is the time at which it begins.
    """

    def __init__(self, *, start: datetime = EPOCH, seed: int = 0) -> None:
        self.start = start
        self.seed = seed
        self._start_ms = round(start.timestamp() * 1000)
        self._elapsed_us = 0
        self._random = Random(seed)

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._start_ms + self._elapsed_us // 1000

    def monotonic(self) -> float:
        """Seconds since this clock began."""
        return self._elapsed_us / 1_000_000

    def random_bytes(self, n: int) -> bytes:
        """The next `n` bytes of the seeded generator."""
        return self._random.randbytes(n)

    def advance(self, by: Duration) -> None:
        """Jump ahead at once, as after a suspension: whatever was due meanwhile is due now, together.

        To let time pass in its order, sleep: `await asyncio.sleep(3600)` on a virtual loop.
        """
        self._elapsed_us += duration_ms(by, what="advance(by)") * 1000

    def advance_seconds(self, seconds: float) -> None:
        """The same, for the loop: to the microsecond at or after that time."""
        self._elapsed_us += max(1, math.ceil(seconds * 1_000_000 - 0.001))


class RewoundClock:
    """A clock that goes with another one, but begins again where that one began, with its chance anew."""

    def __init__(self, clock: VirtualClock | RewoundClock) -> None:
        self._clock: VirtualClock = clock if isinstance(clock, VirtualClock) else clock._clock
        self._behind_ms = self._clock.now() - round(self._clock.start.timestamp() * 1000)
        self._chance = VirtualClock(seed=self._clock.seed)

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._clock.now() - self._behind_ms

    def monotonic(self) -> float:
        """Seconds since the other clock began."""
        return self._clock.monotonic()

    def random_bytes(self, n: int) -> bytes:
        """The next `n` bytes of the seeded generator."""
        return self._chance.random_bytes(n)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a `VirtualClock`'s.

    `is_alive` is asked when only the worker's own timers are left: whether they might still find something to do.
    `on_failure` takes a deadlock (or a thread that hangs); by default the task that `main` names is cancelled, and
    `drive` raises the error in its place. `thread_seconds` of real time is how long a thread may take.
    """

    def __init__(self, clock: VirtualClock | None = None, *, thread_seconds: float = 60.0) -> None:
        self.clock = clock or VirtualClock()
        self.thread_seconds = thread_seconds
        self.failure: BaseException | None = None
        self.main: asyncio.Task[Any] | None = None
        self.is_alive: Callable[[], bool] = _never
        self.describe: Callable[[], list[str]] = list
        self.on_failure: Callable[[BaseException], bool] | None = None
        self._busy: set[object] = set()
        self._housekeeping: WeakSet[asyncio.TimerHandle] = WeakSet()
        super().__init__(_VirtualSelector(self))
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual seconds."""
        return self.clock.monotonic()

    async def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await it as the main task of this loop: what fails the loop is raised here."""
        self.main = asyncio.current_task(self)
        try:
            return await coroutine
        except asyncio.CancelledError:
            if (failure := self.failure) is not None:
                raise failure from None
            raise
        finally:
            self.main = None

    def fail(self, error: BaseException) -> None:
        """End the main task with this error. A second one, while the task is unwinding, is raised as it is."""
        if self.on_failure is not None and self.on_failure(error):
            return
        if self.failure is not None or self.main is None:
            raise error
        self.failure = error
        self.main.cancel()

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's; remembers which timers are housekeeping."""
        timer = super().call_at(when, callback, *args, context=context)
        self.classify(timer)
        return timer

    def classify(self, timer: asyncio.TimerHandle) -> None:
        """Remember whose timer it is: those of the worker's own rounds are no sign of life."""
        task = asyncio.current_task(self)
        if task is not None and task.get_name() in _HOUSEKEEPING:
            self._housekeeping.add(timer)

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        """As asyncio's; time stands still until the function has returned."""
        future = super().run_in_executor(executor, func, *args)
        self._busy.add(future)
        future.add_done_callback(self._busy.discard)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """As asyncio's, in real time: a timer would be over at once."""
        joining = object()
        self._busy.add(joining)
        try:
            await super().shutdown_default_executor()
        finally:
            self._busy.discard(joining)

    # --- waiting

    def go_on(self, seconds: float | None) -> None:
        """Nothing is ready, and the next timer is so far away (None: there is none)."""
        if seconds is None or (self._only_housekeeping() and not self.is_alive()):
            self.fail(DeadlockError(self._who_waits()))
        elif self.clock.monotonic() * 1000 > _LAST_MS:
            text = f"{format_ms(_LAST_MS)} of virtual time have passed, and it still goes on.\n{self._who_waits()}"
            self.fail(DeadlockError(text))
        else:
            self.clock.advance_seconds(seconds)

    def is_threaded(self) -> bool:
        """Whether a thread works for this loop."""
        return bool(self._busy)

    def thread_hangs(self) -> None:
        """A thread has had its time."""
        self._busy.clear()
        self.fail(TimeoutError(f"a thread has worked for {self.thread_seconds:g} s of real time; it is left behind"))

    def _only_housekeeping(self) -> bool:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return all(timer.cancelled() or timer in self._housekeeping for timer in timers)

    def _who_waits(self) -> str:
        tasks = [task for task in asyncio.all_tasks(self) if not _is_ours(task)]
        lines = [
            *self.describe(),
            *(f"task {task.get_name()} at {place_of(waiting_frames(task.get_coro()))}" for task in tasks),
        ]
        return "everything waits, and nothing would ever end that:\n" + "\n".join(f"  {line}" for line in lines)


class _VirtualSelector(selectors.DefaultSelector):
    """Where an event loop waits."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        loop = self._loop
        if loop.is_threaded():
            events = super().select(loop.thread_seconds)
            if not events:
                loop.thread_hangs()
            return events
        if len(self.get_map()) > 1:  # more than the loop's own wake-up
            events = super().select(_IO_SECONDS)
        if not events:
            loop.go_on(timeout)
        return events


def _never() -> bool:
    return False


def _is_ours(task: asyncio.Task[Any]) -> bool:
    coroutine: Any = task.get_coro()
    code = getattr(coroutine, "cr_code", None)
    return code is not None and "/stepwell/runtime/" in code.co_filename.replace("\\", "/")
