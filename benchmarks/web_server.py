"""What uvicorn and SQLite allow: `python -m benchmarks.web_server <port>`, beside which `web` puts ours."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn


class Limit:
    """No framework: one insert per request, one transaction for all that wait."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("limit.db", isolation_level=None, check_same_thread=False)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = full")
        self._database.execute("create table runs (no integer primary key, body blob)")
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        body = (await receive())["body"]
        json.loads(body)
        loop = asyncio.get_running_loop()
        durable = loop.create_future()
        self._waiting.append((body, durable))
        if self._task is None:
            self._task = loop.create_task(self._commit())
        await durable
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    async def _commit(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            await asyncio.to_thread(self._insert, [(body,) for body, _ in group])
            for _, durable in group:
                durable.set_result(None)
        self._task = None

    def _insert(self, rows: list[tuple[bytes]]) -> None:
        self._database.execute("begin immediate")
        self._database.executemany("insert into runs (body) values (?)", rows)
        self._database.execute("commit")


_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


def main() -> None:
    """Serve until somebody stops it."""
    port = int(sys.argv[1])
    uvicorn.run(Limit(), port=port, log_level="warning", access_log=False, proxy_headers=False, backlog=4096)


if __name__ == "__main__":
    main()
