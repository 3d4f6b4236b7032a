"""A blueprint from a JSON file, as the TypeScript library Flowcraft writes it, loaded unchanged.

stepwell blueprint lint price_watch.json --include blueprint_declarative.py
stepwell blueprint run price_watch.json --include blueprint_declarative.py --input '{"shops": ["a"], "limit": 9}'
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepwell import Blueprint, BlueprintError, NodeContext, Stepwell

TEXT = (Path(__file__).parent / "price_watch.json").read_text(encoding="utf-8")
PRICES = {"ada": 12, "bob": 9, "cy": 15}


async def fetchPrice(ctx: NodeContext[str]) -> dict[str, Any]:  # the names that `uses` gives
    return {"shop": ctx.input, "price": PRICES[ctx.input]}


async def findBest(ctx: NodeContext[list[dict[str, Any]]]) -> dict[str, Any]:
    return min(ctx.input, key=lambda offer: int(offer["price"]))


class Purchase:
    """A class node. It is made of the node's settings and its id, as in that library."""

    def __init__(self, params: Mapping[str, Any], node_id: str) -> None:
        self.currency = params["currency"]

    async def prep(self, ctx: NodeContext[dict[str, Any]]) -> dict[str, Any]:
        return ctx.input

    async def exec(self, offer: dict[str, Any], ctx: NodeContext[dict[str, Any]]) -> str:
        if offer["shop"] == "cy":
            raise ConnectionError("cy is closed")
        return f"{offer['price']} {self.currency} at {offer['shop']}"

    async def post(self, result: str, ctx: NodeContext[dict[str, Any]]) -> str:
        ctx.state.set("bought", True)
        return result


def notify(ctx: NodeContext[Any]) -> str:
    return f"told you: {ctx.input}"


flow = Blueprint.from_json(TEXT, include=[fetchPrice, findBest, Purchase, notify])


async def main() -> None:
    assert flow.to_json() == Blueprint.from_json(flow.to_json()).to_json()
    assert '"position"' in flow.to_json()  # unknown fields mean nothing, and are kept
    assert flow.lint(keys=["shops", "limit"]) == []
    async with Stepwell("memory://", include=[flow]) as app:
        handle = await app.start(flow, {"shops": ["ada", "bob"], "limit": 10}, id="watch-1")
        while not (await app.runs.state("watch-1")).waiting:
            await asyncio.sleep(0.005)
        await handle.resume("approve", action="yes")
        assert await handle.result() == "9 EUR at bob"

        handle = await app.start(flow, {"shops": ["ada"], "limit": 10})
        assert await handle.result() == "told you: too dear: 12"
        assert (await app.runs.get(handle.id)).version == "3"

    try:
        Blueprint.from_json(
            '{"id": "broken", "nodes": {"a": {"uses": "x"}}, "edges": [{"source": "a", "target": "b"}]}'
        )
    except BlueprintError as error:
        print(error)  # blueprint 'broken': edges[0].target: no node is called 'b'; ...


if __name__ == "__main__":
    asyncio.run(main())
