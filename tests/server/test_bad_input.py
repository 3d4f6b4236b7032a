"""Requests as they should not be, to every route that there is. A new route is in the table by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from stepwell import Context, Signal, workflow
from stepwell.server import Server, ServerOptions
from stepwell.server.catalogue import ENDPOINTS
from stepwell.server.endpoints import Endpoint
from stepwell.server.queries import AnyQuery
from stepwell.testing import StepwellTest
from tests.server.asking import Body, Reply, ask

go = Signal("go", int)


@workflow
async def ended(ctx: Context) -> int:
    return 1


@workflow
async def waiting(ctx: Context) -> int:
    return await ctx.receive(go)


Ask = Callable[..., Reply]
OPTIONS = ServerOptions(dev=True, wait=0.1, hook_wait=0.1, max_body=10_000)


@pytest.fixture(scope="module")
def asked() -> Iterator[Ask]:
    """Asks a server with a run that has ended and one that waits, in virtual time."""
    with StepwellTest(include=[ended, waiting]) as test:
        server = Server(test.app, OPTIONS, worker=True)

        async def prepare() -> None:
            await server.open()
            await (await test.app.start(ended, id="ended")).result()
            for id in ("open", "kept"):
                await test.app.start(waiting, id=id)

        test.drive(prepare())

        def one(method: str, target: str, **more: Any) -> Reply:
            return test.drive(ask(server, method, target, **more))

        yield one
        test.drive(server.feeds.aclose())


def _id(value: Any) -> str | None:
    return f"{value.method} {value.path}" if isinstance(value, Endpoint) else None


def _path(endpoint: Endpoint, **values: str) -> str:
    """A path of the endpoint, of a run that is open."""
    known = {"run": "open", "stream": "s", "token": "t", "node": "n", "event": "e", "namespace": "", **values}
    return re.sub(r"{(\w+)(?::path)?}", lambda match: known.get(match[1], "x"), endpoint.path)


def _is_open(endpoint: Endpoint) -> bool:
    return "{namespace}" not in endpoint.path and not endpoint.path.startswith("/hooks")


ROUTES = [endpoint for endpoint in ENDPOINTS if _is_open(endpoint)]
JSON_ROUTES = [endpoint for endpoint in ROUTES if endpoint.body not in (None, bytes) and endpoint.answers]
BODY_ROUTES = [endpoint for endpoint in ENDPOINTS if endpoint.method not in ("GET", "HEAD")]
RUN_ROUTES = [endpoint for endpoint in ROUTES if "{run}" in endpoint.path]
JSON_TYPE = [("content-type", "application/json")]


# --- bodies

NOT_JSON: dict[str, bytes] = {
    "cut off": b"{",
    "a comma too many": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "half a word": b"nul",
    "NaN": b'{"a":NaN}',
    "infinite": b'{"a":-Infinity}',
    "two values": b'{"a":1}{"b":2}',
    "broken UTF-8": b'{"a":"\xff"}',
    "UTF-16": b"\xff\xfe{\x00}\x00",
    "a mark of byte order": b'\xef\xbb\xbf{"a":1}',
    "a name twice": b'{"a":1,"a":2}',
    "a name twice within": b'{"a":[{"b":1,"b":2}]}',
    "deep and cut off": b"[" * 5000,
    "deep": b"[" * 100 + b"]" * 100,
    "deep objects": b'{"a":' * 100 + b"1" + b"}" * 100,
    "a control character": b'{"a":"\x01"}',
    "half a surrogate pair": b'{"a":"\\ud800"}',
    "a pair in the wrong order": b'{"a":"\\udc00\\ud800"}',
    "half a pair as a name": b'{"\\ud800":1}',
    "NUL": b"\x00",
}


@pytest.mark.parametrize("endpoint", JSON_ROUTES, ids=_id)
def test_what_is_no_json_is_refused(asked: Ask, endpoint: Endpoint) -> None:
    for what, body in NOT_JSON.items():
        reply = asked(endpoint.method, _path(endpoint), body=body, headers=JSON_TYPE)
        found = (reply.status, reply.json.get("code", reply.json.get("error")))
        assert found == (400, "invalid_json"), what


@pytest.mark.parametrize("endpoint", [item for item in JSON_ROUTES if item.body_required], ids=_id)
def test_a_body_that_is_missing_is_refused(asked: Ask, endpoint: Endpoint) -> None:
    assert asked(endpoint.method, _path(endpoint)).status == 400


def _unfit(kind: Any) -> Any:
    """A value that is not of this type. Payloads are anything."""
    if "Raw" in str(kind):
        return None
    for value in (12.5, "no number", [[12.5]], {"no": {"such": "thing"}}, True):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return value
    return None


OBJECT_ROUTES = [item for item in JSON_ROUTES if hasattr(item.body, "__struct_fields__")]


@pytest.mark.parametrize("endpoint", OBJECT_ROUTES, ids=_id)
def test_a_field_of_the_wrong_type_is_named(asked: Ask, endpoint: Endpoint) -> None:
    for field in msgspec.structs.fields(endpoint.body):
        value = _unfit(field.type)
        if value is not None:
            reply = asked(endpoint.method, _path(endpoint), json={field.encode_name: value})
            assert reply.status == 400, field.encode_name
            assert field.encode_name in reply.text


@pytest.mark.parametrize("endpoint", OBJECT_ROUTES, ids=_id)
def test_a_body_that_is_no_object_is_refused(asked: Ask, endpoint: Endpoint) -> None:
    for body in (b"[]", b'"text"', b"5", b"true"):
        assert asked(endpoint.method, _path(endpoint), body=body, headers=JSON_TYPE).status == 400, body


@pytest.mark.parametrize(
    "endpoint", [item for item in OBJECT_ROUTES if item.body.__struct_config__.forbid_unknown_fields], ids=_id
)
def test_a_field_that_there_is_not_is_named(asked: Ask, endpoint: Endpoint) -> None:
    reply = asked(endpoint.method, _path(endpoint), json={"reasn": "typo"})

    assert reply.status == 400
    assert "reasn" in reply.text


@pytest.mark.parametrize("endpoint", JSON_ROUTES, ids=_id)
def test_a_body_that_is_packed_is_refused(asked: Ask, endpoint: Endpoint) -> None:
    for kind in ("gzip", "br", "identity, gzip", "x"):
        headers = [*JSON_TYPE, ("content-encoding", kind)]
        assert asked(endpoint.method, _path(endpoint), body=b"{}", headers=headers).status == 415, kind


@pytest.mark.parametrize("endpoint", BODY_ROUTES, ids=_id)
def test_a_body_that_is_too_large_is_refused_before_it_is_read(asked: Ask, endpoint: Endpoint) -> None:
    headers = [*JSON_TYPE, ("content-length", "10001")]

    assert asked(endpoint.method, _path(endpoint), body=Body([], is_whole=False), headers=headers).status in (404, 413)


@pytest.mark.parametrize("endpoint", BODY_ROUTES, ids=_id)
def test_a_body_that_grows_too_large_is_refused(asked: Ask, endpoint: Endpoint) -> None:
    body = Body([b" " * 1000] * 11, is_whole=False)

    assert asked(endpoint.method, _path(endpoint), body=body, headers=JSON_TYPE).status in (404, 413)


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "٣", "1" * 50, "+5", ""])
def test_a_length_that_is_no_number_is_refused(asked: Ask, length: str) -> None:
    headers = [("content-length", length.encode().decode("latin-1"))]

    assert asked("POST", "/api/runs/open/pause", body=b"{}", headers=headers).status in (400, 413)


@pytest.mark.parametrize("endpoint", BODY_ROUTES, ids=_id)
def test_a_body_that_does_not_come_is_not_waited_for(asked: Ask, endpoint: Endpoint) -> None:
    reply = asked(endpoint.method, _path(endpoint), body=Body([b"{"], is_whole=False), headers=JSON_TYPE)

    assert reply.status in (404, 408)
    assert reply.status == 404 or reply.headers["connection"] == "close"


# --- runs


MINIMAL = {
    "events": {"eventType": "e"},
    "signals": {"name": "n"},
    "send": {"name": "n"},
    "cancel": {},
}


def _minimal(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.body in (None, bytes):
        return {}
    return {"json": MINIMAL.get(endpoint.path.rpartition("/")[2], {})}


@pytest.mark.parametrize("endpoint", RUN_ROUTES, ids=_id)
def test_a_run_that_there_is_not_is_not_found(asked: Ask, endpoint: Endpoint) -> None:
    reply = asked(endpoint.method, _path(endpoint, run="nobody"), **_minimal(endpoint))

    assert reply.status == 404
    assert reply.headers["content-type"].startswith(
        "application/json" if endpoint.is_compat else "application/problem+json"
    )


@pytest.mark.parametrize("endpoint", [item for item in RUN_ROUTES if item.streams], ids=_id)
def test_a_run_that_there_is_not_cannot_be_followed(asked: Ask, endpoint: Endpoint) -> None:
    path = _path(endpoint, run="nobody")

    assert asked(endpoint.method, path, headers=[("accept", "text/event-stream")]).status == 404


@pytest.mark.parametrize("verb", ["pause", "unpause", "terminate", "cancel", "signals", "events", "tokens/t"])
def test_a_run_that_has_ended_takes_nothing_more(asked: Ask, verb: str) -> None:
    assert asked("POST", f"/api/runs/ended/{verb}", json=MINIMAL.get(verb, {})).status == 409


def test_a_run_that_is_open_is_not_deleted_or_retried(asked: Ask) -> None:
    assert asked("DELETE", "/api/runs/kept").status == 409
    assert asked("POST", "/api/runs/kept/retry", json={}).status == 409


TRICKS = [
    "..",
    ".",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cboot.ini",
    "%00",
    "open%00",
    "a%2fb",
    "%2f",
    "%2F%2F",
    "open%0d%0aset-cookie:x",
    "%ff%fe",
    "%ed%a0%80",
    "%F0%9F%92%A9",
    "%u0041",
    "%",
    "%zz",
    "a%20b",
    "other%20open",
    "%20open",
    "x" * 5000,
    "'%20or%201=1--",
    "*",
    "%25",
    "{run}",
    "-1",
]


@pytest.mark.parametrize("endpoint", [item for item in ENDPOINTS if "{" in item.path], ids=_id)
def test_tricks_in_paths_find_nothing(asked: Ask, endpoint: Endpoint) -> None:
    name = re.findall(r"{(\w+)", endpoint.path)[0]
    for trick in TRICKS:
        reply = asked(endpoint.method, _path(endpoint, **{name: trick}), **_minimal(endpoint))
        assert reply.status in (400, 404, 405) or (name == "event" and reply.status == 200), trick
        assert b"Traceback" not in reply.body


@pytest.mark.parametrize(
    "path", ["/", "//", "/api", "/api/", "/api/runs/", "//api/runs", "/api//runs", "/API/runs", "/%2fapi"]
)
def test_paths_that_are_nearly_right_are_not_found(asked: Ask, path: str) -> None:
    assert asked("GET", path).status in (400, 404)


@pytest.mark.parametrize("endpoint", ROUTES, ids=_id)
def test_another_verb_is_refused_with_those_that_there_are(asked: Ask, endpoint: Endpoint) -> None:
    for method in ("PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "G" * 1000):
        reply = asked(method, _path(endpoint))
        assert reply.status == 405, method
        assert endpoint.method in reply.headers["allow"]


# --- queries


@pytest.mark.parametrize("endpoint", ROUTES, ids=_id)
def test_a_parameter_that_there_is_not_is_named(asked: Ask, endpoint: Endpoint) -> None:
    if endpoint.query is AnyQuery:
        return
    reply = asked(endpoint.method, _path(endpoint) + "?lmit=5", **_minimal(endpoint))

    assert reply.status == 400
    assert "lmit" in reply.text


QUERY_ROUTES = [item for item in ROUTES if item.query not in (None, AnyQuery)]


@pytest.mark.parametrize("endpoint", QUERY_ROUTES, ids=_id)
def test_no_parameter_breaks_anything(asked: Ask, endpoint: Endpoint) -> None:
    for field in msgspec.structs.fields(endpoint.query):  # type: ignore[arg-type]
        for value in ("x" * 3000, "-9" * 30, "%00", "", "%ed%a0%80", "null", "%ff"):
            reply = asked(endpoint.method, f"{_path(endpoint)}?{field.encode_name}={value}", **_minimal(endpoint))
            assert reply.status < 500, (field.encode_name, value)
            assert reply.status == 400 or value not in ("%ff", "%ed%a0%80")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("since=yesterday", "since"),
        ("until=99999999999999999999", "until"),
        ("status=broken", "broken"),
        ("status=failed,broken", "broken"),
        ("tag=:a", "tag"),
        ("metadata=a:b", "metadata"),
        ("metadata=a:%7b", "metadata"),
        ("metadata=a:NaN", "metadata"),
        ("cursor=nonsense", "cursor"),
    ],
)
def test_a_filter_that_means_nothing_is_named(asked: Ask, query: str, name: str) -> None:
    reply = asked("GET", f"/api/runs?{query}")

    assert reply.status == 400
    assert name in reply.text


@pytest.mark.parametrize("id", ["x", "1.2.3", "-1", "1" * 40, "1\t", "²"])
@pytest.mark.parametrize("path", ["/api/runs/open/events", "/api/runs/open/streams/s"])
def test_a_last_event_that_there_cannot_be_is_refused(asked: Ask, path: str, id: str) -> None:
    headers = [("accept", "text/event-stream"), ("last-event-id", id)]

    assert asked("GET", path, headers=headers).status == 400


def test_more_parameters_than_anybody_needs_are_refused(asked: Ask) -> None:
    assert asked("GET", "/api/runs?" + "&".join(["tag=a:b"] * 101)).status == 400


# --- headers


@pytest.mark.parametrize("endpoint", ROUTES, ids=_id)
def test_floods_of_headers_are_refused(asked: Ask, endpoint: Endpoint) -> None:
    for headers in ([("x", "y")] * 101, [("x", "y" * 40_000)], [("x" * 40_000, "y")]):
        assert asked(endpoint.method, _path(endpoint), headers=headers).status == 431


@pytest.mark.parametrize("id", ["", "x" * 101, "a b\x7f", "\xff", "a\x00b"])
def test_a_request_id_that_cannot_be_one_is_replaced(asked: Ask, id: str) -> None:
    reply = asked("GET", "/api/runs", headers=[("x-request-id", id)])

    assert reply.status == 200
    assert reply.headers["x-request-id"] not in ("", id)


# --- bulk


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "either"),
        ({"runs": ["a"], "filter": {"workflow": "w"}}, "either"),
        ({"filter": {}}, "condition"),
        ({"filter": {"status": "broken"}}, "broken"),
        ({"filter": {"workflw": "x"}}, "workflw"),
        ({"runs": ["x"] * 1001}, "runs"),
        ({"runs": [1]}, "runs"),
    ],
)
@pytest.mark.parametrize("verb", ["cancel", "pause", "unpause", "retry", "terminate", "delete"])
def test_bulk_operations_say_what_is_wrong(asked: Ask, verb: str, body: Any, words: str) -> None:
    reply = asked("POST", f"/api/bulk/{verb}", json=body)

    assert reply.status == 400
    assert words in reply.text


def test_of_many_runs_each_has_its_own_error(asked: Ask) -> None:
    found = asked("POST", "/api/bulk/pause", json={"runs": ["ended", "nobody", "a/b", "../x", "\u0000"]}).json[
        "results"
    ]

    assert [item["code"] for item in found] == ["already_ended", "not_found", "not_found", "not_found", "not_found"]
