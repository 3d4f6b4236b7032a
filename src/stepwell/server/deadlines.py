"""Time limits of many requests by one timer: a timer for each would cost more than reading its body."""

from __future__ import annotations

import asyncio
from typing import Any


class Deadline:
    """When the task that began it has to be done."""

    __slots__ = ("at", "cancelling", "is_over", "task")

    def __init__(self, task: asyncio.Task[Any], at: float) -> None:
        self.task = task
        self.at = at
        self.is_over = False
        self.cancelling = task.cancelling()


class Deadlines:
    """The deadlines of one server. Tasks that are late are cancelled, at most `every` seconds after their time."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._open: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> Deadline:
        """From now on, for the current task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "requests are answered in tasks"
        deadline = Deadline(task, loop.time() + seconds)
        self._open.add(deadline)
        if self._timer is None:
            self._timer = loop.call_later(self._every, self._look, loop)
        return deadline

    def move(self, deadline: Deadline, seconds: float) -> None:
        """So long from now."""
        deadline.at = asyncio.get_running_loop().time() + seconds

    def end(self, deadline: Deadline) -> None:
        """The task is done with what it had to do."""
        self._open.discard(deadline)

    def is_late(self, deadline: Deadline) -> bool:
        """In `except CancelledError`: whether the deadline did it, and nobody else; then the task goes on."""
        return deadline.is_over and deadline.task.uncancel() <= deadline.cancelling

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for deadline in [item for item in self._open if item.at <= now]:
            self._open.discard(deadline)
            deadline.is_over = True
            deadline.task.cancel()
        self._timer = loop.call_later(self._every, self._look, loop) if self._open else None
