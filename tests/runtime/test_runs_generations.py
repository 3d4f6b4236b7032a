"""Runs that continue as new, when they come back from the store."""

from __future__ import annotations

from tests.helpers import run, until

from stepwell import Context, Signal, Stepwell, step, workflow
from stepwell.runtime.options import WorkerOptions

go = Signal("go", str)


@step
async def add_one(n: int) -> int:
    return n + 1


@workflow
async def thrice(ctx: Context, n: int) -> int:
    n = await add_one(n)
    if n < 3:
        ctx.continue_as_new(n)
    await ctx.receive(go)
    return n


def test_a_generation_that_began_together_with_the_last_result_is_read_back() -> None:
    async def scenario() -> None:
        app = Stepwell("memory://", include=[thrice], worker_options=WorkerOptions(cached_runs=0))
        async with app:
            handle = await app.start(thrice, 0, id="a")

            async def is_waiting() -> bool:
                return await handle.status() == "waiting"

            await until(is_waiting)
            await handle.send(go, "on")
            assert await handle.result(timeout=5) == 3

    run(scenario())
