"""Moving pages from the log into the database, beside the writers.

SQLite would do it inside of some unlucky commit (10 to 45 ms). A thread with a connection of its own does it instead,
in passive mode, which blocks nobody. Under steady load such a pass never catches up with the log, so that the log would
grow for ever; when it is long, the writer thread pauses once for the short rest, and the next commit starts it anew.
"""

from __future__ import annotations

import sqlite3
import threading

from stepwell.backends.sqlite.database import Database
from stepwell.backends.sqlite.errors import is_spoiled
from stepwell.backends.sqlite.session import Stats
from stepwell.errors import BackendError

_PAGES_PER_PASS = 4000
_LOG_PAGES_MAX = 16_000
_PAGES_PER_TRANSACTION = 3
_ROWS_PER_PAGE = 6


class Checkpointer:
    """Counts what is written, and runs a pass now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stats = database.stats
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._next_at = _PAGES_PER_PASS
        self.wants_pause = False

    def written(self, stats: Stats) -> None:
        """A transaction was committed."""
        pages = stats.transactions * _PAGES_PER_TRANSACTION + stats.rows // _ROWS_PER_PAGE
        if pages < self._next_at:
            return
        self._next_at = pages + _PAGES_PER_PASS
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stepwell-sqlite-checkpoint", daemon=True)
            self._thread.start()
        self._wake.set()

    def finish(self) -> None:
        """Move the rest while nobody writes; called by the writer."""
        self.wants_pause = False
        self._pass()

    def close(self) -> None:
        """Stop the thread; a pass that runs is finished first."""
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._is_closed:
                return
            self.wants_pause = self._pass() > _LOG_PAGES_MAX

    def _pass(self) -> int:
        """One passive pass; answers how many pages the log has."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._database.checkpointer()
                row = self._connection.execute("pragma wal_checkpoint(passive)").fetchone()
            except (sqlite3.Error, BackendError) as error:
                # The log keeps what was committed. What is wrong with the file, writers and readers will say.
                if self._connection is not None and isinstance(error, sqlite3.Error) and is_spoiled(error):
                    self._connection.close()
                    self._connection = None
                return 0
            self._stats.checkpoints += 1
            return int(row[1])
