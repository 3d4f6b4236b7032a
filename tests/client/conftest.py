"""An app, and a client of it, for the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepwell import Stepwell
from stepwell.client import Client
from stepwell.server import Server, ServerOptions
from tests.client import shop
from tests.client.support import URL, ServerTransport, play

Body = Callable[[Any], Awaitable[None]]
Play = Callable[[Body], None]


async def in_process(body: Body) -> None:
    async with Stepwell("memory://", include=[shop], clock=_clock()) as app:
        await body(app)


async def over_http(body: Body) -> None:
    async with Stepwell("memory://", include=[shop], clock=_clock()) as app:
        server = Server(app, ServerOptions(), worker=True)
        await server.open()
        key = await server.access.keys.create(scopes=("admin",))
        async with Client(URL, key=key.text, transport=ServerTransport(server), include=[shop]) as client:
            await body(client)


@pytest.fixture(params=[in_process, over_http], ids=["in process", "over HTTP"])
def same(request: pytest.FixtureRequest) -> Play:
    """Runs a test against an app, and against a client of it."""
    return lambda body: play(request.param(body))


def _clock() -> Any:
    return asyncio.get_running_loop().clock  # type: ignore[attr-defined]
