"""Every error that Stepwell raises, in one tree, grouped by whose fault it is.

StepwellError(Exception)
├── StepError                 a step failed for good; raised inside the workflow that awaited it
├── RunError                  a run did not complete; raised by ``handle.result()``
│   └── RunCancelledError     ... because it was cancelled or terminated
├── RunConflictError          the id is taken by another workflow or input; or what was asked does not fit the run
├── RunNotFoundError          no run has this id
├── RunClosedError            the run has ended, so it takes no more messages
├── HookError                 a hook token is unknown, taken or already used
├── AccessError               a server does not know the key, or the key may not do that
├── DefinitionError           wrong before anything ran: a decorator, an option, a missing type
│   ├── BlueprintError        a blueprint that is malformed or cannot be run as it stands
│   ├── CodecError            a value that does not fit its type or cannot round-trip
│   │   └── SealedError       an encrypted value, and the key is not here
│   ├── ExpressionError       an expression of a blueprint that does not parse, or uses what there is not
│   ├── FlowError             a function that is no flow: what cannot be compiled, where, and what to write
│   └── NotInWorkflowError    something that only a workflow body or a step can do
├── ExpressionFailed          an expression of a blueprint that means nothing for the values it met
├── BackendError              the store could not do it: unreachable, full, read-only, corrupt
│   └── BackendVersionError   the database was written by a newer Stepwell
├── FatalError                raised *by a step*: do not retry
└── RetryableError            raised *by a step*: retry, perhaps not before ``retry_after``
    └── WorkerError           a worker elsewhere could not be reached, or answered wrongly
        └── WorkerRefusedError  ... and would the next time: it is a FatalError, too

ActivationError(BaseException)   the code is wrong, not the run: the run stays open, and resumes after a deploy
├── NotDurableError           I/O, a thread or a signal inside a workflow body
├── NonDeterminismError       the code does not ask for what history holds
└── SpinError                 a body that never waits
Evicted(BaseException)        unwinds a body that leaves memory; never catch it without re-raising
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import timedelta


class StepwellError(Exception):
    """The root of everything that a user may want to catch."""


class StepError(StepwellError):
    """A step failed for good. The same object state live and on replay: it is built from the journal.

    `types` holds the qualified names of the original exception's classes, most derived first. `code` is what the
    exception had as its `code`, if that was a short text; else "".
    """

    def __init__(
        self,
        message: str,
        *,
        step: str,
        attempts: int,
        types: Sequence[str],
        traceback: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.attempts = attempts
        self.types = tuple(types)
        self.traceback = traceback
        self.code = code
        if traceback:
            self.add_note(traceback.rstrip())

    @property
    def type(self) -> str:
        """The name of the original exception's class, without its module."""
        return self.types[0].rpartition(".")[2] if self.types else "Exception"

    def is_(self, exception: builtins.type[BaseException]) -> bool:
        """Whether the original exception was an instance of `exception`, by qualified name."""
        return type_name(exception) in self.types

    def __str__(self) -> str:
        return f"step {self.step} failed after {_count(self.attempts, 'attempt')}: {self.type}: {self.message}"


class RunError(StepwellError):
    """A run did not complete. `error` says why: a `stepwell.model.failures.Failure`."""

    def __init__(self, message: str, *, run_id: str, error: object) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.error = error

    @property
    def code(self) -> str:
        """The code of what made it fail, as a `StepError` has one."""
        return getattr(self.error, "code", "")


class RunCancelledError(RunError):
    """The run was cancelled or terminated. Never `asyncio.CancelledError`."""


class RunConflictError(StepwellError):
    """A run of this id exists, with another workflow or another input; or the run, or a node of it, is not in the state
    that it must be in for what was asked."""


class RunNotFoundError(StepwellError):
    """No run has this id in this backend."""


class RunClosedError(StepwellError):
    """The run has ended and takes no more messages."""


class HookError(StepwellError):
    """A hook token that is malformed, unknown, already used, or held by another run."""


class AccessError(StepwellError):
    """A server did not let the caller do it: the key is missing, unknown or expired, or lacks a scope."""


class DefinitionError(StepwellError):
    """Wrong before anything ran."""


class BlueprintError(DefinitionError):
    """A blueprint that is malformed, or that means nothing as it stands.

    `mistakes` holds one text each, with the place in the document, as far as they were looked for.
    """

    def __init__(self, message: str, *, mistakes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)


class CodecError(DefinitionError):
    """A value that does not fit its annotation, or that would not come back as it went in."""


class SealedError(CodecError):
    """An encrypted value for which this process has no cipher, or not its key. The value itself may be all right."""


class ExpressionError(DefinitionError):
    """An expression that does not parse, or that uses what the language does not have.

    `line` and `column` count from 1.
    """

    def __init__(self, reason: str, *, text: str, line: int, column: int) -> None:
        super().__init__(_of_expression(reason, text, line, column))
        self.reason = reason
        self.text = text
        self.line = line
        self.column = column


class FlowError(DefinitionError):
    """A function that cannot be compiled to a blueprint. `file`, `line` and `column` (from 1) say where."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.column = column


class NotInWorkflowError(DefinitionError):
    """Called outside of the workflow body or the step that it needs."""


class ExpressionFailed(StepwellError):
    """An expression that parsed, and has no result for the values that it met. The next try would fail alike."""

    def __init__(self, reason: str, *, text: str, line: int, column: int) -> None:
        super().__init__(_of_expression(reason, text, line, column))
        self.reason = reason
        self.text = text
        self.line = line
        self.column = column


class BackendError(StepwellError):
    """The backend could not do what was asked. Runs stay as they were.

    `is_final`: it did nothing, and will do no more when asked again before somebody has mended it.
    """

    is_final = False


class BackendVersionError(BackendError):
    """The data was written by a newer version; nothing was changed."""

    is_final = True


class FatalError(StepwellError):
    """Raise it in a step to fail at once, whatever the retry policy says."""


class RetryableError(StepwellError):
    """Raise it in a step to retry, not before `retry_after` (seconds, a timedelta, or text such as "30s")."""

    def __init__(self, message: str = "", *, retry_after: float | timedelta | str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WorkerError(RetryableError):
    """A step worker elsewhere could not be reached, refused, or answered what is no answer. `code` says which."""

    def __init__(
        self, message: str = "", *, code: str = "handler_error", retry_after: float | timedelta | str | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.code = code


class WorkerRefusedError(FatalError, WorkerError):
    """A step worker elsewhere refused, in a way that asking again does not mend."""


class ActivationError(BaseException):
    """The code cannot drive this run. Nothing was changed; it goes on when the code does.

    A BaseException so that ``except Exception`` in a body cannot hide it.
    """


class NotDurableError(ActivationError):
    """Something a workflow body cannot do, because it would not survive a crash. Do it in a step."""


class NonDeterminismError(ActivationError):
    """The code asks for something else than history holds.

    `difference` says where, in parts: a `stepwell.engine.mismatch.Difference`.
    """

    def __init__(self, message: str, *, difference: object = None) -> None:
        super().__init__(message)
        self.difference = difference


class SpinError(ActivationError):
    """The body went on without ever waiting, past the budget of one activation."""


class Evicted(BaseException):
    """Thrown into the coroutines of a body that leaves memory. Not an error; not an outcome."""


def type_name(exception: type[BaseException]) -> str:
    """The qualified name under which an exception type is recorded."""
    return f"{exception.__module__}.{exception.__qualname__}"


def _of_expression(reason: str, text: str, line: int, column: int) -> str:
    shown = text if len(text) <= 200 else f"{text[:199]}…"
    where = f"line {line}, column {column}" if "\n" in text else f"column {column}"
    return f"expression {shown!r}, {where}: {reason}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
