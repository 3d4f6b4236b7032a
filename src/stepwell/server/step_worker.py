"""A step worker as an ASGI application. It needs no web library."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from msgspec import structs

from stepwell.formats.voyant.headers import STEP_PATH
from stepwell.formats.voyant.invocations import Refused
from stepwell.runtime.stepworker.door import Door, reply_to, too_slow
from stepwell.runtime.stepworker.lines import Lines
from stepwell.runtime.stepworker.replies import Asked, Reply

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiStepWorker:
    """What `app.step_worker()` gives: see `stepwell.runtime.stepworker.StepWorker`.

    It does not look at the path, so it may be mounted anywhere.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    async def handle(
        self, body: bytes, headers: Mapping[str, str], *, method: str = "POST", path: str = STEP_PATH
    ) -> Reply:
        """Answer one request; for places where there is no server."""
        with self._door.entered():
            lowered = {name.lower(): value for name, value in headers.items()}
            return await self._door.answer(Asked(method.upper(), path, lowered, bytes(body)))

    async def open(self) -> None:
        """Enter the app's lifespan now, and not with the first request. Repeating does nothing."""
        await self._door.open()

    def drain(self) -> None:
        """Begin nothing new: who asks is sent away, and comes again."""
        self._door.drain()

    async def aclose(self, *, drain: bool = True) -> None:
        """Drain, wait for what goes on (with `drain=False`, stop it), and leave the app's lifespan."""
        await self._door.close(drain=drain)

    # --- inside

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._door.open()
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                try:
                    await self._door.close()
                except Exception as error:
                    await send({"type": "lifespan.shutdown.failed", "message": f"{type(error).__name__}: {error}"})
                    return
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        with self._door.entered():
            asked = Asked(scope["method"], _path_of(scope), _headers_of(scope))
            try:
                self._door.check(asked)
                body = await self._body(receive)
            except Refused as refused:
                await _send(reply_to(refused), send)
                return
            if body is None:
                return
            responding = asyncio.create_task(self._respond(structs.replace(asked, body=body), send))
            leaving = asyncio.create_task(_gone(receive))
            try:
                await asyncio.wait([responding, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                responding.cancel()
                await asyncio.wait([responding, leaving])
            _raise_unless_gone(responding, leaving)

    async def _body(self, receive: Receive) -> bytes | None:
        """None: who asked has gone."""
        options, chunks = self._door.options, list[bytes]()
        try:
            with self._door.reading() as came:
                async with asyncio.timeout(options.body_timeout_ms / 1000):
                    while True:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return None
                        chunks.append(message.get("body", b""))
                        came(len(chunks[-1]))
                        if not message.get("more_body", False):
                            return b"".join(chunks)
        except TimeoutError:
            raise too_slow(options) from None

    async def _respond(self, asked: Asked, send: Send) -> None:
        await _send(await self._door.answer(asked), send)


async def _send(reply: Reply, send: Send) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    body = reply.body
    if isinstance(body, bytes):
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    await _send_lines(body, {"type": "http.response.start", "status": reply.status, "headers": headers}, send)


async def _send_lines(lines: Lines, start: Message, send: Send) -> None:
    try:
        await send(start)
        async for piece in lines:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await lines.aclose()


def _raise_unless_gone(responding: asyncio.Task[None], leaving: asyncio.Task[None]) -> None:
    """What went wrong, for the server: it must close the connection. That it cannot send to who has gone is none."""
    if not leaving.cancelled():
        leaving.exception()
    error = None if responding.cancelled() else responding.exception()
    if error is not None and not isinstance(error, OSError):
        raise error


async def _gone(receive: Receive) -> None:
    """Until who asked does not wait any more."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _path_of(scope: Message) -> str:
    """As it was asked for, which is what is signed."""
    raw: bytes | None = scope.get("raw_path")
    return scope["path"] if raw is None else raw.partition(b"?")[0].decode("latin-1")


def _headers_of(scope: Message) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
