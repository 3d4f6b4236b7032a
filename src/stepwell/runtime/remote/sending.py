"""What all ways to a worker have in common: a request, an answer that comes in pieces, and how long that may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

METHOD = "POST"

_DIGITS = 18


class Sent(Struct, frozen=True):
    """One call: the exact body, and headers with names in lower case."""

    body: bytes
    headers: Mapping[str, str]
    path: str


class Reply(Struct, frozen=True):
    """The head of an answer, headers with names in lower case, and its body as it comes."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Sender(Protocol):
    """A way to a worker. Leaving the context before the body has ended closes the connection, which tells the worker
    that nobody waits any more."""

    path: str
    """What a signature covers."""
    no_envelope: str
    """What is said of an answer that is neither a result nor an error envelope; `{status}` is in it."""

    def send(self, call: Sent) -> AbstractAsyncContextManager[Reply]:
        """Ask. Raises `Unreachable` if there is no answer."""

    async def close(self) -> None:
        """Let go of connections."""


class Unreachable(Exception):
    """There was no answer, or it broke off. The text says why."""


class TooLarge(Exception):
    """The answer is larger than the target may answer."""


class Patience:
    """How long one call may take, in seconds of the loop: all of it, and between two pieces once the answer began."""

    __slots__ = ("_idle", "_loop", "_until")

    def __init__(self, *, total: float, idle: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + total
        self._idle = idle

    def for_all(self) -> asyncio.Timeout:
        """Over the whole call."""
        return asyncio.timeout_at(self._until)

    async def pieces(self, reply: Reply, limit: int) -> AsyncGenerator[bytes, None]:
        """The body's pieces, as they come. `Unreachable` if none comes for too long, `TooLarge`."""
        declared = reply.headers.get("content-length", "")
        if declared.isascii() and declared.isdecimal() and (len(declared) > _DIGITS or int(declared) > limit):
            raise TooLarge(f"the answer has {declared[:_DIGITS]} bytes, and may have {limit}")
        size = 0
        chunks = aiter(reply.chunks)
        while True:
            piece = await self._next(chunks)
            if piece is None:
                return
            size += len(piece)
            if size > limit:
                raise TooLarge(f"the answer has more than the {limit} bytes that it may have")
            yield piece

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        timer = asyncio.timeout_at(min(self._until, self._loop.time() + self._idle))
        try:
            async with timer:
                return await anext(chunks, None)
        except TimeoutError:
            if not timer.expired():
                raise
            if self._loop.time() >= self._until:
                raise
            raise Unreachable(f"nothing came for {self._idle:g} s in the middle of its answer") from None
