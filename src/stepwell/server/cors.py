"""Which web pages a browser lets ask us (CORS, https://fetch.spec.whatwg.org): none, unless they are listed.

Cookies are never used, so credentials are never allowed: a page sends its key or token itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import Message, Send

from stepwell.errors import DefinitionError

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._-]+(?::\d{1,5})?|[a-z][a-z0-9+.-]*://\[[0-9a-f:.]+\](?::\d{1,5})?")
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, idempotency-key, last-event-id, prefer, traceparent, x-request-id",
    ),
    (b"access-control-max-age", b"600"),
)
_EXPOSED = (b"access-control-expose-headers", b"retry-after, x-request-id")
_VARY = (b"vary", b"origin")
_METHOD = b"access-control-request-method"


class Cors:
    """The origins of pages that may ask; `*` stands for all. `DefinitionError` for one that no browser sends."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)
        self._is_any = "*" in self._origins
        for origin in self._origins - {"*"}:
            if not _ORIGIN.fullmatch(origin):
                raise DefinitionError(
                    f"cors_origins holds {origin!r}; an origin is in lower case and has no path: "
                    "https://shop.example, http://localhost:5173; or * for all"
                )

    def sending(self, scope: Mapping[str, Any], send: Send) -> Send:
        """What sends an answer to this request, with the headers that the browser looks for."""
        if not self._origins:
            return send
        added = self._headers(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        return sending

    def _headers(self, scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
        vary = [] if self._is_any else [_VARY]  # a cache must not give one page what another was answered
        asked = dict(scope["headers"])
        origin = asked.get(b"origin")
        if origin is None or not (self._is_any or origin.decode("latin-1") in self._origins):
            return vary
        allowed = (b"access-control-allow-origin", b"*" if self._is_any else origin)
        if scope["method"] == "OPTIONS" and _METHOD in asked:
            return [allowed, *_PREFLIGHT, *vary]
        return [allowed, _EXPOSED, *vary]
