"""Event streams: from a step to the clients that follow. The server and the clients are processes of their own.

The time begins when a step hands out its chunk, or its result, so the commit is in it. It ends when the bytes are read
from the client's socket.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from benchmarks.measuring import Answer, contend, percentile

_TIMES = re.compile(rb'"value":(\d{9,})')
_SETTLE_S = 2.0


def follow(*, kind: str, subscribers: int, runs: int, events: int, every: float, what: str = "chunks") -> Answer:
    """So many clients, evenly over so many runs, each of which reports `events` times, once in `every` seconds."""
    with _server(kind, {"runs": runs, "events": events, "every": every, "what": what}) as port:
        clients = Clients(port, [number % runs for number in range(subscribers)], what)
        clients.read(_SETTLE_S)
        clients.latencies.clear()
        _post(port, "/api/publish/go", b"1")
        clients.read(60 + 3 * events * every, until=subscribers * events)
        cpu = _cpu_of(port)
        clients.close()
    found = clients.latencies
    if len(found) < subscribers * events:
        raise SystemExit(f"{len(found)} events of {subscribers * events} came")
    return {
        "p50 ms": percentile(found, 50) * 1000,
        "p99 ms": percentile(found, 99) * 1000,
        "last ms": max(found) * 1000,
        "server us/event": cpu * 1e6 / len(found),
    }


class Clients:
    """Sockets that ask for event streams, read by one loop that does nothing else."""

    def __init__(self, port: int, runs: list[int], what: str) -> None:
        self.latencies: list[float] = []
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        path = "events" if what == "results" else "streams/times"
        for number in runs:
            client = socket.create_connection(("127.0.0.1", port))
            request = f"GET /api/runs/r{number}/{path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            client.sendall(request.encode())
            client.setblocking(False)
            self._poll.register(client.fileno(), select.EPOLLIN)
            self._sockets[client.fileno()] = client

    def close(self) -> None:
        """Go away."""
        for client in self._sockets.values():
            client.close()

    def read(self, seconds: float, *, until: int | None = None) -> None:
        """Read for so long, or until so many events have come."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and (until is None or len(self.latencies) < until):
            came: list[tuple[int, bytes]] = []
            for number, _ in self._poll.poll(left, 100):
                data = self._sockets[number].recv(65536)
                came.append((time.monotonic_ns(), data))
                if not data:
                    self._poll.unregister(number)
            for at, data in came:
                self.latencies += [(at - int(sent)) / 1e9 for sent in _TIMES.findall(data)]


@contextlib.contextmanager
def _server(kind: str, options: dict[str, object]) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "benchmarks.server_sse_served", kind, str(port), json.dumps(options)]
    process = subprocess.Popen(command)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
                break
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _post(port: int, path: str, body: bytes) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=body, headers={"content-type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=60).close()


def _cpu_of(port: int) -> float:
    """Seconds that the server has worked since it was asked to begin."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/cpu", timeout=60) as answer:
        return float(answer.read())


if __name__ == "__main__":
    contend({"follow": follow})
