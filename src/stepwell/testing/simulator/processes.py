"""Processes in one thread: an event loop whose callbacks belong to somebody who can be stopped.

Each callback belongs to the process whose context it runs in, or else to the one that asked for it: bodies and steps
run in contexts of their own. A process that
has died runs nothing any more: not even its `finally` blocks, as after kill -9. One that is frozen (SIGSTOP, a laptop's
lid, a long garbage collection) does later, all at once, what it would have done meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from stepwell.ports import Clock
from stepwell.testing.virtual import VirtualClock, VirtualLoop

T = TypeVar("T")


class SkewedClock:
    """A machine's clock: off by `skew_ms`, which may change at any time. Its monotonic time is everybody's."""

    def __init__(self, clock: VirtualClock, skew_ms: int = 0) -> None:
        self._clock = clock
        self.skew_ms = skew_ms

    def now(self) -> int:
        """Milliseconds since the Unix epoch, as this machine believes."""
        return self._clock.now() + self.skew_ms

    def monotonic(self) -> float:
        """Seconds since the simulation began."""
        return self._clock.monotonic()

    def random_bytes(self, n: int) -> bytes:
        """The next `n` bytes of the seeded generator."""
        return self._clock.random_bytes(n)


class Process:
    """One life of a simulated process. `identity` is its store's. `turns_left`: how many more callbacks it runs before
    it dies, if that is set."""

    def __init__(self, name: str, loop: SimLoop, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.identity = ""
        self.turns_left: int | None = None
        self.is_frozen = False
        self._thawed_at = -1.0
        self.death: asyncio.Future[None] = loop.create_future()
        self.loop = loop
        self._tasks: list[asyncio.Task[Any]] = []
        self._missed: list[asyncio.Handle] = []
        self._context = copy_context()
        self._context.run(_process.set, self)

    @property
    def is_dead(self) -> bool:
        """Whether it was killed."""
        return self.death.done()

    @property
    def is_awake(self) -> bool:
        """Whether it runs, and has had the time to do what it missed while it was frozen, or the clock jumped."""
        return not self.is_dead and not self.is_frozen and self.clock.monotonic() > self._thawed_at

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run a coroutine as this process."""
        task = self.loop.create_task(coroutine, name=name, context=self._context.copy())
        self._tasks.append(task)  # kept, so that nothing of a dead process is finalized while others go on
        return task

    def kill(self) -> None:
        """As kill -9."""
        if not self.is_dead:
            self.death.set_result(None)

    def freeze(self) -> None:
        """As SIGSTOP."""
        self.is_frozen = True

    def thaw(self) -> None:
        """As SIGCONT: what was missed happens now."""
        self.is_frozen = False
        self._thawed_at = self.clock.monotonic()
        if self.is_dead:
            return
        missed, self._missed = self._missed, []
        for handle in missed:
            self.loop.resubmit(handle)

    def jolt(self) -> None:
        """Everybody's clock has jumped ahead: timers are late, through no fault of the process."""
        self._thawed_at = self.clock.monotonic()

    def may_run(self, handle: asyncio.Handle) -> bool:
        """Asked by each callback when its time has come."""
        if self.turns_left is not None and not self.is_dead and not self.is_frozen:
            self.turns_left -= 1
            if self.turns_left < 0:
                self.kill()
        if self.is_dead or self.is_frozen:
            self._missed.append(handle)  # of the dead for good, but nothing is finalized while others go on
            return False
        return True


class SimLoop(VirtualLoop):
    """A virtual loop that asks a callback's process before it runs it. `current`: the process that runs now."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.current: Process | None = None

    def bury(self) -> None:
        """Close what dead processes left behind, without a word."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine: Any = task.get_coro()
            with contextlib.suppress(BaseException):
                coroutine.close()

    def resubmit(self, handle: asyncio.Handle) -> None:
        """Run this callback soon, after all."""
        if not handle.cancelled():
            self._ready.append(handle)  # type: ignore[attr-defined]

    def _call_soon(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> Any:
        handle = _Turn(callback, args, self, context)
        handle.process = self._owner(handle)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def _owner(self, handle: asyncio.Handle) -> Process | None:
        context: Context = handle._context  # type: ignore[attr-defined]
        return context.get(_process, self.current)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's; the timer belongs to the process that sets it."""
        timer = _Timer(when, callback, args, self, context)
        timer.process = self._owner(timer)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        self.classify(timer)
        return timer


class _Turn(asyncio.Handle):
    __slots__ = ("process",)

    process: Process | None

    def _run(self) -> None:
        _run(self, self.process)


class _Timer(asyncio.TimerHandle):
    __slots__ = ("process",)

    process: Process | None

    def _run(self) -> None:
        _run(self, self.process)


def _run(handle: asyncio.Handle, process: Process | None) -> None:
    if process is None:
        _handle_run(handle)
    elif process.may_run(handle):
        process.loop.current = process
        try:
            _handle_run(handle)
        finally:
            process.loop.current = None


_handle_run: Callable[[asyncio.Handle], None] = asyncio.Handle._run
_process: ContextVar[Process | None] = ContextVar("stepwell_simulated_process")


def be_nobody() -> None:
    """What runs in this context, and those made from it, belongs to no process, whoever calls it."""
    _process.set(None)


def current_process() -> Process:
    """The process whose code runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop), "simulations run on no other"
    process = loop.current
    assert process is not None, "asked by code of a process"
    return process
