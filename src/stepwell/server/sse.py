"""Event streams on the wire (text/event-stream, WHATWG HTML 9.2): pings; ended when the client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from stepwell.server.endpoints import ServerEvent

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_PING = b": ping\n\n"


def event_bytes(event: ServerEvent) -> bytes:
    """One event as the wire has it."""
    parts = []
    if event.retry is not None:
        parts.append(b"retry: %d\n" % event.retry)
    if event.id is not None:
        parts.append(b"id: " + event.id.encode() + b"\n")
    if event.event is not None:
        parts.append(b"event: " + event.event.encode() + b"\n")
    return b"".join([*parts, b"data: ", event.data, b"\n\n"])


async def send_events(
    events: AsyncIterator[ServerEvent], send: Send, *, ping: float, gone: asyncio.Future[None]
) -> None:
    """Send events as they come until there are no more, or `gone` is done; a comment when none came for `ping` s.

    Several that are ready at once share a packet.
    """
    loop = asyncio.get_running_loop()
    async with aclosing(_closable(events)) as source:
        upcoming: asyncio.Task[ServerEvent] | None = None
        try:
            while True:
                if upcoming is None:
                    upcoming = loop.create_task(_next(source))
                await asyncio.wait((upcoming, gone), timeout=ping, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if not upcoming.done():
                    await _send(send, _PING)
                    continue
                try:
                    event = upcoming.result()
                except StopAsyncIteration:
                    return
                upcoming = None
                await _send(send, event_bytes(event))
        finally:
            if upcoming is not None and not upcoming.done():
                upcoming.cancel()
                await asyncio.wait([upcoming])


async def _next(events: AsyncIterator[ServerEvent]) -> ServerEvent:
    return await anext(events)


async def _closable(events: AsyncIterator[ServerEvent]) -> AsyncGenerator[ServerEvent, None]:
    """A generator over any iterator, so that both are closed in the same way."""
    try:
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
