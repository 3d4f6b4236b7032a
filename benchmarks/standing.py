"""Stepwell over time: after a crash, with many runs that wait, with long histories, when there is nothing to do."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc

from msgspec import Raw

from benchmarks.measuring import Answer, Stopwatch, contend, percentile, rss_mb, timed
from stepwell import Context, Signal, Stepwell, step, workflow
from stepwell.model.entries import Created, Frame, FrameCodec
from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import Head, Wait
from stepwell.ports import NewRun
from stepwell.runtime.options import WorkerOptions

FILE = "standing.db"
URL = f"sqlite:///{FILE}"
go_on = Signal("go on", int)
is_cut = False
reached = 0


@step
async def add_one(n: int) -> int:
    return n + 1


@step
async def add_one_or_hang(n: int) -> int:
    global reached
    if is_cut:
        reached += 1
        await asyncio.Event().wait()
    return n + 1


@workflow
async def crashing(ctx: Context, n: int) -> int:
    for _ in range(5):
        n = await add_one(n)
    n = await add_one_or_hang(n)
    for _ in range(4):
        n = await add_one(n)
    return n


@workflow
async def waiting(ctx: Context, steps: int) -> int:
    n = 0
    for _ in range(steps):
        n = await add_one(n)
    return n + await ctx.receive(go_on)


def app_of(url: str = URL, **options: int) -> Stepwell:
    return Stepwell(url, include=[sys.modules[__name__]], worker_options=WorkerOptions(**options))  # type: ignore[arg-type]


def count_of(status: str) -> int:
    with sqlite3.connect(FILE) as connection:
        return int(connection.execute("select count(*) from runs where status = ?", (status,)).fetchone()[0])


def in_process_of_its_own(work: str, runs: int) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.standing", work, f'{{"runs": {runs}}}'], check=False)


# --- recovery


def crash(runs: int) -> Answer:
    """Bring all runs into step 6 of 10, and die there."""

    async def scenario() -> None:
        global is_cut
        is_cut = True
        async with app_of(concurrency=runs) as app:
            await app.start_many(crashing, range(runs))
            while reached < runs:
                await asyncio.sleep(0.02)
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(scenario())
    return {}


def recovery(runs: int) -> Answer:
    """From the start of a new worker until all runs have ended."""
    in_process_of_its_own("crash", runs)
    assert count_of("running") == runs, "the crash came in step 6 of all runs"

    async def scenario() -> Answer:
        watch = Stopwatch()
        app = app_of(concurrency=1000)
        async with app, app.worker():
            while count_of("completed") < runs:
                await asyncio.sleep(0.02)
            return {"seconds": watch.seconds}

    return asyncio.run(scenario())


# --- parked runs


def park(runs: int) -> Answer:
    """Write so many runs, from a process of its own, whose memory is not counted."""

    async def scenario() -> None:
        async with app_of() as app:
            await write_parked(app, runs)

    asyncio.run(scenario())
    return {}


async def write_parked(app: Stepwell, runs: int) -> None:
    """Write runs as they are when they wait for a signal."""
    store = app.backend.store
    now = app.backend.clock.now()
    created = Created(workflow=waiting.id, input=Raw(b"0"), seed="00")
    body = FrameCodec.encode(Frame(now, Claim("benchmark"), (created,)))
    wait = (Wait(kind="signal", name=go_on.name),)
    for start in range(0, runs, 1000):
        await store.create(
            [
                NewRun(
                    head=Head(
                        id=RunId(f"{now:011x}{n:014x}"),
                        workflow=waiting.id,
                        created_at=now,
                        status="waiting",
                        wake_at=None if n % 2 else now + 86_400_000 + n,
                        waiting=wait,
                        seq=1,
                    ),
                    frames=(body,),
                )
                for n in range(start, min(start + 1000, runs))
            ]
        )


async def opened_and_ready() -> float:
    """Milliseconds from nothing until a worker has looked for work."""
    watch = Stopwatch()
    app = app_of()
    async with app, app.worker() as worker:
        await app.backend.store.peek_due(app.backend.clock.now(), 1)
        assert worker.is_running
        return watch.seconds * 1000


async def wakes(app: Stepwell, runs: int) -> float:
    """Signals to so many parked runs; runs per second that wake, and end."""
    with sqlite3.connect(FILE) as connection:
        step = max(1, connection.execute("select count(*) from runs").fetchone()[0] // runs)
        query = "select id from runs where status = 'waiting' and no % ? = 0 limit ?"
        ids = [row[0] for row in connection.execute(query, (step, runs))]
    handles = [app.handle(id, waiting) for id in ids]
    watch = Stopwatch()
    await asyncio.gather(*(handle.send(go_on, 1) for handle in handles))
    while count_of("completed") < len(ids):
        await asyncio.sleep(0.01)
    return len(ids) / watch.seconds


def parked(runs: int) -> Answer:
    """So many runs that wait on disk."""

    async def due_query() -> float:
        async with app_of() as app:
            (first,) = await app.backend.store.peek_due(2**53, 1)
            taken = []
            for _ in range(200):
                started = time.perf_counter()
                found = await app.backend.store.peek_due(first.wake_at + 200, 100)
                taken.append((time.perf_counter() - started) / len(found))
            return percentile(taken, 50) * 1e6

    async def scenario() -> Answer:
        size = os.path.getsize(FILE)
        ready = min([await opened_and_ready() for _ in range(5)])
        due = await due_query()
        app = app_of(concurrency=1000)
        async with app, app.worker():
            rss = rss_mb()
            rate = await wakes(app, 2000)
        return {"bytes/run": size / runs, "ready ms": ready, "due us/run": due, "wakes/s": rate, "RSS MB": rss}

    in_process_of_its_own("park", runs)
    return asyncio.run(scenario())


def resident(runs: int) -> Answer:
    """Python objects per parked run: kept for a quick wake, and evicted."""

    async def per_run(cached: int) -> float:
        async with app_of(concurrency=1000, cached_runs=cached) as app:
            await app.start_many(waiting, [1] * 100)
            await asyncio.sleep(0.2)
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            await app.start_many(waiting, [1] * runs)
            worker = app.client.worker
            assert worker is not None
            while worker.active:
                await asyncio.sleep(0.05)
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            return (after - before) / runs

    return {
        "resident bytes/run": asyncio.run(per_run(runs + 100)),
        "evicted bytes/run": asyncio.run(per_run(0)),
    }


# --- long histories


def history(steps: int) -> Answer:
    """One run with many steps: what the later ones cost, and what reading them all again costs."""
    marks: list[float] = []

    @workflow
    async def growing(ctx: Context, total: int) -> int:
        n = 0
        for at in range(total):
            if at % 1000 == 0 and not ctx.is_replaying:
                marks.append(time.perf_counter())
            n = await add_one(n)
        if not ctx.is_replaying:
            marks.append(time.perf_counter())
        return n + await ctx.receive(go_on)

    async def scenario() -> Answer:
        app = Stepwell(URL + "?relaxed=1", include=[growing], worker_options=WorkerOptions(cached_runs=0))
        async with app:
            handle = await app.start(growing, steps)
            while await handle.status() != "waiting":
                await asyncio.sleep(0.05)
            watch = Stopwatch()
            await handle.send(go_on, 1)
            await handle.result()
            replay = watch.seconds
        taken = [later - earlier for earlier, later in itertools.pairwise(marks)]
        return {
            "10,000/1,000 steps": (marks[10] - marks[0]) / taken[0],
            "last/first 1,000": taken[-1] / taken[0],
            "replay us/event": replay * 1e6 / steps,
        }

    return asyncio.run(scenario())


# --- footprint


def footprint(code: str) -> Answer:
    """Time over the bare interpreter, and memory. `code` imports names, since a package may load itself lazily."""

    def run(code: str) -> float:
        return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True), 7) * 1000

    told = f"{code}; print(open('/proc/self/statm').read().split()[1])"
    pages = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True).stdout
    return {
        "import ms": run(code) - run(""),
        "RSS MB": int(pages.split()[-1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
    }


def idle(seconds: float) -> Answer:
    """A worker with nothing to do, over a file with parked runs."""

    async def scenario() -> Answer:
        app = app_of()
        async with app, app.worker():
            await write_parked(app, 1000)
            await asyncio.sleep(0.5)
            stats = app.backend.store.inner.stats  # type: ignore[attr-defined]
            transactions, watch = stats.transactions, Stopwatch()
            used = time.process_time()
            await asyncio.sleep(seconds)
            used = time.process_time() - used
            return {"CPU %": used / watch.seconds * 100, "transactions": stats.transactions - transactions}

    return asyncio.run(scenario())


if __name__ == "__main__":
    contend(
        {
            "crash": crash,
            "park": park,
            "recovery": recovery,
            "parked": parked,
            "resident": resident,
            "history": history,
            "footprint": footprint,
            "idle": idle,
        }
    )
