"""The Store port on one SQLite file."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import time
from collections.abc import Sequence
from threading import Lock

from stepwell.backends.sqlite import runs as operations
from stepwell.backends.sqlite.database import Database
from stepwell.backends.sqlite.errors import is_spoiled
from stepwell.backends.sqlite.live import LiveLock
from stepwell.backends.sqlite.reading import Reader
from stepwell.backends.sqlite.rows import head_of
from stepwell.backends.sqlite.runs import FREE_MAX, SEQ_BITS, RenewRequest, TakeRequest
from stepwell.backends.sqlite.search import search
from stepwell.backends.sqlite.session import Session, Stats
from stepwell.backends.sqlite.sql import SQL
from stepwell.backends.sqlite.writer import Writer
from stepwell.errors import BackendError
from stepwell.model.ids import Claim, MessageId, RunId
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.ports import (
    MAX_SEQ,
    Append,
    Appended,
    Delivered,
    Delivery,
    Due,
    Loaded,
    Mail,
    NewRun,
    Park,
    Parked,
    Serves,
    StoreLimits,
    Taken,
    Wanted,
)

_LOOK_FOR_DEAD_S = 1.0
_FEW = 4
_SLOW_S = 0.004


class SqliteStore:
    """Runs as rows. Writes go through the group commit, small reads happen on the loop."""

    limits = StoreLimits()

    def __init__(self, database: Database, writer: Writer, reader: Reader) -> None:
        self.identity = database.clock.random_bytes(8).hex()
        self._database = database
        self._writer = writer
        self._reader = reader
        self._live = LiveLock(database.file, self.identity)
        self._looked_at: float | None = None
        self._aside: Session | None = None
        self._aside_lock = Lock()
        self._searcher = Reader(database)
        self._searcher_lock = Lock()

    @property
    def stats(self) -> Stats:
        """Counters of what was written."""
        return self._database.stats

    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        if any(new.head.owner is not None for new in runs):
            self._hold()
        return list(await self._writer.run(operations.create, runs))

    async def take(
        self, claim: Claim, *, lease_ms: int, limit: int, serves: Serves, runs: Sequence[RunId] | None = None
    ) -> Taken:
        await self._free_claims_of_dead()
        if runs is None:
            # A look that locks nothing, so that idle workers do not disturb busy ones.
            now = self._database.clock.now()
            if not await self.peek_due(now, 1):
                return Taken((), now)
        self._hold()
        request = TakeRequest(claim, lease_ms, limit, serves, None if runs is None else tuple(runs))
        return (await self._writer.run(operations.take, [request]))[0]

    async def peek_due(self, until: int, limit: int) -> list[Due]:
        with self._reader.use() as connection:
            return [Due(id, at) for id, at in connection.execute(SQL["peek_due"], (until, limit)).fetchall()]

    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        with self._reader.use() as connection:
            connection.execute("begin")
            try:
                return [self._load(connection, want) for want in wanted]
            finally:
                connection.execute("commit")

    def _load(self, connection: sqlite3.Connection, want: Wanted) -> Loaded | None:
        execute = connection.execute
        row = execute(SQL["head"], (want.run,)).fetchone()
        if row is None:
            return None
        head = head_of(row)
        frames: tuple[tuple[int, bytes], ...] = ()
        mail: tuple[Mail, ...] = ()
        if want.after < MAX_SEQ:
            after = 0 if want.after < 0 else max(want.after, head.base - 1)
            start = row[0] << SEQ_BITS
            found = _frames(connection, start | after, start | want.until)
            frames = tuple((pos & MAX_SEQ, body) for pos, body in found)
            if frames and frames[-1][0] != after + len(frames):
                raise BackendError(
                    f"the journal of run {want.run} has a hole; the file {self._database.path} is damaged"
                )
        if head.mail > want.mail:
            rows = execute(SQL["mail_above"], (row[0], want.mail)).fetchall()
            mail = tuple(Mail(no, MessageId(id), at, body) for no, id, at, body in rows)
        return Loaded(head, frames, mail)

    async def append(self, frames: Sequence[Append]) -> list[Appended]:
        return list(await self._writer.run(operations.append, frames))

    async def park(self, parks: Sequence[Park]) -> list[Parked]:
        return list(await self._writer.run(operations.park, parks))

    async def renew(self, claims: Sequence[tuple[RunId, Claim]], lease_ms: int) -> list[int | None]:
        requests = [RenewRequest(run, claim, lease_ms) for run, claim in claims]
        if asyncio.get_running_loop() is self._writer.loop:
            return list(await self._writer.run(operations.renew, requests))
        return self._renew_aside(requests) if requests else []

    def _renew_aside(self, requests: list[RenewRequest]) -> list[int | None]:
        """On a connection of its own, since the other loop and its connection may be stuck."""
        with self._aside_lock, self._database.errors():
            if self._aside is None:
                self._aside = self._database.session()
            try:
                return self._database.transact(self._aside, lambda session: operations.renew(session, requests))
            except sqlite3.Error as error:
                if is_spoiled(error):
                    self._aside.close()
                    self._aside = None
                raise

    async def deliver(self, messages: Sequence[Delivery]) -> list[Delivered]:
        return list(await self._writer.run(operations.deliver, messages))

    async def search(self, query: RunQuery) -> Page:
        return await asyncio.to_thread(self._search, query)

    def _search(self, query: RunQuery) -> Page:
        with self._searcher_lock, self._searcher.use() as connection:
            return search(connection, query)

    async def delete(self, runs: Sequence[RunId]) -> list[bool]:
        return list(await self._writer.run(operations.delete, runs))

    async def reserve(self, name: str, holder: str) -> str:
        return (await self._writer.run(operations.reserve, [(name, holder)]))[0]

    async def resolve(self, name: str) -> str | None:
        with self._reader.use() as connection:
            row = connection.execute(SQL["resolve"], (name,)).fetchone()
        return None if row is None else str(row[0])

    async def release(self, name: str, holder: str) -> None:
        await self._writer.run(operations.release, [(name, holder)])

    def close(self) -> None:
        """Let go of the lock and the connections that are only its own."""
        self._live.release()
        with self._aside_lock:
            if self._aside is not None:
                self._aside.close()
        with self._searcher_lock:
            self._searcher.close()

    def _hold(self) -> None:
        try:
            self._live.hold()
        except OSError as error:
            cure = "make room on its disk" if error.errno == errno.ENOSPC else "make that directory writable"
            raise BackendError(f"cannot lock a file in {self._database.path}-live ({error}); {cure}") from error

    async def _free_claims_of_dead(self) -> None:
        now = self._database.clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < _LOOK_FOR_DEAD_S:
            return
        self._looked_at = now
        for identity in self._live.dead():
            while (await self._writer.run(operations.free_claims, [identity]))[0] == FREE_MAX:
                pass


def _frames(reader: sqlite3.Connection, above: int, last: int) -> list[tuple[int, bytes]]:
    """Frames above a position, in order.

    Each row fetched gives up the interpreter lock, which is cheap unless some thread computes all the time: then a
    journal of 100 frames would take half a second. So if the first rows were slow, the rest is read as one row.
    """
    cursor = reader.execute(SQL["frames_between"], (above, last))
    started = time.perf_counter()
    found = cursor.fetchmany(_FEW)
    if len(found) < _FEW:
        return found
    if time.perf_counter() - started < _SLOW_S:
        return found + cursor.fetchall()
    cursor.close()
    first, rest = reader.execute(SQL["frames_between_in_one_row"], (found[-1][0], last)).fetchone()
    if first is not None:
        found += enumerate(map(bytes.fromhex, rest.split(",")), first)
    return found
