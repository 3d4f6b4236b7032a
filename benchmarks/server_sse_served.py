"""The server that `server_sse` follows: `python -m benchmarks.server_sse_served <kind> <port> <options>`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from stepwell import Context, Event, Stepwell, Stream, current_step, step, workflow
from stepwell.runtime.options import WorkerOptions

_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]

GO = Event("go", int)
TIMES = Stream("times", int)


@step
async def report(number: int, events: int, every: float) -> None:
    """Chunks with the time."""
    await asyncio.sleep(every * (number % 97) / 97)
    for _ in range(events):
        current_step().send(TIMES, time.monotonic_ns())
        await asyncio.sleep(every)


@step
async def tell(every: float) -> int:
    """A result that is the time."""
    await asyncio.sleep(every)
    return time.monotonic_ns()


@workflow
async def chunks(ctx: Context, options: dict[str, Any]) -> None:
    await ctx.receive(GO)
    await report(options["number"], options["events"], options["every"])


@workflow
async def results(ctx: Context, options: dict[str, Any]) -> None:
    await ctx.receive(GO)
    await ctx.sleep(options["every"] * (options["number"] % 97) / 97)
    for _ in range(options["events"]):
        await tell(options["every"])


class Measured:
    """An application, and how long it has worked since the event was published."""

    def __init__(self, inner: Any, prepare: Callable[[], Any]) -> None:
        self._inner = inner
        self._lifespan = prepare
        self._since = 0.0

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """ASGI."""
        path = scope.get("path", "")
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif path == "/cpu":
            await answer(send, str(time.process_time() - self._since).encode())
        elif path == "/ready":
            await answer(send, b"yes")
        else:
            if path == "/api/publish/go":
                self._since = time.process_time()
            await self._inner(scope, receive, send)

    async def _live(self, receive: _Receive, send: _Send) -> None:
        await receive()
        async with self._lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def answer(send: _Send, body: bytes) -> None:
    """A whole one."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def ours(options: dict[str, Any]) -> Measured:
    """The API over SQLite, flushed to disk, with a worker in the same process."""
    app = Stepwell(
        "sqlite:///runs.db", include=[chunks, results, report, tell], worker_options=WorkerOptions(concurrency=2000)
    )
    server = app.asgi(dev=True)

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        async with app, app.worker():
            for number in range(options["runs"]):
                await app.start(options["what"], {**options, "number": number}, id=f"r{number}")
            yield

    return Measured(server, opened)


class Limit:
    """What uvicorn allows: nothing is stored or looked at, each client waits for the next bytes."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._clients: list[asyncio.Queue[bytes]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """ASGI."""
        if scope["path"] == "/api/publish/go":
            self._task = asyncio.get_running_loop().create_task(self._report())
            await answer(send, b"{}")
            return
        mine: asyncio.Queue[bytes] = asyncio.Queue()
        self._clients.append(mine)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while True:
            await send({"type": "http.response.body", "body": await mine.get(), "more_body": True})

    async def _report(self) -> None:
        for number in range(self._options["events"]):
            now = time.monotonic_ns()
            data = b'id: %d\nevent: chunk\ndata: {"index":%d,"value":%d,"source":"report"}\n\n' % (number, number, now)
            for client in self._clients:
                client.put_nowait(data)
            await asyncio.sleep(self._options["every"])


def main() -> None:
    """Serve until somebody stops it."""
    kind, port, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    if kind == "limit":

        @asynccontextmanager
        async def nothing() -> AsyncIterator[None]:
            yield

        served = Measured(Limit(options), nothing)
    else:
        served = ours(options)
    uvicorn.run(
        served,
        port=port,
        log_level="warning",
        access_log=False,
        backlog=4096,
        timeout_graceful_shutdown=1,  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    main()
