"""How an invocation goes with time: parallel steps, timers, deadlines, and clients that leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Context, Retry, current_step, step, workflow
from stepwell.testing.virtual import VirtualClock
from tests.server.step_workers import Exchange, app_of, ask, encoded, request, served, virtually

told: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    told.clear()


@step
async def work(seconds: float) -> float:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        told.append(("cancelled", seconds, current_step().cancelled))
        raise
    return seconds


@workflow
async def parallel(ctx: Context) -> list[float]:
    return [*await asyncio.gather(work(1), work(30))]


@workflow
async def racing(ctx: Context) -> float:
    tasks = [asyncio.ensure_future(work(1)), asyncio.ensure_future(work(30))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()


@workflow
async def hasty(ctx: Context) -> str:
    try:
        async with asyncio.timeout(5):
            await work(30)
    except TimeoutError:
        return "late"
    return "in time"


def test_nothing_is_answered_while_steps_run() -> None:
    clock = VirtualClock()
    began = clock.now()
    _, body = served(clock, request("parallel"), parallel)
    assert (body["output"], clock.now() - began) == ([1, 30], 30_000)


def test_a_step_that_nobody_waits_for_any_more_is_stopped() -> None:
    clock = VirtualClock()
    began = clock.now()
    _, body = served(clock, request("racing"), racing)
    assert (body["status"], body["output"], told) == ("completed", 1, [("cancelled", 30, True)])
    assert clock.now() - began == 1000


def test_a_timer_of_the_body_fires_while_steps_run() -> None:
    clock = VirtualClock()
    began = clock.now()
    _, body = served(clock, request("hasty"), hasty)
    assert (body["output"], told, clock.now() - began) == ("late", [("cancelled", 30, True)], 5000)
    (resolution,) = body["journal"]["waitpointsResolved"].values()
    assert resolution["kind"] == "DATETIME"


def test_past_its_deadline_an_invocation_is_stopped_with_its_steps() -> None:
    clock = VirtualClock()
    began = clock.now()
    status, body = served(clock, request("parallel", deadline=clock.now() + 10_000), parallel)
    assert (status, body["error"], clock.now() - began) == (504, "deadline_exceeded", 10_000)
    assert told == [("cancelled", 30, True)]


def test_a_client_that_leaves_stops_the_steps_and_gets_nothing() -> None:
    clock = VirtualClock()

    async def test() -> Exchange:
        exchange = Exchange(app_of(parallel, clock=clock).step_worker())
        exchange.give(encoded(request("parallel")))
        await asyncio.sleep(10)
        exchange.leave()
        await exchange.task
        return exchange

    assert (virtually(test(), clock).sent, told) == ([], [("cancelled", 30, True)])


def test_a_call_that_is_cancelled_stops_the_steps() -> None:
    clock = VirtualClock()

    async def test() -> None:
        calling = asyncio.create_task(ask(app_of(parallel, clock=clock).step_worker(), request("parallel")))
        await asyncio.sleep(10)
        calling.cancel()
        await asyncio.wait([calling])
        assert calling.cancelled()

    virtually(test(), clock)
    assert told == [("cancelled", 30, True)]


def test_a_deadline_that_has_passed_before_it_began_speaks_of_clocks() -> None:
    clock = VirtualClock()
    status, body = served(clock, request("parallel", deadline=clock.now() - 1), parallel)
    assert (status, body["error"]) == (504, "deadline_exceeded")
    assert "do the clocks of the two differ?" in body["message"]


@step(retry=Retry(attempts=5, first_delay="100ms", jitter=0))
async def failing() -> None:
    told.append(current_step().attempt)
    raise ConnectionError


@workflow
async def impatient(ctx: Context) -> str:
    try:
        async with asyncio.timeout(0.05):
            await failing()
    except TimeoutError:
        await work(1)
        return "gave up"
    return "never"


def test_a_step_that_is_given_up_between_two_attempts_is_not_tried_again() -> None:
    _, body = served(VirtualClock(), request("impatient"), impatient)
    assert (body["output"], told) == ("gave up", [1])
    assert list(body["journal"]["stepResults"]) == ["work"]


@workflow
async def trying(ctx: Context) -> None:
    await failing()


def test_an_invocation_that_is_stopped_between_two_attempts_makes_no_more() -> None:
    clock = VirtualClock()
    status, _ = served(clock, request("trying", deadline=clock.now() + 50), trying)
    assert (status, told) == (504, [1])


def test_a_worker_that_is_closed_in_a_hurry_waits_for_nothing() -> None:
    clock = VirtualClock()

    async def test() -> int:
        worker = app_of(parallel, clock=clock).step_worker()
        asking = asyncio.create_task(ask(worker, request("parallel")))
        await asyncio.sleep(2)
        await worker.aclose(drain=False)
        return (await asking)[0]

    began = clock.now()
    assert virtually(test(), clock) == 503
    assert (told, clock.now() - began) == ([("cancelled", 30, True)], 2000)
