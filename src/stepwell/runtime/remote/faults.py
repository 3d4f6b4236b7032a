"""What goes wrong with a worker, in the words that clients know, and whether asking again may mend it."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from msgspec import Raw

from stepwell.errors import WorkerError, WorkerRefusedError
from stepwell.formats.voyant.faults import worded
from stepwell.runtime.remote.sending import Reply

_RETRIED = frozenset({408, 425, 429})
_WAIT_MAX_MS = 3_600_000
"""The longest that a worker may make us wait."""
_PATIENCE_MAX_MS = 300_000
_TEXT_MAX = 2000
_PLACE_MAX = 200
_OF_ONE_RUN = ("executor_error", "deadline_exceeded")


def is_up(reply: Reply, body: bytes) -> bool | None:
    """What an answer that is no result says of its target: True, it is well; False, it is not; None, neither.

    A worker that says when to come again is only busy; and one that cannot run this body can perhaps run others.
    """
    if reply.status < 500:
        return True
    if reply.status == 503 and "retry-after" in reply.headers:
        return None
    return None if _envelope(body).get("error") in _OF_ONE_RUN else False


def is_mendable(status: int) -> bool:
    """Whether the same request may get another answer: not if the worker says that the request is wrong, or sends us
    elsewhere."""
    return status < 300 or status >= 500 or status in _RETRIED


def message_of(reply: Reply, body: bytes, no_envelope: str) -> str:
    """What an answer that is no result says of itself."""
    value = _envelope(body)
    if isinstance(value.get("error"), str) and isinstance(value.get("message"), str):
        text: str = value["message"]
        return text[:_TEXT_MAX]
    if 300 <= reply.status < 400 and (place := reply.headers.get("location")):
        bare = place.partition("?")[0][:_PLACE_MAX]
        cure = "if that is the worker, give its target that URL"
        return f"HTTP {reply.status} redirects to {bare}, which is not followed; {cure}"
    is_function = no_envelope.startswith("handler")  # which need not have a body
    return (
        no_envelope.format(status=reply.status)
        if is_json(body) or (is_function and not body)
        else non_json(reply.status)
    )


def is_json(body: bytes) -> bool:
    """Whether an answer is JSON at all."""
    try:
        msgspec.json.decode(body, type=Raw)
    except msgspec.DecodeError:
        return False
    return True


def _envelope(body: bytes) -> dict[str, Any]:
    """The members of an error, if that is what the body is."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def non_json(status: int) -> str:
    """Of an answer that is not JSON at all."""
    return f"tenant returned non-JSON body (HTTP {status})"


def refused(label: str, reply: Reply, message: str, *, attempt: int, now_ms: int) -> WorkerError:
    """The error of an answer with another status than 200."""
    text = worded(message, label)
    if not is_mendable(reply.status):
        return WorkerRefusedError(text)
    asked = retry_after_ms(reply.headers.get("retry-after"), now_ms)
    return WorkerError(text, retry_after=None if asked is None else patient(asked, attempt) / 1000)


def retry_after_ms(header: str | None, now_ms: int) -> int | None:
    """When to come again: seconds, or a date. Bounded; None: it does not say."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(_WAIT_MAX_MS, int(text[:12]) * 1000)
    try:
        at = parsedate_to_datetime(text).timestamp() * 1000
    except (ValueError, OverflowError):
        return None
    return round(min(_WAIT_MAX_MS, max(0, at - now_ms)))


def patient(asked_ms: int, attempt: int) -> int:
    """Not before it was asked for, and later each time: who is busy for long is not asked every second, or the attempts
    would be used up within a minute."""
    return max(asked_ms, min(_PATIENCE_MAX_MS, 500 << min(attempt, 20)))
