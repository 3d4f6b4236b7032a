"""The thread behind the blocking twin: it ends, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stepwell.errors import StepwellError
from stepwell.runtime.portal import Portal


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def stubborn() -> AsyncIterator[None]:
    yield
    await asyncio.Event().wait()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "stepwell sync"]


async def forever(cancelled: threading.Event, started: threading.Event) -> None:
    try:
        started.set()
        await asyncio.Event().wait()
    finally:
        cancelled.set()


def test_the_thread_ends_with_it() -> None:
    portal = Portal(nothing(), close_within=5)
    portal.open()
    assert threads()
    portal.close()

    assert not threads()


def test_the_manager_is_entered_and_left_in_one_task() -> None:
    tasks = []

    @asynccontextmanager
    async def watching() -> AsyncIterator[None]:
        tasks.append(asyncio.current_task())
        yield
        tasks.append(asyncio.current_task())

    portal = Portal(watching(), close_within=5)
    portal.open()
    portal.close()

    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


def test_it_opens_once() -> None:
    portal = Portal(nothing(), close_within=5)
    portal.open()

    with pytest.raises(StepwellError, match="entered before"):
        portal.open()
    portal.close()


def test_what_leaving_raises_is_raised() -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        yield
        raise ValueError("on the way out")

    portal = Portal(failing(), close_within=5)
    portal.open()

    with pytest.raises(ValueError, match="on the way out"):
        portal.close()


def test_a_manager_that_does_not_end_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    portal = Portal(stubborn(), close_within=0.02)
    portal.open()
    portal.close()

    assert not threads()
    assert "did not close within 0.02 s" in caplog.text


def test_a_call_that_waits_while_it_closes_fails() -> None:
    portal = Portal(nothing(), close_within=5)
    portal.open()
    cancelled, started = threading.Event(), threading.Event()
    closer = threading.Thread(target=lambda: started.wait() and portal.close())
    closer.start()

    with pytest.raises(StepwellError, match="closed while this call waited"):
        portal.run(forever(cancelled, started))
    closer.join()
    assert cancelled.is_set()


def test_ctrl_c_cancels_what_is_waited_for() -> None:
    portal = Portal(nothing(), close_within=5)
    portal.open()
    cancelled, started = threading.Event(), threading.Event()
    interrupter = threading.Thread(target=lambda: started.wait() and os.kill(os.getpid(), signal.SIGINT))
    interrupter.start()

    with pytest.raises(KeyboardInterrupt):
        portal.run(forever(cancelled, started))
    interrupter.join()
    assert cancelled.wait(5)
    portal.close()


def test_ctrl_c_ends_opening() -> None:
    @asynccontextmanager
    async def interrupting() -> AsyncIterator[None]:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        yield

    portal = Portal(interrupting(), close_within=5)

    with pytest.raises(KeyboardInterrupt):
        portal.open()
    assert not threads()


def test_ctrl_c_ends_closing() -> None:
    @asynccontextmanager
    async def interrupting() -> AsyncIterator[None]:
        yield
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    portal = Portal(interrupting(), close_within=5)
    portal.open()

    with pytest.raises(KeyboardInterrupt):
        portal.close()
    assert not threads()


def test_an_iterator_is_closed_when_its_reader_leaves() -> None:
    closed = threading.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            for n in range(10):
                yield n
        finally:
            closed.set()

    portal = Portal(nothing(), close_within=5)
    portal.open()
    for n in portal.iterate(numbers()):
        if n == 3:
            break

    assert closed.wait(5)
    portal.close()


def test_an_iterator_that_outlives_it_is_no_trouble() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    portal = Portal(nothing(), close_within=5)
    portal.open()
    iterator = portal.iterate(numbers())
    assert next(iterator) == 1
    portal.close()

    del iterator


def test_an_error_of_a_call_keeps_its_traceback() -> None:
    async def failing() -> None:
        raise ValueError("no")

    portal = Portal(nothing(), close_within=5)
    portal.open()

    with pytest.raises(ValueError, match="no") as caught:
        portal.run(failing())
    assert caught.traceback[-1].name == "failing"
    portal.close()
