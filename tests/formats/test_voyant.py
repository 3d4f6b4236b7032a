"""The record of a run in the shape of Voyant, of runs that really ran."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.formats.voyant_runs import World, approve, paid

HOUR = 3_600_000


async def ended(world: World, workflow: str, *given: Any, **options: Any) -> dict[str, Any]:
    """The record of a run that was waited for."""
    handle = await world.app.start(workflow, *given, id="r", **options)
    await world.app.client.ended(handle.id)
    return await world.record("r")


def record_of(workflow: str, *given: Any, **options: Any) -> dict[str, Any]:
    world = World()
    return world.drive(lambda: ended(world, workflow, *given, **options))


def test_a_run_of_one_step() -> None:
    world = World()
    now = world.clock.now()
    record = world.drive(lambda: ended(world, "double", {"b": 1, "a": 2.0}))
    step = record["journal"]["stepResults"].pop("load")
    assert record == {
        "id": "r",
        "workflowId": "double",
        "workflowVersion": "local",
        "status": "completed",
        "input": {"b": 1, "a": 2},
        "output": {"total": 120, "what": {"b": 1, "a": 2}},
        "journal": {
            "stepResults": {},
            "waitpointsResolved": {},
            "compensationsRun": {},
            "metadataState": {},
            "streamsCompleted": {},
        },
        "invocationCount": 1,
        "metadataAppliedCount": 0,
        "computeTimeMs": step["finishedAt"] - step["startedAt"],
        "pendingWaitpoints": [],
        "streams": {},
        "startedAt": now,
        "completedAt": step["finishedAt"],
        "triggeredBy": {"kind": "api"},
        "tags": [],
        "environment": "development",
        "tenantMeta": {"tenantId": "default", "projectId": "default", "organizationId": "default"},
        "runMeta": {"number": 1, "attempt": 1},
    }
    assert {key: step[key] for key in ("attempt", "status", "output", "runtime")} == {
        "attempt": 1,
        "status": "ok",
        "output": {"total": 120, "what": {"b": 1, "a": 2}},
        "runtime": "edge",
    }


def test_a_parked_run_says_what_it_waits_for_and_its_metadata() -> None:
    world = World()

    async def body() -> dict[str, Any]:
        await world.app.start("invoice.issue", {"bookingId": "bk_7"}, id="r")
        await world.parked("r")
        return await world.record("r")

    record = world.drive(body)
    assert record["status"] == "waiting"
    wake = record["startedAt"] + 60_000
    assert record["pendingWaitpoints"] == [
        {
            "clientWaitpointId": "sleep:1",
            "kind": "DATETIME",
            "meta": {"durationMs": 60_000, "wakeAt": wake},
            "timeoutMs": 60_000,
        }
    ]
    assert record["journal"]["metadataState"] == {"phase": "cooling"}
    assert (record["metadataAppliedCount"], record["invocationCount"]) == (1, 1)
    assert "completedAt" not in record
    assert "output" not in record


def in_world(body: Any, **options: Any) -> Any:
    """Run `body(world)`."""
    world = World(**options)

    def started() -> Coroutine[Any, Any, Any]:
        return body(world)  # type: ignore[no-any-return]

    return world.drive(started)


def test_each_wait_is_resolved_under_the_id_that_it_had() -> None:
    async def body(world: World) -> dict[str, Any]:
        app = world.app
        handle = await app.start("invoice.issue", None, id="r")
        await world.pending("r", "sleep:1")
        await world.pending("r", "event:payment.settled:1")
        await app.publish(paid, {"amount": 120})
        await world.pending("r", "signal:approve:1")
        await handle.send(approve, "usr_3")
        await handle.result()
        return await world.record("r")

    record = in_world(body)
    resolved = record["journal"]["waitpointsResolved"]
    assert list(resolved) == ["sleep:1", "event:payment.settled:1", "signal:approve:1"]
    at = [item.pop("resolvedAt") for item in resolved.values()]
    assert at == sorted(at)
    assert list(resolved.values()) == [
        {"kind": "DATETIME", "source": "replay"},
        {
            "kind": "EVENT",
            "matchedEventId": "evt_live_payment.settled",
            "payload": {"amount": 120},
            "source": "live",
        },
        {"kind": "SIGNAL", "payload": "usr_3", "source": "live"},
    ]
    assert record["invocationCount"] == 4


def test_a_wait_whose_time_is_over_is_resolved_without_a_payload() -> None:
    async def body(world: World) -> list[dict[str, Any]]:
        await world.app.start("patient", id="r")
        first = await world.pending("r", "signal:approve:1")
        await asyncio.sleep(3700)
        return [first, await world.pending("r", "signal:approve:2")]

    first, second = in_world(body)
    assert first["pendingWaitpoints"] == [
        {
            "clientWaitpointId": "signal:approve:1",
            "kind": "SIGNAL",
            "meta": {"signalName": "approve"},
            "timeoutMs": HOUR,
        }
    ]
    assert set(second["journal"]["waitpointsResolved"]["signal:approve:1"]) == {"kind", "resolvedAt", "source"}
    assert "timeoutMs" not in second["pendingWaitpoints"][0]


def test_a_long_sleep_keeps_its_id_and_its_end_while_others_come_and_go() -> None:
    async def body(world: World) -> list[dict[str, Any]]:
        handle = await world.app.start("two.sleeps", id="r")
        seen = [await world.pending("r", "sleep:1", f"sleep:{n}") for n in (2, 3, 4)]
        await asyncio.sleep(3700)
        await handle.result()
        return [*seen, await world.record("r")]

    *seen, last = in_world(body)
    long = [
        next(wait for wait in record["pendingWaitpoints"] if wait["clientWaitpointId"] == "sleep:1") for record in seen
    ]
    assert long[0] == long[1] == long[2]
    assert long[0]["meta"] == {"durationMs": HOUR, "wakeAt": last["startedAt"] + HOUR}
    assert list(last["journal"]["waitpointsResolved"]) == ["sleep:2", "sleep:3", "sleep:4", "sleep:1"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("fatal", {"category": "USER_ERROR", "code": "FATAL", "message": "card refused"}),
        ("late", {"category": "USER_ERROR", "code": "TIMEOUT", "message": "too late"}),
    ],
)
def test_an_error_has_three_members_and_the_steps_has_all(given: str, error: dict[str, str]) -> None:
    record = record_of("charging", given)
    assert record["status"] == "failed"
    assert record["error"] == error
    fault = record["journal"]["stepResults"]["charge"]["error"]
    assert {key: fault[key] for key in error} == error
    assert fault["name"] == ("FatalError" if given == "fatal" else "TimeoutError")
    assert "charge" in fault["stack"]


def test_a_run_past_its_deadline() -> None:
    record = record_of("timed")
    assert record["error"]["code"] == "WORKFLOW_TIMEOUT"
    assert record["error"]["category"] == "RUNTIME_ERROR"
    assert record["timeoutMs"] == 10_000
    assert "sleep:1" not in record["journal"]["waitpointsResolved"]


@pytest.mark.parametrize(("verb", "reason"), [("cancel", ""), ("cancel", "withdrawn"), ("terminate", "now")])
def test_a_cancelled_run_has_an_error_only_if_there_is_a_reason(verb: str, reason: str) -> None:
    async def body(world: World) -> dict[str, Any]:
        handle = await world.app.start("approval", id="r")
        await world.parked("r")
        await getattr(world.app.runs, verb)("r", reason)
        await world.app.client.ended(handle.id)
        return await world.record("r")

    record = in_world(body)
    assert record["status"] == "cancelled"
    assert record["pendingWaitpoints"] == []
    assert record.get("error") == (
        {"category": "USER_ERROR", "code": "CANCELLED", "message": reason} if reason else None
    )


@pytest.mark.parametrize(("how", "status"), [("bike", "compensated"), ("lost", "compensation_failed")])
def test_a_failed_saga_is_compensated_or_not(how: str, status: str) -> None:
    record = record_of("saga", how)
    assert record["status"] == status
    assert record["error"]["message"] == "no luck"
    undone = record["journal"]["compensationsRun"]
    assert {id: item["status"] for id, item in undone.items()} == {
        "return_it": "err" if how == "lost" else "ok",
        "unbook": "ok",
    }


def test_a_delayed_run_waits_for_its_start_and_begins_then() -> None:
    async def body(world: World) -> list[dict[str, Any]]:
        handle = await world.app.start("double", 1, id="r", delay="1h")
        before = await world.record("r")
        await asyncio.sleep(3700)
        await handle.result()
        return [before, await world.record("r")]

    before, after = in_world(body)
    created = before["startedAt"] - HOUR
    assert before["status"] == "waiting"
    assert before["invocationCount"] == 0
    assert before["pendingWaitpoints"] == [
        {
            "clientWaitpointId": "trigger-delay:r",
            "kind": "DATETIME",
            "meta": {"wakeAt": created + HOUR, "durationMs": HOUR, "source": "trigger.delay"},
        }
    ]
    assert after["startedAt"] == before["startedAt"]
    assert list(after["journal"]["waitpointsResolved"]) == ["trigger-delay:r"]


def test_a_child_is_a_wait_of_its_parent_and_knows_it() -> None:
    async def body(world: World) -> list[dict[str, Any]]:
        handle = await world.app.start("parent", "waits", id="r")

        async def waiting() -> bool:
            waits = (await world.app.runs.get("r")).waiting
            return bool(waits) and bool(
                (await world.app.runs.list(parent="r")).runs and (await world.app.runs.list(parent="r")).runs[0].waiting
            )

        await world.until(waiting)
        (child,) = (await world.app.runs.list(parent="r")).runs
        before, inner = await world.record("r"), await world.record(child.id)
        await world.app.handle(child.id).send(approve, 5)
        await world.app.client.ended(handle.id)
        return [before, inner, await world.record("r")]

    before, inner, after = in_world(body)
    assert before["pendingWaitpoints"] == [
        {
            "clientWaitpointId": "invoke:child:1",
            "kind": "RUN",
            "meta": {"childWorkflowId": "child", "childInput": "waits", "detach": False, "tags": []},
        }
    ]
    assert inner["parent"] == {"runId": "r", "waitpointId": "invoke:child:1"}
    assert inner["triggeredBy"] == {"kind": "parent", "parentRunId": "r", "parentStepId": "child"}
    resolved = after["journal"]["waitpointsResolved"]["invoke:child:1"]
    assert (resolved["kind"], resolved["payload"], resolved["source"]) == ("RUN", 5, "replay")


def test_a_child_that_failed_tells_why() -> None:
    record = record_of("parent", "fails")
    resolved = record["journal"]["waitpointsResolved"]["invoke:child:1"]
    assert resolved["error"] == {"category": "USER_ERROR", "code": "FATAL", "message": "the child failed"}
    assert "payload" not in resolved
    assert record["error"]["code"] == "FATAL"


def test_a_custom_token_is_shown_and_a_generated_one_is_not() -> None:
    async def body(world: World) -> list[dict[str, Any]]:
        await world.app.start("tokens", id="r")
        await world.parked("r")
        first = await world.record("r")
        await world.app.complete("order-7-approval", {"ok": True})
        return [first, await world.pending("r", "token:hook:2")]

    first, second = in_world(body)
    assert first["pendingWaitpoints"] == [
        {"clientWaitpointId": "token:order-7-approval", "kind": "MANUAL", "meta": {"tokenId": "order-7-approval"}}
    ]
    assert second["journal"]["waitpointsResolved"]["token:order-7-approval"]["payload"] == {"ok": True}
    assert second["pendingWaitpoints"][0]["clientWaitpointId"] == "token:hook:2"


def test_a_stream_has_its_chunks_and_a_last_marker() -> None:
    record = record_of("streaming")
    assert record["journal"]["streamsCompleted"] == {"log": {"chunkCount": 3}}
    chunks = record["streams"]["log"]
    assert [(chunk["seq"], chunk["encoding"], chunk["chunk"], chunk["final"]) for chunk in chunks] == [
        (1, "json", "one", False),
        (2, "json", {"two": 2}, False),
        (3, "json", None, True),
    ]
    assert all(chunk["streamId"] == "log" and chunk["at"] >= record["startedAt"] for chunk in chunks)


def test_nothing_is_absent_and_not_null() -> None:
    record = record_of("streaming")
    assert "input" not in record
    assert "output" not in record
    assert "output" not in record["journal"]["stepResults"]["nothing"]


def test_tags_with_values_are_shown_as_text() -> None:
    record = record_of("double", 1, tags={"invoice": "", "customer": "7"})
    assert record["tags"] == ["invoice", "customer:7"]


def test_a_step_that_waits_for_its_next_attempt_is_running() -> None:
    async def body(world: World) -> dict[str, Any]:
        await world.app.start("stubborn", id="r")

        async def delayed() -> bool:
            return "AttemptFailed" in {type(event.entry).__name__ async for event in world.app.runs.events("r")}

        await world.until(delayed)
        return await world.record("r")

    record = in_world(body)
    assert (record["status"], record["pendingWaitpoints"]) == ("running", [])
