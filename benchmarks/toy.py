"""The toy: a durable engine without features, the practical ceiling for CPython.

It journals each result before the next step starts, shares commits between runs, and resumes after a crash. It has no
types, retries, timers, messages, leases, names, timings or second process.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections import deque
from typing import Any

from benchmarks.limit import opened
from benchmarks.measuring import Answer, Stopwatch, contend, percentile


class Toy:
    """One file, one loop; what waits in one turn of the loop is committed together."""

    def __init__(self, path: str, *, relaxed: bool = False) -> None:
        try:
            self._connection = opened(path, relaxed=relaxed)
        except sqlite3.OperationalError:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("pragma synchronous = full")
        self._rows: list[tuple[int, bytes]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def create(self, runs: list[int]) -> None:
        heads = [(run, f"run-{run}", '{"status":"running"}') for run in runs]
        self._connection.execute("begin immediate")
        self._connection.executemany("insert into runs (no, id, head) values (?, ?, ?)", heads)
        self._connection.execute("commit")

    def unfinished(self) -> dict[int, deque[Any]]:
        """The runs that have not ended, with what they know."""
        found: dict[int, deque[Any]] = {
            no: deque() for (no,) in self._connection.execute("select no from runs where head like '%running%'")
        }
        for pos, body in self._connection.execute("select pos, body from frames order by pos"):
            if pos >> 24 in found:
                found[pos >> 24].append(json.loads(body)["value"])
        return found

    def finish(self, runs: list[int]) -> None:
        self._connection.execute("begin immediate")
        rows = [('{"status":"done"}', run) for run in runs]
        self._connection.executemany("update runs set head = ? where no = ?", rows)
        self._connection.execute("commit")

    def write(self, pos: int, value: Any) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._rows:
            loop.call_soon(self._flush)
        self._rows.append((pos, json.dumps({"name": "add_one", "attempt": 1, "value": value}).encode()))
        future = loop.create_future()
        self._waiting.append(future)
        return future

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        waiting, self._waiting = self._waiting, []
        self._connection.execute("begin immediate")
        self._connection.executemany("insert into frames (pos, body) values (?, ?)", rows)
        self._connection.execute("commit")
        for future in waiting:
            future.set_result(None)


async def add_one(n: int, delay: float = 0) -> int:
    if delay:
        await asyncio.sleep(delay)
    return n + 1


async def counting(toy: Toy, run: int, steps: int, known: deque[Any], delays: random.Random | None = None) -> int:
    n = 0
    for step in range(1, steps + 1):
        if known:
            n = known.popleft()
            continue
        n = await add_one(n, 0 if delays is None else delays.random() / 100)
        await toy.write(run << 24 | step, n)
    return run


def drive(toy: Toy, runs: int, steps: int, delays: random.Random | None = None) -> Answer:
    async def all_runs() -> None:
        toy.create(list(range(runs)))
        work = [asyncio.create_task(counting(toy, run, steps, deque(), delays)) for run in range(runs)]
        toy.finish(await asyncio.gather(*work))

    watch = Stopwatch()
    asyncio.run(all_runs())
    return watch.rate(runs * steps)


def sequential(steps: int, relaxed: bool = False) -> Answer:
    return drive(Toy("toy.db", relaxed=relaxed), 1, steps)


def concurrent(runs: int, steps: int) -> Answer:
    return drive(Toy("toy.db"), runs, steps)


def staggered(runs: int, steps: int) -> Answer:
    return drive(Toy("toy.db"), runs, steps, random.Random(7))


def memory(runs: int, steps: int) -> Answer:
    return drive(Toy(":memory:"), runs, steps)


def latency(times: int, relaxed: bool = False) -> Answer:
    async def starts() -> list[float]:
        toy = Toy("toy.db", relaxed=relaxed)
        taken = []
        for run in range(times):
            watch = Stopwatch()
            toy.create([run])
            await counting(toy, run, 1, deque())
            taken.append(watch.seconds * 1000)
        return taken

    taken = asyncio.run(starts())
    return {"result p50 ms": percentile(taken, 50), "result p99 ms": percentile(taken, 99)}


def recovery(runs: int) -> Answer:
    """Runs that know five of ten results; the crash is that nothing was closed."""
    toy = Toy("toy.db")

    async def cut() -> None:
        toy.create(list(range(runs)))
        await asyncio.gather(*(counting(toy, run, 5, deque()) for run in range(runs)))

    async def resume(again: Toy) -> None:
        known = again.unfinished()
        again.finish(await asyncio.gather(*(counting(again, run, 10, values) for run, values in known.items())))

    asyncio.run(cut())
    watch = Stopwatch()
    asyncio.run(resume(Toy("toy.db")))
    return {"seconds": watch.seconds}


if __name__ == "__main__":
    contend(
        {
            "sequential": sequential,
            "concurrent": concurrent,
            "staggered": staggered,
            "memory": memory,
            "latency": latency,
            "recovery": recovery,
        }
    )
