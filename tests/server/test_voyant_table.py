"""Section 8 of the description of that system, row by row: each route, each answer, each failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from msgspec import Struct

from tests.server.voyant_client import Client, served

JSON = "application/json; charset=utf-8"
GONE = "no run stored in this DO"
OBJECT = "request body must be an object"


class Row(Struct, frozen=True):
    """A request, and what comes back: the whole body, or what must hold of it."""

    name: str
    request: tuple[str, str]
    body: Any
    status: int
    answer: Mapping[str, Any] | Callable[[Any], Any]


def error(code: str, message: str | None = None, **members: Any) -> dict[str, Any]:
    return {"error": code, **({} if message is None else {"message": message}), **members}


def is_record(status: str, **members: Any) -> Callable[[Any], bool]:
    """A record in this status, with these members."""

    def holds(record: Any) -> bool:
        assert record["status"] == status
        assert {name: record[name] for name in members} == members
        return set(record) >= {"id", "workflowId", "journal", "pendingWaitpoints", "streams", "tenantMeta", "runMeta"}

    return holds


def coded(code: str, *words: str) -> Callable[[Any], bool]:
    """An error with a text of ours, in which these words are."""

    def holds(body: Any) -> bool:
        assert body["error"] == code
        return all(word in body["message"] for word in words)

    return holds


RUNS = ("POST", "/api/runs")
FIRST: dict[str, Any] = {"workflowId": "double", "workflowVersion": "1", "input": 1, "tenantMeta": {"tenantId": "t"}}


def at(run: str, suffix: str = "") -> tuple[str, str]:
    return ("POST", f"/api/runs/{run}{suffix}") if suffix else ("GET", f"/api/runs/{run}")


STARTS = [
    Row("start", RUNS, FIRST, 200, is_record("completed", output={"total": 120, "what": 1}, workflowVersion="1")),
    Row("start of a run that parks", RUNS, {"workflowId": "approval"}, 200, is_record("waiting")),
    Row("start of a run that fails", RUNS, {"workflowId": "charging", "input": "fatal"}, 200, is_record("failed")),
    Row("start later", RUNS, {**FIRST, "delay": "1h"}, 200, is_record("waiting", invocationCount=0)),
    Row("start of a run that is there", RUNS, {"workflowId": "double", "runId": "done", "input": 1}, 200,
        is_record("completed", id="done")),
    Row("no JSON", RUNS, b"{", 400, coded("invalid_json")),
    Row("no body", RUNS, b"", 400, coded("invalid_json")),
    Row("no object", RUNS, [], 400, coded("invalid_body", "object")),
    Row("no workflow", RUNS, {"tenantMeta": {}}, 400, coded("invalid_body", "workflowId")),
    Row("a workflow that is no text", RUNS, {"workflowId": 7}, 400, coded("invalid_body", "$.workflowId")),
    Row("no such environment", RUNS, {**FIRST, "environment": "moon"}, 400, coded("invalid_body", "$.environment")),
    Row("a bad duration", RUNS, {**FIRST, "delay": "1.5h"}, 400, error("invalid_body", "invalid duration: 1.5h")),
    Row("a bad run id", RUNS, {**FIRST, "runId": "a/b"}, 400, coded("invalid_request", "'a/b'")),
    Row("an unknown workflow", RUNS, {"workflowId": "none"}, 400, coded("unknown_workflow", "'none'", "double")),
    Row("an input that does not fit", RUNS, {"workflowId": "typed", "input": {"bookingId": 7}}, 400,
        coded("invalid_input", "bookingId")),
    Row("another input under an id", RUNS, {"workflowId": "double", "runId": "done", "input": 2}, 409,
        coded("idempotency_conflict", "input")),
    Row("another workflow under an id", RUNS, {"workflowId": "child", "runId": "done", "input": 1}, 409,
        coded("idempotency_conflict", "workflow")),
]  # fmt: skip

READS = [
    Row("get", at("done"), None, 200, is_record("completed", id="done", workflowId="double")),
    Row("get what is not there", at("none"), None, 404, error("not_found")),
    Row("get what cannot be", at("a%20b"), None, 404, error("not_found")),
]

EVENT, SIGNAL = {"eventType": "payment.settled", "payload": {"amount": 120}}, {"name": "approve", "payload": "usr_3"}
INJECTIONS = [
    Row("event", at("listens", "/events"), EVENT, 200, is_record("completed", output={"amount": 120})),
    Row("event: no JSON", at("listens", "/events"), b"{", 400, coded("invalid_json")),
    Row("event: no body", at("listens", "/events"), None, 400, coded("invalid_json")),
    Row("event: no object", at("listens", "/events"), [], 400, error("invalid_body", OBJECT)),
    Row("event: null", at("listens", "/events"), b"null", 400, error("invalid_body", OBJECT)),
    Row("event: no type", at("listens", "/events"), {}, 400, error("invalid_body", "`eventType` (string) is required")),
    Row("event: a number", at("listens", "/events"), {"eventType": 1}, 400,
        error("invalid_body", "`eventType` (string) is required")),
    Row("event: another", at("listens", "/events"), {"eventType": "x"}, 400, coded("no_match", "'x'")),
    Row("event: none", at("none", "/events"), EVENT, 404, error("not_found", GONE)),
    Row("event: running", at("runs", "/events"), EVENT, 409, coded("not_parked", "running")),
    Row("event: over", at("done", "/events"), EVENT, 409, coded("not_parked", "completed")),
    Row("signal", at("parks", "/signals"), SIGNAL, 200, is_record("completed", output="usr_3")),
    Row("signal: no JSON", at("parks", "/signals"), b"[", 400, coded("invalid_json")),
    Row("signal: no object", at("parks", "/signals"), "text", 400, error("invalid_body", OBJECT)),
    Row("signal: no name", at("parks", "/signals"), {"payload": 1}, 400,
        error("invalid_body", "`name` (string) is required")),
    Row("signal: another", at("parks", "/signals"), {"name": "x"}, 400, coded("no_match", "'x'")),
    Row("signal: none", at("none", "/signals"), SIGNAL, 404, error("not_found", GONE)),
    Row("signal: running", at("runs", "/signals"), SIGNAL, 409, coded("not_parked")),
    Row("token", at("token", "/tokens/order-7-approval"), {"payload": "yes"}, 200, is_record("waiting")),
    Row("token: no body", at("token", "/tokens/order-7-approval"), None, 200, is_record("waiting")),
    Row("token: percent", at("token", "/tokens/order%2D7-approval"), {}, 200, is_record("waiting")),
    Row("token: no JSON", at("token", "/tokens/order-7-approval"), b"{", 400, coded("invalid_json")),
    Row("token: no object", at("token", "/tokens/order-7-approval"), 5, 400, error("invalid_body", OBJECT)),
    Row("token: another", at("token", "/tokens/tok9"), {}, 400, coded("no_match", "'tok9'")),
    Row("token: none", at("none", "/tokens/order-7-approval"), {}, 404, error("not_found", GONE)),
    Row("token: over", at("done", "/tokens/order-7-approval"), {}, 409, coded("not_parked")),
]  # fmt: skip

CANCELS = [
    Row("cancel", at("parks", "/cancel"), {"reason": "withdrew"}, 200,
        is_record("cancelled", error={"category": "USER_ERROR", "code": "CANCELLED", "message": "withdrew"})),
    Row("cancel: no body", at("parks", "/cancel"), None, 200, is_record("cancelled")),
    Row("cancel: running", at("runs", "/cancel"), {}, 200, is_record("cancelled")),
    Row("cancel: no object", at("parks", "/cancel"), [], 400, error("invalid_body", OBJECT)),
    Row("cancel: a number", at("parks", "/cancel"), {"reason": 1}, 400,
        error("invalid_body", "`reason` must be a string when provided")),
    Row("cancel: none", at("none", "/cancel"), {}, 404, error("not_found", GONE)),
    Row("cancel: over", at("done", "/cancel"), {}, 409, coded("already_terminal", "completed")),
]  # fmt: skip

ELSEWHERE = {"workflowId": "charging", "resumeFromStep": "charge", "seedResults": {"load": 1}, "input": 5}


def is_resume(parent: str, step: str, **members: Any) -> Callable[[Any], bool]:
    def holds(body: Any) -> bool:
        assert set(body) == {"saved", "parentRunId", "resumeFromStep"}
        assert (body["parentRunId"], body["resumeFromStep"]) == (parent, step)
        return is_record("completed", **members)(body["saved"])

    return holds


def refused(member: str, what: str) -> dict[str, Any]:
    return error("invalid_body", f"`{member}` must be {what} when provided")


RESUMES = [
    Row("resume", at("failed", "/resume"), {"input": 5, "runId": "again", "tags": ["operator"]}, 200,
        is_resume("failed", "charge", id="again", input=5, output={"charged": 5},
                  tags=["resume:true", "parentRunId:failed", "operator"])),
    Row("resume elsewhere", at("none", "/resume"), ELSEWHERE, 200, is_resume("none", "charge", output={"charged": 5})),
    Row("resume: no JSON", at("failed", "/resume"), b"{", 400, coded("invalid_json")),
    Row("resume: no object", at("failed", "/resume"), [], 400, error("invalid_body", OBJECT)),
    Row("resume: step", at("failed", "/resume"), {"resumeFromStep": 1}, 400, refused("resumeFromStep", "a string")),
    Row("resume: workflow", at("failed", "/resume"), {"workflowId": 1}, 400, refused("workflowId", "a string")),
    Row("resume: run", at("failed", "/resume"), {"runId": 1}, 400, refused("runId", "a string")),
    Row("resume: user", at("failed", "/resume"), {"triggeredByUserId": 1}, 400,
        refused("triggeredByUserId", "a string or null")),
    Row("resume: tags", at("failed", "/resume"), {"tags": [1]}, 400, refused("tags", "an array of strings")),
    Row("resume: seeds", at("failed", "/resume"), {"seedResults": []}, 400, refused("seedResults", "an object")),
    Row("resume: no failed step", at("cancelled", "/resume"), {}, 400,
        error("resume_failed", 'run "cancelled" has no failed step; pass resumeFromStep explicitly to resume it')),
    Row("resume: a step before failed", at("failed", "/resume"), {"resumeFromStep": "later"}, 400,
        error("resume_failed",
              'step "charge" completed before "later" but is not successful; cannot seed resume journal')),
    Row("resume: did not fail", at("done", "/resume"), {}, 409, coded("resume_failed", "force")),
    Row("resume: unknown", at("none", "/resume"), {}, 404, coded("resume_failed", '"none"')),
    Row("resume: unknown, no step", at("none", "/resume"), {"workflowId": "double"}, 400,
        error("resume_failed", "resumeFromStep is required when the parent run is not stored by this worker")),
    Row("resume: unknown, no seeds", at("none", "/resume"), {"workflowId": "double", "resumeFromStep": "x"}, 400,
        error("resume_failed", "seedResults is required when the parent run is not stored by this worker")),
    Row("resume: id of another", at("failed", "/resume"), {"runId": "done", "input": 5}, 409,
        coded("idempotency_conflict", "done")),
]  # fmt: skip

ABSENT = [
    Row("manifests", ("POST", "/api/manifests"), {}, 404, error("manifests_not_configured")),
    Row("manifest", ("GET", "/api/manifests/production"), None, 404, error("manifests_not_configured")),
    Row("events", ("POST", "/api/events"), {"environment": "production"}, 404, error("events_not_configured")),
    Row("schedules", ("GET", "/api/schedules/production"), None, 404, error("schedules_not_configured")),
]

PATHS = [
    Row("another path", ("GET", "/elsewhere"), None, 404, error("route_not_found", path="/elsewhere")),
    Row("a slash at the end", ("POST", "/api/runs/"), FIRST, 404, error("route_not_found", path="/api/runs/")),
    Row("another suffix", at("done", "/foo"), {}, 404, error("route_not_found", path="/api/runs/done/foo")),
]

TABLE = [*STARTS, *READS, *INJECTIONS, *CANCELS, *RESUMES, *ABSENT, *PATHS]


STARTED: Mapping[str, tuple[str, Any]] = {
    "done": ("double", 1),
    "failed": ("charging", "fatal"),
    "cancelled": ("approval", None),
    "parks": ("approval", None),
    "listens": ("listening", None),
    "token": ("tokens", None),
    "runs": ("charging", "slow"),
}


async def prepare(client: Client, row: Row) -> None:
    """The runs that the row is about."""
    named = str(row.request) + str(row.body)
    for run, (workflow, input) in STARTED.items():
        if f"/{run}" in named or f"'{run}'" in named:
            start = {"workflowId": workflow, "input": input, "runId": run}
            await client.post("/api/runs", start, headers={"prefer": "respond-async"} if run == "runs" else {})
            if run == "cancelled":
                await client.post("/api/runs/cancelled/cancel")


async def ask(client: Client, row: Row) -> httpx.Response:
    verb, path = row.request
    if row.body is None:
        return await client.http.request(verb, path)
    if isinstance(row.body, bytes):
        return await client.http.request(verb, path, content=row.body)
    return await client.http.request(verb, path, json=row.body)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_row(row: Row) -> None:
    async def body(client: Client) -> None:
        await prepare(client, row)
        answer = await ask(client, row)
        assert answer.status_code == row.status, answer.text
        assert answer.headers["content-type"] == JSON
        if isinstance(row.answer, Mapping):
            assert answer.json() == row.answer
        else:
            assert row.answer(answer.json()), answer.text

    served(body)


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
