"""The same in process and over HTTP: looking into runs, steering them, starting them over, taking them away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from stepwell import NodeResult, RunQuery
from stepwell.errors import (
    DefinitionError,
    RunCancelledError,
    RunClosedError,
    RunConflictError,
    RunError,
    RunNotFoundError,
)
from stepwell.model.entries import Created, Ended
from stepwell.model.runs import Head, Page
from stepwell.runtime.bulk import RunResult
from tests.client import shop
from tests.client.shop import Order, Receipt, checkout
from tests.client.support import begun

Play = Callable[[Callable[[Any], Awaitable[None]]], None]


# --- looking


def test_runs_are_listed_and_found(same: Play) -> None:
    async def body(app: Any) -> None:
        for number in range(3):
            await (await app.start(checkout, Order(number), id=f"order-{number}", tags={"n": str(number)})).result()
        with pytest.raises(RunError):
            await (await app.start(shop.refused, Order(1), id="bad")).result()
        page = await app.runs.list(workflow="checkout", limit=2)

        assert isinstance(page, Page)
        assert isinstance(page.runs[0], Head)
        assert {type(head.created_at) for head in page.runs} == {int}
        rest = await app.runs.list(workflow="checkout", limit=2, cursor=page.cursor)
        assert sorted(head.id for head in (*page.runs, *rest.runs)) == ["order-0", "order-1", "order-2"]
        assert [head.id async for head in app.runs.iterate(status="failed")] == ["bad"]
        assert [head.id for head in (await app.runs.list(tag={"n": "2"})).runs] == ["order-2"]
        assert [head.id for head in (await app.runs.list(RunQuery(text="er-1"))).runs] == ["order-1"]
        assert [head.id for head in (await app.runs.list(metadata={"lines": 0}, tag={"n": "1"})).runs] == ["order-1"]
        assert (await app.runs.list(ended_before=1)).runs == ()
        with pytest.raises(DefinitionError, match="no status"):
            await app.runs.list(status="faild")

    same(body)


def test_a_head_tells_what_the_run_waits_for(same: Play) -> None:
    async def body(app: Any) -> None:
        await app.start(shop.approval, id="one")
        await begun(app, "one")
        (wait,) = (await app.runs.get("one")).waiting

        assert (wait.kind, wait.name, wait.until) == ("signal", "approved", None)

    same(body)


def test_the_journal_is_read(same: Play) -> None:
    async def body(app: Any) -> None:
        await (await app.start(checkout, Order(7), id="one")).result()
        events = [event async for event in app.runs.events("one")]

        assert isinstance(events[0].entry, Created)
        assert events[0].entry.workflow == "checkout"
        assert isinstance(events[-1].entry, Ended)
        later = [event async for event in app.runs.events("one", after=events[0].seq)]
        assert later == [event for event in events if event.seq > events[0].seq]

    same(body)


def test_the_journal_is_followed_to_the_end(same: Play) -> None:
    async def body(app: Any) -> None:
        await app.start(shop.telling, "a b c", id="one")
        followed = [event async for event in app.runs.events("one", follow=True)]

        assert followed == [event async for event in app.runs.events("one")]
        assert [event async for event in app.runs.events("one", follow=True, after=followed[-1].seq)] == []
        with pytest.raises(RunNotFoundError):
            _ = [event async for event in app.runs.events("nobody", follow=True)]

    same(body)


def test_a_timeline_has_its_items(same: Play) -> None:
    async def body(app: Any) -> None:
        await (await app.start(shop.telling, "a", id="one")).result()
        timeline = await app.runs.timeline("one")

        assert (timeline.run, timeline.workflow, timeline.end.status) == ("one", "telling", "completed")
        assert [type(item).__name__ for item in timeline.items] == ["ChunkItem", "TimerItem", "EndItem"]

    same(body)


def test_a_run_is_explained(same: Play) -> None:
    async def body(app: Any) -> None:
        await app.start(shop.approval, id="one")
        await begun(app, "one")
        found = await app.runs.explain("one")

        assert (found.run, found.status) == ("one", "waiting")
        assert "approved" in str(found)

    same(body)


def test_a_blueprint_is_looked_at_and_answered(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.flow, 4, id="one")
        await begun(app, "one")
        state = await app.runs.state("one")

        assert state.waiting == ("approve",)
        assert state.nodes["double"].output == 8
        assert await handle.resume("approve", action="yes", output=5) is True
        assert await handle.result() == 10
        assert (await app.runs.state("one", at=1)).nodes["double"].status == "running"
        types = {event.type for event in await app.runs.node_events("one")}
        assert {"workflow:start", "node:start", "node:finish", "workflow:finish"} <= types
        with pytest.raises(DefinitionError):
            await app.runs.state((await app.start(checkout, Order(1))).id)

    same(body)


# --- steering


def test_a_run_is_paused_and_goes_on(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.idle, id="one")
        await app.runs.pause("one", "lunch")
        await begun(app, "one", "paused")
        await app.runs.resume("one")

        assert await handle.result() == "rested"

    same(body)


def test_a_run_is_terminated(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.idle, id="one")
        await app.runs.terminate("one", "now")

        with pytest.raises(RunCancelledError, match="terminated: now"):
            await handle.result()
        with pytest.raises(RunClosedError):
            await app.runs.terminate("one")
        with pytest.raises(RunNotFoundError):
            await app.runs.pause("nobody")

    same(body)


def test_an_error_of_one_hides_no_other(same: Play) -> None:
    async def body(app: Any) -> None:
        await app.start(shop.idle, id="one")
        results = await app.runs.cancel(["one", "nobody", "one"])

        assert [type(result) for result in results] == [RunResult, RunResult]
        assert [(result.run, result.is_ok) for result in results] == [("one", True), ("nobody", False)]
        assert isinstance(results[1].error, RunNotFoundError)

    same(body)


def test_a_query_steers_many(same: Play) -> None:
    async def body(app: Any) -> None:
        await app.start_many(shop.idle, [None] * 3)
        results = await app.runs.terminate(RunQuery(workflow="idle"))

        assert [result.is_ok for result in results] == [True] * 3
        with pytest.raises(DefinitionError, match="has no condition"):
            await app.runs.terminate(RunQuery())

    same(body)


def test_a_failed_run_is_retried(same: Play) -> None:
    async def body(app: Any) -> None:
        with pytest.raises(RunError):
            await (await app.start(shop.refused, Order(7), id="one")).result()

        assert await app.runs.retry("one") == "one-retry"
        assert await app.runs.retry("one", id="two") == "two"
        (result,) = await app.runs.retry(["one"])
        assert result.new == "one-retry2"
        with pytest.raises(RunNotFoundError):
            await app.runs.retry("nobody")

    same(body)


def test_a_run_is_forked(same: Play) -> None:
    async def body(app: Any) -> None:
        await (await app.start(checkout, Order(7), id="one")).result()
        edited = await app.runs.fork("one", edit={"charge": {"order": 8, "after": "PT1S"}})
        anew = await app.runs.fork("one", input=Order(9), id="nine")

        assert (edited, anew) == ("one-fork", "nine")
        assert await app.handle(edited, checkout).result() == Receipt(8, timedelta(seconds=1))
        assert await app.handle(anew, checkout).result() == Receipt(9, timedelta(seconds=9))
        with pytest.raises(DefinitionError, match="charge"):
            await app.runs.fork("one", from_step="chargee")

    same(body)


def test_a_fork_may_take_another_way(same: Play) -> None:
    async def body(app: Any) -> None:
        await app.start(shop.flow, 4, id="one")
        await begun(app, "one")
        new = await app.runs.fork("one", edit={"double": NodeResult(output=1)})
        await begun(app, new)

        assert (await app.runs.state(new)).nodes["double"].output == 1

    same(body)


def test_a_run_leaves_and_comes_back(same: Play) -> None:
    async def body(app: Any) -> None:
        await (await app.start(checkout, Order(7), id="one")).result()
        document = await app.runs.export("one")

        assert await app.runs.import_(document, id="two") == "two"
        assert await app.handle("two", checkout).result() == Receipt(7, timedelta(seconds=7))
        with pytest.raises(RunConflictError):
            await app.runs.import_(document, id="two")
        with pytest.raises(DefinitionError):
            await app.runs.import_(b"{}")

    same(body)


def test_a_run_is_deleted(same: Play) -> None:
    async def body(app: Any) -> None:
        await (await app.start(checkout, Order(7), id="one")).result()
        await app.start(shop.idle, id="two")
        await app.runs.delete("one", force=True)

        with pytest.raises(RunNotFoundError):
            await app.runs.get("one")
        with pytest.raises(RunConflictError):
            await app.runs.delete("two")
        (result,) = await app.runs.delete(["two"])
        assert isinstance(result.error, RunConflictError)

    same(body)


def test_old_runs_are_purged(same: Play) -> None:
    async def body(app: Any) -> None:
        await (await app.start(checkout, Order(7), id="one")).result()
        await asyncio.sleep(10)

        assert [item.run for item in await app.runs.purge("1s", dry_run=True)] == ["one"]
        assert [item.run for item in await app.runs.purge("1h", workflow="checkout")] == []
        assert [item.run for item in await app.runs.purge("1s", workflow="checkout")] == ["one"]
        assert (await app.runs.list()).runs == ()

    same(body)


def test_code_is_tried_against_a_run(same: Play) -> None:
    async def body(app: Any) -> None:
        await (await app.start(checkout, Order(7), id="one")).result()
        report = await app.runs.replay("one")

        assert report.is_ok
        assert (report.run, report.workflow) == ("one", "checkout")

    same(body)
