"""The tasks and futures of a workflow loop. What makes them ours is how they hash.

asyncio and anyio keep tasks in sets, and a set iterates by hash, which for asyncio's own is an address.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _unregister_task  # type: ignore[attr-defined,unused-ignore]
from contextvars import Context
from typing import Any


class WorkflowFuture(asyncio.Future[Any]):
    """A future of a workflow loop. Its hash is its number, given when it is first needed.

    When first needed, not when created: a replay may create fewer futures, but it hashes the same ones.
    """

    __slots__ = ("_number",)
    _number: int

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number = number = self.get_loop()._next_hash()  # type: ignore[attr-defined]
            return int(number)


class _Newborn(asyncio.Task[Any]):
    """A task while it is constructed, when asyncio adds it to a set of all tasks in the process.

    There, small numbers would collide with those of all other loops, so for that moment it hashes by its address.
    """

    __slots__ = ("_number", "context", "is_kept", "n")
    _number: int
    context: Context
    is_kept: bool
    n: int


class WorkflowTask(_Newborn):
    """A task of a workflow loop: the `n`th, running in `context`. Its hash is as that of a `WorkflowFuture`. One that
    `is_kept` is not cancelled when the body ends, but waited for."""

    __slots__ = ()

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number = number = self.get_loop()._next_hash()  # type: ignore[attr-defined]
            return int(number)

    def cancel(self, msg: Any | None = None) -> bool:
        """As any task's. A task that cancels itself makes the loop slow: the error comes at its next suspension."""
        loop: Any = self.get_loop()
        if asyncio.current_task(loop) is self:
            loop.fast = False
        return super().cancel(msg)


def new_task(loop: asyncio.AbstractEventLoop, coro: Any, name: str, context: Context) -> WorkflowTask:
    """A task whose first turn is in the ready queue of `loop`, and that the process's set of tasks does not hold."""
    task: Any = _Newborn(coro, loop=loop, name=name, context=context)
    _unregister_task(task)
    task.__class__ = WorkflowTask
    task.context = context
    task.is_kept = False
    return task  # type: ignore[no-any-return]
