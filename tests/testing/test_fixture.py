"""The fixture `stepwell`: whole workflows in virtual time, with fakes and messages."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import timedelta

import pytest

from stepwell import (
    CodecError,
    Context,
    DefinitionError,
    Event,
    NonDeterminismError,
    NotDurableError,
    Retry,
    RunCancelledError,
    RunError,
    Signal,
    current_step,
    step,
    workflow,
)
from stepwell.testing import DeadlockError, StepwellTest


@dataclass
class Order:
    id: int


@dataclass
class Receipt:
    id: str


@dataclass
class Approval:
    by: str


class ApprovalMissing(Exception): ...


class OutOfStock(Exception): ...


approval = Signal("approval", Approval)
paid = Event("paid", int)


@step
async def charge(order: Order) -> Receipt:
    raise AssertionError("this would cost money")


@charge.compensate
async def refund(receipt: Receipt, order: Order) -> None: ...


@step(raises=OutOfStock)
async def reserve(order: Order) -> None:
    raise AssertionError("this would empty the shelf")


@step
async def notify(order: Order) -> None:
    raise AssertionError("this would wake somebody")


@workflow(version="1")
async def checkout(ctx: Context, order: Order) -> Receipt:
    async with ctx.saga():
        receipt = await charge(order)
        async with asyncio.TaskGroup() as tg:
            tg.create_task(reserve(order))
            tg.create_task(notify(order))
        decision = await ctx.receive(approval, timeout="2d", default=None)
        if decision is None:
            raise ApprovalMissing(order.id)
        ctx.metadata["by"] = decision.by
    await asyncio.sleep(86_400)
    return receipt


FAKES = {charge: Receipt("r"), reserve: None, notify: None}


async def test_expires(stepwell: StepwellTest) -> None:
    run = await stepwell.run(checkout, Order(id=7), fakes={charge: Receipt("r"), reserve: None, notify: None})

    assert run.error.is_(ApprovalMissing)
    assert run.steps == ["charge", "reserve", "notify", "refund"]


async def test_a_message_arrives_after_its_time(stepwell: StepwellTest) -> None:
    before = stepwell.now

    run = await stepwell.run(checkout, Order(7), fakes=FAKES, messages=[(approval, "1h", Approval("ada"))])

    assert run.result == Receipt("r")
    assert (run.status, run.metadata) == ("completed", {"by": "ada"})
    with pytest.raises(AssertionError, match="it is completed"):
        _ = run.error
    assert stepwell.now - before == timedelta(hours=25)


async def test_the_timeline_tells_when_what_happened(stepwell: StepwellTest) -> None:
    run = await stepwell.run(checkout, Order(7), fakes=FAKES, messages=[(approval, "1h", Approval("ada"))])

    assert [type(item).__name__ for item in run.timeline.items] == [
        *["StepItem"] * 3,
        "MessageItem",
        "MetadataItem",
        "TimerItem",
        "EndItem",
    ]
    assert run.timeline.at - run.timeline.created_at == 25 * 3_600_000


async def test_a_fake_exception_is_raised(stepwell: StepwellTest) -> None:
    with pytest.raises(RunError) as caught:
        _ = (await stepwell.run(checkout, Order(7), fakes={**FAKES, reserve: OutOfStock("none left")})).result

    assert "none left" in str(caught.value)


async def test_a_callable_fake_gets_the_arguments(stepwell: StepwellTest) -> None:
    async def delayed(order: Order) -> Receipt:
        await asyncio.sleep(60)
        return Receipt(f"for {order.id}")

    sent = [(approval, 120, Approval("ada"))]
    run = await stepwell.run(checkout, Order(7), fakes={**FAKES, charge: delayed}, messages=sent)

    assert run.result == Receipt("for 7")


async def test_a_fake_of_the_wrong_type_is_an_error_before_anything_runs(stepwell: StepwellTest) -> None:
    with pytest.raises(CodecError, match=r"the fake of step charge does not fit.*result of step charge"):
        await stepwell.run(checkout, Order(7), fakes={charge: "r"})


async def test_a_callable_fake_of_the_wrong_type_is_an_error(stepwell: StepwellTest) -> None:
    with pytest.raises(CodecError, match="the fake of step charge does not fit"):
        await stepwell.run(checkout, Order(7), fakes={**FAKES, charge: lambda _: 1})


async def test_a_fake_for_no_step_is_an_error(stepwell: StepwellTest) -> None:
    with pytest.raises(DefinitionError, match="give step objects"):
        await stepwell.run(checkout, Order(7), fakes={"charge": None})


@step(retry=Retry(attempts=3, first_delay="1h"))
async def flaky() -> int:
    if current_step().attempt < 3:
        raise ValueError("not yet")
    return current_step().attempt


@step
def in_thread(x: int) -> str:
    return f"{threading.current_thread().name.rpartition('_')[0]} {x}"


@workflow
async def real(ctx: Context) -> str:
    number = await flaky()
    return await in_thread(number)


async def test_steps_without_a_fake_run_for_real(stepwell: StepwellTest) -> None:
    run = await stepwell.run(real)

    assert run.result == "stepwell-step 3"
    assert run.effects == {"flaky": 3, "in_thread": 1}
    assert run.steps == ["flaky", "in_thread"]


def test_a_plain_function_can_run_workflows_too(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(real).status == "completed"
    assert stepwell.run_sync(checkout, Order(7), fakes=FAKES).status == "failed"


@workflow
async def mapped(ctx: Context) -> list[str]:
    return await ctx.map(in_thread, [1, 2])


async def test_a_fake_stands_for_the_step_with_other_options(stepwell: StepwellTest) -> None:
    run = await stepwell.run(mapped, fakes={in_thread: str})

    assert run.result == ["1", "2"]
    assert run.effects == {"in_thread[0]": 1, "in_thread[1]": 1}


@workflow
async def parent(ctx: Context) -> Receipt:
    return await checkout(Order(3))


async def test_children_have_the_fakes_of_their_parent(stepwell: StepwellTest) -> None:
    async def approve() -> None:
        await stepwell.sleep("1h")
        (child,) = (await stepwell.app.runs.list(workflow="checkout")).runs
        await stepwell.app.handle(child.id).send(approval, Approval("ada"))

    approving = asyncio.create_task(approve())
    run = await stepwell.run(parent, fakes=FAKES)
    await approving

    assert run.result == Receipt("r")


async def test_fakes_are_those_of_the_run(stepwell: StepwellTest) -> None:
    first = await stepwell.start(mapped, fakes={in_thread: lambda x: "first"})
    second = await stepwell.start(mapped, fakes={in_thread: lambda x: "second"})

    assert await first.result() == ["first"] * 2
    assert await second.result() == ["second"] * 2


@workflow
async def listening(ctx: Context) -> list[int]:
    hook = await ctx.create_hook(int)
    first = await ctx.receive(paid)
    return [first, await hook]


async def test_events_and_hooks_arrive_as_messages(stepwell: StepwellTest) -> None:
    run = await stepwell.run(listening, messages=[("hook", "1d", 2), (paid, "2h", 1)])

    assert run.result == [1, 2]


async def test_a_test_may_steer_a_run_itself(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(checkout, Order(7), fakes=FAKES, id="mine")
    await stepwell.sleep("1h")
    assert await handle.status() == "waiting"

    await handle.cancel("changed my mind")
    with pytest.raises(RunCancelledError, match="changed my mind"):
        await handle.result()


async def test_a_clock_that_jumps_makes_everything_due(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(checkout, Order(7), fakes=FAKES)
    await stepwell.sleep("1m")

    stepwell.clock.advance("3d")
    with pytest.raises(RunError, match="ApprovalMissing"):
        await handle.result()


async def test_a_run_that_waits_for_ever_is_an_error_that_says_for_what(stepwell: StepwellTest) -> None:
    with pytest.raises(DeadlockError, match=r"run listening-1 waits for (token 'hook', )?event 'paid'"):
        await stepwell.run(listening)


async def test_after_a_deadlock_the_test_goes_on(stepwell: StepwellTest) -> None:
    with pytest.raises(DeadlockError):
        await stepwell.run(listening)

    assert (await stepwell.run(real)).status == "completed"


async def test_a_run_may_be_waited_for_in_virtual_time(stepwell: StepwellTest) -> None:
    with pytest.raises(TimeoutError, match="has not ended within 3600 s"):
        await stepwell.run(checkout, Order(7), fakes=FAKES, timeout="1h")


@workflow
async def impure(ctx: Context) -> float:
    import time

    return time.time()


async def test_an_impure_call_fails_the_test_with_its_place(stepwell: StepwellTest) -> None:
    with pytest.raises(NotDurableError, match=r"time\.time\(\) at test_fixture\.py:\d+, in impure"):
        await stepwell.run(impure)


@workflow
async def threaded(ctx: Context) -> None:
    await asyncio.to_thread(print)


async def test_io_in_a_body_is_raised_out_of_run(stepwell: StepwellTest) -> None:
    with pytest.raises(NotDurableError, match="thread"):
        await stepwell.run(threaded)


async def test_code_that_parts_from_history_is_raised_out_of_run(stepwell: StepwellTest) -> None:
    bodies = iter([True, False])

    @workflow
    async def changing(ctx: Context) -> int:
        number = await flaky() if next(bodies) else 0
        await ctx.sleep("3d")
        return number

    with pytest.raises(NonDeterminismError, match="flaky"):
        await stepwell.run(changing, fakes={flaky: 1})


async def test_two_runs_have_the_same_chance_in_each_test(stepwell: StepwellTest) -> None:
    @workflow
    async def lucky(ctx: Context) -> list[float]:
        return [ctx.random.random(), ctx.random.random()]

    def again() -> list[float]:
        with StepwellTest() as other:
            return other.run_sync(lucky).result

    first = await asyncio.to_thread(again)
    assert first == await asyncio.to_thread(again)


@pytest.mark.parametrize("days", [2, 400])
async def test_days_cost_few_wake_ups(stepwell: StepwellTest, days: int) -> None:
    loop = asyncio.get_running_loop()
    turns = 0
    inner = loop._run_once  # type: ignore[attr-defined]

    def counted() -> None:
        nonlocal turns
        turns += 1
        inner()

    @workflow
    async def patient(ctx: Context) -> None:
        await ctx.sleep(timedelta(days=days))

    loop._run_once = counted  # type: ignore[attr-defined]
    await stepwell.run(patient)

    assert turns < 50 + 20 * days
