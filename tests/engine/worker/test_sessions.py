"""What happens within an invocation, and that the next one finds it again: steps, timers, sagas, notes, cancels."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw, structs
from tests.engine.worker.driving import START, Wire, error_of, meta

from stepwell import Context, FatalError, RetryableError, Signal, StepError, Stream, step, workflow
from stepwell.authoring.wire.errors import restored, serialized
from stepwell.codec import AesGcm, Codec, failure_of
from stepwell.errors import CodecError, SpinError
from stepwell.formats.voyant.invocations import read_step
from stepwell.model.entries import AttemptFailed, StepCompleted
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


# --- sagas and cancels


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
    assert session.step_ended(StepCompleted(id=command.id, value=Raw(b"1")), START + 101) is None
    assert [command.id for command in session.take_steps()] == ["load:2"]
    session.close()
    session.close()


# --- notes


@workflow
async def noting(ctx: Context) -> dict[str, Any]:
    ctx.metadata["phase"] = "load"
    ctx.metadata.increment("hits")
    ctx.metadata.append("log", "a")
    ctx.metadata.parent.increment("children", 2)
    await ctx.sleep(1)
    ctx.metadata.increment("hits", 2)
    del ctx.metadata["phase"]
    ctx.metadata.root.set("seen", True)
    return dict(ctx.metadata)


def test_each_answer_has_all_changes_of_metadata() -> None:
    wire = Wire(noting)
    first = list(wire.invoke().metadata_updates)
    second = list(wire.resolve("sleep:1").invoke().metadata_updates)

    assert [(item.op, item.key, item.target) for item in second] == [
        ("set", "phase", "self"),
        ("increment", "hits", "self"),
        ("append", "log", "self"),
        ("increment", "children", "parent"),
        ("increment", "hits", "self"),
        ("remove", "phase", "self"),
        ("set", "seen", "root"),
    ]
    assert second[: len(first)] == first
    assert wire.result == {"hits": 3, "log": ["a"]}


@workflow
async def talking(ctx: Context) -> None:
    ctx.send(lines, "one")
    ctx.send(lines, "two")
    await ctx.sleep(1)
    ctx.send(lines, "three")


def test_chunks_are_sent_once_and_a_stream_ends_with_its_run() -> None:
    wire = Wire(talking)
    wire.invoke()
    assert [(chunk.seq, bytes(chunk.chunk)) for chunk in wire.chunks] == [(1, b'"one"'), (2, b'"two"')]
    assert wire.journal.streams_completed == {}
    wire.chunks.clear()
    wire.resolve("sleep:1").invoke()

    assert [(chunk.seq, bytes(chunk.chunk), chunk.final) for chunk in wire.chunks] == [
        (3, b'"three"', False),
        (4, b"null", True),
    ]
    assert wire.journal.streams_completed == {"lines": Raw(b'{"chunkCount":4}')}


@workflow
async def patching(ctx: Context) -> list[bool]:
    found = [await load(1) > 0]
    if NEW_CODE:
        found.append(ctx.patched("second"))
    await load(2)
    await ctx.sleep(1)
    return found


NEW_CODE = True


@pytest.mark.parametrize("is_new", [True, False])
def test_a_patch_is_for_runs_that_had_not_come_to_it(is_new: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.engine.worker.test_sessions.NEW_CODE", is_new)
    wire = Wire(patching)
    wire.invoke()
    monkeypatch.setattr("tests.engine.worker.test_sessions.NEW_CODE", True)
    wire.resolve("sleep:1").invoke()

    assert wire.result == [True, is_new]


def test_a_patch_is_kept_with_the_steps_that_came_after_it() -> None:
    wire = Wire(patching)
    session = wire.begin()
    wire.keep(wire.work(session, at_most=2))
    session.close()

    assert read_step(wire.journal.step_results["load:2"]).rest["patches"] == Raw(b'["second"]')
    wire.invoke()
    wire.resolve("sleep:1").invoke()
    assert wire.result == [True, True]


@workflow
async def logging_body(ctx: Context) -> None:
    ctx.log.warning("first")
    await load(1)
    ctx.log.warning("second")
    await ctx.sleep(1)
    ctx.log.warning("third")


def test_what_was_logged_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(logging_body)
    wire.invoke()
    wire.resolve("sleep:1").invoke()

    assert [record.getMessage().split()[-1] for record in caplog.records] == ["first", "second", "third"]
