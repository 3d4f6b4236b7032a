"""Workers at a URL, over HTTP/1.1. Needs httpx.

Connections are kept per target. Redirects are answers like others: a worker does not decide whom we call. Neither do
proxies of the environment, unless the target says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from stepwell.runtime.remote.sending import METHOD, Reply, Sent, Unreachable

_KEPT_S = 4.0
"""How long an idle connection is kept. Node and uvicorn close theirs after 5 seconds, and a call into one that is just
being closed is a failed attempt."""
_WRITE_S = 60.0


_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "stepwell"}
_Send = Callable[[httpx.Request], Awaitable[httpx.Response]]


class HttpSender:
    """Calls a URL.

    There is a transport for each connection: a pool of many looks at all of them several times in each call, which
    takes longer than the call. How many there are is for those who call to limit.
    """

    no_envelope = "tenant returned HTTP {status}"

    def __init__(self, url: str, *, connect: float, trust_env: bool) -> None:
        self._url = httpx.URL(url)
        parts = urlsplit(url)
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connect = connect
        self._extensions = {"timeout": httpx.Timeout(None, connect=connect, write=_WRITE_S).as_dict()}
        self._options: dict[str, Any] = {
            "limits": httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT_S),
            "verify": httpx.create_ssl_context(trust_env=trust_env),
            "trust_env": trust_env,
        }
        self._trust_env = trust_env
        self._free: list[_Lane] = []
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def send(self, call: Sent) -> AsyncIterator[Reply]:
        """Ask; an answer that is left before its end closes its connection."""
        lane = self._free.pop() if self._free else self._lane()
        try:
            headers = {**_HEADERS, **call.headers}
            request = httpx.Request(
                METHOD, self._url, content=call.body, headers=headers, extensions=dict(self._extensions)
            )
            try:
                response = await lane.send(request)
            except httpx.ConnectTimeout:
                raise Unreachable(f"no connection within {self._connect:g} s") from None
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise Unreachable(_text(error)) from error
            try:
                yield Reply(response.status_code, response.headers, _pieces(response))
            finally:
                await response.aclose()
        finally:
            if self._is_closed:
                await lane.close()
            else:
                self._free.append(lane)

    async def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        while self._free:
            await self._free.pop().close()

    def _lane(self) -> _Lane:
        """A way for one call at a time. What else a client does (cookies, redirects, credentials) is not wanted; but it
        knows the proxies of the environment."""
        if not self._trust_env:
            transport = httpx.AsyncHTTPTransport(**self._options)
            return _Lane(transport.handle_async_request, transport.aclose)
        client = httpx.AsyncClient(**self._options, follow_redirects=False)
        return _Lane(partial(client.send, stream=True), client.aclose)


class _Lane(NamedTuple):
    """How a request gets there, and how the connection is let go."""

    send: _Send
    close: Callable[[], Awaitable[None]]


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_raw():
            yield piece
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise Unreachable(f"the answer broke off: {_text(error)}") from error


def _text(error: Exception) -> str:
    """Without the URL, which httpx does not name, and with the kind, which it often leaves out."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
