"""JSON from strangers, before anything is made of it."""

from __future__ import annotations

import pytest
from httpx import ASGITransport, AsyncClient

from stepwell import Stepwell
from stepwell.server.bodies import MAX_DEPTH, checked_json
from stepwell.server.problems import Problem
from tests.helpers import run


@pytest.mark.parametrize("innermost", ["", "1", '{"a": 1}'])
def test_depth_is_bounded_whatever_is_innermost(innermost: str) -> None:
    own = innermost.count("{")
    fits = "[" * (MAX_DEPTH - own) + innermost + "]" * (MAX_DEPTH - own)
    checked_json(fits.encode())
    with pytest.raises(Problem, match="nested deeper than 64"):
        checked_json(f"[{fits}]".encode())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"a": 1, "a": 2}', "'a' is twice"),
        (b'[{"a": {"b": 1, "b": 1}}]', "'b' is twice"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"NaN", "NaN is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"1 2", "not JSON"),
        (b"[" * 100_000, "nested deeper than 64"),
    ],
)
def test_what_is_malformed_or_ambiguous_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        checked_json(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_brackets_in_text_are_no_depth() -> None:
    assert checked_json(b'"' + b"[" * 1000 + b'"') == "[" * 1000


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain;charset=UTF-8"])
def test_json_is_taken_whatever_clients_call_it(kind: str | None) -> None:
    """curl -d says that it is a form, and a browser's fetch that it is text."""
    assert _posted({} if kind is None else {"content-type": kind}) == 400  # read, and nothing of that name is there


def test_what_is_compressed_is_refused() -> None:
    assert _posted({"content-encoding": "gzip"}) == 415


def _posted(headers: dict[str, str]) -> int:
    async def main() -> int:
        app = Stepwell("memory://")
        server = ASGITransport(app.asgi(dev=True))
        async with app, AsyncClient(transport=server, base_url="http://localhost") as http:
            answer = await http.post("/api/runs", content=b'{"workflowId": "nothing"}', headers=headers)
            assert "unknown_workflow" in answer.text or answer.status_code == 415
            return answer.status_code

    return run(main())
