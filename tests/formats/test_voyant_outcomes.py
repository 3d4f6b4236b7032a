"""Answers of step workers: what they may say, and how rubbish is told from it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from stepwell.formats.voyant.invocations import (
    Outcome,
    WireChange,
    WireChunk,
    WireFault,
    WireJournal,
    WireStep,
    WireWait,
    outcome_bytes,
    read_error,
    read_outcome,
    read_resolution,
    read_step,
    resolution_raw,
    step_raw,
)
from tests.formats.voyant_wire import (
    CHUNKS,
    COMPLETED,
    FAILED,
    JOURNAL,
    UNDONE,
    WAITING,
    WAITS,
    chunk,
    entry,
    error,
    journal,
    outcome,
    wait,
)

STATUSES = ["completed", "waiting", "failed", "cancelled", "compensated", "compensation_failed"]


def read(value: dict[str, Any]) -> Outcome:
    return read_outcome(json.dumps(value).encode())


def fault(body: bytes | dict[str, Any]) -> str:
    with pytest.raises(WireFault) as caught:
        read_outcome(body if isinstance(body, bytes) else json.dumps(body).encode())
    return str(caught.value)


# --- both ways


@pytest.mark.parametrize("body", [COMPLETED, WAITING, FAILED, UNDONE])
def test_an_answer_is_written_as_it_was_read(body: str) -> None:
    written = outcome_bytes(read_outcome(body.encode()))
    assert json.loads(written) == json.loads(body)
    assert list(json.loads(written)) == list(json.loads(body))


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_has_a_smallest_answer(status: str) -> None:
    assert json.loads(outcome_bytes(read(outcome(status)))) == outcome(status)


@pytest.mark.parametrize(("kind", "meta"), WAITS)
def test_each_kind_of_wait_is_read(kind: str, meta: dict[str, Any]) -> None:
    value = outcome("waiting", waitpoints=[wait(kind, meta=meta)])
    (found,) = read(value).waitpoints
    assert (found.kind, json.loads(bytes(found.meta)), found.timeout_ms) == (kind, meta, None)
    assert json.loads(outcome_bytes(read(value))) == value


def test_a_journal_and_chunks_with_all_there_is_keep_it() -> None:
    value = outcome(journal=json.loads(JOURNAL), streamChunks=json.loads(CHUNKS))
    assert json.loads(outcome_bytes(read(value))) == value


def test_changes_of_metadata_keep_what_they_say() -> None:
    changes = [
        {"op": "set", "key": "a", "value": None},
        {"op": "increment", "key": "b"},
        {"op": "append", "key": "c", "value": [1], "target": "root"},
        {"op": "remove", "key": ""},
    ]
    value = outcome(metadataUpdates=changes)
    assert json.loads(outcome_bytes(read(value))) == value
    assert [change.value for change in read(value).metadata_updates][:2] == [Raw(b"null"), UNSET]


def test_no_output_is_not_null() -> None:
    assert read(outcome()).output is UNSET
    assert read(outcome() | {"output": None}).output == Raw(b"null")
    assert b"output" not in outcome_bytes(Outcome(status="completed"))
    assert b'"output":null' in outcome_bytes(Outcome(status="completed", output=Raw(b"null")))


def test_an_undoing_without_an_error_was_asked_for() -> None:
    assert read(outcome("compensated")).error == Raw(b"null")
    assert read(outcome("compensated", error=error())).error != Raw(b"null")


def test_payloads_are_kept_to_the_letter() -> None:
    text = '{"a":1.50,"b":12345678901234567890123,"c":"\\u00e9","z":{"z":1,"a":2}}'
    body = COMPLETED.replace('{"invoiceId":"inv_4"}', text).encode()
    assert read_outcome(body).output == Raw(text.encode())
    assert text.encode() in outcome_bytes(read_outcome(body))


@given(
    st.text(st.characters(min_codepoint=0xD7FE, max_codepoint=0xE001) | st.sampled_from('\\"u\U0001f600d8'), max_size=8)
)
def test_any_text_of_javascript_survives_and_can_be_read_here(text: str) -> None:
    value = outcome(output={text: [text]}, journal=journal(stepResults={f"s{text}": entry(output=text)}))
    found = read(value)
    assert isinstance(found.output, Raw)
    msgspec.json.decode(found.output)
    assert json.loads(outcome_bytes(found)) == json.loads(json.dumps(value))


def test_an_empty_list_of_waits_is_left_to_who_drives_the_run() -> None:
    assert list(read(outcome("waiting", waitpoints=[])).waitpoints) == []


def test_the_same_wait_named_twice_is_one() -> None:
    assert len(read(outcome("waiting", waitpoints=[wait(), wait(timeoutMs=5)])).waitpoints) == 1


def test_a_chunk_that_was_undefined_is_null() -> None:
    value = chunk()
    del value["chunk"]
    assert read(outcome(streamChunks=[value])).stream_chunks[0].chunk == Raw(b"null")


def test_a_chunk_says_which_step_sent_it() -> None:
    value = outcome(streamChunks=[chunk(step="load", stepAttempt=2)])
    assert json.loads(outcome_bytes(read(value))) == value


def test_unknown_members_of_an_answer_are_ignored() -> None:
    assert read(outcome(extra=1)) == read(outcome())


# --- parts of the journal


def test_a_step_keeps_what_we_do_not_know() -> None:
    value = entry(output={"a": 1}, after=3, machine={"b": 1})
    found = read_step(Raw(json.dumps(value).encode()))
    assert list(found.rest) == ["after", "machine"]
    assert json.loads(bytes(step_raw(found))) == value


def test_a_step_without_an_output_is_not_one_with_null() -> None:
    assert read_step(Raw(json.dumps(entry()).encode())).output is UNSET
    assert read_step(Raw(json.dumps(entry() | {"output": None}).encode())).output == Raw(b"null")


def test_a_step_that_failed_says_why() -> None:
    value = entry(status="err", error=error(data={"retryAfter": 5}))
    found = read_step(Raw(json.dumps(value).encode()))
    assert json.loads(bytes(step_raw(found))) == value
    assert read_error(found.error).data == {"retryAfter": 5}


def test_an_error_beside_a_result_is_only_kept() -> None:
    value = entry() | {"error": None}
    found = read_step(Raw(json.dumps(value).encode()))
    assert found.error == Raw(b"null")
    assert json.loads(bytes(step_raw(found))) == value


def test_times_are_whole_wherever_they_can_be() -> None:
    found = read_step(Raw(b'{"attempt":1,"status":"ok","startedAt":1.0,"finishedAt":2.5}'))
    assert bytes(step_raw(found)) == b'{"attempt":1,"status":"ok","startedAt":1,"finishedAt":2.5,"runtime":"node"}'


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "DATETIME", "resolvedAt": 1, "source": "replay"},
        {"kind": "SIGNAL", "resolvedAt": 1, "payload": None, "source": "inbox"},
        {"kind": "EVENT", "resolvedAt": 1, "matchedEventId": "evt_live_x", "payload": 1, "source": "live"},
        {"kind": "RUN", "resolvedAt": 1, "error": error(), "source": "replay"},
    ],
)
def test_a_resolution_is_written_as_it_was_read(value: dict[str, Any]) -> None:
    assert json.loads(bytes(resolution_raw(read_resolution(Raw(json.dumps(value).encode()))))) == value


def test_texts_for_people_are_mended() -> None:
    text = "a\ud800b \U0001f600 \\ud800"
    (found,) = read(steps(status="err", error=error(message=text, stack="\udc00"))).journal.step_results.values()
    assert read_error(read_step(found).error).message == "a\ufffdb \U0001f600 \\ud800"
    assert read_error(read_step(found).error).stack == "\ufffd"


def test_an_error_without_a_name_has_none() -> None:
    found = read_error(Raw(json.dumps(error()).encode()))
    assert (found.name, found.stack, found.cause, found.data) == ("", "", None, None)


# --- rubbish


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not JSON: Expecting value"),
        (COMPLETED[:-40].encode(), "not JSON"),
        (b"<html>502</html>", "not JSON"),
        (b"[]", "the answer must be an object"),
        (b"null", "the answer must be an object"),
        (b"{}", "status: missing"),
        (b'{"status":"completed","status":"failed"}', "the name 'status' is twice"),
        (b'{"status":1e400}', "too large"),
        (b'{"status":NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "nested deeper than 128"),
        (b"\xff{}", "not UTF-8 at byte 0"),
    ],
)
def test_what_cannot_be_read_is_a_fault(body: bytes, text: str) -> None:
    assert text in fault(body)


@pytest.mark.parametrize("status", ["done", "", "Completed", "running"])
def test_an_unknown_status_is_a_fault(status: str) -> None:
    assert fault(outcome() | {"status": status}).startswith("status: ")


def steps(**changes: Any) -> dict[str, Any]:
    return outcome(journal=journal(stepResults={"load": entry(**changes)}))


def waits(*items: Any) -> dict[str, Any]:
    return outcome("waiting", waitpoints=list(items))


def resolved(**changes: Any) -> dict[str, Any]:
    value = {"kind": "SIGNAL", "resolvedAt": 1, "source": "live", **changes}
    return outcome(journal=journal(waitpointsResolved={"signal:a:1": value}))


def id_of(name: str) -> dict[str, Any]:
    return outcome(journal=journal(stepResults={name: entry()}))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        # members
        (outcome(journal=None), "journal: missing"),
        (outcome(metadataUpdates=None), "metadataUpdates: missing"),
        (outcome(streamChunks=None), "streamChunks: missing"),
        (outcome("waiting", waitpoints=None), "waitpoints: missing"),
        (outcome("failed", error=None), "error: missing"),
        (outcome("compensated", compensations=None), "compensations: missing"),
        (outcome("cancelled", compensations=None), "compensations: missing"),
        (outcome(metadataUpdates={}), "metadataUpdates: expected `array`"),
        (outcome(streamChunks="x"), "streamChunks: expected `array`"),
        (outcome(journal=[]), "journal: expected `object`"),
        (outcome("waiting", waitpoints={}), "waitpoints: expected `array`"),
        # errors
        (
            outcome("failed", error="it broke"),
            "error: must be an object with `category`, `code` and `message`, not text",
        ),
        (outcome("failed") | {"error": None}, "error: must be an object"),
        (outcome("failed", error={"code": "X", "message": 1}), "error.message: expected `str`"),
        (outcome("failed", error={"message": "x"}), "error: object missing required field `code`"),
        (outcome("compensated", error=[]), "error: must be an object"),
        # journals
        (outcome(journal=journal(stepResults=None)), "journal.stepResults: missing; it must be an object"),
        (outcome(journal=journal(waitpointsResolved=3)), "journal.waitpointsResolved: expected `object`"),
        (outcome(journal=journal(stepResults={"load": 1})), "journal.stepResults.load: expected `object`"),
        (steps(attempt=-1), "journal.stepResults.load.attempt: "),
        (steps(attempt=True), "journal.stepResults.load.attempt: "),
        (steps(attempt=1.5), "journal.stepResults.load.attempt: "),
        (steps(status="maybe"), "journal.stepResults.load.status: "),
        (steps(startedAt=-1), "journal.stepResults.load.startedAt: "),
        (steps(finishedAt=False), "journal.stepResults.load.finishedAt: "),
        (steps(finishedAt=2**53), "journal.stepResults.load.finishedAt: "),
        (steps(finishedAt=None), "journal.stepResults.load: object missing required field `finishedAt`"),
        (steps(runtime=1), "journal.stepResults.load.runtime: "),
        (steps(status="err"), "journal.stepResults.load.error: must be an object"),
        (steps(status="err", error={}), "journal.stepResults.load.error: object missing required field `code`"),
        (id_of(""), 'journal.stepResults[""]: a name has 1 to 1000 characters'),
        (id_of("x" * 1001), 'journal.stepResults["xxx'),
        (id_of("@invocation[1]"), 'journal.stepResults["@invocation[1]"]: no step may begin with @invocation'),
        (id_of("@metadata.root[1]"), 'journal.stepResults["@metadata.root[1]"]: no step may begin'),
        (resolved(kind="TIME"), 'journal.waitpointsResolved["signal:a:1"].kind: '),
        (resolved(resolvedAt="x"), 'journal.waitpointsResolved["signal:a:1"].resolvedAt: '),
        (resolved(source="me"), 'journal.waitpointsResolved["signal:a:1"].source: '),
        (resolved(error="x"), 'journal.waitpointsResolved["signal:a:1"].error: must be an object'),
        (
            outcome(journal=journal(compensationsRun={"a": {"status": "ok"}})),
            "journal.compensationsRun.a: object missing",
        ),
        (
            outcome(journal=journal(streamsCompleted={"a": {"chunkCount": -1}})),
            "journal.streamsCompleted.a.chunkCount: ",
        ),
        (outcome(journal=journal(streamsCompleted={"a": 1})), "journal.streamsCompleted.a: expected `object`"),
        # waits
        (waits(1), "waitpoints[0]: expected `object`"),
        (waits(wait(), {}), "waitpoints[1]: object missing required field `clientWaitpointId`"),
        (waits(wait(clientWaitpointId="")), "waitpoints[0].clientWaitpointId: "),
        (waits(wait(kind="SLEEP")), "waitpoints[0].kind: "),
        (waits(wait(timeoutMs=-1)), "waitpoints[0].timeoutMs: "),
        (waits(wait(timeoutMs="1d")), "waitpoints[0].timeoutMs: "),
        (waits(wait(timeoutMs=True)), "waitpoints[0].timeoutMs: "),
        (waits({"clientWaitpointId": "a", "kind": "SIGNAL"}), "waitpoints[0]: object missing required field `meta`"),
        (waits(wait(meta=[])), "waitpoints[0].meta: must be an object, not an array"),
        (waits(wait(meta=7)), "waitpoints[0].meta: must be an object, not a number"),
        (waits(wait(meta={})), "waitpoints[0].meta: object missing required field `signalName`"),
        (waits(wait("EVENT", meta={"eventType": ""})), "waitpoints[0].meta.eventType: "),
        (waits(wait("MANUAL", meta={"tokenId": 1})), "waitpoints[0].meta.tokenId: "),
        (waits(wait("DATETIME", meta={"durationMs": -1})), "waitpoints[0].meta.durationMs: "),
        (waits(wait("DATETIME", meta={"wakeAt": "now"})), "waitpoints[0].meta.wakeAt: "),
        (
            waits(wait("RUN", meta={"detach": True})),
            "waitpoints[0].meta: object missing required field `childWorkflowId`",
        ),
        (waits(wait("RUN", meta={"childWorkflowId": "c", "tags": [1]})), "waitpoints[0].meta.tags[0]: "),
        (waits(wait("RUN", meta={"childWorkflowId": "c", "detach": 1})), "waitpoints[0].meta.detach: "),
        (
            waits(wait(), wait("EVENT", clientWaitpointId="SIGNAL:1")),
            "waitpoints[1]: 'SIGNAL:1' is the id of a wait of",
        ),
        # reports, changes, chunks
        (outcome("cancelled", compensations={}), "compensations: expected `array`"),
        (outcome("cancelled", compensations=[{}]), "compensations[0]: object missing required field `stepId`"),
        (
            outcome("cancelled", compensations=[{"stepId": "a", "status": "err", "durationMs": 1, "error": 1}]),
            "compensations[0].error: must be an object",
        ),
        (outcome(metadataUpdates=[{"op": "swap", "key": "a"}]), "metadataUpdates[0].op: "),
        (outcome(metadataUpdates=[{"op": "set", "key": 1}]), "metadataUpdates[0].key: "),
        (outcome(metadataUpdates=[{"op": "set", "key": "a", "target": "x"}]), "metadataUpdates[0].target: "),
        (outcome(streamChunks=[chunk(), chunk(seq=0)]), "streamChunks[1].seq: chunks are counted from 1"),
        (outcome(streamChunks=[chunk(seq=-1)]), "streamChunks[0].seq: "),
        (outcome(streamChunks=[chunk(encoding="xml")]), "streamChunks[0].encoding: "),
        (outcome(streamChunks=[chunk(final=0)]), "streamChunks[0].final: "),
        (outcome(streamChunks=[chunk(at=None)]), "streamChunks[0].at: "),
        (outcome(streamChunks=[chunk(streamId="")]), "streamChunks[0].streamId: "),
        (
            outcome(streamChunks=[chunk(encoding="base64", chunk=[1])]),
            "streamChunks[0].chunk: a chunk of encoding base64",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_rubbish_is_named_with_its_path(value: dict[str, Any], path: str) -> None:
    assert fault(value).startswith(path)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:0truefalsn\\ud8e+-. ', max_size=60).map(str.encode))
def test_bytes_at_random_are_faults(body: bytes) -> None:
    fault(body)


@given(st.integers(0, len(COMPLETED) - 1))
def test_half_an_answer_is_a_fault(length: int) -> None:
    fault(COMPLETED.encode()[:length])


_leaf: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.just("x") | st.just([]) | st.just({}) | st.just(1.5)
)


@given(st.data(), st.sampled_from([COMPLETED, WAITING, FAILED, UNDONE]))
def test_an_answer_with_one_value_changed_is_read_or_is_a_fault(data: st.DataObject, body: str) -> None:
    value = json.loads(body)
    holder: Any = value
    while True:
        key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        if not holder[key] or not isinstance(holder[key], dict | list) or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(_leaf)
    with suppress(WireFault):
        found = read(value)
        assert read_outcome(outcome_bytes(found)) == found


# --- round trips of values


_raw = st.sampled_from([b"null", b"1", b'"a"', b'{"b":1,"a":[]}', b'"x"', b"1.50"]).map(Raw)
_name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: not name.startswith("@"))
_raw_members = st.dictionaries(st.sampled_from(["after", "x"]), _raw)
_ms = st.integers(0, 2**53 - 1)
_error = st.builds(lambda message: Raw(msgspec.json.encode(error(message=message))), _name)
_step = st.builds(
    WireStep,
    attempt=st.integers(0, 99),
    status=st.just("ok"),
    output=_raw | st.just(UNSET),
    started_at=_ms,
    finished_at=_ms,
    rest=_raw_members,
)
_failed = st.builds(WireStep, attempt=st.just(3), status=st.just("err"), error=_error, started_at=_ms, finished_at=_ms)
_wait = st.builds(
    WireWait, client_waitpoint_id=_name, kind=st.just("SIGNAL"), meta=st.just(Raw(b'{"signalName":"s"}')),
    timeout_ms=st.none() | _ms,
)  # fmt: skip
_outcome = st.builds(
    Outcome,
    status=st.sampled_from(["completed", "waiting"]),
    metadata_updates=st.lists(
        st.builds(WireChange, op=st.sampled_from(["set", "remove"]), key=_name, value=_raw | st.just(UNSET)), max_size=3
    ),
    journal=st.builds(
        WireJournal,
        step_results=st.dictionaries(_name, (_step | _failed).map(step_raw), max_size=3),
        metadata_state=st.dictionaries(_name, _raw, max_size=3),
    ),
    stream_chunks=st.lists(
        st.builds(WireChunk, stream_id=_name, seq=st.integers(1, 9), chunk=_raw, final=st.booleans(), at=_ms),
        max_size=3,
    ),
)


@given(_outcome, st.lists(_wait, max_size=3, unique_by=lambda wait: wait.client_waitpoint_id))
def test_whatever_is_answered_arrives(value: Outcome, waiting: list[WireWait]) -> None:
    if value.status == "waiting":
        value = msgspec.structs.replace(value, waitpoints=waiting)
    assert outcome_bytes(read_outcome(outcome_bytes(value))) == outcome_bytes(value)


@given(_step | _failed)
def test_a_step_comes_back_as_it_went(step: WireStep) -> None:
    assert read_step(step_raw(step)) == step
