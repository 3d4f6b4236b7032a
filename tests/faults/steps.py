"""Scenarios of what one run does by itself: steps, groups, timers, notes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from stepwell import Context, Retry, Stream, current_step, step, workflow
from tests.faults.play import Play, Scenario, did

LARGE = 20_000
"""Characters that a journal does not hold itself."""

body_lines = Stream("body lines", str)
step_lines = Stream("step lines", str)


@step(retry=None)
async def add(a: int, b: int) -> int:
    did()
    return a + b


@step(retry=None)
def multiply(a: int, b: int) -> int:
    did()
    return a * b


@step(retry=None)
async def take(seconds: int) -> int:
    did()
    await asyncio.sleep(seconds)
    return seconds


@step(retry=Retry(attempts=3, first_delay="1m", jitter=0))
async def third_time_lucky() -> int:
    did()
    if (attempt := current_step().attempt) < 3:
        raise ValueError(f"attempt {attempt}")
    return attempt


@step(retry=None)
async def fail(text: str) -> None:
    did()
    raise ValueError(text)


@step(retry=Retry(attempts=2, first_delay="1h", jitter=0))
async def count_up(to: int) -> int:
    did()
    here = current_step()
    done: int = here.last_progress or 0
    for n in range(done, to):
        if n == to // 2 and here.attempt == 1:
            raise ValueError("half way")
        await asyncio.sleep(10)
        here.heartbeat(n + 1)
    return to


@step(retry=None)
async def write(text: str) -> int:
    did()
    for n in range(3):
        current_step().send(step_lines, f"{text} {n}")
    return 3


@step(retry=Retry(attempts=2, first_delay="1m", jitter=0))
async def write_twice() -> None:
    did()
    here = current_step()
    here.send(step_lines, f"attempt {here.attempt}")
    if here.attempt == 1:
        raise ValueError("not yet")
    here.send(step_lines, "done")


@step(retry=None)
async def fill(text: str) -> str:
    did()
    return text * LARGE


@step(retry=None)
async def book(what: str) -> str:
    did()
    return f"{what} booked"


@book.compensate
async def unbook(booked: str, what: str) -> None:
    did()


@workflow
async def plain(ctx: Context, n: int) -> int:
    for _ in range(3):
        n = await add(n, 1)
    return await multiply(n, 2)


async def plain_steps(play: Play) -> object:
    return await play.run(plain, 1)


@workflow
async def gathering(ctx: Context) -> list[int]:
    return await asyncio.gather(take(3), add(1, 1), take(2), add(2, 2))


async def gather(play: Play) -> object:
    return await play.run(gathering)


@workflow
async def grouping(ctx: Context) -> str:
    said = "no error"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(add(1, 1))
            group.create_task(take(1000))
            group.create_task(fail("this one"))
    except* Exception as errors:
        said = ", ".join(map(str, errors.exceptions))
    return said


async def task_group_with_a_failure(play: Play) -> object:
    return await play.run(grouping)


@workflow
async def timing_out(ctx: Context) -> int:
    # Long, so that a step whose worker is taken over half way still begins before its time is up.
    try:
        async with asyncio.timeout(2 * 3600):
            await take(3 * 3600)
    except TimeoutError:
        return await add(1, 1)
    return 0


async def time_limit(play: Play) -> object:
    return await play.run(timing_out)


@workflow
async def retrying(ctx: Context) -> int:
    return await third_time_lucky()


async def retried_step(play: Play) -> object:
    return await play.run(retrying)


@workflow
async def failing(ctx: Context) -> int:
    await add(1, 1)
    await fail("for good")
    return 0


async def failed_step(play: Play) -> object:
    return await play.run(failing)


@workflow
async def counting(ctx: Context) -> int:
    return await count_up(4)


async def heartbeats(play: Play) -> object:
    return await play.run(counting)


@workflow
async def booking(ctx: Context) -> None:
    async with ctx.saga():
        await book("hotel")
        await book("flight")
        await fail("no car")


async def saga(play: Play) -> object:
    return await play.run(booking)


@workflow
async def mapping(ctx: Context) -> list[int]:
    return await ctx.map(take, [3, 1, 2, 5, 4], concurrency=2)


async def map_of_steps(play: Play) -> object:
    return await play.run(mapping)


@workflow
async def sleeping(ctx: Context, minutes: int) -> int:
    n = await add(minutes, 0)
    await ctx.sleep(timedelta(minutes=minutes))
    return await add(n, 1)


async def short_sleep(play: Play) -> object:
    return await play.run(sleeping, 1)


async def long_sleep(play: Play) -> object:
    return await play.run(sleeping, 60)


@workflow(tags={"team": "blue"})
async def noting(ctx: Context) -> int:
    ctx.metadata["state"] = "begun"
    await add(1, 1)
    ctx.metadata["state"] = "half way"
    ctx.metadata["extra"] = 1
    await ctx.sleep("1h")
    del ctx.metadata["extra"]
    ctx.metadata.increment("count", 5)
    return await add(2, 2)


async def metadata_and_tags(play: Play) -> object:
    handle = await play.start(noting, tags={"order": "7"}, metadata={"who": "me"})
    end = await play.end(handle)
    return [end, await play.again(handle.metadata)]


@workflow
async def streaming(ctx: Context) -> int:
    ctx.send(body_lines, "first")
    await write("a")
    ctx.send(body_lines, "second")
    ctx.send(body_lines, "third")
    await ctx.sleep("1h")
    ctx.send(body_lines, "fourth")
    await write_twice()
    ctx.send(body_lines, "last")
    return 1


SENT_BY_BODY = ["first", "second", "third", "fourth", "last"]
SENT_BY_STEPS = ["a 0", "a 1", "a 2", "attempt 2", "done"]


async def streams(play: Play) -> object:
    handle = await play.start(streaming)
    end = await play.end(handle)
    return [end, await play.read(handle, body_lines), await play.read(handle, step_lines)]


@workflow
async def filling(ctx: Context, text: str) -> int:
    long = await fill("a")
    await ctx.sleep("1h")
    ctx.metadata["large"] = "m" * LARGE
    return len(text) + len(long) + len(await fill("b"))


async def large_payloads(play: Play) -> object:
    return await play.run(filling, "i" * LARGE)


@workflow
async def large_results(ctx: Context) -> str:
    return await fill("r") + "!"


async def large_result(play: Play) -> object:
    return len(str(await play.run(large_results)))


@workflow
async def patching(ctx: Context) -> list[int]:
    values = [await add(1, 1)]
    if ctx.patched("more"):
        values.append(await add(2, 2))
    await ctx.sleep("1h")
    if ctx.patched("even more"):
        values.append(await add(3, 3))
    return values


async def patches(play: Play) -> object:
    return await play.run(patching)


SCENARIOS = [
    Scenario("plain steps", plain_steps, (plain,), 8),
    Scenario("gather", gather, (gathering,), [3, 2, 2, 4], is_concurrent=True),
    Scenario(
        "a task group with a failure",
        task_group_with_a_failure,
        (grouping,),
        "step fail failed after 1 attempt: ValueError: this one",
        is_concurrent=True,
    ),
    Scenario("a time limit", time_limit, (timing_out,), 2),
    Scenario("a retried step", retried_step, (retrying,), 3),
    Scenario("a failed step", failed_step, (failing,), ["RunError", "ValueError: for good"]),
    Scenario("heartbeats", heartbeats, (counting,), 4),
    Scenario("a saga", saga, (booking,), ["RunError", "ValueError: no car"]),
    Scenario("a map", map_of_steps, (mapping,), [3, 1, 2, 5, 4], is_concurrent=True),
    Scenario("a short sleep", short_sleep, (sleeping,), 2),
    Scenario("a long sleep", long_sleep, (sleeping,), 61),
    Scenario("a long sleep, replayed", long_sleep, (sleeping,), 61, cached_runs=0),
    Scenario("metadata and tags", metadata_and_tags, (noting,), [4, {"count": 5, "state": "half way", "who": "me"}]),
    Scenario("streams", streams, (streaming,), [1, SENT_BY_BODY, SENT_BY_STEPS]),
    Scenario("streams, replayed", streams, (streaming,), [1, SENT_BY_BODY, SENT_BY_STEPS], cached_runs=0),
    Scenario("large payloads", large_payloads, (filling,), 60000, cached_runs=0),
    Scenario("a large result", large_result, (large_results,), 20001),
    Scenario("patches", patches, (patching,), [2, 4, 6], cached_runs=0),
]
