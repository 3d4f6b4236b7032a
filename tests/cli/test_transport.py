"""What a server does with connections before there is a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stepwell import Stepwell
from stepwell.cli.config import Found, Settings
from stepwell.cli.listening import bound_socket, is_loopback, url_of
from stepwell.cli.problems import CommandError
from stepwell.cli.transport import Gathering, Http, bounded
from stepwell.server import Server, ServerOptions
from tests.helpers import run

Talk = tuple[asyncio.StreamReader, asyncio.StreamWriter]
parsers = pytest.mark.parametrize("parser", [HttpToolsProtocol, H11Protocol])
ASK = b"GET /api/keys HTTP/1.1\r\nhost: localhost\r\n"


@asynccontextmanager
async def talk(parser: type[asyncio.Protocol] = HttpToolsProtocol, **settings: Any) -> AsyncIterator[Talk]:
    """A connection to a server."""
    found = {f"server.{name}": Found(value, "test") for name, value in settings.items()}
    async with Stepwell("memory://") as app:
        server = Server(app, ServerOptions(dev=True, max_headers=1000))
        http = Http(server, Settings(found), max_headers=1000, drain=10)
        http.config.http = bounded(parser)
        with bound_socket("127.0.0.1", 0) as listener:
            address = listener.getsockname()
            serving = asyncio.create_task(http.serve(sockets=[listener]))
            await http.started_up.wait()
            reader, writer = await asyncio.open_connection(*address[:2])
            try:
                yield reader, writer
            finally:
                writer.close()
                http.stop()
                await serving


async def answers(talk: Talk, count: int) -> list[bytes]:
    """The status lines of so many answers; each is read whole."""
    reader, _ = talk
    lines = []
    for _ in range(count):
        head = await reader.readuntil(b"\r\n\r\n")
        lines.append(head.partition(b"\r\n")[0])
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(length)
    return lines


@parsers
def test_heads_in_pieces_and_one_after_another_are_answered(parser: type[asyncio.Protocol]) -> None:
    async def test() -> list[bytes]:
        async with talk(parser) as (reader, writer):
            writer.write(ASK)
            await asyncio.sleep(0.01)
            writer.write(b"\r\n" + ASK + b"\r\n" + ASK)
            first = await answers((reader, writer), 2)
            writer.write(b"\r\n")
            return [*first, *await answers((reader, writer), 1)]

    assert run(test()) == [b"HTTP/1.1 200 OK"] * 3


@parsers
def test_an_endless_head_is_ended(parser: type[asyncio.Protocol]) -> None:
    async def test() -> int:
        sent = 0
        async with talk(parser) as (reader, writer):
            writer.write(ASK + b"x-long: ")
            ended = asyncio.create_task(reader.read())
            while not ended.done() and not writer.is_closing():
                writer.write(b"x" * 4096)
                sent += 4096
                await asyncio.sleep(0)
            with contextlib.suppress(ConnectionError):
                assert (await ended)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400")
        return sent

    assert run(test()) < 10_000_000


@parsers
@pytest.mark.parametrize("sent", [b"", ASK])
def test_a_head_that_does_not_come_is_not_waited_for(parser: type[asyncio.Protocol], sent: bytes) -> None:
    async def test() -> bytes:
        async with talk(parser, header_timeout=0.05) as (reader, writer):
            writer.write(sent)
            return await reader.read()

    assert run(test()) == b""


@parsers
def test_a_connection_is_kept_between_requests(parser: type[asyncio.Protocol]) -> None:
    async def test() -> list[bytes]:
        async with talk(parser, header_timeout=0.05) as (reader, writer):
            writer.write(ASK + b"\r\n")
            first = await answers((reader, writer), 1)
            await asyncio.sleep(0.1)
            writer.write(ASK + b"\r\n")
            return [*first, *await answers((reader, writer), 1)]

    assert run(test()) == [b"HTTP/1.1 200 OK"] * 2


def test_the_log_of_requests_keeps_tokens_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stepwell.requests")

    async def test() -> None:
        async with talk(access_log=True) as (reader, writer):
            for path in (b"/api/keys?access_token=st_secret", b"/hooks/hk_secret", b"/api/runs/r-1/tokens/hk_secret/x"):
                writer.write(b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path)
                await answers((reader, writer), 1)

    run(test())
    assert "127.0.0.1 GET /api/keys 401" in caplog.text
    assert "GET /hooks/*** 4" in caplog.text
    assert "GET /api/runs/r-1/tokens/*** 4" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_loopback_is_told_from_the_rest(host: str, url: str) -> None:
    with bound_socket(host, 0) as listener:
        assert url_of(listener).startswith(url)
        assert is_loopback(listener)
    with bound_socket("0.0.0.0", 0) as listener:
        assert not is_loopback(listener)


def test_a_port_that_is_taken_is_named() -> None:
    with bound_socket("127.0.0.1", 0) as other:
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} of 127.0.0.1 is taken; .* another --port"):
            bound_socket("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 65_536, "--port 65536: give a number up to 65535"),
        ("nowhere.invalid", 0, "--host nowhere.invalid: there is no such address"),
        ("192.0.2.1", 0, r"--host 192\.0\.2\.1 is no address of this machine"),
    ],
)
def test_addresses_that_cannot_be_are_named(host: str, port: int, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        bound_socket(host, port)


def test_what_is_written_in_one_turn_leaves_in_one_piece() -> None:
    async def main() -> None:
        wire = _Wire()
        gathering = Gathering(wire)  # type: ignore[arg-type]
        gathering.write(b"head ")
        gathering.write(b"body")
        assert wire.written == []
        await asyncio.sleep(0)
        gathering.write(b"last")
        gathering.close()
        await asyncio.sleep(0)
        assert wire.written == [b"head body", b"last", "closed"]

    run(main())


class _Wire:
    def __init__(self) -> None:
        self.written: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.written.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.written
