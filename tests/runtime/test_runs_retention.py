"""Deleting runs: what may go, and when."""

from __future__ import annotations

import asyncio

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Context,
    DefinitionError,
    RunConflictError,
    RunNotFoundError,
    Signal,
    Stepwell,
    Stream,
    step,
    workflow,
)

go = Signal("go", int)
words = Stream("words", str)


@step
async def large() -> str:
    return "x" * 20_000


@workflow
async def plain(ctx: Context) -> None:
    ctx.send(words, "one")
    await large()


@workflow
async def child(ctx: Context) -> None: ...


@workflow
async def parent(ctx: Context) -> None:
    await child()
    await ctx.receive(go)


async def completed(app: Stepwell, id: str) -> None:
    await (await app.start(plain, id=id)).result(timeout=5)


def test_a_deleted_run_leaves_nothing(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(plain) as app:
            await completed(app, "p")
            await app.runs.delete("p")
            with pytest.raises(RunNotFoundError):
                await app.runs.get("p")
            assert (await app.backend.streams.read("p/words", 0, 10)).items == ()
            with pytest.raises(RunNotFoundError):
                await app.runs.delete("p")

    run(scenario())


def test_a_run_that_is_open_stays() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[parent, child]) as app:
            await app.start(parent, id="p")
            with pytest.raises(RunConflictError, match="has not ended"):
                await app.runs.delete("p")

    run(scenario())


def test_a_child_stays_while_its_parent_is_open_and_a_day_after_its_end() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[parent, child]) as app:
            handle = await app.start(parent, id="p")

            async def has_child() -> str | None:
                heads = (await app.runs.list(parent="p", status="completed")).runs
                return heads[0].id if heads and heads[0].is_settled else None

            id = await until(has_child)
            with pytest.raises(RunConflictError, match="child of p, which has not ended"):
                await app.runs.delete(id, force=True)
            await handle.send(go, 1)
            await handle.result(timeout=5)
            with pytest.raises(RunConflictError, match="is a child, and is kept"):
                await app.runs.delete(id)
            await app.runs.delete(id, force=True)

    run(scenario())


def test_a_bulk_delete_answers_for_each_run() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[plain]) as app:
            await completed(app, "a")
            await completed(app, "b")
            results = await app.runs.delete(["a", "nobody", "b"])
            assert [item.is_ok for item in results] == [True, False, True]

    run(scenario())


def test_purge_deletes_what_is_old_and_matches(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(plain, parent, child) as app:
            await completed(app, "old")
            await app.start(parent, id="open")
            await asyncio.sleep(0.01)
            assert await app.runs.purge("1h") == []
            assert await app.runs.purge("1ms", workflow="parent") == []
            would = await app.runs.purge("1ms", workflow="plain", dry_run=True)
            assert [item.run for item in would] == ["old"]
            assert (await app.runs.get("old")).status == "completed"
            assert [item.is_ok for item in await app.runs.purge("1ms", workflow="plain")] == [True]
            assert (await app.runs.list(workflow="plain")).runs == ()

    run(scenario())


def test_purge_takes_parents_first_and_says_why_children_stay() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[parent, child]) as app:
            handle = await app.start(parent, id="p")
            await handle.send(go, 1)
            await handle.result(timeout=5)
            await asyncio.sleep(0.005)
            results = await app.runs.purge("1ms")
            assert [(item.run == "p", item.is_ok) for item in results] == [(True, True), (False, False)]
            assert [item.is_ok for item in await app.runs.purge("1ms", force=True)] == [True]

    run(scenario())


def test_purge_is_for_runs_that_have_ended() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            with pytest.raises(DefinitionError, match="only runs that have ended"):
                await app.runs.purge("1d", status="running")

    run(scenario())
