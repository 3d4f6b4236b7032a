"""What the SQLite store is asked to do. Counts, because no noise moves them; times on shared machines mean little."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from stepwell import Context, Signal, Stepwell, step, workflow
from stepwell.backends.sqlite.session import Stats
from stepwell.model.ids import RunId
from stepwell.runtime.options import WorkerOptions
from tests.helpers import run, until

go_on = Signal("go on", int)


@step
async def add_one(n: int) -> int:
    return n + 1


@step
async def text_of(size: int) -> str:
    return "x" * size


@workflow
async def counting(ctx: Context, steps: int) -> int:
    n = 0
    for _ in range(steps):
        n = await add_one(n)
    return n


@workflow
async def writing(ctx: Context, steps: int) -> None:
    for _ in range(steps):
        await text_of(1000)


@workflow
async def waiting(ctx: Context) -> int:
    return await ctx.receive(go_on)


class Counted(NamedTuple):
    """What one piece of work took."""

    transactions: int
    statements: int
    rows: int


class Measured:
    """An app on a file, whose store is watched."""

    def __init__(self, app: Stepwell, path: Path) -> None:
        self.app = app
        self.path = path

    @property
    def stats(self) -> Stats:
        return self.app.backend.store.inner.stats  # type: ignore[attr-defined,no-any-return]

    @property
    def pages(self) -> int:
        """The size of the file, when all of the log will be in it."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return int(connection.execute("pragma page_count").fetchone()[0])

    def bodies(self, id: RunId) -> list[bytes]:
        """The frames of a run."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            no = connection.execute("select no from runs where id = ?", (id,)).fetchone()[0]
            rows = connection.execute("select body from frames where pos >> 24 = ?", (no,)).fetchall()
        return [row[0] for row in rows]

    async def all_of(self, flow: object, runs: int, steps: int) -> Counted:
        stats = self.stats
        before = Counted(stats.transactions, stats.statements, stats.rows)
        handles = await self.app.start_many(flow, [steps] * runs)  # type: ignore[arg-type]
        await asyncio.gather(*(handle.result() for handle in handles))
        after = Counted(stats.transactions, stats.statements, stats.rows)
        return Counted(*(now - then for now, then in zip(after, before, strict=True)))


Measure = Callable[[Callable[[Measured], Awaitable[None]]], None]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Runs a scenario on a file, with room for a thousand runs."""

    def measured(scenario: Callable[[Measured], Awaitable[None]]) -> None:
        async def opened() -> None:
            path = tmp_path / "counts.db"
            options = WorkerOptions(concurrency=1000)
            workflows = [counting, writing, waiting]
            async with Stepwell(f"sqlite:///{path}", include=workflows, worker_options=options) as app:
                await (await app.start(counting, 1)).result()
                await scenario(Measured(app, path))

        run(opened())

    return measured


def test_a_thousand_runs_share_their_transactions(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        counted = await measured.all_of(counting, runs=1000, steps=5)

        assert counted.transactions <= 0.05 * 5000
        assert counted.statements <= 0.05 * 5000

    measure(scenario)


def test_a_lone_step_takes_one_transaction_and_one_writing_statement(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        few = await measured.all_of(counting, runs=1, steps=10)
        many = await measured.all_of(counting, runs=1, steps=110)

        assert many.transactions - few.transactions == 100
        assert many.rows - few.rows == 100
        # The other statement reads a counter: whether another process has deleted runs since.
        assert many.statements - few.statements <= 200

    measure(scenario)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_a_run_of_n_steps_writes_n_plus_two_rows_and_changes_its_head_once(measure: Measure, steps: int) -> None:
    async def scenario(measured: Measured) -> None:
        counted = await measured.all_of(counting, runs=20, steps=steps)

        assert counted.rows == 20 * (steps + 2 + 1)

    measure(scenario)


def test_steps_leave_the_head_alone(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        heads: list[object] = []

        @step
        async def look() -> None:
            head = await measured.app.client.head(handle.id)
            heads.append(head)

        @workflow
        async def looking(ctx: Context) -> None:
            for _ in range(3):
                await look()

        handle = measured.app.handle("looking", looking)
        await (await measured.app.start(looking, id="looking")).result()

        assert heads == [heads[0]] * 3

    measure(scenario)


def test_a_step_writes_its_result_and_little_more(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        ids = [await start_and_end(measured, steps) for steps in (0, 20)]
        none, twenty = [sum(len(body) for body in measured.bodies(id)) for id in ids]

        assert (twenty - none) / 20 <= 1000 + 150

    measure(scenario)


def test_the_file_grows_by_few_bytes_for_a_step_with_a_small_result(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        await measured.all_of(counting, runs=100, steps=1)
        before = measured.pages
        await measured.all_of(counting, runs=100, steps=101)

        # The frame (140), its place in the index (15), the row around it, and what is left free in pages.
        assert (measured.pages - before) * 4096 / (100 * 101) <= 180

    measure(scenario)


def test_an_idle_worker_writes_nothing(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        handles = [await measured.app.start(waiting) for _ in range(20)]
        for handle in handles:
            await until(lambda handle=handle: is_waiting(handle))  # type: ignore[misc]
        stats = measured.stats
        before = (stats.transactions, stats.statements, stats.rows)
        await asyncio.sleep(1.2)  # longer than the poll interval

        assert (stats.transactions, stats.statements, stats.rows) == before

    measure(scenario)


def test_a_signal_to_a_parked_run_takes_few_rows(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        handle = await measured.app.start(waiting)
        await until(lambda: is_waiting(handle))
        before = measured.stats.rows
        await handle.send(go_on, 1)
        await handle.result()

        # Inserted: the message, and the frame with it and the end. Changed: deliver, take, end.
        assert measured.stats.rows - before <= 5

    measure(scenario)


async def is_waiting(handle: object) -> bool:
    return await handle.status() == "waiting"  # type: ignore[attr-defined,no-any-return]


async def start_and_end(measured: Measured, steps: int) -> RunId:
    handle = await measured.app.start(writing, steps)
    await handle.result()
    return handle.id


def test_an_idle_worker_reads_a_few_times_per_second_however_many_runs_are_parked(measure: Measure) -> None:
    async def scenario(measured: Measured) -> None:
        for handle in [await measured.app.start(waiting) for _ in range(20)]:
            await until(lambda handle=handle: is_waiting(handle))  # type: ignore[misc]
        seen: list[str] = []
        with measured.app.backend.store.inner._reader.use() as connection:  # type: ignore[attr-defined]
            connection.set_trace_callback(seen.append)
        await asyncio.sleep(1.2)

        # One look for what is due, one for when the next run is.
        assert len(seen) <= 2 * 2 * 2

    measure(scenario)
