"""What a running step sees of itself: `current_step()`."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from os import PathLike
from typing import Any, Protocol, TypeVar

from stepwell.authoring.messages import Stream
from stepwell.errors import NotInWorkflowError
from stepwell.model.ids import CommandId, RunId
from stepwell.model.values import Blob

T = TypeVar("T")


class StepHost(Protocol):
    """What the worker does for a running step. Not for users."""

    @property
    def is_cancelled(self) -> bool: ...
    @property
    def id(self) -> CommandId: ...
    @property
    def run_id(self) -> RunId: ...
    @property
    def workflow(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def idempotency_key(self) -> str: ...
    @property
    def log(self) -> logging.Logger: ...
    @property
    def last_progress(self) -> Any: ...
    def heartbeat(self, progress: Any) -> None: ...
    def send(self, stream: Stream[Any], value: Any) -> None: ...
    def resource(self, type: type[T]) -> T: ...
    async def put_blob(self, path: str | PathLike[str]) -> Blob: ...
    async def get_blob(self, blob: Blob) -> bytes: ...


class StepContext:
    """The step that is running here. `attempt` counts from 1."""

    __slots__ = ("_host", "attempt")

    def __init__(self, host: StepHost, attempt: int) -> None:
        self._host = host
        self.attempt = attempt

    @property
    def cancelled(self) -> bool:
        """Nobody wants the result any more. A step in a thread has to look; others get `CancelledError`."""
        return self._host.is_cancelled

    @property
    def id(self) -> CommandId:
        """The step's id in its run: `charge`, `charge:2`, `charge[7]`."""
        return self._host.id

    @property
    def run_id(self) -> RunId:
        """The run that the step belongs to."""
        return self._host.run_id

    @property
    def workflow(self) -> str:
        """The workflow of that run."""
        return self._host.workflow

    @property
    def namespace(self) -> str:
        """The namespace of that run; "" is the default one."""
        return self._host.namespace

    @property
    def idempotency_key(self) -> str:
        """What to hand to services that deduplicate: the same over all attempts and crashes."""
        return self._host.idempotency_key

    @property
    def log(self) -> logging.Logger:
        """A logger named after the step."""
        return self._host.log

    def heartbeat(self, progress: Any = None) -> None:
        """Say that the step is alive, and how far it is. Progress is journaled, at most every few seconds."""
        self._host.heartbeat(progress)

    @property
    def last_progress(self) -> Any:
        """The last progress that an earlier attempt reported and that was journaled, or None."""
        return self._host.last_progress

    def send(self, stream: Stream[T], value: T) -> None:
        """Append to a stream of the run. Chunks are durable before the step's result is; those of an attempt that
        failed are replaced by the next attempt's."""
        self._host.send(stream, value)

    def get(self, type: type[T]) -> T:
        """What the app's `lifespan` yielded of this type."""
        return self._host.resource(type)

    async def blob(self, path: str | PathLike[str]) -> Blob:
        """Store a file and return a reference to it, to return from the step. It is deleted with the run."""
        return await self._host.put_blob(path)

    async def read_blob(self, blob: Blob) -> bytes:
        """The content behind a reference."""
        return await self._host.get_blob(blob)


_current: ContextVar[StepContext | None] = ContextVar("stepwell_step")


def current_step() -> StepContext:
    """The running step, at any depth below it. `NotInWorkflowError` elsewhere."""
    context = _current.get(None)
    if context is None:
        raise NotInWorkflowError("current_step() was called outside of a running step")
    return context


def step_here() -> StepContext | None:
    """The same, or None. For who asks on behalf of others, such as a log."""
    return _current.get(None)


def enter_step(context: StepContext) -> None:
    """Make this the current step of the current context. For the worker, in a context of the step's own."""
    _current.set(context)


def leave_step() -> None:
    """The current context has no step any more. Else the step and its context would hold each other for ever."""
    _current.set(None)
