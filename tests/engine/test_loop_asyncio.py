"""asyncio, anyio and tenacity inside of a workflow body: as ever, durable, and in the same order each time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import tenacity
from tests.engine.loops import Run, finish, park

from stepwell.errors import NotDurableError, SpinError


async def after(seconds: float, value: Any = None) -> Any:
    await asyncio.sleep(seconds)
    return value


# --- asyncio ------------------------------------------------------------------------------------------------------


def test_sleep_is_a_timer() -> None:
    run = Run(lambda: after(90, "slept"))
    assert run.finish() == "slept"
    assert run.fired == [(1, 90_000, "sleep")]


def test_gather_waits_for_all() -> None:
    async def body() -> list[str]:
        return list(await asyncio.gather(after(2, "a"), after(1, "b"), after(3, "c")))

    run = Run(body)
    assert run.finish() == ["a", "b", "c"]
    assert [n for n, _, _ in run.fired] == [2, 1, 3]


def test_gather_collects_errors_if_asked() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def body() -> list[str]:
        return [type(result).__name__ for result in await asyncio.gather(fail(), after(1, 1), return_exceptions=True)]

    assert finish(body) == ["ValueError", "int"]


def test_a_child_that_fails_at_once_cancels_the_body_of_its_group() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def body() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(60)
        except ExceptionGroup:
            return "failed"
        return "slept"

    run = Run(body)
    assert run.finish() == "failed"
    assert run.elapsed == 0


def test_wait_takes_a_timeout_and_first_completed() -> None:
    async def body() -> tuple[int, int, int]:
        tasks = [asyncio.create_task(after(n)) for n in (1, 2, 3)]
        first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        second, rest = await asyncio.wait(tasks, timeout=1.5)
        await asyncio.wait(rest)
        return len(first), len(second), len(rest)

    assert finish(body) == (1, 2, 1)


def test_wait_for_and_timeout_expire_in_the_runs_time() -> None:
    async def body() -> list[str]:
        seen = []
        try:
            await asyncio.wait_for(after(9), 2)
        except TimeoutError:
            seen.append("wait_for")
        try:
            async with asyncio.timeout(3):
                await after(9)
        except TimeoutError:
            seen.append("timeout")
        return seen

    run = Run(body)
    assert run.finish() == ["wait_for", "timeout"]
    assert run.elapsed == 5000


def test_a_timeout_that_is_not_needed_leaves_no_timer() -> None:
    async def body() -> Any:
        async with asyncio.timeout(60):
            return await asyncio.wait_for(after(1, "in time"), 30)

    run = Run(body)
    assert run.finish() == "in time"
    assert run.elapsed == 1000


def test_shield_lets_the_inner_task_go_on() -> None:
    async def body() -> Any:
        inner = asyncio.create_task(after(5, "done"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(inner), 1)
        return await inner

    run = Run(body)
    assert run.finish() == "done"
    assert run.elapsed == 5000


def test_locks_semaphores_and_conditions_are_fair() -> None:
    async def body() -> list[str]:
        seen: list[str] = []
        lock, semaphore, condition = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Condition()

        async def work(name: str) -> None:
            async with semaphore:
                await asyncio.sleep(1)
            async with lock:
                seen.append(name)
                await asyncio.sleep(0)
            async with condition:
                await condition.wait_for(lambda: len(seen) == 4)

        async with asyncio.TaskGroup() as group:
            for name in "abcd":
                group.create_task(work(name))
            await asyncio.sleep(10)
            async with condition:
                condition.notify_all()
        return seen

    assert finish(body) == ["a", "b", "c", "d"]


def test_queues_events_and_barriers_work() -> None:
    async def body() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        ready, barrier, seen = asyncio.Event(), asyncio.Barrier(2), []

        async def produce() -> None:
            await ready.wait()
            for n in range(5):
                await queue.put(n)
            await barrier.wait()

        async def consume() -> None:
            ready.set()
            for _ in range(5):
                seen.append(await queue.get())
                await asyncio.sleep(1)
            await barrier.wait()

        await asyncio.gather(produce(), consume())
        return seen

    assert finish(body) == [0, 1, 2, 3, 4]


def test_cancelling_a_task_runs_its_cleanup() -> None:
    async def body() -> list[str]:
        seen = []

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as error:
                await asyncio.sleep(2)
                seen.append(str(error.args[0]))
                raise

        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        task.cancel("enough")
        await asyncio.wait([task])
        return [*seen, str(task.cancelled())]

    run = Run(body)
    assert run.finish() == ["enough", "True"]
    assert run.elapsed == 3000


def test_sleeping_for_ever_waits_for_no_timer() -> None:
    run = park(lambda: asyncio.sleep(float("inf")))
    assert run.loop.next_timer() is None
    run.loop.evict()


def test_a_body_can_run_no_loop_of_its_own() -> None:
    async def body() -> None:
        coro = asyncio.sleep(0)
        try:
            asyncio.run(coro)
        finally:
            coro.close()

    with pytest.raises(RuntimeError, match="running event loop"):
        finish(body)


# --- anyio --------------------------------------------------------------------------------------------------------


def test_anyio_scopes_expire_in_the_runs_time() -> None:
    async def body() -> tuple[bool, bool]:
        with anyio.move_on_after(2.1) as moved:
            await anyio.sleep(60)
        failed = False
        try:
            with anyio.fail_after(0.7):
                await anyio.sleep(60)
        except TimeoutError:
            failed = True
        return moved.cancelled_caught, failed

    run = Run(body)
    assert run.finish() == (True, True)
    assert run.elapsed == 2800


@pytest.mark.parametrize("milliseconds", [1, 3, 7, 33, 123, 333, 1001, 86_400_123])
def test_an_anyio_deadline_never_spins(milliseconds: int) -> None:
    async def body() -> bool:
        with anyio.move_on_after(milliseconds / 1000) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught

    run = Run(body)
    assert run.finish() is True
    assert run.elapsed == milliseconds


def test_a_shielded_cleanup_in_anyio_may_wait() -> None:
    async def body() -> list[str]:
        seen = []
        with anyio.move_on_after(1):
            try:
                await anyio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(2)
                    seen.append("cleaned")
        return seen

    run = Run(body)
    assert run.finish() == ["cleaned"]
    assert run.elapsed == 3000


def test_anyio_streams_and_events_work() -> None:
    async def body() -> list[int]:
        sender, receiver = anyio.create_memory_object_stream[int](2)

        async def send() -> None:
            async with sender:
                for n in range(4):
                    await sender.send(n)
                    await anyio.sleep(1)

        async with anyio.create_task_group() as group, receiver:
            group.start_soon(send)
            return [n async for n in receiver]

    assert finish(body) == [0, 1, 2, 3]


def test_an_anyio_thread_is_found_out_and_ends() -> None:
    async def body() -> None:
        await anyio.to_thread.run_sync(print, "")

    run = park(body)
    for thread in threading.enumerate():
        if thread.name == "AnyIO worker thread":
            thread.join(30)
    with pytest.raises(NotDurableError, match="call_soon_threadsafe"):
        run.loop.pump()
    run.loop.evict()


@pytest.mark.parametrize("is_shielded", [False, True])
def test_a_parked_anyio_group_leaves_memory(is_shielded: bool) -> None:
    async def body() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 60)
            with anyio.CancelScope(shield=is_shielded):
                await anyio.sleep(60)

    assert park(body).loop.evict() == []


# --- tenacity -----------------------------------------------------------------------------------------------------


def test_tenacity_waits_on_timers() -> None:
    async def body() -> int:
        attempts = 0
        retrying = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_exponential())
        async for attempt in retrying:
            with attempt:
                attempts += 1
                if attempts < 4:
                    raise ValueError("again")
        return attempts

    run = Run(body)
    assert run.finish() == 4
    assert [(due, name) for _, due, name in run.fired] == [(1000, "sleep"), (3000, "sleep"), (7000, "sleep")]


# --- bodies that do not behave ------------------------------------------------------------------------------------


def test_a_generator_that_never_waits_is_a_spin_error() -> None:
    async def ticks() -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(0)
            yield

    async def body() -> None:
        async for _ in ticks():
            pass

    run = Run(body)
    with pytest.raises(SpinError):
        run.loop.pump(500)
    run.loop.evict()


def test_a_refused_connection_fails_the_activation_though_a_library_swallows_it() -> None:
    async def body() -> str:
        try:
            await asyncio.open_connection("127.0.0.1", 9)
        except BaseException:
            return "offline"
        return "online"

    with pytest.raises(NotDurableError, match="create_connection"):
        park(body)
