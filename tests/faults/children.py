"""Scenarios of runs that start runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from stepwell import Context, Signal, workflow
from tests.faults.play import Play, Scenario
from tests.faults.steps import LARGE, add, fail, fill, take

go = Signal("go", int)


@workflow
async def doubling(ctx: Context, n: int) -> int:
    return await add(n, n)


@workflow
async def lasting(ctx: Context, hours: int) -> int:
    try:
        await ctx.sleep(timedelta(hours=hours))
    except asyncio.CancelledError:
        await add(hours, 100)
        raise
    return hours


@workflow
async def breaking(ctx: Context) -> int:
    await fail("in the child")
    return 0


@workflow
async def grandparent(ctx: Context, n: int) -> int:
    return await parent(n) + await parent(n + 1)


@workflow
async def parent(ctx: Context, n: int) -> int:
    return sum(await asyncio.gather(doubling(n), doubling(10 * n)))


@workflow
async def caller(ctx: Context) -> int:
    return await add(await doubling(1), await doubling(2))


async def awaited_child(play: Play) -> object:
    return await play.run(caller)


async def children_of_children(play: Play) -> object:
    return await play.run(grandparent, 1)


@workflow
async def disappointed(ctx: Context) -> str:
    try:
        await breaking()
    except Exception as error:
        await add(1, 1)
        return type(error).__name__
    return "no error"


async def failing_child(play: Play) -> object:
    return await play.run(disappointed)


@workflow
async def leaving(ctx: Context, on_parent_end: str) -> int:
    child = await ctx.start(lasting, 5, id="child", on_parent_end=on_parent_end)  # type: ignore[arg-type]
    assert child.id == "child"
    await ctx.sleep("1h")
    return await add(1, 1)


async def cancelled_child(play: Play) -> object:
    """It goes down with its parent."""
    end = await play.run(leaving, "cancel")
    return [end, await play.end(play.app.handle("child"))]


async def detached_child(play: Play) -> object:
    """It outlives its parent."""
    end = await play.run(leaving, "abandon")
    return [end, await play.end(play.app.handle("child"))]


@workflow
async def impatient(ctx: Context) -> str:
    try:
        async with asyncio.timeout(3600):
            await lasting(5)
    except TimeoutError:
        return f"late {await add(1, 1)}"
    return "in time"


async def child_past_its_time(play: Play) -> object:
    return await play.run(impatient)


@workflow
async def listener(ctx: Context) -> int:
    return await ctx.receive(go)


@workflow
async def conversing(ctx: Context) -> int:
    child = await ctx.start(listener)
    await child.send(go, await add(20, 3))
    return await child.result()


async def signal_to_a_child(play: Play) -> object:
    return await play.run(conversing)


@workflow
async def hiring(ctx: Context) -> list[int]:
    return await ctx.map(doubling, [1, 2, 3], concurrency=2)


async def map_of_children(play: Play) -> object:
    return await play.run(hiring)


@workflow
async def echoing(ctx: Context, text: str) -> str:
    return await fill(text[0])


@workflow
async def shouting(ctx: Context) -> int:
    return len(await echoing("x" * LARGE))


async def large_child(play: Play) -> object:
    return await play.run(shouting)


@workflow
async def stubborn(ctx: Context) -> str:
    try:
        await ctx.start(doubling, 1, id="taken")
    except Exception as error:
        return type(error).__name__
    return "no error"


async def child_with_a_taken_id(play: Play) -> object:
    first = await play.run(doubling, 7, id="taken")
    return [first, await play.run(stubborn)]


@workflow
async def stopping(ctx: Context) -> int:
    return sum(await asyncio.gather(lasting(8), take(10 * 3600)))


async def cancelled_parent(play: Play) -> object:
    handle = await play.start(stopping)
    await play.began("take")
    await play.until(lambda: len(play.world.runs) == 2)
    await play.again(lambda: play.app.runs.cancel(handle.id, "enough", request_id="r"))
    return await play.end(handle)


SCENARIOS = [
    Scenario("an awaited child", awaited_child, (caller, doubling), 6),
    Scenario("an awaited child, replayed", awaited_child, (caller, doubling), 6, cached_runs=0),
    Scenario("children of children", children_of_children, (grandparent, parent, doubling), 66, is_concurrent=True),
    Scenario("a failing child", failing_child, (disappointed, breaking), "RunError"),
    Scenario(
        "a child that goes down with its parent",
        cancelled_child,
        (leaving, lasting),
        [2, ["RunCancelledError", "cancelled: the parent run ended"]],
    ),
    Scenario("a detached child", detached_child, (leaving, lasting), [2, 5]),
    Scenario("a child past its time", child_past_its_time, (impatient, lasting), "late 2"),
    Scenario("a signal to a child", signal_to_a_child, (conversing, listener), 23),
    Scenario("a map of children", map_of_children, (hiring, doubling), [2, 4, 6], is_concurrent=True),
    Scenario("a large child", large_child, (shouting, echoing), 20000),
    Scenario("a child with a taken id", child_with_a_taken_id, (stubborn, doubling), [14, "RunConflictError"]),
    Scenario(
        "a cancelled parent",
        cancelled_parent,
        (stopping, lasting),
        ["RunCancelledError", "cancelled: enough"],
        is_concurrent=True,
    ),
]
