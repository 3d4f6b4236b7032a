"""A module to include by its name."""

from __future__ import annotations

from stepwell import Context, step, workflow


@step
async def price(item: str) -> int:
    return len(item)


@workflow
async def sell(ctx: Context, item: str) -> int:
    return await price(item)
