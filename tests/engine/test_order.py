"""asyncio and anyio go in the same order each time, in every process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from tests.engine.loops import finish, nothing_unraisable, park

from stepwell.errors import NotDurableError


async def after(seconds: float, value: Any = None) -> Any:
    await asyncio.sleep(seconds)
    return value


async def fail_among(cancelled: list[int], count: int = 12) -> None:
    async def child(n: int) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(n)
            await asyncio.sleep(1)
            raise

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("no")

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for n in range(count):
                group.create_task(child(n))
            group.create_task(fail())


async def in_done_order(count: int = 12) -> list[str]:
    tasks = [asyncio.create_task(after(1), name=str(n)) for n in range(count)]
    done, _ = await asyncio.wait(tasks)
    return [task.get_name() for task in done]


def order_of_everything() -> list[Any]:
    """What the orders in this file are, in one value."""
    cancelled: list[int] = []
    finish(lambda: fail_among(cancelled, 40))
    return [cancelled, finish(lambda: in_done_order(40)), finish(anyio_group_order), finish(as_completed_order)]


def test_a_task_group_cancels_siblings_in_the_order_of_their_creation() -> None:
    cancelled: list[int] = []
    finish(lambda: fail_among(cancelled))
    assert cancelled == list(range(12))


def test_the_done_set_of_wait_is_in_the_order_of_creation() -> None:
    assert finish(in_done_order) == [str(n) for n in range(12)]


def test_order_is_the_same_each_time_in_one_process() -> None:
    litter: list[Any] = []
    first = order_of_everything()
    for size in range(3):
        litter.append([object() for _ in range(1000 * size)])
        assert order_of_everything() == first


async def anyio_group_order() -> list[int]:
    cancelled: list[int] = []

    async def child(n: int) -> None:
        try:
            await anyio.sleep(60)
        except BaseException:
            cancelled.append(n)
            raise

    async with anyio.create_task_group() as group:
        for n in range(12):
            group.start_soon(child, n)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    return cancelled


def test_an_anyio_group_cancels_in_the_order_of_creation() -> None:
    assert finish(anyio_group_order) == list(range(12))


async def as_completed_order() -> list[str]:
    tasks = [asyncio.create_task(after(1, str(n))) for n in range(12)]
    return [await task for task in asyncio.as_completed(tasks)]


def test_as_completed_takes_tasks() -> None:
    assert finish(as_completed_order) == [str(n) for n in range(12)]


def test_as_completed_refuses_bare_coroutines_with_the_cure() -> None:
    async def body() -> None:
        for task in asyncio.as_completed([after(1), after(2)]):
            await task

    expected = r"as_completed\(\) shuffles bare coroutines.* or use ctx.map \(at test_order.py:\d+, in body\)"
    with nothing_unraisable(), pytest.raises(NotDurableError, match=expected):
        park(body)


def test_as_completed_takes_what_a_generator_makes_tasks_of() -> None:
    class Tasks:
        def __iter__(self) -> Iterator[asyncio.Task[int]]:
            return (asyncio.ensure_future(after(n, n)) for n in (2, 1))

    async def body() -> list[int]:
        return [await task for task in asyncio.as_completed(Tasks())]

    assert finish(body) == [1, 2]


def test_anyio_children_that_report_their_start_are_in_order_too() -> None:
    cancelled: list[int] = []

    async def child(n: int, *, task_status: anyio.abc.TaskStatus[int]) -> None:
        task_status.started(n)
        try:
            await anyio.sleep(60)
        finally:
            cancelled.append(n)

    async def body() -> list[int]:
        async with anyio.create_task_group() as group:
            with anyio.CancelScope():
                started = [await group.start(child, n) for n in range(12)]
            group.start_soon(anyio.sleep, 0)
            with anyio.move_on_after(1):
                await anyio.sleep(60)
            group.cancel_scope.cancel()
        return started

    assert finish(body) == cancelled == list(range(12))


def test_order_does_not_depend_on_the_process() -> None:
    program = "from tests.engine.test_order import order_of_everything; print(order_of_everything())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(outputs) == 1
