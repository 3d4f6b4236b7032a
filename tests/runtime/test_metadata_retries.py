"""What changes of metadata come to when a run begins again where it failed: each counts once."""

from __future__ import annotations

import pytest

from stepwell import Context, Retry, step, workflow
from stepwell.testing.fixture import StepwellTest

broken: list[int] = []


@pytest.fixture(autouse=True)
def _broken_once() -> None:
    broken[:] = [1]


@step(retry=None)
async def fragile() -> None:
    if broken:
        broken.pop()
        raise RuntimeError("not yet")


@workflow
async def child(ctx: Context) -> None:
    ctx.metadata.parent.increment("done")


@workflow(retry=Retry(attempts=2, first_delay="1s"))
async def after(ctx: Context) -> None:
    """Fails when its child has ended."""
    ctx.metadata["phase"] = "begun"
    await child()
    await fragile()
    ctx.metadata["phase"] = "over"


@workflow(retry=Retry(attempts=2, first_delay="1s"))
async def before(ctx: Context) -> None:
    """Fails, and catches that; fails for good after a child that is started again."""
    is_broken = bool(broken)
    try:
        await fragile()
    except Exception:
        await child()
        raise
    assert not is_broken
    await child()


@workflow
async def slow_child(ctx: Context) -> None:
    ctx.metadata.parent.increment("done")
    await ctx.sleep("1h")


@step(retry=None)
async def quick() -> None: ...


@workflow
async def holding(ctx: Context) -> None:
    held = await ctx.start(slow_child)
    await ctx.sleep("1m")
    await quick()
    await held.result()


@workflow
async def bottom(ctx: Context) -> None:
    ctx.metadata.root.increment("done")
    await ctx.sleep("1h")


@workflow
async def upper(ctx: Context) -> None:
    await lower()


@workflow
async def lower(ctx: Context) -> None:
    ctx.metadata.root.increment("done")
    await bottom()


@workflow
async def top(ctx: Context) -> None:
    held = await ctx.start(upper)
    await ctx.sleep("1m")
    await quick()
    await held.result()


@workflow
async def marking(ctx: Context) -> None:
    ctx.metadata["phase"] = "begun"
    ctx.metadata["done"] = 10
    held = await ctx.start(slow_child)
    await ctx.sleep("1m")
    await quick()
    await held.result()


@workflow(retry=Retry(attempts=2, first_delay="30s"))
async def patient(ctx: Context) -> None:
    ctx.metadata["phase"] = "begun"
    await fragile()


async def metadata(stepwell: StepwellTest, run: str) -> dict[str, str]:
    head = await stepwell.app.runs.get(run)
    story = await stepwell.app.runs.timeline(run)
    assert {**story.metadata} == {**head.metadata}
    return {key: bytes(raw).decode() for key, raw in head.metadata.items()}


async def test_a_change_that_a_child_asked_for_counts_once(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(after)
    await handle.result()
    assert await metadata(stepwell, handle.id) == {"phase": '"over"', "done": "1"}


async def test_a_child_that_is_started_again_asks_again(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(before)
    await handle.result()
    assert await metadata(stepwell, handle.id) == {"done": "1"}


async def test_a_fork_counts_its_own_children(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(holding)
    await stepwell.sleep("2m")
    fork = await stepwell.app.runs.fork(handle.id, from_step="quick")
    await handle.result()
    await stepwell.app.handle(fork).result()
    assert await metadata(stepwell, handle.id) == {"done": "1"}
    assert await metadata(stepwell, fork) == {"done": "1"}


async def test_a_fork_counts_what_is_below_its_own_children(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(top)
    await stepwell.sleep("2m")
    assert await metadata(stepwell, handle.id) == {"done": "2"}
    fork = await stepwell.app.runs.fork(handle.id, from_step="quick")
    await handle.result()
    await stepwell.app.handle(fork).result()
    assert await metadata(stepwell, handle.id) == {"done": "2"}
    assert await metadata(stepwell, fork) == {"done": "2"}


async def test_a_fork_that_ends_before_its_child_asks_has_counted_nothing(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(marking)
    await stepwell.sleep("2m")
    assert await metadata(stepwell, handle.id) == {"phase": '"begun"', "done": "11"}
    fork = await stepwell.app.runs.fork(handle.id, from_step="quick")
    assert await metadata(stepwell, fork) == {"phase": '"begun"', "done": "10"}
    await stepwell.app.handle(handle.id).result()
    await stepwell.app.handle(fork).result()
    assert await metadata(stepwell, handle.id) == {"phase": '"begun"', "done": "11"}
    assert await metadata(stepwell, fork) == {"phase": '"begun"', "done": "11"}


async def test_a_run_that_is_stopped_before_it_begins_again_has_the_metadata_that_it_begins_with(
    stepwell: StepwellTest,
) -> None:
    handle = await stepwell.start(patient)
    await stepwell.sleep("10s")
    assert await metadata(stepwell, handle.id) == {}
    await stepwell.app.runs.terminate(handle.id)
    await stepwell.sleep("10s")
    assert (await stepwell.app.runs.get(handle.id)).status == "terminated"
    assert await metadata(stepwell, handle.id) == {}
