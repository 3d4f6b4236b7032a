"""Defects of the surface itself that Voyant has, and these routes do not; and when they answer, and with what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.server.voyant_client import Client, served

ASYNC = {"prefer": "respond-async"}


def ids(record: dict[str, Any]) -> list[str]:
    return [wait["clientWaitpointId"] for wait in record["pendingWaitpoints"]]


# --- the surface


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"workflowId":null}',
        b'{"workflowId":"double","tenantMeta":7}',
        b'{"workflowId":"double","tags":[1]}',
        b'{"workflowId":"double","priority":"high"}',
        b'{"workflowId":"double","runId":""}',
        b'{"workflowId":"double","delay":{"wakeAt":"soon"}}',
        b'{"workflowId":"double","workflowId":"child"}',
        b'{"workflowId":"double","input":NaN}',
        b'{"workflowId":"double","metadata":{"voyant":1}}',
        b'{"workflowId":"double","timeout":-1}',
        b'{"workflowId":"\xff"}',
        b'{"workflowId":"double","input":' + b"[" * 100 + b"]" * 100 + b"}",
    ],
)
def test_a_bad_trigger_is_refused_and_leaves_no_run(body: bytes) -> None:
    """W-40."""

    async def test(client: Client) -> None:
        answer = await client.http.post("/api/runs", content=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"]
        assert (await client.get("/api/runs")).json()["runs"] == []

    served(test)


def test_a_wrong_verb_is_405_and_an_unknown_suffix_404() -> None:
    """W-41."""

    async def body(client: Client) -> None:
        await client.start("approval", runId="r")
        for verb, path in (("PUT", "/signals"), ("DELETE", "/events"), ("GET", "/cancel"), ("PATCH", "")):
            answer = await client.http.request(verb, f"/api/runs/r{path}", json={"name": "approve"})
            assert answer.status_code == 405
            assert "POST" in answer.headers["allow"] or "GET" in answer.headers["allow"]
        unknown = await client.post("/api/runs/r/elsewhere", {})
        assert (unknown.status_code, unknown.json()["error"]) == (404, "route_not_found")
        assert (await client.record("r"))["status"] == "waiting"

    served(body)


def test_strict_routing_answers_400_as_that_system_does() -> None:
    """W-41, its switch."""

    async def body(client: Client) -> None:
        for verb, path in (("POST", "/foo"), ("PUT", "/signals")):
            answer = await client.http.request(verb, f"/api/runs/r{path}", json={})
            assert (answer.status_code, answer.json()) == (
                400,
                {"error": "route_not_found", "message": f"unknown path suffix {path}"},
            )

    served(body, options={"strict_routing": True})


@pytest.mark.parametrize("path", ["events", "signals", "tokens/t", "cancel", "resume"])
def test_a_body_with_an_error_is_not_echoed(path: str) -> None:
    """W-41."""

    async def body(client: Client) -> None:
        answer = await client.post(f"/api/runs/none/{path}", {"error": "mine", "name": "n", "eventType": "e"})
        assert answer.json()["error"] != "mine"
        assert answer.status_code == 404

    served(body)


def test_who_asks_is_known_from_the_key_and_not_from_the_body() -> None:
    """W-42."""

    async def body(client: Client) -> None:
        await client.server.open()
        key = await client.server.access.keys.create(scopes=("trigger", "read"), namespace="acme", name="billing")
        headers = {"authorization": f"Bearer {key.text}"}
        forged = {
            "workflowId": "approval",
            "runId": "r",
            "tenantMeta": {"tenantId": "somebody", "projectId": "prj"},
            "triggeredBy": {"kind": "schedule", "scheduleId": "x"},
            "concurrencyLease": {"key": "k"},
            "initialJournal": {"stepResults": {"load": {}}},
            "timeoutMs": 1,
        }
        record = (await client.post("/api/runs", forged, headers=headers)).json()
        assert record["tenantMeta"] == {"tenantId": "acme", "projectId": "prj", "organizationId": "default"}
        assert record["triggeredBy"] == {"kind": "api", "actor": "billing"}
        assert record["journal"]["stepResults"] == {}
        assert "timeoutMs" not in record
        assert "concurrencyLease" not in record
        other = (await client.server.access.keys.create(scopes=("read",), namespace="other")).text
        answer = await client.get("/api/runs/r", headers={"authorization": f"Bearer {other}"})
        assert answer.status_code == 404

    served(body, options={"dev": False, "namespaces": ("acme", "other")})


def test_custom_tokens_are_shown_only_to_who_may_complete_them() -> None:
    """W-42."""

    async def body(client: Client) -> None:
        await client.server.open()
        keys = client.server.access.keys
        reader = {"authorization": f"Bearer {(await keys.create(scopes=('read', 'trigger'))).text}"}
        sender = {"authorization": f"Bearer {(await keys.create(scopes=('read', 'signal'))).text}"}
        await client.post("/api/runs", {"workflowId": "tokens", "runId": "t"}, headers=reader)
        hidden = (await client.get("/api/runs/t", headers=reader)).json()
        shown = (await client.get("/api/runs/t", headers=sender)).json()
        assert ids(hidden) == ["token:hook"]
        assert "order-7-approval" not in str(hidden)
        assert ids(shown) == ["token:order-7-approval"]
        assert (await client.post("/api/runs/t/tokens/hook", {}, headers=sender)).status_code == 200

    served(body, options={"dev": False})


def test_every_change_is_in_the_history_of_a_run() -> None:
    """W-44."""

    async def body(client: Client) -> None:
        await client.start("patient", runId="r")
        await client.post("/api/runs/r/signals", {"name": "approve", "payload": 1})
        await client.post("/api/runs/r/cancel", {"reason": "why"})
        events = (await client.get("/api/runs/r/events")).json()["events"]
        assert [event["type"] for event in events] == ["created", "received", "received", "ended"]

    served(body)


def test_from_one_wait_to_the_next_is_a_change_that_followers_are_told() -> None:
    """W-45."""

    async def body(client: Client) -> None:
        await client.start("patient", runId="r")
        before = (await client.get("/api/runs/r/events")).json()["next"]
        await client.post("/api/runs/r/signals", {"name": "approve", "payload": 1})
        page = (await client.get(f"/api/runs/r/events?after={before}")).json()
        assert [event["type"] for event in page["events"]] == ["received"]

    served(body)


def test_web_pages_of_others_may_not_ask() -> None:
    """W-46."""

    async def body(client: Client) -> None:
        headers = {"origin": "https://elsewhere.test"}
        for answer in (
            await client.http.options("/api/runs", headers=headers),
            await client.post("/api/runs", {"workflowId": "double"}, headers=headers),
        ):
            assert "access-control-allow-origin" not in answer.headers

    served(body)


def test_web_pages_may_ask_where_that_is_allowed() -> None:
    """W-46, its switch."""

    async def body(client: Client) -> None:
        answer = await client.post("/api/runs", {"workflowId": "double"}, headers={"origin": "https://elsewhere.test"})
        assert answer.headers["access-control-allow-origin"] in ("*", "https://elsewhere.test")
        asked = await client.http.options(
            "/api/runs", headers={"origin": "https://elsewhere.test", "access-control-request-method": "POST"}
        )
        assert asked.status_code in (200, 204)

    served(body, options={"cors_origins": ("*",)})


def test_a_body_that_is_too_large_is_413() -> None:
    """W-49."""

    async def body(client: Client) -> None:
        await client.start("approval", runId="r")
        large = "x" * 2000
        for path, given in (
            ("/api/runs", {"workflowId": "double", "input": large}),
            ("/api/runs/r/signals", {"name": "approve", "payload": large}),
            ("/api/runs/r/resume", {"input": large}),
        ):
            answer = await client.post(path, given)
            assert (answer.status_code, answer.json()["error"]) == (413, "body_too_large")
        assert (await client.record("r"))["status"] == "waiting"

    served(body, options={"max_body": 1500})


def test_a_run_has_one_shape_on_every_route() -> None:
    """W-50."""

    async def body(client: Client) -> None:
        started = await client.start("approval", runId="r")
        injected = (await client.post("/api/runs/r/signals", {"name": "approve"})).json()
        read = await client.record("r")
        assert injected == read
        assert set(started) | {"output", "completedAt"} >= set(read)
        assert "saved" not in read

    served(body)


# --- answering


def test_the_answer_from_the_commits_is_the_one_from_the_store() -> None:
    async def body(client: Client) -> None:
        for workflow, input in (
            ("double", {"a": 1.0}),
            ("charging", "fatal"),
            ("streaming", None),
            ("approval", None),
            ("invoice.issue", 1),
            ("saga", "lost"),
            ("tokens", None),
            ("talking", None),
        ):
            started = await client.start(workflow, input, runId=workflow, tags=["a", "b:c"], metadata={"m": [1.0]})
            assert await client.record(workflow) == started, workflow

    served(body)


def test_a_start_that_nobody_waits_for_is_202_at_once() -> None:
    async def body(client: Client) -> None:
        trigger = {"workflowId": "charging", "input": "slow", "runId": "r"}
        answer = await client.post("/api/runs", trigger, headers=ASYNC)
        assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
        assert answer.json()["status"] == "running"
        await asyncio.sleep(200)
        assert (await client.record("r"))["status"] == "completed"

    served(body)


def test_a_message_and_a_cancel_that_nobody_waits_for_are_202_at_once() -> None:
    async def body(client: Client) -> None:
        await client.start("pipeline", runId="r")
        await asyncio.sleep(11)
        for path, given in (("signals", {"name": "approve"}), ("cancel", {})):
            answer = await client.post(f"/api/runs/r/{path}", given, headers=ASYNC)
            assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")

    served(body)


def test_a_message_behind_one_that_takes_long_is_refused() -> None:
    async def body(client: Client) -> None:
        await client.start("slow.after", runId="r")
        first = asyncio.create_task(client.post("/api/runs/r/signals", {"name": "approve"}))
        await asyncio.sleep(1)
        second = await client.post("/api/runs/r/signals", {"name": "approve"})
        assert (second.status_code, second.json()["error"]) == (409, "not_parked")
        assert (await first).status_code == 202

    served(body)


def test_a_run_that_takes_too_long_is_202_and_goes_on() -> None:
    async def body(client: Client) -> None:
        trigger = {"workflowId": "charging", "input": "slow", "runId": "r"}
        answer = await client.post("/api/runs", trigger)
        assert (answer.status_code, answer.json()["status"]) == (202, "running")
        assert list(answer.json()["journal"]["stepResults"]) == ["load"]
        await asyncio.sleep(200)
        assert (await client.record("r"))["status"] == "completed"

    served(body)


def test_a_short_sleep_pauses_a_run_as_well_as_a_long_one() -> None:
    async def body(client: Client) -> None:
        record = await client.start("short", runId="r")
        assert (record["status"], ids(record)) == ("waiting", ["sleep:1"])
        assert await client.record("r") == record
        assert (await client.post("/api/runs/r/signals", {"name": "approve"})).json()["error"] == "no_match"

    served(body)


def test_a_parent_is_answered_when_its_child_has_paused_or_ended() -> None:
    async def body(client: Client) -> None:
        done = await client.start("parent", 5)
        assert (done["status"], done["output"]["what"]) == ("completed", 5)
        slow = await client.start("parent", "waits")
        assert ids(slow) == ["invoke:child:1"]

    served(body)
