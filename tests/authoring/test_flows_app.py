"""Flows as runs: on a real engine and worker, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from stepwell import Blueprint, Context, Event, FatalError, Retry, RunError, Signal, Stepwell, flow, step, workflow
from stepwell.testing import StepwellTest

approval = Signal("approval", bool)
paid = Event("paid", int)
HALF_AN_HOUR = timedelta(minutes=30)


class OutOfStock(LookupError):
    pass


@dataclass
class Line:
    sku: str
    price: int
    count: int = 1


@dataclass
class Order:
    id: int
    lines: list[Line]


@dataclass
class Receipt:
    order: int
    total: int
    note: str = ""


SMALL = Order(1, [Line("pen", 3, 2)])
LARGE = Order(2, [Line("desk", 100, 2), Line("lamp", 25)])


@step(retry=None)
async def reserve(sku: str, count: int) -> str:
    if count > 5:
        raise OutOfStock(sku)
    return f"{count} x {sku}"


@step(retry=Retry(attempts=3, first_delay="1h", jitter=0))
async def charge(order: Order, total: int) -> Receipt:
    return Receipt(order.id, total)


@step
def stamp(receipt: Receipt) -> str:
    return f"{receipt.order}/{receipt.total}"


@step(retry=None)
async def gives_up(n: int) -> int:
    raise FatalError(f"{n} is enough")


@flow
async def total_of(order: Order) -> int:
    return sum(line.price * line.count for line in order.lines)


@flow
async def buy(order: Order) -> Receipt:
    total = await total_of(order)
    reserved = await asyncio.gather(*(reserve(line.sku, line.count) for line in order.lines))
    receipt = await charge(order, total)
    return Receipt(receipt.order, receipt.total, note=", ".join(reserved))


@flow
async def asks(ctx: Context, order: Order) -> str:
    try:
        is_approved = await ctx.receive(approval, timeout="2d")
    except TimeoutError:
        return "too late"
    if not is_approved:
        return "refused"
    receipt = await buy(order)
    return await stamp(receipt)


@flow
async def waits(ctx: Context, n: int) -> list[int]:
    found = [await ctx.receive(paid, timeout="1d", default=-1) for _ in range(n)]
    await ctx.sleep("1h")
    await ctx.sleep(HALF_AN_HOUR)
    await asyncio.sleep(1800)
    return found


@flow
async def catches(order: Order) -> str:
    try:
        receipt = await buy(order)
    except OutOfStock as error:
        return f"no more {error}"
    except LookupError:
        return "something is not there"
    return receipt.note


@flow
async def caught_in_vain(n: int) -> int:
    try:
        return await gives_up(n)
    except Exception:
        return -1


@flow
async def raises(n: int) -> int:
    if n > 1:
        raise OutOfStock(f"{n} pens")
    return n


@workflow
async def outer(ctx: Context, order: Order) -> Receipt:
    return await buy(order)


@workflow
async def inner(ctx: Context, n: int) -> int:
    return n + 1


@flow
async def runs_a_workflow(n: int) -> int:
    return await inner(n) * 10


async def test_a_flow_runs(stepwell: StepwellTest) -> None:
    run = await stepwell.run(buy, LARGE)
    assert run.result == Receipt(2, 225, "2 x desk, 1 x lamp")
    assert run.steps == ["reserve", "reserve", "charge"]


async def test_steps_of_a_flow_are_faked_like_others(stepwell: StepwellTest) -> None:
    run = await stepwell.run(buy, SMALL, fakes={charge: Receipt(7, 7)})
    assert run.result == Receipt(7, 7, "2 x pen")


async def test_steps_of_a_flow_are_tried_as_they_say(stepwell: StepwellTest) -> None:
    began = stepwell.now
    run = await stepwell.run(buy, SMALL, fakes={charge: ConnectionError("busy")})
    assert run.error is not None
    assert run.error.is_(ConnectionError)
    assert stepwell.now - began == timedelta(minutes=2)


async def test_a_flow_waits_for_signals(stepwell: StepwellTest) -> None:
    assert (await stepwell.run(asks, SMALL, messages=[(approval, "1d", True)])).result == "1/6"
    assert (await stepwell.run(asks, SMALL, messages=[(approval, "1d", False)])).result == "refused"
    assert (await stepwell.run(asks, SMALL)).result == "too late"


async def test_a_flow_waits_for_events_and_sleeps(stepwell: StepwellTest) -> None:
    began = stepwell.now
    run = await stepwell.run(waits, 2, messages=[(paid, "1h", 5)])
    assert run.result == [5, -1]
    assert stepwell.now - began == timedelta(hours=1 + 24 + 2)


async def test_a_handler_sees_what_failed_in_a_subflow(stepwell: StepwellTest) -> None:
    run = await stepwell.run(catches, Order(1, [Line("desk", 1, 9)]))
    assert run.result == "no more desk"
    assert run.status == "completed"


async def test_a_handler_asks_for_base_classes(stepwell: StepwellTest) -> None:
    run = await stepwell.run(catches, LARGE, fakes={reserve: KeyError("x")})
    assert run.result == "something is not there"


async def test_a_fatal_error_is_not_caught(stepwell: StepwellTest) -> None:
    run = await stepwell.run(caught_in_vain, 3)
    assert run.error is not None
    assert run.error.is_(FatalError)


async def test_what_a_flow_raises_is_the_error_of_the_run(stepwell: StepwellTest) -> None:
    run = await stepwell.run(raises, 2)
    assert run.error is not None
    assert run.error.is_(OutOfStock)
    assert run.error.is_(LookupError)
    assert run.error.message == "node 'OutOfStock': 2 pens"


async def test_a_workflow_awaits_a_flow(stepwell: StepwellTest) -> None:
    assert (await stepwell.run(outer, SMALL)).result == Receipt(1, 6, "2 x pen")


async def test_a_flow_awaits_a_workflow(stepwell: StepwellTest) -> None:
    assert (await stepwell.run(runs_a_workflow, 3)).result == 40


async def test_a_flow_bears_crashes_everywhere(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(buy, LARGE)
    assert report.boundaries > 3


def test_a_flow_is_called_plainly_outside_of_runs() -> None:
    assert asyncio.run(catches(LARGE)) == "2 x desk, 1 x lamp"
    assert asyncio.run(catches(Order(1, [Line("desk", 1, 9)]))) == "no more desk"


async def started() -> tuple[int, str]:
    async with Stepwell("memory://", include=[__name__]) as app:
        result = await (await app.start(raises, 1)).result()
        failed = await app.start(raises, 5)
        try:
            await failed.result()
        except RunError as error:
            return result, str(error)
    raise AssertionError("it ends with a failure")


def test_an_app_finds_the_flows_of_a_module() -> None:
    result, message = asyncio.run(started())
    assert result == 1
    assert "5 pens" in message


async def test_the_json_of_a_flow_runs_without_the_function(stepwell: StepwellTest) -> None:
    read = Blueprint.from_json(buy.to_json(), include=[reserve, charge, total_of])
    run = await stepwell.run(read, {"id": 2, "lines": [{"sku": "lamp", "price": 25, "count": 1}]})
    assert run.result == {"order": 2, "total": 25, "note": "1 x lamp"}
