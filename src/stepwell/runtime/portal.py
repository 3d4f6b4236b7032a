"""A thread with an event loop, in which one async context manager is open, and which threads without a loop can ask.

The manager is entered and left in one task of that loop, as its own code may require. The thread is a daemon, and
every wait notices when it has ended: nothing here can keep a program from ending.

Ctrl-C may strike between any two lines of the main thread, also while it holds the lock inside of a future or an
event, which then stays locked. So what the main thread waits on here is a bare lock, whose waiting is one C call.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar, cast

from stepwell.errors import StepwellError

T = TypeVar("T")

_LOOK_EVERY = 0.5
"""Seconds between looks at the thread. On Windows, Ctrl-C is noticed in between."""

_END: Any = object()
_CLOSED_MEANWHILE = "the app was closed while this call waited"
_log = logging.getLogger("stepwell.sync")


class Portal:
    """Opens the manager with `open` and leaves it with `close`; in between, `run` waits for coroutines on its loop.

    Any number of threads may use it at a time; a thread that runs an event loop may not, because it would block it.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any], *, close_within: float) -> None:
        self._manager = manager
        self._close_within = close_within
        self._opening = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        """Nothing was opened yet."""
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._stop = asyncio.Event()
        self._is_cancelled = False
        self._is_closed = False
        self._opened = _Answer[None]()
        self._ended = _Answer[None]()

    def open(self) -> None:
        """Start the thread and enter the manager; what that raises is raised here."""
        _refuse_running_loop()
        if self._thread is not None:
            raise StepwellError("this blocking twin was entered before; make another with app.sync()")
        self._thread = threading.Thread(target=self._serve, name="stepwell sync", daemon=True)
        try:
            self._thread.start()
            self._wait(self._opened)
        except KeyboardInterrupt:
            self._cancel_main()
            self._thread.join(_LOOK_EVERY)
            raise

    def open_once(self) -> None:
        """Open it, unless that was done, until the process ends. Of several threads, one opens and the others wait."""
        with self._opening:
            if self._thread is None:
                self._forget()
                try:
                    self.open()
                except BaseException:
                    self._forget()  # who comes next tries again
                    raise
                _at_exit(self.close)
            self._check_process()

    def close(self) -> None:
        """Leave the manager and end the thread, within a bound; past it the thread is left behind, with a warning.
        Repeating does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._tell(self._stop.set)
            if self._ended.wait(self._close_within):
                self._ended.result()
            else:
                _log.warning("the app did not close within %g s; it is cancelled", self._close_within)
                self._cancel_main()
        except KeyboardInterrupt:
            self._cancel_main()
            raise
        finally:
            if self._thread is not None:
                self._thread.join(_LOOK_EVERY)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the coroutine's result. On Ctrl-C it is cancelled."""
        answer = _Answer[T]()
        try:
            self._submit(coroutine, answer)
            return self._wait(answer)
        except KeyboardInterrupt:
            self._tell(lambda: answer.cancel(coroutine))
            raise

    def call(self, function: Callable[[], T]) -> T:
        """The function's result; it runs on the loop, for what does not wait but starts tasks."""

        async def called() -> T:
            return function()

        return self.run(called())

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """The items as they come. Leaving the iteration closes the source."""
        try:
            while (item := self.run(_next(source))) is not _END:
                yield item
        finally:
            # Not waited for: the garbage collector may close this generator, in any thread.
            with contextlib.suppress(StepwellError):
                self._submit(_close(source), _Answer[None](), from_anywhere=True)

    def _submit(self, coroutine: Coroutine[Any, Any, T], answer: _Answer[T], *, from_anywhere: bool = False) -> None:
        try:
            if not from_anywhere:
                _refuse_running_loop()
            if self._loop is None:
                raise StepwellError("this app is not open; use it inside `with app.sync() as s:`")
            self._check_process()
            self._loop.call_soon_threadsafe(answer.begin, coroutine)
        except RuntimeError:
            coroutine.close()
            raise StepwellError("this app is closed; use it inside `with app.sync() as s:`") from None
        except StepwellError:
            coroutine.close()
            raise

    def _wait(self, answer: _Answer[T]) -> T:
        """The answer, if the thread lives to give it."""
        while not answer.wait(_LOOK_EVERY):
            if self._ended.is_there and not answer.is_there:
                raise StepwellError(_CLOSED_MEANWHILE)
        return answer.result()

    def _check_process(self) -> None:
        """A process that was forked has no thread that would answer."""
        if self._process != os.getpid():
            raise StepwellError(
                f"this app was opened in process {self._process}, before it forked; open it in each process after that"
            )

    def _cancel_main(self) -> None:
        self._is_cancelled = True
        if self._main is not None:
            self._tell(self._main.cancel)

    def _tell(self, callback: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(callback)

    # --- in the thread

    def _serve(self) -> None:
        try:
            asyncio.run(self._hold())
        except BaseException as error:
            # Nobody sees what leaves a thread: whoever waits for it does.
            (self._ended if self._opened.is_there else self._opened).give(error=error)
        finally:
            self._ended.give()

    async def _hold(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        if self._is_cancelled:
            raise asyncio.CancelledError
        async with self._manager:
            self._opened.give()
            await self._stop.wait()


class _Answer(Generic[T]):
    """What the loop's thread gives, once, and another waits for."""

    __slots__ = ("_error", "_gate", "_task", "_value", "is_there")

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[T] | None = None
        self.is_there = False

    def wait(self, within: float) -> bool:
        """Whether it is there, at the latest after so many seconds. For one thread; once it is there, no more."""
        return self._gate.acquire(timeout=within)

    def result(self) -> T:
        """The value, or the error is raised."""
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def give(self, value: T | None = None, error: BaseException | None = None) -> None:
        """The first is what counts."""
        if not self.is_there:
            self._value, self._error, self.is_there = value, error, True
            self._gate.release()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> None:
        """Carry out the coroutine on the running loop, for its outcome."""
        self._task = asyncio.get_running_loop().create_task(coroutine)
        self._task.add_done_callback(self._end)

    def cancel(self, coroutine: Coroutine[Any, Any, T]) -> None:
        """Cancel what was begun, or drop what was not."""
        if self._task is not None:
            self._task.cancel()
        else:
            coroutine.close()

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.give(error=StepwellError(_CLOSED_MEANWHILE))
        elif (error := task.exception()) is not None:
            self.give(error=error)
        else:
            self.give(task.result())


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source, _END)


async def _close(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


def _at_exit(close: Callable[[], None]) -> None:
    """Call this when the program ends, while executors still take work: when `atexit` calls, they do not. They end in
    the order in which they came, the last first; so theirs has to be there before."""
    importlib.import_module("concurrent.futures.thread")
    getattr(threading, "_register_atexit", atexit.register)(close)


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StepwellError("app.sync() would block the event loop that runs here; use `async with app:` instead")
