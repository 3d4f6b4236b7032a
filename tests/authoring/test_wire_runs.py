"""Workflows of ours at a step worker, driven by an orchestrator of ours: each verb of the context, end to end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from stepwell import (
    Context,
    Event,
    Retry,
    RunError,
    Signal,
    Stepwell,
    current_step,
    step,
    workflow,
)
from stepwell.runtime.remote.targets import Target
from stepwell.testing.fixture import StepwellTest

paid = Event("paid", dict[str, int])
go = Signal("go", int)
effects: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    effects.clear()


@step
async def lasting(seconds: float) -> str:
    await asyncio.sleep(seconds)
    effects.append(f"lasting {seconds:g}")
    return f"after {seconds:g} s"


@step(retry=Retry(attempts=3, first_delay="1m", jitter=0))
async def flaky() -> int:
    effects.append(f"flaky {current_step().attempt}")
    if current_step().attempt < 2:
        raise ConnectionError("not yet")
    return current_step().attempt


@workflow
async def racing(ctx: Context) -> list[str]:
    async def nap() -> str:
        await ctx.sleep(1)
        return "nap"

    tasks = [asyncio.create_task(nap()), asyncio.create_task(lasting(5))]
    return [await task for task in asyncio.as_completed(tasks)]


@workflow
async def retrying(ctx: Context) -> list[Any]:
    return await asyncio.gather(flaky(), lasting(300))


@workflow
async def filtering(ctx: Context) -> dict[str, int]:
    return await ctx.receive(paid, where={"order": 2}, timeout="1d")


@workflow
async def limited(ctx: Context) -> int:
    return await ctx.receive(go, timeout="10m", default=-1)


@workflow
async def hooked(ctx: Context) -> list[Any]:
    hook = await ctx.create_hook(int)
    ctx.metadata["token"] = hook.token
    ctx.metadata["url"] = hook.url
    return [await hook, await hook]


@workflow
async def child(ctx: Context, n: int) -> int:
    ctx.metadata.parent.increment("children")
    if n < 0:
        raise ValueError("below zero")
    await ctx.sleep("1m")
    return n * 2


@workflow
async def parent(ctx: Context) -> list[Any]:
    ctx.metadata.increment("hits")
    first = await ctx.start(child, 1)
    await ctx.start(child, 2, on_parent_end="abandon")
    try:
        await child(-1)
    except RunError as error:
        text = f"{error.error.type}: {error.error.message}"  # type: ignore[attr-defined]
    ctx.metadata.increment("hits", 2)
    return [await child(3), await first.result(), text]


@step
async def book(what: str) -> str:
    effects.append(f"book {what}")
    return what


@book.compensate
async def unbook(result: str, what: str) -> None:
    effects.append(f"unbook {what}")


@workflow
async def travelling(ctx: Context) -> None:
    async with ctx.saga():
        await book("hotel")
        await ctx.sleep("1m")
        await book("flight")
        raise ValueError("no money")


@workflow
async def stumbling(ctx: Context) -> str:
    await book("hotel")
    n = await ctx.receive(go)
    await book("flight")
    await refusing()
    return f"{n}"


@step(retry=None)
async def refusing() -> None:
    effects.append("refusing")
    if effects.count("refusing") < 2:
        raise ValueError("not yet")


@workflow
async def knowing(ctx: Context) -> list[Any]:
    info = ctx.info
    return [info.id, info.workflow, dict(info.tags), info.attempt, info.environment, info.triggered_by["kind"]]


FLOWS = [racing, retrying, filtering, limited, hooked, child, parent, travelling, stumbling, knowing]


@pytest.fixture
def test() -> Iterator[StepwellTest]:
    """An app that has no code, and a worker that has nothing else."""
    workers: list[Any] = []

    async def serve(body: bytes, headers: Any) -> Any:
        effects.append("called")
        return await workers[0].handle(body, headers)

    names = [flow.id for flow in FLOWS]
    with StepwellTest(targets=[Target(serve, workflows=names)]) as test:
        workers.append(Stepwell("nowhere://", include=[__name__], clock=test.clock).step_worker())
        yield test


def did() -> list[str]:
    """What the steps did, in order."""
    return [effect for effect in effects if effect != "called"]


def result_of(test: StepwellTest, flow: Any, *given: Any) -> Any:
    async def main() -> Any:
        return await (await test.app.start(flow.id, *given)).result()

    return test.drive(main())


def test_a_sleep_may_be_over_before_a_step_that_runs_beside_it(test: StepwellTest) -> None:
    assert result_of(test, racing) == ["nap", "after 5 s"]
    assert effects == ["called", "lasting 5"]


def test_a_step_is_tried_again_while_another_one_runs(test: StepwellTest) -> None:
    assert result_of(test, retrying) == [2, "after 300 s"]
    assert effects == ["called", "flaky 1", "flaky 2", "lasting 300"]


def test_an_event_must_have_what_the_body_wants(test: StepwellTest) -> None:
    async def main() -> Any:
        handle = await test.app.start("filtering")
        await test.sleep("1m")
        await test.app.publish(paid, {"order": 1})
        await test.app.publish(paid, {"order": 2})
        return await handle.result()

    assert test.drive(main()) == {"order": 2}


def test_nobody_answers_in_time(test: StepwellTest) -> None:
    assert result_of(test, limited) == -1


def test_a_hook_is_completed_by_the_token_that_the_worker_made(test: StepwellTest) -> None:
    async def main() -> Any:
        handle = await test.app.start("hooked", id="r1")
        await test.sleep("1m")
        metadata = (await test.app.runs.get("r1")).metadata
        token, url = (test.app.registry.decode(metadata[key]) for key in ("token", "url"))
        assert url.endswith(f"/hooks/{token}")
        await test.app.complete(token, 1)
        await test.sleep("1m")
        await test.app.complete(token, 2)
        return await handle.result()

    assert test.drive(main()) == [1, 2]


def test_children_are_runs_of_their_own(test: StepwellTest) -> None:
    async def main() -> Any:
        handle = await test.app.start("parent", id="r1")
        result = await handle.result()
        await test.sleep("1h")
        metadata = (await test.app.runs.get("r1")).metadata
        children = [head async for head in test.app.runs.iterate(workflow="child")]
        return (
            result,
            {key: int(bytes(metadata[key])) for key in ("hits", "children")},
            sorted(head.status for head in children),
        )

    result, metadata, statuses = test.drive(main())
    assert result == [6, 2, "Error: below zero"]
    assert metadata == {"hits": 3, "children": 4}
    assert statuses == ["completed", "completed", "completed", "failed"]


def test_what_was_done_is_undone(test: StepwellTest) -> None:
    async def main() -> str:
        handle = await test.app.start("travelling")
        with pytest.raises(RunError) as raised:
            await handle.result()
        return str(raised.value)

    assert "no money" in test.drive(main())
    assert did() == ["book hotel", "book flight", "unbook flight", "unbook hotel"]


@pytest.mark.parametrize("way", ["retry", "fork"])
def test_a_new_try_keeps_the_steps_that_went_well(test: StepwellTest, way: str) -> None:
    async def main() -> Any:
        handle = await test.app.start("stumbling", id="r1")
        await test.sleep("1m")
        await handle.send(go, 7)
        with pytest.raises(RunError):
            await handle.result()
        runs = test.app.runs
        other = await (runs.retry("r1") if way == "retry" else runs.fork("r1", from_step="refusing"))
        return await test.app.handle(other).result()

    assert test.drive(main()) == "7"
    assert did() == ["book hotel", "book flight", "refusing", "refusing"]


def test_a_body_knows_what_is_known_of_its_run(test: StepwellTest) -> None:
    async def main() -> Any:
        return await (await test.app.start("knowing", id="r1", tags={"customer": "7"})).result()

    assert test.drive(main()) == ["r1", "knowing", {"customer": "7"}, 1, "development", "api"]
