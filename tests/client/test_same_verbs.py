"""The same program in process and over HTTP: the same verbs, the same values, the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from stepwell import Signal, WorkflowRef
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
from stepwell.model.ids import keyed_run_id
from tests.client import shop
from tests.client.shop import CardDeclined, Order, Receipt, approved, checkout, paid, words
from tests.client.support import begun

Play = Callable[[Callable[[Any], Awaitable[None]]], None]


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
