"""`ctx.continue_as_new`: a run without end whose history stays short."""

import asyncio
from dataclasses import dataclass, replace

from stepwell import Context, Signal, Stepwell, step, workflow


@dataclass
class Counter:
    total: int = 0
    rounds: int = 0


add = Signal("add", int)


@step
async def plus(a: int, b: int) -> int:
    return a + b


@workflow
async def count(ctx: Context, counter: Counter) -> Counter:
    for _ in range(3):
        number = await ctx.receive(add)
        if number == 0:
            return counter
        counter = replace(counter, total=await plus(counter.total, number))
    ctx.continue_as_new(replace(counter, rounds=counter.rounds + 1))  # the same run, a new history


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(count, Counter(), id="counter")
        for number in (1, 2, 3, 4, 5, 6, 7, 0):  # messages that nobody has received yet go over to the new history
            await handle.send(add, number)
        assert await handle.result() == Counter(total=28, rounds=2)


if __name__ == "__main__":
    asyncio.run(main())
