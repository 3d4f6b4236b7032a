"""Group commit: whatever waits to be written goes down in one transaction.

Calls of one tick of the event loop share a transaction, and so do calls that come while one is being committed. A small
batch on a fast disk is committed on the loop, because a hop to a thread costs more than the flush; everything else goes
to one writer thread, and the next batch gathers meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from stepwell.backends.sqlite.checkpoint import Checkpointer
from stepwell.backends.sqlite.database import Database
from stepwell.backends.sqlite.errors import is_busy, is_spoiled, translated
from stepwell.backends.sqlite.session import Session
from stepwell.errors import BackendError

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")

Operation = Callable[[Session, Sequence[I]], Sequence[R]]
"""One result per item. Items of several calls may come together; calls that are under way have no order."""

_INLINE_ITEMS_MAX = 16
_INLINE_FLUSH_MAX_S = 0.001
_SMOOTHING = 0.1


class _Call:
    """One call that waits for its results."""

    __slots__ = ("future", "items", "operation", "outcome")

    def __init__(
        self, operation: Operation[Any, Any], items: Sequence[Any], future: asyncio.Future[Sequence[Any]]
    ) -> None:
        self.operation = operation
        self.items = items
        self.future = future
        self.outcome: Sequence[Any] | Exception = ()


class Writer:
    """The one writing connection of an opened backend, used by its event loop and its thread in turn."""

    def __init__(self, database: Database, checkpointer: Checkpointer) -> None:
        self._loop = asyncio.get_running_loop()
        self._database = database
        self._session: Session | None = database.session()
        self._opened = 1
        self._checkpointer = checkpointer
        self._waiting: list[_Call] = []
        self._waiting_items = 0
        self._is_scheduled = False
        self._in_thread = False
        self._flush_s = 0.0
        self._thread: threading.Thread | None = None
        self._batches: SimpleQueue[list[_Call] | None] = SimpleQueue()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop whose calls it takes."""
        return self._loop

    async def run(self, operation: Operation[I, R], items: Sequence[I]) -> Sequence[R]:
        """Run `operation` in the next transaction; returns when that is durable."""
        if self._is_closed:
            raise BackendError(f"the database {self._database.path} was closed")
        if asyncio.get_running_loop() is not self._loop:
            raise BackendError(
                f"the database {self._database.path} was opened on another event loop; open it on this one"
            )
        if not items:
            return ()
        future: asyncio.Future[Sequence[R]] = self._loop.create_future()
        self._waiting.append(_Call(operation, items, future))
        self._waiting_items += len(items)
        if not self._is_scheduled and not self._in_thread:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)
        return await future

    def data_version(self) -> tuple[int, int] | None:
        """What moves when another connection has written; None while the thread writes, or nothing can be read."""
        if self._in_thread or self._is_closed:
            return None
        try:
            row = self._usable().connection.execute("pragma data_version").fetchone()
        except sqlite3.Error as error:
            self._drop_if_spoiled(error)
            return None
        except BackendError:
            # The next look may be luckier. What is wrong with the file, writers and readers will say.
            return None
        return self._opened, int(row[0])

    async def close(self) -> None:
        """Write what waits, then let go of the thread and the connection."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._waiting and not self._in_thread:
            self._flush()
        await self._idle.wait()
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join()
        if self._session is not None:
            self._session.close()

    def _flush(self) -> None:
        """Write what waits: here, or in the thread."""
        self._is_scheduled = False
        if not self._waiting or self._in_thread:
            return
        calls, count = self._waiting, self._waiting_items
        self._waiting, self._waiting_items = [], 0
        is_small = count <= _INLINE_ITEMS_MAX and self._flush_s < _INLINE_FLUSH_MAX_S
        if is_small and not self._checkpointer.wants_pause and self._commit(calls, patient=False):
            _answer(calls)
            return
        self._in_thread = True
        self._idle.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stepwell-sqlite-writer", daemon=True)
            self._thread.start()
        self._batches.put(calls)

    def _flushed(self, calls: list[_Call]) -> None:
        """The thread has committed these."""
        self._in_thread = False
        _answer(calls)
        if self._waiting and self._is_closed:
            self._flush()
        elif self._waiting and not self._is_scheduled:
            # Those who were just answered add their next calls first.
            self._is_scheduled = True
            self._loop.call_soon(self._flush)
        if not self._in_thread:
            self._idle.set()

    def _work(self) -> None:
        while (calls := self._batches.get()) is not None:
            self._commit(calls, patient=True)
            if self._checkpointer.wants_pause:
                self._checkpointer.finish()
            # The loop may be closed: then nobody waits for the answers.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._flushed, calls)

    def _commit(self, calls: list[_Call], *, patient: bool) -> bool:
        """Run calls in one transaction and keep their outcomes. False: nothing was done, it takes patience."""
        started = time.perf_counter()
        try:
            self._database.transact(self._usable(), lambda session: _perform(session, calls), patient=patient)
        except sqlite3.OperationalError as error:
            if not patient and is_busy(error):
                return False
            self._drop_if_spoiled(error)
            failure = translated(error, self._database.path)
            failure.__cause__ = error
            _refuse(calls, failure)
        except Exception as error:
            self._drop_if_spoiled(error)
            if len(calls) > 1:
                # One item that cannot be written must not hurt the others: each by itself, and not on the loop.
                if not patient:
                    return False
                for call in calls:
                    self._commit([call], patient=True)
                return True
            _refuse(calls, translated(error, self._database.path) if isinstance(error, sqlite3.Error) else error)
        if sum(len(call.items) for call in calls) <= _INLINE_ITEMS_MAX:
            self._flush_s += (time.perf_counter() - started - self._flush_s) * _SMOOTHING
        self._checkpointer.written(self._database.stats)
        return True

    def _usable(self) -> Session:
        """The connection, or a new one in place of one that was spoiled."""
        if self._session is None:
            self._session = self._database.session()
            self._opened += 1
        return self._session

    def _drop_if_spoiled(self, error: Exception) -> None:
        if self._session is not None and isinstance(error, sqlite3.Error) and is_spoiled(error):
            self._session.close()
            self._session = None


def _perform(session: Session, calls: list[_Call]) -> None:
    if len(calls) == 1:
        calls[0].outcome = calls[0].operation(session, calls[0].items)
        return
    groups: dict[Operation[Any, Any], list[_Call]] = {}
    for call in calls:
        groups.setdefault(call.operation, []).append(call)
    for operation, group in groups.items():
        results = operation(session, [item for call in group for item in call.items])
        at = 0
        for call in group:
            call.outcome = results[at : at + len(call.items)]
            at += len(call.items)


def _refuse(calls: list[_Call], error: Exception) -> None:
    for call in calls:
        call.outcome = error


def _answer(calls: list[_Call]) -> None:
    for call in calls:
        if call.future.done():
            continue
        if isinstance(call.outcome, Exception):
            call.future.set_exception(call.outcome)
        else:
            call.future.set_result(call.outcome)
