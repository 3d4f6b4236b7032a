"""Where the nodes of a run stand, now and at any frame."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Blueprint,
    Codec,
    Context,
    DefinitionError,
    NodeContext,
    NodeResult,
    Retry,
    RunNotFoundError,
    Signal,
    Stepwell,
    WorkflowRef,
    step,
    workflow,
)

go = Signal("go", int)


@step
async def fetch(sku: str) -> dict[str, Any]:
    return {"sku": sku, "price": 7}


@step(retry=None)
async def broken() -> None:
    raise ValueError("it is broken")


@step(retry=Retry(attempts=3, first_delay="1h"))
async def flaky() -> None:
    raise ValueError("not yet")


async def judge(ctx: NodeContext[Any]) -> NodeResult:
    ctx.state.set("judged", True)
    return NodeResult(output=ctx.input, action="cheap" if ctx.input["price"] < 10 else "dear")


async def double(ctx: NodeContext[int]) -> int:
    return ctx.input * 2


async def calm(ctx: NodeContext[Any]) -> str:
    return "calm"


@workflow
async def helper(ctx: Context, n: int) -> int:
    return await ctx.receive(go) + n


WATCH: Blueprint[Any, Any] = (
    Blueprint("watch")
    .node("fetch", fetch, inputs={"sku": "sku"})
    .node("judge", judge)
    .wait("approve")
    .node("drop", calm)
    .node("buy", calm)
    .edge("fetch", "judge")
    .edge("judge", "approve", action="cheap")
    .edge("judge", "drop", action="dear")
    .edge("approve", "buy", action="yes")
    .edge("approve", "drop", action="no")
)


async def stands(app: Stepwell, id: str, *waiting: str) -> None:
    async def reached() -> bool:
        head = await app.runs.get(id)
        return head.status == "waiting" and {wait.name for wait in head.waiting} >= set(waiting)

    await until(reached)


def test_a_waiting_run_shows_each_node_and_the_state(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(WATCH) as app:
            await app.start(WATCH, {"sku": "a"}, id="w")
            await stands(app, "w", "approve")
            state = await app.runs.state("w")

            assert {id: node.status for id, node in state.nodes.items()} == {
                "fetch": "completed",
                "judge": "completed",
                "approve": "waiting",
                "drop": "pending",
                "buy": "pending",
            }
            assert state.nodes["fetch"].output == {"sku": "a", "price": 7}
            assert state.nodes["judge"].action == "cheap"
            assert state.nodes["judge"].visits == 1
            assert state.nodes["judge"].visit == "judge"
            assert state.nodes["judge"].started_at is not None
            assert state.state == {"sku": "a", "judged": True}
            assert state.taken == (0, 1)
            assert state.waiting == ("approve",)
            assert (state.run, state.blueprint, state.status) == ("w", "watch", "waiting")
            assert (state.result, state.error) == (None, "")

    run(body())


def test_a_run_that_has_ended_shows_its_result_and_what_was_skipped(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(WATCH) as app:
            handle = await app.start(WATCH, {"sku": "a"}, id="w")
            await stands(app, "w", "approve")
            await handle.resume("approve", action="yes")
            assert await handle.result() == "calm"
            state = await app.runs.state("w")

            assert state.status == "completed"
            assert state.result == "calm"
            assert state.nodes["drop"].status == "skipped"
            assert state.nodes["buy"].output == "calm"
            assert state.taken == (0, 1, 3)
            assert state.waiting == ()

    run(body())


def test_every_frame_can_be_looked_at(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(WATCH) as app:
            handle = await app.start(WATCH, {"sku": "a"}, id="w")
            await stands(app, "w", "approve")
            await handle.resume("approve", action="no")
            await handle.result()
            last = (await app.runs.get("w")).seq
            states = [await app.runs.state("w", at=at) for at in range(1, last + 1)]

            assert [state.seq for state in states] == list(range(1, last + 1))
            assert states[0].status == "running"
            assert states[0].nodes["fetch"].status == "running"
            assert states[0].nodes["judge"].status == "pending"
            assert states[-1].nodes["drop"].output == "calm"
            assert [s.nodes["approve"].status for s in states] == sorted(
                (s.nodes["approve"].status for s in states), key=["pending", "waiting", "completed"].index
            )
            assert states[0].at <= states[-1].at

    run(body())


def test_a_run_can_be_looked_at_without_its_implementations(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("parent")
        .node("fetch", fetch, inputs={"sku": "sku"})
        .node("child", helper, inputs="fetch.price")
        .edge("fetch", "child")
    )

    async def body() -> None:
        async with app_of(flow, helper) as app:
            await app.start(flow, {"sku": "a"}, id="p")
            await stands(app, "p", "child")
            looked = await app.runs.state("p")
            export = await app.runs.export("p")
        async with Stepwell("memory://") as other:
            await other.runs.import_(export, id="p")
            state = await other.runs.state("p")
            assert {node.id: node.status for node in state.nodes.values()} == {"fetch": "completed", "child": "running"}
            assert state.nodes == looked.nodes

    run(body())


def test_children_in_batches_and_subflows_are_told_from_steps_without_their_code() -> None:
    inner: Blueprint[Any, Any] = Blueprint("inner").node("a/b", helper, inputs="n").node("c:2", calm)
    flow: Blueprint[Any, Any] = (
        Blueprint("outer").subflow("sub%", inner, inputs={"n": "n"}).batch("each", helper, over="items")
    )

    async def body() -> None:
        async with Stepwell("memory://", include=[flow, helper]) as app:
            await app.start(flow, {"n": 1, "items": [1, 2]}, id="o")

            async def stands() -> bool:
                return len((await app.runs.get("o")).waiting) == 3

            await until(stands)
            export = await app.runs.export("o")
            looked = await app.runs.state("o")
        async with Stepwell("memory://") as other:
            await other.runs.import_(export, id="o")
            state = await other.runs.state("o")
            assert state.nodes == looked.nodes
            assert state.nodes["sub%25/a%2Fb"].status == "running"
            assert state.nodes["sub%25/c%3A2"].status == "completed"
            assert (state.nodes["each_scatter"].items, state.nodes["each_scatter"].done) == (2, 0)

    run(body())


def test_a_run_that_its_starter_had_no_blueprint_for_is_looked_at_where_one_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def body() -> None:
        async with Stepwell(url, worker=False) as starter:
            await starter.start(WorkflowRef("watch"), {"sku": "a"}, id="w")
            with pytest.raises(
                DefinitionError, match="its workflow watch is not in this app, and the run is pinned to no"
            ):
                await starter.runs.state("w")
        async with Stepwell(url, include=[WATCH], worker=False) as app:
            assert (await app.runs.state("w")).nodes["fetch"].status == "pending"

    run(body())


def test_failures_and_what_recovered_them_are_shown(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("careful").node("try", broken, fallback="calm").node("calm", calm).node("bad", broken)
    )

    async def body() -> None:
        async with app_of(flow) as app:
            handle = await app.start(flow, None, id="c")
            with pytest.raises(Exception, match="it is broken"):
                await handle.result()
            state = await app.runs.state("c")

            assert state.status == "failed"
            assert "node 'bad'" in state.error
            assert state.nodes["try"].status == "recovered"
            assert state.nodes["try"].output == "calm"
            assert "it is broken" in state.nodes["try"].error
            assert state.nodes["bad"].status == "failed"
            assert state.nodes["bad"].output is None

    run(body())


def test_a_node_between_two_attempts_says_so(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("again").node("flaky", flaky)

    async def body() -> None:
        async with app_of(flow) as app:
            await app.start(flow, None, id="a")
            await until(lambda: _waits(app, "a"))
            node = (await app.runs.state("a")).nodes["flaky"]

            assert (node.status, node.attempt) == ("running", 2)
            assert "not yet" in node.error
            assert node.until is not None

    run(body())


async def _waits(app: Stepwell, id: str) -> bool:
    return bool((await app.runs.get(id)).waiting)


def test_batches_loops_and_subflows_are_looked_into(app_of: OpenApp) -> None:
    inner: Blueprint[Any, Any] = Blueprint("inner").set("noted", seen="input").wait("ask").edge("noted", "ask")
    flow: Blueprint[Any, Any] = (
        Blueprint("outer")
        .batch("each", double, over="items", output_key="doubled")
        .set("count", n="n + 1")
        .loop("more", start="count", end="count", condition="n < 3")
        .subflow("sub", inner)
        .edge("each", "count")
        .edge("more", "sub")
    )

    async def body() -> None:
        async with app_of(flow) as app:
            await app.start(flow, {"items": [1, 2, 3], "n": 0}, id="o")
            await stands(app, "o", "sub/ask")
            state = await app.runs.state("o")

            assert (state.nodes["each_scatter"].items, state.nodes["each_scatter"].done) == (3, 3)
            assert state.state["doubled"] == [2, 4, 6]
            assert state.nodes["count"].visits == 3
            assert state.nodes["count"].visit == "count:3"
            assert state.nodes["more"].status == "completed"
            assert state.nodes["more"].iteration == 3
            assert state.nodes["sub"].status == "running"
            assert state.nodes["sub"].state == {"seen": {"n": 3}, "n": 3}
            assert state.nodes["sub"].taken == (0,)
            assert state.nodes["sub/ask"].status == "waiting"
            assert state.waiting == ("sub/ask",)

    run(body())


def test_a_run_that_has_not_begun_has_no_node_that_did(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(WATCH) as app:
            await app.start(WATCH, {"sku": "a"}, id="later", delay="1h")
            state = await app.runs.state("later")

            assert state.status == "queued"
            assert {node.status for node in state.nodes.values()} == {"pending"}

    run(body())


def test_nodes_of_a_terminated_run_were_cancelled(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(WATCH) as app:
            await app.start(WATCH, {"sku": "a"}, id="w")
            await stands(app, "w", "approve")
            await app.runs.terminate("w", "no more")
            await until(lambda: _ended(app, "w"))
            state = await app.runs.state("w")

            assert (state.status, state.error) == ("terminated", "no more")
            assert state.nodes["approve"].status == "cancelled"

    run(body())


async def _ended(app: Stepwell, id: str) -> bool:
    return (await app.runs.get(id)).is_terminal


def test_frames_of_earlier_generations_can_be_looked_at() -> None:
    tries: list[int] = []

    @step(retry=None)
    async def second_time() -> str:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError("once")
        return "now"

    flow: Blueprint[Any, Any] = Blueprint("anew", retry=Retry(attempts=2, first_delay=0)).node("it", second_time)

    async def body() -> None:
        async with Stepwell("memory://", include=[flow]) as app:
            handle = await app.start(flow, None, id="g")
            assert await handle.result() == "now"
            head = await app.runs.get("g")
            assert head.base > 1

            states = [await app.runs.state("g", at=at) for at in range(1, head.seq + 1)]
            assert [state.nodes["it"].status for state in states] == ["running", "running", "completed"]

    run(body())


def test_encrypted_runs_can_be_looked_at() -> None:
    class Turned:
        def encrypt(self, data: bytes, /) -> bytes:
            return data[::-1]

        def decrypt(self, data: bytes, /) -> bytes:
            return data[::-1]

    async def body() -> None:
        async with Stepwell("memory://", include=[WATCH], codec=Codec(Turned())) as app:
            handle = await app.start(WATCH, {"sku": "a"}, id="w")
            await stands(app, "w", "approve")
            assert (await app.runs.state("w")).nodes["fetch"].output == {"sku": "a", "price": 7}
            assert await handle.resume("approve", action="yes", output={"by": "ada"})
            assert not await handle.resume("approve", action="yes", output={"by": "ada"})
            assert await handle.result() == "calm"
            assert (await app.runs.state("w")).result == "calm"

    run(body())


def test_only_runs_of_blueprints_and_frames_that_exist_can_be_looked_at(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(helper, WATCH) as app:
            await app.start(helper, 1, id="h")
            await app.start(WATCH, {"sku": "a"}, id="w")
            await stands(app, "w", "approve")
            with pytest.raises(DefinitionError, match="its workflow helper is a function"):
                await app.runs.state("h")
            with pytest.raises(DefinitionError, match="run w has no frame 99; its journal goes from 1 to"):
                await app.runs.state("w", at=99)
            with pytest.raises(RunNotFoundError):
                await app.runs.state("nobody")

    run(body())


def test_a_run_in_the_hands_of_a_worker_shows_what_runs() -> None:
    started = asyncio.Event()

    @step
    async def slow() -> None:
        started.set()
        await asyncio.sleep(3600)

    flow: Blueprint[Any, Any] = Blueprint("busy").node("slow", slow)

    async def body() -> None:
        async with Stepwell("memory://", include=[flow]) as app:
            await app.start(flow, None, id="b")
            await started.wait()
            state = await app.runs.state("b")
            assert (state.status, state.nodes["slow"].status) == ("running", "running")
            await app.runs.terminate("b")

    run(body())
