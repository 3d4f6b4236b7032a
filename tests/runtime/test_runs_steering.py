"""Cancel, terminate, pause and resume: one run, many, none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.helpers import run, until

from stepwell import (
    Context,
    DefinitionError,
    RunCancelledError,
    RunClosedError,
    RunNotFoundError,
    RunQuery,
    Signal,
    Stepwell,
    step,
    workflow,
)

go = Signal("go", str)
undone: list[str] = []


@step
async def shout(word: str) -> str:
    return word.upper()


@step
async def undo(name: str) -> None:
    undone.append(name)


@workflow
async def waiting(ctx: Context) -> str:
    return await shout(await ctx.receive(go))


@workflow
async def stubborn(ctx: Context) -> None:
    try:
        await ctx.receive(go)
    except asyncio.CancelledError:
        await ctx.sleep("1h")


@workflow
async def tidy(ctx: Context) -> None:
    try:
        await ctx.receive(go)
    except asyncio.CancelledError:
        await undo(ctx.run_id)
        raise


@asynccontextmanager
async def opened() -> AsyncIterator[Stepwell]:
    async with Stepwell("memory://", include=[waiting, stubborn, tidy]) as app:
        yield app


async def is_in(app: Stepwell, id: str, status: str) -> None:
    async def reached() -> bool:
        return (await app.runs.get(id)).status == status

    await until(reached)


def test_a_cancelled_run_cleans_up_with_steps() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(tidy, id="t")
            await is_in(app, "t", "waiting")
            await app.runs.cancel("t", "not needed")
            with pytest.raises(RunCancelledError):
                await handle.result(timeout=5)
            assert undone == ["t"]

    undone.clear()
    run(scenario())


def test_a_run_that_ignores_its_cancel_is_terminated_after_the_grace() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(stubborn, id="s")
            await is_in(app, "s", "waiting")
            await app.runs.cancel("s", grace="20ms")
            with pytest.raises(RunCancelledError, match="terminated"):
                await handle.result(timeout=5)

    run(scenario())


def test_a_second_cancel_is_a_second_request() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(stubborn, id="s")
            await is_in(app, "s", "waiting")
            await handle.cancel()
            await handle.cancel()
            with pytest.raises(RunCancelledError):
                await handle.result(timeout=5)

    run(scenario())


def test_a_request_with_an_id_counts_once() -> None:
    async def scenario() -> None:
        async with opened() as app:
            await app.start(stubborn, id="s")
            await app.runs.cancel("s", request_id="r1")
            await app.runs.cancel("s", request_id="r1")
            assert (await app.runs.get("s")).mail == 1

    run(scenario())


def test_a_terminated_run_does_not_clean_up() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(tidy, id="t")
            await app.runs.terminate("t", "stop")
            with pytest.raises(RunCancelledError, match="terminated: stop"):
                await handle.result(timeout=5)
            assert undone == []

    undone.clear()
    run(scenario())


def test_a_paused_run_goes_on_when_it_is_resumed() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(waiting, id="w")
            await app.runs.pause("w")
            await is_in(app, "w", "paused")
            await handle.send(go, "on")
            await is_in(app, "w", "paused")
            assert (await app.runs.timeline("w")).steps == []
            await app.runs.resume("w")
            assert await handle.result(timeout=5) == "ON"

    run(scenario())


def test_steering_a_run_that_has_ended_says_so() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(waiting, id="w")
            await handle.send(go, "on")
            await handle.result(timeout=5)
            for verb in (app.runs.cancel, app.runs.terminate, app.runs.pause, app.runs.resume):
                with pytest.raises(RunClosedError):
                    await verb("w")

    run(scenario())


def test_steering_a_run_that_is_not_there_says_so() -> None:
    async def scenario() -> None:
        async with opened() as app:
            with pytest.raises(RunNotFoundError):
                await app.runs.cancel("nobody")

    run(scenario())


def test_an_error_of_one_run_hides_no_other() -> None:
    async def scenario() -> None:
        async with opened() as app:
            await app.start(waiting, id="a")
            await app.start(waiting, id="b")
            results = await app.runs.cancel(["a", "nobody", "b"])
            assert [(item.run, item.is_ok) for item in results] == [("a", True), ("nobody", False), ("b", True)]

    run(scenario())


def test_a_query_steers_the_live_runs_that_it_matches() -> None:
    async def scenario() -> None:
        async with opened() as app:
            done = await app.start(waiting, id="done")
            await done.send(go, "on")
            await done.result(timeout=5)
            await app.start(waiting, id="a")
            await app.start(tidy, id="other")
            results = await app.runs.terminate(RunQuery(workflow="waiting"))
            assert [(item.run, item.is_ok) for item in results] == [("a", True)]

    run(scenario())


def test_a_query_without_conditions_steers_nothing() -> None:
    async def scenario() -> None:
        async with opened() as app:
            with pytest.raises(DefinitionError, match="no condition"):
                await app.runs.cancel(RunQuery())

    run(scenario())
