"""The client that calls only where it may, against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stepwell.server.access import UrlError, UrlPolicy, guarded_client
from stepwell.server.access.guard import Resolve

HERE = UrlPolicy(networks=("127.0.0.0/8",), ports=None)


class Receiver:
    """A server that answers 200, and remembers what it was sent."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0
        self.open: dict[asyncio.Task[Any] | None, asyncio.StreamWriter] = {}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open[asyncio.current_task()] = writer
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode())
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@asynccontextmanager
async def receiver(
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    it = Receiver(answer)
    server = await asyncio.start_server(it, "127.0.0.1", 0, ssl=tls)
    it.port = server.sockets[0].getsockname()[1]
    async with server:
        yield it
        for writer in it.open.values():
            writer.close()
        await asyncio.gather(*(task for task in it.open if task is not None))


def at(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def run(test: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(main())


def test_a_call_goes_to_the_checked_address_under_the_name_of_the_url() -> None:
    async def test() -> None:
        async with receiver() as server, guarded_client(HERE, resolve=at("127.0.0.1")) as client:
            answer = await client.post(f"http://hooks.example:{server.port}/a?b=1", content=b"x")

            assert answer.text == "ok"
            assert answer.request.url.host == "hooks.example"
            assert server.requests[0].startswith("POST /a?b=1 HTTP/1.1\r\n")
            assert f"host: hooks.example:{server.port}\r\n" in server.requests[0].lower()

    run(test)


def test_a_name_that_moves_to_a_private_address_is_refused() -> None:
    async def test() -> None:
        asked = 0

        async def rebinding(host: str, port: int) -> Sequence[str]:
            nonlocal asked
            asked += 1
            return ["127.0.0.1"] if asked == 1 else ["10.0.0.1"]

        async with receiver() as server, guarded_client(HERE, resolve=rebinding) as client:
            await client.get(f"http://hooks.example:{server.port}/")
            assert asked == 1
            with pytest.raises(UrlError, match="not public"):
                await client.get(f"http://hooks.example:{server.port}/")
            assert len(server.requests) == 1

    run(test)


def test_a_redirect_is_not_followed_and_if_asked_for_it_is_checked() -> None:
    async def test() -> None:
        answer = b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n"
        async with receiver(answer) as server, guarded_client(HERE, resolve=at("127.0.0.1")) as client:
            url = f"http://hooks.example:{server.port}/"
            assert (await client.get(url)).status_code == 302
            with pytest.raises(UrlError, match="not public"):
                await client.get(url, follow_redirects=True)

    run(test)


def test_another_address_is_tried_where_nobody_listens() -> None:
    async def test() -> None:
        async with receiver() as server, guarded_client(HERE, resolve=at("127.0.0.2", "127.0.0.1")) as client:
            assert (await client.get(f"http://hooks.example:{server.port}/")).status_code == 200

    run(test)


def test_no_connection_is_used_twice() -> None:
    async def test() -> None:
        async with receiver() as server, guarded_client(HERE, resolve=at("127.0.0.1")) as client:
            for host in ("a.example", "b.example", "b.example"):
                await client.get(f"http://{host}:{server.port}/")
            assert server.connections == 3

    run(test)


def test_the_environment_does_not_choose_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with receiver() as proxy, receiver() as server:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            async with guarded_client(HERE, resolve=at("127.0.0.1")) as client:
                await client.get(f"http://hooks.example:{server.port}/")
            assert (len(proxy.requests), len(server.requests)) == (0, 1)

    run(test)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://user:pass@example.com/", "http://2130706433/"],
)
def test_what_may_not_be_called_is_not_called(url: str) -> None:
    async def test() -> None:
        async with guarded_client(UrlPolicy(), resolve=at("10.0.0.1")) as client:
            with pytest.raises(UrlError):
                await client.get(url)

    run(test)


def test_a_host_that_is_not_found_is_a_failure_to_connect() -> None:
    async def test() -> None:
        async with guarded_client(UrlPolicy(), resolve=at()) as client:
            with pytest.raises(httpx.ConnectError, match="has no address"):
                await client.get("https://example.com/")

    run(test)


@pytest.mark.parametrize("option", ["transport", "proxy", "follow_redirects", "trust_env", "mounts"])
def test_how_to_connect_cannot_be_changed(option: str) -> None:
    with pytest.raises(TypeError, match=f"decides over {option}"):
        guarded_client(UrlPolicy(), **{option: None})


def test_the_certificate_must_be_that_of_the_name_in_the_url(tmp_path: Path) -> None:
    async def test() -> None:
        server_side, client_side = certificate(tmp_path, "hooks.example")
        asked: list[str | None] = []
        server_side.sni_callback = lambda _, name, __: asked.append(name)
        async with (
            receiver(tls=server_side) as server,
            guarded_client(HERE, resolve=at("127.0.0.1"), verify=client_side) as client,
        ):
            assert (await client.get(f"https://hooks.example:{server.port}/")).status_code == 200
            with pytest.raises(httpx.ConnectError, match=r"not valid for 'other\.example'"):
                await client.get(f"https://other.example:{server.port}/")
        assert asked == ["hooks.example", "other.example"]

    run(test)


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server has that is called so, and a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem, secret)
    return server, ssl.create_default_context(cafile=str(pem))
