"""A stream of a run as events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from stepwell.codec import Codec
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId
from stepwell.ports import Chunks
from stepwell.runtime.chunks import Chunk, decode_chunk, stream_key
from stepwell.runtime.client import Client
from stepwell.runtime.reading import PAGE, Reader, last_eras, settled, stream_changes
from stepwell.server.endpoints import ServerEvent
from stepwell.server.feeds.feed import ITEMS_MAX, Feed, Feeds, Subscription
from stepwell.server.shapes import ChunkShape, StreamEnd, StreamPage
from stepwell.server.showing import opened_payload
from stepwell.server.sse import event_bytes


class ChunkEvent:
    """A chunk as the wire has it: for who knows its attempt, and for who is told to forget earlier ones."""

    __slots__ = ("_restarting", "_shape", "chunk", "data", "key", "size")

    def __init__(self, index: int, chunk: Chunk, codec: Codec) -> None:
        self.key = index
        self._shape = chunk_shape(chunk, index, codec, restarts=False)
        self.chunk = msgspec.structs.replace(chunk, value=NULL)
        self.data = _event(self._shape)
        self.size = 2 * len(self.data)
        self._restarting: bytes | None = None

    @property
    def restarting(self) -> bytes:
        """The same with `restarts`."""
        if self._restarting is None:
            self._restarting = _event(msgspec.structs.replace(self._shape, restarts=True))
        return self._restarting


def chunk_shape(chunk: Chunk, index: int, codec: Codec, *, restarts: bool) -> ChunkShape:
    """A chunk as routes answer it."""
    return ChunkShape(
        index=index,
        value=opened_payload(chunk.value, codec),
        source=chunk.source,
        attempt=chunk.attempt,
        restarts=restarts,
    )


def _event(shape: ChunkShape) -> bytes:
    return event_bytes(ServerEvent(id=str(shape.index), event="chunk", data=msgspec.json.encode(shape)))


async def stream_events(feeds: Feeds, client: Client, run: RunId, name: str, start: int) -> StreamSubscription:
    """Follow a stream from this index to the run's end; a negative one counts from the end. `RunNotFoundError`."""
    key = stream_key(run, name)

    async def join(feed: StreamFeed, leave: Callable[[Any], None]) -> StreamSubscription:
        first = await first_index(client, key, start)
        if first - 1 >= feed.floor:
            known = feed.known(first)
        else:
            known = await last_eras(client, key, first)
        return StreamSubscription(feed, first - 1, leave, Reader(*known, is_resumed=first > 0))

    return await feeds.subscribe((client, "stream", run, name), lambda: StreamFeed(client, run, name), join)


async def first_index(client: Client, key: str, start: int) -> int:
    """The index that is meant; a negative one counts from the end."""
    if start >= 0:
        return start
    page = await client.backend.streams.read(key, start, 1)
    return page.next - len(page.items)


class StreamFeed(Feed[ChunkEvent]):
    """Reads a stream."""

    def __init__(self, client: Client, run: RunId, name: str) -> None:
        super().__init__()
        self.client = client
        self.run_id = run
        self.stream = stream_key(run, name)
        self.next = 0

    async def run(self) -> None:
        """To the run's end."""
        client = self.client
        await client.head(self.run_id)
        tail = await client.backend.streams.read(self.stream, -ITEMS_MAX // 2, ITEMS_MAX // 2)
        self.begin(tail.next - len(tail.items) - 1)
        self._take(tail)
        async for is_last in stream_changes(client, self.run_id, self.stream):
            page = tail
            while page is tail or len(page.items) == PAGE:
                page = await client.backend.streams.read(self.stream, self.next, PAGE)
                self._take(page)
            if is_last:
                head = await settled(client, self.run_id)
                data = msgspec.json.encode(StreamEnd(run=self.run_id, status=head.status, next=self.next))
                self.finish(event_bytes(ServerEvent(event="end", data=data)))
                return

    def known(self, start: int) -> tuple[int, dict[str, str]]:
        """How far the stream goes, and the last era of each source from `start` on, which the buffer covers."""
        chunks = (item.chunk for item in self.items if item.key >= start)
        return self.next, {chunk.source: chunk.era for chunk in chunks}

    def _take(self, page: Chunks) -> None:
        self.next = page.next
        if page.items:
            self.add(chunk_events(page, self.client.codec))


class StreamSubscription(Subscription[ChunkEvent]):
    """One reader of a stream."""

    feed: StreamFeed

    def __init__(self, feed: StreamFeed, last: int, leave: Callable[[Any], None], reader: Reader) -> None:
        super().__init__(feed, last, leave)
        self._reader = reader

    async def page(self) -> Sequence[ChunkEvent]:
        """A few hundred chunks."""
        client = self.feed.client
        return chunk_events(await client.backend.streams.read(self.feed.stream, self.last + 1, PAGE), client.codec)

    def bytes_of(self, item: ChunkEvent) -> bytes:
        """As this reader is to see it."""
        restarts = self._reader.restarts(item.chunk, item.key)
        if restarts is None:
            return b""
        return item.restarting if restarts else item.data


def chunk_events(page: Chunks, codec: Codec) -> list[ChunkEvent]:
    """The chunks of a page."""
    first = page.next - len(page.items)
    return [ChunkEvent(index, decode_chunk(body), codec) for index, body in enumerate(page.items, first)]


# --- one page


async def stream_page(client: Client, run: RunId, name: str, start: int, limit: int) -> StreamPage:
    """Chunks from `start` as far as there are any, those that count. `RunNotFoundError`."""
    head = await client.head(run)  # before the stream is read: after the end nothing is written
    key = stream_key(run, name)
    first = await first_index(client, key, start)
    reader = Reader(*await last_eras(client, key, first), is_resumed=first > 0)
    shapes: list[ChunkShape] = []
    index, is_end = first, False
    while len(shapes) < limit and not is_end:
        page = await client.backend.streams.read(key, index, min(PAGE, limit - len(shapes)))
        shapes += _shapes(page, reader, client.codec)
        index, is_end = page.next, not page.items
        await asyncio.sleep(0)
    if not is_end:
        is_end = not (await client.backend.streams.read(key, index, 1)).items
    return StreamPage(chunks=tuple(shapes), next=index, done=is_end and head.is_settled)


def _shapes(page: Chunks, reader: Reader, codec: Codec) -> Iterable[ChunkShape]:
    for index, body in enumerate(page.items, page.next - len(page.items)):
        chunk = decode_chunk(body)
        if (restarts := reader.restarts(chunk, index)) is not None:
            yield chunk_shape(chunk, index, codec, restarts=restarts)
