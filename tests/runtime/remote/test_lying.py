"""Workers that answer badly: no run is stranded, spoilt or doubled by them.

Each lie is told once, and the run comes out as if it had not been; then it is told for ever, and the run fails with a
precise code. In virtual time, at the level of bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.runtime.remote.elsewhere import EMPTY, JSON, LINES, Reply, Turn, Worker, pieces

from stepwell import FatalError, RunError, Signal
from stepwell.model.entries import AttemptFailed
from stepwell.model.failures import Failure
from stepwell.testing.fixture import StepwellTest

Answer = dict[str, Any]
Lie = Callable[[bytes, Answer], Any]


def pay(turn: Turn) -> Any:
    turn.change("increment", "tries")
    loaded = turn.step("load", {"total": 120})
    turn.sleep(60_000)
    turn.change("append", "log", value="paid")
    paid = turn.waited(turn.signal("paid"))
    turn.step("note")
    return {"paid": paid, "total": loaded["total"]}


def answered(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return status, JSON if headers is None else headers, body


def without(*path: str) -> Lie:
    """The answer lacks a member."""

    def lie(body: bytes, answer: Answer) -> Reply:
        place = answer
        for name in path[:-1]:
            place = place[name]
        place.pop(path[-1], None)
        return answered(answer)

    return lie


def with_(**members: Any) -> Lie:
    """The answer has other members."""
    return lambda body, answer: answered({**answer, **members})


def in_journal(name: str, **entries: Any) -> Lie:
    """The journal has more in one of its maps."""

    def lie(body: bytes, answer: Answer) -> Reply:
        answer["journal"][name] |= entries
        return answered(answer)

    return lie


async def never(body: bytes, answer: Answer) -> Reply:
    """The worker hangs."""
    await asyncio.Event().wait()
    raise AssertionError


def endless(body: bytes, answer: Answer) -> Reply:
    """More than anybody wants to read."""

    async def more() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    return 200, JSON, more()


def half(body: bytes, answer: Answer) -> Reply:
    """The connection breaks in the middle of the answer."""

    async def broken() -> AsyncIterator[bytes]:
        yield json.dumps(answer).encode()[:50]
        raise ConnectionResetError("gone")

    return 200, JSON, broken()


def silent(body: bytes, answer: Answer) -> Reply:
    """The answer begins, and does not go on."""

    async def begun() -> AsyncIterator[bytes]:
        yield b'{"status":'
        await asyncio.Event().wait()

    return 200, JSON, begun()


def silent_lines(body: bytes, answer: Answer) -> Reply:
    """The first line comes, and no beat."""

    async def begun() -> AsyncIterator[bytes]:
        yield b'{"speaks":["lines"]}\n'
        await asyncio.Event().wait()

    return 200, LINES, begun()


def raises(body: bytes, answer: Answer) -> Reply:
    """The worker falls over."""
    raise ValueError("no worker today")


STEP = {"attempt": 1, "status": "ok", "startedAt": 1, "finishedAt": 2}
LIES: dict[str, tuple[Lie, str, str]] = {
    # the name: the lie, the code of a run to which it is told for ever, and a part of its message
    "rubbish": (lambda *_: answered(b"<html>"), "handler_error", "tenant returned non-JSON body (HTTP 200)"),
    "nothing": (lambda *_: answered(b""), "handler_error", "tenant returned non-JSON body (HTTP 200)"),
    "half a body": (lambda _, answer: answered(json.dumps(answer).encode()[:40]), "handler_error", "non-JSON body"),
    "half a body, and the connection breaks": (half, "handler_error", "ConnectionResetError: gone"),
    "an array": (lambda *_: answered([]), "invalid_response", "must be an object"),
    "no journal": (without("journal"), "invalid_response", "journal"),
    "no changes": (without("metadataUpdates"), "invalid_response", "metadataUpdates"),
    "no chunks": (without("streamChunks"), "invalid_response", "streamChunks"),
    "a map is missing": (without("journal", "streamsCompleted"), "invalid_response", "streamsCompleted"),
    "an unknown status": (with_(status="done"), "invalid_response", "status"),
    "a step named as ours are": (
        in_journal("stepResults", **{"@invocation[1]": STEP}),
        "invalid_response",
        "@invocation",
    ),
    "a wait that is over by itself": (
        in_journal("waitpointsResolved", **{"signal:x:9": {"kind": "SIGNAL", "resolvedAt": 1, "source": "live"}}),
        "invalid_response",
        "'signal:x:9' is over, which nobody told this worker",
    ),
    "far too much": (endless, "invalid_response", "the answer has more than the 32768 bytes"),
    "never": (never, "handler_error", "tenant did not answer within 15m"),
    "silence in the middle": (silent, "handler_error", "nothing came for 60 s in the middle of its answer"),
    "no beats": (silent_lines, "handler_error", "nothing came for 60 s in the middle of its answer"),
    "lines without an outcome": (
        lambda *_: (200, LINES, pieces(b'{"speaks":["lines"]}\n', b'{"beat":1}\n')),
        "invalid_response",
        "the answer ended before its outcome",
    ),
    "no lines at all": (lambda *_: (200, LINES, pieces(b"oops\n")), "invalid_response", "line 1"),
    "an exception": (raises, "handler_error", "the handler raised ValueError: no worker today"),
    "503": (lambda *_: answered(b"", 503, {}), "handler_error", "handler returned HTTP 503"),
    "500, with words": (
        lambda *_: answered({"error": "executor_error", "message": "boom"}, 500),
        "handler_error",
        "boom (target function Worker)",
    ),
    "429": (lambda *_: answered({}, 429), "handler_error", "handler returned HTTP 429"),
    "204": (lambda *_: answered(b"", 204, {}), "handler_error", "handler returned HTTP 204"),
}
lies = pytest.mark.parametrize("name", LIES)


@lies
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_lie_that_is_told_once_changes_nothing(name: str, at: int) -> None:
    worker = Worker(pay=pay)
    worker.lies = [*[None] * at, LIES[name][0]]
    with StepwellTest(targets=[worker.target(max_answer=32768)]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("1h")
            await handle.send(Signal("paid"), 120)
            assert await handle.result() == {"paid": 120, "total": 120}
            metadata = (await test.app.runs.get("r1")).metadata
            assert {key: bytes(raw) for key, raw in metadata.items()} == {"tries": b"1", "log": b'["paid"]'}

        test.drive(main())
    assert [request["invocationCount"] for request in worker.requests] == sorted([1, 2, 3, at + 1])
    sleeps = {
        request["journal"]["waitpointsResolved"]["sleep:1"]["resolvedAt"]
        for request in worker.requests
        if request["invocationCount"] > 1
    }
    assert len(sleeps) == 1


@lies
def test_a_lie_that_is_told_for_ever_fails_the_run(name: str) -> None:
    lie, code, text = LIES[name]
    worker = Worker(pay=pay)
    worker.always_lies = lie
    failure = failure_with(worker, max_answer=32768)
    assert (failure.code, text in failure.message) == (code, True), failure
    assert failure.message.endswith("(target function Worker)")
    assert failure.types[0] == "stepwell.errors.WorkerError"


def failure_with(worker: Worker, **options: Any) -> Failure:
    """Why a run of `pay` fails."""
    with StepwellTest(targets=[worker.target(**options)]) as test:

        async def main() -> Failure:
            handle = await test.app.start("pay", id="r1")
            with pytest.raises(RunError) as caught:
                await handle.result()
            assert isinstance(caught.value.error, Failure)
            return caught.value.error

        return test.drive(main())


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 405, 413, 426])
def test_what_asking_again_does_not_mend_fails_the_run_at_once(status: int) -> None:
    worker = Worker(pay=pay)
    location = {"location": "http://169.254.169.254/latest/meta-data"}
    worker.always_lies = lambda *_: answered(b"", status, location)

    failure = failure_with(worker)

    told = f"handler returned HTTP {status}"
    if status < 400:
        told = (
            f"HTTP {status} redirects to http://169.254.169.254/latest/meta-data, which is not followed; if that is "
            "the worker, give its target that URL"
        )
    assert (failure.code, failure.message) == ("handler_error", f"{told} (target function Worker)")
    assert len(worker.requests) == 1


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (404, "workflow_not_found", 'workflow "pay" is not registered in this bundle'),
        (426, "protocol_version_mismatch", "protocol version 1 is not supported; this worker speaks version 2"),
        (401, "unauthorized", "x-voyant-dispatch-auth signature does not match request body"),
    ],
)
def test_what_a_worker_says_of_its_refusal_is_passed_on(status: int, error: str, message: str) -> None:
    worker = Worker(pay=pay)
    worker.always_lies = lambda *_: answered({"error": error, "message": message}, status)

    failure = failure_with(worker)

    assert failure.message == f"{message} (target function Worker)"
    assert failure.is_(FatalError)


def test_an_answer_after_the_attempt_was_given_up_changes_nothing() -> None:
    """The second attempt has answered long before the first one does."""
    late: list[asyncio.Task[None]] = []

    async def slow(body: bytes, answer: Answer) -> Reply:
        async def ended() -> None:
            await asyncio.sleep(7200)

        late.append(asyncio.get_running_loop().create_task(ended()))
        await asyncio.shield(late[0])
        answer["journal"]["stepResults"]["load"]["output"] = {"total": 666}
        return answered(answer)

    worker = Worker(pay=pay)
    worker.lies = [slow]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("3h")
            assert late[0].done()
            await handle.send(Signal("paid"), 1)
            assert await handle.result() == {"paid": 1, "total": 120}

        test.drive(main())


def test_the_journal_of_another_run_is_refused() -> None:
    worker = Worker(pay=pay)
    worker.lies = [None, with_(journal={**EMPTY, "stepResults": {"other": STEP}})]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("1h")
            await handle.send(Signal("paid"), 1)
            await handle.result()
            events = [event.entry async for event in test.app.runs.events("r1")]
            assert not any(getattr(entry, "id", "") == "other" for entry in events)
            (failed,) = [entry for entry in events if isinstance(entry, AttemptFailed)]
            assert "'load' was in it, and is not any more: is this another run's journal?" in failed.failure.message

        test.drive(main())


def test_a_result_that_is_known_is_not_replaced() -> None:
    def other(body: bytes, answer: Answer) -> Reply:
        answer["journal"]["stepResults"]["load"]["output"] = {"total": 666}
        return answered(answer)

    worker = Worker(pay=pay)
    worker.lies = [None, other]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("1h")
            await handle.send(Signal("paid"), 1)
            assert await handle.result() == {"paid": 1, "total": 120}

        test.drive(main())


@pytest.mark.parametrize("at", [1, 2])
def test_changes_that_become_fewer_are_refused(at: int) -> None:
    worker = Worker(pay=pay)
    worker.lies = [*[None] * at, with_(metadataUpdates=[])]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("1h")
            await handle.send(Signal("paid"), 1)
            await handle.result()
            failed = [e.entry async for e in test.app.runs.events("r1") if isinstance(e.entry, AttemptFailed)]
            assert ["metadataUpdates: there were" in entry.failure.message for entry in failed] == [True]

        test.drive(main())


def test_a_wait_that_is_over_is_not_waited_for_again() -> None:
    worker = Worker(pay=pay)
    again = {"clientWaitpointId": "sleep:1", "kind": "DATETIME", "meta": {"durationMs": 5}, "timeoutMs": 5}
    worker.lies = [None, with_(waitpoints=[again])]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("1h")
            await handle.send(Signal("paid"), 1)
            await handle.result()
            failed = [e.entry async for e in test.app.runs.events("r1") if isinstance(e.entry, AttemptFailed)]
            assert ["'sleep:1' is waited for, and over since before" in entry.failure.message for entry in failed] == [
                True
            ]

        test.drive(main())


def test_steps_that_were_told_of_before_a_connection_broke_are_not_run_again() -> None:
    def broken(body: bytes, answer: Answer) -> Reply:
        load = {"id": "load", "entry": answer["journal"]["stepResults"]["load"]}
        return 200, LINES, pieces(b'{"speaks":["lines"]}\n', json.dumps({"step": load}).encode() + b"\n")

    worker = Worker(pay=pay)
    worker.lies = [broken]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("1h")
            await handle.send(Signal("paid"), 1)
            await handle.result()

        test.drive(main())
    assert worker.effects == ["load", "note"]
    assert [*worker.requests[1]["journal"]["stepResults"]] == ["load"]
