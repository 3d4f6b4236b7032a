"""What SQLite's errors mean to an operator: what happened, to which file, and what to do."""

from __future__ import annotations

import sqlite3

from stepwell.errors import BackendError

_LOCKED = (
    "is locked by another process for too long; end that process (`fuser FILE` shows who has it open), "
    "or raise lock_timeout_ms"
)
_FULL = "cannot grow, the disk is full; nothing was changed: make room (or raise max_pages, if that is set)"
_CURES = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: "is read-only; make the file and its directory writable for this user",
    sqlite3.SQLITE_PERM: "is not accessible; make the file and its directory writable for this user",
    sqlite3.SQLITE_FULL: _FULL,
    # No room for the index of the log.
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,
    sqlite3.SQLITE_IOERR: "cannot be read or written, the disk answers with errors; check the disk and its mount",
    sqlite3.SQLITE_CORRUPT: "is corrupt; nothing was changed: restore a backup, or try `sqlite3 FILE .recover`",
    sqlite3.SQLITE_NOTADB: "is not a database; nothing was changed: give the path of another file",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its directory exists and is writable for this user",
    sqlite3.SQLITE_TOOBIG: "cannot hold a value of this size",
}
_FINAL = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_TOOBIG,
}
"""Until an operator does something."""


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds the lock."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_spoiled(error: sqlite3.Error) -> bool:
    """Whether the connection is of no more use: it was closed, or its file was taken away from under it."""
    return _code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_MISUSE) or _is_closed(error)


def translated(error: sqlite3.Error, path: str) -> BackendError:
    """The error as the port knows it; raise it `from` the original."""
    cure = _CURES.get(getattr(error, "sqlite_errorcode", 0)) or _CURES.get(_code(error))
    if cure is None:
        if _is_closed(error):
            return BackendError(f"the database {path} was closed")
        return BackendError(f"the database {path} failed: {error}")
    found = BackendError(f"the database {path} {cure} ({error})")
    found.is_final = _code(error) in _FINAL
    return found


def _is_closed(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
