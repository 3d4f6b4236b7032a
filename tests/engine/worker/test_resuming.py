"""What is between two invocations: steps that wait for another attempt, workers that die, journals of others."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Raw, structs
from tests.engine.worker.driving import START, Wire, meta

from stepwell import Context, Signal, step, workflow
from stepwell.model.entries import AttemptFailed
from stepwell.model.failures import Failure

approve = Signal("approve", str)


@step
async def load(n: int) -> int:
    return n * 10


def entry_of(wire: Wire, id: str) -> dict[str, Any]:
    return msgspec.json.decode(wire.journal.step_results[id])  # type: ignore[no-any-return]


@workflow
async def stepping(ctx: Context, n: int) -> int:
    total = await load(n) + await load(n + 1)
    total += int(await ctx.receive(approve))
    return total + sum(await ctx.map(load, [1, 2]))


# --- retries


@workflow
async def retrying(ctx: Context) -> str:
    first = asyncio.create_task(load(1))
    second = await ctx.receive(approve)
    return f"{await first} {second}"


def fail_once(wire: Wire, *, retry_ms: int) -> None:
    """The first invocation: an attempt fails, and the next one is far away."""
    session = wire.begin()
    (command,) = session.take_steps()
    failure = Failure(types=("builtins.ValueError",))
    attempt = command.attempt
    failed = AttemptFailed(
        id=command.id, failure=failure, attempt=attempt, retry_at=wire.now + retry_ms, progress=Raw(b"7")
    )
    session.postpone(failed, wire.now)
    assert session.is_idle
    wire.finish(session, {})
    session.close()


def test_a_long_delay_of_a_step_is_a_wait() -> None:
    wire = Wire(retrying)
    fail_once(wire, retry_ms=60_000)

    wait = wire.waits["retry:load:1"]
    assert (wait.kind, wait.timeout_ms, meta(wait)) == (
        "DATETIME",
        60_000,
        {"durationMs": 60_000, "stepId": "load", "attempt": 1},
    )
    session = wire.resolve("retry:load:1", after_ms=60_000).begin()
    (command,) = session.take_steps()
    assert (command.attempt, command.progress) == (2, Raw(b"7"))
    session.close()
    wire.invoke()
    wire.resolve("signal:approve:1", "ok").invoke()
    assert wire.result == "10 ok"


def test_a_step_between_two_attempts_stays_there_when_something_else_happens() -> None:
    wire = Wire(retrying)
    fail_once(wire, retry_ms=60_000)
    wire.resolve("signal:approve:1", "ok", after_ms=10_000).invoke()

    assert wire.ran == []
    assert wire.waits["retry:load:1"].timeout_ms == 50_000
    wire.resolve("retry:load:1", after_ms=50_000).invoke()
    assert (wire.result, wire.ran, wire.journal.more) == ("10 ok", ["load"], {"attempts": Raw(b"{}")})


def test_attempts_fail_again_and_again() -> None:
    wire = Wire(retrying)
    for attempt in (1, 2, 3):
        fail_once(wire, retry_ms=1000)
        wire.resolve(f"retry:load:{attempt}", after_ms=1000)
    wire.invoke()

    assert entry_of(wire, "load")["attempt"] == 4


# --- a worker that dies


@workflow
async def timed(ctx: Context) -> list[str]:
    order = []

    async def nap() -> None:
        await asyncio.sleep(0.1)
        order.append("nap")
        await load(2)
        order.append("second")

    async def work() -> None:
        await load(1)
        order.append("work")

    await asyncio.gather(nap(), work())
    return order


def test_steps_that_were_behind_a_timer_stay_behind_it_when_its_end_was_lost() -> None:
    wire = Wire(timed)
    session = wire.begin()
    steps = wire.work(session, step_ms=150, at_most=1)
    session.close()
    wire.keep(steps)
    assert entry_of(wire, "load")["after"] == 1

    outcome = wire.invoke()
    assert list(wire.waits) == ["timer:1"]
    assert (outcome.status, wire.ran) == ("waiting", ["load"])
    wire.resolve("timer:1").invoke()

    assert (wire.result, wire.ran) == (["nap", "work", "second"], ["load", "load:2"])


def test_steps_that_were_written_down_do_not_run_again() -> None:
    wire = Wire(stepping, 1)
    session = wire.begin()
    wire.keep(wire.work(session, at_most=1))
    session.close()
    wire.invoke()

    assert wire.ran == ["load", "load:2"]


# --- seeds and foreign orders


def foreign(output: int, at: int) -> Raw:
    entry = {"attempt": 1, "status": "ok", "output": output, "startedAt": at, "finishedAt": at, "runtime": "edge"}
    return Raw(msgspec.json.encode(entry))


@workflow
async def numbered(ctx: Context) -> list[int]:
    one, two = (load.options(name=name) for name in ("10", "2"))
    order = []

    async def after(wait: Any) -> None:
        order.append(await wait)

    await asyncio.gather(after(one(1)), after(two(2)))
    return order


def test_steps_without_a_place_are_in_the_order_of_their_ends() -> None:
    wire = Wire(numbered)
    wire.journal = structs.replace(
        wire.journal, step_results={"2": foreign(2, START + 20), "10": foreign(10, START + 10)}
    )
    wire.invoke()

    assert wire.result == [10, 2]


def test_results_that_the_run_was_given_are_taken_when_the_body_asks_for_them() -> None:
    wire = Wire(stepping, 1)
    seeds = {"load": foreign(1, START), "load:2": foreign(2, START + 1), "load[0]": foreign(3, START + 2)}
    wire.journal = structs.replace(wire.journal, step_results=seeds)
    wire.invoke()
    wire.resolve("signal:approve:1", "5").invoke()

    assert (wire.result, wire.ran) == (1 + 2 + 5 + 3 + 20, ["load[1]"])


def test_a_step_that_was_behind_waits_which_are_not_there_is_taken_when_nothing_else_moves() -> None:
    wire = Wire(loading)
    entry = msgspec.json.decode(foreign(1, START)) | {"after": 5}
    wire.journal = structs.replace(wire.journal, step_results={"load": Raw(msgspec.json.encode(entry))})
    wire.invoke()

    assert (wire.result, wire.ran) == (1, [])


@workflow
async def loading(ctx: Context) -> int:
    return await load(1)
