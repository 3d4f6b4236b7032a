"""What a client may do, by its key or token, and in which namespace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepwell import Stepwell
from stepwell.client import Client
from stepwell.errors import AccessError, RunNotFoundError
from stepwell.server import Server, ServerOptions
from tests.client import shop
from tests.client.shop import Order, checkout, words
from tests.client.support import URL, ServerTransport, play

Connect = Callable[..., Client]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, Connect]]:
    clock: Any = asyncio.get_running_loop()
    async with Stepwell("memory://", include=[shop], clock=clock.clock) as app:
        server = Server(app, ServerOptions(), worker=True)
        await server.open()
        yield server, lambda key: Client(URL, key=key, transport=ServerTransport(server))


async def key(server: Server, *scopes: str, **options: Any) -> str:
    return (await server.access.keys.create(scopes=scopes, **options)).text


def serve(test: Callable[[Server, Connect], Awaitable[None]]) -> None:
    async def served() -> None:
        async with serving() as (server, connect):
            await test(server, connect)

    play(served())


def test_a_key_may_do_what_its_scopes_say() -> None:
    async def test(server: Server, connect: Connect) -> None:
        async with connect(await key(server, "read")) as app:
            assert (await app.runs.list()).runs == ()
            with pytest.raises(AccessError, match=r"needs the scope 'trigger'.*use a key with that scope"):
                await app.start(checkout, Order(1))

    serve(test)


@pytest.mark.parametrize("text", [None, "sw_nobody_nothing", "nonsense"])
def test_a_stranger_is_told_to_bring_a_key(text: str | None) -> None:
    async def test(server: Server, connect: Connect) -> None:
        async with connect(text) as app:
            with pytest.raises(AccessError, match="STEPWELL_KEY") as raised:
                await app.start(checkout, Order(1))
        assert "nothing" not in str(raised.value)

    serve(test)


def test_a_token_is_for_one_stream_of_one_run() -> None:
    async def test(server: Server, connect: Connect) -> None:
        async with connect(await key(server, "admin")) as app:
            run = (await app.start(shop.telling, "a b")).id
            other = (await app.start(shop.telling, "c")).id
            token = await app.tokens.create(run=run, stream=words, ttl="10m")
        async with connect(token.token) as page:
            assert [word async for word in page.handle(run).stream(words)] == ["a", "b"]
            with pytest.raises(AccessError):
                _ = [word async for word in page.handle(other).stream(words)]
            with pytest.raises(AccessError):
                await page.runs.get(run)
        assert token.token not in repr(token)

    serve(test)


def test_a_token_may_be_for_a_whole_run() -> None:
    async def test(server: Server, connect: Connect) -> None:
        async with connect(await key(server, "admin")) as app:
            run = (await app.start(shop.telling, "a b")).id
            token = await app.tokens.create(run=run)
        async with connect(token.token) as page:
            assert await page.handle(run).result() == 2
            assert token.expires_at > (await page.runs.get(run)).created_at

    serve(test)


def test_a_key_sees_its_namespace_alone() -> None:
    async def test(server: Server, connect: Connect) -> None:
        async with connect(await key(server, "admin", namespace="acme")) as app:
            handle = await app.start(checkout, Order(1), id="one")
            assert (await handle.result()).order == 1
            assert [head.id for head in (await app.runs.list()).runs] == ["one"]
        async with connect(await key(server, "admin")) as app:
            assert (await app.runs.list()).runs == ()
            with pytest.raises(RunNotFoundError):
                await app.runs.get("one")

    serve(test)
