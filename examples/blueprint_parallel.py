"""Parallel branches: joins that wait for all or for the first, conditions, transforms, and branches not taken."""

import asyncio
from typing import Any

from stepwell import Blueprint, NodeContext, Stepwell, step


@step
async def parse(text: str) -> dict[str, Any]:
    return {"text": text, "words": len(text.split())}


@step
async def shout(text: str) -> str:
    return text.upper()


@step
async def slow_mirror(text: str) -> str:
    await asyncio.sleep(0.05)
    return f"slow {text}"


@step
async def fast_mirror(text: str) -> str:
    return f"fast {text}"


async def publish(ctx: NodeContext[dict[str, Any]]) -> dict[str, Any]:
    ctx.state.set("published", True)
    return ctx.input


# `publish` waits for all that lead to it; `summary` is not taken for short texts, and nothing waits for it then.
# `first` runs once, for the mirror that is there first.
flow = (
    Blueprint("texts", input=str, result={"published": "publish", "mirror": "first"}, concurrency=10)
    .node("parse", parse)
    .node("shout", shout, inputs={"text": "parse.text"})
    .node("summary", "set", params={"values": {"summary": "input.text.slice(0, 10)"}})
    .node("publish", publish, inputs={"loud": "shout", "summary": "summary.summary"})
    .node("slow", slow_mirror)
    .node("fast", fast_mirror)
    .node("first", "join", join="any")
    .edge("parse", "shout")
    .edge("parse", "summary", condition="result.output.words > 3")
    .edge("shout", "publish")
    .edge("summary", "publish")
    .edge("parse", "slow", transform="input.text")
    .edge("parse", "fast", transform="input.text")
    .edge("slow", "first")
    .edge("fast", "first")
)


async def main() -> None:
    async with Stepwell("memory://", include=[flow]) as app:
        short = await (await app.start(flow, "hello there", id="short")).result()
        assert short == {"published": {"loud": "HELLO THERE"}, "mirror": "fast hello there"}
        state = await app.runs.state("short")
        assert state.nodes["summary"].status == "skipped"
        assert state.nodes["first"].visits == 1
        assert state.state["published"] is True

        long = await (await app.start(flow, "a rather long text")).result()
        assert long["published"] == {"loud": "A RATHER LONG TEXT", "summary": "a rather l"}


if __name__ == "__main__":
    asyncio.run(main())
