"""Runs that go on, against other code: what `replay_frames` says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from stepwell import Blueprint, Codec, Context, Retry, Signal, StepError, step, workflow
from stepwell.authoring.registry import Registry
from stepwell.runtime.replaying import ReplayReport, replay_frames
from stepwell.testing import StepwellTest, replay

Body = Callable[..., Any]

go = Signal("go", int)


class Old(Struct):
    id: int


class New(Struct):
    id: int
    name: str


@step(retry=None)
async def charge(n: int) -> int:
    if n < 0:
        raise ValueError("negative")
    return n


async def waits(ctx: Context, order: Old) -> int:
    return await charge(order.id) + await ctx.receive(go)


async def waits_too(ctx: Context, order: New) -> int:
    return await charge(order.id) + await ctx.receive(go)


async def ends(ctx: Context, order: Old) -> int:
    return await charge(order.id)


async def is_stuck(ctx: Context, order: Old) -> int:
    await charge(order.id)
    await asyncio.get_running_loop().create_future()
    return 0


async def fails(ctx: Context, order: Old) -> int:
    await charge(order.id)
    raise RuntimeError("no luck")


async def in_a_thread(ctx: Context, order: Old) -> int:
    return await asyncio.to_thread(int)


async def spins(ctx: Context, order: Old) -> int:
    while order:
        await asyncio.sleep(0)
    return 0


async def fails_at_once(ctx: Context, order: Old) -> int:
    raise RuntimeError("no luck")


async def pays_twice(ctx: Context, order: Old) -> int:
    await ctx.receive(go)
    return await charge(-1) + await charge(-2)


def replayed(stepwell: StepwellTest, before: Body, after: Body, *, pause: bool = False) -> ReplayReport:
    """A run of the one code that waits (paused, with a message), replayed with the other."""

    async def scenario() -> ReplayReport:
        handle = await stepwell.start(workflow(id="order", version="1")(before), Old(7), id="order-7")
        await stepwell.sleep("1s")
        if pause:
            await stepwell.app.runs.pause("order-7")
            await handle.send(go, 1)
            await stepwell.sleep("1s")
        _, frames = await stepwell.app.client.journal(handle.id)
        changed = workflow(id="order", version="2", accepts=["1"])(after)
        report = replay_frames(handle.id, frames, changed, Registry([changed], Codec()))
        await stepwell.app.runs.terminate("order-7")
        return report

    return stepwell.drive(scenario())


def test_the_same_code_can_go_on(stepwell: StepwellTest) -> None:
    report = replayed(stepwell, waits, waits)

    assert (report.error, report.difference, report.warnings, report.version) == (None, None, (), "1")


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (fails, "the code fails the run, which was going on: RuntimeError: no luck"),
        (waits_too, "the code has failed: CodecError: input of workflow order: object missing required field name"),
        (is_stuck, "the code waits for what nothing in the run can bring"),
    ],
)
def test_code_that_would_spoil_a_run_that_goes_on_is_reported(stepwell: StepwellTest, after: Body, why: str) -> None:
    report = replayed(stepwell, waits, after)

    assert not report.is_ok
    assert report.difference is not None
    assert why in report.difference.why


@pytest.mark.parametrize(("after", "cure"), [(in_a_thread, "do it in a step"), (spins, "await something in the loop")])
def test_what_a_body_may_not_do_is_told_in_the_same_words_for_all_runs(
    stepwell: StepwellTest, after: Body, cure: str
) -> None:
    report = replayed(stepwell, waits, after)

    assert not report.is_ok
    assert report.difference is not None
    assert "order-7" in (report.error or "")
    assert "order-7" not in report.difference.why
    assert report.difference.cure.startswith(cure)


def test_code_that_ends_earlier_is_a_warning(stepwell: StepwellTest) -> None:
    report = replayed(stepwell, waits, ends)

    assert report.is_ok
    assert report.warnings == (
        "the code has finished where history goes no further; the run will end when it is next driven",
    )


def test_what_a_paused_run_holds_back_is_replayed_too(stepwell: StepwellTest) -> None:
    report = replayed(stepwell, pays_twice, pays_twice, pause=True)

    assert report.is_ok
    assert report.pending == ("charge",)
    assert report.waits == ()


async def test_a_run_that_has_not_begun_may_fail_at_once(stepwell: StepwellTest) -> None:
    """It would have failed with the old code too."""
    code = workflow(id="order")(fails_at_once)
    handle = await stepwell.app.start(code, Old(7), id="order-8", delay="1h")
    _, frames = await stepwell.app.client.journal(handle.id)
    registry = Registry([code], Codec())

    assert (await stepwell.app.runs.replay("order-8")).error is None
    assert replay_frames(handle.id, frames, code, registry, status="queued").warnings == ()
    assert replay_frames(handle.id, frames, code, registry, status="waiting").error is not None


async def test_a_generation_that_has_not_begun_may_fail_at_once(stepwell: StepwellTest) -> None:
    code = workflow(id="order", retry=Retry(attempts=2, first_delay="1h", jitter=0))(fails_at_once)
    stepwell.app.registry.add(code)
    await stepwell.app.start(code, Old(7), id="order-9")
    await stepwell.sleep("1s")

    report = await stepwell.app.runs.replay("order-9")

    assert (report.error, report.warnings) == (None, ())
    await stepwell.app.runs.terminate("order-9")


@workflow
async def child(ctx: Context, n: int) -> int:
    return await charge(n)


async def does_a_lot(ctx: Context, order: Old) -> int:
    got = await ctx.receive(go)
    ctx.metadata["got"] = got
    try:
        async with asyncio.timeout(3600):
            await asyncio.gather(charge(1), charge(2), charge(-1))
    except StepError:
        await ctx.sleep("1d")
    numbers = await ctx.map(charge, [ctx.random.randint(1, 9) for _ in range(3)])
    return sum(numbers) + await child(got)


async def test_every_beginning_of_a_journal_replays_with_the_code_that_wrote_it(stepwell: StepwellTest) -> None:
    code = workflow(id="order")(does_a_lot)
    run = await stepwell.run(code, Old(7), messages=[(go, "1h", 5)])
    registry = Registry([code, child], Codec())

    reports = [
        replay_frames(run.id, run.history[:length], code, registry, status="running")
        for length in range(1, len(run.history) + 1)
    ]

    assert len(reports) > 6
    assert [(report.error, report.warnings, report.impure) for report in reports if report.error] == []
    assert {(report.warnings, report.impure) for report in reports} == {((), ())}


async def test_a_run_that_was_cancelled_before_its_time_to_begin_replays(stepwell: StepwellTest) -> None:
    code = workflow(id="order")(does_a_lot)
    stepwell.app.registry.add(code)
    handle = await stepwell.app.start(code, Old(7), id="order-8", delay="1h")
    await handle.cancel()
    await stepwell.sleep("1s")

    report = await stepwell.app.runs.replay("order-8")

    assert (await handle.status(), report.error) == ("cancelled", None)


def test_a_run_whose_blueprint_cannot_be_read_any_more_is_told() -> None:
    """Such as one whose expressions an earlier version understood."""
    flow = Blueprint("f").set("one", a="1 + 1").wait("ask").edge("one", "ask")

    async def body(test: StepwellTest) -> bytes:
        handle = await test.start(flow, {})
        await test.sleep("1s")
        return await test.app.runs.export(handle.id)

    with StepwellTest() as test:
        export = test.drive(body(test))
    report = replay(export.replace(b"1 + 1", b"1 +++"), flow)

    assert not report.is_ok
    assert report.error is not None
    assert report.error.startswith("expression '1 +++', column")
    assert not report.is_missing_code
