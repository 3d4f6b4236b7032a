"""Signals: typed messages to one run. Early ones are kept; each is received once."""

import asyncio
from dataclasses import dataclass

from stepwell import Context, RunClosedError, Signal, Stepwell, workflow


@dataclass
class Approval:
    by: str
    order: int
    amount: float = 0


approval = Signal("approval", Approval)
chat = Signal("chat", str)


@workflow
async def approvals(ctx: Context) -> list[str]:
    seen: list[str] = []
    first = await ctx.receive(approval)
    seen.append(first.by)

    other = await ctx.receive(approval, where={"order": 8})  # leaves messages about other orders where they are
    seen.append(f"{other.by} for {other.order}")
    left = await ctx.receive(approval)
    seen.append(f"{left.by} for {left.order}")

    nobody = await ctx.receive(approval, timeout="20ms", default=None)
    assert nobody is None
    try:
        await ctx.receive(approval, timeout="20ms")
    except TimeoutError:
        seen.append("nobody else")

    async for line in ctx.receive_all(chat):
        if line == "bye":
            break
        seen.append(line)
    return seen


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(approvals, id="approvals-1", delay="50ms")
        await handle.send(approval, Approval("ada", order=7))  # before the run has begun: kept
        await handle.send(approval, Approval("bob", order=9))
        await handle.send(approval, Approval("cy", order=8))
        await handle.send(chat, "hello", id="message-1")
        await handle.send(chat, "hello", id="message-1")  # the same message, sent again after a doubt: counts once
        await app.handle("approvals-1").send(chat, "bye")  # from any process
        result = await handle.result()
        assert result == ["ada", "cy for 8", "bob for 9", "nobody else", "hello"], result
        try:
            await handle.send(chat, "too late")
        except RunClosedError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
