"""A flow has the types of its function, with or without a context, an input and options."""

from __future__ import annotations

from typing import assert_type

from stepwell import Context, Flow, Handle, Stepwell, WorkflowRef, flow, step, workflow


@step
async def double(x: int) -> int:
    return x * 2


@flow
async def plain(x: int) -> str:
    assert_type(await double(x), int)
    return str(await double(x))


@flow
async def bare() -> int:
    return await double(1)


@flow
async def with_context(ctx: Context, x: int) -> str:
    await ctx.sleep("1s")
    return await plain(x)


@flow
async def only_context(ctx: Context) -> int:
    await ctx.sleep("1s")
    return await bare()


@flow(id="named", version="2")
async def optioned(x: int) -> bytes:
    return await double(x) > 1 and b"" or b"1"


@workflow
async def outer(ctx: Context) -> str:
    assert_type(await bare(), int)
    return await plain(1)


async def start(app: Stepwell) -> None:
    assert_type(plain, Flow[int, str])
    assert_type(bare, Flow[None, int])
    assert_type(with_context, Flow[int, str])
    assert_type(only_context, Flow[None, int])
    assert_type(optioned, Flow[int, bytes])
    assert_type(await app.start(plain, 1), Handle[str])
    assert_type(await app.start(bare), Handle[int])
    reference: WorkflowRef[int, str] = plain
    await app.start(reference, 1)
