"""A loop: the nodes between start and end again and again, while a condition holds. With a wait in it, and an early way
out."""

import asyncio
from typing import Any

from stepwell import Blueprint, NodeContext, Stepwell


async def guess(ctx: NodeContext[Any]) -> int:
    low, high = int(ctx.state["low"]), int(ctx.state["high"])
    return (low + high) // 2


async def narrow(ctx: NodeContext[int]) -> None:
    if ctx.input < ctx.state["secret"]:
        ctx.state.set("low", ctx.input + 1)
    else:
        ctx.state.set("high", ctx.input)
    ctx.state.set("rounds", ctx.state.get("rounds", 0) + 1)


async def tell(ctx: NodeContext[None]) -> str:
    return f"{ctx.state['low']} after {ctx.state['rounds']} rounds"


async def give_up(ctx: NodeContext[None]) -> str:
    return "gave up"


# An edge to `again` checks the condition first, as `while` does. An edge with a condition that leaves it ends the loop
# early; other edges that leave it are taken when its condition holds no more.
flow = (
    Blueprint("search", input=dict[str, int], output=str)
    .node("begin", "start")
    .loop("again", start="guess", end="narrow", condition="low < high", max_iterations=100)
    .node("guess", guess)
    .sleep("think", "5ms")  # durable, in a loop as anywhere
    .node("narrow", narrow)
    .node("tell", tell)
    .node("give up", give_up)
    .edge("begin", "again")
    .edge("guess", "think")
    .edge("think", "narrow")
    .edge("again", "tell")
    .edge("again", "give up", condition="rounds >= most")
)


async def main() -> None:
    async with Stepwell("memory://", include=[flow]) as app:
        numbers = {"low": 0, "high": 100, "secret": 37, "rounds": 0, "most": 50}
        handle = await app.start(flow, numbers, id="search-1")
        assert await handle.result() == "37 after 7 rounds"

        state = await app.runs.state("search-1")
        assert state.nodes["again"].iteration == 7
        assert state.nodes["narrow"].visit == "narrow:7"  # its 7th visit
        assert state.nodes["give up"].status == "skipped"

        assert await (await app.start(flow, {**numbers, "most": 3})).result() == "gave up"


if __name__ == "__main__":
    asyncio.run(main())
