"""When the code is wrong and not the run: nothing is lost, and the run goes on after the next deploy."""

import asyncio
import tempfile
import urllib.request
from pathlib import Path

from stepwell import ActivationError, Context, NonDeterminismError, NotDurableError, Signal, Stepwell, step, workflow

go = Signal("go", str)


@step
async def charge() -> str:
    return "charged"


@step
async def validate() -> str:
    return "validated"


@workflow(id="checkout")
async def good(ctx: Context) -> list[str]:
    done = [await charge()]
    await ctx.receive(go)
    return done


@workflow(id="checkout")
async def reordered(ctx: Context) -> list[str]:
    done = [await validate(), await charge()]
    await ctx.receive(go)
    return done


@workflow(id="checkout")
async def impure(ctx: Context) -> list[str]:
    done = [await charge()]
    await ctx.receive(go)
    try:
        await asyncio.to_thread(urllib.request.urlopen, "http://localhost")  # belongs in a step
    except Exception:
        done.append("`except Exception` cannot hide it")
    return done


async def refused(url: str, id: str, code: object) -> str:
    """Let a worker with this code meet the run."""
    async with Stepwell(url, include=[code]) as app:
        await app.handle(id).send(go, "on")
        while not (error := (await app.runs.get(id)).error):
            await asyncio.sleep(0.01)
        print(await app.runs.explain(id), end="\n\n")
        return error


async def main() -> None:
    url = f"sqlite:///{Path(tempfile.mkdtemp())}/runs.db"
    async with Stepwell(url, include=[good]) as app:
        for id in ("order-7", "order-8"):
            handle = await app.start(good, id=id)
            while not (await handle.head()).waiting:
                await asyncio.sleep(0.01)

    assert "validate-first" in await refused(url, "order-7", reordered)  # NonDeterminismError; it proposes the cure
    assert "step" in await refused(url, "order-8", impure)  # NotDurableError
    for error in (NonDeterminismError, NotDurableError):
        assert issubclass(error, ActivationError)
        assert not issubclass(error, Exception)

    async with Stepwell(url, include=[good]) as app:  # the old code again, or a mended one
        for id in ("order-7", "order-8"):
            await app.handle(id).send(go, "on")  # only to hurry: refused runs are tried again by themselves
            assert await app.handle(id, good).result() == ["charged"]


if __name__ == "__main__":
    asyncio.run(main())
