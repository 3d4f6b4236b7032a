"""Defects of the system whose wire we speak, which this one must not have. Numbers are those of docs/voyant.md."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.runtime.remote.elsewhere import JSON, Reply, Turn, Worker

from stepwell import Event, RunError, Signal, workflow
from stepwell.authoring.context import Context
from stepwell.model.entries import AttemptFailed, StartChild
from stepwell.model.failures import Failure
from stepwell.testing.fixture import StepwellTest

HOUR = 3_600_000


def pay(turn: Turn) -> Any:
    turn.step("load")
    turn.sleep(1000)
    return turn.step("charge", "paid")


def refusing(status: int, **headers: str) -> Any:
    """A worker that is not well."""
    return lambda body, answer: (status, headers, json.dumps({"error": "executor_error", "message": "boom"}).encode())


def attempts(worker: Worker) -> tuple[Any, list[AttemptFailed]]:
    """The result of a run of `pay`, and what failed on the way."""
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> tuple[Any, list[AttemptFailed]]:
            handle = await test.app.start("pay", id="r1")
            result = await handle.result()
            entries = [event.entry async for event in test.app.runs.events("r1")]
            return result, [entry for entry in entries if isinstance(entry, AttemptFailed)]

        return test.drive(main())


# --- W-03


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_w_03_a_hiccup_of_a_worker_fails_no_run(status: int) -> None:
    worker = Worker(pay=pay)
    worker.lies = [refusing(status), None, refusing(status), refusing(status)]

    result, failed = attempts(worker)

    assert (result, worker.effects.count("load")) == ("paid", 2)  # the first answer was refused with its step
    assert [entry.failure.code for entry in failed] == ["handler_error"] * 3


def test_w_03_attempts_are_further_and_further_apart() -> None:
    worker = Worker(pay=pay)
    worker.lies = [refusing(429)] * 6
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> list[int]:
            await (await test.app.start("pay", id="r1")).result()
            events = [event async for event in test.app.runs.events("r1")]
            return [event.entry.retry_at - event.at for event in events if isinstance(event.entry, AttemptFailed)]

        delays = test.drive(main())
    for n, delay in enumerate(delays):
        assert 0.8 * 1000 * 2**n <= delay <= 1.2 * 1000 * 2**n


@pytest.mark.parametrize(
    ("header", "least"),
    [("120", 120_000), ("Thu, 01 Jan 2026 01:00:00 GMT", HOUR - 1000), ("99999999", HOUR), ("soon", 0), ("-5", 0)],
)
def test_w_03_a_worker_may_say_when_to_come_again(header: str, least: int) -> None:
    worker = Worker(pay=pay)
    worker.lies = [refusing(503, **{"Retry-After": header})]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> int:
            await (await test.app.start("pay", id="r1")).result()
            events = [event async for event in test.app.runs.events("r1")]
            return next(event.entry.retry_at - event.at for event in events if isinstance(event.entry, AttemptFailed))

        delay = test.drive(main())
    assert least <= delay <= max(least, 1200) + 1000


@pytest.mark.parametrize("status", [400, 401, 404, 426])
def test_w_03_what_is_wrong_for_good_fails_at_once_with_the_same_code_and_words(status: int) -> None:
    worker = Worker(pay=pay)
    worker.always_lies = refusing(status)
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> Failure:
            with pytest.raises(RunError) as caught:
                await (await test.app.start("pay")).result()
            assert isinstance(caught.value.error, Failure)
            return caught.value.error

        failure = test.drive(main())
    assert (failure.code, failure.message, len(worker.requests)) == (
        "handler_error",
        "boom (target function Worker)",
        1,
    )


def test_w_03_a_dead_target_is_left_alone_by_all_runs_and_others_are_not() -> None:
    dead, well = Worker(pay=pay), Worker(ship=pay)
    dead.always_lies = lambda *_: (500, {}, b"")
    with StepwellTest(targets=[dead.target(name="dead"), well.target(name="well")]) as test:

        async def main() -> None:
            runs = [await test.app.start("pay", id=f"r{n}") for n in range(20)]
            await test.sleep("20s")
            assert (
                len(dead.requests) <= 25
            )  # 5 in a row open it, with what was under way; 20 runs would have tried 80 times
            state = {state.label: state for state in test.app.targets.states()}
            assert (state["dead"].circuit, state["well"].circuit) == ("open", "closed")
            assert state["dead"].last_error == "handler returned HTTP 500 (target dead)"
            assert await (await test.app.start("ship")).result() == "paid"
            dead.always_lies = None
            assert [await run.result() for run in runs] == ["paid"] * 20
            assert {state.circuit for state in test.app.targets.states()} == {"closed"}

        test.drive(main())


def test_w_03_runs_that_wait_for_a_trial_do_not_use_up_their_attempts() -> None:
    worker = Worker(pay=pay)

    async def slow(_: bytes, answer: dict[str, Any]) -> Reply:
        await asyncio.sleep(25)
        return 200, JSON, json.dumps(answer).encode()

    worker.always_lies = lambda *_: (502, {}, b"")
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            runs = [await test.app.start("pay", id=f"r{n}") for n in range(6)]
            await test.sleep("1s")
            worker.always_lies, worker.lies = None, [slow]
            assert [await run.result() for run in runs] == ["paid"] * 6
            for run in runs:
                entries = [event.entry async for event in test.app.runs.events(run.id)]
                assert sum(isinstance(entry, AttemptFailed) for entry in entries) < 9

        test.drive(main())


@pytest.mark.parametrize("lie", [refusing(503, **{"retry-after": "1"}), refusing(500)], ids=["busy", "one body"])
def test_w_03_a_worker_that_is_busy_or_cannot_run_one_body_is_not_taken_for_a_dead_one(lie: Any) -> None:
    worker = Worker(pay=pay)
    worker.lies = [lie] * 8
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            runs = [await test.app.start("pay") for _ in range(8)]
            await test.sleep("1s")
            assert [state.circuit for state in test.app.targets.states()] == ["closed"]
            assert [await run.result() for run in runs] == ["paid"] * 8

        test.drive(main())


# --- W-04


def test_w_04_a_worker_that_hangs_hangs_no_run() -> None:
    async def hangs(body: bytes, answer: Any) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    worker = Worker(pay=pay)
    worker.lies = [hangs]
    result, failed = attempts(worker)

    assert result == "paid"
    assert [entry.failure.message for entry in failed] == ["tenant did not answer within 15m (target function Worker)"]


def test_w_04_the_deadline_is_when_nobody_waits_any_more() -> None:
    worker = Worker(pay=pay)
    with StepwellTest(targets=[worker.target(timeout="2m")]) as test:

        async def main() -> None:
            began = test.clock.now()
            await (await test.app.start("pay", id="r1")).result()
            await (await test.app.start("pay", id="r2", timeout="30s")).result()
            by_run = {request["runId"]: request["deadline"] for request in reversed(worker.requests)}
            assert by_run["r1"] == began + 120_000
            assert by_run["r2"] == began + 1000 + 30_000

        test.drive(main())


# --- W-06


@pytest.mark.parametrize("member", ["journal", "metadataUpdates", "streamChunks", "status"])
def test_w_06_an_answer_that_is_none_strands_no_run(member: str) -> None:
    def lacking(body: bytes, answer: Any) -> Reply:
        return 200, JSON, json.dumps({name: value for name, value in answer.items() if name != member}).encode()

    worker = Worker(pay=pay)
    worker.lies = [lacking]
    result, failed = attempts(worker)

    assert (result, [entry.failure.code for entry in failed]) == ("paid", ["invalid_response"])


# --- W-07


def test_w_07_a_run_may_wait_as_often_as_it_likes() -> None:
    def naps(turn: Turn) -> int:
        for _ in range(200):
            turn.sleep(1000)
        return 200

    worker = Worker(naps=naps)
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            assert await (await test.app.start("naps")).result() == 200

        test.drive(main())
    assert len(worker.requests) == 201


def test_w_07_a_run_that_gets_nowhere_ends() -> None:
    def again(body: bytes, answer: Any) -> Reply:
        nap = {"kind": "DATETIME", "meta": {"durationMs": 0}, "timeoutMs": 0}
        number = json.loads(body)["invocationCount"]
        wait = {"clientWaitpointId": f"sleep:{number}", **nap}
        return 200, JSON, json.dumps({**answer, "status": "waiting", "waitpoints": [wait]}).encode()

    worker = Worker(pay=lambda turn: None)
    worker.always_lies = again
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            with pytest.raises(RunError) as caught:
                await (await test.app.start("pay")).result()
            assert getattr(caught.value.error, "code", "") == "max_invocations_exceeded"

        test.drive(main())


# --- W-13


@workflow
async def ship(ctx: Context) -> str:
    return str(await ctx.receive(Signal("shipped", Any)))


def test_w_13_a_child_is_started_once_however_often_its_parent_is_invoked() -> None:
    def order(turn: Turn) -> Any:
        child = turn.child("ship")
        for _ in range(3):
            turn.waited(turn.signal("poke"), child)
        return turn.waited(child)

    worker = Worker(order=order)
    with StepwellTest(include=[ship], targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("order", id="r1")
            for _ in range(3):
                await test.sleep("1s")
                await handle.send(Signal("poke"), 1)
            await test.sleep("1s")
            children = (await test.app.runs.list(workflow="ship")).runs
            assert len(children) == 1
            await test.app.handle(children[0].id).send(Signal("shipped"), "yes")
            assert await handle.result() == "yes"
            entries = [getattr(event.entry, "act", None) async for event in test.app.runs.events("r1")]
            assert sum(isinstance(act, StartChild) for act in entries) == 1

        test.drive(main())
    assert len(worker.requests) == 5


# --- W-20, W-21, W-22


@pytest.mark.parametrize("kind", ["event", "signal", "token"])
def test_w_20_a_wait_with_a_time_ends_without_a_payload_when_that_is_over(kind: str) -> None:
    worker = Worker(wait=lambda turn: turn.waited(getattr(turn, kind)("x", 60_000)))
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> int:
            began = test.clock.now()
            assert await (await test.app.start("wait")).result() == "no payload"
            return began

        began = test.drive(main())
    (resolved,) = worker.requests[1]["journal"]["waitpointsResolved"].values()
    assert resolved == {"kind": resolved["kind"], "resolvedAt": began + 60_000, "source": "replay"}


def test_w_21_a_sleep_ends_when_it_was_to_end_whatever_else_happens() -> None:
    def nap(turn: Turn) -> list[str]:
        ticks, sleep = [], turn._wait("sleep:0", "DATETIME", {"durationMs": HOUR}, HOUR)
        while "sleep:0" not in turn.journal["waitpointsResolved"]:
            turn.waited(turn.event("tick"), sleep)
            ticks.append("tick")
        return ticks

    worker = Worker(nap=nap)
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            began = test.clock.now()
            handle = await test.app.start("nap")
            for _ in range(5):
                await test.sleep("11m")
                await test.app.publish(Event("tick"), 1)
            await handle.result()
            assert test.clock.now() == began + HOUR

        test.drive(main())
    assert len(worker.requests) == 7


@pytest.mark.parametrize("value", [None, 0, {"a": None}])
def test_w_22_a_message_without_a_value_is_no_timeout(value: Any) -> None:
    worker = Worker(wait=lambda turn: [turn.waited(turn.signal("x", 60_000))])
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("wait")
            await test.sleep("1s")
            await handle.send(Signal("x", Any), value)
            assert await handle.result() == [value]

        test.drive(main())
    (resolved,) = worker.requests[1]["journal"]["waitpointsResolved"].values()
    assert (resolved["payload"], resolved["source"]) == (value, "live")
