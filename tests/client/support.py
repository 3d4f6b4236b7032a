"""Servers that say what a test wants, and a server of ours behind a client, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any, TypeVar

import httpx
import msgspec

from stepwell.testing import VirtualLoop

T = TypeVar("T")
URL = "https://flows.test"
KEY = "sw_1234_averysecretsecret"

Reply = httpx.Response | Exception
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


def play(test: Coroutine[Any, Any, T]) -> T:
    """Run a test in virtual time."""
    loop = VirtualLoop()
    loop.is_alive = lambda: True  # runs sleep in the store
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(loop.drive(test))


async def begun(app: Any, run: str, status: str = "waiting") -> None:
    """Wait until the run stands so."""
    while (await app.handle(run).status()) != status:
        await asyncio.sleep(1)


class Script:
    """A server that gives these replies, one after another, and keeps what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = [*replies]
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def bodies(self) -> list[Any]:
        """The JSON that it was sent."""
        return [msgspec.json.decode(request.content) for request in self.requests]


def reply(value: Any = None, status: int = 200, **headers: str) -> httpx.Response:
    """An answer with JSON."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx.Response(status, content=msgspec.json.encode(value), headers=named)


def problem(status: int, code: str, detail: str = "", **headers: str) -> httpx.Response:
    """A problem as the server words it."""
    return reply(
        {"type": f"urn:stepwell:problem:{code}", "status": status, "code": code, "detail": detail}, status, **headers
    )


class _Lines(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that comes in pieces, and may break off."""

    def __init__(self, pieces: Iterable[bytes], error: Exception | None) -> None:
        self._pieces = [*pieces]
        self._error = error

    def __iter__(self) -> Any:
        yield from self._pieces
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def feed(*events: str, error: Exception | None = None) -> httpx.Response:
    """An event stream of these events; it ends, or breaks off with the error."""
    stream = _Lines([f"{event}\n\n".encode() for event in events], error)
    return httpx.Response(200, stream=stream, headers={"content-type": "text/event-stream; charset=utf-8"})


class ServerTransport(httpx.AsyncBaseTransport):
    """Hands requests to an ASGI application, as a connection would: what it sends arrives while it goes on.

    `cut()` breaks every connection, as when the server's process ends.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.requests: list[httpx.Request] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        body = await request.aread()
        exchange = _Exchange(body)
        task = asyncio.get_running_loop().create_task(exchange.serve(self.app, _scope(request)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        start = await exchange.sent.get()
        if start is None:
            raise httpx.RemoteProtocolError("server disconnected")
        headers = [*start["headers"]]
        return httpx.Response(start["status"], headers=headers, stream=_Arriving(exchange, task))

    def cut(self) -> None:
        """Break all connections."""
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)


class _Exchange:
    """One request and what comes back."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def serve(self, app: App, scope: MutableMapping[str, Any]) -> None:
        try:
            await app(scope, self._receive, self.sent.put)
        except asyncio.CancelledError:
            self.sent.put_nowait(None)
            raise

    async def _receive(self) -> Any:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}


class _Arriving(httpx.AsyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, exchange: _Exchange, task: asyncio.Task[None]) -> None:
        self._exchange = exchange
        self._task = task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._exchange.sent.get()
            if message is None:
                raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return

    async def aclose(self) -> None:
        self._exchange.gone.set()
        await asyncio.wait([self._task])


def _scope(request: httpx.Request) -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 1),
    }
