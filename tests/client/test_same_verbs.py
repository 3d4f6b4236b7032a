"""The same program in process and over HTTP: the same verbs, the same values, the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from stepwell import NodeResult, RunQuery, Signal, Stepwell, WorkflowRef
from stepwell.client import Client
from stepwell.errors import (
    CodecError,
    DefinitionError,
    HookError,
    RunCancelledError,
    RunClosedError,
    RunConflictError,
    RunError,
    RunNotFoundError,
)
from stepwell.model.entries import Created, Ended
from stepwell.model.ids import keyed_run_id
from stepwell.model.runs import Head, Page
from stepwell.runtime.bulk import RunResult
from stepwell.server import Server, ServerOptions
from tests.client import shop
from tests.client.shop import CardDeclined, Order, Receipt, approved, checkout, paid, words
from tests.client.support import URL, ServerTransport, play

Body = Callable[[Any], Awaitable[None]]
Play = Callable[[Body], None]


async def in_process(body: Body) -> None:
    async with Stepwell("memory://", include=[shop], clock=_clock()) as app:
        await body(app)


async def over_http(body: Body) -> None:
    async with Stepwell("memory://", include=[shop], clock=_clock()) as app:
        server = Server(app, ServerOptions(), worker=True)
        await server.open()
        key = await server.access.keys.create(scopes=("admin",))
        async with Client(URL, key=key.text, transport=ServerTransport(server), include=[shop]) as client:
            await body(client)


@pytest.fixture(params=[in_process, over_http], ids=["in process", "over HTTP"])
def same(request: pytest.FixtureRequest) -> Play:
    """Runs a test against an app, and against a client of it."""
    return lambda body: play(request.param(body))


def _clock() -> Any:
    return asyncio.get_running_loop().clock  # type: ignore[attr-defined]


async def begun(app: Any, run: str, status: str = "waiting") -> None:
    """Wait until the run stands so."""
    while (await app.handle(run).status()) != status:
        await asyncio.sleep(1)


# --- starting


def test_a_run_is_started_and_its_result_has_its_type(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(checkout, Order(7, ("a",)), id="order-7")

        assert handle.id == "order-7"
        assert await handle.result(timeout="1m") == Receipt(7, timedelta(seconds=7))
        assert await app.handle("order-7", checkout).result() == Receipt(7, timedelta(seconds=7))
        assert await handle.status() == "completed"
        assert await handle.metadata() == {"lines": 1}

    same(body)


def test_a_workflow_may_be_named(same: Play) -> None:
    async def body(app: Any) -> None:
        receipt = Receipt(1, timedelta(seconds=1))
        ref = WorkflowRef[Order, Receipt]("checkout", input=Order, output=Receipt)

        assert await (await app.start("checkout", Order(1))).result() == receipt
        assert await (await app.start(ref, Order(1))).result() == receipt
        assert await app.handle((await app.start(ref, Order(1))).id, ref).result() == receipt

    same(body)


def test_an_input_that_is_not_given_is_the_default(same: Play) -> None:
    async def body(app: Any) -> None:
        assert await (await app.start(shop.greeting)).result() == "hello you"
        assert await (await app.start(shop.greeting, "ada")).result() == "hello ada"
        assert await (await app.start("greeting")).result() == "hello you"

    same(body)


def test_an_input_of_another_type_is_refused(same: Play) -> None:
    async def body(app: Any) -> None:
        with pytest.raises(CodecError, match="input of workflow checkout"):
            await app.start(checkout, {"id": "seven"})
        with pytest.raises(DefinitionError, match="needs its input"):
            await app.start(checkout)
        with pytest.raises(DefinitionError, match="takes no input"):
            await app.start(shop.idle, 7)

    same(body)


def test_a_start_with_an_id_or_a_key_counts_once(same: Play) -> None:
    async def body(app: Any) -> None:
        one = await app.start(checkout, Order(1), id="one")
        assert (await app.start(checkout, Order(1), id="one")).id == one.id
        keyed = await app.start(checkout, Order(1), key="k")
        assert (await app.start(checkout, Order(1), key="k")).id == keyed.id
        with pytest.raises(RunConflictError):
            await app.start(checkout, Order(2), id="one")
        with pytest.raises(RunConflictError):
            await app.start(checkout, Order(1), id="one", on_conflict="fail")
        with pytest.raises(DefinitionError, match="give one of them"):
            await app.start(checkout, Order(1), id="one", key="k")

    same(body)


def test_a_key_makes_the_same_run_id_everywhere(same: Play) -> None:
    async def body(app: Any) -> None:
        assert (await app.start(checkout, Order(1), key="k")).id == keyed_run_id("checkout", "k")

    same(body)


def test_a_failed_run_is_restarted_where_one_asks_for_it(same: Play) -> None:
    async def body(app: Any) -> None:
        with pytest.raises(RunError):
            await (await app.start(shop.refused, Order(1), id="one")).result()
        first = await app.runs.get("one")
        await asyncio.sleep(10)
        handle = await app.start(shop.refused, Order(1), id="one", on_conflict="restart_if_failed")
        with pytest.raises(RunError):
            await handle.result()

        assert (await app.runs.get("one")).created_at > first.created_at

    same(body)


def test_options_of_a_start_arrive(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(
            shop.idle, tags={"a": "b"}, metadata={"k": [1]}, priority=3, delay="1h", timeout="30m", id="one"
        )
        head = await handle.head()

        assert (head.tags, head.priority, head.workflow, head.status) == ({"a": "b"}, 3, "idle", "queued")
        assert [wait.kind for wait in head.waiting] == ["start"]
        assert await handle.metadata() == {"k": [1]}
        with pytest.raises(RunError):
            await handle.result()  # it rests for an hour

    same(body)


def test_an_option_that_there_is_not_is_refused(same: Play) -> None:
    async def body(app: Any) -> None:
        with pytest.raises(DefinitionError, match="start\\(\\) has no option 'dealy'"):
            await app.start(checkout, Order(1), dealy="1h")

    same(body)


def test_many_runs_are_started_at_once(same: Play) -> None:
    async def body(app: Any) -> None:
        handles = await app.start_many(checkout, [Order(number) for number in range(5)], tags={"all": "yes"})

        assert [(await handle.result()).order for handle in handles] == [0, 1, 2, 3, 4]
        assert len((await app.runs.list(tag={"all": "yes"})).runs) == 5

    same(body)


# --- messages


def test_a_signal_reaches_its_run_also_when_it_is_early(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.approval, delay="1h")
        await handle.send(approved, True)

        assert await handle.result() is True
        with pytest.raises(RunClosedError):
            await handle.send(approved, True)
        with pytest.raises(RunNotFoundError):
            await app.handle("nobody").send(approved, True)
        with pytest.raises(CodecError):
            await handle.send(approved, "yes")

    same(body)


def test_a_signal_with_an_id_counts_once(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.sum_of, 2)
        number = Signal("n", int)
        await handle.send(number, 1, id="x")
        await handle.send(number, 1, id="x")
        await handle.send(number, 2)

        assert await handle.result() == [1, 2]

    same(body)


def test_an_event_reaches_who_waits_for_it(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.payment, id="one")
        await begun(app, "one")

        assert await app.publish(paid, 7) == 1
        assert await handle.result() == 7

    same(body)


def test_a_hook_is_completed_by_its_token(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.hooked, id="one")
        await begun(app, "one")

        assert await app.complete("a token of ours", "done") == "one"
        assert await handle.result() == "done"
        with pytest.raises(HookError):
            await app.complete("a token of nobody", "done")

    same(body)


# --- ends


def test_a_failed_run_tells_why(same: Play) -> None:
    async def body(app: Any) -> None:
        with pytest.raises(RunError) as raised:
            await (await app.start(shop.refused, Order(7), id="one")).result()

        error = raised.value
        assert (error.run_id, type(error)) == ("one", RunError)
        assert error.error.is_(CardDeclined)  # type: ignore[attr-defined]
        assert "order 7" in str(error)

    same(body)


def test_a_run_that_goes_on_is_a_timeout(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.idle, id="one")

        with pytest.raises(TimeoutError, match="run one has not ended within 1 s; it goes on"):
            await handle.result(timeout="1s")
        assert await handle.result(timeout="2h") == "rested"

    same(body)


def test_a_result_of_nobody_is_not_found(same: Play) -> None:
    async def body(app: Any) -> None:
        for question in (app.handle("nobody").result(), app.runs.get("nobody"), app.handle("nobody").status()):
            with pytest.raises(RunNotFoundError, match="there is no run"):
                await question

    same(body)


def test_a_cancelled_run_says_so(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.idle, id="one")
        await begun(app, "one")
        await handle.cancel("enough", grace="1m")

        with pytest.raises(RunCancelledError, match="run one was cancelled: enough"):
            await handle.result()
        with pytest.raises(RunClosedError):
            await handle.cancel()

    same(body)


# --- streams


def test_a_stream_is_read_while_it_grows(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.telling, "a b c")

        assert [word async for word in handle.stream(words)] == ["a", "b", "c"]
        assert [word async for word in handle.stream(words, start=1)] == ["b", "c"]
        assert [item.index async for item in handle.stream_chunks(words)] == [0, 1, 2]

    same(body)


def test_an_attempt_that_begins_anew_is_marked(same: Play) -> None:
    async def body(app: Any) -> None:
        handle = await app.start(shop.speaking, "a b")
        live = [(item.source, item.attempt, item.restarts) async for item in handle.stream_chunks(words)]
        later = [word async for word in handle.stream(words)]

        assert live == [("speak", 1, False), ("speak", 1, False), ("speak", 2, True), ("speak", 2, False)]
        assert later == ["a2", "b2"]

    same(body)


def test_a_stream_of_nobody_is_not_found(same: Play) -> None:
    async def body(app: Any) -> None:
        with pytest.raises(RunNotFoundError):
            _ = [word async for word in app.handle("nobody").stream(words)]

    same(body)


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
