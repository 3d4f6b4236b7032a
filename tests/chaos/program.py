"""The program that is killed: every step leaves a line in a log before it returns."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from stepwell import Context, Retry, Signal, Stepwell, current_step, step, workflow

LOG = os.environ.get("CHAOS_LOG", "")
go_on = Signal("go_on", int)


def effect() -> None:
    """One line per execution: run, step, when it began (ms). A single write of few bytes, so lines never mix."""
    this = current_step()
    line = f"{this.run_id} {this.id} {time.time_ns() // 1_000_000}\n"
    with open(LOG, "a") as log:
        log.write(line)


@step(retry=Retry(attempts=5, first_delay="5ms"))
async def add(a: int, b: int) -> int:
    effect()
    await asyncio.sleep(0.01)
    return a + b


@step
def double(x: int) -> int:
    effect()
    return 2 * x


@step
async def book(x: int) -> int:
    effect()
    return x


@book.compensate
async def unbook(result: int, x: int) -> None:
    effect()


@workflow
async def leaf(ctx: Context, x: int) -> int:
    return await double(await add(x, 1))


@workflow
async def tree(ctx: Context, n: int) -> int:
    x = n
    for i in range(5):
        x = await add(x, i)
    x += sum(await asyncio.gather(*(double.options(key=str(i))(i) for i in range(3))))
    await asyncio.sleep(0.05)
    try:
        async with ctx.saga():
            await book(1)
            await book(2)
            raise RuntimeError("undo")
    except RuntimeError:
        pass
    x += await leaf(x)
    x += await ctx.receive(go_on)
    async with asyncio.TaskGroup() as group:
        left = group.create_task(add(x, 1))
        right = group.create_task(leaf(x))
    return left.result() + right.result()


def expected(n: int) -> int:
    """What `tree` gives."""
    x = n + 0 + 1 + 2 + 3 + 4
    x += 0 + 2 + 4
    x += 2 * (x + 1)
    x += 100
    return (x + 1) + 2 * (x + 1)


async def work(url: str) -> None:
    app = Stepwell(url, include=[sys.modules[__name__]])
    await app.worker(concurrency=50).run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
