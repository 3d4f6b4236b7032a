"""A connection while it writes: counted statements, bulk rows, and the numbers of runs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from stepwell.backends.sqlite.bulk import BulkInsert, BulkUpdate, Value
from stepwell.backends.sqlite.sql import SQL
from stepwell.model.ids import RunId
from stepwell.ports import Clock

_NUMBERS_MAX = 100_000
_decode = msgspec.json.decode
_encode = msgspec.json.encode


class Stats:
    """What was written so far: transactions, statements in them, rows that those changed; checkpoints."""

    __slots__ = ("checkpoints", "rows", "statements", "transactions")

    def __init__(self) -> None:
        self.transactions = 0
        self.statements = 0
        self.rows = 0
        self.checkpoints = 0


class Session:
    """What operations are functions of. Used by one thread at a time, inside of a transaction."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, stats: Stats) -> None:
        self.connection = connection
        self.clock = clock
        self.stats = stats
        self._execute = connection.execute
        self._numbers: dict[RunId, int] = {}
        self._deletions = -1
        self._is_checked = False

    def close(self) -> None:
        """Let go of the connection, in whatever state it is."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def begin(self) -> None:
        """A transaction has begun."""
        self._is_checked = False

    def commit(self) -> None:
        """Make it durable."""
        self._execute("commit")
        self.stats.transactions += 1

    def forget(self) -> None:
        """The transaction came to nothing: the numbers of runs that it made are void."""
        self._numbers.clear()

    def write(self, name: str, *values: Value) -> int:
        """Run the named statement; answers how many rows it changed."""
        return self._write(SQL[name], values)

    def fetch(self, name: str, *values: Value) -> list[tuple[Any, ...]]:
        """The rows of the named query."""
        self.stats.statements += 1
        return self._execute(SQL[name], values).fetchall()

    def fetch_json(self, name: str, *values: Value) -> Any:
        """The decoded answer of a query that gives one JSON text."""
        self.stats.statements += 1
        row = self._execute(SQL[name], values).fetchone()
        return _decode(row[0])

    def insert(self, into: BulkInsert, rows: Sequence[tuple[Value, ...]]) -> int:
        """Insert rows that are not there yet; answers how many those were."""
        most = into.most
        if len(rows) <= most:
            return self._write(*into.statement(rows)) if rows else 0
        return sum(self._write(*into.statement(rows[at : at + most])) for at in range(0, len(rows), most))

    def update(self, runs: BulkUpdate, rows: Sequence[tuple[Value, ...]]) -> None:
        """Change runs by number."""
        for at in range(0, len(rows), runs.most):
            self._write(*runs.statement(rows[at : at + runs.most]))

    def numbers(self, ids: Collection[RunId]) -> dict[RunId, int]:
        """The numbers of runs, at least of those ids that exist. The answer is the cache: do not keep it."""
        self._check_numbers()
        known = self._numbers
        unknown = {id for id in ids if id not in known}
        if unknown:
            if len(known) + len(unknown) > _NUMBERS_MAX:
                self._numbers = known = {}
                unknown = set(ids)
            known.update(self.fetch_json("run_numbers", as_json(list(unknown))))
        return known

    def learn(self, id: RunId, no: int) -> None:
        """Remember a run's number, met on the way."""
        if len(self._numbers) < _NUMBERS_MAX:
            self._numbers[id] = no

    def unlearn(self, id: RunId) -> None:
        """A run is gone."""
        self._numbers.pop(id, None)

    def _check_numbers(self) -> None:
        """Other processes may have deleted runs since; then frames must not follow an old number."""
        if self._is_checked:
            return
        self._is_checked = True
        self.stats.statements += 1
        deletions = self._execute(SQL["deletions"]).fetchone()[0]
        if deletions != self._deletions:
            self._deletions = deletions
            self._numbers.clear()

    def _write(self, text: str, values: Sequence[Value]) -> int:
        stats = self.stats
        stats.statements += 1
        changed = self._execute(text, values).rowcount
        stats.rows += changed
        return changed


def as_json(value: object) -> str:
    """JSON text, for `json_each`."""
    return _encode(value).decode()


def escaped(text: str) -> str:
    """A text for `as_json` that may hold NUL, at which SQLite cuts what it decodes. The statement undoes it."""
    if "\0" not in text and "\x1a" not in text:
        return text
    return text.replace("\x1a", "\x1a1").replace("\0", "\x1a0")
