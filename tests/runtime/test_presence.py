"""Which workers are there: announced by themselves, and gone when they are."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.helpers import run

from stepwell import Context, Stepwell, workflow
from stepwell.runtime.presence import EVERY_MS, MISSES, WorkerInfo, keep_presence, workers
from stepwell.testing import VirtualClock, VirtualLoop


@workflow
async def something(ctx: Context) -> None: ...


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"


async def announced(app: Stepwell, n: int) -> list[WorkerInfo]:
    async with asyncio.timeout(5):
        while len(found := await workers(app.backend)) != n:
            await asyncio.sleep(0.001)
    return found


def test_a_worker_says_who_it_is_and_takes_it_back_when_it_stops(url: str) -> None:
    async def go() -> tuple[list[WorkerInfo], list[WorkerInfo]]:
        async with Stepwell(url, include=[something]) as app:
            async with app.worker(queues=["mail"], concurrency=7):
                there = await announced(app, 1)
                identity = app.backend.store.identity
                assert there[0].identity == identity
            return there, await workers(app.backend)

    ((info,), after) = run(go())

    assert (info.queues, info.concurrency, info.pid) == (("mail",), 7, os.getpid())
    assert "something" in info.workflows
    assert after == []


def test_several_workers_have_a_slot_each(url: str) -> None:
    async def go() -> int:
        async with Stepwell(url) as app, app.worker() as worker:
            for _ in range(2):
                worker.spawn(keep_presence(worker))
            return len(await announced(app, 3))

    assert run(go()) == 3


def virtual(steps: object) -> None:
    """Run on a loop whose time is virtual."""
    clock = VirtualClock()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        runner.run(steps(clock))  # type: ignore[operator]


def test_an_announcement_is_kept_alive_for_as_long_as_the_worker_lives() -> None:
    async def go(clock: VirtualClock) -> None:
        async with Stepwell("memory://", clock=clock) as app:
            async with app.worker():
                await asyncio.sleep(30 * EVERY_MS / 1000)
                assert len(await workers(app.backend)) == 1
            assert await workers(app.backend) == []

    virtual(go)


def test_an_announcement_that_nobody_keeps_ends_by_itself_and_another_worker_may_have_its_slot() -> None:
    async def go(clock: VirtualClock) -> None:
        async with Stepwell("memory://", clock=clock) as app:
            keys = app.backend.coordination
            async with app.worker():
                await announced(app, 1)
                clock.advance("1m")  # the machine slept
                await keys.set_if_not_exist("worker/0", "somebody else")
                await asyncio.sleep(30)
                assert await keys.get("worker/0") == "somebody else"
                assert len(await workers(app.backend)) == 1
            assert await keys.get("worker/0") == "somebody else"

    virtual(go)


def test_readers_look_past_gaps_but_not_for_ever() -> None:
    async def go() -> list[bool]:
        async with Stepwell("memory://") as app, app.worker():
            keys = app.backend.coordination
            await announced(app, 1)
            value = await keys.get("worker/0")
            assert value is not None
            await keys.set_if_not_exist(f"worker/{MISSES}", value)
            near = len(await workers(app.backend)) == 2
            await keys.set_if_not_exist(f"worker/{3 * MISSES}", value)
            far = len(await workers(app.backend)) == 3
            await keys.set_if_not_exist("worker/1", "not what this release writes")
            return [near, far, len(await workers(app.backend)) == 2]

    assert run(go()) == [True, False, True]
