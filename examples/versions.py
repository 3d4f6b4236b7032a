"""Versions: a run stays on the code that it began with, unless newer code takes it over."""

import asyncio
import tempfile
from pathlib import Path

from stepwell import Context, Signal, Stepwell, step, workflow

go = Signal("go", str)


@step
async def price(plan: str) -> int:
    return {"old": 10, "new": 12}[plan]


@workflow(id="subscribe", version="1")
async def subscribe_1(ctx: Context, name: str) -> int:
    await ctx.receive(go)
    return await price("old")


@workflow(id="subscribe", version="2")
async def subscribe_2(ctx: Context, name: str) -> int:
    await ctx.receive(go)
    return await price("new")


@workflow(id="subscribe", version="3", accepts=["1", "2"])
async def subscribe_3(ctx: Context, name: str) -> int:
    await ctx.receive(go)
    return await price("new") + 1


async def waiting(url: str) -> None:
    """Start one run of each version, and leave them waiting."""
    async with Stepwell(url, include=[subscribe_1, subscribe_2]) as app:
        first = await app.start(subscribe_1, "ada", id="first")
        second = await app.start("subscribe", "bob", id="second", version="2")  # by name
        for handle in (first, second):
            while not (await handle.head()).waiting:
                await asyncio.sleep(0.01)


async def finish(url: str, *workflows: object) -> list[int]:
    async with Stepwell(url, include=workflows) as app:
        results: list[int] = []
        for id in ("first", "second"):
            handle = app.handle(id)
            await handle.send(go, "on")
            results.append(await handle.result())
        return results


async def main() -> None:
    folder = Path(tempfile.mkdtemp())
    both, taken_over = f"sqlite:///{folder}/both.db", f"sqlite:///{folder}/taken-over.db"
    await waiting(both)
    await waiting(taken_over)
    assert await finish(both, subscribe_1, subscribe_2) == [10, 12]
    assert await finish(taken_over, subscribe_3) == [13, 13]


if __name__ == "__main__":
    asyncio.run(main())
