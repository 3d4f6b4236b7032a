"""The two ways in which an invocation tells what it does: all at the end, or line by line while it goes on."""

from __future__ import annotations

import asyncio
from typing import Protocol

from msgspec import Raw, structs

from stepwell.formats.voyant.invocations import WireChunk, read_step
from stepwell.formats.voyant.lines import Beat, ChunkSent, Speaks, StepOver, write_line

BUFFER_MAX = 32 * 2**20
"""How many bytes of chunks may wait to be sent, for one invocation."""
_QUIET = 256 * 1024
"""With less than this waiting, a step's result need not wait for its chunks."""
ABILITIES = ("cancel", "lines")


class Outlet(Protocol):
    """Where an invocation puts what it has."""

    @property
    def chunks(self) -> list[WireChunk]:
        """Those that are still to be told, in the outcome."""

    def step_over(self, id: str, entry: Raw) -> None:
        """A step has ended."""

    def send(self, chunk: WireChunk) -> bool:
        """A chunk of a stream. False: there is no room for it. There always is for those of the body."""

    def beat(self, now: int) -> None:
        """It is alive, and its clock says so."""

    async def flush(self) -> None:
        """Wait until there is room for more."""


class Kept:
    """Keeps all for the outcome. `is_ours`: who asked knows that a step's chunks are counted by themselves; others get
    the chunks of a stream numbered as if one had sent them all, from where the stream stood, in `counts`."""

    def __init__(self, *, is_ours: bool, counts: dict[str, int] | None = None, limit: int | None = None) -> None:
        self._is_ours = is_ours
        self._counts = counts or {}
        self._limit = BUFFER_MAX if limit is None else limit
        self._size = 0
        self._chunks: list[WireChunk] = []

    @property
    def chunks(self) -> list[WireChunk]:
        """All that count."""
        return self._chunks if self._is_ours else _numbered(self._chunks, self._counts)

    def step_over(self, id: str, entry: Raw) -> None:
        """It is in the outcome."""

    def send(self, chunk: WireChunk) -> bool:
        """Keep it. With the first of an attempt, those of the attempt before count no more."""
        if chunk.step and chunk.seq == 1 and chunk.step_attempt > 1:
            self._forget(chunk)
        size = self._size + len(chunk.chunk)
        if chunk.step and size > self._limit:
            return False
        self._size = size
        self._chunks.append(chunk)
        return True

    def beat(self, now: int) -> None:
        """Nobody is there to hear it."""

    async def flush(self) -> None:
        """Nobody takes anything before the end."""

    def _forget(self, chunk: WireChunk) -> None:
        kept = [item for item in self._chunks if (item.stream_id, item.step) != (chunk.stream_id, chunk.step)]
        self._size = sum(len(item.chunk) for item in kept)
        self._chunks = kept


class Live:
    """Lines, for a reader who may be slow."""

    def __init__(self, *, limit: int | None = None) -> None:
        self._lines: list[bytes] = [write_line(Speaks(ABILITIES))]
        self._size = 0
        self._limit = BUFFER_MAX if limit is None else limit
        self._is_over = False
        self._filled = asyncio.Event()
        self._filled.set()
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def chunks(self) -> list[WireChunk]:
        """They have been sent."""
        return []

    def step_over(self, id: str, entry: Raw) -> None:
        """At once."""
        self._put(write_line(StepOver(id, read_step(entry))))

    def send(self, chunk: WireChunk) -> bool:
        """At once, unless too much waits."""
        line = write_line(ChunkSent(chunk))
        if chunk.step and self._size + len(line) > self._limit:
            return False
        self._put(line)
        return True

    def beat(self, now: int) -> None:
        """Unless there is something better to send."""
        if not self._lines:
            self._put(write_line(Beat(now)))

    async def flush(self) -> None:
        """Wait for the reader."""
        await self._drained.wait()

    def end(self, line: bytes = b"") -> None:
        """Nothing follows this."""
        self._is_over = True
        self._put(line)
        self._drained.set()

    async def take(self) -> bytes:
        """What waits to be sent; b"": it is over."""
        while not self._lines and not self._is_over:
            self._filled.clear()
            await self._filled.wait()
        taken = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        self._drained.set()
        return taken

    def _put(self, line: bytes) -> None:
        if line:
            self._lines.append(line)
            self._size += len(line)
        if self._size > _QUIET and not self._is_over:
            self._drained.clear()
        self._filled.set()


def _numbered(chunks: list[WireChunk], counts: dict[str, int]) -> list[WireChunk]:
    """As of one sender. What the body sent keeps its numbers where it is alone."""
    mixed = {chunk.stream_id for chunk in chunks if chunk.step}
    last = dict(counts)
    found = []
    for chunk in chunks:
        if chunk.stream_id in mixed:
            seq = last[chunk.stream_id] = last.get(chunk.stream_id, 0) + 1
            chunk = structs.replace(chunk, seq=seq, step="", step_attempt=0)
        found.append(chunk)
    return found
