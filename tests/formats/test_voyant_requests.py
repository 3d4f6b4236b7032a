"""Requests to step workers: what goes over the wire, and what a worker refuses, in which order."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from stepwell.formats.voyant.invocations import (
    Refused,
    RunMetaIn,
    StepRequest,
    WireJournal,
    read_request,
    refusal_bytes,
    request_bytes,
)
from tests.formats.voyant_wire import FIRST, JOURNAL, THIRD, journal, request
from tests.formats.voyant_wire import entry as entry_of

REQUIRED = [
    "protocolVersion",
    "runId",
    "workflowId",
    "workflowVersion",
    "invocationCount",
    "journal",
    "environment",
    "deadline",
    "tenantMeta",
    "runMeta",
]


def refusal(body: bytes | dict[str, Any]) -> Refused:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as caught:
        read_request(data)
    return caught.value


def invalid(body: dict[str, Any]) -> str:
    refused = refusal(body)
    assert (refused.status, refused.error) == (400, "invalid_request")
    return refused.message


# --- both ways


@pytest.mark.parametrize("body", [FIRST, THIRD], ids=["first", "third"])
def test_a_request_is_written_as_it_was_read(body: str) -> None:
    written = request_bytes(read_request(body.encode()))
    assert json.dumps(json.loads(written)) == json.dumps(json.loads(body))


def test_a_request_says_what_its_members_say() -> None:
    found = read_request(THIRD.encode())
    assert (found.run_id, found.workflow_id, found.workflow_version) == ("run_inv_001", "invoice.issue", "2026-05-01")
    assert (found.invocation_count, found.environment, found.deadline) == (3, "production", 2**53 - 1)
    assert found.input == Raw(b'{"bookingId":"bk_7"}')
    assert list(found.journal.waitpoints_resolved) == ["sleep:1", "signal:approve:2"]
    assert found.run_meta.triggered_by == Raw(b'{"kind":"api","actor":"usr_9"}')
    assert list(found.run_meta.tags) == ["invoice"]


def test_a_journal_with_all_there_is_keeps_it() -> None:
    body = request(journal=json.loads(JOURNAL))
    assert json.loads(request_bytes(read_request(json.dumps(body).encode()))) == body


def test_no_input_is_not_null() -> None:
    assert read_request(json.dumps(request(input=None)).encode()).input is UNSET
    assert read_request(json.dumps(request() | {"input": None}).encode()).input == Raw(b"null")
    meta = RunMetaIn(started_at=1)
    without = StepRequest(run_id="r", workflow_id="w", run_meta=meta)
    assert b'"input"' not in request_bytes(without)
    assert b'"input":null' in request_bytes(msgspec.structs.replace(without, input=Raw(b"null")))


def test_whole_numbers_are_written_without_a_fraction() -> None:
    meta = RunMetaIn(started_at=1770000000000.0)
    written = request_bytes(StepRequest(run_id="r", workflow_id="w", run_meta=meta, deadline=1770000000001.0))
    assert b".0" not in written
    assert b'"startedAt":1770000000000}' in written


def test_the_largest_integers_stay_integers() -> None:
    body = request(input={"n": 2**53 - 1, "m": -(2**53) + 1})
    assert b'{"n": 9007199254740991, "m": -9007199254740991}' in request_bytes(read_request(json.dumps(body).encode()))


def test_unknown_members_of_the_journal_keep_their_order() -> None:
    maps = {"zulu": 1, **journal(), "alpha": {"b": 1, "a": 2}}
    found = read_request(json.dumps(request(journal=maps)).encode())
    assert list(found.journal.more) == ["zulu", "alpha"]
    assert json.loads(request_bytes(found))["journal"] == maps


def test_other_unknown_members_are_ignored() -> None:
    found = read_request(json.dumps(request(activation={"kind": "initial"})).encode())
    assert b"activation" not in request_bytes(found)


def test_integer_like_ids_keep_their_place() -> None:
    steps = {"10": entry_of(), "b": entry_of(), "2": entry_of()}
    found = read_request(json.dumps(request(journal=journal(stepResults=steps))).encode())
    assert list(found.journal.step_results) == ["10", "b", "2"]


def test_half_of_a_surrogate_pair_survives() -> None:
    text = '{"\\ud83d":"\\ud83d\\ud83d\\ude00 \\\\ud800 \\uDFFF","b":"\\uDBFFx"}'
    found = read_request(FIRST.replace('{"bookingId":"bk_7"}', text).encode())
    assert isinstance(found.input, Raw)
    assert msgspec.json.decode(found.input)["b"] == "\ufffd\ufdeb\ufdef\ufdefx"
    assert json.loads(request_bytes(found))["input"] == json.loads(text)


def test_half_of_a_surrogate_pair_in_a_name_survives() -> None:
    body = request(runId="\ud800", journal=journal(metadataState={"\udc00": 1}))
    assert json.loads(request_bytes(read_request(json.dumps(body).encode()))) == body


def test_the_run_may_say_little_of_itself() -> None:
    meta = read_request(json.dumps(request(runMeta={"startedAt": 5})).encode()).run_meta
    assert meta == RunMetaIn(started_at=5)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)
_maps = st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=10), _json, max_size=3)


@given(_json, _maps, _maps, _maps)
def test_whatever_is_sent_arrives(value: Any, state: Any, tenant: Any, more: Any) -> None:
    def raws(members: dict[str, Any]) -> dict[str, Raw]:
        return {name: Raw(msgspec.json.encode(item)) for name, item in members.items()}

    known = journal()
    sent = StepRequest(
        run_id="r",
        workflow_id="w",
        input=Raw(msgspec.json.encode(value)),
        journal=WireJournal(
            metadata_state=raws(state), more=raws({key: item for key, item in more.items() if key not in known})
        ),
        tenant_meta=Raw(msgspec.json.encode(tenant)),
        run_meta=RunMetaIn(started_at=1, tags=[]),
    )
    assert read_request(request_bytes(sent)) == sent


# --- refusals


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Expecting value (line 1, column 1)"),
        (b"{", "Expecting property name enclosed in double quotes (line 1, column 2)"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e400}', "the number 1e400 is too large"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the name 'c' is twice in one object"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b"[" * 200_000 + b"]" * 200_000, "nested deeper than 128"),
        (b"[" * 129 + b"]" * 129, "nested deeper than 128"),
        (b'{"a":' * 129 + b"1" + b"}" * 129, "nested deeper than 128"),
        (b"9" * 5000, "Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_refused_first(body: bytes, message: str) -> None:
    refused = refusal(body)
    assert (refused.status, refused.error) == (400, "invalid_json")
    assert refused.message.startswith("request body is not valid JSON: ")
    assert message in refused.message


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"1", b"[" * 128 + b"]" * 128])
def test_what_is_no_object_is_refused_next(body: bytes) -> None:
    assert refusal(body).message == "request body must be an object"


@pytest.mark.parametrize("number", range(len(REQUIRED)))
def test_the_first_field_that_is_missing_is_named(number: int) -> None:
    body = dict.fromkeys(REQUIRED[:number])
    refused = refusal(body)
    assert (refused.status, refused.error) == (400, "invalid_request")
    assert refused.message == f'missing required field "{REQUIRED[number]}"'


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("protocolVersion", "1", "a number"),
        ("protocolVersion", True, "a number"),
        ("runId", "", "a non-empty string"),
        ("runId", 7, "a non-empty string"),
        ("workflowId", [], "a non-empty string"),
        ("workflowVersion", 1, "a string"),
        ("invocationCount", 0, "a whole number, 1 or more"),
        ("invocationCount", 1.5, "a whole number, 1 or more"),
        ("invocationCount", True, "a whole number, 1 or more"),
        ("invocationCount", 1e300, "a whole number, 1 or more"),
        ("journal", [], "an object"),
        ("environment", "test", "production, preview or development"),
        ("environment", {}, "production, preview or development"),
        ("deadline", "soon", "a number"),
        ("tenantMeta", None, "an object"),
        ("runMeta", "x", "an object"),
    ],
)
def test_a_wrong_type_is_named(name: str, value: Any, text: str) -> None:
    assert invalid(request() | {name: value}) == f'field "{name}" must be {text}'


def test_missing_fields_come_before_wrong_types_and_these_before_the_version() -> None:
    assert invalid(request(protocolVersion=2, runId=7, runMeta=None)) == 'missing required field "runMeta"'
    assert invalid(request(protocolVersion=2, runMeta=7)) == 'field "runMeta" must be an object'
    assert refusal(request(protocolVersion=2)).status == 426


@pytest.mark.parametrize("version", [0, 2, 1.5, -1])
def test_another_version_of_the_protocol_is_refused(version: float) -> None:
    refused = refusal(request(protocolVersion=version, journal={}))
    assert (refused.status, refused.error) == (426, "protocol_version_mismatch")
    assert f"version {version} " in refused.message


def test_an_empty_version_of_the_workflow_is_one() -> None:
    assert read_request(json.dumps(request(workflowVersion="")).encode()).workflow_version == ""


@pytest.mark.parametrize("name", journal())
def test_a_journal_without_one_of_its_maps_is_refused(name: str) -> None:
    assert invalid(request(journal=journal(**{name: None}))) == f"journal.{name}: missing; it must be an object"
    assert invalid(request(journal=journal(**{name: []}))) == f"journal.{name}: expected `object`, got `array`"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (request(runMeta={}), "runMeta: object missing required field `startedAt`"),
        (request(runMeta={"startedAt": "now"}), "runMeta.startedAt: expected `int | float`, got `str`"),
        (request(runMeta={"startedAt": 1, "tags": [1]}), "runMeta.tags[0]: expected `str`, got `int`"),
        (
            request(journal=journal(stepResults={"load": entry_of(attempt="1")})),
            "journal.stepResults.load.attempt: expected `int`, got `str`",
        ),
    ],
)
def test_what_only_we_ask_for_is_refused_with_its_path(body: dict[str, Any], message: str) -> None:
    assert invalid(body).startswith(message)


def test_a_refusal_is_written_as_the_envelope() -> None:
    refused = Refused(404, "workflow_not_found", 'workflow "x" is not registered in this bundle')
    assert json.loads(refusal_bytes(refused)) == {
        "error": "workflow_not_found",
        "message": 'workflow "x" is not registered in this bundle',
    }
    assert json.loads(refusal_bytes(Refused(400, "e", "m", [1])))["details"] == [1]
