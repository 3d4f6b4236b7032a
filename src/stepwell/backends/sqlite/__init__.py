"""All ports in one SQLite file, shared by the processes of one machine.

`sqlite:///relative.db`, `sqlite:////absolute/path.db`. Options, in the URL or as keywords: `relaxed`,
`lock_timeout_ms`, `max_pages`, `read_only`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

import msgspec

from stepwell.backends.sqlite.checkpoint import Checkpointer
from stepwell.backends.sqlite.database import Database, Options
from stepwell.backends.sqlite.jobs import SqliteQueue
from stepwell.backends.sqlite.reading import Reader
from stepwell.backends.sqlite.side import SqliteBlobs, SqliteCoordination, SqliteStreams
from stepwell.backends.sqlite.store import SqliteStore
from stepwell.backends.sqlite.writer import Writer
from stepwell.errors import DefinitionError
from stepwell.ports import Backend, Clock


class SqliteBackend:
    """All ports over one file."""

    is_embedded = True

    def __init__(self, url: str, database: Database, reader: Reader) -> None:
        self.url = url
        self.clock = database.clock
        self._reader = reader
        self._checkpointer = Checkpointer(database)
        self._writer = writer = Writer(database, self._checkpointer)
        self.store = SqliteStore(database, writer, reader)
        self.queue = SqliteQueue(database, writer, reader)
        self.coordination = SqliteCoordination(database, writer, reader)
        self.blobs = SqliteBlobs(writer, reader)
        self.streams = SqliteStreams(writer, reader)

    async def close(self) -> None:
        """Write what waits, then let go of threads, connections and the lock that proves this process alive."""
        self.queue.close()
        await self._writer.close()
        self.store.close()
        self._reader.close()
        # Last, since the last connection moves the whole log into the file.
        await asyncio.to_thread(self._checkpointer.close)


async def connect(url: str, clock: Clock, options: Mapping[str, object]) -> Backend:
    """Open the file, and make or upgrade its schema."""
    path, found = _parse(url)
    database = Database(path, _options(url, {**found, **options}), clock)
    reader = await asyncio.to_thread(_prepare, database)
    return SqliteBackend(url, database, reader)


def _prepare(database: Database) -> Reader:
    database.prepare()
    return Reader(database, database.reader())


def _parse(url: str) -> tuple[str, dict[str, object]]:
    rest, _, query = url.removeprefix("sqlite://").partition("?")
    path = unquote(rest.removeprefix("/"))
    if not rest.startswith("/") or not path or path.startswith(":"):
        raise DefinitionError(
            f"{url!r} names no file: write sqlite:///relative.db or sqlite:////absolute/path.db (or memory://)"
        )
    return path, dict(parse_qsl(query, keep_blank_values=True))


def _options(url: str, given: Mapping[str, object]) -> Options:
    known = Options.__struct_fields__
    for name in given:
        if name not in known:
            raise DefinitionError(f"{url!r} has no option {name!r}; there are {', '.join(known)}")
    try:
        return msgspec.convert(dict(given), Options, strict=False)
    except msgspec.ValidationError as error:
        raise DefinitionError(f"{url!r}: {error}") from error
