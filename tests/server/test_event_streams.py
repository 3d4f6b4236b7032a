"""Event streams as answers: how they begin, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from stepwell import BackendError, Context, Signal, Stream, workflow
from stepwell.server import Server, ServerOptions
from stepwell.server.endpoints import ServerEvent
from stepwell.server.feeds import streams as stream_feeds
from stepwell.server.sse import event_bytes
from stepwell.testing import StepwellTest
from tests.server.asking import Reply, ask

words = Stream("words", str)
go = Signal("go", int)
FOLLOW = [("accept", "text/event-stream")]
PATH = "/api/runs/r/streams/words"


@workflow
async def talking(ctx: Context) -> int:
    ctx.send(words, "hello")
    return await ctx.receive(go)


Play = Callable[[Callable[[Server], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def test() -> Iterator[StepwellTest]:
    with StepwellTest(include=[talking]) as test:
        yield test


def play(test: StepwellTest, scenario: Callable[[Server], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Play with a server and a run that waits."""

    async def played() -> None:
        server = Server(test.app, ServerOptions(dev=True, **options), worker=True)
        await server.open()
        await test.app.start(talking, id="r")
        await asyncio.sleep(1)
        await scenario(server)
        assert (server.streams, len(server.feeds)) == (0, 0)

    test.drive(played())


async def later(server: Server, **more: Any) -> asyncio.Task[Reply]:
    """Somebody who follows, and has begun to."""
    task = asyncio.ensure_future(ask(server, "GET", PATH, headers=FOLLOW, **more))
    await asyncio.sleep(1)
    return task


def test_it_begins_with_a_hint_and_ends_with_the_run(test: StepwellTest) -> None:
    async def scenario(server: Server) -> None:
        following = await later(server)
        await server.app.handle("r").send(go, 1)
        reply = await following
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["cache-control"] == "no-store"
        assert "content-length" not in reply.headers
        assert reply.body == (
            b"retry: 2000\n\n"
            b'id: 0\nevent: chunk\ndata: {"index":0,"value":"hello","source":"","attempt":1,"restarts":false}\n\n'
            b'event: end\ndata: {"run":"r","status":"completed","next":1}\n\n'
        )

    play(test, scenario)


def test_comments_come_while_nothing_else_does(test: StepwellTest) -> None:
    async def scenario(server: Server) -> None:
        following = await later(server)
        await asyncio.sleep(60)
        await server.app.handle("r").send(go, 1)
        assert (await following).body.count(b": ping\n\n") == 4

    play(test, scenario, ping=15)


def test_a_server_that_stops_ends_it_without_an_end(test: StepwellTest) -> None:
    async def scenario(server: Server) -> None:
        following = await later(server)
        server.drain()
        assert b"event: end" not in (await following).body

    play(test, scenario)


def test_only_so_many_are_open_at_a_time(test: StepwellTest) -> None:
    async def scenario(server: Server) -> None:
        first = await later(server)
        refused = await ask(server, "GET", PATH, headers=FOLLOW)
        assert (refused.status, refused.json["code"]) == (503, "too_many_streams")
        assert "retry-after" in refused.headers
        await server.app.handle("r").send(go, 1)
        assert (await first).status == 200

    play(test, scenario, max_streams=1)


def test_a_look_at_the_headers_follows_nothing(test: StepwellTest) -> None:
    async def scenario(server: Server) -> None:
        reply = await ask(server, "HEAD", PATH, headers=FOLLOW)
        assert (reply.status, reply.body) == (200, b"")

    play(test, scenario)


def test_nobody_follows_for_longer_than_their_token_is_valid(test: StepwellTest) -> None:
    async def scenario(server: Server) -> None:
        made = await ask(server, "POST", "/api/tokens", json={"run": "r", "stream": "words", "ttl": "1h"})
        begun = server.app.backend.clock.now()
        reply = await ask(server, "GET", f"{PATH}?access_token={made.json['token']}", headers=FOLLOW)
        assert b"hello" in reply.body
        assert b"event: end" not in reply.body
        assert server.app.backend.clock.now() - begun >= 3_600_000
        assert (await ask(server, "GET", f"{PATH}?access_token={made.json['token']}")).status == 401

    play(test, scenario)


def test_a_store_that_fails_cuts_it_off_and_who_comes_again_goes_on(
    test: StepwellTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Any:
        raise BackendError("down on purpose")
        yield

    async def scenario(server: Server) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(stream_feeds, "stream_changes", fail)
            reply = await ask(server, "GET", PATH, headers=FOLLOW)
            assert reply.status == 200
            assert b"event: end" not in reply.body
        await server.app.handle("r").send(go, 1)
        reply = await ask(server, "GET", PATH, headers=[*FOLLOW, ("last-event-id", "0")])
        assert b"hello" not in reply.body
        assert b"event: end" in reply.body

    play(test, scenario)


def test_the_data_of_an_event_is_one_line() -> None:
    assert event_bytes(ServerEvent(data=b'{"a":\r\n 1,\n"b":"x\\n"}')) == b'data: {"a":1,"b":"x\\n"}\n\n'
