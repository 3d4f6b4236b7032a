"""What happens within an invocation, and that the next one finds it again: steps, their errors, and time."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw, structs
from tests.engine.worker.driving import START, Wire, error_of

from stepwell import Context, FatalError, RetryableError, Signal, StepError, Stream, step, workflow
from stepwell.authoring.wire.errors import restored, serialized
from stepwell.codec import AesGcm, Codec, failure_of
from stepwell.errors import CodecError, SpinError
from stepwell.model.failures import Failure

approve = Signal("approve", str)
lines = Stream("lines", str)


class CardRefused(Exception):
    code = "E_CARD"


@step
async def load(n: int) -> int:
    return n * 10


@step(retry=None)
async def refuse(reason: str) -> None:
    raise CardRefused(reason)


@step(retry=None, raises=CardRefused)
async def refuse_openly(reason: str) -> None:
    raise CardRefused(reason)


def entry_of(wire: Wire, id: str) -> dict[str, Any]:
    return msgspec.json.decode(wire.journal.step_results[id])  # type: ignore[no-any-return]


# --- steps


@workflow
async def stepping(ctx: Context, n: int) -> int:
    total = await load(n) + await load(n + 1)
    total += int(await ctx.receive(approve))
    return total + sum(await ctx.map(load, [1, 2]))


def test_steps_run_once_over_all_invocations() -> None:
    wire = Wire(stepping, 1)
    wire.invoke()
    assert wire.ran == ["load", "load:2"]

    wire.resolve("signal:approve:1", "5").invoke()
    assert wire.result == 10 + 20 + 5 + 30
    assert wire.ran == ["load", "load:2", "load[0]", "load[1]"]


def test_an_entry_says_how_many_waits_were_over_before_it() -> None:
    wire = Wire(stepping, 1)
    wire.invoke(step_ms=7)
    wire.resolve("signal:approve:1", "5").invoke()

    expected = {"attempt": 1, "status": "ok", "output": 10, "runtime": "node", "after": 0}
    assert entry_of(wire, "load") == expected | {"startedAt": START + 7, "finishedAt": START + 7}
    assert entry_of(wire, "load[0]")["after"] == 1


def test_a_run_that_is_over_is_replayed_without_a_step() -> None:
    wire = Wire(stepping, 1)
    wire.invoke()
    wire.resolve("signal:approve:1", "5").invoke()
    wire.ran.clear()

    assert msgspec.json.decode(wire.invoke().output) == 65
    assert wire.ran == []


@workflow
async def failing(ctx: Context, kind: str) -> str:
    try:
        await (refuse if kind == "closed" else refuse_openly)("no money")
    except CardRefused as error:
        return f"{error!r} {error.code}"
    except StepError as error:
        await ctx.sleep(1)
        return f"{error} {error.code} {error.is_(CardRefused)}"
    return ""


def test_an_error_of_a_step_comes_back_with_its_code_and_its_types() -> None:
    wire = Wire(failing, "closed")
    wire.invoke()
    wire.resolve("sleep:1").invoke()

    assert wire.result == "step refuse failed after 1 attempt: CardRefused: no money E_CARD True"
    error = entry_of(wire, "refuse")["error"]
    assert {key: error[key] for key in ("category", "code", "message", "name")} == {
        "category": "USER_ERROR",
        "code": "E_CARD",
        "message": "no money",
        "name": "CardRefused",
    }


def test_an_error_that_crosses_as_itself_does_so_over_the_wire() -> None:
    wire = Wire(failing, "open")
    wire.invoke()

    assert wire.result == "CardRefused('no money') E_CARD"
    wire.invoke()
    assert wire.result == "CardRefused('no money') E_CARD"


@workflow
async def refused(ctx: Context) -> None:
    await refuse("no money")


def test_a_body_that_fails_says_why() -> None:
    outcome = Wire(refused).invoke()

    error = error_of(outcome)
    assert (outcome.status, error["code"], error["name"]) == ("failed", "E_CARD", "CardRefused")
    assert "no money" in error["message"]


def test_an_error_of_another_worker_is_read_as_what_it_is() -> None:
    error = {"category": "USER_ERROR", "code": "UNKNOWN", "message": "no", "name": "TypeError", "data": {"a": 1}}

    assert restored(Raw(msgspec.json.encode(error))) == Failure(types=("TypeError",), message="no")


@pytest.mark.parametrize("error", [FatalError("x"), RetryableError("x"), CardRefused("x"), ValueError()])
def test_a_failure_comes_back_from_the_wire_as_it_was(error: Exception) -> None:
    failure = failure_of(error, raises=(ValueError,))

    assert restored(serialized(failure, Codec())) == failure


def test_input_that_does_not_fit_fails_the_run() -> None:
    outcome = Wire(stepping, "one").invoke()

    assert (outcome.status, error_of(outcome)["code"]) == ("failed", "VALIDATION")


def test_a_journal_that_cannot_be_read_is_refused() -> None:
    wire = Wire(stepping, 1)
    wire.journal = structs.replace(wire.journal, more={"attempts": Raw(b"[]")})

    with pytest.raises(CodecError, match=r"journal\.attempts"):
        wire.begin()


@workflow
async def spinning(ctx: Context) -> None:
    while True:
        await asyncio.sleep(0)


def test_a_body_that_never_waits_is_no_outcome() -> None:
    with pytest.raises(SpinError):
        Wire(spinning).begin()


def test_payloads_cross_as_json_whatever_the_codec_does() -> None:
    wire = Wire(stepping, 1, codec=Codec(AesGcm({"k": bytes(32)}, current="k"), compress=True))
    wire.invoke()
    wire.resolve("signal:approve:1", "5").invoke()

    assert wire.result == 65
    assert entry_of(wire, "load")["output"] == 10


# --- time


@workflow
async def racing(ctx: Context, ms: int) -> str:
    try:
        async with asyncio.timeout(ms / 1000):
            return f"loaded {await load(1)}"
    except TimeoutError:
        await load(2)
        return "late"


@pytest.mark.parametrize(("limit", "expected"), [(100, "late"), (500, "loaded 10")])
def test_a_timer_that_is_due_while_a_step_runs_fires(limit: int, expected: str) -> None:
    wire = Wire(racing, limit)
    wire.invoke(step_ms=200)

    assert wire.result == expected
    assert list(wire.journal.waitpoints_resolved) == (["timer:1"] if expected == "late" else [])
    wire.ran.clear()
    wire.invoke()
    assert (wire.result, wire.ran) == (expected, [])


@workflow
async def racing_sleep(ctx: Context) -> list[str]:
    async def nap() -> str:
        await ctx.sleep(0.1)
        return "nap"

    async def work() -> str:
        await load(1)
        return "work"

    tasks = [asyncio.create_task(nap()), asyncio.create_task(work())]
    return [await finished for finished in asyncio.as_completed(tasks)]


def test_a_sleep_that_is_over_while_a_step_runs_is_over_before_the_step() -> None:
    wire = Wire(racing_sleep)
    wire.invoke(step_ms=200)

    assert wire.result == ["nap", "work"]
    assert wire.invoke().journal == wire.journal
    assert wire.result == ["nap", "work"]


def test_a_timer_counts_from_when_it_was_begun_here_and_not_from_when_the_run_was_started() -> None:
    wire = Wire(racing, 500)
    wire.now += 3_600_000

    wire.invoke(step_ms=200)

    assert wire.result == "loaded 10"


def test_no_time_matters_while_no_step_runs() -> None:
    wire = Wire(sleeper)
    session = wire.begin()

    assert (session.is_idle, session.next_due()) == (True, None)
    session.tick(START + 10**9)
    assert [wait.timeout_ms for wait in wire.finish(session, {}).waitpoints] == [0]
    session.close()


@workflow
async def sleeper(ctx: Context) -> int:
    await asyncio.sleep(1)
    return await load(1)


def test_time_never_runs_back() -> None:
    wire = Wire(sleeper)
    wire.invoke()
    wire.resolve("timer:1", after_ms=1000)
    wire.now -= 5000
    wire.invoke()

    assert entry_of(wire, "load")["finishedAt"] == START + 1000
