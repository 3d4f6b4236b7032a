"""Who follows a run goes when their key is revoked; others stay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepwell import Context, Signal, Stepwell, workflow
from stepwell.server import Server, ServerOptions
from stepwell.server.access.keys import IssuedKey
from tests.helpers import run, until

never = Signal("never", str)


@workflow
async def waits(ctx: Context) -> str:
    return await ctx.receive(never)


Change = Callable[[Server, IssuedKey], Awaitable[Any]]


async def revoked(server: Server, key: IssuedKey) -> None:
    await server.access.keys.revoke(key.key.id)


async def rotated(server: Server, key: IssuedKey) -> None:
    await server.access.keys.rotate(key.key.id)


async def all_tokens_ended(server: Server, key: IssuedKey) -> None:
    await server.access.tokens.secrets.rotate(ends_others=True)


@pytest.mark.parametrize(
    ("change", "by_token", "goes"),
    [
        (revoked, False, True),
        (revoked, True, True),
        (rotated, False, True),
        (all_tokens_ended, True, True),
        (all_tokens_ended, False, False),
    ],
)
def test_a_stream_ends_when_who_opened_it_may_not_any_more(change: Change, by_token: bool, goes: bool) -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=[waits]) as app:
            server = Server(app, ServerOptions())
            await server.open()
            await app.start(waits, id="r")
            keys = server.access.keys
            theirs, other = await keys.create(scopes=["read"]), await keys.create(scopes=["read"])
            mine = await _following(server, await _credential(server, theirs, by_token))
            others = await _following(server, other.text)
            await until(lambda: _are(server.streams == 2))
            await change(server, theirs)
            if goes:
                await asyncio.wait_for(mine, 5)
            await asyncio.sleep(0.02)
            assert (mine.done(), others.done()) == (goes, False)
            server.drain()
            await asyncio.wait_for(others, 5)
            await mine

    run(main())


async def _are(value: bool) -> bool:
    return value


async def _credential(server: Server, key: IssuedKey, by_token: bool) -> str:
    if not by_token:
        return key.text
    caller = await server.access.authenticate(f"Bearer {key.text}")
    return server.access.tokens.issue(caller, run="r").text


async def _following(server: Server, credential: str) -> asyncio.Task[None]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/runs/r/events",
        "query_string": b"",
        "headers": [(b"accept", b"text/event-stream"), (b"authorization", f"Bearer {credential}".encode())],
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody disconnects")

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200

    return asyncio.create_task(server(scope, receive, send))
