"""One database file: opening it, its schema, its connections, and one transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from stepwell.backends.sqlite.errors import is_busy, translated
from stepwell.backends.sqlite.session import Session, Stats
from stepwell.backends.sqlite.sql import migrations
from stepwell.errors import BackendError, BackendVersionError
from stepwell.ports import Clock

APPLICATION_ID = 0x53746570
"""`Step`, in the header of the file: how a database of ours is told from one of another program."""

_OLDEST_SQLITE = (3, 38, 0)
_POLL_S = 0.0002
_SLOWEST_POLL_S = 0.002
_POLLS_SLOWER_AFTER_S = 0.5

R = TypeVar("R")


class Options(Struct, frozen=True, kw_only=True):
    """How a file is used.

    `relaxed`: a commit survives the death of the process, but perhaps not of the machine. `lock_timeout_ms`: how long
    to wait for other processes. `max_pages`: the file may not grow beyond that (0: no limit). `read_only`: nothing is
    written, not even a newer schema, and no file is made.
    """

    relaxed: bool = False
    lock_timeout_ms: int = 30_000
    max_pages: int = 0
    read_only: bool = False


class Database:
    """Makes connections to one file: `path` as it was given, `file` wherever this process goes."""

    def __init__(self, path: str, options: Options, clock: Clock) -> None:
        self.path = path
        self.file = Path(path).absolute()
        self.clock = clock
        self.stats = Stats()
        self._options = options

    def prepare(self) -> None:
        """Check the file and bring its schema up to date. Changes nothing in a file that is not ours, or newer."""
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            wanted = ".".join(map(str, _OLDEST_SQLITE))
            raise BackendError(f"SQLite {sqlite3.sqlite_version} is too old: sqlite:// needs {wanted} or newer")
        with self.errors():
            connection = self._connect(may_create=not self._options.read_only)
            try:
                self._patiently(
                    lambda: self._inspect(connection) if self._options.read_only else self._migrate(connection)
                )
            finally:
                connection.close()

    def session(self) -> Session:
        """A connection that writes. It never waits for locks by itself: `transact` does."""
        with self.errors():
            connection = self._connect()
            connection.execute("pragma synchronous = " + ("normal" if self._options.relaxed else "full"))
            connection.execute("pragma wal_autocheckpoint = 0")
            connection.execute("pragma cache_size = -65536")
            connection.execute("pragma busy_timeout = 0")
            connection.execute("pragma journal_size_limit = 67108864")
            if self._options.max_pages:
                connection.execute(f"pragma max_page_count = {self._options.max_pages:d}")
            return Session(connection, self.clock, self.stats)

    def reader(self) -> sqlite3.Connection:
        """A connection that only reads."""
        with self.errors():
            connection = self._connect()
            connection.execute("pragma query_only = on")
            return connection

    def checkpointer(self) -> sqlite3.Connection:
        """A connection that moves pages from the log into the file, and gives way to everybody."""
        with self.errors():
            connection = self._connect()
            connection.execute("pragma busy_timeout = 0")
            return connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translates what SQLite raises."""
        try:
            yield
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def transact(self, session: Session, work: Callable[[Session], R], *, patient: bool = True) -> R:
        """Run `work` in one transaction: all of it, or none. Raises `sqlite3.Error`.

        Not `patient`: raises at once if another process writes.
        """
        connection = session.connection
        waited = self._begin(connection, patient)
        try:
            session.begin()
            result = work(session)
            session.commit()
        except BaseException:
            session.forget()
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        if waited:
            # The others poll for the lock; without a gap, a busy process would never let go of it long enough.
            time.sleep(2 * _POLL_S)  # noqa: TID251 (other processes live in real time)
        return result

    def _begin(self, connection: sqlite3.Connection, patient: bool) -> bool:
        """Get the lock; answers whether that needed waiting."""
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            if not patient or not is_busy(error):
                raise
            self._patiently(lambda: connection.execute("begin immediate"))
            return True
        return False

    def _patiently(self, attempt: Callable[[], object]) -> None:
        """Repeat what is refused because others hold the lock.

        SQLite's own way of waiting backs off up to 100 ms, which starves whoever waits for a busy process; and it does
        not wait at all where a journal mode changes. Who has waited for long does not wait for a busy process, but for
        one that stands still: it asks less often, so that waiting does not cost a core.
        """
        began = time.monotonic()  # noqa: TID251
        while True:
            try:
                attempt()
                return
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began  # noqa: TID251
                if not is_busy(error) or waited > self._options.lock_timeout_ms / 1000:
                    raise
            time.sleep(_POLL_S if waited < _POLLS_SLOWER_AFTER_S else _SLOWEST_POLL_S)  # noqa: TID251

    def _connect(self, *, may_create: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            # Never `mode=ro`: such a connection leaves a log behind that it may make but not remove.
            f"{self.file.as_uri()}?mode={'rwc' if may_create else 'rw'}",
            uri=True,
            timeout=self._options.lock_timeout_ms / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        if self._options.read_only:
            connection.execute("pragma query_only = on")
        return connection

    def _inspect(self, connection: sqlite3.Connection) -> None:
        newest = len(migrations())
        version = self._version(connection, newest)
        if version is None:
            raise BackendError(f"the database {self.path} is empty; give the path of one that has runs")
        if version < newest:
            raise BackendVersionError(
                f"the database {self.path} has schema version {version}, this Stepwell needs {newest} and was "
                "asked to change nothing: let a worker of this version open it first, or use a copy"
            )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        scripts = migrations()
        # In one transaction, or another process that creates the file right now would look like another program.
        connection.execute("begin")
        try:
            version = self._version(connection, len(scripts))
        finally:
            connection.execute("rollback")
        if version is None:
            connection.execute("pragma page_size = 4096")
        connection.execute("pragma journal_mode = wal")
        if version == len(scripts):
            _check_writable(connection)
            return
        connection.execute("begin immediate")
        try:
            version = self._version(connection, len(scripts)) or 0
            for number, script in enumerate(scripts[version:], version + 1):
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"pragma user_version = {number:d}")
            connection.execute(f"pragma application_id = {APPLICATION_ID:d}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def _version(self, connection: sqlite3.Connection, newest: int) -> int | None:
        """The version of the schema; None for an empty file."""
        application = _number(connection, "pragma application_id")
        version = _number(connection, "pragma user_version")
        is_empty = _number(connection, "select count(*) from sqlite_schema") == 0
        if application != APPLICATION_ID:
            if is_empty and application == 0:
                return None
            raise BackendError(
                f"the database {self.path} belongs to another program; nothing was changed: give another path"
            )
        if version > newest:
            raise BackendVersionError(
                f"the database {self.path} has schema version {version}, this Stepwell knows up to {newest}; "
                "nothing was changed: upgrade Stepwell"
            )
        return version


def _check_writable(connection: sqlite3.Connection) -> None:
    """Find out whether the file can be written, before anybody relies on it. What it changes stays in memory, and it
    does not wait: a file on a full disk, or one that another process has locked, can still be read."""
    connection.execute("pragma busy_timeout = 0")
    try:
        connection.execute("begin immediate")
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return
    try:
        connection.execute(f"pragma application_id = {APPLICATION_ID:d}")
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


def _number(connection: sqlite3.Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0])


def _statements(script: str) -> list[str]:
    """The statements of a script. `executescript` would commit before it starts."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
