"""How targets stand, as the server tells it."""

from __future__ import annotations

from typing import Any

from tests.runtime.remote.elsewhere import Worker
from tests.server.asking import Reply, ask

from stepwell.server import Server, ServerOptions
from stepwell.testing.fixture import StepwellTest


async def shown(server: Server, *, namespace: str = "", scope: str = "admin") -> Reply:
    """What a key of this namespace sees."""
    key = await server.access.keys.create(scopes=(scope,), namespace=namespace)
    return await ask(server, "GET", "/api/targets", headers=[("authorization", f"Bearer {key.text}")])


def test_the_server_tells_how_its_targets_stand() -> None:
    dead, acme = Worker(pay=lambda turn: None), Worker(ship=lambda turn: None)
    dead.always_lies = lambda *_: (500, {}, b"")
    targets = [dead.target(name="dead", secret="hush"), acme.target(name="acme", namespaces=["acme"])]
    with StepwellTest(targets=targets) as test:

        async def main() -> list[dict[str, Any]]:
            server = Server(test.app, ServerOptions())
            await server.open()
            for _ in range(5):
                await test.app.start("pay")
            await test.sleep("1s")
            reply = await shown(server)
            assert b"hush" not in reply.body
            assert [state["label"] for state in (await shown(server, namespace="other")).json["targets"]] == ["dead"]
            assert (await shown(server, scope="read")).status == 403
            found: list[dict[str, Any]] = reply.json["targets"]
            return found

        first, second = test.drive(main())
    assert (first["label"], first["workflows"], first["circuit"], first["failures"]) == ("dead", ["pay"], "open", 5)
    assert first["last_error"] == "handler returned HTTP 500 (target dead)"
    assert first["retry_at"] > test.clock.now()
    assert (second["label"], second["namespaces"], second["circuit"]) == ("acme", ["acme"], "closed")
