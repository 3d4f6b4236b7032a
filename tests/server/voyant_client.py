"""A client of that system, over a server of ours, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx

from stepwell.server import Server, ServerOptions
from tests.formats.voyant_runs import World

T = TypeVar("T")


class Client:
    """Requests to one server, and its world."""

    def __init__(self, world: World, http: httpx.AsyncClient, server: Server) -> None:
        self.world = world
        self.app = world.app
        self.http = http
        self.server = server

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """POST a JSON body; None: no body at all."""
        given = {} if body is None else {"json": body}
        return await self.http.post(path, **given, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return await self.http.get(path, **options)

    async def start(self, workflow: str, input: Any = None, **members: Any) -> dict[str, Any]:
        """The record of a run that was started."""
        answer = await self.post("/api/runs", {"workflowId": workflow, "input": input, **members})
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def record(self, run: str) -> dict[str, Any]:
        """The record of a run."""
        answer = await self.get(f"/api/runs/{run}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]


def served(body: Callable[[Client], Coroutine[Any, Any, T]], *, options: dict[str, Any] | None = None, **app: Any) -> T:
    """Run `body` with a client, to its end. `options` are the server's."""
    world = World(**app)

    async def main() -> T:
        server = Server(world.app, ServerOptions(**{"dev": True, **(options or {})}))
        transport = httpx.ASGITransport(server, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await body(Client(world, http, server))

    return world.drive(main)
