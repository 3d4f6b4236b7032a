"""Runs that have ended and still owe something to others: nothing takes them for runs that wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import Context, Signal, Stepwell, workflow
from stepwell.runtime.options import WorkerOptions

go = Signal("go", int)


@workflow
async def child(ctx: Context) -> int:
    return await ctx.receive(go)


@workflow
async def parent(ctx: Context) -> str:
    async with asyncio.timeout(3600):
        await ctx.start(child)
    return "done"


def slow_deliver(patch: pytest.MonkeyPatch, app: Stepwell) -> asyncio.Event:
    """Messages arrive only when the event is set."""
    deliver, goes_on = app.backend.store.deliver, asyncio.Event()

    async def waits(*args: Any) -> Any:
        await goes_on.wait()
        return await deliver(*args)

    patch.setattr(app.backend.store, "deliver", waits)
    return goes_on


async def has_ended(app: Stepwell) -> bool:
    return (await app.runs.get("p")).status == "completed"


def test_a_worker_that_is_full_makes_no_room_by_letting_a_settling_run_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        options = WorkerOptions(concurrency=1, poll_ms=5)
        async with Stepwell("memory://", include=[parent, child], worker_options=options) as app:
            goes_on = slow_deliver(monkeypatch, app)
            handle = await app.start(parent, id="p")
            await until(lambda: has_ended(app))
            await asyncio.sleep(0.03)  # some rounds of the worker, for which the child is due
            goes_on.set()
            assert await handle.result(timeout=5) == "done"
            assert (await handle.head()).is_settled

    run(scenario())


def test_a_worker_that_drains_settles_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[parent, child], worker=False) as app:
            goes_on = slow_deliver(monkeypatch, app)
            async with app.worker() as worker:
                handle = await app.start(parent, id="p")
                await until(lambda: has_ended(app))
                stopping = asyncio.create_task(worker.stop())
                await asyncio.sleep(0.03)
                goes_on.set()
                await stopping
            head = await handle.head()
            assert (head.status, head.is_settled) == ("completed", True)

    run(scenario())
