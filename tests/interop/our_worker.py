"""Workflows of ours as a step worker: what the orchestrator of the system that we replace must be able to drive."""

import asyncio
from typing import Any

from stepwell import Context, Event, Retry, RunError, Signal, Stepwell, Stream, current_step, step, workflow

approve = Signal("approve")
x, y, tick = Event("x"), Event("y"), Event("tick")
log = Stream("log", str)


@step
async def load(n: int) -> dict[str, int]:
    return {"total": n * 2}


@workflow
async def basic(ctx: Context, input: dict[str, int]) -> dict[str, Any]:
    loaded = await load(input["n"])
    ctx.metadata["phase"] = "loaded"
    ctx.metadata.increment("n", 2)
    ctx.metadata.append("log", "a")
    number, uuid, before = ctx.random.random(), str(ctx.uuid4()), ctx.now()
    await ctx.sleep("60ms")
    slept = (ctx.now() - before).total_seconds()
    approval = await ctx.receive(approve, timeout="1d")
    ctx.metadata.increment("n")
    tags, environment = dict(ctx.info.tags), ctx.info.environment
    return {
        "loaded": loaded,
        "random": number,
        "uuid": uuid,
        "slept": slept >= 0.05,
        "approval": approval,
        "tags": tags,
        "environment": environment,
    }


@workflow
async def several(ctx: Context) -> list[Any]:
    return await asyncio.gather(ctx.receive(x), ctx.receive(y), ctx.sleep("30ms"))


@workflow
async def ticks(ctx: Context) -> list[Any]:
    return [item async for item in ctx.receive_all(tick)]


@workflow
async def child(ctx: Context, value: int) -> int:
    await asyncio.sleep(0.02)
    if value < 0:
        raise ValueError("child bad")
    return value * 10


@workflow
async def parent(ctx: Context) -> list[Any]:
    value = await child(4)
    await ctx.start(child, 5, on_parent_end="abandon")
    try:
        await child(-1)
    except RunError as error:
        return [value, "child bad" in str(error)]
    return []


@step
async def reserve() -> int:
    return 1


@reserve.compensate
async def release(_: int) -> None: ...


@workflow
async def saga(ctx: Context) -> None:
    async with ctx.saga():
        await reserve()
        raise ValueError("ship failed")


@step(retry=Retry(attempts=3, first_delay="1.2s", jitter=0))
async def shaky() -> int:
    attempt = current_step().attempt
    if attempt < 2:
        raise ValueError("again")
    return attempt


@workflow
async def flaky(ctx: Context) -> int:
    return await shaky()


@workflow
async def token(ctx: Context) -> list[str]:
    hook = await ctx.create_hook(str)
    return [hook.token, await hook]


@workflow
async def streams(ctx: Context) -> str:
    ctx.send(log, "a")
    await ctx.sleep("10ms")
    ctx.send(log, "b")
    return "done"


@step
async def square(n: int) -> int:
    return n * n


@workflow
async def parallel(ctx: Context) -> list[int]:
    return await ctx.map(square, [1, 2, 3], concurrency=2)


app = Stepwell("memory://", include=[__name__])
