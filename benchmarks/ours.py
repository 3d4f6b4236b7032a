"""Stepwell itself: how many steps, and how soon."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.limit import pace
from benchmarks.measuring import Answer, Stopwatch, contend, file_bytes, percentile
from stepwell import Context, Stepwell, step, workflow
from stepwell.runtime.options import WorkerOptions

FILE = "ours.db"
STARTED_AT: list[float] = []
MARKS: list[float] = []


@step
async def add_one(n: int) -> int:
    return n + 1


@step
async def add_one_later(n: int, delay: float) -> int:
    await asyncio.sleep(delay)
    return n + 1


@step
async def tell_time(n: int) -> int:
    STARTED_AT.append(time.perf_counter())
    return n


@workflow
async def counting(ctx: Context, steps: int) -> int:
    n = 0
    for _ in range(steps):
        n = await add_one(n)
    return n


@workflow
async def staggering(ctx: Context, steps: int) -> int:
    n = 0
    for _ in range(steps):
        n = await add_one_later(n, ctx.random.random() / 100)
    return n


@workflow
async def pacing(ctx: Context, steps: int) -> int:
    n = 0
    for _ in range(steps):
        n = await add_one(n)
        MARKS.append(time.perf_counter())
    return n


@workflow
async def telling(ctx: Context, n: int) -> int:
    return await tell_time(n)


def opened(work: Callable[[Stepwell], Awaitable[Answer]], url: str, concurrency: int = 1000) -> Answer:
    """Run `work` with an app and a warm worker."""

    async def scenario() -> Answer:
        options = WorkerOptions(concurrency=concurrency)
        async with Stepwell(url, include=[sys.modules[__name__]], worker_options=options) as app:
            await (await app.start(counting, 10)).result()
            return await work(app)

    return asyncio.run(scenario())


def url_of(relaxed: bool = False) -> str:
    return f"sqlite:///{FILE}" + ("?relaxed=1" if relaxed else "")


async def all_of(app: Stepwell, flow: Any, runs: int, steps: int) -> None:
    handles = await app.start_many(flow, [steps] * runs)
    await asyncio.gather(*(handle.result() for handle in handles))


def sequential(steps: int, relaxed: bool = False) -> Answer:
    async def work(app: Stepwell) -> Answer:
        watch = Stopwatch()
        await (await app.start(counting, steps)).result()
        return watch.rate(steps)

    return opened(work, url_of(relaxed))


def concurrent(runs: int, steps: int, url: str = "", flow: Any = counting) -> Answer:
    async def work(app: Stepwell) -> Answer:
        watch = Stopwatch()
        await all_of(app, flow, runs, steps)
        return watch.rate(runs * steps)

    return opened(work, url or url_of())


def staggered(runs: int, steps: int) -> Answer:
    return concurrent(runs, steps, flow=staggering)


def memory(runs: int, steps: int) -> Answer:
    return concurrent(runs, steps, url="memory://")


def sustained(runs: int, total: int) -> Answer:
    """Long-lived runs that grow side by side; the pace is looked at once per round of all runs."""

    async def work(app: Stepwell) -> Answer:
        await all_of(app, pacing, runs, total // runs)
        return pace(MARKS[::runs], runs)

    return opened(work, url_of())


def latency(times: int, relaxed: bool = False) -> Answer:
    """One idle app; runs of one step, one after the other."""

    async def work(app: Stepwell) -> Answer:
        first, whole = [], []
        for n in range(times):
            started = time.perf_counter()
            await (await app.start(telling, n)).result()
            whole.append((time.perf_counter() - started) * 1000)
            first.append((STARTED_AT[-1] - started) * 1000)
        return {
            "first step p50 ms": percentile(first, 50),
            "first step p99 ms": percentile(first, 99),
            "result p50 ms": percentile(whole, 50),
            "result p99 ms": percentile(whole, 99),
        }

    return opened(work, url_of(relaxed))


def counts(runs: int, steps: int) -> Answer:
    """What the store is asked to do. Numbers that no noise moves."""

    async def work(app: Stepwell) -> Answer:
        stats: Any = app.backend.store.inner.stats  # type: ignore[attr-defined]
        before = (stats.transactions, stats.statements, stats.rows, file_bytes(FILE))
        await all_of(app, counting, runs, steps)
        after = (stats.transactions, stats.statements, stats.rows, file_bytes(FILE))
        names = ("transactions/step", "statements/step", "rows/step", "file bytes/step")
        total = runs * steps
        return {name: (now - then) / total for name, now, then in zip(names, after, before, strict=True)}

    return opened(work, url_of())


if __name__ == "__main__":
    contend(
        {
            "sequential": sequential,
            "concurrent": concurrent,
            "staggered": staggered,
            "memory": memory,
            "sustained": sustained,
            "latency": latency,
            "counts": counts,
        }
    )
