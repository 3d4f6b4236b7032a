"""Failures as that system words them: a category, a code and a message."""

from __future__ import annotations

from msgspec import UNSET, Raw

from stepwell.errors import CodecError, FatalError, HookError, RetryableError, type_name
from stepwell.formats.voyant.journals import read_error
from stepwell.formats.voyant.record import RecordError, StepFault
from stepwell.model.entries import Ended
from stepwell.model.failures import Failure

USER, RUNTIME = "USER_ERROR", "RUNTIME_ERROR"
_CODES = {
    type_name(FatalError): "FATAL",
    type_name(RetryableError): "RETRYABLE",
    type_name(TimeoutError): "TIMEOUT",
    type_name(HookError): "HOOK_CONFLICT",
    type_name(CodecError): "VALIDATION",
}
_RUNTIME_CODES = frozenset(
    {
        "handler_error",
        "invalid_response",
        "empty_waitpoint_list",
        "max_invocations_exceeded",
        "child_runs_unsupported",
        "child_run_unresolvable",
    }
)
"""Codes of failures that are not the workflow's, but of what runs it."""
_TARGET = " (target "


def worded(message: str, label: str) -> str:
    """A message as clients know it, and which target it is about."""
    return f"{message}{_TARGET}{label})"


def unworded(message: str) -> str:
    """The same without the target, for clients, to whom that is nothing, and where it was named already."""
    return (message.rpartition(_TARGET)[0] if message.endswith(")") else "") or message


def code_of(failure: Failure) -> str:
    """The code of a failure: its own, or one by its type."""
    return failure.code or next((_CODES[name] for name in failure.types if name in _CODES), "UNKNOWN")


def step_fault(failure: Failure) -> StepFault:
    """Why a step failed."""
    return StepFault(
        category=_category(failure),
        code=code_of(failure),
        message=_message(failure),
        name=failure.type,
        stack=failure.traceback or UNSET,
    )


def run_fault(failure: Failure) -> RecordError:
    """A failure in three words."""
    category, message = _category(failure), _message(failure)
    if category == RUNTIME:
        message = unworded(message)
    return RecordError(category=category, code=code_of(failure), message=message)


def end_fault(ended: Ended, *, is_timeout: bool) -> RecordError | None:
    """Why a run did not complete; None: nobody said."""
    failure = ended.failure
    if ended.status in ("cancelled", "terminated"):
        return RecordError(category=USER, code="CANCELLED", message=ended.reason) if ended.reason else None
    if failure is None:
        return None
    if ended.status == "dead":
        return RecordError(category=RUNTIME, code="handler_error", message=_message(failure))
    if is_timeout and code_of(failure) == "TIMEOUT":
        return RecordError(category=RUNTIME, code="WORKFLOW_TIMEOUT", message=_message(failure))
    return run_fault(failure)


def worker_fault(error: Raw) -> RecordError:
    """The error that a worker elsewhere answered with, as far as records tell of it. It was checked when it came."""
    found = read_error(error)
    return RecordError(category=found.category, code=found.code, message=found.message)


def child_error(status: str, failure: Failure | None) -> RecordError:
    """Why a child did not complete, as its parent sees it."""
    if failure is not None:
        return run_fault(failure)
    status = "cancelled" if status == "terminated" else status
    return RecordError(category=USER, code="CHILD_RUN_ENDED", message=f"child run ended with status {status}")


def _category(failure: Failure) -> str:
    """Whose fault it was. A worker may call its errors what it likes; only ours are of ours."""
    is_ours = failure.types[:1] and failure.types[0].startswith("stepwell.")
    return RUNTIME if is_ours and failure.code in _RUNTIME_CODES else USER


def _message(failure: Failure) -> str:
    return "(encrypted)" if failure.is_sealed else failure.message or failure.type
