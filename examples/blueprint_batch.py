"""A batch: a worker for each item of a list, so many at a time. Results are in the order of the items."""

import asyncio
from typing import Any

from stepwell import Blueprint, NodeContext, Retry, Stepwell, step


@step
async def split(text: str) -> list[str]:
    return text.split()


@step
async def count(word: str) -> int:
    if not word.isalpha():
        raise ValueError(f"{word!r} is no word")
    return len(word)


async def report(ctx: NodeContext[list[int]]) -> dict[str, Any]:
    return {"words": len(ctx.input), "letters": sum(ctx.input), "same": ctx.state["lengths"] == ctx.input}


flow = (
    Blueprint("word-lengths", input=str, output=dict[str, Any])
    .node("split", split)
    .batch("each", count, over="split", concurrency=2, output_key="lengths")
    .node("report", report)
    .edge("split", "each")
    .edge("each", "report")
)

# With `settle`, an item that fails does not fail the batch: there is an outcome for each.
settled = (
    Blueprint("settled", input=str, output=list[Any])
    .node("split", split)
    .batch("each", count, over="split", settle=True, retry=Retry(attempts=2, first_delay="5ms"))
    .edge("split", "each")
)


async def main() -> None:
    async with Stepwell("memory://", include=[flow, settled]) as app:
        handle = await app.start(flow, "the quick brown fox", id="words")
        assert await handle.result() == {"words": 4, "letters": 16, "same": True}
        state = await app.runs.state("words")
        assert state.nodes["each_scatter"].done == state.nodes["each_scatter"].items == 4

        outcomes = await (await app.start(settled, "fox 42")).result()
        assert outcomes[0] == {"value": 3}
        assert outcomes[1]["error"]["message"] == "'42' is no word"


if __name__ == "__main__":
    asyncio.run(main())
