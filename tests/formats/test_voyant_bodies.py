"""What clients of Voyant send, and what is wrong with it in their words; labels, tags, ids, numbers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from stepwell.errors import DefinitionError
from stepwell.formats.voyant import Cancel, Injection, Labels, Resume, Trigger, injection_of, run_id, tag_list, tag_map
from stepwell.formats.voyant.bodies import NO_OBJECT
from stepwell.formats.voyant.labels import labels_of
from stepwell.formats.voyant.plain import plain

NOW = 1_770_000_000_000


def trigger(**members: Any) -> Trigger:
    return msgspec.json.decode(msgspec.json.encode({"workflowId": "w", **members}), type=Trigger)


@pytest.mark.parametrize(
    ("delay", "ms"),
    [
        (None, 0),
        (0, 0),
        (1500, 1500),
        (-5, 0),
        ("250ms", 250),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ({"wakeAt": NOW + 7}, 7),
        ({"wakeAt": NOW - 7}, 0),
    ],
)
def test_a_delay_has_three_forms(delay: Any, ms: int) -> None:
    body = trigger(delay=delay)
    assert body.mistake() is None
    assert body.delay_ms(NOW) == ms


@pytest.mark.parametrize("delay", ["", "5", "1h30m", "1.5h", "-1s", "5 m", "٣m", "9" * 30 + "w"])
def test_other_durations_are_refused(delay: str) -> None:
    assert trigger(delay=delay).mistake() == f"invalid duration: {delay}"


@pytest.mark.parametrize(
    ("members", "mistake"),
    [
        ({"workflowId": ""}, "`workflowId` (string) is required"),
        ({"runId": ""}, "`runId` must not be empty when provided"),
        ({"idempotencyKey": ""}, "`idempotencyKey` must have 1 to 200 characters, and no NUL, when provided"),
        ({"idempotencyKey": "a\0b"}, "`idempotencyKey` must have 1 to 200 characters, and no NUL, when provided"),
        ({"tags": [""]}, "`tags` holds one that is empty or longer than 200 characters"),
        ({"tags": [str(n) for n in range(101)]}, "`tags` holds 101 tags; a run has 100 at most"),
        ({"tags": {"a": "b" * 201}}, "`tags` holds one that is empty or longer than 200 characters"),
        (
            {"tags": {"event:paid": "1"}},
            "`tags` holds one that begins with 'event:'; by these, runs are found that wait for events",
        ),
        ({"delay": "5000w"}, None),
        ({"delay": "9000w"}, "`delay` must not be longer than 100 years"),
    ],
)
def test_what_types_cannot_say_of_a_trigger(members: dict[str, Any], mistake: str | None) -> None:
    assert trigger(**members).mistake() == mistake


def test_no_input_is_not_the_input_null() -> None:
    assert trigger().input is UNSET
    assert trigger(input=None).input == Raw(b"null")


def test_what_a_trigger_may_not_say_is_left_out() -> None:
    assert trigger(initialJournal={}, timeoutMs=1, concurrencyLease={}, triggeredBy={"kind": "event"}) == trigger()


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("event", {"eventType": "x", "payload": None}, Injection(kind="event", name="x", payload=None)),
        ("event", {"eventType": "x"}, Injection(kind="event", name="x")),
        ("event", {"eventType": 1}, "`eventType` (string) is required"),
        ("event", {}, "`eventType` (string) is required"),
        ("event", [], NO_OBJECT),
        ("event", None, NO_OBJECT),
        ("signal", {"name": "x", "payload": [1]}, Injection(kind="signal", name="x", payload=[1])),
        ("signal", {"name": None}, "`name` (string) is required"),
        ("signal", "x", NO_OBJECT),
        ("token", None, Injection(kind="token", name="t")),
        ("token", {}, Injection(kind="token", name="t")),
        ("token", {"payload": "yes"}, Injection(kind="token", name="t", payload="yes")),
        ("token", 7, NO_OBJECT),
    ],
)
def test_an_injection(kind: Any, body: Any, found: Any) -> None:
    assert injection_of(kind, body, token="t" if kind == "token" else "") == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (None, Cancel()),
        ({}, Cancel()),
        ({"reason": None}, Cancel()),
        ({"reason": "withdrew"}, Cancel("withdrew")),
        ({"reason": 5}, "`reason` must be a string when provided"),
        ([], NO_OBJECT),
    ],
)
def test_a_cancel(body: Any, found: Any) -> None:
    assert Cancel.of(body) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (None, Resume()),
        ({"resumeFromStep": 1}, "`resumeFromStep` must be a string when provided"),
        ({"resumeFromStep": None}, "`resumeFromStep` must be a string when provided"),
        ({"workflowId": 1}, "`workflowId` must be a string when provided"),
        ({"runId": []}, "`runId` must be a string when provided"),
        ({"triggeredByUserId": 1}, "`triggeredByUserId` must be a string or null when provided"),
        ({"triggeredByUserId": None}, Resume()),
        ({"tags": "x"}, "`tags` must be an array of strings when provided"),
        ({"tags": [1]}, "`tags` must be an array of strings when provided"),
        ({"seedResults": []}, "`seedResults` must be an object when provided"),
        ({"input": None}, Resume(input=None)),
        ([], NO_OBJECT),
        (
            {"resumeFromStep": "charge", "seedResults": {"load": 1}, "runId": "r2", "tags": ["t"], "workflowId": "w"},
            Resume(step="charge", seeds={"load": 1}, run="r2", tags=("t",), workflow="w"),
        ),
    ],
)
def test_a_resume(body: Any, found: Any) -> None:
    assert Resume.of(body) == found


@pytest.mark.parametrize("labels", [Labels(), Labels(environment="production", tenant=Raw(b'{"t":1}'), key="k")])
def test_labels_come_back_from_metadata(labels: Labels) -> None:
    assert labels_of(Raw(labels.payload)) == labels


@pytest.mark.parametrize("payload", [None, Raw(b"1"), Raw(b'{"environment":7}'), Raw(b"nonsense")])
def test_metadata_that_is_no_labels_says_nothing(payload: Raw | None) -> None:
    assert labels_of(payload) == Labels()


@given(st.lists(st.text(min_size=1, max_size=5), unique=True))
def test_a_list_of_tags_comes_back(tags: list[str]) -> None:
    assert tag_list(tag_map(tags)) == tags


def test_a_tag_can_be_found_by_its_name_or_its_value() -> None:
    assert tag_map(["invoice", "customer:7", "customer:8", ":", "a:"]) == {
        "invoice": "",
        "customer": "7",
        "customer:8": "",
        ":": "",
        "a:": "",
    }


def test_a_run_id_is_sorted_by_its_time_and_80_random_bits() -> None:
    first, second = run_id(NOW, b"\xff" * 10), run_id(NOW + 1, b"\0" * 10)
    assert first < second
    assert first == "run_01KGE3H900ZZZZZZZZZZZZZZZZ"
    assert len({run_id(NOW, n.to_bytes(10, "big")) for n in range(1000)}) == 1000
    with pytest.raises(DefinitionError, match="10 random bytes"):
        run_id(NOW, b"short")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (b'{"b":1.0,"a":[2.50,"1.0",-0.0]}', b'{"b":1,"a":[2.5,"1.0",0]}'),
        (b"9007199254740993", b"9007199254740993"),
        (b"123456789012345678901234567890", b"123456789012345678901234567890"),
        (b'"1.0"', b'"1.0"'),
        (b"1.5", b"1.5"),
    ],
)
def test_whole_numbers_have_no_fraction(given: bytes, shown: bytes) -> None:
    assert bytes(plain(Raw(given))) == shown
