"""Forks and retries: what they keep, what they do again, what they refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Context,
    DefinitionError,
    Event,
    HookError,
    Retry,
    RunCancelledError,
    RunConflictError,
    RunError,
    RunNotFoundError,
    Signal,
    Stepwell,
    Stream,
    step,
    workflow,
)
from stepwell.runtime.options import WorkerOptions

go = Signal("go", int)
stop = Signal("stop", int)
news = Event("news", int)
lines = Stream("lines", str)
calls: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    broken.clear()


@step(retry=None)
async def work(name: str) -> str:
    calls.append(name)
    if name in broken:
        raise ValueError(f"{name} is broken")
    return name


@workflow
async def helper(ctx: Context, n: int) -> int:
    await work(f"helper {n}")
    if n < 0:
        await ctx.receive(stop)
    return n


@workflow
async def everything(ctx: Context, n: int) -> dict[str, Any]:
    seen: dict[str, Any] = {"random": ctx.random.random(), "began": ctx.now().timestamp()}
    ctx.metadata["stage"] = "begin"
    await work("first")
    open_child = await ctx.start(helper, -1)
    if ctx.patched("guard"):
        await work("guarded")
    ctx.send(lines, "one")
    seen["both"] = await asyncio.gather(work("left"), work("right"), helper(n))
    hook = await ctx.create_hook(int, token=f"custom-token-{ctx.run_id}")
    await asyncio.sleep(0.002)
    await work("slept")
    seen["go"] = await ctx.receive(go)
    seen["news"] = await ctx.receive(news, timeout="1ms", default=None)
    await work("heard")
    ctx.metadata["stage"] = "end"
    try:
        async with asyncio.timeout(0.001):
            await ctx.receive(stop)
    except TimeoutError:
        await work("late")
    await open_child.cancel()
    await work("last")
    assert hook.token
    seen["random again"] = ctx.random.random()
    return seen


def opened(*include: object, **options: Any) -> Stepwell:
    workflows = include or (everything, helper, charge_and_ship, asks, parent, undoes, hooked, listens)
    return Stepwell("memory://", include=workflows, worker_options=WorkerOptions(**options))


ALIKE = ("random", "both", "go", "random again")


def test_a_fork_from_any_step_replays_and_ends_alike() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(everything, 3, id="r")
            await handle.send(go, 5)
            result = await handle.result(timeout=5)
            steps = [item.id for item in (await app.runs.timeline("r")).steps]
            assert len(steps) == 8
            for step_id in steps:
                calls.clear()
                fork = await app.runs.fork("r", from_step=step_id)
                again = await app.handle(fork).result(timeout=5)
                assert [again[key] for key in ALIKE] == [result[key] for key in ALIKE]
                assert (await app.runs.timeline(fork)).metadata == (await app.runs.timeline("r")).metadata
                kept = steps[: steps.index(step_id)]
                assert not [item for item in kept if calls.count(_argument(item)) > 0]

    run(scenario())


def _argument(step_id: str) -> str:
    names = ["first", "guarded", "left", "right", "slept", "heard", "late", "last"]
    return names[int(step_id.partition(":")[2] or 1) - 1]


def test_a_fork_without_a_step_is_a_copy_that_ends_alike() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(everything, 3, id="r")
            await handle.send(go, 5)
            result = await handle.result(timeout=5)
            calls.clear()
            assert await app.handle(await app.runs.fork("r", id="copy")).result(timeout=5) == result
            assert not [name for name in calls if not name.startswith("helper")]
            assert (await app.runs.timeline("copy")).forked_from == "r"

    run(scenario())


@workflow(retry=Retry(attempts=2, first_delay="1ms", jitter=0.0))
async def retried(ctx: Context, n: int) -> dict[str, Any]:
    seen: dict[str, Any] = {"random": ctx.random.random()}
    child = await ctx.start(helper, -1)
    await work("first")
    await asyncio.sleep(0.001)
    try:
        await work("second")
    finally:
        broken.clear()
    await child.send(stop, 1)
    seen["child"] = await child.result()
    seen["random again"] = ctx.random.random()
    return seen


def test_a_workflow_that_is_retried_starts_its_open_children_again() -> None:
    async def scenario() -> None:
        async with opened(retried, helper, cached_runs=0) as app:
            broken.add("second")
            handle = await app.start(retried, 1, id="r")
            result = await handle.result(timeout=5)
            assert result["child"] == -1
            assert calls.count("first") == 1
            assert len({item.run for item in (await app.runs.timeline("r")).children}) == 2

            calls.clear()
            fork = await app.runs.fork("r", from_step="work:2")
            again = await app.handle(fork).result(timeout=5)
            assert again == result
            assert "first" not in calls

    run(scenario())


@workflow
async def charge_and_ship(ctx: Context, order: str) -> str:
    await work("charge")
    await work("ship")
    return order


def test_a_retry_goes_on_from_the_step_that_failed() -> None:
    async def scenario() -> None:
        async with opened() as app:
            broken.add("ship")
            handle = await app.start(charge_and_ship, "order", id="o")
            with pytest.raises(RunError):
                await handle.result(timeout=5)
            broken.clear()
            assert await app.runs.retry("o") == "o-retry"
            assert await app.handle("o-retry").result(timeout=5) == "order"
            assert calls == ["charge", "ship", "ship"]
            assert (await app.runs.get("o")).status == "failed"

    run(scenario())


def test_a_retry_of_a_retry_counts_on() -> None:
    async def scenario() -> None:
        async with opened() as app:
            broken.add("ship")
            handle = await app.start(charge_and_ship, "order", id="o")
            with pytest.raises(RunError):
                await handle.result(timeout=5)
            first = await app.runs.retry("o")
            with pytest.raises(RunError):
                await app.handle(first).result(timeout=5)
            assert await app.runs.retry(first) == "o-retry2"
            assert await app.runs.retry("o", id="mine") == "mine"
            with pytest.raises(RunConflictError, match="run mine exists"):
                await app.runs.retry("o", id="mine")

    run(scenario())


@workflow
async def undoes(ctx: Context) -> int:
    await work("begin")
    try:
        got = await ctx.receive(go)
    except asyncio.CancelledError:
        await work("clean up")
        raise
    await work("after")
    return got


def test_a_retry_of_a_cancelled_run_forgets_the_cancel_and_its_cleanup() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(undoes, id="u")
            await until(lambda: _has_steps(app, "u", 1))
            await handle.cancel()
            with pytest.raises(RunCancelledError):
                await handle.result(timeout=5)
            again = app.handle(await app.runs.retry("u"))
            await again.send(go, 4)
            assert await again.result(timeout=5) == 4
            assert calls == ["begin", "clean up", "after"]

    run(scenario())


def test_a_fork_from_a_cleanup_step_is_cancelled_too() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(undoes, id="u")
            await until(lambda: _has_steps(app, "u", 1))
            await app.runs.cancel("u", grace="1h")
            with pytest.raises(RunCancelledError):
                await handle.result(timeout=5)
            with pytest.raises(RunCancelledError):
                await app.handle(await app.runs.fork("u", from_step="work:2")).result(timeout=5)
            assert calls == ["begin", "clean up", "clean up"]

    run(scenario())


async def _has_steps(app: Stepwell, id: str, count: int) -> bool:
    return len((await app.runs.timeline(id)).steps) >= count


@workflow
async def asks(ctx: Context) -> list[int]:
    got = []
    for _ in range(3):
        got.append(await ctx.receive(go))
        await work(f"got {got[-1]}")
    return got


def test_messages_are_kept_on_both_sides_of_the_cut() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(asks, id="a")
            for n in (1, 2, 3):
                await handle.send(go, n)
            await handle.result(timeout=5)
            fork = await app.runs.fork("a", from_step="work:2")
            assert await app.handle(fork).result(timeout=5) == [1, 2, 3]

    run(scenario())


def test_a_fork_of_a_waiting_run_takes_new_messages(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(asks) as app:
            handle = await app.start(asks, id="a")
            await handle.send(go, 1)
            await until(lambda: _has_steps(app, "a", 1))
            fork = app.handle(await app.runs.fork("a"))
            for n in (20, 30):
                await fork.send(go, n)
            assert await fork.result(timeout=5) == [1, 20, 30]
            assert (await handle.head()).status == "waiting"

    run(scenario())


def test_a_fork_of_a_paused_run_is_not_paused() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(asks, id="a")
            await app.runs.pause("a")
            for n in (1, 2, 3):
                await handle.send(go, n)

            async def is_in() -> bool:
                head = await handle.head()
                return head.status == "paused" and head.owner is None and head.mail == 4

            await until(is_in)
            assert await app.handle(await app.runs.fork("a")).result(timeout=5) == [1, 2, 3]

    run(scenario())


def test_an_edited_result_replaces_what_the_step_gave() -> None:
    async def scenario() -> None:
        async with opened(echoes) as app:
            handle = await app.start(echoes, id="e")
            assert await handle.result(timeout=5) == ["a", "b", "c"]
            calls.clear()
            edited = await app.runs.fork("e", edit={"work:2": "B"})
            assert await app.handle(edited).result(timeout=5) == ["a", "B", "c"]
            assert calls == ["c"]
            other = await app.runs.fork("e", from_step="work:3", edit={"work": "A"})
            assert await app.handle(other).result(timeout=5) == ["A", "b", "c"]

    run(scenario())


@workflow
async def echoes(ctx: Context) -> list[str]:
    return [await work(name) for name in "abc"]


def test_a_new_input_alone_starts_from_the_beginning() -> None:
    async def scenario() -> None:
        async with opened() as app:
            await (await app.start(charge_and_ship, "one", id="o")).result(timeout=5)
            fork = await app.runs.fork("o", input="two")
            assert await app.handle(fork).result(timeout=5) == "two"
            assert calls == ["charge", "ship"] * 2

    run(scenario())


@workflow
async def parent(ctx: Context) -> int:
    await work("before")
    got = await helper(7)
    await work("after")
    return got


def test_results_of_children_are_values_that_a_fork_keeps() -> None:
    async def scenario() -> None:
        async with opened() as app:
            await (await app.start(parent, id="p")).result(timeout=5)
            fork = await app.runs.fork("p", from_step="work:2")
            assert await app.handle(fork).result(timeout=5) == 7
            assert calls.count("helper 7") == 1

    run(scenario())


def test_a_retry_starts_a_failed_child_again() -> None:
    async def scenario() -> None:
        async with opened() as app:
            broken.add("helper 7")
            with pytest.raises(RunError):
                await (await app.start(parent, id="p")).result(timeout=5)
            broken.clear()
            assert await app.handle(await app.runs.retry("p")).result(timeout=5) == 7
            assert calls == ["before", "helper 7", "helper 7", "after"]

    run(scenario())


@workflow
async def hooked(ctx: Context) -> int:
    hook = await ctx.create_hook(int, token="the-one-token")
    await work("opened")
    return await hook


def test_a_custom_hook_token_passes_on_when_the_old_run_has_ended() -> None:
    async def scenario() -> None:
        async with opened() as app:
            handle = await app.start(hooked, id="h")
            await until(lambda: _has_steps(app, "h", 1))
            with pytest.raises(HookError, match="which run h holds"):
                await app.runs.fork("h")
            await handle.cancel()
            with pytest.raises(RunCancelledError):
                await handle.result(timeout=5)
            fork = app.handle(await app.runs.retry("h"))

            async def completed() -> bool:
                try:
                    return await app.complete("the-one-token", 9) == fork.id
                except HookError:
                    return False

            await until(completed)
            assert await fork.result(timeout=5) == 9
            assert calls == ["opened"]

    run(scenario())


@workflow
async def listens(ctx: Context) -> list[int]:
    got = []
    for _ in range(3):
        got.append(await ctx.receive(news))
        await work(f"heard {got[-1]}")
    return got


def test_events_count_once_in_a_fork_that_subscribes_again() -> None:
    async def scenario() -> None:
        async with opened(cached_runs=0) as app:
            await app.start(listens, id="l")
            await app.publish(news, 1)
            await until(lambda: _has_steps(app, "l", 1))
            fork = app.handle(await app.runs.fork("l"))
            await app.publish(news, 2)
            await app.publish(news, 3)
            assert await fork.result(timeout=5) == [1, 2, 3]
            assert await app.handle("l").result(timeout=5) == [1, 2, 3]

    run(scenario())


def test_a_step_that_is_not_there_is_answered_with_those_that_are() -> None:
    async def scenario() -> None:
        async with opened() as app:
            await (await app.start(charge_and_ship, "x", id="o")).result(timeout=5)
            with pytest.raises(DefinitionError, match=r"no finished step 'wrok'; it has: work, work:2"):
                await app.runs.fork("o", from_step="wrok")
            with pytest.raises(DefinitionError, match="comes after"):
                await app.runs.fork("o", from_step="work", edit={"work:2": "x"})
            with pytest.raises(RunNotFoundError):
                await app.runs.fork("nobody")

    run(scenario())


def test_only_runs_that_failed_or_were_stopped_are_retried() -> None:
    async def scenario() -> None:
        async with opened() as app:
            await (await app.start(charge_and_ship, "x", id="done")).result(timeout=5)
            await app.start(asks, id="open")
            with pytest.raises(RunConflictError, match="completed"):
                await app.runs.retry("done")
            with pytest.raises(RunConflictError, match="has not ended"):
                await app.runs.retry("open")
            results = await app.runs.retry(["done", "open", "nobody"])
            assert [item.is_ok for item in results] == [False, False, False]

    run(scenario())
