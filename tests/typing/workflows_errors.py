"""Wrong ways to make, start and await workflows."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell import Context, Stepwell, workflow


@dataclass
class Order:
    id: int


@workflow
async def checkout(ctx: Context, order: Order) -> str:
    return ""


@workflow
async def nightly(ctx: Context) -> int:
    return 0


@workflow  # E: arg-type  # P: reportCallIssue
async def two_inputs(ctx: Context, order: Order, note: str) -> None: ...


@workflow  # E: arg-type  # P: reportCallIssue
def not_async(ctx: Context, order: Order) -> None: ...


@workflow  # E: arg-type  # P: reportCallIssue
async def no_context(order: Order) -> None: ...


@workflow(name="checkout")  # E: call-overload  # P: reportCallIssue
async def unknown_option(ctx: Context) -> None: ...


@workflow(accepts="1")  # E: call-overload  # P: reportArgumentType
async def accepts_no_list(ctx: Context) -> None: ...


@workflow
async def parent(ctx: Context) -> None:
    await checkout(7)  # E: arg-type  # P: reportArgumentType
    await nightly(7)  # E: call-overload  # P: reportArgumentType
    await checkout()  # E: call-arg  # P: reportCallIssue
    checkout(Order(7))  # E: unused-coroutine  # P: reportUnusedCoroutine
    await ctx.start(checkout, "7")  # E: misc  # P: reportArgumentType
    await ctx.start(checkout, Order(7), on_parent_end="forget")  # E: call-overload  # P: reportArgumentType
    number: int = await (await ctx.start(checkout, Order(7))).result()  # E: assignment  # P: reportAssignmentType
    assert number


async def starts(app: Stepwell) -> None:
    await app.start(checkout, Order("7"))  # E: arg-type  # P: reportArgumentType
    await app.start(checkout, 7)  # E: misc  # P: reportArgumentType
    await app.start(checkout)  # E: arg-type  # P: reportCallIssue
    await app.start(nightly, 7)  # E: misc  # P: reportArgumentType
    await app.start(checkout, Order(7), order_id="7")  # E: call-overload  # P: reportCallIssue
    await app.start(checkout, Order(7), on_conflict="ignore")  # E: call-overload  # P: reportArgumentType
    await app.start(checkout, Order(7), tags=["a"])  # E: call-overload  # P: reportArgumentType
    await app.start_many(checkout, [1, 2])  # E: misc  # P: reportArgumentType
    number: int = await (await app.start(checkout, Order(7))).result()  # E: assignment  # P: reportAssignmentType
    other: int = await app.handle("7", checkout).result()  # E: assignment  # P: reportAssignmentType
    app.start(nightly)  # E: unused-coroutine  # P: reportUnusedCoroutine
    print(number, other)
