"""The acceptance tests of blueprints, 20 to 29: other workers, sinks, ends, recovery, histories, sizes, names."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from stepwell import BackendError, Blueprint, FatalError, NodeContext, NodeResult, RunClosedError, RunError
from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.ports import NewRun
from stepwell.testing.faults import Call
from tests.blueprints.realms import Realm, committed, did, effects, stands, survives

Flow = Blueprint[Any, Any]


async def echo(ctx: NodeContext[Any]) -> Any:
    did()
    return ctx.input


async def name(ctx: NodeContext[Any]) -> str:
    did()
    return ctx.node_id


def versioned(version: str, last: str) -> Flow:
    flow: Flow = Blueprint("priced", version=version).node("a", name).wait("wait").node(last, name)
    return flow.edge("a", "wait").edge("wait", last)


def test_20_workers_without_the_version_or_the_blueprint_do_no_harm(realm: Realm) -> None:
    old, new = versioned("1", "old"), versioned("2", "new")
    other: Flow = Blueprint("other").node("x", name)

    async def body() -> None:
        async with realm.app(old) as client, realm.working(new), realm.working(other):
            handle = await client.start(old, None, id="r")
            await asyncio.sleep(60)
            assert (await client.runs.get("r")).status == "queued"
            async with realm.working(old) as worker:
                await stands(worker, "r", "wait")
            await handle.resume("wait")
            await asyncio.sleep(60)
            assert await committed(client, "r") == {"a": 1}
            async with realm.working(old):
                assert await handle.result() == "old"
            assert (await client.runs.get("r")).takes <= 2

    realm.run(body())


def test_20_a_run_goes_by_the_blueprint_that_it_began_with(realm: Realm) -> None:
    before, after = versioned("", "old"), versioned("", "new")

    async def body() -> None:
        async with realm.app(before) as client:
            handle = await client.start(before, None, id="r")
            async with realm.working(before) as worker:
                await stands(worker, "r", "wait")
            await handle.resume("wait")
            async with realm.working(after):
                assert await handle.result() == "old"

    realm.run(body())


PAIR: Flow = Blueprint("pair").node("a", name).node("b", echo).edge("a", "b")


def test_21_a_failing_event_sink_does_not_fail_a_run(realm: Realm) -> None:
    told: list[str] = []

    def sink(event: Any) -> None:
        told.append(event.type)
        raise OSError("nobody listens")

    async def body() -> None:
        async with realm.working(PAIR, event_sinks=[sink]) as app:
            assert await (await app.start(PAIR, None)).result() == "a"

    realm.run(body())
    assert "node:finish" in told


def test_21_a_broker_that_cannot_send_does_not_fail_a_run(realm: Realm) -> None:
    async def deaf(call: Call) -> Any:
        if call.port == "queue" and call.method in {"publish", "notify"}:
            raise BackendError("the broker is down")
        return await call.apply()

    async def body() -> None:
        async with realm.app(PAIR, policy=deaf) as client, realm.working(PAIR, policy=deaf):
            assert await (await client.start(PAIR, None)).result() == "a"

    realm.run(body())


async def fatal(ctx: NodeContext[Any]) -> None:
    raise FatalError("for good")


async def broken(ctx: NodeContext[Any]) -> None:
    raise ValueError("it is broken")


async def slow(ctx: NodeContext[Any]) -> str:
    await asyncio.sleep(30)
    did()
    return "late"


@pytest.mark.parametrize("code", [fatal, broken])
def test_22_a_failed_run_stays_failed(realm: Realm, code: Any) -> None:
    flow: Flow = Blueprint("failing").node("bad", code).node("slow", slow).node("after", name).wait("wait")
    flow.edge("slow", "after").edge("after", "wait")
    seen: list[str] = []

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, None, id="r")
            failing = asyncio.create_task(_error_of(handle.result()))
            while seen.count("failed") < 6:
                seen.append((await app.runs.get("r")).status)
                seen.append((await app.runs.state("r")).status)
                await asyncio.sleep(5)
                if "wait" in (await app.runs.state("r")).waiting:
                    await handle.resume("wait")
            assert "node 'bad'" in str(await failing)
            await asyncio.sleep(60)
            assert (await app.runs.get("r")).status == "failed"
            assert (await app.runs.state("r")).nodes["bad"].status == "failed"
            with pytest.raises(RunClosedError):
                await handle.cancel()

    realm.run(body())
    first = seen.index("failed")
    assert set(seen[:first]) <= {"queued", "running", "waiting"}
    assert set(seen[first:]) == {"failed"}
    assert effects["r/slow"] == (0 if code is fatal else 1)


async def _error_of(result: Any) -> BaseException:
    with pytest.raises(RunError) as caught:
        await result
    return caught.value


def test_23_a_recovery_pass_over_100_000_finished_runs_touches_none(realm: Realm) -> None:
    touched: list[str] = []

    async def watch(call: Call) -> Any:
        answer = await call.apply()
        if call.name == "store.take":
            touched.extend(head.id for head in answer.heads)
        elif call.name in {"store.load", "store.append", "store.park", "store.renew", "store.deliver"}:
            touched.append(call.name)
        return answer

    async def body() -> None:
        async with realm.app(PAIR) as client:
            now = realm.clock.now()
            for first in range(0, 100_000, 1000):
                heads = [
                    Head(id=RunId(f"r{n}"), workflow="pair", status="completed", created_at=now, ended_at=now)
                    for n in range(first, first + 1000)
                ]
                await client.backend.store.create([NewRun(head=head, frames=(b"{}",)) for head in heads])
        async with realm.app(PAIR, policy=watch) as app, app.worker(lease="10s"):
            await asyncio.sleep(60)

    realm.run(body())
    assert touched == []


def test_24_a_transform_beside_a_mapping_gives_the_same_on_any_worker(realm: Realm) -> None:
    flow: Flow = (
        Blueprint("mapped").node("a", name).node("b", name).node("c", echo, inputs="a").node("d", echo, inputs="b")
    )
    flow.edge("a", "b").edge("b", "c", transform="[input]").edge("c", "d", transform="[input, context.a]")

    def check(value: Any) -> None:
        assert value == ["b", "a"]

    for counter in realm.run(survives(realm, flow, None, check)):
        assert counter == {"a": 1, "b": 1, "c": 1, "d": 1}


@pytest.mark.parametrize("delays", [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 0, "b": 0}])
def test_25_the_input_of_a_join_does_not_depend_on_who_comes_first(realm: Realm, delays: dict[str, int]) -> None:
    async def arrive(ctx: NodeContext[Any]) -> str:
        await asyncio.sleep(delays[ctx.node_id])
        return ctx.node_id

    flow: Flow = Blueprint("joined").node("a", arrive).node("b", arrive).node("c", echo).edge("b", "c").edge("a", "c")

    async def body() -> None:
        async with realm.working(flow) as app:
            assert await (await app.start(flow, None)).result() == "a"

    realm.run(body())


HISTORY: Flow = (
    Blueprint("history")
    .node("a", name)
    .wait("wait")
    .node("b", echo)
    .node("c", name)
    .edge("a", "wait")
    .edge("wait", "b")
).edge("wait", "c")


def test_26_the_history_of_one_run_is_found_by_its_id_in_order_and_replays(realm: Realm) -> None:
    async def body() -> None:
        async with realm.working(HISTORY) as app:
            handles = [await app.start(HISTORY, None, id=id) for id in ("one", "two")]
            for handle in reversed(handles):
                await stands(app, handle.id, "wait")
                await handle.resume("wait", output=handle.id)
                assert await handle.result() == {"b": handle.id, "c": "c"}

            events = await app.runs.node_events("one")
            assert {event.run for event in events} == {"one"}
            assert [event.seq for event in events] == sorted(event.seq for event in events)
            finished = [event.payload["nodeId"] for event in events if event.type == "node:finish"]
            assert finished[:2] == ["a", "wait"]
            assert sorted(finished[2:]) == ["b", "c"]

            assert (await app.runs.replay("one")).is_ok
            last = (await app.runs.get("one")).seq
            seen = [set(await _completed(app, "one", at)) for at in range(1, last + 1)]
            assert all(before <= after for before, after in pairwise(seen))
            assert seen[-1] == {"a", "wait", "b", "c"}

    realm.run(body())


async def _completed(app: Any, run: str, at: int) -> list[str]:
    state = await app.runs.state(run, at=at)
    return [id for id, node in state.nodes.items() if node.status == "completed"]


def test_27_a_result_may_be_larger_than_a_megabyte(realm: Realm) -> None:
    async def grow(ctx: NodeContext[Any]) -> str:
        ctx.state.set("copy", "y" * 1_500_000)
        return "x" * 3_000_000

    async def measure(ctx: NodeContext[Any]) -> Any:
        return {"text": ctx.input, "copy": ctx.state["copy"]}

    flow: Flow = Blueprint("large").node("grow", grow).wait("wait").node("measure", measure, inputs="grow")
    flow.edge("grow", "wait").edge("wait", "measure")

    async def body() -> None:
        async with realm.working(flow) as app:
            handle = await app.start(flow, None, id="r")
            await stands(app, "r", "wait")
            await handle.resume("wait", output="z" * 1_200_000)
            result = await handle.result()
            assert (len(result["text"]), len(result["copy"])) == (3_000_000, 1_500_000)
            assert len((await app.runs.state("r")).nodes["wait"].output) == 1_200_000

    realm.run(body())


COLONS: Flow = (
    Blueprint("flow:with:colons")
    .node("a", name)
    .node("a:2", name)
    .wait("w:x")
    .batch("each:1", echo, over="items")
    .node("b:c", echo)
    .edge("a", "w:x")
    .edge("a:2", "w:x")
    .edge("w:x", "each:1")
    .edge("each:1", "b:c")
)


def test_28_ids_may_hold_colons(realm: Realm) -> None:
    async def body() -> None:
        async with realm.working(COLONS) as app:
            for id in ("tenant:7:r", "tenant:7", "tenant:7:r:"):
                handle = await app.start(COLONS, {"items": [1, 2]}, id=id)
                await stands(app, id, "w%3Ax")
                assert await handle.resume("w:x", output=id)
                assert await handle.result() == [1, 2]
                nodes = (await app.runs.state(id)).nodes
                assert (nodes["w%3Ax"].output, nodes["a"].output, nodes["a%3A2"].output) == (id, "a", "a:2")

    realm.run(body())


# As the builder of the TypeScript library writes it: class names for built-in nodes, names made of hashes, a loop whose
# edges hold its transforms, fields of an editor.
WRITTEN = {
    "id": "orders",
    "metadata": {"version": "1.4.0", "cycleEntryPoints": ["count"], "origin": {"tool": "editor"}},
    "nodes": [
        {
            "id": "load",
            "uses": "fn_1a2b3c",
            "params": {"limit": 3},
            "_sourceLocation": {"file": "a.ts", "line": 3, "column": 1},
        },
        {
            "id": "each_scatter",
            "uses": "BatchScatterNode",
            "inputs": "load",
            "params": {"workerUsesKey": "fn_batch_worker_9f", "outputKey": "squares", "gatherNodeId": "each_gather"},
        },
        {
            "id": "each_gather",
            "uses": "BatchGatherNode",
            "params": {"outputKey": "squares", "gatherNodeId": "each_gather"},
            "config": {"joinStrategy": "all"},
        },
        {
            "id": "again",
            "uses": "loop-controller",
            "params": {"condition": "rounds < 3"},
            "config": {"joinStrategy": "any"},
        },
        {"id": "count", "uses": "fn_c0"},
        {"id": "approve", "uses": "WaitNode", "params": {}, "position": {"x": 1, "y": 2}},
        {
            "id": "ship",
            "uses": "class_ship_1",
            "inputs": {"sum": "squares", "by": "approve.by"},
            "config": {"maxRetries": 2, "fallback": "hold"},
        },
        {"id": "hold", "uses": "fn_hold"},
        {"id": "refuse", "uses": "fn_hold"},
    ],
    "edges": [
        {"source": "load", "target": "each_scatter"},
        {"source": "each_scatter", "target": "each_gather"},
        {"source": "each_gather", "target": "again"},
        {"source": "count", "target": "again"},
        {"source": "again", "target": "count", "action": "continue", "transform": 'context["count"]'},
        {"source": "again", "target": "approve", "action": "break", "transform": 'context["count"]'},
        {"source": "approve", "target": "ship", "action": "yes"},
        {"source": "approve", "target": "refuse", "action": "no", "style": "dashed"},
    ],
}


def written_code() -> dict[str, Any]:
    async def load(ctx: NodeContext[Any]) -> list[int]:
        ctx.state.set("rounds", 0)
        return list(range(ctx.params["limit"]))

    async def square(ctx: NodeContext[int]) -> int:
        return ctx.input * ctx.input

    async def count(ctx: NodeContext[Any]) -> NodeResult:
        ctx.state.set("rounds", ctx.state["rounds"] + 1)
        return NodeResult(output=ctx.state["rounds"])

    class Ship:
        def __init__(self, params: Any, node_id: str) -> None:
            self.node_id = node_id

        async def prep(self, ctx: NodeContext[Any]) -> Any:
            return ctx.input

        async def exec(self, prepared: Any, ctx: NodeContext[Any]) -> Any:
            if prepared["by"] == "nobody":
                raise ValueError("who?")
            return {self.node_id: sum(prepared["sum"])}

    async def hold(ctx: NodeContext[Any]) -> str:
        return "held"

    return {"fn_1a2b3c": load, "fn_batch_worker_9f": square, "fn_c0": count, "class_ship_1": Ship, "fn_hold": hold}


def test_29_a_document_of_the_typescript_library_loads_unchanged_and_runs(realm: Realm) -> None:
    flow = Blueprint.from_json(json.dumps(WRITTEN), include=written_code())

    async def body() -> None:
        async with realm.working(flow) as app:
            for answer, expected in {"ada": {"ship": 5}, "nobody": "held"}.items():
                handle = await app.start(flow, None, id=answer)
                await stands(app, answer, "approve")
                await handle.resume("approve", action="yes", output={"by": answer})
                assert await handle.result() == expected
                assert (await app.runs.state(answer)).state["rounds"] == 3
                assert (await app.runs.get(answer)).version == "1.4.0"

    realm.run(body())
    assert json.loads(flow.to_json()) == WRITTEN
    assert list(json.loads(flow.to_json())) == list(WRITTEN)
