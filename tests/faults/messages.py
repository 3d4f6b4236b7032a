"""Scenarios of what comes to a run from outside: signals, events, hooks."""

from __future__ import annotations

import asyncio

from stepwell import Context, Event, Handle, Signal, workflow
from stepwell.model.ids import CommandId
from stepwell.model.tokens import make_token
from tests.faults.play import Play, Scenario
from tests.faults.steps import LARGE, add, take

number = Signal("number", int)
text = Signal("text", str)
news = Event("news", int)
other_news = Event("other news", int)


@workflow
async def receiving_late(ctx: Context) -> int:
    await take(2 * 3600)
    first = await ctx.receive(number)
    return await add(first, await ctx.receive(number))


@workflow
async def receiving(ctx: Context) -> int:
    first = await ctx.receive(number)
    return await add(first, await ctx.receive(number))


async def early_signals(play: Play) -> object:
    """Both come before the run asks for them."""
    handle = await play.start(receiving_late)
    await play.began("take")
    await play.again(lambda: handle.send(number, 1, id="a"))
    await play.again(lambda: handle.send(number, 2, id="b"))
    return await play.end(handle)


async def late_signals(play: Play) -> object:
    handle = await play.start(receiving)
    for value, id in ((1, "a"), (2, "b")):
        await play.waits(handle.id, "signal")
        await play.again(lambda value=value, id=id: handle.send(number, value, id=id))  # type: ignore[misc]
        await play.until(lambda value=value: _mail(play, handle) == value)  # type: ignore[misc]
    return await play.end(handle)


async def repeated_signal(play: Play) -> object:
    handle = await play.start(receiving)
    await play.waits(handle.id, "signal")
    for value, id in ((1, "a"), (7, "a"), (2, "b")):
        await play.again(lambda value=value, id=id: handle.send(number, value, id=id))  # type: ignore[misc]
    return await play.end(handle)


def _mail(play: Play, handle: Handle[int]) -> int:
    return play.world.runs[handle.id].head.mail


@workflow
async def deaf(ctx: Context) -> int:
    return await take(600)


async def unread_signal(play: Play) -> object:
    """It is in the journal all the same. If the worker is not told of it, it meets the end."""
    handle = await play.start(deaf)
    await play.began("take")
    await play.again(lambda: handle.send(number, 1, id="a"))
    return await play.end(handle)


@workflow
async def summing(ctx: Context) -> int:
    total = 0
    async for value in ctx.receive_all(number):
        if value == 0:
            break
        total = await add(total, value)
    return total


async def all_signals(play: Play) -> object:
    handle = await play.start(summing)
    for value in (1, 2, 3, 0):
        await play.again(lambda value=value: handle.send(number, value, id=str(value)))  # type: ignore[misc]
    return await play.end(handle)


@workflow
async def waiting_in_vain(ctx: Context) -> int:
    value = await ctx.receive(number, timeout="2h", default=5)
    return await add(value, 1)


async def no_signal_in_time(play: Play) -> object:
    return await play.run(waiting_in_vain)


@workflow
async def reading(ctx: Context) -> int:
    return len(await ctx.receive(text)) + len(await ctx.receive(text))


async def large_messages(play: Play) -> object:
    handle = await play.start(reading)
    await play.again(lambda: handle.send(text, "s" * LARGE, id="a"))
    await play.waits(handle.id, "signal")
    await play.again(lambda: handle.send(text, "t" * LARGE, id="b"))
    return await play.end(handle)


@workflow
async def following(ctx: Context) -> list[int]:
    return [await ctx.receive(news), await ctx.receive(news)]


@workflow
async def following_late(ctx: Context) -> list[int]:
    await take(2 * 3600)
    return [await ctx.receive(news), await ctx.receive(news)]


async def event_before_and_after(play: Play) -> object:
    """The first is there before the run waits for it, the second comes later."""
    handle = await play.start(following_late)
    await play.began("take")
    counts = [await play.again(lambda: play.app.publish(news, 1, id="first"))]
    await play.waits(handle.id, "event")
    counts.append(await play.again(lambda: play.app.publish(news, 2, id="second")))
    return [await play.end(handle), counts]


async def publish_to_many(play: Play) -> object:
    ids = ["f1", "f2", "f3"]
    handles = [await play.start(following, id=id) for id in ids]
    for value in (1, 2):
        for id in ids:
            await play.waits(id, "event")
        await play.again(lambda value=value: play.app.publish(news, value, id=str(value)))  # type: ignore[misc]
        await play.until(lambda value=value: all(_mail(play, item) == value for item in handles))  # type: ignore[misc]
    return [await play.end(handle) for handle in handles]


@workflow
async def choosing(ctx: Context) -> str:
    first = asyncio.create_task(ctx.receive(news))
    second = asyncio.create_task(ctx.receive(other_news))
    done, open_ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    for task in open_:
        task.cancel()
    return "news" if first in done else "other news"


async def first_of_two_events(play: Play) -> object:
    handle = await play.start(choosing)
    await play.waits(handle.id, "event")
    await play.again(lambda: play.app.publish(other_news, 1, id="only"))
    return await play.end(handle)


@workflow
async def hooked(ctx: Context, token: str | None) -> int:
    hook = await ctx.create_hook(int, token=token)
    n = await hook
    return await add(n, await hook)


async def generated_hook(play: Play) -> object:
    handle = await play.start(hooked, None)
    await play.waits(handle.id, "token")
    created = await play.observer.client.created(handle.id)
    assert created is not None
    token = make_token(handle.id, 1, CommandId("hook"), created.seed)
    await play.again(lambda: play.app.complete(token, 1, id="a"))
    await play.again(lambda: play.app.complete(token, 2, id="b"))
    return await play.end(handle)


async def custom_hook(play: Play) -> object:
    """The name is free again when its run is settled, so that the next one can have it."""
    ends = []
    for run in ("first", "second"):
        handle = await play.start(hooked, "my own token", id=run)
        await play.waits(run, "token")
        await play.again(lambda: play.app.complete("my own token", 1, id="a"))
        await play.again(lambda: play.app.complete("my own token", 2, id="b"))
        ends.append(await play.end(handle))
        await play.settled()
    return ends


async def taken_hook(play: Play) -> object:
    """A second run cannot have the name while the first one holds it."""
    handle = await play.start(hooked, "my own token", id="first")
    await play.waits("first", "token")
    refused = await play.run(hooked, "my own token", id="second")
    await play.again(lambda: play.app.complete("my own token", 1, id="a"))
    await play.again(lambda: play.app.complete("my own token", 2, id="b"))
    return [refused, await play.end(handle)]


SCENARIOS = [
    Scenario("early signals", early_signals, (receiving_late,), 3),
    Scenario("late signals", late_signals, (receiving,), 3),
    Scenario("late signals, replayed", late_signals, (receiving,), 3, cached_runs=0),
    Scenario("a repeated signal", repeated_signal, (receiving,), 3),
    Scenario("a signal that nobody reads", unread_signal, (deaf,), 600, is_concurrent=True),
    Scenario("all signals", all_signals, (summing,), 6, is_concurrent=True),
    Scenario("no signal in time", no_signal_in_time, (waiting_in_vain,), 6),
    Scenario("large messages", large_messages, (reading,), 40000),
    Scenario("an event before and one after", event_before_and_after, (following_late,), [[1, 2], [0, 1]]),
    Scenario("publish to many", publish_to_many, (following,), [[1, 2], [1, 2], [1, 2]]),
    Scenario("the first of two events", first_of_two_events, (choosing,), "other news"),
    Scenario("a hook", generated_hook, (hooked,), 3, cached_runs=0),
    Scenario("a hook of one's own", custom_hook, (hooked,), [3, 3]),
    Scenario(
        "a hook that is taken",
        taken_hook,
        (hooked,),
        [["RunError", "HookError: the hook token 'my own token' is held by run first"], 3],
    ),
]
