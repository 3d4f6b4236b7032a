"""How a body leaves memory: unwound at once, on its own loop, with nothing that it does then having an effect.

Leaving this to the garbage collector would run each `finally` in the collector's thread, under no loop, and a body that
swallows everything would hang the process in a destructor. So `Evicted` is thrown into each coroutine, and while that
goes on, whatever it awaits is a future that never completes. It must not raise there: a body that retries for ever
would then spin inside of `throw`.
"""

from __future__ import annotations

import asyncio
import inspect
from asyncio.tasks import _enter_task, _leave_task  # type: ignore[attr-defined,unused-ignore]
from collections.abc import Iterable, Iterator
from types import CoroutineType, FrameType
from typing import Any

from stepwell.engine.places import waiting_frames
from stepwell.engine.tasks import WorkflowTask
from stepwell.errors import Evicted

THROWS = 20
"""How often a body is told before it is given up."""

_survivors: list[asyncio.Task[Any]] = []


def survivors() -> int:
    """How many coroutines of this process ignored every `Evicted`. They stay in memory until it ends."""
    return len(_survivors)


def unwind(loop: asyncio.AbstractEventLoop, tasks: Iterable[WorkflowTask]) -> list[WorkflowTask]:
    """End the coroutine of each task; answers those that will not, which are kept alive, away from the collector.

    `loop` must be the running loop, with no task entered. A Ctrl-C that arrives meanwhile is raised at the end.
    """
    interrupt: KeyboardInterrupt | None = None
    survived = []
    for task in tasks:
        try:
            if not _unwind_one(loop, task):
                survived.append(task)
        except KeyboardInterrupt as error:
            interrupt = error
    _survivors.extend(survived)
    if interrupt is not None:
        raise interrupt
    return survived


def _unwind_one(loop: asyncio.AbstractEventLoop, task: WorkflowTask) -> bool:
    coro: Any = task.get_coro()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    forgotten = list(_never_awaited(coro))
    _enter_task(loop, task)
    try:
        for _ in range(THROWS):
            try:
                task.context.run(coro.throw, Evicted())
            except KeyboardInterrupt:
                raise
            except BaseException:
                return True
        return False
    finally:
        _leave_task(loop, task)
        for other in filter(_is_unstarted, forgotten):
            other.close()


def _never_awaited(coro: Any) -> Iterator[CoroutineType[Any, Any, Any]]:
    """Coroutines that the body made for later. Being dropped now is not the user's mistake, so they must not warn.

    Closed after the body, not before: awaiting a closed coroutine raises, and see above.
    """
    for frame in waiting_frames(coro):
        for value in _locals_of(frame):
            if isinstance(value, CoroutineType) and _is_unstarted(value):
                yield value


def _is_unstarted(coro: CoroutineType[Any, Any, Any]) -> bool:
    return inspect.getcoroutinestate(coro) == inspect.CORO_CREATED


def _locals_of(frame: FrameType) -> Iterator[Any]:
    for value in frame.f_locals.values():
        if type(value) in (list, tuple):
            yield from value
        elif type(value) is dict:
            yield from value.values()
        else:
            yield value
