"""Requests and answers of hooks: what is read from a body, and what cannot be answered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell import CodecError, DefinitionError, HookRequest, HookResponse
from stepwell.formats.hooks import RecordedRequest, RecordedResponse, plain_value

FORM = "application/x-www-form-urlencoded"


class Order(msgspec.Struct):
    id: int


def request(body: bytes, content_type: str = "", **more: Any) -> HookRequest:
    headers = (("content-type", content_type),) if content_type else ()
    return HookRequest(body=body, headers=headers, **more)


# --- what a workflow reads


def test_a_request_gives_its_headers_in_any_case() -> None:
    sent = HookRequest(headers=(("x-event", "push"), ("x-event", "pull")))

    assert sent.header("X-Event") == "push"
    assert sent.header("accept") is None
    assert sent.content_type == ""


def test_json_comes_as_plain_values_or_as_a_type() -> None:
    sent = request(b'{"id": 7}', "application/json")

    assert sent.json() == {"id": 7}
    assert sent.json(Order) == Order(7)


@pytest.mark.parametrize("body", [b"", b"{", b'{"id": "seven"}', b'"\xff"', b"[" * 100_000])
def test_what_is_not_the_json_that_was_asked_for_is_refused(body: bytes) -> None:
    with pytest.raises(CodecError, match="the body of the request"):
        request(body).json(Order)


def test_a_form_is_a_mapping_of_its_fields() -> None:
    assert request(b"text=a+b%26c&empty=&n=1&n=2", f"{FORM}; charset=utf-8").form() == {
        "text": "a b&c",
        "empty": "",
        "n": "2",
    }


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (b"a=1", "", "of no type"),
        (b"a=1", "text/plain", "text/plain, and no"),
        (b"a=%ff", FORM, "not percent-encoded UTF-8"),
        (b"a=1&" * 1001, FORM, "more than 1000 fields"),
        (b"\xff", FORM, "not utf-8 at byte 0"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, content_type: str, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        request(body, content_type).form()


def test_text_is_read_by_its_charset() -> None:
    assert request("für".encode(), "text/plain").text() == "für"
    assert request("für".encode("latin-1"), 'text/plain; charset="ISO-8859-1"').text() == "für"


@pytest.mark.parametrize("charset", ["idna", "rot13", "os", ""])
def test_a_charset_that_is_not_known_is_refused(charset: str) -> None:
    with pytest.raises(CodecError, match="is not known"):
        request(b"a", f"text/plain; charset={charset}").text()


# --- what a hook gets that takes no request


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (request(b' \r\n{"a": 1} ', "application/json; charset=utf-8"), {"a": 1}),
        (request(b"[1]", "application/vnd.x+json"), [1]),
        (request(b"3"), 3),
        (request(b""), None),
        (request(b"a=1&b=2&b=3&c=", FORM), {"a": "1", "b": ["2", "3"], "c": ""}),
        (request(b"", FORM), {}),
        (request("für".encode(), "text/plain"), "für"),
        (request(b"<x/>", "text/xml"), "<x/>"),
        (request(b"ignored", method="GET", query=(("by", "ada"),)), {"by": "ada"}),
    ],
)
def test_a_value_is_made_of_json_forms_queries_and_text(sent: HookRequest, value: object) -> None:
    data = plain_value(sent)

    assert data is not None
    assert msgspec.json.decode(data) == value


@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/png", "multipart/form-data", "nonsense"])
def test_nothing_is_made_of_other_content_types(content_type: str) -> None:
    assert plain_value(request(b"{}", content_type)) is None


@pytest.mark.parametrize("body", [b"", b"{", b"{} {}", b"1e999"])
def test_a_body_that_says_it_is_json_must_be(body: bytes) -> None:
    with pytest.raises(CodecError, match="is not JSON"):
        plain_value(request(body, "application/json"))


def test_the_value_begins_where_its_json_does() -> None:
    """Space before `{"$blob"` would hide from the codec what the journal takes for a reference."""
    data = plain_value(request(b' \n{"$blob": "x"}', "application/json"))

    assert data is not None
    assert data.startswith(b'{"$blob"')


# --- what is recorded


@given(body=st.binary(), path=st.text(), pairs=st.lists(st.tuples(st.text(), st.text())).map(tuple))
def test_a_request_comes_back_from_its_record(body: bytes, path: str, pairs: tuple[tuple[str, str], ...]) -> None:
    sent = HookRequest(body=body, path=path, query=pairs, headers=pairs, method="PUT")

    data = msgspec.json.encode(RecordedRequest.of(sent))

    assert msgspec.json.decode(data, type=RecordedRequest).restored("id") == msgspec.structs.replace(sent, id="id")


def test_the_record_of_a_text_can_be_read_by_people() -> None:
    assert b"all is well" in msgspec.json.encode(RecordedRequest.of(request(b"all is well")))


@given(body=st.binary(), status=st.integers(200, 599).filter(lambda status: status not in (204, 304)))
def test_an_answer_comes_back_from_its_record(body: bytes, status: int) -> None:
    response = HookResponse(status=status, body=body, headers={"x-a": "b"}, content_type="image/png")

    data = msgspec.json.encode(RecordedResponse.of(response))

    assert msgspec.json.decode(data, type=RecordedResponse).restored() == response


# --- what is answered


def test_answers_are_made_of_json_and_text() -> None:
    assert HookResponse.json({"a": [1]}, status=201).body == b'{"a":[1]}'
    assert HookResponse.text("für").content_type == "text/plain; charset=utf-8"
    assert HookResponse.text("für", headers={"x-a": "b"}).headers == {"x-a": "b"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"status": 100}, "from 200 to 599"),
        ({"status": 600}, "from 200 to 599"),
        ({"status": "200"}, "from 200 to 599"),
        ({"body": "text"}, "HookResponse.text"),
        ({"body": {"a": 1}}, "HookResponse.json"),
        ({"status": 204, "body": b"x"}, "has no body"),
        ({"headers": {"a b": "c"}}, "no name of a header"),
        ({"headers": {"": "c"}}, "no name of a header"),
        ({"headers": {"x": "a\r\nset-cookie: b"}}, "one line"),
        ({"headers": {"x": "\u20ac"}}, "Latin-1"),
        ({"headers": {"x": 1}}, "Latin-1"),
        ({"content_type": "text/html\n"}, "one line"),
        ({"headers": {"Content-Length": "1"}}, "the server sets it"),
        ({"headers": {"Content-Type": "a/b"}}, "use content_type="),
    ],
)
def test_an_answer_that_cannot_be_sent_is_refused_when_it_is_made(given: dict[str, Any], why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        HookResponse(**given)


def test_an_answer_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(CodecError, match="cannot be written as JSON"):
        HookResponse.json(object())
