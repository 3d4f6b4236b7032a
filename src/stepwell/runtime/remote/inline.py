"""Workers that are functions: `async (body, headers) -> (status, headers, body)`, and our own step workers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from stepwell.formats.voyant.headers import STEP_PATH
from stepwell.runtime.remote.sending import Reply, Sent, Unreachable

Handler = Callable[[bytes, Mapping[str, str]], Awaitable[tuple[int, Mapping[str, str], bytes | AsyncIterable[bytes]]]]
"""Answers the body and headers of a request with status, headers and body, at once or in pieces."""


class InlineSender:
    """Calls a function. What it raises is as good as a connection that breaks."""

    path = STEP_PATH
    no_envelope = "handler returned HTTP {status}"

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    @contextlib.asynccontextmanager
    async def send(self, call: Sent) -> AsyncIterator[Reply]:
        """Call it, and close what it answers."""
        try:
            answer = await self._handler(call.body, call.headers)
        except Exception as error:
            raise Unreachable(f"the handler raised {type(error).__name__}: {error}") from error
        try:
            status, headers, body = answer
            lower = {name.lower(): str(value) for name, value in headers.items()}
        except (TypeError, ValueError, AttributeError):
            raise Unreachable("the handler did not answer with status, headers and body") from None
        if not isinstance(status, int):
            raise Unreachable(f"the handler answered with the status {status!r:.100}")
        if isinstance(body, bytes | bytearray | memoryview):
            yield Reply(status, lower, _whole(bytes(body)))
            return
        pieces = _pieces(body)
        try:
            yield Reply(status, lower, pieces)
        finally:
            await pieces.aclose()
            await _closed(body)

    async def close(self) -> None:
        """It holds nothing."""


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _pieces(body: AsyncIterable[bytes]) -> Any:
    try:
        async for piece in body:
            yield piece
    except Exception as error:
        raise Unreachable(f"the handler's answer broke off: {type(error).__name__}: {error}") from error


async def _closed(body: Any) -> None:
    """A generator that nobody reads any more is told so."""
    if (close := getattr(body, "aclose", None)) is not None:
        with contextlib.suppress(Exception):
            await close()
