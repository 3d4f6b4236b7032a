"""Sagas: undo the completed steps of a block, newest first, each exactly once.

A compensation is an ordinary step. So its result is in the journal, it is retried like any other, and after a crash
the replayed block goes on with the compensations that are not recorded yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, NamedTuple

from stepwell.errors import ActivationError, Evicted


class Undo(NamedTuple):
    """A step that has completed and can be undone; `id` is its command's."""

    id: str
    step: Callable[..., Coroutine[Any, Any, Any]]
    result: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Saga:
    """A block whose completed steps are undone if it fails, or when asked. Inner sagas that succeed pass their steps on
    to the outer one."""

    def __init__(self) -> None:
        self._done: list[Undo] = []
        self._token: Token[Saga | None] | None = None
        self._outer: Saga | None = None

    async def __aenter__(self) -> Saga:
        self._outer = _current.get()
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Evicted | ActivationError):
            return
        if self._token is not None:
            _current.reset(self._token)
        if error is not None and not _is_control(error):
            await self._undo_all(error)
        elif self._outer is not None:
            self._outer._done.extend(self._done)

    async def compensate(self) -> None:
        """Undo what the block has done so far, newest first. What was undone is not undone again."""
        failures = await self._run_compensations()
        if failures:
            raise ExceptionGroup("compensations failed", failures)

    async def _undo_all(self, cause: BaseException) -> None:
        for failure in await self._run_compensations():
            cause.add_note(f"while undoing: {failure}")

    async def _run_compensations(self) -> list[Exception]:
        failures: list[Exception] = []
        cancelled: asyncio.CancelledError | None = None
        while self._done:
            failure, interrupted = await self._run_one(self._done.pop())
            cancelled = interrupted or cancelled
            if failure is not None:
                failures.append(failure)
        if cancelled is not None:
            raise cancelled
        return failures

    async def _run_one(self, undo: Undo) -> tuple[Exception | None, asyncio.CancelledError | None]:
        """Undo a step: what that failed with, and the cancel that came meanwhile."""
        task: Any = asyncio.ensure_future(undo.step(undo.result, *undo.args, **undo.kwargs))
        task.is_kept = True
        cancelled = await _through(task)
        error = None if task.cancelled() else task.exception()
        return error if isinstance(error, Exception) else None, cancelled


async def _through(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait for the task, whatever happens to the waiter: half an undo is worse than none."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def remember(undo: Undo) -> None:
    """A step with a compensation has completed."""
    saga = _current.get()
    if saga is not None:
        saga._done.append(undo)


def _is_control(error: BaseException) -> bool:
    return not isinstance(error, Exception | asyncio.CancelledError)


_current: ContextVar[Saga | None] = ContextVar("stepwell_saga", default=None)
