"""What may complete a hook."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from tests.helpers import run

from stepwell import CodecError, Context, Stepwell, workflow


@dataclass
class Approval:
    by: str


@workflow
async def approve(ctx: Context) -> str:
    hook = await ctx.create_hook(Approval, token="approve-1")
    return (await hook).by


async def completed_with(value: object) -> str:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(approve)
        while not (await handle.head()).waiting:
            await asyncio.sleep(0.005)
        await app.complete("approve-1", value)
        return await handle.result(timeout="10s")


@pytest.mark.parametrize("value", [Approval("ada"), {"by": "ada"}])
def test_a_hook_takes_its_type_and_plain_json(value: object) -> None:
    assert run(completed_with(value)) == "ada"


def test_a_hook_takes_no_value_that_json_cannot_hold() -> None:
    with pytest.raises(CodecError):
        run(completed_with(float("nan")))


@workflow
async def reads_some(ctx: Context) -> list[int]:
    hook = await ctx.create_hook(int, token="meter-4711")
    values: list[int] = []
    async for value in hook:
        values.append(value)
        if value == 2:
            break
    await ctx.sleep("1ms")
    return values


async def two_readings() -> list[int]:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(reads_some)
        while not (await handle.head()).waiting:
            await asyncio.sleep(0.005)
        await app.complete("meter-4711", 1)
        await app.complete("meter-4711", 2)
        return await handle.result(timeout="10s")


def test_leaving_the_loop_over_a_hook_needs_no_closing(caplog: pytest.LogCaptureFixture) -> None:
    assert run(two_readings()) == [1, 2]
    assert caplog.records == []
