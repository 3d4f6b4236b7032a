"""The small ports on one SQLite file: Coordination, Blobs, Streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stepwell.backends.sqlite.bulk import INSERT_CHUNKS
from stepwell.backends.sqlite.database import Database
from stepwell.backends.sqlite.reading import Reader
from stepwell.backends.sqlite.session import Session
from stepwell.backends.sqlite.sql import SQL
from stepwell.backends.sqlite.writer import Writer
from stepwell.errors import DefinitionError
from stepwell.ports import Chunks


class _Key(NamedTuple):
    key: str
    value: str = ""
    by: int = 0
    ttl_ms: int | None = None


class SqliteCoordination:
    """Keys as rows."""

    def __init__(self, database: Database, writer: Writer, reader: Reader) -> None:
        self._database = database
        self._writer = writer
        self._reader = reader

    async def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        answer = (await self._writer.run(_increment, [_Key(key, by=by, ttl_ms=ttl_ms)]))[0]
        if isinstance(answer, str):
            raise DefinitionError(f"the coordination key {key!r} holds {answer!r}, not a counter")
        return answer

    async def set_if_not_exist(self, key: str, value: str, *, ttl_ms: int | None = None) -> bool:
        return (await self._writer.run(_set, [_Key(key, value, ttl_ms=ttl_ms)]))[0]

    async def extend_ttl(self, key: str, ttl_ms: int) -> bool:
        return (await self._writer.run(_extend, [_Key(key, ttl_ms=ttl_ms)]))[0]

    async def delete(self, key: str) -> bool:
        return (await self._writer.run(_delete, [_Key(key)]))[0]

    async def get(self, key: str) -> str | None:
        with self._reader.use() as connection:
            row = connection.execute(SQL["key"], (key, self._database.clock.now())).fetchone()
        return None if row is None else str(row[0])


def _increment(session: Session, items: Sequence[_Key]) -> list[int | str]:
    answers: list[int | str] = []
    for item in items:
        there = _alive(session, item.key)
        value, ends_at = there or ("0", _end(session, item))
        try:
            total = int(value) + item.by
        except ValueError:
            answers.append(value)
            continue
        session.write("put_key", item.key, str(total), ends_at)
        answers.append(total)
    return answers


def _set(session: Session, items: Sequence[_Key]) -> list[bool]:
    answers = []
    for item in items:
        is_free = _alive(session, item.key) is None
        if is_free:
            session.write("put_key", item.key, item.value, _end(session, item))
        answers.append(is_free)
    return answers


def _extend(session: Session, items: Sequence[_Key]) -> list[bool]:
    answers = []
    for item in items:
        there = _alive(session, item.key)
        if there is not None:
            session.write("put_key", item.key, there[0], _end(session, item))
        answers.append(there is not None)
    return answers


def _delete(session: Session, items: Sequence[_Key]) -> list[bool]:
    answers = []
    for item in items:
        answers.append(_alive(session, item.key) is not None)
        session.write("delete_key", item.key)
    return answers


def _alive(session: Session, key: str) -> tuple[str, int | None] | None:
    # Also sweeps: keys whose time has come go with the next write of any key.
    now = session.clock.now()
    session.write("delete_ended_keys", now)
    rows = session.fetch("key", key, now)
    return (rows[0][0], rows[0][1]) if rows else None


def _end(session: Session, item: _Key) -> int | None:
    return None if item.ttl_ms is None else session.clock.now() + item.ttl_ms


class SqliteBlobs:
    """Payloads as rows."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, key: str, data: bytes) -> None:
        await self._writer.run(_put_blobs, [(key, data)])

    async def get(self, key: str) -> bytes | None:
        with self._reader.use() as connection:
            row = connection.execute(SQL["blob"], (key,)).fetchone()
        return None if row is None else bytes(row[0])

    async def delete(self, prefix: str) -> None:
        await self._writer.run(_delete_blobs, [prefix])


def _put_blobs(session: Session, items: Sequence[tuple[str, bytes]]) -> list[None]:
    for key, data in items:
        session.write("put_blob", key, data)
    return [None] * len(items)


def _delete_blobs(session: Session, prefixes: Sequence[str]) -> list[None]:
    for prefix in prefixes:
        session.write("delete_blobs", prefix)
    return [None] * len(prefixes)


class _Chunks(NamedTuple):
    stream: str
    start: int
    chunks: tuple[bytes, ...]


class SqliteStreams:
    """Chunks as rows."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def append(self, stream: str, index: int, chunks: Sequence[bytes]) -> bool:
        return (await self._writer.run(_append_chunks, [_Chunks(stream, index, tuple(chunks))]))[0]

    async def read(self, stream: str, start: int, limit: int) -> Chunks:
        with self._reader.use() as connection:
            execute = connection.execute
            execute("begin")
            try:
                closed, end = execute(SQL["stream"], (stream,)).fetchone()
                end = end or 0
                first = max(start + end, 0) if start < 0 else start
                if closed:
                    first = min(first, end)
                rows = execute(SQL["chunks"], (stream, first, limit)).fetchall()
            finally:
                execute("commit")
        # Chunks behind a gap wait until it is filled.
        items = tuple(data for at, (no, data) in enumerate(rows, first) if no == at)
        after = first + len(items)
        return Chunks(items, after, bool(closed) and after == end)

    async def close(self, stream: str) -> None:
        await self._writer.run(_close_streams, [stream])

    async def delete(self, prefix: str) -> None:
        await self._writer.run(_delete_streams, [prefix])


def _append_chunks(session: Session, items: Sequence[_Chunks]) -> list[bool]:
    answers = []
    for stream, index, chunks in items:
        closed = session.fetch("stream", stream)[0][0]
        taken = session.fetch("chunks_taken", stream, index, index + len(chunks))[0][0]
        is_free = not closed and not taken
        if is_free:
            session.insert(INSERT_CHUNKS, [(stream, no, data) for no, data in enumerate(chunks, index)])
        answers.append(is_free)
    return answers


def _close_streams(session: Session, streams: Sequence[str]) -> list[None]:
    for stream in streams:
        session.write("close_stream", stream)
    return [None] * len(streams)


def _delete_streams(session: Session, prefixes: Sequence[str]) -> list[None]:
    for prefix in prefixes:
        session.write("delete_chunks", prefix)
        session.write("delete_streams", prefix)
    return [None] * len(prefixes)
