"""Telling at once that a process has died, without waiting for its leases to end.

While a store has claims, its process holds an operating system lock on a file named after the store's identity, beside
the database. The system drops that lock when the process ends, however it ends. Who can lock such a file knows that its
owner is dead: its claims are void.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TRIES = 10
_CAN_MOVE_OPEN_FILES = sys.platform != "win32"


class LiveLock:
    """The proof that this store's process lives."""

    def __init__(self, database: Path, identity: str) -> None:
        self._directory = Path(f"{database}-live")
        self._identity = identity
        self._fd: int | None = None

    def hold(self) -> None:
        """Take the lock, if not held yet. Raises OSError."""
        if self._fd is not None:
            return
        final = self._directory / self._identity
        # Locked under a name that nobody looks for, so that nobody finds it unlocked.
        first = self._directory / f".{self._identity}" if _CAN_MOVE_OPEN_FILES else final
        fd = self._create(first)
        try:
            _lock(fd)
            if _CAN_MOVE_OPEN_FILES:
                first.rename(final)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _close_in_children(self)

    def _create(self, path: Path) -> int:
        for _ in range(_TRIES):
            self._directory.mkdir(exist_ok=True)
            # Whoever closes last removes the directory, perhaps right now.
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        raise FileNotFoundError(f"{self._directory} keeps disappearing")

    def release(self) -> None:
        """Let go and remove the file."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        _remove(self._directory / self._identity, fd)
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def forget(self) -> None:
        """Close the file without unlocking it: in a forked child, where a copy would keep the parent's lock alive."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def dead(self) -> Iterator[str]:
        """Identities whose processes have died. Each is locked until the caller asks for the next, and then removed."""
        for identity in self._others():
            path = self._directory / identity
            try:
                fd = os.open(path, os.O_RDWR)
            except OSError:
                continue
            try:
                _lock(fd)
            except OSError:
                os.close(fd)
                continue
            try:
                yield identity
            except BaseException:
                os.close(fd)
                raise
            _remove(path, fd)

    def _others(self) -> list[str]:
        try:
            names = os.listdir(self._directory)
        except OSError:
            return []
        return [name for name in names if name != self._identity and not name.startswith(".")]


def _remove(path: Path, fd: int) -> None:
    if not _CAN_MOVE_OPEN_FILES:
        os.close(fd)
    with contextlib.suppress(OSError):
        path.unlink()
    if _CAN_MOVE_OPEN_FILES:
        os.close(fd)


def _close_in_children(lock: LiveLock) -> None:
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(lock)

    def after_fork() -> None:
        held = reference()
        if held is not None:
            held.forget()

    os.register_at_fork(after_in_child=after_fork)
