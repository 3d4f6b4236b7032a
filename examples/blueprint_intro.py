"""A first blueprint: nodes and edges instead of a body. Started, listed and forked as any workflow."""

import asyncio
from dataclasses import dataclass

from stepwell import Blueprint, NodeContext, NodeResult, Retry, Stepwell, step


@dataclass
class Watch:
    item: str
    limit: int


@step
async def fetch_price(item: str) -> int:
    return {"desk": 120, "lamp": 30}[item]


async def compare(ctx: NodeContext[int]) -> NodeResult:
    """A function of `NodeContext`: its input, and the state of the run."""
    limit = ctx.state["limit"]  # a field of the run's input
    return NodeResult(output={"price": ctx.input}, action="buy" if ctx.input <= limit else "skip")


async def buy(ctx: NodeContext[dict[str, int]]) -> str:
    return f"bought for {ctx.input['price']}"


async def skip(ctx: NodeContext[dict[str, int]]) -> str:
    return f"{ctx.input['price']} is too much"


flow = (
    Blueprint("price-watch", version="1.0.0", input=Watch, output=str)
    .node("fetch", fetch_price, inputs={"item": "item"}, retry=Retry(attempts=3))
    .node("compare", compare)
    .node("buy", buy)
    .node("skip", skip)
    .edge("fetch", "compare")
    .edge("compare", "buy", action="buy")
    .edge("compare", "skip", action="skip")
)


async def main() -> None:
    assert flow.lint(keys=["item", "limit"]) == []  # what is wrong, before anything runs
    async with Stepwell("memory://", include=[flow]) as app:
        handle = await app.start(flow, Watch("lamp", limit=50), id="watch-1")
        assert await handle.result() == "bought for 30"

        state = await app.runs.state("watch-1")
        assert [node.id for node in state.nodes.values() if node.status == "completed"] == ["fetch", "compare", "buy"]
        assert state.nodes["skip"].status == "skipped"
        assert state.nodes["fetch"].output == 30


if __name__ == "__main__":
    asyncio.run(main())
