"""What event sinks are told, and what a journal tells later: the same events, with the same ids."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from typing import Any

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Blueprint,
    Context,
    DefinitionError,
    NodeContext,
    NodeResult,
    Retry,
    Signal,
    Stepwell,
    current_step,
    step,
    workflow,
)
from stepwell.engine.graph.events import GraphEvent
from stepwell.runtime.eventbus import EventBus
from stepwell.testing import StepwellTest

go = Signal("go", dict)


async def choose(ctx: NodeContext[Any]) -> NodeResult:
    ctx.state.set("chosen", True)
    return NodeResult(output={"n": 3}, action="right")


async def echo(ctx: NodeContext[Any]) -> Any:
    return ctx.input


@step(retry=Retry(attempts=2, first_delay=0))
async def second_time() -> str:
    if current_step().attempt == 1:
        raise ValueError("not yet")
    return "now"


@step(retry=None)
async def broken() -> None:
    raise ValueError("never")


FLOW: Blueprint[Any, Any] = (
    Blueprint("told")
    .node("choose", choose)
    .node("left", echo)
    .node("flaky", second_time)
    .node("try", broken, fallback="calm")
    .node("calm", echo)
    .batch("each", echo, over="items")
    .wait("ask", go)
    .edge("choose", "left", action="left")
    .edge("choose", "flaky", action="right", condition="result.output.n > 2")
    .edge("flaky", "try")
    .edge("try", "each")
    .edge("each", "ask")
)


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[GraphEvent] = []

    async def __call__(self, event: GraphEvent) -> None:
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


async def waits(app: Stepwell, id: str, node: str = "ask") -> None:
    async def reached() -> bool:
        return any(wait.detail == node for wait in (await app.runs.get(id)).waiting)

    await until(reached)


async def told(sink: Sink, type: str = "workflow:finish") -> None:
    async def is_told() -> bool:
        return type in sink.types

    await until(is_told)


def test_every_kind_of_event_is_told_in_order(app_of: OpenApp) -> None:
    sink = Sink()

    async def body() -> list[GraphEvent]:
        async with app_of(FLOW, event_sinks=[sink]) as app:
            handle = await app.start(FLOW, {"items": [1, 2]}, id="t")
            await waits(app, "t")
            await handle.send(go, {})
            await handle.result()
            await told(sink)
            return await app.runs.node_events("t")

    events = run(body())
    flow = [(event.type, event.payload.get("visit") or event.payload.get("nodeId", "")) for event in events]
    assert flow == [
        ("workflow:start", ""),
        ("node:start", "choose"),
        ("context:change", ""),
        ("node:finish", "choose"),
        ("edge:evaluate", ""),
        ("node:skipped", "left"),
        ("node:start", "flaky"),
        ("node:retry", "flaky"),
        ("node:finish", "flaky"),
        ("node:start", "try"),
        ("node:error", "try"),
        ("node:fallback", "try"),
        ("node:start", "calm"),
        ("node:finish", "calm"),
        ("node:start", "each_scatter"),
        ("batch:start", ""),
        ("node:start", "each[0]"),
        ("node:start", "each[1]"),
        ("node:finish", "each[0]"),
        ("node:finish", "each[1]"),
        ("node:finish", "each_scatter"),
        ("node:start", "each_gather"),
        ("context:change", ""),
        ("batch:finish", ""),
        ("node:finish", "each_gather"),
        ("node:start", "ask"),
        ("node:finish", "ask"),
        ("workflow:finish", ""),
    ]
    assert all(event.payload["executionId"] == "t" for event in events)
    assert all(event.payload["blueprintId"] == "told" for event in events)
    assert [event.seq for event in events] == sorted(event.seq for event in events)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert len({event.id for event in events}) == len(events)


def test_sinks_are_told_what_the_journal_tells(app_of: OpenApp) -> None:
    sink = Sink()

    async def body() -> list[GraphEvent]:
        async with app_of(FLOW, event_sinks=[sink]) as app:
            handle = await app.start(FLOW, {"items": [1, 2]}, id="t")
            await waits(app, "t")
            await app.runs.pause("t", "a break")
            await until(lambda: _is(app, "paused"))
            await handle.send(go, {"n": 1})
            await app.runs.resume("t")
            await handle.result()
            await told(sink)
            return await app.runs.node_events("t")

    events = run(body())
    by_id = {event.id: event for event in events}
    assert {event.id: event for event in sink.events} == by_id
    assert {"workflow:pause", "workflow:resume"} <= set(sink.types)


async def _is(app: Stepwell, status: str) -> bool:
    return (await app.runs.get("t")).status == status


def test_a_run_that_is_tried_again_tells_each_generation() -> None:
    sink, tries = Sink(), list[int]()

    @step(retry=None)
    async def third_time() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return "now"

    flow: Blueprint[Any, Any] = (
        Blueprint("anew", retry=Retry(attempts=3, first_delay=0))
        .node("one", echo)
        .node("two", third_time)
        .edge("one", "two")
    )

    async def body() -> list[GraphEvent]:
        async with Stepwell("memory://", include=[flow], event_sinks=[sink]) as app:
            await (await app.start(flow, {}, id="a")).result()
            await told(sink)
            return await app.runs.node_events("a")

    events = run(body())
    assert {event.id: event for event in sink.events} == {event.id: event for event in events}
    assert len({event.id for event in events}) == len(events)
    counts = Counter(event.type for event in events)
    assert (counts["workflow:start"], counts["workflow:resume"], counts["workflow:finish"]) == (1, 2, 1)
    assert counts["node:error"] == 2


def test_after_a_crash_the_tail_comes_again_with_the_same_ids() -> None:
    sink = Sink()

    async def body(test: StepwellTest) -> None:
        await test.crash_everywhere(FLOW, {"items": [1]}, messages=[(go, "1h", {})])

    with StepwellTest(event_sinks=[sink]) as test:
        test.drive(body(test))
    by_id: dict[str, GraphEvent] = {}
    crashed = [event for event in sink.events if event.run]
    for event in crashed:
        same = by_id.setdefault(event.id, event)
        assert (same.type, same.payload.get("visit")) == (event.type, event.payload.get("visit"))
    assert len(by_id) < len(crashed)


def test_a_sink_that_fails_or_hangs_is_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    good, hangs = Sink(), threading.Event()

    async def bad(event: GraphEvent) -> None:
        raise ValueError("no sink")

    async def slow(event: GraphEvent) -> None:
        await asyncio.sleep(3600)

    def stuck(event: GraphEvent) -> None:
        hangs.wait(60)

    async def body() -> int:
        async with Stepwell("memory://", include=[FLOW], event_sinks=[bad, slow, stuck, good]) as app:
            assert app._events is not None
            app._events = EventBus([bad, slow, stuck, good], limit=30)
            for number in range(3):
                handle = await app.start(FLOW, {"items": []}, id=f"r{number}")
                await handle.send(go, {})
                await handle.result()
            hangs.set()
            return app._events.dropped

    with caplog.at_level(logging.WARNING, "stepwell"):
        assert run(body()) > 0
    assert good.types.count("workflow:finish") == 3
    texts = [record.getMessage() for record in caplog.records if "event sink" in record.getMessage()]
    assert sum("bad failed; this is said once" in text for text in texts) == 1
    assert sum("too slow" in text for text in texts) == 2


def test_a_plain_function_is_told_in_a_thread_of_its_own() -> None:
    seen: list[tuple[str, str]] = []

    def sink(event: GraphEvent) -> None:
        seen.append((event.type, threading.current_thread().name))
        raise ValueError("and goes on")

    flow: Blueprint[Any, Any] = Blueprint("small").node("one", echo)

    async def body() -> None:
        async with Stepwell("memory://", include=[flow], event_sinks=[sink]) as app:
            await (await app.start(flow, None)).result()

    run(body())
    assert seen == [
        (type, "stepwell event sink") for type in ("workflow:start", "node:start", "node:finish", "workflow:finish")
    ]


def test_only_what_can_be_called_is_a_sink() -> None:
    with pytest.raises(DefinitionError, match="event_sinks holds 3; give functions of an event"):
        Stepwell("memory://", event_sinks=[3])  # type: ignore[list-item]


def test_functions_have_no_node_events_and_tell_nothing() -> None:
    sink = Sink()

    @workflow
    async def plain(ctx: Context) -> int:
        return 1

    async def body() -> None:
        async with Stepwell("memory://", include=[plain], event_sinks=[sink]) as app:
            await (await app.start(plain, id="p")).result()
            with pytest.raises(DefinitionError, match="workflow plain is a function"):
                await app.runs.node_events("p")

    run(body())
    assert sink.events == []


def test_writes_of_built_in_nodes_are_told() -> None:
    inner: Blueprint[Any, Any] = Blueprint("inner").set("one", made="1")
    flow: Blueprint[Any, Any] = (
        Blueprint("writes").set("both", a="1", b="2").subflow("sub", inner, outputs={"c": "made"}).edge("both", "sub")
    )

    async def body() -> list[tuple[str, str]]:
        async with Stepwell("memory://", include=[flow]) as app:
            await (await app.start(flow, None, id="w")).result()
            events = await app.runs.node_events("w")
            changes = [event.payload for event in events if event.type == "context:change"]
            return [(change["sourceNode"], change["key"]) for change in changes]

    assert run(body()) == [("both", "a"), ("both", "b"), ("one", "made"), ("sub", "c")]


def test_a_failed_run_tells_its_errors_at_the_end() -> None:
    flow: Blueprint[Any, Any] = Blueprint("bad").node("one", broken)

    async def body() -> dict[str, Any]:
        async with Stepwell("memory://", include=[flow]) as app:
            await app.client.ended((await app.start(flow, None, id="b")).id)
            return (await app.runs.node_events("b"))[-1].payload

    assert run(body()) == {
        "status": "failed",
        "errors": ["ValueError: node 'one': never"],
        "executionId": "b",
        "blueprintId": "bad",
    }


def test_a_run_that_never_began_tells_its_end_only() -> None:
    flow: Blueprint[Any, Any] = Blueprint("never").node("one", echo)

    async def body() -> list[str]:
        async with Stepwell("memory://", include=[flow]) as app:
            await app.start(flow, None, id="n", delay="1h")
            assert await app.runs.node_events("n") == []
            await app.runs.cancel("n", "changed my mind")
            await app.client.ended("n")  # type: ignore[arg-type]
            return [event.type for event in await app.runs.node_events("n")]

    assert run(body()) == ["workflow:finish"]
