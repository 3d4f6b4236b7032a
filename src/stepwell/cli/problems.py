"""What went wrong, as one paragraph: what, where, cure; and the exit code for it."""

from __future__ import annotations

from typing import NamedTuple

from stepwell.errors import (
    ActivationError,
    BackendError,
    DefinitionError,
    HookError,
    RunClosedError,
    RunConflictError,
    RunError,
    RunNotFoundError,
    StepwellError,
)

DONE, FAILED, WRONG_USE, UNREACHABLE, PARKED = 0, 1, 2, 3, 130


class Problem(NamedTuple):
    """A paragraph for stderr, and the exit code."""

    text: str
    code: int


class CommandError(Exception):
    """A command cannot do what was asked; its text is the whole paragraph."""

    def __init__(self, text: str, code: int = WRONG_USE) -> None:
        super().__init__(text)
        self.code = code


_WRONG_USE = (DefinitionError, RunConflictError, RunNotFoundError, RunClosedError, HookError)


def problem_of(error: BaseException) -> Problem | None:
    """None for what is no error, such as `SystemExit`."""
    match error:
        case CommandError():
            return Problem(str(error), error.code)
        case BackendError():
            return Problem(f"{error}\n--backend, or STEPWELL_BACKEND, says which backend is used.", UNREACHABLE)
        case RunError() | ActivationError():
            return Problem(str(error), FAILED)
        case _ if isinstance(error, _WRONG_USE):
            return Problem(str(error), WRONG_USE)
        case StepwellError():
            return Problem(str(error), FAILED)
        case OSError():
            return Problem(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), WRONG_USE)
        case Exception():
            hint = "set STEPWELL_DEBUG=1 to see where"
            return Problem(f"internal error: {type(error).__name__}: {error}; {hint}", FAILED)
        case _:
            return None
