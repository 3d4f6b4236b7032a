"""A thread with an event loop, in which one async context manager is open, and which threads without a loop can ask.

The manager is entered and left in one task of that loop, as its own code may require. The thread is a daemon, and
every wait notices when it has ended: nothing here can keep a program from ending.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from stepwell.errors import StepwellError

T = TypeVar("T")

_LOOK_EVERY = 0.5
"""Seconds between looks at the thread. On Windows, Ctrl-C is noticed in between."""

_END: Any = object()
_log = logging.getLogger("stepwell.sync")


class Portal:
    """Opens the manager with `open` and leaves it with `close`; in between, `run` waits for coroutines on its loop.

    Any number of threads may use it at a time; a thread that runs an event loop may not, because it would block it.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any], *, close_within: float) -> None:
        self._manager = manager
        self._close_within = close_within
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._stop = asyncio.Event()
        self._is_cancelled = False
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()

    def open(self) -> None:
        """Start the thread and enter the manager; what that raises is raised here."""
        _refuse_running_loop()
        if self._thread is not None:
            raise StepwellError("this blocking twin was entered before; make another with app.sync()")
        opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._serve, args=(opened,), name="stepwell sync", daemon=True)
        try:
            self._thread.start()
            self._wait(opened)
        except KeyboardInterrupt:
            self._cancel_main()
            self._thread.join(_LOOK_EVERY)
            raise

    def close(self) -> None:
        """Leave the manager and end the thread, within a bound; past it the thread is left behind, with a warning."""
        try:
            self._tell(self._stop.set)
            if _is_done(self._ended, self._close_within):
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
        future = self._submit(coroutine)
        try:
            return self._wait(future)
        except concurrent.futures.CancelledError:
            raise StepwellError("the app was closed while this call waited") from None
        except KeyboardInterrupt:
            future.cancel()
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
                self._submit(_close(source), from_anywhere=True)

    def _submit(
        self, coroutine: Coroutine[Any, Any, T], *, from_anywhere: bool = False
    ) -> concurrent.futures.Future[T]:
        try:
            if not from_anywhere:
                _refuse_running_loop()
            if self._loop is None:
                raise StepwellError("this app is not open; use it inside `with app.sync() as s:`")
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise StepwellError("this app is closed; use it inside `with app.sync() as s:`") from None
        except StepwellError:
            coroutine.close()
            raise

    def _wait(self, future: concurrent.futures.Future[T]) -> T:
        """The future's result, if the thread lives to give it."""
        while not _is_done(future, _LOOK_EVERY):
            if self._ended.done() and not future.done():
                raise StepwellError("the app was closed while this call waited")
        return future.result()

    def _cancel_main(self) -> None:
        self._is_cancelled = True
        if self._main is not None:
            self._tell(self._main.cancel)

    def _tell(self, callback: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(callback)

    def _serve(self, opened: concurrent.futures.Future[None]) -> None:
        try:
            asyncio.run(self._hold(opened))
        except BaseException as error:
            # Nobody sees what leaves a thread: whoever waits for it does.
            (self._ended if opened.done() else opened).set_exception(error)
        else:
            self._ended.set_result(None)

    async def _hold(self, opened: concurrent.futures.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        if self._is_cancelled:
            raise asyncio.CancelledError
        async with self._manager:
            opened.set_result(None)
            await self._stop.wait()


def _is_done(future: concurrent.futures.Future[Any], within: float) -> bool:
    """Whether the future is done, at the latest after so many seconds."""
    return future in concurrent.futures.wait([future], timeout=within).done


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source, _END)


async def _close(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StepwellError("app.sync() would block the event loop that runs here; use `async with app:` instead")
