"""The HTTP API under load: a server in a process of its own, and connections that each ask again when answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Answer, contend, percentile

_BODY = json.dumps(
    {
        "workflowId": "one_step",
        "workflowVersion": "1",
        "input": 1,
        "tenantMeta": {"tenantId": "t", "projectId": "p", "organizationId": "o"},
        "environment": "production",
    }
).encode()


def starts(*, kind: str, requests: int, connections: int, waits: bool) -> Answer:
    """POST /api/runs: until the run has ended (`waits`), or until it is durable."""
    with _server(kind) as port:
        asyncio.run(Load(port, connections, requests // 5, waits=waits).run())
        load = Load(port, connections, requests, waits=waits)
        seconds = asyncio.run(load.run())
    wanted = 200 if waits else 202
    others = {status: count for status, count in load.statuses.items() if status != wanted}
    if others:
        raise SystemExit(f"answers other than {wanted}: {others}; the first: {load.first_other[:500]!r}")
    return {
        "runs/s": requests / seconds,
        "p50 ms": percentile(load.seconds, 50) * 1000,
        "p99 ms": percentile(load.seconds, 99) * 1000,
    }


@contextlib.contextmanager
def _server(kind: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", *_command(kind, port)])
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _command(kind: str, port: int) -> list[str]:
    """As users serve: with a worker in the same process, or without."""
    if kind == "limit":
        return ["benchmarks.web_server", str(port)]
    flows = str(Path(__file__).parent / "web_flows.py")
    worker = "--worker" if kind == "worker" else "--no-worker"
    return ["stepwell", "serve", flows, "--dev", worker, "--backend", "sqlite:///runs.db", "--port", str(port)]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.perf_counter() + 30
    while time.perf_counter() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"the server did not come up on port {port}")


class Load:
    """So many requests over so many connections."""

    def __init__(self, port: int, connections: int, requests: int, *, waits: bool) -> None:
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.first_other = b""
        self.left = requests
        self.request = _request(port, waits=waits)
        self._port = port
        self._connections = connections
        self._open = 0
        self._is_over = asyncio.Event()

    async def run(self) -> float:
        """Answers how long (s) it took."""
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        self._open = self._connections
        for _ in range(self._connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        await self._is_over.wait()
        return time.perf_counter() - begun

    def answered(self, status: int, seconds: float, answer: bytes) -> None:
        """One answer came."""
        self.statuses[status] += 1
        self.seconds.append(seconds)
        if status not in (200, 202) and not self.first_other:
            self.first_other = answer

    def closed(self) -> None:
        """A connection has nothing more to ask."""
        self._open -= 1
        if not self._open:
            self._is_over.set()


def _request(port: int, *, waits: bool) -> bytes:
    lines = [
        "POST /api/runs HTTP/1.1",
        f"Host: localhost:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(_BODY)}",
        *([] if waits else ["Prefer: respond-async"]),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + _BODY


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "of a TCP connection"
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.index(b"content-length: ") + 16
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        answer, self._buffer = self._buffer, b""
        self._load.answered(int(answer[9:12]), time.perf_counter() - self._asked_at, answer)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.closed()

    def _ask(self) -> None:
        if self._load.left <= 0:
            self._transport.close()
            return
        self._load.left -= 1
        self._asked_at = time.perf_counter()
        self._transport.write(self._load.request)


if __name__ == "__main__":
    contend({"starts": starts})
