"""Metadata of runs that begin anew: what was done before the failure counts once, what came after it is undone."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Context, Retry, Signal, step, workflow
from stepwell.testing import StepwellTest

go = Signal("go", str)
failures: list[int] = []


class Down(Exception):
    pass


@step
async def fine() -> None: ...


@step(retry=None)
async def fragile() -> None:
    if failures:
        failures.pop()
        raise Down


@workflow(retry=Retry(attempts=5, first_delay="1s"))
async def counting(ctx: Context) -> Any:
    ctx.metadata.increment("begun")
    await fine()
    ctx.metadata.increment("before")
    try:
        await fragile()
    except Exception:
        ctx.metadata["sorry"] = True
        raise
    ctx.metadata.increment("after")
    return dict(ctx.metadata)


@workflow
async def child(ctx: Context) -> None:
    ctx.metadata.parent.increment("told")
    await fine()


@workflow(retry=Retry(attempts=5, first_delay="1s"))
async def told(ctx: Context) -> Any:
    await child()
    await fragile()
    return dict(ctx.metadata)


WANTED = {"given": 1, "begun": 1, "before": 1, "after": 1}


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_retried_run_counts_once(stepwell: StepwellTest, times: int) -> None:
    failures[:] = [0] * times

    done = await stepwell.run(counting, metadata={"given": 1})

    assert done.result == WANTED
    assert done.metadata == WANTED
    history = await stepwell.app.runs.timeline(done.id)
    assert sorted(history.metadata) == sorted(WANTED)


async def test_what_children_report_counts_once(stepwell: StepwellTest) -> None:
    failures[:] = [0, 0]

    done = await stepwell.run(told)

    assert (done.result, done.metadata) == ({"told": 1}, {"told": 1})


async def test_a_fork_of_a_retried_run_counts_once(stepwell: StepwellTest) -> None:
    failures[:] = [0, 0]
    done = await stepwell.run(counting, metadata={"given": 1})

    for options in ({}, {"from_step": "fragile"}, {"from_step": "fine"}):
        fork = stepwell.app.handle(await stepwell.app.runs.fork(done.id, **options))
        assert await fork.result() == WANTED
        assert await fork.metadata() == WANTED


@workflow(retry=Retry(attempts=5, first_delay="1s"))
async def waiting(ctx: Context) -> None:
    ctx.metadata.increment("before")
    try:
        await fragile()
    except Exception:
        ctx.metadata["sorry"] = True
        raise
    await ctx.receive(go)


async def test_what_was_undone_is_not_shown_when_it_has_begun_anew(stepwell: StepwellTest) -> None:
    failures[:] = [0]
    run = await stepwell.start(waiting)
    await stepwell.sleep("1m")

    assert await run.metadata() == {"before": 1}
