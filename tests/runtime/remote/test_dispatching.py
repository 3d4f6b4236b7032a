"""A run whose body lives elsewhere goes through the bytes of the wire, and comes out right."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.remote.elsewhere import Turn, Worker

from stepwell import Signal, Stepwell, Stream
from stepwell.formats.voyant.signing import Nonces, SignedRequest, sign_v1, verify_v2
from stepwell.model.values import Secret
from stepwell.testing.fixture import StepwellTest


def pay(turn: Turn) -> Any:
    turn.change("set", "phase", value="loading")
    loaded = turn.step("load", {"total": 120})
    turn.sleep(60_000)
    turn.change("increment", "sleeps")
    turn.stream("log", "Hello", "World", encoding="text")
    paid = turn.waited(turn.signal("paid"))
    turn.step("note", [1.5, 2])
    return {"paid": paid, "total": loaded["total"]}


def test_a_run_goes_through_steps_waits_streams_and_metadata() -> None:
    worker = Worker(pay=pay)
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", {"booking": "bk_7"}, id="r1", tags={"customer": "7"})
            await test.sleep("90s")
            await handle.send(Signal("paid"), 120)
            assert await handle.result() == {"paid": 120, "total": 120}
            assert [chunk async for chunk in handle.stream(Stream("log", str))] == ["Hello", "World"]
            assert {key: bytes(raw) for key, raw in (await test.app.runs.get("r1")).metadata.items()} == {
                "phase": b'"loading"',
                "sleeps": b"1",
            }

        test.drive(main())
    assert worker.effects == ["load", "note"]
    assert [request["invocationCount"] for request in worker.requests] == [1, 2, 3]
    first, second, third = worker.requests
    began = test.clock.now() - 90_000
    assert first == {
        "protocolVersion": 1,
        "runId": "r1",
        "workflowId": "pay",
        "workflowVersion": "local",
        "invocationCount": 1,
        "input": {"booking": "bk_7"},
        "journal": {
            "stepResults": {},
            "waitpointsResolved": {},
            "compensationsRun": {},
            "metadataState": {},
            "streamsCompleted": {},
        },
        "environment": "development",
        "deadline": began + 900_000,
        "tenantMeta": {"tenantId": "default", "projectId": "default", "organizationId": "default"},
        "runMeta": {
            "number": 1,
            "attempt": 1,
            "triggeredBy": {"kind": "api"},
            "tags": ["customer:7"],
            "startedAt": began,
        },
    }
    assert second["journal"]["waitpointsResolved"] == {
        "sleep:1": {"kind": "DATETIME", "resolvedAt": began + 60_000, "source": "replay"}
    }
    assert third["journal"]["metadataState"] == {"phase": "loading", "sleeps": 1}
    assert third["journal"]["streamsCompleted"] == {"log": {"chunkCount": 3}}


def test_requests_have_the_headers_of_the_protocol_and_ours() -> None:
    worker = Worker(pay=lambda turn: None)
    with StepwellTest(targets=[worker.target(secret=Secret("wire"))], secrets={"wire": "s3cret"}) as test:

        async def main() -> None:
            await (await test.app.start("pay", id="r1")).result()

        test.drive(main())
    (headers,) = worker.headers
    assert headers["x-voyant-protocol"] == "1"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["x-stepwell-accept"] == "lines"
    assert headers["x-stepwell-attempt"] == "1"
    assert headers["x-stepwell-hooks"] == "http://127.0.0.1:7788/hooks/"
    assert headers["x-stepwell-hook-key"].startswith("1.")
    assert "x-stepwell-namespace" not in headers


def test_both_signatures_are_right() -> None:
    worker = Worker(pay=lambda turn: None)
    bodies: list[bytes] = []
    worker.lies = [lambda body, answer: bodies.append(body) or (503, {}, b"")]
    with StepwellTest(targets=[worker.target(secret="s3cret")]) as test:

        async def main() -> None:
            await (await test.app.start("pay", id="r1")).result()

        test.drive(main())
    headers, (body,) = worker.headers[0], bodies
    assert headers["x-voyant-dispatch-auth"] == sign_v1(b"s3cret", body)
    request = SignedRequest(path="/__voyant/workflow-step", headers=headers, body=body)
    verify_v2([b"s3cret"], request, Nonces(), test.clock.now())
    assert worker.headers[1]["x-stepwell-nonce"] != headers["x-stepwell-nonce"]
    assert worker.headers[1]["x-stepwell-attempt"] == "2"


@pytest.mark.parametrize("given", [None, {"a": [1, None]}])
def test_an_input_that_there_is_not_is_not_sent(given: Any) -> None:
    worker = Worker(pay=lambda turn: None)
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            await (await test.app.start("pay", *([] if given is None else [given]))).result()

        test.drive(main())
    assert worker.requests[0].get("input", "absent") == ("absent" if given is None else given)


def test_an_app_knows_the_workflows_of_its_targets_without_including_them() -> None:
    async def main() -> None:
        app = Stepwell("memory://", targets=[Worker(pay=pay).target(), Worker(ship=pay).target(versions=["1", "2"])])
        async with app:
            assert [f"{item.id}@{item.spec.version}" for item in app.registry.workflows()] == [
                "pay@",
                "ship@1",
                "ship@2",
            ]
            app.targets.add(Worker(late=pay).target())
            assert app.registry.find("late") is not None

    with StepwellTest() as test:
        test.drive(main())
