"""The HTTP server below the application: uvicorn, with bounds on the heads of requests, and signals that are ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import socket
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Generic, Protocol, TypeVar

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from stepwell.cli.config import Settings
from stepwell.cli.interrupts import Interrupts

_log = logging.getLogger("stepwell.requests")
_LINE_MAX = 16_384
_SECRET = re.compile(r"(/(?:hooks|tokens)/).+")
"""What lets in who knows it is not for logs."""
_TEXT = b"the head of the request is too long"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT)
)


class Application(Protocol):
    """An ASGI application that can be told to take nothing more."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...
    def drain(self) -> None: ...


A = TypeVar("A", bound=Application)


class Http(uvicorn.Server, Generic[A]):
    """uvicorn for an application. `started_up` is set when it takes connections. Heads of requests are taken up to
    about twice `max_headers` bytes, and after `stop` requests get `drain` seconds to end."""

    def __init__(self, application: A, settings: Settings, *, max_headers: int, drain: float) -> None:
        self.application = application
        self.started_up = asyncio.Event()
        super().__init__(_config(application, settings, 2 * max_headers + _LINE_MAX, drain))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self.started_up.set()

    def stop(self) -> None:
        """Take nothing more, end event streams, answer what has been asked."""
        self.application.drain()
        self.should_exit = True

    def hurry(self) -> None:
        """Wait for no answer any longer."""
        self.force_exit = True

    async def serve_until(
        self, listener: socket.socket, interrupts: Interrupts, tell_ready: Callable[[], None]
    ) -> None:
        """Serve until somebody asks for an end, then drain; at the next interrupt, no longer."""
        serving = asyncio.create_task(self.serve(sockets=[listener]))
        started, asked, hurried = (
            asyncio.create_task(event.wait()) for event in (self.started_up, interrupts.asked, interrupts.hurried)
        )
        try:
            await asyncio.wait([serving, started], return_when=FIRST_COMPLETED)
            if started.done():
                tell_ready()
            await asyncio.wait([serving, asked], return_when=FIRST_COMPLETED)
            self.stop()
            await asyncio.wait([serving, hurried], return_when=FIRST_COMPLETED)
            self.hurry()
            await serving
        finally:
            for task in (started, asked, hurried):
                task.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command."""
        yield


def _config(application: Application, settings: Settings, head_max: int, drain: float) -> uvicorn.Config:
    proxies = settings.get("server.behind_proxy")
    config = _Config(
        _AccessLog(application) if settings.get("server.access_log") else application,
        http=bounded(AutoHTTPProtocol),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        server_header=False,
        backlog=settings.get("server.backlog"),
        timeout_keep_alive=settings.get("server.keep_alive"),
        timeout_graceful_shutdown=math.ceil(drain),
    )
    config.head_max = head_max
    config.head_timeout = settings.get("server.header_timeout")
    return config


class _Config(uvicorn.Config):
    head_max: int
    head_timeout: float


def bounded(parser: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """A protocol of uvicorn that ends connections on which the head of a request comes too late, or is too long."""
    return type("Bounded", (_Bounds, parser), {})


class _Bounds(asyncio.Protocol):
    """In front of a protocol of uvicorn.

    A head is what comes before there is a new `cycle`, while none waits for its body. Of the parsers, one has no bound.
    """

    config: _Config
    cycle: Any
    transport: Any
    _head = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Gathering(transport))  # type: ignore[arg-type]
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        is_head = before is None or not before.more_body
        super().data_received(data)
        if self.cycle is not before:
            self._forget_head()
        elif is_head:
            if self._head_timer is None:
                self._expect_head()
            self._head += len(data)
            if self._head > self.config.head_max and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def _expect_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(self.config.head_timeout, self._head_is_late)

    def _forget_head(self) -> None:
        self._head = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


class Gathering:
    """A transport that writes what was written to it in one turn of the loop in one piece.

    uvicorn writes the head of an answer and its body apart, and each is a call of the operating system. Those let go of
    the interpreter, and beside a busy SQLite thread it takes long to come back.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, soon."""
        self._pieces.append(data)
        if len(self._pieces) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def close(self) -> None:
        """Write what is left, and close."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Write what is left."""
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))


# --- the log of requests

_Message = MutableMapping[str, Any]


class _AccessLog:
    """Says what was asked, without what came after `?` and without tokens in the path."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(
        self, scope: _Message, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        clock = asyncio.get_running_loop().time
        begun, status = clock(), 0

        async def noting(message: _Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._application(scope, receive, noting)
        finally:
            took = (clock() - begun) * 1000
            address = (scope.get("client") or ("-",))[0]
            path = _SECRET.sub(r"\1***", scope["path"])
            _log.info("%s %s %s %s %.1f ms", address, scope["method"], path, status or "-", took)
