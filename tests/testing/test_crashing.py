"""Crashes at every durable boundary."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from msgspec import Raw

from stepwell import Context, DefinitionError, Signal, current_step, step, workflow
from stepwell.model.entries import Ended
from stepwell.testing import Crash, CrashReport, StepwellTest, crash_everywhere

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


# --- the report


async def test_a_report_says_which_steps_ran_again_and_after_which_crash(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(simple, 1)

    first, second = report.repeats
    assert (first.step, first.usual, first.worst) == ("first", 1, 2)
    assert [str(crash) for crash in first.crashes] == ["killed before write 2 (step first completed)"]
    assert [str(crash) for crash in second.crashes] == ["killed before write 3 (step second completed, ended)"]


async def test_a_report_can_be_read(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(simple, 1)

    assert str(report).splitlines() == [
        "simple was killed before and after each of its 3 writes: 6 crashes, all ended as undisturbed: completed, 4",
        "steps that ran again, and with them what they do outside:",
        "  first   2 times instead of 1: killed before write 2 (step first completed)",
        "  second  2 times instead of 1: killed before write 3 (step second completed, ended)",
        "cure, where that would hurt: let the other side know current_step().idempotency_key, or look first whether "
        "it is done",
    ]


async def test_a_report_of_a_run_without_steps_says_that_nothing_ran_again(stepwell: StepwellTest) -> None:
    @workflow
    async def waits(ctx: Context) -> int:
        return await ctx.receive(go)

    report = await stepwell.crash_everywhere(waits, messages=[(go, "1h", 1)])

    assert str(report).splitlines()[1:] == ["no step ran more often than undisturbed"]


async def test_compensations_and_children_are_in_the_report(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(waiting, 1, messages=[(go, "1h", 10)])

    names = [repeat.step.partition(" ")[0] + "/" + repeat.step.rpartition("/")[2] for repeat in report.repeats]
    assert names == ["first/first", "simple/first", "simple/second", "undo/undo"]
    written = "\n".join(map(str, report.crashes))
    assert "(a child starts)" in written
    assert "(another run is told)" in written
    assert "(timer sleep #1 fired, metadata changed)" in written


def test_a_report_of_different_ends_names_some_of_them() -> None:
    def crash(write: int, value: bytes) -> Crash:
        end = Ended(status="completed", value=Raw(value))
        when = "before" if write < 20 else None
        return Crash(when=when, write=write, call="store.append", ended=end, effects=Counter())

    report = CrashReport((crash(20, b"1"), *(crash(write, b"2") for write in range(1, 13))), "simple")

    lines = str(report).splitlines()
    assert lines[0] == "simple was killed before and after 12 of its 20 writes: 12 crashes, 12 ended otherwise"
    assert lines[1] == "undisturbed, it ended with: completed, 1"
    assert lines[2] == "killed before write 1 (store.append): completed, 2"
    assert lines[12] == "and 2 more crashes"


async def test_the_number_of_crashes_can_be_bounded(stepwell: StepwellTest) -> None:
    all_of_them = await stepwell.crash_everywhere(waiting, 1, messages=[(go, "1h", 10)])
    some = await stepwell.crash_everywhere(waiting, 1, messages=[(go, "1h", 10)], max_crashes=8)

    assert all_of_them.boundaries == some.boundaries
    assert len(all_of_them.crashes) == 1 + 2 * all_of_them.boundaries
    assert 6 <= len(some.crashes) - 1 <= 8
    assert f" of its {some.boundaries} writes: " in str(some)
    with pytest.raises(DefinitionError, match="max_crashes=1"):
        await stepwell.crash_everywhere(simple, 1, max_crashes=1)


async def test_the_deaths_of_workers_are_not_warned_of(
    stepwell: StepwellTest, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await stepwell.crash_everywhere(simple, 1)

    assert caplog.records == []


# --- in scripts


def test_a_script_needs_no_event_loop() -> None:
    report = crash_everywhere(simple, 1, fakes={second: 7})

    assert bytes(report.results[0].value) == b"7"
    assert report.repeated == {"first": 2, "second": 2}


async def test_inside_of_an_event_loop_the_fixture_is_named(stepwell: StepwellTest) -> None:
    with pytest.raises(DefinitionError, match=r"await stepwell\.crash_everywhere"):
        crash_everywhere(simple, 1)
