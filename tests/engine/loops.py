"""Drives a workflow loop as its owner would, but with timers that fire as soon as nothing else can happen."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from stepwell.engine.loop import Timer, WorkflowLoop

EPOCH = 1_700_000_000_123

Body = Callable[[], Coroutine[Any, Any, Any]]


class Run:
    """One activation of a body: `fired` are the timers, `logs` the loop's messages."""

    def __init__(self, body: Body, **options: Any) -> None:
        self.logs: list[str] = []
        self.fired: list[tuple[int, int, str]] = []
        self.loop = WorkflowLoop(name="run-1", on_log=self.logs.append, **options)
        self.loop.now_ms = EPOCH
        self.task = self.loop.spawn(body(), name="main")

    def fire_next(self) -> Timer:
        """Let time pass until the earliest timer."""
        timer = self.loop.next_timer()
        assert timer is not None, f"waits for no timer: {[self.loop.where(task) for task in self.loop.live_tasks()]}"
        self.loop.now_ms = max(self.loop.now_ms, timer.due)
        self.fired.append((timer.n, timer.due - EPOCH, timer.name))
        self.loop.fire(timer.n, timer.due)
        self.loop.pump()
        return timer

    def finish(self) -> Any:
        """Run until the body returns, with all that it left behind."""
        self.loop.pump()
        while not self.task.done() or self.loop.next_timer():
            self.fire_next()
        return self.task.result()

    @property
    def elapsed(self) -> int:
        """Milliseconds of the run's time since it began."""
        return self.loop.now_ms - EPOCH


def finish(body: Body, **options: Any) -> Any:
    """What the body returns. Whatever happens, it leaves memory, as its owner would have it."""
    run = Run(body, **options)
    try:
        return run.finish()
    finally:
        run.loop.evict()


def park(body: Body, **options: Any) -> Run:
    """A run that was pumped once; evicted if that fails."""
    run = Run(body, **options)
    try:
        run.loop.pump()
    except BaseException:
        run.loop.evict()
        raise
    return run


@contextmanager
def nothing_unraisable() -> Iterator[None]:
    """Fails if a destructor complains, now or when the collector comes by."""
    seen: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda info: seen.append((info.exc_value, info.object))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert seen == []


async def forever() -> None:
    """Wait for something that never happens."""
    await asyncio.get_running_loop().create_future()
