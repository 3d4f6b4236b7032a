"""A connection that reads, and is replaced when it is spoiled."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from stepwell.backends.sqlite.database import Database
from stepwell.backends.sqlite.errors import is_spoiled, translated
from stepwell.errors import BackendError


class Reader:
    """Opened when it is first used, and anew after an error that a connection does not outlive."""

    def __init__(self, database: Database, connection: sqlite3.Connection | None = None) -> None:
        self._database = database
        self._connection = connection
        self._is_closed = False

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one call; translates what SQLite raises."""
        connection = self._connection
        if connection is None:
            if self._is_closed:
                raise BackendError(f"the database {self._database.path} was closed")
            connection = self._connection = self._database.reader()
        try:
            yield connection
        except sqlite3.Error as error:
            if is_spoiled(error):
                self._drop()
            raise translated(error, self._database.path) from error

    def close(self) -> None:
        """Let go of the connection, for good."""
        self._is_closed = True
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
