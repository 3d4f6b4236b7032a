"""Finding runs, and reading their journals as they grow."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from tests.helpers import run

from stepwell import Context, DefinitionError, RunNotFoundError, RunQuery, Signal, Stepwell, step, workflow
from stepwell.model.entries import Created, Ended
from stepwell.runtime.options import WorkerOptions

go = Signal("go", int)


@step
async def double(n: int) -> int:
    return n * 2


@workflow(tags={"team": "a"})
async def counting(ctx: Context, n: int) -> int:
    ctx.metadata["n"] = n
    for _ in range(n):
        await double(n)
    return await ctx.receive(go)


@workflow
async def turning(ctx: Context, n: int) -> int:
    await double(n)
    if n:
        ctx.continue_as_new(n - 1)
    return n


def test_filters_find_runs() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[counting]) as app:
            for n in range(3):
                await app.start(counting, n, id=f"r{n}", tags={"n": str(n)}, metadata={"kind": {"x": n}})
            assert [head.id for head in (await app.runs.list()).runs] == ["r2", "r1", "r0"]
            assert [head.id for head in (await app.runs.list(tag={"n": "1"})).runs] == ["r1"]
            assert [head.id for head in (await app.runs.list(metadata={"kind": {"x": 2}})).runs] == ["r2"]
            assert [head.id for head in (await app.runs.list(RunQuery(workflow="counting"), limit=1)).runs] == ["r2"]
            assert (await app.runs.list(status="failed")).runs == ()

    run(scenario())


def test_iterate_reads_all_pages() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[counting], worker=False) as app:
            await app.start_many(counting, range(1100))
            assert len([head async for head in app.runs.iterate()]) == 1100

    run(scenario())


def test_mistakes_in_filters_are_named() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            with pytest.raises(DefinitionError, match="no filter 'stauts'"):
                await app.runs.list(stauts="failed")  # type: ignore[call-arg]
            with pytest.raises(DefinitionError, match="no status 'broken'"):
                await app.runs.list(status="broken")  # type: ignore[arg-type]
            with pytest.raises(DefinitionError, match="time zone"):
                await app.runs.list(since=datetime(2026, 1, 1))

    run(scenario())


def test_an_unknown_run_is_not_found() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            for look in (app.runs.get, app.runs.timeline):
                with pytest.raises(RunNotFoundError):
                    await look("nobody")
            with pytest.raises(RunNotFoundError):
                _ = [event async for event in app.runs.events("nobody")]

    run(scenario())


def test_following_events_ends_with_the_run() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[counting]) as app:
            handle = await app.start(counting, 2, id="r")

            async def follow() -> list[tuple[int, str]]:
                return [(event.seq, type(event.entry).__name__) async for event in app.runs.events("r", follow=True)]

            reading = asyncio.create_task(follow())
            await handle.send(go, 7)
            await handle.result(timeout=5)
            seen = await asyncio.wait_for(reading, 5)
            assert seen[0] == (1, "Created")
            assert seen[-1][1] == "Ended"
            assert seen == [(event.seq, type(event.entry).__name__) async for event in app.runs.events("r")]

    run(scenario())


def test_following_crosses_generations_without_a_gap() -> None:
    async def scenario() -> None:
        options = WorkerOptions(cached_runs=0)
        async with Stepwell("memory://", include=[turning], worker_options=options) as app:
            handle = await app.start(turning, 5, id="r")
            events = [event async for event in app.runs.events("r", follow=True)]
            await handle.result(timeout=5)
            assert sorted({event.seq for event in events}) == list(range(1, events[-1].seq + 1))
            assert isinstance(events[0].entry, Created)
            assert isinstance(events[-1].entry, Ended)

    run(scenario())


def test_reading_may_go_on_after_a_frame() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[turning]) as app:
            await (await app.start(turning, 0, id="r")).result(timeout=5)
            everything = [event async for event in app.runs.events("r")]
            rest = [event async for event in app.runs.events("r", after=1, follow=True)]
            assert rest == [event for event in everything if event.seq > 1]
            assert [event async for event in app.runs.events("r", after=rest[-1].seq, follow=True)] == []

    run(scenario())
