"""What only shows on real sockets: bodies that do not come, clients that go, and clients that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from stepwell import Context, Signal, Stepwell, Stream, current_step, step, workflow
from stepwell.server import Server, ServerOptions
from tests.helpers import run, until

words = Stream("words", Any)
go = Signal("go", int)


@step
async def say(count: int) -> None:
    for _ in range(count):
        current_step().send(words, "x" * 5000)
        await asyncio.sleep(0)


@workflow
async def talking(ctx: Context) -> None:
    while count := await ctx.receive(go):
        await say(count)


class Place:
    """A server on a port, with a run."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def request(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which this was asked."""
        reader, writer = await self.connect()
        writer.write(text.replace("\n", "\r\n").encode())
        await writer.drain()
        return reader, writer

    async def follow(self, what: str = "streams/words") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which an event stream has begun."""
        reader, writer = await self.request(
            f"GET /api/runs/r/{what} HTTP/1.1\nhost: localhost\naccept: text/event-stream\n\n"
        )
        await reader.readuntil(b"retry: 2000")
        return reader, writer

    async def talk(self, count: int) -> None:
        """Let the run send so many chunks; 0 ends it."""
        await self.server.app.handle("r").send(go, count)


def play(test: Callable[[Place], Awaitable[None]], **options: Any) -> None:
    """Run a test with a server."""

    async def main() -> None:
        async with _served(ServerOptions(dev=True, **options)) as place:
            await test(place)

    run(main())


@asynccontextmanager
async def _served(options: ServerOptions) -> AsyncIterator[Place]:
    app = Stepwell("memory://", include=[talking, say])
    async with app:
        server = Server(app, options, worker=True)
        await server.open()
        await app.start(talking, id="r")
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            config = uvicorn.Config(server, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
            http = uvicorn.Server(config)
            serving = asyncio.get_running_loop().create_task(http.serve(sockets=[listening]))
            await until(_is(lambda: http.started))
            place = Place(server, listening.getsockname()[1])
            try:
                yield place
            finally:
                await place.close()
                server.drain()
                http.should_exit = True
                await serving


def _is(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return condition()

    return asked


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What an event stream brings."""
    found = bytearray()
    while b"event: end" not in found[-500:]:
        found += await reader.read(65536)
    return bytes(found)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def test(place: Place) -> None:
        reader, _ = await place.request("POST /api/runs/r/pause HTTP/1.1\nhost: localhost\ncontent-length: 100\n\n{")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"body_too_slow" in answer

    play(test, body_timeout=0.05)


def test_a_body_without_end_is_cut_off() -> None:
    async def test(place: Place) -> None:
        reader, writer = await place.request(
            "POST /api/runs/r/pause HTTP/1.1\nhost: localhost\ntransfer-encoding: chunked\n\n"
        )
        for _ in range(20):
            writer.write(b"400\r\n" + b" " * 1024 + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")

    play(test, max_body=10_000)


def test_a_follower_who_goes_is_forgotten() -> None:
    async def test(place: Place) -> None:
        _, first = await place.follow()
        _, second = await place.follow("events")
        assert (place.server.streams, len(place.server.feeds)) == (2, 2)
        first.close()
        second.close()
        await until(_is(lambda: place.server.streams == 0 and len(place.server.feeds) == 0))

    play(test)


def test_a_follower_who_hears_nothing_is_pinged() -> None:
    async def test(place: Place) -> None:
        reader, _ = await place.follow()
        await reader.readuntil(b": ping")
        await reader.readuntil(b": ping")
        await place.talk(1)
        await reader.readuntil(b"event: chunk")

    play(test, ping=0.05)


def test_who_does_not_read_holds_up_nobody_and_misses_nothing() -> None:
    count = 4000  # more than the sockets and the buffer of a feed hold

    async def test(place: Place) -> None:
        slow, _ = await place.follow()
        quick, _ = await place.follow()
        await place.talk(count)
        await place.talk(0)
        assert (await to_the_end(quick)).count(b"event: chunk") == count
        assert (await to_the_end(slow)).count(b"event: chunk") == count

    play(test)


def test_a_server_that_stops_ends_its_event_streams() -> None:
    async def test(place: Place) -> None:
        reader, _ = await place.follow()
        place.server.drain()
        rest = await reader.readuntil(b"0\r\n\r\n")
        assert b"event: end" not in rest

    play(test)
