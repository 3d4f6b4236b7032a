"""A human in the loop: a wait that is answered by node id, by a signal, by a call from outside, or by nobody."""

import asyncio
from typing import Any

from stepwell import Blueprint, NodeContext, RunConflictError, Signal, Stepwell

approval = Signal("approval", dict[str, str])


async def draft(ctx: NodeContext[str]) -> str:
    return f"A text about {ctx.input}"


async def mail(ctx: NodeContext[dict[str, str]]) -> str:
    return ctx.input["token"]  # here one would send `ctx.input["url"]` to somebody


async def publish(ctx: NodeContext[Any]) -> str:
    return f"published, says {ctx.input['by']}"


async def drop(ctx: NodeContext[Any]) -> str:
    return "dropped"


flow = (
    Blueprint("article", input=str, output=str)
    .node("draft", draft)
    .wait("approve", approval, timeout="2d")
    .node("publish", publish)
    .node("drop", drop)
    .edge("draft", "approve")
    .edge("approve", "publish", action="yes")
    .edge("approve", "drop", action="no")
    .edge("approve", "drop", action="timeout")  # nobody said anything for two days
)

by_mail = (
    Blueprint("by-mail", input=str, output=str)
    .webhook("link")  # its output is {url, token, event}
    .node("mail", mail)
    .wait("answer", "webhook:link")
    .node("publish", publish)
    .edge("link", "mail")
    .edge("mail", "answer")
    .edge("answer", "publish")
)


async def main() -> None:
    async with Stepwell("memory://", include=[flow, by_mail]) as app:
        handle = await app.start(flow, "bees", id="bees")
        await waits(app, "bees", "approve")
        assert await handle.resume("approve", action="yes", output={"by": "ada"})
        assert not await handle.resume("approve", action="yes", output={"by": "ada"})  # the same again counts once
        try:
            await handle.resume("approve", action="no")
        except RunConflictError as error:
            print(error)
        assert await handle.result() == "published, says ada"

        handle = await app.start(flow, "wasps")
        await handle.send(approval, {"action": "no", "by": "bob"})  # early is fine: signals are kept
        assert await handle.result() == "dropped"

        handle = await app.start(by_mail, "ants", id="ants")
        await waits(app, "ants", "answer")
        token = (await app.runs.state("ants")).nodes["mail"].output
        await app.complete(token, {"by": "cy"})
        assert await handle.result() == "published, says cy"


async def waits(app: Stepwell, run: str, node: str) -> None:
    """Until the node waits: from a command line, `stepwell runs explain` shows it."""
    while node not in (await app.runs.state(run)).waiting:
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main())
