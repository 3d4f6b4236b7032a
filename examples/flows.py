"""`@flow`: a plain function, compiled to a blueprint that can be shown, stored and sent."""

import asyncio
from dataclasses import dataclass

from stepwell import Context, Flow, FlowError, Signal, Stepwell, flow, step

approval = Signal("approval", bool)


@dataclass
class Line:
    sku: str
    price: int
    count: int = 1


@dataclass
class Order:
    id: int
    lines: list[Line]


@dataclass
class Receipt:
    order: int
    total: int
    note: str = ""


@step(retry=None)
async def reserve(sku: str, count: int) -> str:
    if count > 10:
        raise ValueError(f"only 10 of {sku} are left")
    return f"{count} x {sku}"


@step
async def charge(order: int, total: int) -> Receipt:
    return Receipt(order, total)


@flow
async def total_of(order: Order) -> int:
    return sum(line.price * line.count for line in order.lines)


@flow
async def buy(order: Order) -> Receipt | str:
    total = await total_of(order)  # another flow: a subflow
    try:
        reserved = await asyncio.gather(*(reserve(line.sku, line.count) for line in order.lines))
    except ValueError as error:  # by the type that the step raised
        return f"sorry, {error}"
    if total > 100:
        total -= total // 10
    receipt = await charge(order.id, total)
    return Receipt(receipt.order, receipt.total, note=", ".join(reserved))


@flow(version="1")
async def buy_with_approval(ctx: Context, order: Order) -> Receipt | str:
    if not await ctx.receive(approval, timeout="1d", default=False):
        return "refused"
    return await buy(order)


def what_is_refused() -> Flow[str, int]:
    @flow
    async def reads(path: str) -> int:
        with open(path) as file:
            return len(file.read())

    return reads


async def main() -> None:
    small, large = Order(1, [Line("pen", 3, 2)]), Order(2, [Line("desk", 100, 2), Line("lamp", 25)])
    async with Stepwell("memory://", include=[__name__]) as app:
        run = await app.start(buy, large)
        assert await run.result() == Receipt(2, 203, "2 x desk, 1 x lamp")
        run = await app.start(buy, Order(3, [Line("pen", 1, 11)]))
        assert await run.result() == "sorry, only 10 of pen are left"
        run = await app.start(buy_with_approval, small)
        await run.send(approval, True)
        assert await run.result() == Receipt(1, 6, "2 x pen")

    assert await buy(small) == Receipt(1, 6, "2 x pen")  # outside of runs, a flow is the function that it was
    assert total_of.document["nodes"][-1]["id"] == total_of.document["metadata"]["output"]
    assert buy.lines["charge"] > buy.lines["total_of"]

    try:
        what_is_refused()
    except FlowError as error:
        assert "`with` is not supported in a flow" in str(error)
        assert error.line > 0


if __name__ == "__main__":
    asyncio.run(main())
