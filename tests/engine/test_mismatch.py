"""Code that does not fit its history: what the error says. Each pair of workflows is an old and a new code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stepwell import Codec, Context, Signal, step, workflow
from stepwell.authoring.registry import Registry
from stepwell.runtime.replaying import ReplayReport, replay_frames
from stepwell.testing import StepwellTest

Body = Callable[..., Any]

go = Signal("go", int)


@step(retry=None)
async def charge(n: int) -> int:
    if n < 0:
        raise ValueError("negative")
    return n


@step
async def validate(n: int) -> int:
    return n


@workflow
async def child(ctx: Context) -> None: ...


def report_of(stepwell: StepwellTest, before: Body, after: Body) -> ReplayReport:
    """What is said when a run of the one code is replayed with the other."""
    run = stepwell.run_sync(workflow(id="order")(before), id="order-7", messages=[(go, "1m", 1)])
    changed = workflow(id="order", version="2")(after)
    return replay_frames(run.id, run.history, changed, Registry([changed], Codec()))


def difference(stepwell: StepwellTest, before: Body, after: Body) -> str:
    """The text of it."""
    report = report_of(stepwell, before, after)
    assert report.error is not None
    return report.error


async def charges(ctx: Context) -> None:
    await charge(1)


async def validates_first(ctx: Context) -> None:
    await validate(1)
    await charge(1)


def test_a_step_that_was_added_is_named_with_its_line(stepwell: StepwellTest) -> None:
    text = difference(stepwell, charges, validates_first)

    assert "run order-7 (order) cannot continue; nothing was changed, it stays resumable" in text
    assert "history #2    step    charge           completed 2" in text
    assert "code asks      step    validate         " in text
    assert "test_mismatch.py:" in text
    assert "(and nothing else is pending)" in text
    assert 'did you add `validate` before `charge`?\n  guard it:  if ctx.patched("validate-first"): ...' in text
    assert "stepwell runs fork order-7 --from-step charge" in text


async def charges_twice(ctx: Context) -> None:
    await ctx.map(charge, [1, 2, 3, 4])


async def validates_all(ctx: Context) -> None:
    await ctx.map(validate, [1, 2, 3, 4, 5])


def test_other_steps_that_are_asked_for_are_named_too(stepwell: StepwellTest) -> None:
    text = difference(stepwell, charges_twice, validates_all)

    assert "(and validate[1], validate[2], validate[3] are pending)" in text


async def nothing(ctx: Context) -> None: ...


async def waits(ctx: Context) -> None:
    await ctx.receive(go)


async def fails(ctx: Context) -> None:
    try:
        await charge(-1)
    except Exception:
        return


async def sleeps(ctx: Context) -> None:
    await ctx.sleep("1h")


async def has_a_child(ctx: Context) -> None:
    await ctx.start(child)


async def has_a_hook(ctx: Context) -> None:
    await ctx.create_hook(int, token="order token")
    await ctx.sleep("1s")


async def sleeps_on_nothing(ctx: Context) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (charges, nothing, ["step    charge", "completed", "nothing: it has finished", "remove or rename `charge`?"]),
        (charges, waits, ["step    charge", "code asks      signal  go ", "test_mismatch.py:"]),
        (charges, sleeps_on_nothing, ["step    charge", "code asks      nothing   ", "test_mismatch.py:"]),
        (fails, waits, ["step    charge", "failed"]),
        (sleeps, charges, ["timer   sleep #1", "fired"]),
        (has_a_child, waits, ["act     child", "intended"]),
        (has_a_child, charges, ["act     child", "code asks      step    charge"]),
        (has_a_hook, has_a_child, ["act     hook", "code asks      child   child"]),
    ],
)
def test_what_the_history_holds_is_named(
    stepwell: StepwellTest, before: Body, after: Body, expected: list[str]
) -> None:
    text = difference(stepwell, before, after)

    assert [part for part in expected if part not in text] == [], text


@step(name="charge")
async def charge_text(n: int) -> list[str]:
    return [str(n)]


async def charges_text(ctx: Context) -> None:
    await charge_text(1)


def test_only_what_is_a_step_can_be_forked_from(stepwell: StepwellTest) -> None:
    text = difference(stepwell, sleeps, charges)

    assert "runs fork" not in text
    assert text.endswith("\n  see: stepwell runs explain order-7")


def test_a_result_of_another_type_is_named(stepwell: StepwellTest) -> None:
    text = difference(stepwell, charges, charges_text)

    assert text.startswith("run order-7: history #2 does not fit the code: the result of step charge")


def test_the_difference_can_be_listed_in_parts(stepwell: StepwellTest) -> None:
    found = report_of(stepwell, charges, validates_first).difference

    assert found is not None
    assert (found.seq, found.history, found.code) == (2, "step charge", "step validate")
    assert found.place.startswith("test_mismatch.py:")
    assert found.place.endswith(", in validates_first")
    assert found.why == "history has step charge, the code asks for step validate"
    assert 'guard it:  if ctx.patched("validate-first")' in found.cure


def test_the_difference_of_a_result_of_another_type_names_the_cure(stepwell: StepwellTest) -> None:
    found = report_of(stepwell, charges, charges_text).difference

    assert found is not None
    assert (found.seq, found.history) == (2, "step charge")
    assert "a default for a new field" in found.cure


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (charges, nothing, "history has step charge, the code has finished"),
        (charges, sleeps_on_nothing, "history has step charge, the code asks for nothing"),
    ],
)
def test_the_difference_says_if_nothing_is_asked(stepwell: StepwellTest, before: Body, after: Body, says: str) -> None:
    found = report_of(stepwell, before, after).difference

    assert found is not None
    assert found.why == says


async def raises_first(ctx: Context) -> None:
    raise KeyError("order")


def test_code_that_fails_before_a_recorded_step_is_not_taken_for_a_removed_step(stepwell: StepwellTest) -> None:
    text = difference(stepwell, charges, raises_first)

    assert "code asks      nothing: it has failed: KeyError: 'order'" in text
    assert "remove or rename" not in text
