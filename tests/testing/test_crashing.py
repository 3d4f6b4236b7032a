"""Crashes at every durable boundary."""

from __future__ import annotations

import pytest

from stepwell import Context, Signal, current_step, step, workflow
from stepwell.testing import StepwellTest

go = Signal("go", int)
ledger: dict[str, int] = {}


@step
async def first(x: int) -> int:
    return x + 1


@step
def second(x: int) -> int:
    return x * 2


@first.compensate
async def undo(result: int, x: int) -> None: ...


@workflow
async def simple(ctx: Context, x: int) -> int:
    return await second(await first(x))


@workflow
async def waiting(ctx: Context, x: int) -> int:
    got = await ctx.receive(go)
    await ctx.sleep("3d")
    ctx.metadata["got"] = got
    try:
        async with ctx.saga():
            await first(x)
            raise ValueError("undo it")
    except ValueError:
        pass
    return got + await simple(x)


async def test_a_run_survives_a_crash_at_every_write(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(simple, 1)

    assert {(end.status, bytes(end.value)) for end in report.results} == {("completed", b"4")}
    assert len(report.crashes) > 6


async def test_steps_whose_result_was_lost_run_again(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(simple, 1)

    assert report.repeated == {"first": 2, "second": 2}


async def test_messages_timers_sagas_and_children_survive(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(waiting, 1, messages=[(go, "1h", 10)], fakes={second: 5})

    assert bytes(report.results[0].value) == b"15"
    assert any(id.startswith("simple ") for id in report.repeated)


async def test_a_run_that_ends_otherwise_after_a_crash_is_an_error(stepwell: StepwellTest) -> None:
    @step
    async def counted() -> int:
        key = f"{current_step().run_id} {calls.setdefault('n', 0)}"
        calls[key] = calls.get(key, 0) + 1
        calls["n"] += 1
        return calls["n"]

    @workflow
    async def unsound(ctx: Context) -> int:
        return await counted()

    calls: dict[str, int] = {}
    with pytest.raises(AssertionError, match=r"undisturbed, it ended with: completed, 1\n.*killed before write"):
        await stepwell.crash_everywhere(unsound)


async def test_a_failing_run_fails_in_the_same_way(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(simple, 1, fakes={first: RuntimeError("no")})

    assert {end.status for end in report.results} == {"failed"}
