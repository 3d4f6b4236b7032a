"""Fallbacks: another node stands in for one that failed for good. What failed stays visible."""

import asyncio
from typing import Any

from stepwell import Blueprint, FatalError, NodeContext, Retry, RunError, Stepwell, step

tried: list[str] = []


@step
async def ask_primary(city: str) -> str:
    tried.append("primary")
    if city == "Atlantis":
        raise FatalError("there is no such city")  # no retries, no fallback: the run fails at once
    raise ConnectionError("the primary service is down")


async def ask_cache(ctx: NodeContext[str]) -> str:
    """A fallback gets the input of the node that failed; `ctx.error` says why it failed."""
    assert ctx.error is not None
    ctx.state.set("why", ctx.error.message)
    if ctx.input == "Nowhere":
        raise LookupError("it is not in the cache")
    return f"{ctx.input}: yesterday's weather"


async def note(ctx: NodeContext[Any]) -> dict[str, str]:
    return {"answer": ctx.input["answer"], "because": ctx.input["why"]}


flow = (
    Blueprint("weather", input=str, result="publish")
    .node("ask", ask_primary, retry=Retry(attempts=2, first_delay="5ms"), fallback="cache")
    .node("cache", ask_cache)
    .node("note", note, inputs={"answer": "cache", "why": "why"})
    .node("publish", "join")  # `join` is built in: it passes its input through
    .edge("ask", "publish")  # the fallback's output goes where the node's own would
    .edge("cache", "note")  # the fallback's own edges are taken, too
)


async def main() -> None:
    async with Stepwell("memory://", include=[flow]) as app:
        handle = await app.start(flow, "Oslo", id="oslo")
        assert await handle.result() == "Oslo: yesterday's weather"
        assert tried == ["primary", "primary"]
        state = await app.runs.state("oslo")
        assert state.nodes["ask"].status == "recovered"
        assert state.nodes["ask"].error == "ConnectionError: the primary service is down"
        assert state.nodes["note"].output["because"] == "the primary service is down"

        for city, reason in {"Nowhere": "the primary service is down", "Atlantis": "there is no such city"}.items():
            try:
                await (await app.start(flow, city)).result()
            except RunError as error:
                assert reason in str(error), error


if __name__ == "__main__":
    asyncio.run(main())
