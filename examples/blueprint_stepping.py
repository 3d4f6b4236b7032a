"""A blueprint step by step, forwards and backwards: to see what it does, or to find out why it did not."""

import asyncio
from typing import Any

from stepwell import Blueprint, NodeContext, NodeResult
from stepwell.testing import Stepper


async def price(ctx: NodeContext[str]) -> int:
    return len(ctx.input) * 10


async def judge(ctx: NodeContext[int]) -> NodeResult:
    return NodeResult(output=ctx.input, action="dear" if ctx.input > 30 else "cheap")


async def buy(ctx: NodeContext[Any]) -> str:
    return "bought"


flow = (
    Blueprint("shopping", input=str, output=str)
    .node("price", price)
    .node("judge", judge)
    .wait("approve", timeout="1d")
    .node("buy", buy)
    .edge("price", "judge")
    .edge("judge", "buy", action="cheap")
    .edge("judge", "approve", action="dear")
    .edge("approve", "buy", action="yes")
)


async def main() -> None:
    async with Stepper(flow, "desk") as run:
        while state := await run.next():  # all nodes that are ready, with all their attempts
            print({id: node.status for id, node in state.nodes.items()})
        assert run.waiting == ("approve",)  # not done, and nothing to do

        run.prev()  # as if `judge` had not run
        assert run.state.nodes["price"].output == 40
        assert run.ready == ("judge",)

        await run.next()
        run.resume("approve", action="yes")
        await run.next("buy")
        assert run.is_done
        assert run.state.result == "bought"

        run.prev()
        run.prev()
        run.fire()  # time passes to the next timer: nobody approved
        assert "nothing came" in run.state.error


if __name__ == "__main__":
    asyncio.run(main())
