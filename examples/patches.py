"""`ctx.patched`: change a workflow while runs of it live."""

import asyncio
import tempfile
from pathlib import Path

from stepwell import Context, Signal, Stepwell, step, workflow

go = Signal("go", str)


@step
async def charge() -> str:
    return "charged"


@step
async def validate() -> str:
    return "validated"


@workflow(id="checkout")
async def checkout_of_monday(ctx: Context) -> list[str]:
    done = [await charge()]
    await ctx.receive(go)
    return done


@workflow(id="checkout")
async def checkout_of_tuesday(ctx: Context) -> list[str]:
    done: list[str] = []
    if ctx.patched("validate-first"):  # False for runs that went by here with Monday's code
        done.append(await validate())
    done.append(await charge())
    await ctx.receive(go)
    return done


async def main() -> None:
    url = f"sqlite:///{Path(tempfile.mkdtemp())}/runs.db"
    async with Stepwell(url, include=[checkout_of_monday]) as monday:
        old = await monday.start(checkout_of_monday, id="old")
        while not (await old.head()).waiting:
            await asyncio.sleep(0.01)

    async with Stepwell(url, include=[checkout_of_tuesday]) as tuesday:  # the deploy
        new = await tuesday.start(checkout_of_tuesday, id="new")
        results: list[list[str]] = []
        for handle in (tuesday.handle("old", checkout_of_tuesday), new):
            await handle.send(go, "on")
            results.append(await handle.result())
        assert results == [["charged"], ["validated", "charged"]], results


if __name__ == "__main__":
    asyncio.run(main())
