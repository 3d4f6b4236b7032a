"""Virtual time: a clock that stands, a loop that moves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from stepwell.testing import DeadlockError, VirtualClock, VirtualLoop

T = TypeVar("T")


def virtually(coroutine: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    loop = loop or VirtualLoop()

    async def main() -> T:
        return await loop.drive(coroutine)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def test_the_clock_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock(start=datetime(2030, 1, 1, tzinfo=UTC))
    before = clock.now()

    clock.advance("1h30m")

    assert datetime.fromtimestamp(before / 1000, UTC) == datetime(2030, 1, 1, tzinfo=UTC)
    assert (clock.now() - before, clock.monotonic()) == (5_400_000, 5400.0)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert VirtualClock(seed=3).random_bytes(8) == VirtualClock(seed=3).random_bytes(8)
    assert VirtualClock(seed=3).random_bytes(8) != VirtualClock(seed=4).random_bytes(8)


def test_sleeping_takes_exactly_as_long_as_it_says() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        for seconds in (0.001, 86_400, 0.1, 3 * 86_400):
            before = loop.time()
            await asyncio.sleep(seconds)
            times.append(round(loop.time() - before, 6))
        return times

    assert virtually(main()) == [0.001, 86_400, 0.1, 3 * 86_400]


def test_timers_fire_in_their_order() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def after(hours: int) -> None:
            await asyncio.sleep(hours * 3600)
            order.append(hours)

        await asyncio.gather(*(after(hours) for hours in (3, 1, 2)))
        return order

    assert virtually(main()) == [1, 2, 3]


def test_time_stands_still_while_a_thread_works() -> None:
    go_on = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(100)
        working = asyncio.ensure_future(asyncio.to_thread(go_on.wait, 30))
        threading.Timer(0.02, go_on.set).start()
        async with asyncio.timeout(1):
            assert await working
        return loop.time() - before

    assert virtually(main()) == 10


def test_a_thread_that_hangs_is_an_error() -> None:
    go_on = threading.Event()

    async def main() -> None:
        try:
            await asyncio.to_thread(go_on.wait)
        finally:
            go_on.set()

    with pytest.raises(TimeoutError, match="a thread has worked for"):
        virtually(main(), VirtualLoop(thread_seconds=0.02))


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    async def forgotten() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(forgotten(), name="the waiter")
        await task

    with pytest.raises(DeadlockError, match=r"task the waiter at test_virtual\.py:\d+, in forgotten"):
        virtually(main())


def test_a_deadlock_unwinds_what_waits() -> None:
    closed = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            closed.append(True)

    with pytest.raises(DeadlockError):
        virtually(main())
    assert closed == [True]


def test_sockets_are_waited_for_in_real_time() -> None:
    async def main() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return line

    assert virtually(main()) == b"hello\n"


def test_what_never_ends_is_stopped_after_a_century() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(365 * 86_400)

    with pytest.raises(DeadlockError, match="of virtual time have passed"):
        virtually(main())
