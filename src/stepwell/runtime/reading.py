"""Reading a run's stream: to its end and while it grows, without what was superseded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from msgspec import Raw, Struct

from stepwell.model.ids import RunId
from stepwell.ports import Chunks
from stepwell.runtime.chunks import Chunk, decode_chunk, directory_key, names_in, stream_key
from stepwell.runtime.client import Client
from stepwell.runtime.patience import delays

_PAGE = 500


class StreamChunk(Struct, frozen=True, kw_only=True):
    """One chunk as a reader sees it. `restarts`: it is the first of a new attempt whose earlier attempt's chunks this
    reader has seen; forget those of the same `source`."""

    index: int
    source: str
    attempt: int
    raw: Raw
    restarts: bool = False


async def read_stream(client: Client, run: RunId, name: str, *, start: int = 0) -> AsyncIterator[StreamChunk]:
    """Chunks from `start`, until the run has ended and all is read.

    What is in the stream now is read twice, first for who sent the last of it: so only chunks that count are yielded,
    in constant memory. What comes later is yielded as it comes.
    """
    key = stream_key(run, name)
    streams = client.backend.streams
    last_eras = await _last_eras(client, key, start)
    seen: dict[str, str] = {}
    index = start
    async with contextlib.aclosing(_changes(client, run, key)) as changes:
        async for is_last in changes:
            while True:
                page: Chunks = await streams.read(key, index, _PAGE)
                for offset, body in enumerate(page.items):
                    chunk = decode_chunk(body)
                    if _counts(chunk, index + offset, last_eras):
                        yield _seen(chunk, index + offset, seen)
                index = page.next
                if not page.items or page.closed:
                    break
            if is_last:
                return


async def streams_of(client: Client, run: RunId) -> list[str]:
    """The names of the streams that a run has written to, in the order of their first chunks. `RunNotFoundError`."""
    await client.head(run)
    return await names_in(client.backend.streams, directory_key(run))


async def _last_eras(client: Client, key: str, start: int) -> tuple[int, dict[str, str]]:
    eras: dict[str, str] = {}
    index = start
    while True:
        page = await client.backend.streams.read(key, index, _PAGE)
        for body in page.items:
            chunk = decode_chunk(body)
            eras[chunk.source] = chunk.era
        index = page.next
        if not page.items:
            return index, eras


def _counts(chunk: Chunk, index: int, last_eras: tuple[int, dict[str, str]]) -> bool:
    known_until, eras = last_eras
    return not chunk.source or index >= known_until or eras.get(chunk.source) == chunk.era


def _seen(chunk: Chunk, index: int, seen: dict[str, str]) -> StreamChunk:
    before = seen.get(chunk.source)
    restarts = bool(chunk.source) and before is not None and before != chunk.era
    seen[chunk.source] = chunk.era
    return StreamChunk(index=index, source=chunk.source, attempt=chunk.attempt, raw=chunk.value, restarts=restarts)


async def _settled(client: Client, run: RunId) -> None:
    """Wait until the worker of an ended run has written the last chunks. If it has died, that takes a lease."""
    for delay in delays():
        if (await client.head(run)).is_settled:
            return
        await asyncio.sleep(delay)


async def _changes(client: Client, run: RunId, key: str) -> AsyncGenerator[bool, None]:
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
                await _settled(client, run)
            yield is_last
            if not is_last:
                with contextlib.suppress(TimeoutError):  # notices may be lost
                    async with asyncio.timeout(client.look_seconds):
                        await rung.wait()
    finally:
        listener.cancel()
        end.cancel()
        await asyncio.wait([listener, end])
