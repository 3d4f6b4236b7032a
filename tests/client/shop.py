"""What the runs of these tests do."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from msgspec import Struct

from stepwell import Blueprint, Context, Event, Signal, Stream, current_step, step, workflow
from stepwell.authoring.nodes import NodeContext
from stepwell.model.policies import Retry


class Order(Struct, frozen=True):
    id: int
    lines: tuple[str, ...] = ()


class Receipt(Struct, frozen=True):
    order: int
    after: timedelta


class CardDeclined(Exception):
    pass


approved = Signal("approved", bool)
paid = Event("paid", int)
words = Stream("words", str)
tokens: dict[str, str] = {}


@step
async def charge(order: Order) -> Receipt:
    return Receipt(order.id, timedelta(seconds=order.id))


@step(retry=Retry(attempts=1))
async def decline(order: Order) -> None:
    raise CardDeclined(f"order {order.id}")


@step(retry=Retry(attempts=2, first_delay="1s"))
async def speak(text: str) -> None:
    for word in text.split():
        current_step().send(words, f"{word}{current_step().attempt}")
    if current_step().attempt == 1:
        raise CardDeclined("once more")


@workflow
async def checkout(ctx: Context, order: Order) -> Receipt:
    ctx.metadata["lines"] = len(order.lines)
    return await charge(order)


@workflow
async def refused(ctx: Context, order: Order) -> None:
    await decline(order)


@workflow
async def idle(ctx: Context) -> str:
    await asyncio.sleep(3600)
    return "rested"


@workflow
async def approval(ctx: Context) -> bool:
    return await ctx.receive(approved)


@workflow
async def sum_of(ctx: Context, count: int) -> list[int]:
    signals = ctx.receive_all(Signal("n", int))
    return [await anext(signals) for _ in range(count)]


@workflow
async def payment(ctx: Context) -> int:
    return await ctx.receive(paid)


@workflow
async def hooked(ctx: Context) -> str:
    hook = await ctx.create_hook(str, token="a token of ours")
    return await hook


@workflow
async def telling(ctx: Context, text: str) -> int:
    for word in text.split():
        ctx.send(words, word)
        await asyncio.sleep(60)
    return len(text.split())


@workflow
async def speaking(ctx: Context, text: str) -> None:
    await speak(text)


@workflow
async def greeting(ctx: Context, name: str = "you") -> str:
    return f"hello {name}"


async def double(ctx: NodeContext[int]) -> int:
    return ctx.input * 2


flow = (
    Blueprint("flow", input=int)
    .node("double", double)
    .wait("approve", approved)
    .node("again", double)
    .edge("double", "approve")
    .edge("approve", "again", action="yes")
)
