"""The gaps and defects of Voyant that its run routes have, and these do not. The table in docs/voyant.md names them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.formats.voyant_runs import effects
from tests.server.voyant_client import Client, served

HOUR = 3_600_000
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


# --- time


def test_the_time_of_a_wait_runs_out() -> None:
    """W-20."""

    async def body(client: Client) -> None:
        record = await client.start("patient", runId="r")
        assert record["pendingWaitpoints"][0]["timeoutMs"] == HOUR
        await asyncio.sleep(3700)
        record = await client.record("r")
        assert ids(record) == ["signal:approve:2"]
        assert "payload" not in record["journal"]["waitpointsResolved"]["signal:approve:1"]

    served(body)


def test_a_sleep_goes_on_while_others_wake_the_run() -> None:
    """W-21."""

    async def body(client: Client) -> None:
        before = await client.start("race", runId="r")
        await asyncio.sleep(1800)
        after = (await client.post("/api/runs/r/signals", {"name": "approve"})).json()
        (sleep,) = after["pendingWaitpoints"]
        assert sleep in before["pendingWaitpoints"]
        assert sleep["meta"]["wakeAt"] == before["startedAt"] + HOUR
        await asyncio.sleep(1810)
        assert (await client.record("r"))["status"] == "completed"

    served(body)


@pytest.mark.parametrize(
    ("given", "shown"), [({"name": "approve"}, None), ({"name": "approve", "payload": None}, None)]
)
def test_a_signal_without_a_payload_is_no_timeout(given: dict[str, Any], shown: Any) -> None:
    """W-22."""

    async def body(client: Client) -> None:
        await client.start("patient", runId="r")
        record = (await client.post("/api/runs/r/signals", given)).json()
        assert record["journal"]["waitpointsResolved"]["signal:approve:1"]["payload"] is shown
        assert record["journal"]["waitpointsResolved"]["signal:approve:1"]["source"] == "live"

    served(body)


def test_where_no_time_runs_out_nothing_stays_nothing() -> None:
    """W-22."""

    async def body(client: Client) -> None:
        await client.start("approval", runId="r")
        record = (await client.post("/api/runs/r/signals", {"name": "approve"})).json()
        assert "payload" not in record["journal"]["waitpointsResolved"]["signal:approve:1"]

    served(body)


def test_a_retry_of_a_step_waits_as_long_as_it_says() -> None:
    """W-23."""

    async def body(client: Client) -> None:
        record = await client.start("stubborn", runId="r")
        assert (record["status"], record["output"]) == ("completed", "at last")
        assert record["journal"]["stepResults"]["flaky"]["attempt"] == 3
        assert record["completedAt"] - record["startedAt"] == 30_000

    served(body, options={"wait": 50.0})


def test_a_sleep_of_two_months_ends_in_two_months() -> None:
    """W-25."""

    async def body(client: Client) -> None:
        record = await client.start("long", runId="r")
        assert record["pendingWaitpoints"][0]["timeoutMs"] == 60 * 24 * HOUR
        client.world.clock.advance("59d")
        assert (await client.record("r"))["status"] == "waiting"
        client.world.clock.advance("1d")
        await asyncio.sleep(10)
        assert (await client.record("r"))["status"] == "completed"

    served(body)


def test_a_run_may_wait_more_than_127_times() -> None:
    """W-07."""

    async def body(client: Client) -> None:
        record = await client.start("many", runId="r")
        for _ in range(130):
            assert record["status"] == "waiting"
            record = (await client.post("/api/runs/r/signals", {"name": "approve"})).json()
        assert (record["status"], record["invocationCount"]) == ("completed", 131)

    served(body)


# --- meaning


def test_what_a_saga_undid_is_in_the_record_and_undone_once() -> None:
    """W-30."""

    async def body(client: Client) -> None:
        record = await client.start("saga", "bike", runId="r")
        assert record["status"] == "compensated"
        assert list(record["journal"]["compensationsRun"]) == ["return_it", "unbook"]
        assert effects.count("unbook booked") == effects.count("return") == 1

    served(body)


def test_a_cancel_undoes_what_a_saga_did() -> None:
    """W-30."""

    async def body(client: Client) -> None:
        await client.start("saga.waiting", runId="r")
        record = (await client.post("/api/runs/r/cancel")).json()
        assert record["status"] == "cancelled"
        assert record["journal"]["stepResults"]["unbook"]["output"] == "undone"

    served(body)


def test_a_resume_keeps_what_was_received_before_the_failure() -> None:
    """W-31."""

    async def body(client: Client) -> None:
        await client.start("pipeline", True, runId="p")
        await asyncio.sleep(11)
        failed = (await client.post("/api/runs/p/signals", {"name": "approve", "payload": "usr"})).json()
        assert failed["status"] == "failed"
        effects[:] = ["charge"]
        answer = await client.post("/api/runs/p/resume", {"runId": "again"})
        saved = answer.json()["saved"]
        assert answer.json()["resumeFromStep"] == "charge"
        assert saved["status"] == "completed"
        assert saved["output"]["by"] == "usr"
        assert effects == ["charge", "charge"]
        assert list(saved["journal"]["waitpointsResolved"]) == ["sleep:1", "signal:approve:1"]

    served(body)


def test_a_resume_keeps_the_order_of_steps_whatever_their_names() -> None:
    """W-31."""

    async def body(client: Client) -> None:
        failed = await client.start("numbers", True, runId="n")
        assert list(failed["journal"]["stepResults"]) == ["ten", "2", "1"]
        saved = (await client.post("/api/runs/n/resume", {"input": False})).json()["saved"]
        assert list(saved["journal"]["stepResults"]) == ["ten", "2", "1"]
        assert saved["status"] == "completed"

    served(body)


def test_a_run_that_did_not_fail_is_resumed_only_by_force() -> None:
    """W-31."""

    async def body(client: Client) -> None:
        await client.start("pipeline", runId="p")
        assert (await client.post("/api/runs/p/resume", {"resumeFromStep": "charge"})).status_code == 409
        forced = await client.post("/api/runs/p/resume?force=1", {"resumeFromStep": "charge", "runId": "again"})
        assert forced.status_code == 200
        assert ids(forced.json()["saved"]) == ["sleep:1"]

    served(body)


def test_a_resume_that_is_asked_for_twice_is_one() -> None:
    """W-31, W-17."""

    async def body(client: Client) -> None:
        await client.start("charging", "fatal", runId="f")
        again = {"input": 5, "runId": "again"}
        first, second = [await client.post("/api/runs/f/resume", again) for _ in range(2)]
        assert first.json()["saved"] == second.json()["saved"]
        await client.start("charging", "fatal", runId="g")
        other = await client.post("/api/runs/g/resume", again)
        assert (other.status_code, other.json()["error"]) == (409, "idempotency_conflict")

    served(body)


def test_results_of_another_system_are_taken_in_any_order() -> None:
    """W-31: a parent that is not here, with waits between its steps."""

    async def body(client: Client) -> None:
        asked = {
            "workflowId": "pipeline",
            "resumeFromStep": "charge",
            "seedResults": {"charge": {"charged": 9}, "load": {"total": 1}, "book": "before"},
            "triggeredByUserId": "usr_1",
            "tags": ["operator"],
        }
        answer = (await client.post("/api/runs/elsewhere/resume", asked)).json()
        saved = answer["saved"]
        assert (answer["parentRunId"], answer["resumeFromStep"]) == ("elsewhere", "charge")
        assert ids(saved) == ["sleep:1"]
        assert saved["triggeredBy"] == {"kind": "api", "actor": "usr_1"}
        assert saved["tags"] == ["resume:true", "parentRunId:elsewhere", "operator"]
        await asyncio.sleep(11)
        record = (await client.post(f"/api/runs/{saved['id']}/signals", {"name": "approve", "payload": 1})).json()
        assert record["output"] == {"loaded": {"total": 1}, "by": 1, "charged": {"charged": 9}}
        assert effects == []

    served(body)


def test_seeds_of_a_parent_that_is_here_replace_its_results_and_keep_its_waits() -> None:
    """W-31."""

    async def body(client: Client) -> None:
        await client.start("pipeline", True, runId="p")
        await asyncio.sleep(11)
        await client.post("/api/runs/p/signals", {"name": "approve", "payload": "usr"})
        effects.clear()
        record = await client.record("p")
        loaded = record["journal"]["stepResults"]["load"]["output"]
        seeds = {"load": loaded, "book": "booked", "charge": {"charged": 1}}
        saved = (await client.post("/api/runs/p/resume", {"seedResults": seeds})).json()["saved"]
        assert saved["output"] == {"loaded": loaded, "by": "usr", "charged": {"charged": 1}}
        assert effects == []

    served(body)


def test_two_steps_of_one_name_have_two_results() -> None:
    """W-32."""

    async def body(client: Client) -> None:
        record = await client.start("twice", runId="r")
        assert {id: step["output"] for id, step in record["journal"]["stepResults"].items()} == {
            "load": {"total": 120, "what": 1},
            "load:2": {"total": 120, "what": 2},
        }

    served(body)


def test_the_class_and_the_place_of_an_error_are_in_the_journal() -> None:
    """W-33."""

    async def body(client: Client) -> None:
        record = await client.start("charging", "fatal", runId="r")
        assert set(record["error"]) == {"category", "code", "message"}
        fault = record["journal"]["stepResults"]["charge"]["error"]
        assert fault["name"] == "FatalError"
        assert "in charge" in fault["stack"]

    served(body)


def test_an_event_for_everybody_reaches_the_runs_that_wait() -> None:
    """W-35."""

    async def body(client: Client) -> None:
        await client.start("listening", runId="a")
        await client.start("listening", runId="b")
        answer = await client.post("/api/publish/payment.settled", {"amount": 1})
        assert answer.json()["waiting"] == 2
        await asyncio.sleep(1)
        assert [(await client.record(run))["output"] for run in "ab"] == [{"amount": 1}, {"amount": 1}]

    served(body)


def test_chunks_of_an_attempt_that_failed_are_not_shown_twice() -> None:
    """W-36."""

    async def body(client: Client) -> None:
        record = await client.start("talking", "fails", runId="t")
        assert [chunk["chunk"] for chunk in record["streams"]["log"]] == ["begun", "done", None]
        assert [chunk["seq"] for chunk in record["streams"]["log"]] == [1, 2, 3]

    served(body, options={"wait": 50.0})


@pytest.mark.parametrize(
    ("input", "field"), [({"bookingId": 7}, "bookingId"), ({}, "bookingId"), ([], "object"), ("absent", "input")]
)
def test_an_input_is_checked_before_there_is_a_run(input: Any, field: str) -> None:
    """W-38, W-40."""

    async def body(client: Client) -> None:
        trigger = {"workflowId": "typed", "runId": "r", **({} if input == "absent" else {"input": input})}
        answer = await client.post("/api/runs", trigger)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_input")
        assert field in answer.json()["message"]
        assert (await client.get("/api/runs/r")).status_code == 404

    served(body)


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
