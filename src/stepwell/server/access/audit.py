"""The audit log: who did what, and who was turned away. Never what was said: no bodies, no secrets.

An entry goes into the stream of its day (UTC) and namespace. It is written soon after the call was answered, by one
task, in batches; while the backend cannot take them, entries wait here, and when there is no more room, calls wait.
Refused calls are another matter, since anybody can make them: of these, so many are kept per address and minute, and of
all the others only how many there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import msgspec
from msgspec import Struct, structs

from stepwell.errors import BackendError, DefinitionError
from stepwell.runtime.client import Client
from stepwell.server.access.logs import Log
from stepwell.server.access.refusals import Refusals

_ROOM = 10_000
_BATCH = 500
_GATHER_S = 0.2
_DAY_MS = 86_400_000
_CLOSE_WITHIN_S = 10.0
_AGAIN_AFTER_S = 1.0
_FIRST_YEAR = 2026
_log = logging.getLogger("stepwell.audit")


class AuditEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call. `at` in ms; `who` as `Caller.who`; `action` as verb and route; `object` is what it was about, by name.

    With `count`, it stands for so many refused calls that are not here one by one.
    """

    id: str = ""
    at: int = 0
    who: str
    namespace: str = ""
    action: str
    object: dict[str, str] = {}
    status: int
    address: str = ""
    request_id: str = ""
    count: int = 1


class AuditPage(Struct, frozen=True):
    """Entries of a day in order; `cursor` asks for those after them, None: there are no more."""

    entries: tuple[AuditEntry, ...]
    cursor: str | None


_decode = msgspec.json.Decoder(AuditEntry).decode


class AuditLog:
    """Writes entries in the background, between `open` and `close`."""

    def __init__(self, client: Client, *, keep_days: int = 400) -> None:
        if keep_days < 1:
            raise DefinitionError(f"keep_days is {keep_days}; an audit log is kept for 1 day or more")
        self._client = client
        self._keep_days = keep_days
        self._waiting: deque[AuditEntry] = deque()
        self._refusals = Refusals()
        self._is_filled = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._has_room = asyncio.Condition()
        self._swept = ""
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def record(self, entry: AuditEntry) -> None:
        """Take an entry in; waits while there is no room. Entries of refused calls never wait."""
        clock = self._client.clock
        entry = structs.replace(entry, id=self._client.backend.clock.random_bytes(8).hex(), at=clock.now())
        if entry.status in (401, 403):
            if len(self._waiting) >= _ROOM or not self._refusals.admits(entry.address, entry.at):
                self._refusals.count()
                return
        elif len(self._waiting) >= _ROOM:
            async with self._has_room:
                await self._has_room.wait_for(lambda: len(self._waiting) < _ROOM)
        self._take(entry)

    # --- reading

    async def page(
        self, namespace: str, day: str, *, cursor: str | None = None, limit: int = 100, newest_first: bool = True
    ) -> AuditPage:
        """Entries of one day, `2026-01-31`. A cursor belongs to the same day and order."""
        log = Log(self._client, _stream(_day(day), namespace))
        if newest_first:
            end = await log.end() if cursor is None else _index_of(cursor, "n")
            start = max(0, end - limit)
            items = (await log.page(start, end - start)).items if end else ()
            return AuditPage(tuple(map(_decode, reversed(items))), f"n{start}" if start else None)
        start = 0 if cursor is None else _index_of(cursor, "o")
        page = await log.page(start, limit)
        is_full = len(page.items) == limit
        return AuditPage(tuple(map(_decode, page.items)), f"o{page.next}" if is_full else None)

    async def delete_before(self, day: str) -> None:
        """Delete the entries of all namespaces that are older than this day (UTC)."""
        first = _day(day)
        old = [f"{year:04}-" for year in range(_FIRST_YEAR, first.year)]
        old += [f"{first.year:04}-{month:02}-" for month in range(1, first.month)]
        old += [f"{first.year:04}-{first.month:02}-{number:02}/" for number in range(1, first.day)]
        for prefix in old:
            await self._client.repeated(
                lambda prefix=prefix: self._client.backend.streams.delete(f"audit log/{prefix}")  # type: ignore[misc]
            )

    # --- writing

    def open(self) -> None:
        """Begin to write what comes."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="stepwell audit log")

    async def close(self) -> None:
        """Write what waits, for a bounded time. Says how much is lost otherwise."""
        task, self._task = self._task, None
        if task is None:
            return
        self._is_closing = True
        self._count_refused()
        self._is_filled.set()
        self._is_urgent.set()
        await asyncio.wait([task], timeout=_CLOSE_WITHIN_S)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if self._waiting:
            _log.error("entries of the audit log that could not be written, and are only here: %d", len(self._waiting))

    async def _run(self) -> None:
        while not self._is_closing or self._waiting:
            try:
                await self._turn()
            except Exception:
                _log.exception("writing the audit log failed; it goes on")
                await asyncio.sleep(_AGAIN_AFTER_S)

    async def _turn(self) -> None:
        """Wait for entries, or for the minute to end, and write."""
        if not self._waiting and not self._is_closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._refusals.minute_left(self._client.clock.now())):
                    await self._is_filled.wait()
        self._is_filled.clear()
        self._count_refused()
        await self._gather()
        while self._waiting:
            await self._write_some()
        if not self._is_closing:
            await self._sweep()

    async def _gather(self) -> None:
        """Let more come, for one write instead of many: each is a transaction beside those of the runs."""
        self._is_urgent.clear()
        if self._waiting and len(self._waiting) < _BATCH and not self._is_closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GATHER_S):
                    await self._is_urgent.wait()

    async def _write_some(self) -> None:
        """Write the oldest that go into the same stream. They stay here until they are written."""
        first = self._waiting[0]
        day = first.at // _DAY_MS
        batch = []
        for entry in islice(self._waiting, _BATCH):
            if entry.namespace != first.namespace or entry.at // _DAY_MS != day:
                break
            batch.append(msgspec.json.encode(entry))
        await Log(self._client, _stream(_date(first.at), first.namespace), is_patient=True).append(batch)
        for _ in batch:
            self._waiting.popleft()
        async with self._has_room:
            self._has_room.notify_all()

    def _count_refused(self) -> None:
        now = self._client.clock.now()
        count = self._refusals.counted(now, at_end=self._is_closing)
        if count:
            id = self._client.backend.clock.random_bytes(8).hex()
            self._take(AuditEntry(id=id, at=now, who="stranger", action="refused calls", status=401, count=count))

    def _take(self, entry: AuditEntry) -> None:
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", msgspec.json.encode(entry).decode())
        self._waiting.append(entry)
        self._is_filled.set()
        if len(self._waiting) >= _BATCH:
            self._is_urgent.set()

    async def _sweep(self) -> None:
        """Once a day, delete what is too old."""
        today = _date(self._client.clock.now())
        if str(today) == self._swept:
            return
        try:
            await self.delete_before(str(today - timedelta(days=self._keep_days)))
            self._swept = str(today)
        except BackendError as error:
            _log.warning("old entries of the audit log could not be deleted: %s; tried again later", error)


def _stream(day: date, namespace: str) -> str:
    # The day first, so that a day can be deleted without knowing the namespaces.
    return f"audit log/{day}/{namespace or '-'}"


def _date(at: int) -> date:
    return datetime.fromtimestamp(at / 1000, UTC).date()


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or str(day) != text:
        raise DefinitionError(f"day {text[:100]!r}: write a date such as 2026-01-31")
    return day


def _index_of(cursor: str, order: str) -> int:
    if cursor[:1] != order or not cursor[1:].isdecimal() or not cursor.isascii() or len(cursor) > 19:
        raise DefinitionError(f"cursor {cursor[:100]!r} is not from a page of this order; give the `cursor` of a page")
    return int(cursor[1:])
