"""Dev mode needs no key, so it answers this machine only: no other site's page, under no other site's name."""

from __future__ import annotations

import pytest
from httpx import ASGITransport, AsyncClient

from stepwell import Stepwell
from tests.helpers import run


def _status(headers: dict[str, str], **options: object) -> int:
    async def main() -> int:
        async with Stepwell("memory://") as app:
            transport = ASGITransport(app.asgi(dev=True, **options))
            async with AsyncClient(transport=transport, base_url="http://localhost") as http:
                return (await http.get("/api/keys", headers=headers)).status_code

    return run(main())


@pytest.mark.parametrize("host", ["localhost:7788", "127.0.0.1", "[::1]:7788", "app.localhost:80"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert _status({"host": host}) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7788", "192.168.1.7:7788", "localhost.evil.example", ""]
)
def test_other_names_are_refused(host: str) -> None:
    assert _status({"host": host}) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_pages_of_other_sites_are_refused(origin: str) -> None:
    assert _status({"origin": origin}) == 403


def test_pages_of_this_machine_and_listed_ones_are_answered() -> None:
    assert _status({"origin": "http://localhost:3000"}) == 200
    assert _status({"origin": "https://flows.example"}, cors_origins=("https://flows.example",)) == 200
