"""Sagas and cancels: what was done is undone, and once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from tests.engine.worker.driving import START, Wire, error_of

from stepwell import Context, FatalError, Signal, step, workflow
from stepwell.model.entries import StepCompleted

approve = Signal("approve", str)


@step
async def load(n: int) -> int:
    return n * 10


class CardRefused(Exception):
    code = "E_CARD"


@workflow
async def stepping(ctx: Context, n: int) -> int:
    total = await load(n) + await load(n + 1)
    total += int(await ctx.receive(approve))
    return total + sum(await ctx.map(load, [1, 2]))


@workflow
async def racing(ctx: Context, ms: int) -> str:
    try:
        async with asyncio.timeout(ms / 1000):
            return f"loaded {await load(1)}"
    except TimeoutError:
        await load(2)
        return "late"


@step
async def book(what: str) -> str:
    return f"{what} booked"


@book.compensate
async def unbook(result: str, what: str) -> None:
    if what == "ship":
        raise FatalError("it has sailed")


@workflow
async def travelling(ctx: Context, ends: str) -> str:
    async with ctx.saga():
        await book("hotel")
        if ends == "badly":
            await book("ship")
        if ends == "waits":
            await ctx.receive(approve)
        await ctx.sleep(1)
        if ends != "well":
            raise CardRefused("no money")
    return "done"


def reports(wire: Wire) -> list[Any]:
    assert wire.outcome is not None
    found = msgspec.json.decode(wire.outcome.compensations)
    return [(report["stepId"], report["status"], report.get("error", {}).get("message", "")) for report in found]


@pytest.mark.parametrize(
    ("ends", "status", "undone"),
    [
        ("with an error", "compensated", [("book", "ok", "")]),
        (
            "badly",
            "compensation_failed",
            [("book:2", "err", "step unbook failed after 1 attempt: FatalError: it has sailed"), ("book", "ok", "")],
        ),
    ],
)
def test_an_error_undoes_what_was_done_and_says_so(ends: str, status: str, undone: list[Any]) -> None:
    wire = Wire(travelling, ends)
    wire.invoke()
    for _ in range(2):
        outcome = wire.resolve("sleep:1").invoke() if "sleep:1" in wire.waits else wire.invoke()
        assert (outcome.status, error_of(outcome)["code"]) == (status, "E_CARD")
        assert [(id, ok) for id, ok, _ in reports(wire)] == [(id, ok) for id, ok, _ in undone]
    assert wire.ran.count("unbook") == 1


def test_a_cancel_undoes_what_was_done() -> None:
    wire = Wire(travelling, "waits")
    wire.invoke()
    outcome = wire.invoke(cancel="too late")

    assert (outcome.status, reports(wire)) == ("cancelled", [("book", "ok", "")])
    assert wire.ran == ["book", "unbook"]


@workflow
async def tidying(ctx: Context) -> None:
    try:
        await ctx.receive(approve)
    finally:
        await ctx.sleep("1m")
        await load(1)
        async with asyncio.timeout(60):
            await ctx.receive(approve)


def test_a_cancelled_body_may_take_its_time_to_clean_up() -> None:
    wire = Wire(tidying)
    wire.invoke()

    assert wire.invoke(cancel="too late").status == "cancelled"
    assert (wire.ran, wire.now) == (["load"], START + 120_000)


@workflow
async def clinging(ctx: Context) -> None:
    try:
        await ctx.receive(approve)
    finally:
        await ctx.receive(approve)


def test_a_cancelled_body_does_not_wait_for_what_never_comes() -> None:
    wire = Wire(clinging)
    wire.invoke()

    assert wire.invoke(cancel="too late").status == "cancelled"


def test_a_cancel_that_is_repeated_undoes_nothing_twice() -> None:
    wire = Wire(travelling, "waits")
    wire.invoke()
    session = wire.begin(cancel="too late")
    wire.keep(wire.work(session))
    session.close()
    outcome = wire.invoke(cancel="too late")

    assert (outcome.status, reports(wire), wire.ran) == ("cancelled", [("book", "ok", "")], ["book", "unbook"])


def test_a_cancel_starts_no_step_that_the_body_was_about_to_run() -> None:
    wire = Wire(stepping, 1)

    assert wire.invoke(cancel="too late").status == "cancelled"
    assert wire.ran == []


def test_a_step_that_nobody_waits_for_any_more_is_given_up() -> None:
    wire = Wire(racing, 100)
    session = wire.begin()
    (command,) = session.take_steps()
    session.tick(START + 100)

    assert session.take_abandoned() == [command.id]
    assert session.place(StepCompleted(id=command.id, value=Raw(b"1")), START + 101) is None
    assert [command.id for command in session.take_steps()] == ["load:2"]
    session.close()
    session.close()
