"""Scenarios of what people do to runs, and of runs that begin again."""

from __future__ import annotations

import asyncio

from stepwell import Context, Retry, RunNotFoundError, Signal, Stream, step, workflow
from tests.faults.children import doubling, lasting
from tests.faults.play import Play, Scenario, did
from tests.faults.steps import add, fill, take

item = Signal("item", int)
turns = Stream("turns", int)


@workflow
async def pausing(ctx: Context) -> int:
    first = await ctx.receive(item)
    return await add(first, await ctx.receive(item))


async def pause_and_resume(play: Play) -> object:
    """A signal that comes meanwhile waits, too."""
    handle = await play.start(pausing)
    await play.waits(handle.id, "signal")
    await play.again(lambda: play.app.runs.pause(handle.id, request_id="p"))
    await play.has_status(handle.id, "paused")
    await play.again(lambda: handle.send(item, 1, id="a"))
    await play.again(lambda: handle.send(item, 2, id="b"))
    await play.has_status(handle.id, "paused")
    await play.again(lambda: play.app.runs.resume(handle.id, request_id="r"))
    return await play.end(handle)


@workflow
async def tidying(ctx: Context) -> int:
    try:
        await add(1, 1)
        await take(10 * 3600)
    finally:
        await add(2, 2)
        ctx.metadata["tidy"] = True
    return 0


async def cancel_with_cleanup(play: Play) -> object:
    handle = await play.start(tidying)
    await play.began("take")
    await play.again(lambda: play.app.runs.cancel(handle.id, "enough", request_id="c"))
    return await play.end(handle)


@workflow
async def dawdling(ctx: Context) -> int:
    try:
        await ctx.sleep("100h")
    finally:
        await take(100 * 3600)
    return 0


async def cancel_with_grace(play: Play) -> object:
    handle = await play.start(dawdling)
    await play.waits(handle.id, "timer")
    await play.again(lambda: play.app.runs.cancel(handle.id, "enough", grace="3h", request_id="c"))
    return await play.end(handle)


async def run_past_its_time(play: Play) -> object:
    return await play.run(tidying, timeout="3h")


async def pause_during_a_step(play: Play) -> object:
    """The step ends meanwhile; what follows from that waits."""
    handle = await play.start(halting)
    await play.began("take")
    await play.again(lambda: play.app.runs.pause(handle.id, request_id="p"))
    await play.has_status(handle.id, "paused")
    await play.again(lambda: play.app.runs.resume(handle.id, request_id="r"))
    return await play.end(handle)


@workflow
async def halting(ctx: Context) -> int:
    return await add(await take(3 * 3600), 1)


async def terminate(play: Play) -> object:
    handle = await play.start(tidying)
    await play.began("take")
    await play.again(lambda: play.app.runs.terminate(handle.id, "at once", request_id="t"))
    return await play.end(handle)


@workflow
async def turning(ctx: Context, turn: int) -> int:
    """Takes one item a turn, whatever has come by then."""
    ctx.metadata["turn"] = turn
    ctx.send(turns, turn)
    if turn == 1:
        await take(2 * 3600)
    value = await ctx.receive(item)
    ctx.send(turns, 10 * turn)
    total = await add(turn, value)
    ctx.send(turns, 100 * turn)
    if value:
        ctx.continue_as_new(turn + 1)
    return total


async def generations(play: Play) -> object:
    """The messages are there in the first one, and are read in the others."""
    handle = await play.start(turning, 1)
    await play.began("take")
    for value, id in ((5, "a"), (6, "b"), (0, "c")):
        await play.again(lambda value=value, id=id: handle.send(item, value, id=id))  # type: ignore[misc]
    return await play.end(handle)


async def streaming_generations(play: Play) -> object:
    handle = await play.start(turning, 2)
    for n, value in enumerate((5, 6, 0), 1):
        await play.waits(handle.id, "signal")
        await play.again(lambda value=value: handle.send(item, value, id=str(value)))  # type: ignore[misc]
        await play.until(lambda n=n: play.world.runs[handle.id].head.mail == n)  # type: ignore[misc]
    return await play.end(handle)


@workflow
async def sending_and_turning(ctx: Context, turn: int) -> int:
    """Its last chunks share a frame with the next generation."""
    await add(turn, 0)
    ctx.send(turns, turn)
    ctx.send(turns, turn + 10)
    if turn < 3:
        ctx.continue_as_new(turn + 1)
    return turn


async def chunks_of_a_last_frame(play: Play) -> object:
    handle = await play.start(sending_and_turning, 1)
    end = await play.end(handle)
    return [end, await play.read(handle, turns)]


@workflow
async def hiring_and_turning(ctx: Context, turn: int) -> int:
    n = await doubling(turn)
    await ctx.start(lasting, 8)
    if turn < 2:
        ctx.continue_as_new(turn + 1)
    return n


async def generations_with_children(play: Play) -> object:
    return await play.run(hiring_and_turning, 1)


@workflow
async def giving_up(ctx: Context) -> int:
    n = await add(1, 1)
    text = await fill("p")
    return await stubborn(n + len(text))


@step(retry=None)
async def stubborn(n: int) -> int:
    did()
    raise ValueError(f"no luck with {n}")


@workflow(retry=Retry(attempts=3, first_delay="1h", jitter=0))
async def trying_again(ctx: Context) -> int:
    n = await add(1, 1)
    ctx.send(turns, n)
    await doubling(n)
    return await stubborn(n)


async def run_retry_policy(play: Play) -> object:
    return await play.run(trying_again)


async def retry_of_a_failed_run(play: Play) -> object:
    first = await play.run(giving_up)
    again = await play.again(lambda: play.app.runs.retry("giving_up"))
    once_more = await play.again(lambda: play.app.runs.retry("giving_up", id="other"))
    return [first, again, await play.end(play.app.handle(again)), await play.end(play.app.handle(once_more))]


@workflow
async def forking(ctx: Context, n: int) -> list[int]:
    ctx.send(turns, n)
    values = [await add(n, 1), len(await fill("f"))]
    values.append(await doubling(n))
    ctx.metadata["values"] = len(values)
    values.append(await ctx.receive(item))
    return [*values, await add(values[-1], 5)]


async def fork(play: Play) -> object:
    """Messages that came before the end are kept, so nobody needs to send them again."""
    handle = await play.start(forking, 1)
    await play.waits(handle.id, "signal")
    await play.again(lambda: handle.send(item, 3, id="a"))
    ends = [await play.end(handle)]
    for id, options in (("whole", {}), ("cut", {"from_step": "fill"}), ("edited", {"edit": {"add": 70}})):
        await play.again(lambda id=id, options=options: play.app.runs.fork("forking", id=id, **options))  # type: ignore[misc]
        ends.append(await play.end(play.app.handle(id)))
    return ends


async def fork_without_an_id(play: Play) -> object:
    await play.run(doubling, 1)
    id = await play.again(lambda: play.app.runs.fork("doubling", edit={"add": 9}))
    return [id, await play.end(play.app.handle(id))]


async def start_twice(play: Play) -> object:
    """The second start finds the first, by id and by key."""
    handles = [await play.start(doubling, 1), await play.start(doubling, 1, on_conflict="attach")]
    handles += [await play.again(lambda: play.app.start(doubling, 2, key="k")) for _ in range(2)]
    return [await play.end(handle) for handle in handles]


async def restart_of_a_failed_run(play: Play) -> object:
    first = await play.run(giving_up)
    again = await play.run(giving_up, on_conflict="restart_if_failed")
    archived = play.app.handle("giving_up~1")
    return [first, again, await play.end(archived)]


async def start_many(play: Play) -> object:
    handles = await play.again(lambda: play.app.start_many(doubling, [1, 2, 3]))
    return [await play.end(handle) for handle in handles]


async def delete(play: Play) -> object:
    """With blobs, streams and all."""
    handle = await play.start(forking, 1)
    await play.waits(handle.id, "signal")
    await play.again(lambda: handle.send(item, 3, id="a"))
    end = await play.end(handle)
    await play.settled()
    await play.again(lambda: play.app.runs.delete(handle.id))
    gone = False
    try:
        await play.observer.runs.get(handle.id)
    except RunNotFoundError:
        gone = True
    return [end, gone]


async def purge(play: Play) -> object:
    await play.run(giving_up)
    await play.run(doubling, 1)
    await play.run(leaving_a_child)
    await play.settled()
    await asyncio.sleep(5 * 3600)
    await play.run(doubling, 2, id="young")
    results = await play.again(lambda: play.app.runs.purge("4h", force=True))
    again = await play.again(lambda: play.app.runs.purge("4h", force=True))
    return [sorted(play.world.runs), all(result.is_ok for result in (*results, *again))]


@workflow
async def leaving_a_child(ctx: Context) -> int:
    return await doubling(4)


SCENARIOS = [
    Scenario("pause and resume", pause_and_resume, (pausing,), 3),
    Scenario("pause and resume, replayed", pause_and_resume, (pausing,), 3, cached_runs=0),
    Scenario("cancel with cleanup", cancel_with_cleanup, (tidying,), ["RunCancelledError", "cancelled: enough"]),
    Scenario(
        "cancel with grace",
        cancel_with_grace,
        (dawdling,),
        ["RunCancelledError", "terminated: still running after the grace of its cancel"],
    ),
    Scenario("terminate", terminate, (tidying,), ["RunCancelledError", "terminated: at once"]),
    Scenario(
        "a run past its time",
        run_past_its_time,
        (tidying,),
        ["RunError", "TimeoutError: the run took longer than its timeout"],
    ),
    Scenario("a pause during a step", pause_during_a_step, (halting,), 10801, is_concurrent=True),
    Scenario("generations", generations, (turning,), 3),
    Scenario("generations that stream", streaming_generations, (turning,), 4),
    Scenario("chunks of a last frame", chunks_of_a_last_frame, (sending_and_turning,), [3, [1, 11, 2, 12, 3, 13]]),
    Scenario("generations with children", generations_with_children, (hiring_and_turning, doubling, lasting), 4),
    Scenario(
        "a run retried by policy",
        run_retry_policy,
        (trying_again, doubling),
        ["RunError", "ValueError: no luck with 2"],
    ),
    Scenario(
        "a failed run retried",
        retry_of_a_failed_run,
        (giving_up,),
        [
            ["RunError", "ValueError: no luck with 20002"],
            "giving_up-retry",
            ["RunError", "ValueError: no luck with 20002"],
            ["RunError", "ValueError: no luck with 20002"],
        ],
    ),
    Scenario(
        "forks",
        fork,
        (forking, doubling),
        [[2, 20000, 2, 3, 8], [2, 20000, 2, 3, 8], [2, 20000, 2, 3, 8], [70, 20000, 2, 3, 8]],
    ),
    Scenario("a fork without an id", fork_without_an_id, (doubling,), ["doubling-fork", 9]),
    Scenario("a start that is repeated", start_twice, (doubling,), [2, 2, 4, 4]),
    Scenario(
        "a failed run restarted",
        restart_of_a_failed_run,
        (giving_up,),
        [
            ["RunError", "ValueError: no luck with 20002"],
            ["RunError", "ValueError: no luck with 20002"],
            ["RunError", "ValueError: no luck with 20002"],
        ],
    ),
    Scenario("start many", start_many, (doubling,), [2, 4, 6], is_concurrent=True),
    Scenario("delete", delete, (forking, doubling), [[2, 20000, 2, 3, 8], True]),
    Scenario("purge", purge, (giving_up, doubling, leaving_a_child), [["young"], True]),
]
