"""What the server under load runs."""

from __future__ import annotations

from stepwell import Context, step, workflow


@step
async def add_one(number: int) -> int:
    return number + 1


@workflow
async def one_step(ctx: Context, number: int) -> int:
    return await add_one(number)
