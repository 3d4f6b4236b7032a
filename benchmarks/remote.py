"""Bodies that live elsewhere: a worker in a process of its own, asked over HTTP, beside the bare calls."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx

from benchmarks.measuring import Answer, contend
from stepwell import RunError, Stepwell, Target
from stepwell.ports import Wanted
from stepwell.runtime.options import WorkerOptions

FILE = "remote.db"
_BLOCKS = 4
"""Ours and the bare calls take turns, so that a noisy second hits both."""


def steps(runs: int, steps: int, at_a_time: int, memory: bool = False) -> Answer:
    """Runs of one invocation each, beside as many bare calls with the same bytes."""
    with _worker() as url:
        return asyncio.run(_steps(url, runs, steps, at_a_time, "memory://" if memory else f"sqlite:///{FILE}"))


async def _steps(url: str, runs: int, steps: int, at_a_time: int, backend: str) -> Answer:
    body, headers = await _captured(steps)
    ours = bare = pooled = 0.0
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(_app(backend, url, at_a_time))
        pool = [await stack.enter_async_context(_client(at_a_time))] * at_a_time
        own = [await stack.enter_async_context(_client(1)) for _ in range(at_a_time)]
        await _ours(app, at_a_time, steps)
        for clients in (pool, own):
            await _bare(clients, url, body, headers, 2 * at_a_time)
        for _ in range(_BLOCKS):
            bare += await _bare(own, url, body, headers, runs // _BLOCKS)
            ours += await _ours(app, runs // _BLOCKS, steps)
            pooled += await _bare(pool, url, body, headers, runs // _BLOCKS)
    return {
        "ours/bare": ours / bare,
        "ours/pooled": ours / pooled,
        "runs/s": runs / ours,
        "bare calls/s": runs / bare,
        "pooled calls/s": runs / pooled,
    }


def _app(backend: str, url: str, at_a_time: int) -> Stepwell:
    options = WorkerOptions(concurrency=at_a_time)
    target = Target(url, workflows=["steps", "waits"], concurrency=at_a_time)
    return Stepwell(backend, targets=[target], worker_options=options)


def _client(at_a_time: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=at_a_time, max_keepalive_connections=at_a_time)
    return httpx.AsyncClient(timeout=None, limits=limits, headers={"accept-encoding": "identity"}, trust_env=False)


async def _ours(app: Stepwell, runs: int, steps: int) -> float:
    """Until all have their results."""
    started = time.perf_counter()
    handles = await app.start_many("steps", [steps] * runs)
    await asyncio.gather(*(handle.result() for handle in handles))
    return time.perf_counter() - started


async def _bare(clients: list[httpx.AsyncClient], url: str, body: bytes, headers: dict[str, str], calls: int) -> float:
    """The same requests, by the same library, and nothing else. A client for each caller costs less than one pool for
    all, which looks through its connections at each call."""
    left = iter(range(calls))

    async def caller(client: httpx.AsyncClient) -> None:
        for _ in left:
            answer = await client.post(url, content=body, headers=headers)
            assert answer.status_code == 200, answer.text

    started = time.perf_counter()
    await asyncio.gather(*(caller(client) for client in clients))
    return time.perf_counter() - started


async def _captured(steps: int) -> tuple[bytes, dict[str, str]]:
    """A request as it goes over the wire."""
    seen: list[tuple[bytes, dict[str, str]]] = []

    async def keep(body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        seen.append((body, dict(headers)))
        return 404, {}, b"{}"

    async with Stepwell("memory://", targets=[Target(keep, workflows=["steps"])]) as app:
        with contextlib.suppress(RunError):  # the worker does not know it
            await (await app.start("steps", steps)).result()
    return seen[0]


def waits(counts: list[int], memory: bool = False) -> Answer:
    """One run that waits so often: what a wait costs on the wire, in the store, and in time."""
    answer: dict[str, float] = {}
    with _worker() as url:
        for count in counts:
            answer |= asyncio.run(_waits(url, count, "memory://" if memory else f"sqlite:///{FILE}"))
    least, most = min(counts), max(counts)
    for what in ("store bytes/wait", "ms/wire MB"):
        answer[f"{what}, {most}/{least}"] = answer[f"{what} at {most}"] / answer[f"{what} at {least}"]
    return answer


async def _waits(url: str, count: int, backend: str) -> Answer:
    async with _app(backend, url, 50) as app, _client(1) as client:
        before = (await client.get(url)).json()
        started = time.perf_counter()
        handle = await app.start("waits", count)
        assert await handle.result() == count
        seconds = time.perf_counter() - started
        after = (await client.get(url)).json()
        (loaded,) = await app.backend.store.load([Wanted(handle.id, -1)])
        assert loaded is not None
        stored = sum(len(body) for _, body in loaded.frames)
    assert after["calls"] - before["calls"] == count + 1
    wire = after["received"] - before["received"] + after["sent"] - before["sent"]
    return {
        f"ms/wait at {count}": seconds * 1000 / count,
        f"ms/wire MB at {count}": seconds * 1e9 / wire,
        f"wire kB/wait at {count}": wire / count / 1000,
        f"store bytes/wait at {count}": stored / count,
    }


@contextlib.contextmanager
def _worker() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.remote_worker", str(port)])
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}/__voyant/workflow-step"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.perf_counter() + 30
    while time.perf_counter() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"the worker did not come up on port {port}")


if __name__ == "__main__":
    contend({"steps": steps, "waits": waits})
