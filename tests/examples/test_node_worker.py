"""The step worker in JavaScript speaks the wire: replay, waits, undoing, refusals, leaving."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.examples.node import Drive, NodeWorker
from tests.formats.voyant_wire import FIRST, journal, request

from stepwell.formats.voyant.invocations import Outcome, read_error, read_outcome
from stepwell.formats.voyant.signing import sign_v1

INVOICE = {"booking": "bk_7", "nights": 3, "card": "good"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeWorker]:
    with NodeWorker(tmp_path_factory.mktemp("node")) as worker:
        yield worker


@pytest.fixture(autouse=True)
def no_effects(worker: NodeWorker) -> None:
    worker.ledger.unlink(missing_ok=True)


def waits(outcome: Outcome) -> list[tuple[str, Any, float | None]]:
    assert outcome.status == "waiting"
    return [(wait.client_waitpoint_id, json.loads(bytes(wait.meta)), wait.timeout_ms) for wait in outcome.waitpoints]


def value(raw: Any) -> Any:
    return json.loads(bytes(raw))


def at_the_charge(worker: NodeWorker, **input: Any) -> Drive:
    """An invoice whose approval has come."""
    drive = Drive(worker, "invoice.issue", {**INVOICE, **input})
    drive.go()
    drive.resolve("sleep:1")
    drive.go()
    drive.resolve("signal:approve:2", {"ok": True})
    return drive


# --- runs


def test_an_invoice_waits_sleeps_and_completes(worker: NodeWorker) -> None:
    drive = Drive(worker, "invoice.issue", INVOICE)
    assert waits(drive.go()) == [("sleep:1", {"durationMs": 50}, 50)]
    drive.resolve("sleep:1")
    assert waits(drive.go()) == [("signal:approve:2", {"signalName": "approve"}, 86_400_000)]
    drive.resolve("signal:approve:2", {"ok": True})
    meta = {
        "childWorkflowId": "parcel.ship",
        "childInput": {"booking": "bk_7", "kilos": 3},
        "detach": False,
        "tags": [],
    }
    assert waits(drive.go()) == [("invoke:parcel.ship:3", meta, None)]
    drive.resolve("invoke:parcel.ship:3", "parcel-1")
    done = drive.go()
    assert done.status == "completed"
    assert value(done.output) == {
        "invoice": "inv-bk_7",
        "total": 240,
        "receipt": "charge:run_1",
        "parcel": "parcel-1",
    }
    assert [(change.op, change.key, value(change.value)) for change in done.metadata_updates] == [
        ("set", "phase", "approval"),
        ("set", "phase", "charged"),
    ]
    assert worker.effects() == ["reserve", "charge"]
    assert list(drive.journal["stepResults"]) == ["load", "reserve", "charge"]


def test_a_step_that_fails_is_tried_again(worker: NodeWorker) -> None:
    drive = at_the_charge(worker, card="shaky")
    drive.go()
    assert drive.journal["stepResults"]["charge"]["attempt"] == 2


def test_what_was_done_is_undone_if_nobody_approves(worker: NodeWorker) -> None:
    drive = at_the_charge(worker)
    drive.resolve("signal:approve:2")
    done = drive.go()
    assert (done.status, bytes(done.error)) == ("compensated", b"null")
    assert [(report["stepId"], report["status"]) for report in value(done.compensations)] == [("reserve", "ok")]
    assert worker.effects() == ["reserve", "release"]


def test_an_error_undoes_what_was_done(worker: NodeWorker) -> None:
    done = at_the_charge(worker, card="refused").go()
    assert (done.status, read_error(done.error).message) == ("compensated", "card refused")
    assert read_error(done.error).code == "FATAL"


def test_a_failed_undoing_is_told(worker: NodeWorker) -> None:
    done = at_the_charge(worker, card="refused", room="stuck").go()
    assert done.status == "compensation_failed"
    (report,) = value(done.compensations)
    assert (report["status"], report["error"]["message"]) == ("err", "nobody answers")


def test_an_error_with_nothing_to_undo_fails_the_run(worker: NodeWorker) -> None:
    done = Drive(worker, "watch.count", {"until": 0}).go()
    error = read_error(done.error)
    assert (done.status, error.code, error.name) == ("failed", "VALIDATION", "Error")
    assert "until: give a number above 0" in error.stack


def test_the_error_of_a_child_is_that_of_its_parent(worker: NodeWorker) -> None:
    drive = at_the_charge(worker)
    drive.go()
    error = {"category": "USER_ERROR", "code": "NO_ROOM", "message": "the van is full"}
    drive.resolve("invoke:parcel.ship:3", error=error)
    done = drive.go()
    assert (done.status, read_error(done.error).code) == ("compensated", "NO_ROOM")


def test_a_report_waits_for_two_things_at_once_and_writes_a_stream(worker: NodeWorker) -> None:
    drive = Drive(worker, "report.write", {"parts": [1, 2, 3]}, run="r_chain")
    found = waits(drive.go())
    assert found == [
        ("token:report:r_chain", {"tokenId": "report:r_chain"}, None),
        ("event:paid:1", {"eventType": "paid"}, None),
    ]
    assert sorted(drive.journal["stepResults"]) == ["part:1", "part:2", "part:3"]
    drive.resolve("event:paid:1", {"amount": 5})
    assert [id for id, *_ in waits(drive.go())] == ["token:report:r_chain"]
    drive.resolve("token:report:r_chain", None)
    done = drive.go()
    assert value(done.output) == {
        "id": "419977a4-fa0d-40ab-aa73-9dbcf3388574",
        "sample": 0.15522163663990796,
        "sum": 14,
        "payment": {"amount": 5},
        "signature": None,
    }
    assert [(chunk.seq, value(chunk.chunk), chunk.final) for chunk in done.stream_chunks] == [
        (1, "line 1", False),
        (2, "line 4", False),
        (3, "line 9", False),
        (4, None, True),
    ]
    assert drive.journal["streamsCompleted"] == {"lines": {"chunkCount": 4}}
    assert drive.go().stream_chunks == []


def test_signals_can_be_iterated(worker: NodeWorker) -> None:
    drive = Drive(worker, "watch.count", {"until": 3})
    for number in (2, 3):
        assert waits(drive.go()) == [(f"signal:tick:iter:{number}", {"signalName": "tick", "iter": True}, None)]
        drive.resolve(f"signal:tick:iter:{number}", {"by": 2})
    assert value(drive.go().output) == 4


def test_the_end_of_a_stream_of_signals_ends_the_loop(worker: NodeWorker) -> None:
    drive = Drive(worker, "watch.count", {"until": 3})
    drive.resolve("signal:tick:iter:2", {"__voyantStreamEnd": True})
    assert value(drive.go().output) == 0


def test_who_hangs_up_stops_the_step_and_has_nothing_undone(worker: NodeWorker) -> None:
    """It may have died, and will ask again."""
    body = at_the_charge(worker, card="slow").request()
    signed = {"x-voyant-dispatch-auth": sign_v1(worker.secret, body)}
    with pytest.raises(httpx.ReadTimeout):
        worker.http.post("/", content=body, headers=signed, timeout=0.2)
    worker.post(b"")
    assert worker.effects() == ["reserve"]


def test_a_cancelled_run_is_undone_and_nothing_else_is_begun(worker: NodeWorker) -> None:
    drive = at_the_charge(worker)
    answer = worker.post(drive.request(), **{"x-stepwell-cancel": "no%20longer%20wanted"})
    assert "cancel" in answer.headers["x-stepwell-speaks"]
    done = read_outcome(answer.content)
    assert done.status == "cancelled"
    assert [report["stepId"] for report in value(done.compensations)] == ["reserve"]
    assert worker.effects() == ["reserve", "release"]


# --- refusals


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "invalid_json"),
        (b"[]", 400, "invalid_request"),
        (json.dumps(request(runId=None)).encode(), 400, "invalid_request"),
        (json.dumps(request(journal=[])).encode(), 400, "invalid_request"),
        (json.dumps(request(protocolVersion=2)).encode(), 426, "protocol_version_mismatch"),
        (json.dumps(request(workflowId="x")).encode(), 404, "workflow_not_found"),
    ],
)
def test_what_it_cannot_run_is_refused(worker: NodeWorker, body: bytes, status: int, error: str) -> None:
    answer = worker.post(body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_the_first_missing_field_is_named(worker: NodeWorker) -> None:
    assert worker.post(b"{}").json()["message"] == 'missing required field "protocolVersion"'


def test_only_post_is_taken(worker: NodeWorker) -> None:
    assert worker.http.get("/").json()["error"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "missing x-voyant-dispatch-auth header"),
        ("!", "malformed x-voyant-dispatch-auth header (expected base64)"),
        (sign_v1(b"other", FIRST.encode()), "x-voyant-dispatch-auth signature does not match request body"),
    ],
)
def test_who_does_not_know_the_secret_is_refused(worker: NodeWorker, header: str, message: str) -> None:
    answer = worker.post(FIRST.encode(), **{"x-voyant-dispatch-auth": header})
    assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized", "message": message})


def test_without_a_secret_everybody_may_ask(tmp_path: Path) -> None:
    with NodeWorker(tmp_path, secret=b"") as worker:
        body = json.dumps(request(workflowId="watch.count", input={"until": 1}, journal=journal())).encode()
        assert worker.post(body).json()["status"] == "waiting"
