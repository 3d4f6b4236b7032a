"""Event streams on the wire (text/event-stream, WHATWG HTML 9.2): pings; ended when the client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from stepwell.server.endpoints import EventSource, ServerEvent

Send = Callable[[dict[str, Any]], Awaitable[None]]
RETRY_MS = 2000
"""After how long a client comes again when its connection has ended."""
_PING = b": ping\n\n"
_HELLO = b"retry: %d\n\n" % RETRY_MS


def event_bytes(event: ServerEvent) -> bytes:
    """One event as the wire has it."""
    parts = []
    if event.id is not None:
        parts.append(b"id: " + event.id.encode() + b"\n")
    if event.event is not None:
        parts.append(b"event: " + event.event.encode() + b"\n")
    return b"".join([*parts, b"data: ", _line(event.data), b"\n\n"])


async def send_events(source: EventSource, send: Send, *, ping: float, gone: asyncio.Future[None]) -> None:
    """Send what comes until nothing more does, or `gone` is done; a comment when nothing came for `ping` s.

    What is ready at once shares a packet.
    """
    pinger = _Pinger(source, ping)
    gone.add_done_callback(pinger.poke)
    try:
        await send(_part(_HELLO))
        while not gone.done():
            data = await source.take()
            if data is None:
                return
            if data:
                pinger.sent()
                await send(_part(data))
            elif pinger.is_due:
                pinger.is_due = False
                await send(_part(_PING))
    finally:
        gone.remove_done_callback(pinger.poke)
        pinger.close()
        await source.aclose()


class _Pinger:
    """Pokes a source that was quiet for so long."""

    def __init__(self, source: EventSource, seconds: float) -> None:
        self._source = source
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self.is_due = False
        self._timer = self._loop.call_at(self._last + seconds, self._tick)

    def sent(self) -> None:
        """Something was sent just now. The timer stays: it looks when it comes."""
        self._last = self._loop.time()

    def poke(self, _: object = None) -> None:
        """Let the source return."""
        self._source.poke()

    def close(self) -> None:
        """No more of it."""
        self._timer.cancel()

    def _tick(self) -> None:
        if self._loop.time() >= self._last + self._seconds:
            self._last = self._loop.time()
            self.is_due = True
            self._source.poke()
        self._timer = self._loop.call_at(self._last + self._seconds, self._tick)


def _line(data: bytes) -> bytes:
    # Payloads that were encoded elsewhere may have line ends between their tokens, which would end the event's data.
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data


def _part(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}
