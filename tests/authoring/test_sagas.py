"""Sagas: completed steps are undone, newest first, each once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Context, RunError, Signal, step, workflow
from stepwell.engine.timeline import StepItem
from stepwell.testing import StepwellTest

go = Signal("go", bool)


@step
async def book(what: str) -> str:
    return f"booked {what}"


@book.compensate
async def release(result: str, what: str) -> None:
    assert result == f"booked {what}"


@step(retry=None)
async def rent(what: str) -> str:
    return what


@rent.compensate
async def refuse(result: str, what: str) -> None:
    raise PermissionError(f"{what} stays rented")


rent.compensation = rent.compensation and rent.compensation.options(retry=None)


@step
async def look() -> None: ...


class Broken(Exception): ...


@workflow
async def fails(ctx: Context) -> None:
    async with ctx.saga():
        await book("a")
        await look()
        await book("b")
        raise Broken("no")


def test_a_block_that_fails_is_undone_newest_first(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(fails)

    assert run.steps == ["book", "look", "book", "release", "release"]
    assert list(run.effects) == ["book", "look", "book:2", "release", "release:2"]
    with pytest.raises(RunError, match="Broken: no"):
        _ = run.result


def test_a_crash_undoes_nothing_twice(stepwell: StepwellTest) -> None:
    stepwell.drive(stepwell.crash_everywhere(fails))


@workflow
async def succeeds(ctx: Context, undo: bool) -> str:
    async with ctx.saga() as saga:
        await book("a")
        if undo:
            await saga.compensate()
            await saga.compensate()
    return "done"


@pytest.mark.parametrize(("undo", "steps"), [(False, ["book"]), (True, ["book", "release"])])
def test_a_block_that_succeeds_is_undone_if_asked(stepwell: StepwellTest, undo: bool, steps: list[str]) -> None:
    assert stepwell.run_sync(succeeds, undo).steps == steps


@workflow
async def nested(ctx: Context, inner_fails: bool) -> None:
    async with ctx.saga():
        await book("outer")
        try:
            async with ctx.saga():
                await book("inner")
                if inner_fails:
                    raise Broken
        except Broken:
            return
        raise Broken


@pytest.mark.parametrize(
    ("inner_fails", "steps"),
    [(True, ["book", "book", "release"]), (False, ["book", "book", "release", "release"])],
)
def test_an_inner_block_that_succeeds_belongs_to_the_outer_one(
    stepwell: StepwellTest, inner_fails: bool, steps: list[str]
) -> None:
    assert stepwell.run_sync(nested, inner_fails).steps == steps


@workflow
async def in_tasks(ctx: Context) -> None:
    async with ctx.saga():
        async with asyncio.TaskGroup() as group:
            group.create_task(book("a"))
            group.create_task(book("b"))
        raise Broken


def test_steps_of_tasks_belong_to_the_block_around(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(in_tasks).steps == ["book", "book", "release", "release"]


@workflow
async def cannot_undo(ctx: Context) -> list[str]:
    try:
        async with ctx.saga():
            await rent("a")
            await book("b")
            raise Broken("first")
    except Broken as error:
        return [str(error), *(note.split(":")[0] for note in error.__notes__)]


def test_an_undo_that_fails_is_noted_and_the_others_go_on(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(cannot_undo)

    assert run.result == ["first", "while undoing"]
    assert run.steps == ["rent", "book", "release", "refuse"]


@workflow
async def asks_for_undo(ctx: Context) -> list[str]:
    async with ctx.saga() as saga:
        await rent("a")
        await rent("b")
        try:
            await saga.compensate()
        except ExceptionGroup as errors:
            return [str(errors.message), *(type(error).__name__ for error in errors.exceptions)]
    return []


def test_an_undo_that_was_asked_for_raises_what_failed(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(asks_for_undo).result == ["compensations failed", "StepError", "StepError"]


@workflow
async def waits(ctx: Context) -> None:
    async with ctx.saga():
        await book("a")
        await book("b")
        await ctx.receive(go)


async def test_a_cancelled_run_is_undone(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(waits)
    await stepwell.sleep("1m")
    await handle.cancel("enough")
    with pytest.raises(RunError, match="enough"):
        await handle.result()

    timeline = await stepwell.app.runs.timeline(handle.id)
    steps = [item.name for item in timeline.items if isinstance(item, StepItem)]
    assert steps == ["book", "book", "release", "release"]


@step
async def slow_undo() -> None: ...


@slow_undo.compensate
async def undo_slowly(result: None) -> None:
    await asyncio.sleep(60)


@workflow
async def cancelled_while_undoing(ctx: Context) -> str:
    async def block() -> None:
        async with ctx.saga():
            await slow_undo()
            await book("b")
            raise Broken

    task = asyncio.create_task(block())
    await asyncio.sleep(30)
    task.cancel()
    await asyncio.wait([task])
    return "cancelled" if task.cancelled() else "ended"


def test_a_cancel_does_not_interrupt_the_undoing(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(cancelled_while_undoing)

    assert run.steps == ["slow_undo", "book", "release", "undo_slowly"]
    assert run.result == "cancelled"


@workflow
async def outside_of_a_block(ctx: Context) -> None:
    await book("a")
    raise Broken


def test_without_a_block_nothing_is_undone(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(outside_of_a_block).steps == ["book"]


@step
async def hold(what: str) -> str:
    return what


undone: list[str] = []


@hold.compensate
async def let_go(result: str, what: str) -> None:
    await asyncio.sleep(10)
    undone.append(what)


@step(retry=None)
async def break_soon() -> None:
    await asyncio.sleep(5)
    raise Broken


@workflow
async def hasty(ctx: Context) -> None:
    async def trip() -> None:
        async with ctx.saga():
            await hold("a")
            await hold("b")
            raise Broken

    await asyncio.gather(trip(), break_soon(), return_exceptions=False)


@workflow
async def hastier(ctx: Context) -> None:
    async def trip() -> None:
        async with ctx.saga():
            await hold("a")
            await hold("b")
            await look()
            raise Broken

    trips = asyncio.create_task(trip())
    await break_soon()
    await trips


@pytest.mark.parametrize("flow", [hasty, hastier])
def test_what_is_being_undone_when_the_body_ends_is_undone(stepwell: StepwellTest, flow: Any) -> None:
    undone.clear()
    stepwell.run_sync(flow)

    assert undone == ["b", "a"]
