"""Signals, events, hooks, timers, children: what a run waits for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Context,
    Event,
    HookError,
    RunCancelledError,
    RunClosedError,
    RunConflictError,
    RunError,
    RunNotFoundError,
    Signal,
    Stepwell,
    StepwellError,
    workflow,
)
from stepwell.runtime.handles import Handle

number = Signal("number", int)
paid = Event("paid", dict[str, int])


@workflow
async def receive_two(ctx: Context) -> list[int]:
    return [await ctx.receive(number), await ctx.receive(number)]


@workflow
async def receive_in_time(ctx: Context) -> int:
    return await ctx.receive(number, timeout="20ms", default=-1)


@workflow
async def receive_or_fail(ctx: Context) -> int:
    return await ctx.receive(number, timeout="20ms")


@workflow
async def sum_until_zero(ctx: Context) -> int:
    total = 0
    async for value in ctx.receive_all(number):
        if value == 0:
            break
        total += value
    return total


@workflow
async def wait_for_payment(ctx: Context, order: int) -> int:
    payment = await ctx.receive(paid, where={"order": order})
    return payment["amount"]


@workflow
async def sleepy_payment(ctx: Context, order: int) -> int:
    await ctx.sleep("80ms")
    payment = await ctx.receive(paid, where={"order": order})
    return payment["amount"]


@workflow
async def approve(ctx: Context) -> str:
    hook = await ctx.create_hook(str)
    ctx.metadata["token"] = hook.token
    ctx.metadata["url"] = hook.url
    return await hook


@workflow
async def approve_by_name(ctx: Context, token: str) -> list[str]:
    hook = await ctx.create_hook(str, token=token, timeout="80ms")
    return [value async for value in hook]


@workflow
async def leaf(ctx: Context, x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    if x > 100:
        return await ctx.receive(number)
    return x + 1


@workflow
async def parent(ctx: Context, x: int) -> int:
    return await leaf(x)


@workflow
async def careful_parent(ctx: Context) -> str:
    try:
        await leaf(-1)
    except RunError as error:
        return f"{error.error.is_(ValueError)}"  # type: ignore[attr-defined]
    return "no error"


@workflow
async def talking_parent(ctx: Context) -> int:
    child = await ctx.start(leaf, 200)
    await child.send(number, 5)
    return await child.result()


@workflow
async def leaving_parent(ctx: Context) -> list[str]:
    stays = await ctx.start(leaf, 200, on_parent_end="abandon")
    goes = await ctx.start(leaf, 300)
    return [stays.id, goes.id]


@workflow
async def impatient_parent(ctx: Context) -> str:
    try:
        async with asyncio.timeout(0.03):
            await leaf(400)
    except TimeoutError:
        await ctx.sleep("30ms")
        return "gave up"
    return "waited"


@workflow
async def naming_parent(ctx: Context, id: str) -> str:
    try:
        await ctx.start(leaf, 1, id=id)
    except RunConflictError:
        return "taken"
    return "started"


@workflow
async def clockwork(ctx: Context) -> list[float]:
    begin = ctx.now()
    await asyncio.sleep(0.01)
    await ctx.sleep(timedelta(milliseconds=10))
    await ctx.sleep_until(datetime(2020, 1, 1, tzinfo=UTC))
    return [(ctx.now() - begin).total_seconds()]


WORKFLOWS = [item for item in globals().values() if isinstance(item, type(clockwork))]


async def is_waiting(handle: Handle[object]) -> bool:
    return (await handle.head()).status == "waiting"


def test_signals_are_buffered_and_received_in_order(app_of: OpenApp) -> None:
    async def go() -> list[int]:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(receive_two)
            await handle.send(number, 1)
            await handle.send(number, 2)
            return await handle.result(timeout=5)

    assert run(go()) == [1, 2]


def test_a_signal_with_an_id_counts_once(app_of: OpenApp) -> None:
    async def go() -> list[int]:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(receive_two)
            for value, id in ((1, "a"), (1, "a"), (2, "b")):
                await handle.send(number, value, id=id)
            return await handle.result(timeout=5)

    assert run(go()) == [1, 2]


def test_no_signal_in_time_gives_the_default_or_an_error(app_of: OpenApp) -> None:
    async def go() -> int:
        async with app_of(*WORKFLOWS) as app:
            failing = await app.start(receive_or_fail)
            with pytest.raises(RunError, match="no signal number came in time"):
                await failing.result(timeout=5)
            return await (await app.start(receive_in_time)).result(timeout=5)

    assert run(go()) == -1


def test_all_signals_can_be_iterated(app_of: OpenApp) -> None:
    async def go() -> int:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(sum_until_zero)
            for value in (1, 2, 3, 0):
                await handle.send(number, value)
            return await handle.result(timeout=5)

    assert run(go()) == 6


def test_a_signal_that_does_not_fit_is_dropped_and_the_wait_goes_on(app_of: OpenApp) -> None:
    async def go() -> list[int]:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(receive_two)
            await app.client.send(handle.id, "number", msgspec.Raw(b'"seven"'))
            await handle.send(number, 1)
            await handle.send(number, 2)
            return await handle.result(timeout=5)

    assert run(go()) == [1, 2]


def test_signals_to_nobody_are_refused(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            with pytest.raises(RunNotFoundError):
                await app.handle("nobody").send(number, 1)
            done = await app.start(leaf, 1)
            await done.result(timeout=5)
            with pytest.raises(RunClosedError):
                await done.send(number, 1)

    run(go())


def test_an_event_reaches_every_run_that_waits_for_it(app_of: OpenApp) -> None:
    async def go() -> list[int]:
        async with app_of(*WORKFLOWS) as app:
            handles = [await app.start(wait_for_payment, order) for order in (1, 1, 2)]
            for handle in handles:
                await until(lambda handle=handle: is_waiting(handle))  # type: ignore[misc]
            await app.publish(paid, {"order": 1, "amount": 10})
            await app.publish(paid, {"order": 2, "amount": 20})
            return [await handle.result(timeout=5) for handle in handles]

    assert run(go()) == [10, 10, 20]


def test_an_event_published_before_the_wait_is_found(app_of: OpenApp) -> None:
    async def go() -> int:
        async with app_of(*WORKFLOWS) as app:
            await app.publish(paid, {"order": 1, "amount": 1})
            await asyncio.sleep(0.005)
            handle = await app.start(sleepy_payment, 1)
            await asyncio.sleep(0.02)
            await app.publish(paid, {"order": 1, "amount": 33})
            return await handle.result(timeout=5)

    assert run(go()) == 33


def test_a_hook_is_completed_by_its_token(app_of: OpenApp) -> None:
    async def go() -> tuple[str, str]:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(approve)
            await until(lambda: is_waiting(handle))
            metadata = (await handle.head()).metadata
            token = msgspec.json.decode(metadata["token"], type=str)
            await app.complete(token, "yes")
            return await handle.result(timeout=5), msgspec.json.decode(metadata["url"], type=str)

    result, url = run(go())
    assert result == "yes"
    assert url.startswith("http://127.0.0.1:7788/hooks/hk_")


def test_a_forged_token_completes_nothing(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(approve)
            await until(lambda: is_waiting(handle))
            token = msgspec.json.decode((await handle.head()).metadata["token"], type=str)
            forged = token[:-1] + ("A" if token[-1] != "A" else "B")
            for wrong in (forged, "hk_rubbish", "never-seen"):
                with pytest.raises(HookError):
                    await app.complete(wrong, "yes")

    run(go())


def test_a_custom_token_takes_many_values_until_its_timeout(app_of: OpenApp) -> None:
    async def go() -> list[str]:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(approve_by_name, "release-7")
            await until(lambda: app.backend.store.resolve("release-7"))
            await app.complete("release-7", "a")
            await app.complete("release-7", "b")
            await app.complete("release-7", "b", id="once")
            await app.complete("release-7", "b", id="once")
            values = await handle.result(timeout=5)
            assert await app.backend.store.resolve("release-7") is None
            return values

    assert run(go()) == ["a", "b", "b"]


def test_a_token_is_held_by_one_run(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            first = await app.start(approve_by_name, "release-7")
            await until(lambda: app.backend.store.resolve("release-7"))
            second = await app.start(approve_by_name, "release-7")
            with pytest.raises(RunError, match="is held by run"):
                await second.result(timeout=5)
            await first.result(timeout=5)

    run(go())


def test_children_give_results_and_errors(app_of: OpenApp) -> None:
    async def go() -> tuple[int, str, int]:
        async with app_of(*WORKFLOWS) as app:
            return (
                await (await app.start(parent, 1)).result(timeout=5),
                await (await app.start(careful_parent)).result(timeout=5),
                await (await app.start(talking_parent)).result(timeout=5),
            )

    assert run(go()) == (2, "True", 5)


def test_the_end_of_a_parent_cancels_its_children_but_not_abandoned_ones(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            stays, goes = await (await app.start(leaving_parent)).result(timeout=5)
            with pytest.raises(RunCancelledError, match="the parent run ended"):
                await app.handle(goes).result(timeout=5)
            await app.handle(stays).send(number, 9)
            assert await app.handle(stays).result(timeout=5) == 9

    run(go())


def test_giving_up_on_a_child_cancels_it(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(impatient_parent)
            assert await handle.result(timeout=5) == "gave up"
            page = await app.runs.list(workflow="leaf")
            child = page.runs[0]
            with pytest.raises(RunCancelledError):
                await app.handle(child.id).result(timeout=5)

    run(go())


def test_a_child_cannot_take_the_id_of_another_run(app_of: OpenApp) -> None:
    async def go() -> str:
        async with app_of(*WORKFLOWS) as app:
            await (await app.start(leaf, 1, id="mine")).result(timeout=5)
            return await (await app.start(naming_parent, "mine")).result(timeout=5)

    assert run(go()) == "taken"


def test_timers_pass_and_past_moments_are_over_at_once(app_of: OpenApp) -> None:
    async def go() -> list[float]:
        async with app_of(*WORKFLOWS) as app:
            return await (await app.start(clockwork)).result(timeout=5)

    (seconds,) = run(go())
    assert 0.02 <= seconds < 5


def test_an_app_that_is_not_open_says_so() -> None:
    with pytest.raises(StepwellError, match="async with app"):
        run(Stepwell("memory://").start(leaf, 1))


@workflow
async def impatient(ctx: Context) -> int:
    return await ctx.receive(hurry, timeout=0.2, default=-1)


hurry = Signal("hurry", int)


def test_a_message_in_time_counts_although_nobody_was_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[impatient]) as app:
            handle = await app.start(impatient)

            async def nobody(_: object) -> None:
                pass

            monkeypatch.setattr(app.backend.queue, "notify", nobody)
            await handle.send(hurry, 7)
            assert await handle.result(timeout=5) == 7

    run(scenario())
