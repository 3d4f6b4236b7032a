"""Forks, retries and restarts of blueprints' runs."""

from __future__ import annotations

from pathlib import Path
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
    RunError,
    Stepwell,
    WorkflowRef,
    step,
    workflow,
)

calls: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    broken.clear()


async def work(ctx: NodeContext[Any]) -> Any:
    calls.append(ctx.id)
    if ctx.node_id in broken:
        raise ValueError(f"{ctx.node_id} is broken")
    return {"from": ctx.id, "got": ctx.input}


async def judge(ctx: NodeContext[Any]) -> NodeResult:
    calls.append(ctx.id)
    ctx.state.set("seen", ctx.input)
    return NodeResult(output="judged", action="yes")


@step
async def double(n: int) -> int:
    calls.append(f"double {n}")
    return 2 * n


@workflow
async def helper(ctx: Context, n: Any) -> str:
    return "helped"


FLOW: Blueprint[Any, Any] = (
    Blueprint("flow")
    .node("judge", judge)
    .node("yes", work)
    .node("no", work)
    .edge("judge", "yes", action="yes")
    .edge("judge", "no", action="no")
)


def test_an_edit_of_a_node_is_its_output_and_the_action_stays(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(FLOW) as app:
            await (await app.start(FLOW, {"a": 1}, id="f")).result()
            calls.clear()
            fork = await app.runs.fork("f", edit={"judge": {"better": True}})

            assert await app.handle(fork).result() == {"from": "yes", "got": {"better": True}}
            assert calls == ["yes"]
            assert (await app.runs.state(fork)).state["seen"] == {"a": 1}

    run(body())


def test_an_edit_can_give_another_action(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(FLOW) as app:
            await (await app.start(FLOW, {}, id="f")).result()
            fork = await app.runs.fork("f", edit={"judge": NodeResult(output=2, action="no")})

            assert await app.handle(fork).result() == {"from": "no", "got": 2}

            with pytest.raises(DefinitionError, match="edit 'judge': nodes cannot be added"):
                await app.runs.fork("f", edit={"judge": NodeResult(dynamic_nodes=[{"id": "x", "uses": "work"}])})

    run(body())


def test_an_edit_of_a_failed_node_is_a_result(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("two").node("one", work).node("two", work).edge("one", "two")

    async def body() -> None:
        async with app_of(flow) as app:
            broken.add("one")
            handle = await app.start(flow, {}, id="t")
            with pytest.raises(RunError, match="one is broken"):
                await handle.result()
            fork = await app.runs.fork("t", edit={"one": "mended"})
            assert await app.handle(fork).result() == {"from": "two", "got": "mended"}

    run(body())


def test_a_fork_from_a_node_does_it_again(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(FLOW) as app:
            await (await app.start(FLOW, {}, id="f")).result()
            calls.clear()
            fork = await app.runs.fork("f", from_step="yes")
            await app.handle(fork).result()
            assert calls == ["yes"]

    run(body())


def test_what_is_no_step_is_said_with_the_cure(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("mixed")
        .node("first", work)
        .wait("ask")
        .batch("each", double, over="items")
        .node("child", helper)
        .edge("first", "ask")
        .edge("ask", "each")
        .edge("each", "child")
    )

    async def body() -> None:
        async with app_of(flow, helper) as app:
            handle = await app.start(flow, {"items": [1, 2]}, id="m")
            await until(lambda: _waits(app, "m"))
            with pytest.raises(DefinitionError, match="run m has no finished step 'child'; it has: first"):
                await app.runs.fork("m", from_step="child")
            await handle.resume("ask")
            assert await handle.result() == "helped"

            with pytest.raises(
                DefinitionError, match=r"node 'ask' of run m is no step \(wait\); fork from the step be"
            ):
                await app.runs.fork("m", from_step="ask")
            with pytest.raises(DefinitionError, match="before it, 'first', or edit that one"):
                await app.runs.fork("m", edit={"ask": 1})
            with pytest.raises(
                DefinitionError, match=r"is no step \(batch-scatter\); fork from one of its items.*each.0"
            ):
                await app.runs.fork("m", from_step="each_scatter")
            with pytest.raises(DefinitionError, match=r"node 'child' of run m is no step \(helper\)"):
                await app.runs.fork("m", from_step="child")
            with pytest.raises(
                DefinitionError, match=r"no finished step 'nowhere'; it has: first, each\[0\], each\[1\]"
            ):
                await app.runs.fork("m", edit={"nowhere": 1})

            fork = await app.runs.fork("m", edit={"each[1]": 40})
            assert await app.handle(fork).result() == "helped"
            assert (await app.runs.state(fork)).nodes["each_gather"].output == [2, 40]

    run(body())


async def _waits(app: Stepwell, id: str) -> bool:
    return bool((await app.runs.state(id)).waiting)


def test_a_fork_keeps_the_answers_that_came_before_it(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("late").wait("ask").node("end", work).edge("ask", "end")

    async def body() -> None:
        async with app_of(flow) as app:
            handle = await app.start(flow, {}, id="l")
            await until(lambda: _waits(app, "l"))
            await handle.resume("ask", output=1)
            await handle.result()
            fork = await app.runs.fork("l", from_step="end")
            assert await app.handle(fork).result() == {"from": "end", "got": 1}
            assert not await app.runs.answer(fork, "ask", output=1)

    run(body())


@pytest.mark.parametrize("starter_knows_it", [True, False])
def test_forks_and_retries_keep_the_blueprint_of_the_run(tmp_path: Path, starter_knows_it: bool) -> None:
    old: Blueprint[Any, Any] = Blueprint("changing").node("one", work).node("two", work).edge("one", "two")
    new: Blueprint[Any, Any] = Blueprint("changing").node("one", work).node("three", work).edge("one", "three")
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def body() -> None:
        broken.add("two")
        if not starter_knows_it:
            async with Stepwell(url, worker=False) as client:
                await client.start(WorkflowRef("changing"), {"n": 1}, id="c")
        async with Stepwell(url, include=[old]) as app:
            with pytest.raises(RunError, match="two is broken"):
                await (await app.start(old, {"n": 1}, id="c")).result()
        broken.clear()
        async with Stepwell(url, include=[new]) as app:
            again = await app.runs.retry("c")
            anew = await app.runs.fork("c", input={"n": 2})

            assert await app.handle(again).result() == {"from": "two", "got": {"from": "one", "got": {"n": 1}}}
            assert await app.handle(anew).result() == {"from": "two", "got": {"from": "one", "got": {"n": 2}}}
            assert "two" in (await app.runs.state(anew)).nodes

    run(body())


def test_a_retry_begins_before_the_node_that_failed(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("two").node("one", work).node("two", work).edge("one", "two")

    async def body() -> None:
        async with app_of(flow) as app:
            broken.add("two")
            with pytest.raises(RunError):
                await (await app.start(flow, {}, id="t")).result()
            broken.clear()
            again = await app.runs.retry("t")
            await app.handle(again).result()
            assert calls == ["one", "two", "two"]

    run(body())


def test_a_run_can_be_restarted_under_its_id(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("once").node("one", work)

    async def body() -> None:
        async with app_of(flow) as app:
            broken.add("one")
            with pytest.raises(RunError):
                await (await app.start(flow, {}, id="r")).result()
            broken.clear()
            handle = await app.start(flow, {}, id="r", on_conflict="restart_if_failed")
            assert await handle.result() == {"from": "one", "got": {}}
            assert (await app.runs.state("r~1")).nodes["one"].status == "failed"

    run(body())
