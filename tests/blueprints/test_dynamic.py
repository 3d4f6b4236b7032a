"""Nodes that a node brings: their ids, in loops and beside what is there."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import Blueprint, NodeContext, NodeResult, RunError, Stepwell
from stepwell.testing import StepwellTest


async def bring(ctx: NodeContext[object]) -> NodeResult:
    return NodeResult(output={"gatherNodeId": "all"}, dynamic_nodes=[{"id": "extra", "uses": "count"}])


async def count(ctx: NodeContext[object]) -> str:
    return ctx.id


async def collect(ctx: NodeContext[object]) -> int:
    rounds: int = ctx.state.get("rounds", 0)
    ctx.state.set("rounds", rounds + 1)
    return rounds


async def tell(ctx: NodeContext[str]) -> str:
    return f"the last was {ctx.input}"


def test_a_node_in_a_loop_may_bring_nodes_of_the_same_ids_again() -> None:
    flow = Blueprint[dict[str, int], str]("rounds").node("begin", "start").node("bring", bring)
    flow.loop("again", start="bring", end="all", condition="rounds < 3").node("all", collect).node(
        "end", tell, inputs="extra"
    )
    flow.edge("begin", "again").edge("bring", "all").edge("again", "end")
    flow.implementations["count"] = count

    async def scenario() -> object:
        async with Stepwell("memory://") as app:
            return await (await app.start(flow, {"rounds": 0})).result(timeout=5)

    assert asyncio.run(scenario()) == "the last was extra:3"


async def bring_itself(ctx: NodeContext[object]) -> NodeResult:
    return NodeResult(dynamic_nodes=[{"id": "bring", "uses": "count"}])


def test_a_node_that_is_brought_cannot_have_the_id_of_one_that_is_there() -> None:
    flow = Blueprint[None, object]("twins").node("bring", bring_itself)
    flow.implementations["count"] = count

    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            with pytest.raises(RunError, match="dynamic node 'bring': there is a node of that id; give it another"):
                await (await app.start(flow, None)).result(timeout=5)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (
            [{"id": "x", "uses": "count"}, {"id": "x", "uses": "count"}],
            "two of them are called 'x'; give each its own id",
        ),
        ([{"id": "x", "uses": "set", "params": {"values": {"a": "1 +++"}}}], "dynamic node 'x': expression '1 +++'"),
    ],
)
def test_nodes_that_are_no_good_fail_the_one_that_brings_them(nodes: list[dict[str, object]], expected: str) -> None:
    async def bring_these(ctx: NodeContext[object]) -> NodeResult:
        return NodeResult(dynamic_nodes=nodes)

    flow = Blueprint[None, object]("wrong").node("bring", bring_these)
    flow.implementations["count"] = count

    with StepwellTest() as test:
        error = test.run_sync(flow, None, timeout="1h").error
    assert error.message.startswith("node 'bring': ")
    assert expected in error.message
