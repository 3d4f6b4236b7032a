"""The deterministic loop by itself: pumping, tasks, and errors that nobody awaits."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.engine.loops import Run, finish, forever, nothing_unraisable, park

from stepwell.engine.loop import WorkflowLoop, WorkflowTask
from stepwell.errors import NonDeterminismError, SpinError

# --- pumping


def test_a_pump_runs_what_is_ready_in_order() -> None:
    loop, seen = WorkflowLoop(), []
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.call_soon, seen.append, 3)
    loop.call_soon(seen.append, 2)
    loop.pump()
    assert seen == [1, 2, 3]
    assert not loop.ready


def test_a_cancelled_handle_does_not_run() -> None:
    loop, seen = WorkflowLoop(), []
    handle = loop.call_soon(seen.append, 1)
    assert not handle.cancelled()
    handle.cancel()
    loop.pump()
    assert handle.cancelled()
    assert seen == []
    assert "Handle" in repr(handle)


def test_the_loop_is_the_running_one_only_while_pumped() -> None:
    loop, seen = WorkflowLoop(), []
    loop.call_soon(lambda: seen.append((asyncio.get_running_loop() is loop, loop.is_running())))
    loop.pump()
    assert seen == [(True, True)]
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None


def test_a_pump_inside_of_a_real_loop_puts_everything_back() -> None:
    async def outer() -> bool:
        here, task, hooks = asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks()
        assert finish(inner) == "main"
        return (
            here is asyncio.get_running_loop() and task is asyncio.current_task() and hooks == sys.get_asyncgen_hooks()
        )

    async def inner() -> str:
        await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    assert asyncio.run(outer())


def test_a_pump_works_from_a_callback_of_a_real_loop() -> None:
    async def outer() -> object:
        loop = asyncio.get_running_loop()
        result = loop.create_future()
        loop.call_soon(lambda: result.set_result(finish(lambda: asyncio.sleep(1, "slept"))))
        return await result

    assert asyncio.run(outer()) == "slept"


def test_a_pump_that_fails_puts_everything_back_too() -> None:
    loop = WorkflowLoop()
    loop.call_soon(sys.exit, 3)
    hooks = sys.get_asyncgen_hooks()
    with pytest.raises(SystemExit):
        loop.pump()
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == hooks


def test_the_body_starts_from_an_empty_context_and_children_inherit() -> None:
    color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")
    color.set("outer")

    async def child() -> str:
        return color.get()

    async def body() -> tuple[str, str]:
        before = color.get()
        color.set("body")
        return before, await asyncio.create_task(child())

    assert finish(body) == ("none", "body")


def test_a_body_that_never_waits_is_a_spin_error_with_its_place() -> None:
    async def body() -> None:
        while True:
            await asyncio.sleep(0)

    run = Run(body)
    with pytest.raises(SpinError, match=r"run-1 went on for 1000 callbacks .* task main at test_loop.py:\d+, in body"):
        run.loop.pump(1000)
    assert isinstance(run.loop.violation, SpinError)
    run.loop.evict()


def test_a_callback_that_reschedules_itself_is_named_in_the_spin_error() -> None:
    loop = WorkflowLoop()

    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    with pytest.raises(SpinError, match="again"):
        loop.pump(100)


def test_a_budget_that_is_just_enough_is_enough() -> None:
    loop, seen = WorkflowLoop(), []
    for n in range(10):
        loop.call_soon(seen.append, n)
    loop.pump(10)
    assert len(seen) == 10


def test_an_error_in_a_callback_is_logged_and_the_rest_goes_on() -> None:
    logs: list[str] = []
    loop, seen = WorkflowLoop(name="r", on_log=logs.append), []
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(seen.append, 1)
    loop.pump()
    assert seen == [1]
    assert "ZeroDivisionError" in logs[0]


def test_an_activation_error_in_a_callback_ends_the_pump() -> None:
    loop = WorkflowLoop()

    def refuse() -> None:
        raise NonDeterminismError("no")

    loop.call_soon(refuse)
    with pytest.raises(NonDeterminismError):
        loop.pump()
    assert isinstance(loop.violation, NonDeterminismError)


def test_an_activation_error_that_ends_a_task_comes_out_of_the_pump() -> None:
    async def body() -> None:
        raise NonDeterminismError("no")

    with pytest.raises(NonDeterminismError):
        park(body)


def test_the_owner_can_refuse_and_the_body_cannot_hide_it() -> None:
    async def body() -> str:
        loop: Any = asyncio.get_running_loop()
        try:
            loop.refuse(NonDeterminismError("no"))
        except BaseException:
            return "hidden"

    with pytest.raises(NonDeterminismError):
        park(body)


# --- tasks


def test_tasks_are_named_by_the_loop_unless_they_are_named() -> None:
    async def body() -> list[str]:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]
        tasks.append(asyncio.create_task(asyncio.sleep(0), name="mine"))
        await asyncio.wait(tasks)
        return [task.get_name() for task in tasks]

    assert finish(body) == finish(body) == ["task-2", "task-3", "mine"]


def test_live_tasks_are_in_creation_order_and_done_ones_leave() -> None:
    async def body() -> None:
        quick = asyncio.create_task(asyncio.sleep(0), name="quick")
        await asyncio.gather(asyncio.create_task(forever(), name="a"), asyncio.create_task(forever(), name="b"), quick)

    run = park(body)
    assert [task.get_name() for task in run.loop.live_tasks()] == ["main", "a", "b"]
    assert all(isinstance(task, WorkflowTask) for task in run.loop.live_tasks())
    assert len(run.loop._tasks) == 3
    run.loop.evict()


def test_eager_start_is_ignored() -> None:
    async def body() -> bool:
        loop: Any = asyncio.get_running_loop()
        task = loop.create_task(asyncio.sleep(0), eager_start=True)
        return bool(task.done())

    assert finish(body) is False


def test_something_that_is_not_a_coroutine_is_refused_as_by_asyncio() -> None:
    async def body() -> None:
        await asyncio.create_task(print)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="coroutine was expected"):
        finish(body)


def test_a_task_that_cancels_itself_makes_the_loop_slow() -> None:
    async def body() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    run = Run(body)
    assert run.loop.fast
    run.loop.pump()
    assert not run.loop.fast


def test_a_task_that_is_cancelled_by_another_leaves_the_loop_fast() -> None:
    async def body() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    run = Run(body)
    run.finish()
    assert run.loop.fast


def test_hashes_are_numbers_of_first_use_so_unseen_futures_do_not_shift_them() -> None:
    def hashes(unseen: int) -> list[int]:
        loop = WorkflowLoop(salt=7)
        for _ in range(unseen):
            loop.create_future()
        return [hash(future) for future in (loop.create_future(), loop.create_future())]

    assert hashes(0) == hashes(5) == [(7 << 16) + 1, (7 << 16) + 2]


def test_a_hash_stays_the_same() -> None:
    loop = WorkflowLoop()
    future = loop.create_future()
    assert hash(future) == hash(future)
    assert {future: 1}[future] == 1


def test_tasks_are_in_no_set_that_spans_the_process() -> None:
    runs = [park(forever) for _ in range(100)]
    assert [asyncio.all_tasks(run.loop) for run in runs] == [set()] * 100
    for run in runs:
        run.loop.evict()


def test_a_task_is_hashed_by_address_while_asyncio_registers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type] = []
    loop = WorkflowLoop()
    monkeypatch.setattr(loop, "_push", lambda handle: seen.append(type(handle._callback.__self__)))
    task = loop.spawn(forever(), "main")
    assert seen[0].__hash__ is object.__hash__ or seen[0].__hash__ is asyncio.Task.__hash__
    assert type(task) is WorkflowTask
    loop.evict()


# --- what nobody awaits


def test_a_lost_exception_is_logged_with_run_and_task() -> None:
    async def lose() -> None:
        raise ValueError("gone")

    async def body() -> None:
        loser = asyncio.create_task(lose(), name="loser")
        await asyncio.sleep(1)
        assert loser.done()

    run = Run(body)
    run.finish()
    gc.collect()
    assert run.logs == ["run run-1: Task exception was never retrieved, in task loser: ValueError: gone"]


def test_the_bodys_own_handler_gets_what_is_lost_while_it_runs() -> None:
    seen: list[str] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(context["message"]))
        assert loop.get_exception_handler() is not None
        loop.call_exception_handler({"message": "inside"})

    run = Run(body)
    run.finish()
    run.loop.call_exception_handler({"message": "outside"})
    assert seen == ["inside"]
    assert run.logs == ["run run-1: outside"]


def test_a_handler_that_fails_is_logged() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: 1 / 0)
        loop.call_exception_handler({"message": "inside"})

    run = Run(body)
    run.finish()
    assert "ZeroDivisionError" in run.logs[0]


def test_a_dropped_asynchronous_generator_is_not_finished_and_is_logged_once() -> None:
    ended: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("finally")
            await asyncio.sleep(0)

    async def body() -> None:
        for _ in range(2):
            async for _ in numbers():
                break
        gc.collect()

    async def outer() -> list[str]:
        run = Run(body)
        run.finish()
        gc.collect()
        await asyncio.sleep(0)
        return run.logs

    with nothing_unraisable():
        logs = asyncio.run(outer())
    assert ended == []
    assert len(logs) == 1
    assert "numbers was dropped before its end" in logs[0]
    assert "contextlib.aclosing" in logs[0]


def test_a_closed_asynchronous_generator_runs_its_cleanup() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)

    async def body() -> int:
        async with contextlib.aclosing(numbers()) as closing:  # type: ignore[type-var]
            async for number in closing:
                return number
        return 0

    run = Run(body)
    assert run.finish() == 1
    assert run.elapsed == 1000


def test_errors_may_have_no_exception_and_nobody_to_read_them() -> None:
    logs: list[str] = []
    WorkflowLoop(name="r", on_log=logs.append).call_exception_handler({})
    WorkflowLoop(name="r").call_exception_handler({"message": "unread"})
    assert logs == ["run r: Unhandled exception in event loop"]
