"""What a body gets from its context has the type that it was declared with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, assert_type
from uuid import UUID

from stepwell import (
    ChildHandle,
    Context,
    Event,
    Hook,
    HookRequest,
    HookResponse,
    Outcome,
    Secret,
    Signal,
    Stream,
    current_run,
    step,
    workflow,
)

note = Signal("note", str)
paid = Event("paid", int)
tokens = Stream("tokens", str)


@step
async def double(x: int) -> float:
    return x * 2


async def helper(x: int) -> str:
    assert_type(current_run(), Context)
    return str(x)


@workflow
async def messages(ctx: Context) -> None:
    assert_type(await ctx.receive(note), str)
    assert_type(await ctx.receive(note, timeout="1h"), str)
    assert_type(await ctx.receive(note, timeout="1h", default=None), str | None)
    assert_type(await ctx.receive(paid, where={"order": 7}), int)
    assert_type(ctx.receive_all(note), AsyncIterator[str])
    async for value in ctx.receive_all(paid):
        assert_type(value, int)
    hook = await ctx.create_hook(int, token="0123456789", timeout=timedelta(hours=1))
    assert_type(hook, Hook[int])
    assert_type(await hook, int)
    assert_type(hook.url, str)
    async for value in hook:
        assert_type(value, int)
    asked = await ctx.create_hook(HookRequest, respond=True, signed_by=Secret("shop"), methods=["GET"])
    request = await asked
    assert_type(request, HookRequest)
    assert_type(request.json(int), int)
    assert_type(request.json(), Any)
    assert_type(request.form(), dict[str, str])
    asked.respond(request, HookResponse.json({"a": 1}, headers={"x": "y"}))
    ctx.send(tokens, "x")


@workflow
async def fan_out(ctx: Context) -> None:
    assert_type(await ctx.map(double, [1, 2]), list[float])
    assert_type(await ctx.map(helper, range(3), concurrency=2, key=lambda x: x), list[str])
    assert_type(await ctx.map(double, [1], settle=True), list[Outcome[float]])
    async for result in ctx.map(double, [1]):
        assert_type(result, float)
    async for outcome in ctx.map(double, [1], settle=True):
        assert_type(outcome.value, float | None)
        assert_type(outcome.error, Exception | None)
    number, text, more = await asyncio.gather(double(1), helper(2), double.fn(3))
    assert_type(number, float)
    assert_type(text, str)
    assert_type(more, float)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(double(1))
    assert_type(task.result(), float)


@workflow
async def time_and_chance(ctx: Context) -> None:
    await ctx.sleep("24h")
    await ctx.sleep(timedelta(days=1))
    await ctx.sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
    assert_type(ctx.now(), datetime)
    assert_type(ctx.random, Random)
    assert_type(ctx.uuid4(), UUID)
    assert_type(ctx.patched("x"), bool)
    ctx.metadata["k"] = {"any": "thing"}
    ctx.metadata.increment("n", 2)
    ctx.metadata.append("list", "x")
    async with ctx.saga() as saga:
        await saga.compensate()


@workflow
async def endless(ctx: Context, count: int) -> int:
    ctx.continue_as_new(count + 1)


async def child(handle: ChildHandle[int]) -> None:
    assert_type(await handle.result(), int)
    await handle.send(note, "x")
    await handle.cancel()


anything: Signal[Any] = Signal("anything")
