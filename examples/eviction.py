"""A run that waits leaves memory. Its coroutines are unwound, and nothing that they try on the way out happens."""

import asyncio
import tempfile
from pathlib import Path

from stepwell import BackendError, Context, Evicted, Signal, Stepwell, step, workflow

go = Signal("go", str)
unwound: list[str] = []
world: list[str] = []


@step
async def tell(text: str) -> None:
    world.append(text)


@workflow
async def waits(ctx: Context) -> str:
    try:
        return await ctx.receive(go)
    except Evicted:
        unwound.append("left memory")
        raise  # always
    finally:
        await tell("finally")  # starts nothing when the run only leaves memory


async def main() -> None:
    url = f"sqlite:///{Path(tempfile.mkdtemp())}/runs.db"
    async with Stepwell(url, include=[__name__]) as app:
        handle = await app.start(waits, id="patient")
        while not (await handle.head()).waiting:
            await asyncio.sleep(0.01)
    assert (unwound, world) == (["left memory"], [])

    async with Stepwell(url, include=[__name__]) as app:
        handle = app.handle("patient", waits)
        await handle.send(go, "on")
        assert await handle.result() == "on"
    assert world == ["finally"]

    try:
        async with Stepwell("sqlite:////proc/no/such/folder/runs.db"):
            pass
    except BackendError as error:
        print(error)


if __name__ == "__main__":
    asyncio.run(main())
