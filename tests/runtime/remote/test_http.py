"""Workers at a URL: real sockets, and a server that says exactly which bytes there are."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.runtime.remote.elsewhere import EMPTY

from stepwell import Retry, RunError, Stepwell
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.model.failures import Failure
from stepwell.runtime.remote.http import HttpSender
from stepwell.runtime.remote.targets import Target

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
DONE = json.dumps(
    {"status": "completed", "output": 7, "metadataUpdates": [], "journal": EMPTY, "streamChunks": []}
).encode()


class Server:
    """Counts connections and requests; `answer` writes what follows a request."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.connections = 0
        self.requests: list[bytes] = []
        self.hung_up = asyncio.Event()
        self.url = ""
        self.tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                self.requests.append(head)
                await self.answer(head, writer)
                await writer.drain()
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        finally:
            self.tasks.discard(task)
            writer.close()


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    """A server on a free port."""
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/step"
        try:
            yield server
        finally:
            for task in [*server.tasks]:
                task.cancel()
            await asyncio.gather(*server.tasks, return_exceptions=True)


def reply(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """The same answer to all."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "content-type: application/json", *headers, "", ""]

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + body)

    return answer


async def failure(target: Target, attempts: int = 1) -> Failure:
    """Why a run for this target fails."""
    retry = Retry(attempts=attempts, first_delay=0)
    async with Stepwell("memory://", include=[RemoteWorkflow("pay", worker_retry=retry)], targets=[target]) as app:
        with pytest.raises(RunError) as caught:
            await (await app.start("pay")).result(timeout="20s")
        assert isinstance(caught.value.error, Failure)
        return caught.value.error


def to(server: Server, **options: Any) -> Target:
    return Target(server.url, workflows=["pay"], **options)


def test_connections_are_kept_and_used_again() -> None:
    async def main() -> None:
        async with serving(reply(DONE)) as server, Stepwell("memory://", targets=[to(server)]) as app:
            for _ in range(3):
                assert await (await app.start("pay")).result(timeout="20s") == 7
            assert (server.connections, len(server.requests)) == (1, 3)

    asyncio.run(main())


def test_connections_are_let_go_before_common_servers_close_them() -> None:
    """Node and uvicorn do after 5 seconds; a call into a connection that is just being closed is a failed attempt."""
    sender = HttpSender("http://127.0.0.1/step", connect=1, trust_env=False)

    assert sender._options["limits"].keepalive_expiry <= 4


def test_requests_are_posts_that_want_no_compression() -> None:
    async def main() -> None:
        async with serving(reply(DONE)) as server, Stepwell("memory://", targets=[to(server)]) as app:
            await (await app.start("pay")).result(timeout="20s")
            head = server.requests[0].decode().lower()
            assert head.startswith("post /step http/1.1\r\n")
            assert "accept-encoding: identity\r\n" in head
            assert "x-voyant-protocol: 1\r\n" in head

    asyncio.run(main())


def test_redirects_are_not_followed() -> None:
    async def main() -> None:
        async with serving(reply(DONE)) as inside:
            there = reply(b"", "307 Temporary Redirect", f"location: {inside.url}")
            async with serving(there) as server:
                found = await failure(to(server), attempts=3)
                assert (found.code, len(server.requests), len(inside.requests)) == ("handler_error", 1, 0)
                told = (
                    f"HTTP 307 redirects to {inside.url}, which is not followed; if that is the worker, give its target"
                )
                assert found.message == f"{told} that URL (target {server.url})"

    asyncio.run(main())


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(reply(b"{}", "502 Bad Gateway")) as proxy, serving(reply(DONE)) as server:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            async with Stepwell("memory://", targets=[to(server)]) as app:
                assert await (await app.start("pay")).result(timeout="20s") == 7
            assert proxy.requests == []
            found = await failure(to(server, trust_env=True))
            assert "tenant returned HTTP 502" in found.message

    asyncio.run(main())


def test_nobody_there_is_retried_and_then_told() -> None:
    async def main() -> None:
        async with serving(reply(DONE)) as server:
            target = to(server)
        found = await failure(target, attempts=2)
        assert (found.code, found.attempts) == ("handler_error", 2)
        assert "ConnectError" in found.message
        assert found.message.endswith(f"(target {server.url})")

    asyncio.run(main())


def test_a_connection_that_breaks_in_the_middle_is_a_fault_of_the_worker() -> None:
    async def cut(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n" + DONE[:40])
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with serving(cut) as server:
            found = await failure(to(server))
            assert (found.code, "the answer broke off" in found.message) == ("handler_error", True)

    asyncio.run(main())


def test_a_gigabyte_is_not_read() -> None:
    written = 0

    async def much(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(16384):
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()
            written += 65536

    async def main() -> None:
        async with serving(much) as server:
            found = await failure(to(server, max_answer=1_000_000))
            assert (found.code, "has more than the 1000000 bytes" in found.message) == ("invalid_response", True)
        assert written < 100_000_000

    asyncio.run(main())


def test_an_answer_that_says_it_is_too_large_is_not_read_at_all() -> None:
    async def main() -> None:
        async with serving(reply(b" " * 5000)) as server:
            found = await failure(to(server, max_answer=2000))
            assert "the answer has 5000 bytes, and may have 2000" in found.message

    asyncio.run(main())


async def _nothing(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def test_a_worker_that_never_answers_is_given_up_after_its_time() -> None:
    async def main() -> None:
        async with serving(_nothing) as server:
            found = await failure(to(server, timeout="100ms"))
            assert found.message == f"tenant did not answer within 100ms (target {server.url})"

    asyncio.run(main())


def test_an_answer_that_stops_in_the_middle_is_given_up() -> None:
    async def stuck(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
        await writer.drain()
        await asyncio.Event().wait()

    async def main() -> None:
        async with serving(stuck) as server:
            found = await failure(to(server, idle_timeout="100ms"))
            assert "nothing came for 0.1 s in the middle of its answer" in found.message

    asyncio.run(main())


def test_cancelling_a_run_closes_the_connection() -> None:
    async def hang(_: bytes, writer: asyncio.StreamWriter) -> None:
        asked.set()

    asked = asyncio.Event()

    async def main() -> None:
        async with serving(hang) as server, Stepwell("memory://", targets=[to(server)]) as app:
            handle = await app.start("pay")
            await asked.wait()
            await handle.cancel("enough")
            async with asyncio.timeout(10):
                await server.hung_up.wait()
            with pytest.raises(RunError):
                await handle.result(timeout="20s")

    asyncio.run(main())


def test_a_target_that_goes_away_is_called_no_more() -> None:
    async def main() -> None:
        async with serving(reply(DONE)) as old, serving(reply(DONE)) as new:
            first = to(old)
            async with Stepwell("memory://", targets=[first]) as app:
                await (await app.start("pay")).result(timeout="20s")
                app.targets.remove(first)
                app.targets.add(to(new))
                await (await app.start("pay")).result(timeout="20s")
                async with asyncio.timeout(10):
                    await old.hung_up.wait()
            assert (len(old.requests), len(new.requests)) == (1, 1)

    asyncio.run(main())


def test_no_more_calls_go_on_at_a_time_than_the_target_takes() -> None:
    most = now = 0

    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        await reply(DONE)(b"", writer)

    async def main() -> None:
        async with serving(slow) as server, Stepwell("memory://", targets=[to(server, concurrency=3)]) as app:
            handles = [await app.start("pay") for _ in range(12)]
            await asyncio.gather(*(handle.result(timeout="20s") for handle in handles))
            assert server.connections <= 3

    asyncio.run(main())
    assert most == 3
