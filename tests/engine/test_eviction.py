"""How a body leaves memory."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.engine.loops import forever, nothing_unraisable, park

from stepwell.engine.eviction import survivors
from stepwell.errors import Evicted

STATE: contextvars.ContextVar[str] = contextvars.ContextVar("state", default="")


async def waits_in_finally() -> None:
    try:
        await forever()
    finally:
        await asyncio.sleep(5)
        await asyncio.to_thread(print)


async def swallows_exceptions() -> None:
    while True:
        with contextlib.suppress(Exception):
            await asyncio.sleep(5)


async def spawns_while_unwinding() -> None:
    try:
        await forever()
    finally:
        task = asyncio.create_task(forever())
        asyncio.get_running_loop().call_later(5, print)
        await asyncio.gather(task, asyncio.sleep(1), return_exceptions=True)


async def groups() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(waits_in_finally())
        group.create_task(forever())
        await asyncio.wait_for(forever(), 10)


async def shields() -> None:
    try:
        await asyncio.shield(waits_in_finally())
    except asyncio.CancelledError:
        await asyncio.shield(forever())


async def sets_context() -> None:
    token = STATE.set("inside")
    try:
        await asyncio.create_task(asyncio.sleep(50))
    finally:
        STATE.reset(token)


async def in_generators() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            await forever()
        finally:
            await asyncio.sleep(1)

    async for _ in numbers():
        pass


async def holds_generators() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)

    generator = numbers()
    await anext(generator)
    await forever()


async def in_context_managers() -> None:
    @contextlib.asynccontextmanager
    async def resource() -> AsyncIterator[int]:
        token = STATE.set("held")
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            STATE.reset(token)

    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(60):
        await stack.enter_async_context(resource())
        await stack.enter_async_context(resource())
        await forever()


async def holds_locks() -> None:
    lock, event = asyncio.Lock(), asyncio.Event()
    async with lock:
        waiting = [asyncio.create_task(lock.acquire()), asyncio.create_task(event.wait())]
        await asyncio.wait(waiting)


async def raises_something_else() -> None:
    try:
        await forever()
    except BaseException:
        raise ValueError("no") from None


async def returns_at_once() -> None:
    try:
        await forever()
    except BaseException:
        return


async def forgets_coroutines() -> None:
    one, many, named = forever(), [forever(), forever()], {"a": forever()}
    await forever()
    await asyncio.gather(one, *many, *named.values())


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    try:
        await forever()
    finally:
        task.cancel()
        task.uncancel()
        await asyncio.sleep(1)


async def has_children_that_have_not_started() -> None:
    loop: Any = asyncio.get_running_loop()
    tasks = [asyncio.create_task(forever()) for _ in range(3)]
    loop.ready.clear()
    await asyncio.gather(*tasks)


HOSTILE = [
    waits_in_finally,
    swallows_exceptions,
    spawns_while_unwinding,
    groups,
    shields,
    sets_context,
    in_generators,
    holds_generators,
    in_context_managers,
    holds_locks,
    raises_something_else,
    returns_at_once,
    forgets_coroutines,
    cancels_itself,
    has_children_that_have_not_started,
]


@pytest.mark.parametrize("body", HOSTILE)
@pytest.mark.parametrize("is_inside_of_a_loop", [False, True])
def test_a_body_leaves_memory_without_a_trace(body: Any, is_inside_of_a_loop: bool) -> None:
    def evict() -> list[weakref.ref[Any]]:
        run = park(body)
        refs = [weakref.ref(task) for task in run.loop.live_tasks()] + [weakref.ref(run.loop)]
        assert run.loop.evict() == []
        assert run.loop.violation is None
        assert (run.loop.ready, run.loop.pending_timers(), run.loop.live_tasks()) == (type(run.loop.ready)(), [], [])
        assert run.logs == []
        return refs

    async def inside() -> list[weakref.ref[Any]]:
        return evict()

    with nothing_unraisable():
        refs = asyncio.run(inside()) if is_inside_of_a_loop else evict()
        gc.collect()
    assert [ref() for ref in refs if ref() is not None] == []


def test_a_body_that_swallows_everything_is_kept_and_counted() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(5)
            except BaseException:
                continue

    before = survivors()
    with nothing_unraisable():
        run = park(stubborn)
        described = run.loop.evict()
        del run
    assert survivors() == before + 1
    assert len(described) == 1
    assert described[0].startswith("task main of run run-1, at test_eviction.py:")


def test_a_body_that_retries_refused_calls_is_evicted_without_spinning() -> None:
    async def stubborn() -> None:
        await_thread = False
        while True:
            try:
                await (asyncio.to_thread(print) if await_thread else forever())
            except BaseException:
                await_thread = True

    with nothing_unraisable():
        assert len(park(stubborn).loop.evict()) == 1


def test_children_are_unwound_before_those_who_made_them() -> None:
    seen: list[str] = []

    async def wait(name: str) -> None:
        try:
            await forever()
        except Evicted:
            seen.append(name)
            raise

    async def body() -> None:
        children = [asyncio.create_task(wait(name)) for name in ("first", "second")]
        await wait("main")
        await asyncio.wait(children)

    park(body).loop.evict()
    assert seen == ["second", "first", "main"]


def test_a_body_is_unwound_as_its_own_task_on_its_own_loop() -> None:
    seen: list[bool] = []

    async def body() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            await forever()
        finally:
            seen.append(loop is asyncio.get_running_loop() and task is asyncio.current_task())

    park(body).loop.evict()
    assert seen == [True]


def test_eviction_is_idempotent_and_final() -> None:
    run = park(forever)
    run.loop.evict()
    assert run.loop.evict() == []
    with pytest.raises(AssertionError):
        run.loop.pump()
    with pytest.raises(LookupError):
        run.loop.fire(1, 1)


def test_after_eviction_nothing_is_recorded() -> None:
    run = park(forever)
    run.loop.evict()
    run.loop.call_soon(print)
    run.loop.call_later(5, print)
    run.loop.call_later(-5, print)
    run.loop.call_exception_handler({"message": "late"})
    run.loop.create_connection()
    assert (len(run.loop.ready), run.loop.pending_timers(), run.logs, run.loop.violation) == (0, [], [], None)


def test_ctrl_c_during_eviction_waits_for_its_end() -> None:
    seen: list[str] = []

    async def interrupted() -> None:
        try:
            await forever()
        finally:
            raise KeyboardInterrupt

    async def body() -> None:
        child = asyncio.create_task(interrupted())
        try:
            await child
        finally:
            seen.append("unwound")

    run = park(body)
    with pytest.raises(KeyboardInterrupt):
        run.loop.evict()
    assert seen == ["unwound"]
    assert asyncio._get_running_loop() is None
