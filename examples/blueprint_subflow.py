"""Subflows: a blueprint as a node of another, with a wait inside. Blueprints and workflow functions in each other."""

import asyncio
from typing import Any

from stepwell import Blueprint, Context, NodeContext, Stepwell, workflow


async def pack(ctx: NodeContext[Any]) -> str:
    return f"{ctx.state['what']} packed"


async def label(ctx: NodeContext[str]) -> str:
    return f"{ctx.input}, for {ctx.state['city']}"


async def order(ctx: NodeContext[Any]) -> str:
    return str(ctx.state["item"])


@workflow
async def deliver(ctx: Context, parcel: str) -> str:
    await ctx.sleep("5ms")
    return f"{parcel}: delivered"


parcel = (
    Blueprint("parcel", input=dict[str, str], output=str)
    .node("pack", pack)
    .sleep("dry", "5ms")  # a subflow may wait: it is a part of the run, not a call
    .node("label", label)
    .edge("pack", "dry")
    .edge("dry", "label")
)

shop = (
    Blueprint("shop", input=dict[str, str], output=str)
    .node("order", order)
    # The subflow has a state of its own. `inputs` is what of ours it gets, `outputs` what of its own we get.
    .subflow("wrap", parcel, inputs={"what": "order", "city": "city"}, outputs={"parcel": "label"})
    .node("deliver", deliver, inputs="parcel")  # a workflow function as a node: a child run
    .edge("order", "wrap")
    .edge("wrap", "deliver")
)


@workflow
async def morning(ctx: Context) -> list[str]:
    """A blueprint is awaited as any workflow."""
    return [await shop({"item": item, "city": "Rome"}) for item in ("desk", "lamp")]


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(shop, {"item": "desk", "city": "Oslo"}, id="shop-1")
        assert await handle.result() == "desk packed, for Oslo: delivered"
        state = await app.runs.state("shop-1")
        assert state.nodes["wrap/label"].output == "desk packed, for Oslo"
        assert state.state["parcel"] == "desk packed, for Oslo"

        assert await (await app.start(morning)).result() == [
            "desk packed, for Rome: delivered",
            "lamp packed, for Rome: delivered",
        ]


if __name__ == "__main__":
    asyncio.run(main())
