"""A worker on the SDK of the system that we replace, unchanged, under our orchestrator. It needs only the address."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.helpers import run, until

from stepwell import RunCancelledError, RunError, Stepwell, Target

HERE = Path(__file__).parent
WORKFLOWS = (
    "basic timeouts several ticks child parent saga fatal flaky token streams group parallel many".split()  # noqa: SIM905
)
TENANT = {"tenantId": "t", "projectId": "p", "organizationId": "o"}


@pytest.fixture(scope="module")
def worker(node: str) -> Iterator[str]:
    """Its address."""
    process = subprocess.Popen([node, "worker.mjs"], cwd=HERE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/__voyant/workflow-step"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Client:
    """A client of that system, and one run."""

    def __init__(self, http: httpx.AsyncClient, id: str) -> None:
        self._http = http
        self.id = id

    async def trigger(self, workflow: str, input: Any) -> dict[str, Any]:
        body = {
            "workflowId": workflow,
            "workflowVersion": "2026-05-01",
            "input": input,
            "tenantMeta": TENANT,
            "runId": self.id,
            "tags": ["invoice"],
            "environment": "preview",
        }
        return self._checked(await self._http.post("/api/runs", json=body))

    async def inject(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._checked(await self._http.post(f"/api/runs/{self.id}/{kind}", json=body))

    async def record(self) -> dict[str, Any]:
        return self._checked(await self._http.get(f"/api/runs/{self.id}"))

    async def ended(self) -> dict[str, Any]:
        async def is_over() -> dict[str, Any] | None:
            record = await self.record()
            return record if record["status"] not in ("running", "waiting") else None

        return await until(is_over, within=20)  # type: ignore[no-any-return]

    async def waits_for(self, waitpoint: str) -> None:
        async def does() -> bool:
            record = await self.record()
            return waitpoint in [item["clientWaitpointId"] for item in record["pendingWaitpoints"]]

        await until(does, within=20)

    @staticmethod
    def _checked(answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code in (200, 202), answer.text
        return answer.json()  # type: ignore[no-any-return]


def played(worker: str, workflow: str, play: Callable[[Client], Awaitable[None]], input: Any = None) -> dict[str, Any]:
    """The record of a run in its end."""

    async def scenario() -> dict[str, Any]:
        target = Target(worker, workflows=WORKFLOWS, secret="s3cret")
        async with Stepwell("memory://", targets=[target]) as app:
            transport = httpx.ASGITransport(app.asgi(dev=True))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as http:
                client = Client(http, "r_chain")
                await client.trigger(workflow, {} if input is None else input)
                await play(client)
                return await client.ended()

    return run(scenario())


async def nothing(_: Client) -> None:
    """No message."""


def test_a_run_with_a_step_a_sleep_and_a_signal(worker: str) -> None:
    async def play(client: Client) -> None:
        await client.waits_for("signal:approve:2")
        record = await client.record()
        assert record["journal"]["metadataState"] == {"phase": "loaded", "n": 2, "log": ["a"]}
        assert record["pendingWaitpoints"] == [
            {
                "clientWaitpointId": "signal:approve:2",
                "kind": "SIGNAL",
                "meta": {"signalName": "approve"},
                "timeoutMs": 86_400_000,
            }
        ]
        await client.inject("signals", {"name": "approve", "payload": {"by": "ada"}})

    record = played(worker, "basic", play, {"n": 3})
    assert record["output"] == {
        "loaded": {"total": 6},
        "random": 0.15522163663990796,
        "uuid": "419977a4-fa0d-40ab-aa73-9dbcf3388574",
        "slept": True,
        "approval": {"by": "ada"},
        "number": 1,
        "tags": ["invoice"],
        "environment": "preview",
    }
    assert (record["invocationCount"], record["metadataAppliedCount"]) == (3, 4)
    assert record["journal"]["metadataState"]["n"] == 3


def test_waits_end_in_time(worker: str) -> None:
    record = played(worker, "timeouts", nothing)
    assert record["output"] == {"nothing": None, "thrown": "waitpoint event:never:2 timed out"}


def test_several_waits_at_once_in_any_order(worker: str) -> None:
    async def play(client: Client) -> None:
        await client.waits_for("event:y:2")
        await client.inject("events", {"eventType": "y", "payload": 2})
        await client.waits_for("event:x:1")
        await client.inject("events", {"eventType": "x", "payload": 1})

    assert played(worker, "several", play)["output"] == {"x": 1, "y": 2}


def test_a_wait_that_is_iterated_until_its_end(worker: str) -> None:
    async def play(client: Client) -> None:
        for number, payload in enumerate(["a", "b", {"__voyantStreamEnd": True}]):
            await client.waits_for(f"event:tick:iter:{number + 2}")
            await client.inject("events", {"eventType": "tick", "payload": payload})

    assert played(worker, "ticks", play)["output"] == ["a", "b"]


def test_children_awaited_detached_and_failed(worker: str) -> None:
    record = played(worker, "parent", nothing)
    assert record["output"] == {"value": 40, "detached": None, "error": {"message": "child bad", "code": "E_CHILD"}}


@pytest.mark.parametrize(("is_broke", "status"), [(False, "compensated"), (True, "compensation_failed")])
def test_compensations(worker: str, is_broke: bool, status: str) -> None:
    record = played(worker, "saga", nothing, {"broke": is_broke})
    assert (record["status"], record["error"]["message"]) == (status, "ship failed")


def test_a_fatal_error(worker: str) -> None:
    record = played(worker, "fatal", nothing)
    assert (record["status"], record["error"]["code"]) == ("failed", "FATAL")
    assert record["journal"]["stepResults"]["charge"]["attempt"] == 1


def test_steps_that_are_tried_again(worker: str) -> None:
    record = played(worker, "flaky", nothing)
    assert (record["output"], record["journal"]["stepResults"]["load"]["attempt"]) == (3, 3)


def test_a_token(worker: str) -> None:
    async def play(client: Client) -> None:
        await client.waits_for("token:tok_1")
        await client.inject("tokens/tok_1", {"payload": "yes"})

    assert played(worker, "token", play)["output"] == {"id": "tok_1", "value": "yes"}


def test_streams_come_once(worker: str) -> None:
    record = played(worker, "streams", nothing)
    shown = {
        name: [(chunk["seq"], chunk["encoding"], chunk["chunk"], chunk["final"]) for chunk in chunks]
        for name, chunks in record["streams"].items()
    }
    assert shown == {
        "text": [(1, "text", "a", False), (2, "text", "b", False), (3, "text", None, True)],
        "json": [(1, "json", {"a": 1}, False), (2, "json", None, True)],
        "bytes": [(1, "base64", "AQID", False), (2, "base64", None, True)],
    }
    assert record["journal"]["streamsCompleted"]["text"] == {"chunkCount": 3}


def test_groups_and_parallel_steps(worker: str) -> None:
    assert played(worker, "group", nothing)["output"] == "inner"
    assert played(worker, "parallel", nothing)["output"] == [1, 4, 9]


def test_more_waits_than_that_system_allows_invocations(worker: str) -> None:
    record = played(worker, "many", nothing, {"waits": 150})
    assert (record["output"], record["invocationCount"]) == ("all", 151)


def test_what_is_not_there_and_a_wrong_secret(worker: str) -> None:
    async def scenario(target: Target, name: str) -> str:
        async with Stepwell("memory://", targets=[target]) as app:
            handle = await app.start(name, {})
            with pytest.raises(RunError) as caught:
                await handle.result(timeout="20s")
            return str(caught.value)

    absent = run(scenario(Target(worker, workflows=["absent"], secret="s3cret"), "absent"))
    assert 'workflow "absent" is not registered' in absent
    wrong = run(scenario(Target(worker, workflows=["basic"], secret="other"), "basic"))
    assert "signature does not match request body" in wrong


def test_a_cancelled_run_closes_its_connection(worker: str) -> None:
    async def scenario() -> str:
        target = Target(worker, workflows=WORKFLOWS, secret="s3cret")
        async with Stepwell("memory://", targets=[target]) as app:
            handle = await app.start("several", {})
            await asyncio.sleep(0.2)
            await app.runs.cancel(handle.id)
            with pytest.raises(RunCancelledError):
                await handle.result(timeout="20s")
            return (await app.runs.get(handle.id)).status

    assert run(scenario()) == "cancelled"
