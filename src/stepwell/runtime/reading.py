"""Reading a run's stream: to its end and while it grows, without what was superseded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from msgspec import Raw, Struct

from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.ports import Chunks
from stepwell.runtime.chunks import Chunk, decode_chunk, directory_key, names_in, stream_key
from stepwell.runtime.client import Client
from stepwell.runtime.patience import delays

PAGE = 500


class StreamChunk(Struct, frozen=True, kw_only=True):
    """One chunk as a reader sees it. `restarts`: it is the first of a new attempt whose earlier attempt's chunks this
    reader has seen; forget those of the same `source`."""

    index: int
    source: str
    attempt: int
    raw: Raw
    restarts: bool = False


class Reader:
    """What one reader of a stream has seen, and so which chunks it is to see, and how.

    `eras` are the last ones by source of the chunks before `known_until`: of those chunks, earlier eras do not count.
    A reader who goes on somewhere (`is_resumed`) may have seen any source before: it is told of each first chunk of an
    era as of a restart. If it was none, there is nothing to forget.
    """

    __slots__ = ("_eras", "_is_resumed", "_known_until", "_seen")

    def __init__(self, known_until: int, eras: Mapping[str, str], *, is_resumed: bool = False) -> None:
        self._known_until = known_until
        self._eras = eras
        self._is_resumed = is_resumed
        self._seen: dict[str, str] = {}

    def restarts(self, chunk: Chunk, index: int) -> bool | None:
        """Whether the reader is to forget what it has of this source. None: this chunk does not count."""
        source = chunk.source
        if not source:
            return False
        if index < self._known_until and self._eras.get(source) != chunk.era:
            return None
        before = self._seen.get(source)
        if before == chunk.era:
            return False
        self._seen[source] = chunk.era
        return self._is_resumed and chunk.k == 0 if before is None else True


async def read_stream(client: Client, run: RunId, name: str, *, start: int = 0) -> AsyncIterator[StreamChunk]:
    """Chunks from `start`, until the run has ended and all is read.

    What is in the stream now is read twice, first for who sent the last of it: so only chunks that count are yielded,
    in constant memory. What comes later is yielded as it comes.
    """
    key = stream_key(run, name)
    streams = client.backend.streams
    reader = Reader(*await last_eras(client, key, start))
    index = start
    async with contextlib.aclosing(stream_changes(client, run, key)) as changes:
        async for is_last in changes:
            while True:
                page: Chunks = await streams.read(key, index, PAGE)
                for number, body in enumerate(page.items, page.next - len(page.items)):
                    chunk = decode_chunk(body)
                    if (restarts := reader.restarts(chunk, number)) is not None:
                        yield seen_chunk(chunk, number, restarts=restarts)
                index = page.next
                if not page.items or page.closed:
                    break
            if is_last:
                return


def seen_chunk(chunk: Chunk, index: int, *, restarts: bool) -> StreamChunk:
    """A chunk as a reader sees it."""
    return StreamChunk(index=index, source=chunk.source, attempt=chunk.attempt, raw=chunk.value, restarts=restarts)


async def streams_of(client: Client, run: RunId) -> list[str]:
    """The names of the streams that a run has written to, in the order of their first chunks. `RunNotFoundError`."""
    await client.head(run)
    return await names_in(client.backend.streams, directory_key(run))


async def last_eras(client: Client, key: str, start: int) -> tuple[int, dict[str, str]]:
    """How far the stream goes now, and the last era of each source from `start` on."""
    eras: dict[str, str] = {}
    index = start
    while True:
        page = await client.backend.streams.read(key, index, PAGE)
        for body in page.items:
            chunk = decode_chunk(body)
            eras[chunk.source] = chunk.era
        index = page.next
        if not page.items:
            return index, eras


async def settled(client: Client, run: RunId) -> Head:
    """Wait until the worker of an ended run has written the last chunks. If it has died, that takes a lease."""
    for delay in delays():
        head = await client.head(run)
        if head.is_settled:
            return head
        await asyncio.sleep(delay)
    raise AssertionError("the delays have no end")


async def stream_changes(client: Client, run: RunId, key: str) -> AsyncGenerator[bool, None]:
    """Yields when the stream may have grown; True: the run has ended, so this is the last time."""
    rung = asyncio.Event()

    async def listen() -> None:
        async for _ in client.backend.queue.listen(f"stream:{key}"):
            rung.set()

    listener = asyncio.get_running_loop().create_task(listen())
    end = asyncio.get_running_loop().create_task(client.ended(run))
    end.add_done_callback(lambda _: rung.set())
    try:
        while True:
            rung.clear()
            is_last = end.done()
            if is_last:
                end.result()
                await settled(client, run)
            yield is_last
            if not is_last:
                with contextlib.suppress(TimeoutError):  # notices may be lost
                    async with asyncio.timeout(client.look_seconds):
                        await rung.wait()
    finally:
        listener.cancel()
        end.cancel()
        await asyncio.wait([listener, end])
