"""Defects of time and meaning that Voyant has, and these routes do not. The table in docs/voyant.md names them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.formats.voyant_runs import effects
from tests.server.voyant_client import Client, served

HOUR = 3_600_000


def ids(record: dict[str, Any]) -> list[str]:
    return [wait["clientWaitpointId"] for wait in record["pendingWaitpoints"]]


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
