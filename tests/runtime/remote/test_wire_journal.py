"""The journal of a remote run as its worker gets it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell.engine.notes import Notes
from stepwell.engine.program import Origin
from stepwell.engine.remote.calls import Resolution, StepLine
from stepwell.engine.remote.journal import Journal
from stepwell.errors import WorkerError, type_name
from stepwell.formats.voyant import LABELS
from stepwell.formats.voyant.waits import injection_id
from stepwell.model.entries import Created, StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, RunId
from stepwell.runtime.remote.wire_journal import wire_journal

BORN = 1_000
ID = CommandId("load")
TIMES = {"startedAt": 10, "finishedAt": 55, "runtime": "edge"}


def journal(**created: Any) -> Journal:
    metadata = created.pop("metadata", {})
    first = Created(workflow="pay", seed="00", **created)
    origin = Origin(
        run=RunId("r"), base=1, created=first, input=NULL, seed="00", started_at=BORN, born_at=BORN, random_base=1
    )
    return Journal(origin, Notes(metadata, bool))


def json(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def written(journal: Journal) -> dict[str, Any]:
    found = wire_journal(journal, lambda raw: raw)
    return {name: msgspec.json.decode(msgspec.json.encode(getattr(found, name))) for name in found.__struct_fields__}


def step_of(entry: StepCompleted | StepFailed, at: int = 77) -> Any:
    there = journal()
    there.steps["load"] = StepLine(entry, at)
    return written(there)["step_results"]["load"]


def resolved(resolution: Resolution) -> Any:
    there = journal()
    there.resolved["w"] = resolution
    return written(there)["waitpoints_resolved"]["w"]


# --- steps


def test_a_step_is_as_the_worker_wrote_it() -> None:
    record = json({**TIMES, "machine": {"cpu": 2}, "after": 3})
    entry = StepCompleted(id=ID, value=json({"a": 1.0}), attempt=2, record=record)
    assert step_of(entry) == {
        "attempt": 2, "status": "ok", "output": {"a": 1.0}, **TIMES, "machine": {"cpu": 2}, "after": 3,
    }  # fmt: skip


def test_digits_and_order_of_a_result_stay() -> None:
    there = journal()
    there.steps["load"] = StepLine(
        StepCompleted(id=ID, value=Raw(b'{"b":1.50,"a":"\\ud800"}'), record=Raw(b'{"x":1}')), 1
    )
    raw = wire_journal(there, lambda raw: raw).step_results["load"]
    assert bytes(raw) == b'{"attempt":1,"status":"ok","output":{"b":1.50,"a":"\\ud800"},"x":1}'


def test_nothing_and_null_are_told_apart() -> None:
    assert "output" not in step_of(StepCompleted(id=ID, record=json(TIMES)))
    assert step_of(StepCompleted(id=ID, record=json({"output": None, **TIMES})))["output"] is None


def test_an_error_is_as_the_worker_wrote_it() -> None:
    error = {"category": "USER_ERROR", "code": "E_CARD", "message": "refused", "cause": {"code": "X"}, "data": {"n": 1}}
    entry = StepFailed(id=ID, failure=Failure(types=("Error",)), attempt=3, record=json({"error": error, **TIMES}))
    assert step_of(entry) == {"attempt": 3, "status": "err", "error": error, **TIMES}


def test_a_result_that_was_edited_takes_the_place_of_output_and_error() -> None:
    record = json({"error": {"code": "X"}, "output": None, **TIMES})
    assert step_of(StepCompleted(id=ID, value=json(2.0), record=record)) == {
        "attempt": 1, "status": "ok", "output": 2, **TIMES,
    }  # fmt: skip
    assert step_of(StepCompleted(id=ID, record=json({"error": {"code": "X"}, **TIMES}))) == {
        "attempt": 1, "status": "ok", **TIMES,
    }  # fmt: skip


def test_a_result_that_the_run_was_given_has_the_time_of_its_entry() -> None:
    assert step_of(StepCompleted(id=ID, value=json(7.0), ms=7)) == {
        "attempt": 1, "status": "ok", "output": 7, "startedAt": 70, "finishedAt": 77, "runtime": "node",
    }  # fmt: skip


def test_a_failure_without_the_words_of_a_worker_has_ours() -> None:
    found = step_of(StepFailed(id=ID, failure=Failure(types=("a.CardError",), message="no", code="E", traceback="at")))
    assert found["error"] == {
        "category": "USER_ERROR", "code": "E", "message": "no", "name": "CardError", "stack": "at",
    }  # fmt: skip


# --- waits


def test_time_resolves_without_a_payload() -> None:
    assert resolved(Resolution(kind="SIGNAL", at=5, name="go")) == {
        "kind": "SIGNAL", "resolvedAt": 5, "source": "replay",
    }  # fmt: skip


def test_a_message_resolves_with_its_payload() -> None:
    live = injection_id("x", is_early=False, is_void=False)
    assert resolved(Resolution(kind="EVENT", at=5, name="paid", value=json({"n": 7.0}), message=live)) == {
        "kind": "EVENT", "resolvedAt": 5, "matchedEventId": "evt_live_paid", "payload": {"n": 7}, "source": "live",
    }  # fmt: skip
    early = injection_id("x", is_early=True, is_void=False)
    assert resolved(Resolution(kind="MANUAL", at=5, name="tok", value=NULL, message=early)) == {
        "kind": "MANUAL", "resolvedAt": 5, "payload": None, "source": "inbox",
    }  # fmt: skip


def test_a_message_without_a_payload_resolves_without_one() -> None:
    void = injection_id("x", is_early=False, is_void=True)
    assert "payload" not in resolved(Resolution(kind="SIGNAL", at=5, name="go", value=NULL, message=void))


def test_a_child_resolves_with_its_result_or_its_error() -> None:
    of = {"kind": "RUN", "at": 5, "message": "child:1"}
    done = Resolution(**of, status="completed", value=json(7))  # type: ignore[arg-type]
    assert resolved(done) == {"kind": "RUN", "resolvedAt": 5, "payload": 7, "source": "replay"}
    assert resolved(Resolution(kind="RUN", at=5, status="started")) == {
        "kind": "RUN", "resolvedAt": 5, "source": "replay",
    }  # fmt: skip
    failed = Resolution(**of, status="failed", failure=Failure(types=("Error",), message="no", code="E"))  # type: ignore[arg-type]
    assert resolved(failed)["error"] == {"category": "USER_ERROR", "code": "E", "message": "no"}
    ended = Resolution(**of, status="terminated")  # type: ignore[arg-type]
    assert resolved(ended)["error"] == {
        "category": "USER_ERROR", "code": "CHILD_RUN_ENDED", "message": "child run ended with status cancelled",
    }  # fmt: skip
    fault = Failure(types=(type_name(WorkerError),), message="no", code="handler_error")
    assert resolved(Resolution(**of, status="failed", failure=fault))["error"]["category"] == "RUNTIME_ERROR"  # type: ignore[arg-type]


def test_a_resolution_of_the_worker_stays_as_it_is() -> None:
    there = journal()
    there.resolved["retry:a:1"] = json({"kind": "DATETIME", "resolvedAt": 5, "source": "replay", "more": 1})
    assert written(there)["waitpoints_resolved"]["retry:a:1"]["more"] == 1


def test_a_run_that_was_triggered_for_later_has_waited_for_its_start() -> None:
    start = {"kind": "DATETIME", "resolvedAt": BORN + 60, "source": "replay"}
    assert written(journal(not_before=BORN + 60))["waitpoints_resolved"] == {"trigger-delay:r": start}
    assert written(journal(not_before=BORN + 60, forked_from=RunId("o")))["waitpoints_resolved"] == {}


# --- the rest


def test_metadata_are_shown_without_what_is_the_servers() -> None:
    metadata = {"phase": json("a"), "n": json(2.0), LABELS: json({"key": "k"})}
    assert written(journal(metadata=metadata))["metadata_state"] == {"phase": "a", "n": 2}


def test_what_else_the_worker_keeps_is_given_back() -> None:
    there = journal()
    there.undone["book"] = json({"status": "ok", "finishedAt": 5})
    there.streams["log"] = json({"chunkCount": 3})
    there.more["theirs"] = json([1, {"a": None}])
    found = written(there)
    assert found["compensations_run"] == {"book": {"status": "ok", "finishedAt": 5}}
    assert found["streams_completed"] == {"log": {"chunkCount": 3}}
    assert found["more"] == {"theirs": [1, {"a": None}]}


def test_payloads_are_opened() -> None:
    there = journal()
    there.steps["load"] = StepLine(StepCompleted(id=ID, value=Raw(b'"v"'), record=Raw(b'"r"')), 1)
    there.resolved["w"] = Resolution(
        kind="SIGNAL", at=5, value=Raw(b'"p"'), message=injection_id("x", is_early=False, is_void=False)
    )
    opened = {b'"v"': Raw(b"1"), b'"r"': Raw(b'{"x":2}'), b'"p"': Raw(b"3")}
    found = wire_journal(there, lambda raw: opened[bytes(raw)])
    assert msgspec.json.decode(found.step_results["load"]) == {"attempt": 1, "status": "ok", "output": 1, "x": 2}
    assert msgspec.json.decode(found.waitpoints_resolved["w"])["payload"] == 3


def test_unset_is_no_payload() -> None:
    message = injection_id("x", is_early=False, is_void=False)
    assert "payload" not in resolved(Resolution(kind="RUN", at=5, value=UNSET, message=message))
