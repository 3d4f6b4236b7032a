"""What docs/flowcraft.md promises and no other test shows, through the public door, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from stepwell import Blueprint, Event, NodeContext, NodeResult, RunCancelledError, Stepwell
from stepwell.testing import StepwellTest

log: list[str] = []
paid = Event("paid", dict[str, Any])


@pytest.fixture(autouse=True)
def _clean() -> None:
    log.clear()


def drive(body: Callable[[StepwellTest], Coroutine[Any, Any, Any]], *include: object) -> Any:
    with StepwellTest(include=include) as test:
        return test.drive(body(test))


def now() -> int:
    """Virtual seconds."""
    return round(asyncio.get_running_loop().time())


async def echo(ctx: NodeContext[Any]) -> Any:
    log.append(f"{ctx.node_id} {ctx.input}")
    return ctx.input


async def takes(ctx: NodeContext[Any]) -> Any:
    """Takes as many seconds as its settings say."""
    log.append(f"{ctx.node_id} begins at {now()}")
    await asyncio.sleep(ctx.params.get("seconds", 1))
    return ctx.node_id


async def waiting_at(app: Stepwell, run: str, *nodes: str) -> None:
    state = await app.runs.state(run)
    while set(nodes) - set(state.waiting):
        assert state.status in ("queued", "running", "waiting"), state.error
        await asyncio.sleep(1)
        state = await app.runs.state(run)


def test_a_slow_node_holds_up_only_what_waits_for_it() -> None:
    flow = (
        Blueprint("f")
        .node("fast", takes, params={"seconds": 1})
        .node("slow", takes, params={"seconds": 100})
        .node("after fast", takes)
        .node("both", takes)
        .edge("fast", "after fast")
        .edge("after fast", "both")
        .edge("slow", "both")
    )

    async def body(test: StepwellTest) -> list[str]:
        began = now()
        await test.run(flow, {})
        return [f"{line.rpartition(' ')[0]} {int(line.rpartition(' ')[2]) - began}" for line in log]

    assert drive(body) == [
        "fast begins at 0",
        "slow begins at 0",
        "after fast begins at 1",
        "both begins at 100",
    ]


def test_all_nodes_that_nothing_leads_to_begin() -> None:
    flow = Blueprint("f").node("a", echo).node("b", echo).node("c", echo).node("d", echo)
    flow.edge("a", "c").edge("b", "c")

    with StepwellTest() as test:
        assert test.run_sync(flow, 1).result == {"c": 1, "d": 1}
    assert sorted(log) == ["a 1", "b 1", "c 1", "d 1"]


def test_a_cancelled_run_stops_what_runs_and_keeps_what_it_had() -> None:
    async def stopped(ctx: NodeContext[Any]) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            log.append("stopped")
            raise

    async def write(ctx: NodeContext[Any]) -> str:
        ctx.state.set("kept", 1)
        return "done"

    flow = Blueprint("f").node("write", write).node("slow", stopped).node("never", echo)
    flow.edge("write", "slow").edge("slow", "never")

    async def body(test: StepwellTest) -> Any:
        handle = await test.start(flow, {})
        await test.sleep("10s")
        await handle.cancel("wrong address")
        with pytest.raises(RunCancelledError):
            await handle.result()
        return await test.app.runs.state(handle.id)

    state = drive(body)
    assert log == ["stopped"]
    assert (state.status, state.state) == ("cancelled", {"kept": 1})
    assert {id: node.status for id, node in state.nodes.items()} == {
        "write": "completed",
        "slow": "cancelled",
        "never": "pending",
    }


def test_concurrency_is_a_window_that_slides() -> None:
    flow = Blueprint("f", concurrency=2)
    for name, seconds in {"a": 10, "b": 1, "c": 1, "d": 1}.items():
        flow.node(name, takes, params={"seconds": seconds})

    async def body(test: StepwellTest) -> list[str]:
        began = now()
        await test.run(flow, {})
        return [f"{line.split()[0]} {int(line.rpartition(' ')[2]) - began}" for line in log]

    assert drive(body) == ["a 0", "b 0", "c 1", "d 2"]


def test_a_wait_takes_an_event_of_its_name() -> None:
    flow = Blueprint("f").wait("pay", paid).node("yes", echo).node("no", echo)
    flow.edge("pay", "yes", action="ok").edge("pay", "no", action="failed")

    async def body(test: StepwellTest) -> Any:
        handle = await test.start(flow, {})
        await waiting_at(test.app, handle.id, "pay")
        await test.app.publish(Event("other", dict[str, Any]), {"action": "failed"})
        await test.app.publish(paid, {"action": "ok", "sum": 3})
        return await handle.result()

    assert drive(body) == {"action": "ok", "sum": 3}


def test_a_sleep_takes_its_time_whatever_else_is_answered() -> None:
    flow = Blueprint("f").sleep("rest", "1h").node("rested", takes).wait("ask").node("asked", takes)
    flow.edge("rest", "rested").edge("ask", "asked")

    async def body(test: StepwellTest) -> list[str]:
        began = now()
        handle = await test.start(flow, {})
        await waiting_at(test.app, handle.id, "ask")
        await handle.resume("ask")
        await handle.result()
        return [f"{line.split()[0]} {(int(line.rpartition(' ')[2]) - began) // 3600}" for line in log]

    assert drive(body) == ["asked 0", "rested 1"]


def test_several_timers_of_a_run_each_fire_once() -> None:
    flow = Blueprint("f", result={"a": "two", "b": "three"})
    flow.sleep("one", "1h").sleep("two", "1h").sleep("three", "90m").edge("one", "two")
    for name in ("one", "two", "three"):
        flow.node(f"after {name}", takes).edge(name, f"after {name}")

    async def body(test: StepwellTest) -> list[str]:
        began = now()
        await test.run(flow, {})
        return [f"{line.split()[1]} {(int(line.rpartition(' ')[2]) - began) // 60}" for line in log]

    assert drive(body) == ["one 60", "three 90", "two 120"]


@pytest.mark.parametrize("is_early", [True, False])
def test_a_webhook_takes_a_call_also_an_early_one(is_early: bool) -> None:
    flow = Blueprint("f").webhook("link").sleep("later", "1h").wait("call", "webhook:link").node("end", echo)
    flow.edge("link", "later").edge("later", "call").edge("call", "end")

    async def body(test: StepwellTest) -> Any:
        handle = await test.start(flow, {})
        await test.sleep("1m")
        if not is_early:
            await waiting_at(test.app, handle.id, "call")
        hook = (await test.app.runs.state(handle.id)).nodes["link"].output
        assert hook["url"].endswith(hook["token"])
        assert hook["event"] == "webhook:link"
        await test.app.complete(hook["token"], {"by": "mail"})
        return await handle.result()

    assert drive(body) == {"by": "mail"}


def test_a_pause_starts_nothing_new_and_skips_nothing() -> None:
    flow = Blueprint("f").node("a", takes, params={"seconds": 60}).node("b", takes).edge("a", "b")

    async def body(test: StepwellTest) -> Any:
        handle = await test.start(flow, {})
        await test.sleep("10s")
        await test.app.runs.pause(handle.id)
        await test.sleep("1h")
        assert [line.split()[0] for line in log] == ["a"]
        await test.app.runs.resume(handle.id)
        await handle.result()

    drive(body)
    assert [line.split()[0] for line in log] == ["a", "b"]


def test_nodes_log_under_their_name(caplog: pytest.LogCaptureFixture) -> None:
    async def speak(ctx: NodeContext[Any]) -> None:
        ctx.log.info("hello %s", ctx.input)

    with caplog.at_level(logging.INFO), StepwellTest() as test:
        test.run_sync(Blueprint("f").node("speaker", speak), "you")

    record = next(record for record in caplog.records if record.getMessage() == "hello you")
    assert record.name.startswith("stepwell")
    assert "speaker" in record.name


def test_dynamic_nodes_survive_a_crash_at_every_write() -> None:
    async def create(ctx: NodeContext[Any]) -> NodeResult:
        made = [{"id": f"made-{n}", "uses": "echo", "inputs": "number"} for n in range(2)]
        return NodeResult(output={"gatherNodeId": "end"}, dynamic_nodes=made)

    flow = Blueprint("f").node("create", create).node("end", echo, inputs={"a": "made-0", "b": "made-1"})
    flow.edge("create", "end")
    flow.implementations["echo"] = echo

    async def body(test: StepwellTest) -> None:
        await test.crash_everywhere(flow, {"number": 4})
        assert (await test.run(flow, {"number": 4})).result == {"a": 4, "b": 4}

    drive(body)


def test_a_batch_in_a_loop_in_a_subflow_has_its_items_each_time() -> None:
    async def grow(ctx: NodeContext[Any]) -> Any:
        return [*(ctx.input if isinstance(ctx.input, list) else []), 1]

    async def double(ctx: NodeContext[int]) -> int:
        return 2 * ctx.input

    inner = Blueprint("inner").node("begin", "start").node("grow", grow).batch("each", double, over="grow")
    inner.loop("again", start="grow", end="each", condition="each_gather.length < 3")
    inner.edge("begin", "grow").edge("grow", "each").node("end", echo).edge("again", "end")
    flow = Blueprint("outer").subflow("sub", inner).wait("ask", "go").edge("sub", "ask").node("end", echo, inputs="sub")
    flow.edge("ask", "end")

    async def body(test: StepwellTest) -> Any:
        handle = await test.start(flow, [])
        await waiting_at(test.app, handle.id, "ask")
        await handle.resume("ask")
        return await handle.result()

    assert drive(body) == [8, 4, 2]
