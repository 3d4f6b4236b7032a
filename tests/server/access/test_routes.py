"""The routes about keys, tokens and the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from stepwell import Context, Stepwell, workflow
from stepwell.server import Server, ServerOptions
from stepwell.server.access.routes import ENDPOINTS
from stepwell.server.routing import Routes


@workflow
async def order(ctx: Context) -> int:
    return 1


class Site:
    """A server with our routes, and clients of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._transport = httpx.ASGITransport(server)

    async def key(self, *scopes: str, namespace: str = "") -> str:
        """The header of a new key."""
        return f"Bearer {(await self.server.access.keys.create(scopes=scopes, namespace=namespace)).text}"

    async def __call__(self, method: str, path: str, key: str | None = None, body: Any = None) -> httpx.Response:
        headers = {} if key is None else {"authorization": key}
        async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers, json=body)


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Site]:
    async with Stepwell("memory://", worker=False, include=[__name__]) as app:
        server = Server(app, ServerOptions(**options))
        server.routes = Routes(ENDPOINTS)
        await server.open()
        yield Site(server)


def run(test: Callable[[Site], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with opened(**options) as site:
            await test(site)

    asyncio.run(main())


def test_a_key_is_made_listed_rotated_and_revoked() -> None:
    async def test(site: Site) -> None:
        admin = await site.key("admin")
        body = {"scopes": ["read", "signal"], "name": "shop", "expires": "90d"}
        made = await site("POST", "/api/keys", admin, body)
        assert made.status_code == 201
        key, secret = made.json()["key"], made.json()["secret"]
        assert key["expires_at"] == key["created_at"] + 90 * 86_400_000
        assert key["created_by"].startswith("key:")

        listed = (await site("GET", "/api/keys", admin)).json()["keys"]
        assert [(item["name"], item["status"]) for item in listed if item["id"] == key["id"]] == [("shop", "active")]
        assert secret.rpartition("_")[2] not in str(listed)

        rotated = await site("POST", f"/api/keys/{key['id']}/rotate", admin, {"grace": 60})
        assert rotated.status_code == 200
        assert rotated.json()["secret"] != secret
        assert rotated.json()["key"]["old_until"] - rotated.json()["key"]["rotated_at"] == 60_000

        revoked = await site("DELETE", f"/api/keys/{key['id']}", admin)
        assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
        assert (await site("DELETE", f"/api/keys/{key['id']}", admin)).status_code == 200
        refused = await site("POST", f"/api/keys/{key['id']}/rotate", admin)
        assert (refused.status_code, refused.json()["code"]) == (409, "key_closed")

    run(test)


def test_who_is_no_admin_has_no_business_with_keys() -> None:
    async def test(site: Site) -> None:
        mine = await site.key("read", "trigger", "signal")
        for method, path in (
            ("GET", "/api/keys"),
            ("POST", "/api/keys"),
            ("DELETE", "/api/keys/x"),
            ("POST", "/api/keys/x/rotate"),
            ("GET", "/api/audit"),
        ):
            assert (await site(method, path, mine)).status_code == 403
            assert (await site(method, path)).status_code == 401

    run(test)


def test_admins_of_a_namespace_see_and_make_only_its_keys() -> None:
    async def test(site: Site) -> None:
        acme, other = await site.key("admin", namespace="acme"), await site.key("admin", namespace="other")
        listed = (await site("GET", "/api/keys", acme)).json()["keys"]
        assert [key["namespace"] for key in listed] == ["acme"]
        made = await site("POST", "/api/keys", acme, {"scopes": ["read"]})
        assert made.json()["key"]["namespace"] == "acme"

        theirs = (await site("GET", "/api/keys", other)).json()["keys"][0]["id"]
        assert (await site("DELETE", f"/api/keys/{theirs}", acme)).status_code == 404
        assert (await site("POST", f"/api/keys/{theirs}/rotate", acme)).status_code == 404
        assert (await site("GET", "/api/keys?namespace=other", acme)).status_code == 403
        body = {"scopes": ["read"], "namespace": ""}
        assert (await site("POST", "/api/keys", acme, body)).status_code == 403
        assert (await site("GET", "/api/audit?namespace=other", acme)).status_code == 403

    run(test)


def test_operators_look_after_all_namespaces() -> None:
    async def test(site: Site) -> None:
        operator, acme = await site.key("admin"), await site.key("admin", namespace="acme")
        assert len((await site("GET", "/api/keys", operator)).json()["keys"]) == 2
        (found,) = (await site("GET", "/api/keys?namespace=acme", operator)).json()["keys"]
        assert (await site("DELETE", f"/api/keys/{found['id']}", operator)).status_code == 200
        assert (await site("GET", "/api/keys", acme)).status_code == 401
        made = await site("POST", "/api/keys", operator, {"scopes": ["read"], "namespace": "acme"})
        assert made.json()["key"]["namespace"] == "acme"

    run(test)


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/api/keys", {"scopes": ["write"]}, "write"),
        ("/api/keys", {"scopes": []}, "give at least one of"),
        ("/api/keys", {}, "scopes"),
        ("/api/keys", {"scopes": ["read"], "expire": "1d"}, "expire"),
        ("/api/keys", {"scopes": ["read"], "expires": "soon"}, 'write it as "1h30m"'),
        ("/api/keys", {"scopes": ["read"], "expires": -1}, "expires"),
        ("/api/keys", {"scopes": ["read"], "namespace": "A b"}, "give 1 to 63"),
        ("/api/tokens", {"run": "r-1", "ttl": "2d"}, "lives between 1s and 1d"),
        ("/api/tokens", {"run": "r-1", "scopes": []}, "give at least one of"),
        ("/api/tokens", {"run": 7}, "run"),
    ],
)
def test_a_wrong_body_is_400_and_says_what_is_wrong(path: str, body: dict[str, Any], detail: str) -> None:
    async def test(site: Site) -> None:
        await site.server.app.start(order, id="r-1")
        answer = await site("POST", path, await site.key("admin"), body)
        assert answer.status_code == 400
        assert detail in answer.json()["detail"]

    run(test)


def test_a_key_issues_a_token_for_a_run_and_that_is_in_the_audit_log() -> None:
    async def test(site: Site) -> None:
        await site.server.app.start(order, id="r-1")
        admin = await site.key("admin")
        answer = await site("POST", "/api/tokens", admin, {"run": "r-1", "stream": "log", "ttl": "5m"})
        assert answer.status_code == 201
        holder = await site.server.access.authenticate(None, access_token=answer.json()["token"])
        assert (holder.run, holder.stream, holder.expires_at) == ("r-1", "log", answer.json()["expires_at"])

        entry = await audited(site, admin, "POST /api/tokens")
        assert entry["object"] == {"run": "r-1", "stream": "log", "issued": answer.json()["id"]}
        assert answer.json()["token"] not in str(entry)

    run(test)


def test_a_token_is_for_a_run_that_there_is_in_the_keys_namespace() -> None:
    async def test(site: Site) -> None:
        await site.server.app.start(order, id="r-1")
        assert (await site("POST", "/api/tokens", await site.key("read"), {"run": "r-2"})).status_code == 404
        acme = await site.key("read", namespace="acme")
        assert (await site("POST", "/api/tokens", acme, {"run": "r-1"})).status_code == 404

    run(test)


def test_a_token_gets_no_scope_that_its_key_lacks_and_issues_none() -> None:
    async def test(site: Site) -> None:
        await site.server.app.start(order, id="r-1")
        mine = await site.key("read")
        refused = await site("POST", "/api/tokens", mine, {"run": "r-1", "scopes": ["read", "signal"]})
        assert (refused.status_code, "'signal'" in refused.json()["detail"]) == (403, True)
        token = (await site("POST", "/api/tokens", mine, {"run": "r-1"})).json()["token"]
        assert (await site("POST", "/api/tokens", f"Bearer {token}", {"run": "r-1"})).status_code == 403

    run(test)


def test_the_audit_log_is_read_in_pages() -> None:
    async def test(site: Site) -> None:
        admin = await site.key("admin")
        for name in ("a", "b", "c"):
            await site("POST", "/api/keys", admin, {"scopes": ["read"], "name": name})
        while len((await site("GET", "/api/audit", admin)).json()["entries"]) < 4:
            await asyncio.sleep(0.005)
        first = (await site("GET", "/api/audit?limit=2", admin)).json()
        second = (await site("GET", f"/api/audit?limit=2&cursor={first['cursor']}", admin)).json()
        entries = first["entries"] + second["entries"]
        assert len({entry["id"] for entry in entries}) == 4
        assert [entry["at"] for entry in entries] == sorted((entry["at"] for entry in entries), reverse=True)
        assert (await site("GET", "/api/audit?day=2020-01-01", admin)).json() == {"entries": [], "cursor": None}
        for wrong in ("day=x", "cursor=x", "limit=0", "limit=1001", "order=up", "limt=1"):
            assert (await site("GET", f"/api/audit?{wrong}", admin)).status_code == 400

    run(test)


def test_refused_calls_are_in_the_audit_log() -> None:
    async def test(site: Site) -> None:
        await site("GET", "/api/keys", "Bearer sw_wrong")
        entry = await audited(site, await site.key("admin"), "GET /api/keys", status=401)
        assert (entry["who"], entry["status"], entry["address"]) == ("stranger", 401, "127.0.0.1")
        assert "sw_wrong" not in str(entry)

    run(test)


def test_in_dev_mode_nobody_needs_a_key() -> None:
    async def test(site: Site) -> None:
        await site.server.app.start(order, id="r-1")
        assert (await site("GET", "/api/keys")).status_code == 200
        token = (await site("POST", "/api/tokens", None, {"run": "r-1"})).json()["token"]
        assert (await site("GET", "/api/keys", f"Bearer {token}")).status_code == 403

    run(test, dev=True)


async def audited(site: Site, key: str, action: str, *, status: int | None = None) -> dict[str, Any]:
    """The newest entry of this action, as soon as it is written."""
    async with asyncio.timeout(10):
        while True:
            for entry in (await site("GET", "/api/audit", key)).json()["entries"]:
                if entry["action"] == action and status in (None, entry["status"]):
                    return dict(entry)
            await asyncio.sleep(0.005)
