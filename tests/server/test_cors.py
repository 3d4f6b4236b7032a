"""Which pages a browser lets ask: none, unless they are listed."""

from __future__ import annotations

import httpx
import pytest

from stepwell import DefinitionError, Stepwell
from stepwell.server import Server, ServerOptions
from tests.helpers import run

PAGE, OTHER = "https://shop.example", "https://evil.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}


def answer(origins: tuple[str, ...], method: str = "GET", path: str = "/api/keys", **headers: str) -> httpx.Response:
    """What a server that lets pages from these origins ask answers, to somebody without a key."""

    async def ask() -> httpx.Response:
        async with Stepwell("memory://") as app:
            server = Server(app, ServerOptions(cors_origins=origins))
            async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://test") as client:
                return await client.request(method, path, headers=headers)

    return run(ask())


def cors_headers(response: httpx.Response) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-")}


@pytest.mark.parametrize("origins", [(), (OTHER,)])
def test_a_page_that_is_not_listed_is_told_nothing(origins: tuple[str, ...]) -> None:
    preflight = answer(origins, "OPTIONS", origin=PAGE, **PREFLIGHT)

    assert preflight.status_code == 204
    assert cors_headers(preflight) == cors_headers(answer(origins, origin=PAGE)) == set()


def test_a_page_that_is_listed_may_ask_and_is_answered_by_its_name() -> None:
    preflight = answer((PAGE, OTHER), "OPTIONS", origin=PAGE, **PREFLIGHT)

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "POST" in preflight.headers["access-control-allow-methods"]


@pytest.mark.parametrize("path", ["/api/keys", "/nowhere"])
def test_refusals_can_be_read_by_the_page_too(path: str) -> None:
    refused = answer((PAGE,), path=path, origin=PAGE)

    assert refused.status_code in (401, 404)
    assert refused.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("headers", [{}, {"origin": PAGE}, {"origin": OTHER}])
def test_caches_keep_answers_to_different_pages_apart(headers: dict[str, str]) -> None:
    assert answer((PAGE,), **headers).headers["vary"] == "origin"


def test_all_pages_may_ask_only_if_that_is_said() -> None:
    assert answer(("*",), origin=OTHER).headers["access-control-allow-origin"] == "*"
    assert cors_headers(answer((PAGE,), origin="null")) == set()


@pytest.mark.parametrize("origins", [("*",), (PAGE,)])
def test_credentials_of_the_browser_are_never_asked_for(origins: tuple[str, ...]) -> None:
    for response in (answer(origins, origin=PAGE), answer(origins, "OPTIONS", origin=PAGE, **PREFLIGHT)):
        assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "origin", ["https://shop.example/", "shop.example", "https://Shop.example", "null", "https://*"]
)
def test_what_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(DefinitionError, match="cors_origins holds"):
        answer((origin,))
