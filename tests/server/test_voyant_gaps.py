"""The gaps that Voyant admits, and its races, which are not here. The table in docs/voyant.md names the tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.formats.voyant_runs import effects
from tests.server.voyant_client import Client, served

ASYNC = {"prefer": "respond-async"}


def ids(record: dict[str, Any]) -> list[str]:
    return [wait["clientWaitpointId"] for wait in record["pendingWaitpoints"]]


# --- admitted gaps


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "missing Authorization header"),
        ("Basic abc", "Authorization header must use the Bearer scheme"),
        ("Bearer sw_0_wrong", "bearer token does not match any configured value"),
    ],
)
def test_nobody_is_answered_without_a_key(header: str | None, message: str) -> None:
    """G-1."""

    async def body(client: Client) -> None:
        headers = {} if header is None else {"authorization": header}
        for verb, path in (("POST", "/api/runs"), ("GET", "/api/runs/r"), ("POST", "/api/runs/r/cancel")):
            answer = await client.http.request(verb, path, headers=headers)
            assert answer.status_code == 401
            assert answer.json() == {"error": "unauthorized", "message": message}

    served(body, options={"dev": False})


def test_a_key_may_do_what_its_scopes_say() -> None:
    """G-1."""

    async def body(client: Client) -> None:
        await client.server.open()
        key = (await client.server.access.keys.create(scopes=("trigger",))).text
        headers = {"authorization": f"Bearer {key}"}
        assert (await client.post("/api/runs", {"workflowId": "approval", "runId": "r"}, headers=headers)).is_success
        for verb, path in (("GET", "/api/runs/r"), ("POST", "/api/runs/r/cancel"), ("POST", "/api/runs/r/signals")):
            answer = await client.http.request(verb, path, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")

    served(body, options={"dev": False})


def test_runs_are_listed_by_what_the_trigger_said() -> None:
    """G-2."""

    async def body(client: Client) -> None:
        await client.start("double", 1, runId="a", tags=["invoice", "customer:7"])
        await client.start("double", 1, runId="b", tags=["order"])
        for query in ("tag=invoice", "tag=customer:7", "text=a", "workflow=double&limit=1&since=0&tag=invoice"):
            found = (await client.get(f"/api/runs?{query}")).json()["runs"]
            assert [run["id"] for run in found] == ["a"], query

    served(body)


def test_chunks_of_streams_are_stored_apart_and_read_from_any_place() -> None:
    """G-3."""

    async def body(client: Client) -> None:
        record = await client.start("streaming", runId="s")
        assert [chunk["chunk"] for chunk in record["streams"]["log"]] == ["one", {"two": 2}, None]
        page = (await client.get("/api/runs/s/streams/log?start=1")).json()
        assert [chunk["value"] for chunk in page["chunks"]] == [{"two": 2.0}]
        assert (await client.record("s"))["streams"] == record["streams"]

    served(body)


def test_chunks_are_there_while_their_step_still_runs() -> None:
    """G-3b."""

    async def body(client: Client) -> None:
        await client.post("/api/runs", {"workflowId": "talking", "runId": "t"}, headers=ASYNC)
        await asyncio.sleep(5)
        record = await client.record("t")
        assert record["status"] == "running"
        assert [chunk["chunk"] for chunk in record["streams"]["log"]] == ["begun"]

    served(body)


def test_a_trigger_with_a_key_is_answered_twice_and_carried_out_once() -> None:
    """G-4."""

    async def body(client: Client) -> None:
        trigger = {"workflowId": "double", "input": {"a": 1, "b": 2}}
        first = await client.post("/api/runs", trigger, headers={"idempotency-key": "k1"})
        quoted = await client.post("/api/runs", trigger, headers={"idempotency-key": '"k1"'})
        in_body = await client.post(
            "/api/runs", {"workflowId": "double", "input": {"b": 2, "a": 1}, "idempotencyKey": "k1"}
        )
        assert first.status_code == quoted.status_code == in_body.status_code == 200
        assert first.json() == quoted.json() == in_body.json()
        assert first.json()["idempotencyKey"] == "k1"
        assert effects == ["load"]

    served(body)


@pytest.mark.parametrize(
    "other", [{"workflowId": "double", "input": 2}, {"workflowId": "double"}, {"workflowId": "double", "input": None}]
)
def test_a_key_with_another_input_is_a_conflict(other: dict[str, Any]) -> None:
    """G-4."""

    async def body(client: Client) -> None:
        await client.start("double", 1, idempotencyKey="k")
        answer = await client.post("/api/runs", {**other, "idempotencyKey": "k"})
        assert (answer.status_code, answer.json()["error"]) == (409, "idempotency_conflict")
        assert effects == ["load"]

    served(body)


def test_a_key_finds_its_run_while_that_is_running() -> None:
    """G-4."""

    async def body(client: Client) -> None:
        trigger = {"workflowId": "charging", "input": "slow", "idempotencyKey": "k"}
        first = await client.post("/api/runs", trigger, headers=ASYNC)
        again = await client.post("/api/runs", trigger)
        assert (again.status_code, again.json()["status"]) == (200, "running")
        assert again.json()["id"] == first.json()["id"]

    served(body)


def test_a_key_leads_to_the_run_that_was_given_an_id_of_its_own() -> None:
    """G-4."""

    async def body(client: Client) -> None:
        first = await client.start("double", 1, idempotencyKey="k", runId="mine")
        assert first["id"] == "mine"
        assert (await client.start("double", 1, idempotencyKey="k", runId="other"))["id"] == "mine"
        assert (await client.start("double", 1, idempotencyKey="k"))["id"] == "mine"
        assert effects == ["load"]

    served(body)


def test_a_key_in_the_header_and_another_in_the_body_are_refused() -> None:
    """G-4."""

    async def body(client: Client) -> None:
        trigger = {"workflowId": "double", "idempotencyKey": "a"}
        for key in ("b", "", "x" * 201):
            answer = await client.post("/api/runs", trigger, headers={"idempotency-key": key})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_idempotency_key")

    served(body)


# --- races


def test_a_cancel_during_a_step_wins() -> None:
    """W-10."""

    async def body(client: Client) -> None:
        trigger = {"workflowId": "charging", "input": "slow", "runId": "r"}
        await client.post("/api/runs", trigger, headers=ASYNC)
        await asyncio.sleep(1)
        answer = await client.post("/api/runs/r/cancel", {"reason": "stop"})
        assert answer.json()["status"] == "cancelled"
        await asyncio.sleep(200)
        assert (await client.record("r"))["status"] == "cancelled"

    served(body)


def test_an_early_signal_is_kept_if_asked_and_told_apart() -> None:
    """W-12."""

    async def body(client: Client) -> None:
        trigger = {"workflowId": "pipeline", "runId": "r"}
        await client.post("/api/runs", trigger)
        early = {"name": "approve", "payload": "early bird"}
        assert (await client.post("/api/runs/r/signals", early)).status_code == 400
        answer = await client.post("/api/runs/r/signals?buffer=1", early)
        assert answer.status_code == 202
        assert ids(answer.json()) == ["sleep:1"]
        assert answer.json()["journal"]["waitpointsResolved"]["signal:approve:1"]["source"] == "inbox"
        await asyncio.sleep(11)
        record = await client.record("r")
        assert (record["status"], record["output"]["by"]) == ("completed", "early bird")

    served(body)


@pytest.mark.parametrize(
    ("workflow", "path", "body"),
    [
        ("charging", "events", {"eventType": "payment.settled"}),
        ("charging", "signals", {"name": "approve"}),
        ("charging", "tokens/hook", {}),
    ],
)
def test_messages_to_a_running_run_are_refused_or_kept(workflow: str, path: str, body: Any) -> None:
    """W-12."""

    async def test(client: Client) -> None:
        await client.post("/api/runs", {"workflowId": workflow, "input": "slow", "runId": "r"}, headers=ASYNC)
        strict = await client.post(f"/api/runs/r/{path}", body)
        assert (strict.status_code, strict.json()["error"]) == (409, "not_parked")
        kept = await client.post(f"/api/runs/r/{path}?buffer=1", body)
        assert kept.status_code == 202
        (resolution,) = kept.json()["journal"]["waitpointsResolved"].values()
        assert resolution["source"] == "inbox"

    served(test)


def test_of_two_signals_at_once_one_is_taken() -> None:
    """W-12, in strict mode."""

    async def body(client: Client) -> None:
        await client.start("approval", runId="r")
        answers = await asyncio.gather(
            *(client.post("/api/runs/r/signals", {"name": "approve", "payload": n}) for n in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
        taken = next(answer.json() for answer in answers if answer.status_code == 200)
        assert (await client.record("r"))["output"] == taken["output"]

    served(body)


def test_a_parent_that_wakes_for_another_reason_has_one_child() -> None:
    """W-13, W-14."""

    async def body(client: Client) -> None:
        record = await client.start("parent.and.signal", runId="r")
        assert sorted(ids(record)) == ["invoke:child:1", "signal:approve:1"]
        await client.post("/api/runs/r/signals", {"name": "approve"})
        children = (await client.get("/api/runs?parent=r")).json()["runs"]
        assert len(children) == 1
        child = await client.record(children[0]["id"])
        assert child["triggeredBy"]["kind"] == "parent"
        answer = await client.post(f"/api/runs/{child['id']}/signals", {"name": "approve", "payload": 7})
        assert answer.json()["status"] == "completed"
        await asyncio.sleep(1)
        record = await client.record("r")
        assert (record["status"], record["output"]) == ("completed", 7)

    served(body)


def test_a_child_has_the_tenant_and_the_environment_of_its_parent() -> None:
    """W-14."""

    async def body(client: Client) -> None:
        tenant = {"tenantId": "t", "projectId": "p", "organizationId": "o"}
        await client.start("parent", "waits", runId="r", environment="production", tenantMeta=tenant)
        (run,) = (await client.get("/api/runs?parent=r")).json()["runs"]
        child = await client.record(run["id"])
        assert (child["environment"], child["tenantMeta"]) == ("production", tenant)
        assert child["parent"] == {"runId": "r", "waitpointId": "invoke:child:1"}

    served(body)


def test_a_cancel_reaches_the_children() -> None:
    """W-15."""

    async def body(client: Client) -> None:
        await client.start("parent", "waits", runId="r")
        (run,) = (await client.get("/api/runs?parent=r")).json()["runs"]
        await client.post("/api/runs/r/cancel")
        await asyncio.sleep(1)
        assert (await client.record(run["id"]))["status"] == "cancelled"

    served(body)


def test_keys_and_workflows_cannot_be_taken_for_each_other() -> None:
    """W-17."""

    async def body(client: Client) -> None:
        found = [
            await client.start("a-b", idempotencyKey="c"),
            await client.start("a", idempotencyKey="b-c"),
            await client.start("a", idempotencyKey="b-c", environment="production"),
            await client.start("a", idempotencyKey="production:b-c"),
        ]
        assert len({record["id"] for record in found}) == 4
        assert [record["workflowId"] for record in found] == ["a-b", "a", "a", "a"]

    served(body)


def test_a_taken_run_id_is_no_way_to_another_workflows_run() -> None:
    """W-17."""

    async def body(client: Client) -> None:
        await client.start("double", 1, runId="r")
        for trigger in ({"workflowId": "child", "input": 1}, {"workflowId": "double", "input": 2}):
            answer = await client.post("/api/runs", {**trigger, "runId": "r"})
            assert (answer.status_code, answer.json()["runId"]) == (409, "r")
            assert "journal" not in answer.json()

    served(body)


def test_runs_of_one_millisecond_have_ids_of_their_own() -> None:
    """W-18."""

    async def body(client: Client) -> None:
        start = {"workflowId": "approval"}
        answers = await asyncio.gather(*(client.post("/api/runs", start, headers=ASYNC) for _ in range(50)))
        found = [answer.json()["id"] for answer in answers]
        assert len(set(found)) == 50
        assert all(id.startswith("run_") and len(id) == 30 for id in found)

    served(body)
