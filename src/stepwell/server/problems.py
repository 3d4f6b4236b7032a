"""What went wrong with a request, as an answer: RFC 9457 on our routes, `{"error", "message"}` on compatible ones."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from stepwell.errors import (
    BackendError,
    CodecError,
    DefinitionError,
    HookError,
    RunClosedError,
    RunConflictError,
    RunNotFoundError,
    SealedError,
    StepwellError,
)

PROBLEM_TYPE = "application/problem+json"
JSON_TYPE = "application/json; charset=utf-8"
_RETRY_AFTER_S = 2


class Problem(Exception):
    """Raise it in a handler to answer with it. `code` is for programs, `message` for people.

    `members` are added to the body. `title` is derived from the code, so that all problems of a code share it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(message or code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.is_compat = False
        """Whether it is about a path of compatible routes, though no endpoint was found."""
        self.members = members

    def body(self, *, is_compat: bool, instance: str = "") -> bytes:
        """The JSON of the answer."""
        if is_compat:
            message = {"message": self.message} if self.message else {}
            return msgspec.json.encode({"error": self.code, **message, **self.members})
        return msgspec.json.encode(
            {
                "type": f"urn:stepwell:problem:{self.code}",
                "title": self.code.replace("_", " ").capitalize(),
                "status": self.status,
                "detail": self.message or HTTPStatus(self.status).phrase,
                "code": self.code,
                **({"instance": instance} if instance else {}),
                **self.members,
            }
        )


class ProblemBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of a problem (RFC 9457). `code` is stable; `detail` says what is wrong, where, and what cures it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str = ""


class ErrorBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of an error on a compatible route."""

    error: str
    message: str = ""


_OF_ERRORS: tuple[tuple[type[StepwellError], int, str], ...] = (
    (RunClosedError, 409, "already_ended"),
    (RunConflictError, 409, "conflict"),
    (HookError, 404, "no_such_hook"),
    (SealedError, 409, "sealed"),
    (CodecError, 400, "invalid_value"),
    (DefinitionError, 400, "invalid_request"),
)


def problem_of(error: StepwellError) -> Problem:
    """The problem that an error of ours is to who asked."""
    if isinstance(error, RunNotFoundError):
        return Problem(404, "not_found", "there is no run of this id")  # ours would say where the store is
    for kind, status, code in _OF_ERRORS:
        if isinstance(error, kind):
            return Problem(status, code, str(error))
    if isinstance(error, BackendError):
        # What the backend said may hold addresses and statements: it is in the log.
        text = "the backend does not answer as it should; what was accepted is kept. Try again"
        return Problem(503, "backend_unavailable", text, headers={"retry-after": str(_RETRY_AFTER_S)})
    return Problem(500, "internal_error", "this is a defect of the server; its log says more")
