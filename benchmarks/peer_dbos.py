"""The peer: DBOS Transact for Python, as it comes, on its SQLite default."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from dbos import DBOS  # type: ignore[import-not-found,unused-ignore]

from benchmarks.measuring import Answer, Stopwatch, contend, percentile


@DBOS.step()  # type: ignore[untyped-decorator,unused-ignore]
async def add_one(n: int) -> int:
    return n + 1


@DBOS.workflow()  # type: ignore[untyped-decorator,unused-ignore]
async def counting(steps: int) -> int:
    n = 0
    for _ in range(steps):
        n = await add_one(n)
    return n


def launched(work: Callable[[], Awaitable[Answer]]) -> Answer:
    async def scenario() -> Answer:
        config = {"name": "bench", "system_database_url": "sqlite:///dbos.sqlite", "log_level": "ERROR"}
        DBOS(config=config)
        DBOS.launch()
        try:
            await (await DBOS.start_workflow_async(counting, 1)).get_result()
            return await work()
        finally:
            DBOS.destroy()

    return asyncio.run(scenario())


def sequential(steps: int) -> Answer:
    async def work() -> Answer:
        watch = Stopwatch()
        await (await DBOS.start_workflow_async(counting, steps)).get_result()
        return watch.rate(steps)

    return launched(work)


def concurrent(runs: int, steps: int) -> Answer:
    async def work() -> Answer:
        watch = Stopwatch()
        handles = [await DBOS.start_workflow_async(counting, steps) for _ in range(runs)]
        for handle in handles:
            await handle.get_result()
        return watch.rate(runs * steps)

    return launched(work)


def latency(times: int) -> Answer:
    async def work() -> Answer:
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            await counting(1)
            taken.append((time.perf_counter() - started) * 1000)
        return {"result p50 ms": percentile(taken, 50), "result p99 ms": percentile(taken, 99)}

    return launched(work)


if __name__ == "__main__":
    contend({"sequential": sequential, "concurrent": concurrent, "latency": latency})
