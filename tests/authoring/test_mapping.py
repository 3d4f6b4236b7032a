"""`ctx.map`: bounded, ordered, durable fan-out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from stepwell import Context, DefinitionError, Outcome, RunError, StepError, step, workflow
from stepwell.testing import StepwellTest


@step(retry=None)
async def double(n: int) -> int:
    if n < 0:
        raise ValueError(f"{n} is negative")
    return 2 * n


@workflow
async def in_order(ctx: Context, items: list[int]) -> list[int]:
    return await ctx.map(double, items)


@pytest.mark.parametrize("items", [[], [1], [3, 1, 2]])
def test_results_are_in_the_order_of_the_items(stepwell: StepwellTest, items: list[int]) -> None:
    assert stepwell.run_sync(in_order, items).result == [2 * n for n in items]


def test_steps_are_named_by_their_place(stepwell: StepwellTest) -> None:
    assert sorted(stepwell.run_sync(in_order, [5, 6]).effects) == ["double[0]", "double[1]"]


@workflow
async def keyed(ctx: Context, names: list[int]) -> list[int]:
    return await ctx.map(double, names, key=lambda n: f"n{n}")


def test_a_key_names_them_by_what_they_are_for(stepwell: StepwellTest) -> None:
    assert sorted(stepwell.run_sync(keyed, [5, 6]).effects) == ["double[n5]", "double[n6]"]


@workflow
async def own_key(ctx: Context) -> list[int]:
    return await ctx.map(double.options(key="mine"), [1, 2])


def test_a_key_of_the_step_itself_stays(stepwell: StepwellTest) -> None:
    assert sorted(stepwell.run_sync(own_key).effects) == ["double[mine]", "double[mine]:2"]


@workflow
async def bounded(ctx: Context, limit: int) -> int:
    running = most = 0

    async def one(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(n)
        running -= 1
        return n

    assert await ctx.map(one, range(6), concurrency=limit) == list(range(6))
    return most


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 2), (100, 6)])
def test_at_most_so_many_run_at_a_time(stepwell: StepwellTest, limit: int, most: int) -> None:
    assert stepwell.run_sync(bounded, limit).result == most


@workflow
async def settled(ctx: Context) -> list[str]:
    outcomes: list[Outcome[int]] = await ctx.map(double, [1, -1], settle=True)
    return [str(outcome.value) if outcome.is_ok else type(outcome.error).__name__ for outcome in outcomes]


def test_with_settle_each_item_has_its_outcome(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(settled).result == ["2", "StepError"]


@workflow
async def as_they_finish(ctx: Context) -> list[int]:
    async def one(n: int) -> int:
        await asyncio.sleep(n)
        return n

    return [n async for n in ctx.map(one, [3, 1, 2])]


def test_iterating_gives_results_as_they_finish(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(as_they_finish).result == [1, 2, 3]
    assert stepwell.drive(stepwell.crash_everywhere(as_they_finish)) is not None


@workflow
async def first_failure(ctx: Context, how: str) -> list[str]:
    stopped = []

    async def one(n: int) -> None:
        try:
            await asyncio.sleep(n)
        except asyncio.CancelledError:
            stopped.append(str(n))
            raise
        await double(-n)

    try:
        if how == "await":
            await ctx.map(one, [9, 1, 8])
        else:
            async for _ in ctx.map(one, [9, 1, 8]):
                pass
    except StepError as error:
        return [error.message, *stopped]
    return []


@pytest.mark.parametrize("how", ["await", "iterate"])
def test_the_first_failure_stops_the_rest_and_is_raised_alone(stepwell: StepwellTest, how: str) -> None:
    assert stepwell.run_sync(first_failure, how).result == ["-1 is negative", "9", "8"]


@workflow
async def different_failures(ctx: Context) -> list[str]:
    def fail(error: Exception) -> Coroutine[Any, Any, None]:
        async def failing() -> None:
            raise error

        return failing()

    try:
        await ctx.map(fail, [ValueError("a"), KeyError("b")])
    except ExceptionGroup as errors:
        return [type(error).__name__ for error in errors.exceptions]
    return []


def test_failures_of_different_types_come_as_a_group(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(different_failures).result == ["ValueError", "KeyError"]


@workflow
async def failure_meanwhile(ctx: Context) -> list[object]:
    async def one(n: int) -> int:
        await asyncio.sleep(n)
        return await double(5 - 3 * n)

    seen: list[object] = []
    try:
        async for n in ctx.map(one, [1, 2]):
            await asyncio.sleep(10)
            seen.append(n)
    except StepError as error:
        seen.append(error.message)
    return seen


def test_a_failure_waits_for_the_body_to_ask_for_the_next_result(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(failure_meanwhile).result == [4, "-1 is negative"]


@workflow
async def left_early(ctx: Context, closing: bool) -> list[int]:
    seen = []

    async def one(n: int) -> int:
        await asyncio.sleep(n)
        seen.append(n)
        return n

    if closing:
        async with contextlib.aclosing(ctx.map(one, [1, 2, 3])) as results:
            async for _ in results:
                break
    else:
        async for _ in ctx.map(one, [1, 2, 3]):
            break
    await asyncio.sleep(10)
    return seen


@pytest.mark.parametrize(("closing", "seen"), [(True, [1]), (False, [1, 2, 3])])
def test_leaving_the_iteration_stops_the_rest_if_it_is_closed(
    stepwell: StepwellTest, closing: bool, seen: list[int]
) -> None:
    assert stepwell.run_sync(left_early, closing).result == seen
    stepwell.drive(stepwell.crash_everywhere(left_early, closing))


@workflow
async def iterated_past_the_end(ctx: Context) -> list[object]:
    results = aiter(ctx.map(double, [1]))
    return [await anext(aiter(results), "end") for _ in range(3)]


def test_after_the_end_there_is_nothing_more(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(iterated_past_the_end).result == [2, "end", "end"]


@workflow
async def closed_unused(ctx: Context) -> None:
    async with contextlib.aclosing(ctx.map(double, [1])):
        pass
    async with contextlib.aclosing(ctx.map(double, [1])) as results:
        aiter(results)


def test_what_was_not_begun_can_be_closed(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(closed_unused).steps == []


@workflow
async def no_room(ctx: Context) -> list[int]:
    return await ctx.map(double, [1], concurrency=0)


def test_there_must_be_room_for_one(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(no_room)

    assert run.error is not None
    assert run.error.types[0] == f"{DefinitionError.__module__}.DefinitionError"
    with pytest.raises(RunError, match=r"ctx.map\(concurrency=0\): give 1 or more"):
        _ = run.result
