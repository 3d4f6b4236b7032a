"""The function program: how a body ends, leaves memory, and is stuck."""

from __future__ import annotations

import asyncio

import pytest
from tests.helpers import run, until

from stepwell import (
    Context,
    Event,
    NotDurableError,
    RunCancelledError,
    RunError,
    Signal,
    Stepwell,
    Stream,
    step,
    workflow,
)
from stepwell.runtime.options import WorkerOptions
from stepwell.testing import StepwellTest

go = Signal("go", int)
late = Event("late", int)
words = Stream("words", str)


@step
async def note(text: str) -> str:
    return text


@workflow
async def child(ctx: Context) -> str:
    return str(await ctx.receive(go))


# --- how it ends


@workflow
async def ends_with_tasks(ctx: Context) -> str:
    async def cleans_up() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(60)
            await note("cleaned")

    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(1)
    assert not task.done()
    return "done"


def test_tasks_that_are_left_over_are_cancelled_and_may_clean_up(stepwell: StepwellTest) -> None:
    ended = stepwell.run_sync(ends_with_tasks)

    assert (ended.result, ended.steps) == ("done", ["note"])


async def test_a_cancel_after_the_end_of_the_body_is_too_late(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(ends_with_tasks)
    await stepwell.sleep("30s")
    await handle.cancel("too late")

    assert await handle.result() == "done"


@workflow
async def cancels_itself(ctx: Context) -> None:
    raise asyncio.CancelledError


@workflow
async def waits(ctx: Context) -> int:
    return await ctx.receive(go)


async def test_only_a_cancel_from_outside_makes_a_run_cancelled(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(waits)
    await stepwell.sleep("1s")
    await handle.cancel("why not")
    with pytest.raises(RunCancelledError, match="why not"):
        await handle.result()

    assert (await stepwell.run(cancels_itself)).status == "failed"


@workflow(timeout="1h")
async def has_time(ctx: Context, how: str) -> str:
    if how == "own":
        raise TimeoutError("one of its own")
    if how == "sleep":
        await asyncio.sleep(7200)
    return how


@pytest.mark.parametrize(
    ("how", "message"), [("own", "one of its own"), ("sleep", "the run took longer than its timeout")]
)
def test_the_timeout_of_a_run_is_told_from_others(stepwell: StepwellTest, how: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        _ = stepwell.run_sync(has_time, how).result


def test_a_run_that_ends_in_time_knows_nothing_of_its_timeout(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(has_time, "at once").result == "at once"


# --- where it is stuck


@workflow
async def stuck(ctx: Context) -> None:
    await asyncio.Event().wait()


def test_a_body_that_nothing_can_move_is_told_its_place(stepwell: StepwellTest) -> None:
    with pytest.raises(NotDurableError, match=r"run stuck-1 waits at test_function\.py:\d+, in stuck"):
        stepwell.run_sync(stuck)


# --- giving up


@workflow
async def gives_up_a_step(ctx: Context) -> list[str]:
    task = asyncio.create_task(slow())
    await asyncio.sleep(1)
    task.cancel()
    return [await note("other"), await slow.options(name="again", timeout="1m")()]


@step
async def slow() -> str:
    await asyncio.sleep(30)
    return "slow"


def test_a_step_that_nobody_waits_for_is_dropped(stepwell: StepwellTest) -> None:
    ended = stepwell.run_sync(gives_up_a_step)

    assert (ended.result, ended.steps) == (["other", "slow"], ["note", "again"])


# --- leaving memory


@workflow
async def busy_while_unwound(ctx: Context) -> str:
    try:
        return str(await ctx.receive(go))
    finally:
        ctx.metadata["closing"] = True
        ctx.metadata.increment("closed")
        ctx.send(words, "bye")
        ctx.log.info("closing")
        ctx.patched("closing")
        await note("closing")


@workflow
async def asks_while_unwound(ctx: Context) -> str:
    started = await ctx.start(child)
    try:
        return str(await ctx.receive(go))
    finally:
        await started.cancel()
        await ctx.receive(late, timeout="1ms", default=0)
        await child()


@pytest.mark.parametrize("flow", [busy_while_unwound, asks_while_unwound])
def test_what_a_body_does_while_it_leaves_memory_does_not_count(flow: object) -> None:
    async def main() -> list[object]:
        options = WorkerOptions(cached_runs=0)
        async with Stepwell("memory://", include=[flow, child], worker_options=options) as app:
            handle = await app.start(flow)  # type: ignore[call-overload]
            await until(lambda: is_parked(app, handle.id))
            head = await handle.head()
            timeline = await app.runs.timeline(handle.id)
            await handle.cancel()
            return [dict(head.metadata), [type(item).__name__ for item in timeline.items if item.seq > 1]]

    metadata, items = run(main())

    assert metadata == {}
    assert set(items) <= {"ChildItem"}  # type: ignore[call-overload]


async def is_parked(app: Stepwell, id: str) -> bool:
    head = await app.runs.get(id)
    return head.status == "waiting" and head.owner is None


def test_a_body_that_was_unwound_goes_on_where_it_was() -> None:
    async def main() -> list[object]:
        options = WorkerOptions(cached_runs=0)
        async with Stepwell("memory://", include=[busy_while_unwound], worker_options=options) as app:
            handle = await app.start(busy_while_unwound)
            await until(lambda: is_parked(app, handle.id))
            await handle.send(go, 7)
            result = await handle.result(timeout=5)
            sent = [word async for word in handle.stream(words)]
            return [result, sent, sorted((await handle.head()).metadata)]

    assert run(main()) == ["7", ["bye"], ["closed", "closing"]]
