"""Threads that work for nobody, because their runs were lost."""

from __future__ import annotations

import threading

import pytest
from tests.helpers import run, until

from stepwell import Context, Stepwell, step, workflow
from stepwell.runtime import steps
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.worker import Worker

go_on = threading.Event()
begun: list[int] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    go_on.clear()
    begun.clear()


@step
def hang(n: int) -> int:
    begun.append(n)
    go_on.wait(60)
    return n


@workflow
async def hanging(ctx: Context, n: int) -> int:
    return await hang(n)


async def lose_all(app: Stepwell) -> Worker:
    """Five runs with a step each in two threads; then all are lost."""
    await app.start_many(hanging, range(5))
    worker = app.client.worker
    assert worker is not None

    async def are_busy() -> bool:
        return len(begun) == 2 and sum(len(item.running) for item in worker.active.values()) == 5

    await until(are_busy)
    for activation in list(worker.active.values()):
        worker.drop(activation)
    return worker


def app() -> Stepwell:
    return Stepwell("memory://", include=[hanging], worker_options=WorkerOptions(threads=2, grace_ms=1))


def test_a_worker_that_loses_more_steps_than_it_has_threads_goes_on() -> None:
    async def go() -> None:
        async with app() as here:
            worker = await lose_all(here)

            async def have_returned() -> bool:
                return worker.steps.leaked_threads == 0

            await until(lambda: _is_leaking(worker))
            assert worker.is_running
            go_on.set()
            await until(have_returned)
            assert worker.is_running

    run(go())
    assert len(begun) == 2, "what waited for a thread did not begin"


def test_a_worker_whose_threads_all_hang_for_long_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_HANG_SECONDS", 0.01)

    async def go() -> None:
        async with app() as here:
            worker = await lose_all(here)

            async def has_stopped() -> bool:
                return not worker.is_running

            await until(has_stopped)
            go_on.set()

    run(go())


async def _is_leaking(worker: Worker) -> bool:
    return worker.steps.leaked_threads == 5
