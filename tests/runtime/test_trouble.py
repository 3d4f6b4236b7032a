"""A backend that cannot answer for a while: what the worker does, and what its log says."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from stepwell import BackendError, Context, Stepwell, step, workflow
from stepwell.ports import Backend
from stepwell.runtime.options import WorkerOptions
from stepwell.testing import VirtualClock, VirtualLoop
from stepwell.testing.faults import Call, FaultyBackend

T = TypeVar("T")
OPTIONS = WorkerOptions(renewal="loop", gc_threshold=0)
_worlds = itertools.count()
executions: list[int] = []


@pytest.fixture(autouse=True)
def _fresh(caplog: pytest.LogCaptureFixture) -> None:
    executions.clear()
    caplog.set_level(logging.WARNING, logger="stepwell")


@step
async def tick(n: int) -> int:
    await asyncio.sleep(1)
    return n


@step
async def large() -> str:
    executions.append(1)
    return "x" * 500_000


@workflow
async def ticking(ctx: Context, n: int) -> int:
    for i in range(n):
        await tick(i)
    return n


@workflow
async def heavy(ctx: Context) -> int:
    return len(await large())


@workflow
async def reading(ctx: Context, text: str) -> int:
    return len(text)


class Outage:
    """A policy: calls of these methods (None: all writes) fail while it is on."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.is_on = False

    async def __call__(self, call: Call) -> Any:
        if self.is_on and (call.name in self.names or (not self.names and call.is_write)):
            raise BackendError("the disk is full")
        return await call.apply()


class App(Stepwell):
    """An app whose backend fails by policy."""

    def __init__(self, outage: Outage, url: str, options: WorkerOptions = OPTIONS) -> None:
        clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
        super().__init__(url, include=[ticking, heavy, reading], clock=clock, worker_options=options)
        self._outage = outage

    async def _open_backend(self) -> Backend:
        return FaultyBackend(await super()._open_backend(), self._outage)


def url() -> str:
    return f"memory://trouble-{next(_worlds)}"


def virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(VirtualClock())) as runner:
        return runner.run(coroutine)


def lines(caplog: pytest.LogCaptureFixture, word: str) -> Sequence[str]:
    return [record.getMessage() for record in caplog.records if word in record.getMessage()]


def test_a_long_outage_is_told_twice_a_minute_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> list[int]:
        outage = Outage()
        async with App(outage, url()) as app:
            handles = await app.start_many(ticking, [5] * 100)
            await asyncio.sleep(1.5)
            outage.is_on = True
            await asyncio.sleep(600)
            outage.is_on = False
            return [await handle.result(timeout=120) for handle in handles]

    assert virtually(go()) == [5] * 100
    assert 10 <= len(lines(caplog, "the disk is full; repeated until it can be done")) <= 22
    assert len(lines(caplog, "the backend answers again, after 60")) == 1


def test_runs_whose_leases_end_in_an_outage_share_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        outage = Outage("store.renew")
        async with App(outage, url()) as app:
            await app.start_many(ticking, [100] * 50)
            outage.is_on = True
            await asyncio.sleep(40)
            outage.is_on = False

    virtually(go())
    (line,) = lines(caplog, "no lease could be renewed in time")
    assert "for 50 runs (" in line
    assert line.endswith(", ...); their steps here are stopped")


def test_a_worker_that_cannot_park_its_runs_still_stops(caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> int:
        world = url()
        outage = Outage()
        async with App(Outage(), world) as other:
            async with App(outage, world) as app:
                handle = await app.start(ticking, 100)
                await asyncio.sleep(1.5)
                outage.is_on = True
            return await other.handle(handle.id, ticking).result(timeout=300)

    assert virtually(go()) == 100
    assert lines(caplog, "their leases have to end first")


def test_a_large_result_waits_for_room_instead_of_being_thrown_away() -> None:
    async def go() -> tuple[int, int]:
        outage = Outage("blobs.put")
        outage.is_on = True
        async with App(outage, url()) as app:
            handle = await app.start(heavy)
            await asyncio.sleep(600)
            outage.is_on = False
            return await handle.result(timeout=60), len(executions)

    assert virtually(go()) == (500_000, 1)


def test_a_start_that_cannot_store_its_input_leaves_the_worker_its_place() -> None:
    async def go() -> int:
        outage = Outage("blobs.put")
        async with App(outage, url(), WorkerOptions(concurrency=1, renewal="loop", gc_threshold=0)) as app:
            await (await app.start(ticking, 1)).result(timeout=60)
            outage.is_on = True
            with pytest.raises(BackendError):
                await app.start(reading, "x" * 500_000)
            outage.is_on = False
            return await (await app.start(reading, "x")).result(timeout=60)

    assert virtually(go()) == 1
