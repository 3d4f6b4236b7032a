"""A program with one run that kills its worker each time, among good ones."""

from __future__ import annotations

import asyncio
import os
import sys

from stepwell import Context, Stepwell, step, workflow


@step
async def explode() -> None:
    os._exit(42)


@step
async def breathe(n: int) -> int:
    await asyncio.sleep(0.02)
    return n


@workflow
async def poison(ctx: Context) -> None:
    await explode()


@workflow
async def good(ctx: Context, n: int) -> int:
    for _ in range(5):
        await breathe(n)
    return n


if __name__ == "__main__":
    app = Stepwell(sys.argv[1], include=[sys.modules[__name__]])
    asyncio.run(app.worker(concurrency=50).run())
