"""Nodes that are workflows: child runs, and what their ends mean to the blueprint."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import Blueprint, Context, FatalError, NodeContext, RunError, Stepwell, workflow


@workflow
async def give_up(ctx: Context, n: int) -> int:
    raise FatalError(f"no use with {n}")


async def stand_in(ctx: NodeContext[int]) -> str:
    assert ctx.error is not None
    return f"instead of {ctx.input}: {ctx.error.type}"


def test_what_is_fatal_to_a_child_leaves_its_parent_the_fallback() -> None:
    flow = Blueprint[int, str]("rescued").node("child", give_up, fallback="spare").node("spare", stand_in)

    async def scenario() -> str:
        async with Stepwell("memory://") as app:
            result: str = await (await app.start(flow, 3)).result(timeout=5)
            return result

    assert asyncio.run(scenario()) == "instead of 3: RunError"


def test_without_a_fallback_the_parent_fails_with_what_the_child_says() -> None:
    flow = Blueprint[int, str]("lost").node("child", give_up)

    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            with pytest.raises(RunError, match=r"node 'child': child run c\w+ failed: FatalError: no use with 3"):
                await (await app.start(flow, 3)).result(timeout=5)

    asyncio.run(scenario())
