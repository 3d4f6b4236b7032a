"""Workflows carry their input and their result to everybody who starts, awaits or names them."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, assert_type

from stepwell import ChildHandle, Context, Handle, Retry, Stepwell, Workflow, WorkflowRef, workflow


@dataclass
class Order:
    id: int


@dataclass
class Receipt:
    id: str


@workflow
async def checkout(ctx: Context, order: Order) -> Receipt:
    return Receipt("")


@workflow(id="nightly", version="2", accepts=["1"], timeout="1h", retry=Retry(attempts=2), tags={"team": "web"})
async def nightly(ctx: Context) -> int:
    return 0


@workflow
async def with_default(ctx: Context, order: Order | None = None) -> str:
    return ""


assert_type(checkout, Workflow[Order, Receipt])
assert_type(nightly, Workflow[None, int])

Checkout = WorkflowRef[Order, Receipt]("checkout")


@workflow
async def parent(ctx: Context) -> None:
    calling: Coroutine[Any, Any, Receipt] = checkout(Order(1))
    assert_type(await calling, Receipt)
    assert_type(await checkout(Order(1)), Receipt)
    assert_type(await nightly(), int)
    assert_type(await Checkout(Order(1)), Receipt)
    assert_type(await ctx.start(checkout, Order(1), id="one", on_parent_end="abandon"), ChildHandle[Receipt])
    assert_type(await ctx.start(nightly), ChildHandle[int])
    assert_type(await (await ctx.start(nightly)).result(timeout="1h"), int)


async def starts(app: Stepwell) -> None:
    handle = await app.start(checkout, Order(7), id="order-7", on_conflict="fail", delay="5s", tags={"a": "b"})
    assert_type(handle, Handle[Receipt])
    assert_type(await handle.result(timeout="1h"), Receipt)
    assert_type(await app.start(nightly, key="today", metadata={"n": 1}, priority=3, timeout=60), Handle[int])
    assert_type(await app.start(Checkout, Order(7)), Handle[Receipt])
    assert_type(await app.start("checkout", {"id": 7}, version="1"), Handle[Any])
    assert_type(await app.start(with_default, None), Handle[str])
    assert_type(await app.start_many(checkout, [Order(1), Order(2)]), list[Handle[Receipt]])
    assert_type(app.handle("order-7", checkout), Handle[Receipt])
    assert_type(app.handle("order-7"), Handle[Any])
