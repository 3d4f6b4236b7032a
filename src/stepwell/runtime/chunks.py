"""Stream chunks: how a run writes them in order, and how a reader tells which of them count.

A stream is written by one owner at a time, so indexes are allocated in memory; put-if-absent settles the rare case of
two owners. Each chunk says who sent it: a step, in which attempt and under which claim (its *era*), as its k-th chunk.
Chunks of an earlier era of the same step are superseded as soon as a later era exists. Chunks of the body are in the
journal first; `body` counts how many of them the stream holds, so that after a crash the rest can be copied. That
count, and the ids of steps, begin anew with each generation of the run, `base`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from stepwell.model.entries import Sent
from stepwell.model.failures import NULL
from stepwell.model.ids import Claim, RunId
from stepwell.ports import Queue, Streams
from stepwell.runtime.bells import ring
from stepwell.runtime.patience import until_answered

_BATCH_MAX = 1000


class Chunk(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One chunk as stored. `source` is the step's id, with `@base` from the second generation on, or empty for the
    body. `body`: how many chunks of the body of generation `base` there are with this one. `record`: what a worker
    elsewhere wrote of it beside the value, its encoding and its time, as JSON."""

    value: Raw
    source: str = ""
    attempt: int = 1
    era: str = ""
    k: int = 0
    body: int = 0
    base: int = 1
    record: Raw = NULL


_encode = msgspec.json.Encoder().encode
decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_name = msgspec.json.Decoder(str).decode
_UNLISTED = "hook answers/"
"""How the names of streams begin that are nobody's to follow."""


def stream_key(run: RunId, name: str) -> str:
    """The name of a run's stream in the port."""
    return f"{run}/{name}"


def directory_key(run: RunId) -> str:
    """The stream that holds the names of the run's streams. Names of streams are not empty, so it is none of them."""
    return stream_key(run, "")


async def names_in(streams: Streams, directory: str) -> list[str]:
    """The names that a directory holds."""
    names: list[str] = []
    index = 0
    while True:
        page = await streams.read(directory, index, _BATCH_MAX)
        names += [_decode_name(item) for item in page.items]
        index = page.next
        if len(page.items) < _BATCH_MAX:
            return names


class StreamWriter:
    """Writes one stream of one run, for its owner."""

    def __init__(self, streams: Streams, queue: Queue, run: RunId, name: str, claim: Claim) -> None:
        self._streams = streams
        self._queue = queue
        self._key = stream_key(run, name)
        self._directory = directory_key(run)
        self._name = name
        self._is_listed = name.startswith(_UNLISTED)
        self._claim = claim
        self._next = -1
        self._body = (1, 0)
        self._waiting: list[Chunk] = []
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def write(self, *, source: str, attempt: int, k: int, value: Raw, base: int, record: Raw = NULL) -> None:
        """Queue a chunk of generation `base`."""
        self.put(Chunk(value=value, source=source, attempt=attempt, k=k, base=base, record=record))

    def put(self, chunk: Chunk) -> None:
        """The same of a chunk whose era is made of more than attempt and claim: `era` is the rest of it."""
        source = f"{chunk.source}@{chunk.base}" if chunk.source and chunk.base > 1 else chunk.source
        era = f"{chunk.attempt}.{self._claim}" + (f".{chunk.era}" if chunk.era else "")
        self._waiting.append(msgspec.structs.replace(chunk, source=source, era=era))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def stop(self) -> None:
        """The run is not this owner's any more: what is not in the stream yet is the next owner's to write, and would
        be taken for the latest."""
        self._is_stopped = True

    async def flush(self) -> None:
        """Wait until everything queued is durable. Raises what the last write raised."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def _work(self) -> None:
        try:
            while self._waiting and not self._is_stopped:
                if self._next < 0:
                    await self._find_end()
                    continue
                batch = self._waiting[:_BATCH_MAX]
                bodies = self._encoded(batch)
                if bodies and not await self._appended(bodies):
                    continue
                self._next += len(bodies)
                self._body = max([self._body, *((chunk.base, chunk.k + 1) for chunk in batch if not chunk.source)])
                del self._waiting[: len(batch)]
                await ring(self._queue, [f"stream:{self._key}"])
        finally:
            self._task = None

    def _encoded(self, batch: list[Chunk]) -> list[bytes]:
        bodies = []
        base, count = self._body
        for chunk in batch:
            if not chunk.source:
                if (chunk.base, chunk.k) < self._body:
                    continue  # an earlier owner wrote it
                base, count = chunk.base, chunk.k + 1
            bodies.append(_encode(msgspec.structs.replace(chunk, body=count, base=base)))
        return bodies

    async def _appended(self, bodies: list[bytes]) -> bool:
        """Whether they are in. If their place is taken, then by an earlier try of this very call, or by another owner
        of the run: then look for the end again."""

        async def append() -> bool:
            if await self._streams.append(self._key, self._next, bodies):
                return True
            there = await self._streams.read(self._key, self._next, len(bodies))
            return list(there.items) == bodies

        is_in = await until_answered(f"stream {self._key}", append, is_wanted=self._is_wanted)
        if not is_in:
            self._next = -1
        return bool(is_in)

    def _is_wanted(self) -> bool:
        return not self._is_stopped

    async def _list(self) -> bool:
        """Put the name into the run's directory of streams, before the first chunk: so no stream is missing there."""
        while True:
            names = await names_in(self._streams, self._directory)
            if self._name in names or await self._streams.append(self._directory, len(names), [_encode(self._name)]):
                return True

    async def _find_end(self) -> None:
        tail = await until_answered(
            f"stream {self._key}", lambda: self._streams.read(self._key, -1, 1), is_wanted=self._is_wanted
        )
        if tail is None:
            return
        if tail.next == 0 and not self._is_listed:
            await until_answered(f"stream {self._key}", self._list, is_wanted=self._is_wanted)
            self._is_listed = True
        self._next = tail.next
        if tail.items:
            last = decode_chunk(tail.items[-1])
            self._body = (last.base, last.body)


class StreamWriters:
    """The writers of one run's streams, for its owner; each is made when it is first asked for."""

    __slots__ = ("_by_name", "_claim", "_queue", "_run", "_streams")

    def __init__(self, streams: Streams, queue: Queue, run: RunId, claim: Claim) -> None:
        self._streams = streams
        self._queue = queue
        self._run = run
        self._claim = claim
        self._by_name: dict[str, StreamWriter] = {}

    def __bool__(self) -> bool:
        """Whether the run has written to a stream here."""
        return bool(self._by_name)

    def of(self, stream: str) -> StreamWriter:
        """The writer of a stream."""
        writer = self._by_name.get(stream)
        if writer is None:
            writer = StreamWriter(self._streams, self._queue, self._run, stream, self._claim)
            self._by_name[stream] = writer
        return writer

    def copy(self, sends: Iterable[tuple[int, Sent]]) -> None:
        """Write what the body sent: generation and entry."""
        for base, sent in sends:
            self.of(sent.stream).write(source="", attempt=1, k=sent.k, value=sent.value, base=base)

    async def flush(self) -> None:
        """Wait until everything queued is durable."""
        for writer in self._by_name.values():
            await writer.flush()

    def stop(self) -> None:
        """The run is not this owner's any more."""
        for writer in self._by_name.values():
            writer.stop()
