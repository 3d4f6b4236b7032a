"""Workers in this process: ASGI applications, functions, and our own step workers, by the same bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from tests.runtime.remote.elsewhere import EMPTY, LINES, Turn, Worker, pieces

from stepwell import Retry, RunError
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.model.failures import Failure
from stepwell.runtime.remote.asgi import GRACE_S
from stepwell.runtime.remote.targets import Target
from stepwell.testing.fixture import StepwellTest

DONE = {"status": "completed", "output": 7, "metadataUpdates": [], "journal": EMPTY, "streamChunks": []}
ONCE = RemoteWorkflow("pay", worker_retry=Retry(attempts=1))


def result_of(target: Target, *include: Any) -> Any:
    """What a run of `pay` gives."""
    with StepwellTest(include=include, targets=[target]) as test:

        async def main() -> Any:
            return await (await test.app.start("pay", {"a": 1})).result()

        return test.drive(main())


def failure_of(target: Target) -> Failure:
    """Why a run of `pay` fails at its first attempt."""
    with pytest.raises(RunError) as caught:
        result_of(target, ONCE)
    assert isinstance(caught.value.error, Failure)
    return caught.value.error


def on(application: Any, **options: Any) -> Target:
    return Target(application, workflows=["pay"], **options)


def test_an_asgi_application_is_asked_as_a_server_would() -> None:
    seen: dict[str, Any] = {}

    async def step(request: Request) -> JSONResponse:
        seen.update(path=request.url.path, body=await request.json(), type=request.headers["content-type"])
        return JSONResponse(DONE)

    app = Starlette(routes=[Route("/__voyant/workflow-step", step, methods=["POST"])])
    assert result_of(on(app)) == 7
    assert (seen["path"], seen["body"]["input"]) == ("/__voyant/workflow-step", {"a": 1})
    assert seen["type"] == "application/json; charset=utf-8"


def test_an_application_without_the_route_refuses_for_good() -> None:
    found = failure_of(on(Starlette()))
    assert found.message == "tenant returned non-JSON body (HTTP 404) (target application Starlette)"
    assert found.is_(RunError) is False


def test_an_application_may_answer_in_pieces() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["more_body"] is False
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"application/json")]})
        for byte in json.dumps(DONE).encode():
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await send({"type": "http.response.body"})

    assert result_of(on(application)) == 7


def test_an_application_that_answers_line_by_line_is_heard_while_it_works() -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b'{"speaks":["cancel","lines"]}\n'
        for _ in range(40):
            yield b'{"beat":1}\n'
            await asyncio.sleep(5)
        yield json.dumps({"outcome": DONE}).encode() + b"\n"

    async def step(request: Request) -> StreamingResponse:
        return StreamingResponse(lines(), media_type="application/x-ndjson")

    app = Starlette(routes=[Route("/__voyant/workflow-step", step, methods=["POST"])])
    assert result_of(on(app, idle_timeout="10s")) == 7


async def _raises(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("no worker today")


async def _says_nothing(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def _breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
    raise ValueError("half way")


async def _ends_early(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})


@pytest.mark.parametrize(
    ("application", "text"),
    [
        (_raises, "the application raised ValueError: no worker today"),
        (_says_nothing, "the application did not answer"),
        (_breaks_off, "the application raised ValueError: half way"),
        (_ends_early, "the application did not end its answer"),
    ],
)
def test_an_application_that_fails_is_a_connection_that_breaks(application: Any, text: str) -> None:
    found = failure_of(on(application))
    assert (found.code, found.message) == ("handler_error", f"{text} (target application {application.__name__})")


def test_an_application_is_told_when_nobody_waits_any_more() -> None:
    told: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        told.append((await receive())["type"])
        with pytest.raises(OSError, match="the client has gone"):
            await send({"type": "http.response.start", "status": 200, "headers": []})

    with StepwellTest(targets=[on(application)]) as test:

        async def main() -> None:
            handle = await test.app.start("pay")
            await test.sleep("1s")
            await handle.cancel("enough")
            with pytest.raises(RunError):
                await handle.result()
            await test.sleep("1s")

        test.drive(main())
    assert told == ["http.disconnect"]


def test_an_application_that_does_not_listen_is_cancelled_in_the_end() -> None:
    ended: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    with StepwellTest(targets=[on(application)]) as test:

        async def main() -> None:
            handle = await test.app.start("pay")
            await test.sleep("1s")
            await handle.cancel("enough")
            with pytest.raises(RunError):
                await handle.result()
            assert ended == []
            await test.sleep(2 * GRACE_S)
            assert ended == ["cancelled"]

        test.drive(main())


def test_work_that_an_application_does_after_its_answer_is_left_to_it() -> None:
    done: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(DONE).encode()})
        await asyncio.sleep(60)
        done.append("after")

    with StepwellTest(targets=[on(application)]) as test:

        async def main() -> None:
            assert await (await test.app.start("pay")).result() == 7
            await test.sleep("2m")

        test.drive(main())
    assert done == ["after"]


def test_a_function_may_answer_in_pieces_and_is_closed_when_it_was_heard() -> None:
    closed: list[str] = []

    async def worker(body: bytes, headers: Any) -> Any:
        async def more() -> AsyncIterator[bytes]:
            try:
                yield b'{"speaks":["lines"]}\n'
                yield json.dumps({"outcome": DONE}).encode() + b"\n"
                yield b" " * 10
                await asyncio.Event().wait()
            finally:
                closed.append("closed")

        return 200, LINES, more()

    assert result_of(on(worker)) == 7
    assert closed == ["closed"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "the handler did not answer with status, headers and body"),
        ((200, None, b""), "the handler did not answer with status, headers and body"),
        (("200", {}, b""), "the handler answered with the status '200'"),
        ((200, {}, "text"), "the handler's answer broke off: TypeError"),
        ((200, {"content-length": "9" * 5000}, b""), "the answer has 999999999999999999 bytes"),
        ((200, {"content-length": "many"}, b""), "non-JSON body"),
    ],
)
def test_a_function_that_answers_with_something_else_is_a_fault_of_the_worker(answer: Any, text: str) -> None:
    async def worker(body: bytes, headers: Any) -> Any:
        return answer

    found = failure_of(on(worker))
    assert (text in found.message, found.code in ("handler_error", "invalid_response")) == (True, True), found.message


def test_cancelling_a_run_cancels_the_function() -> None:
    cancelled: list[str] = []

    async def worker(body: bytes, headers: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("yes")
            raise

    with StepwellTest(targets=[on(worker)]) as test:

        async def main() -> None:
            handle = await test.app.start("pay")
            await test.sleep("1s")
            await handle.cancel("enough")
            with pytest.raises(RunError):
                await handle.result()

        test.drive(main())
    assert cancelled == ["yes"]


def test_a_worker_that_knows_cancels_is_asked_to_clean_up() -> None:
    def pay(turn: Turn) -> None:
        turn.step("hold")
        turn.waited(turn.signal("never"))

    def speaks(body: bytes, answer: Any) -> Any:
        return 200, {"X-Stepwell-Speaks": "lines, cancel"}, json.dumps(answer).encode()

    def cleaned(body: bytes, answer: Any) -> Any:
        answer["journal"]["stepResults"]["release"] = answer["journal"]["stepResults"]["hold"]
        undone = [{"stepId": "hold", "status": "ok", "durationMs": 2}]
        return 200, {}, json.dumps({**answer, "status": "cancelled", "compensations": undone}).encode()

    worker = Worker(pay=pay)
    worker.lies = [speaks, cleaned]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", id="r1")
            await test.sleep("1s")
            await handle.cancel("schlechtes Wetter ☂")
            with pytest.raises(RunError):
                await handle.result()
            assert (await test.app.runs.get("r1")).status == "cancelled"
            ids = [getattr(event.entry, "id", "") async for event in test.app.runs.events("r1")]
            assert "release" in ids

        test.drive(main())
    assert [headers.get("x-stepwell-cancel") for headers in worker.headers] == [None, "schlechtes%20Wetter%20%E2%98%82"]


def test_lines_may_be_cut_anywhere() -> None:
    data = b'{"speaks":["lines"]}\n{"beat":1}\n' + json.dumps({"outcome": DONE}).encode() + b"\n"

    async def worker(body: bytes, headers: Any) -> Any:
        return 200, LINES, pieces(*(data[at : at + 3] for at in range(0, len(data), 3)))

    assert result_of(on(worker)) == 7
