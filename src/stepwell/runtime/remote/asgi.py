"""Workers that are ASGI applications in this process: no port, no network, and the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from stepwell.formats.voyant.headers import STEP_PATH
from stepwell.runtime.remote.sending import METHOD, Reply, Sent, Unreachable

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

GRACE_S = 5.0
"""How long an application may go on after it was told that its client has gone."""
_QUEUED_MAX = 16


class AsgiSender:
    """Calls an ASGI application, as a server would."""

    path = STEP_PATH
    no_envelope = "tenant returned HTTP {status}"

    def __init__(self, application: Application) -> None:
        self._application = application
        self._leaving: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def send(self, call: Sent) -> AsyncIterator[Reply]:
        """Run it for one request; it is told when the caller leaves, and cancelled if it stays for long after."""
        exchange = _Exchange(call)
        task = asyncio.get_running_loop().create_task(exchange.run(self._application))
        try:
            yield await exchange.head()
        finally:
            exchange.leave()
            if not task.done():
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
                if not exchange.is_complete:
                    asyncio.get_running_loop().call_later(GRACE_S, task.cancel)

    async def close(self) -> None:
        """Wait until all that was left has ended."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2 * GRACE_S)


class _Exchange:
    """One request and its answer. The application waits while what it sent has not been read."""

    def __init__(self, call: Sent) -> None:
        self._call = call
        self._has_read = False
        self._gone = asyncio.Event()
        self._head: asyncio.Future[tuple[int, dict[str, str]]] = asyncio.get_running_loop().create_future()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED_MAX)
        self._error: str | None = None
        self.is_complete = False

    async def run(self, application: Application) -> None:
        """Carry the request out. What the application raises is what a server would make of it: a lost connection."""
        try:
            await application(self._scope(), self._receive, self._send)
        except Exception as error:
            self._error = f"the application raised {type(error).__name__}: {error}"
        finally:
            if not self.is_complete:
                await self._over()

    async def head(self) -> Reply:
        """The answer, once it has begun."""
        status, headers = await self._head
        return Reply(status, headers, self._body())

    def leave(self) -> None:
        """Nobody reads any more."""
        self._gone.set()
        if self._head.done() and not self._head.cancelled():
            self._head.exception()
        self._head.cancel()
        while not self._pieces.empty():
            self._pieces.get_nowait()

    async def _body(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if not self.is_complete:
            raise Unreachable(self._error or "the application did not end its answer")

    async def _over(self) -> None:
        if not self._head.done():
            self._head.set_exception(Unreachable(self._error or "the application did not answer"))
        if not self._gone.is_set():
            await self._pieces.put(None)

    def _scope(self) -> dict[str, Any]:
        call = self._call
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": METHOD,
            "scheme": "http",
            "path": call.path,
            "raw_path": call.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"worker.internal"),
                (b"content-length", str(len(call.body)).encode()),
                *((name.encode("latin-1"), value.encode("latin-1")) for name, value in call.headers.items()),
            ],
            "client": ("127.0.0.1", 0),
            "server": ("worker.internal", 80),
            "state": {},
        }

    async def _receive(self) -> Message:
        if not self._has_read:
            self._has_read = True
            return {"type": "http.request", "body": self._call.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            raise OSError("the client has gone")
        if message["type"] == "http.response.start":
            headers = {
                bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
                for name, value in message.get("headers", ())
            }
            if not self._head.done():
                self._head.set_result((message["status"], headers))
        elif message["type"] == "http.response.body" and not self.is_complete:
            if piece := bytes(message.get("body", b"")):
                await self._pieces.put(piece)
            if not message.get("more_body", False):
                self.is_complete = True
                await self._pieces.put(None)
                self._gone.set()
