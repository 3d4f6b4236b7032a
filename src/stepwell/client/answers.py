"""What a server's answers mean: the error that a problem is, and whether asking again may help."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from stepwell.errors import (
    AccessError,
    BackendError,
    CodecError,
    DefinitionError,
    HookError,
    RunClosedError,
    RunConflictError,
    RunNotFoundError,
    StepwellError,
)

_SHOWN = 500
_UNDONE = frozenset({"draining", "not_open", "too_many_streams", "body_too_slow"})
"""Codes of problems that say that nothing was done."""

_OF_CODES: Mapping[str, type[StepwellError]] = {
    "not_found": RunNotFoundError,
    "no_such_hook": HookError,
    "already_ended": RunClosedError,
    "already_terminal": RunClosedError,
    "conflict": RunConflictError,
    "invalid_value": CodecError,
    "unauthorized": AccessError,
    "forbidden": AccessError,
    "backend_unavailable": BackendError,
}
_OF_STATUSES: Mapping[int, type[StepwellError]] = {
    401: AccessError,
    403: AccessError,
    404: RunNotFoundError,
    409: RunConflictError,
    429: BackendError,
    408: BackendError,
}


class Trouble(Struct, frozen=True, kw_only=True):
    """A request that was not answered as it should be.

    `is_passing`: later it may be. `is_undone`: the server did nothing. `after` (s): it wants to be left alone so long.
    """

    error: StepwellError
    is_passing: bool = False
    is_undone: bool = False
    after: float = 0.0


class _Problem(Struct, frozen=True):
    """The body of a problem (RFC 9457), or of an error on a compatible route."""

    code: str = ""
    detail: str = ""
    error: str = ""
    message: str = ""


_decode_problem = msgspec.json.Decoder(_Problem).decode


def trouble_of(status: int, headers: Mapping[str, str], body: bytes, *, now: float, asked: str) -> Trouble:
    """What an answer of 300 or more says. `now` is the time of day in seconds; `asked` is verb and path."""
    problem = _problem(body)
    code = problem.code or problem.error
    text = problem.detail or problem.message
    return Trouble(
        error=_with_request(_error(status, headers, code, text, asked), headers),
        is_passing=status in (408, 429, 502, 503, 504),
        is_undone=status in (408, 429) or code in _UNDONE,
        after=_seconds(headers.get("retry-after", ""), now),
    )


def error_of(code: str, message: str, *, status: int = 400) -> StepwellError:
    """The exception that a problem is in process."""
    kind = _OF_CODES.get(code) or _OF_STATUSES.get(status)
    if kind is None:
        kind = BackendError if status >= 500 else DefinitionError
    return kind(message or code or _phrase(status))


def _error(status: int, headers: Mapping[str, str], code: str, text: str, asked: str) -> StepwellError:
    if status < 400:
        place = headers.get("location", "elsewhere")
        return DefinitionError(
            f"the server sent {asked} on to {place:.{_SHOWN}}, and a key goes nowhere but where it was meant for; if "
            "that is the right place, give its URL"
        )
    if status in (401, 403):
        cure = (
            "give a key that it knows: key=, or STEPWELL_KEY; `stepwell keys create` makes one"
            if status == 401
            else "use a key with that scope; `stepwell keys create --scopes` makes one"
        )
        return AccessError(f"{asked} was refused: {text or _phrase(status)}; {cure}")
    if code == "route_not_found" or (status == 404 and not code):
        return DefinitionError(
            f"there is no {asked} on this server; is its URL right, and is it as new as this client?"
        )
    if not code:
        return error_of(
            "", f"{asked} was answered with {status} {_phrase(status)}, by no Stepwell server", status=status
        )
    return error_of(code, text, status=status)


def _with_request(error: StepwellError, headers: Mapping[str, str]) -> StepwellError:
    request = headers.get("x-request-id")
    if request is not None:
        error.add_note(f"in the log of the server this is request {request:.100}")
    return error


def _problem(body: bytes) -> _Problem:
    try:
        return _decode_problem(body)
    except msgspec.DecodeError:
        return _Problem()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "unknown status"


def _seconds(text: str, now: float) -> float:
    """`Retry-After`: seconds, or a date."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return 0.0


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes, *, asked: str) -> Any:
    """The value of an answer. `BackendError` if it is none of that type."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise BackendError(
            f"{asked} was answered with something else than this client knows: {error}; is the server as new as it?"
        ) from None
