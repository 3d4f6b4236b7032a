"""A checkout: a step with retries, an undo, two steps at once, an approval, and a long wait.

stepwell run orders.py:checkout --input '{"id": 7, "cooling_off": 5}' --id order-7
stepwell send order-7 approval '{"by": "ada"}' --backend sqlite:///orders.db
"""

import asyncio
from dataclasses import dataclass

from stepwell import Context, Retry, RunError, Signal, Stepwell, step, workflow


@dataclass
class Order:
    id: int
    card: str = "4242"
    cooling_off: float = 86_400  # seconds


@dataclass
class Receipt:
    id: str


@dataclass
class Approval:
    by: str


class CardDeclined(Exception): ...


class ApprovalMissing(Exception): ...


approval = Signal("approval", Approval)  # a name and a type, used on both ends
journal: list[str] = []  # what the outside world saw; only for the asserts below


@step(retry=Retry(attempts=5, first_delay="1s", backoff=2.0, max_delay="1m"), timeout="30s", raises=CardDeclined)
async def charge(order: Order) -> Receipt:
    if order.card == "0000":
        raise CardDeclined("no funds")
    journal.append(f"charge {order.id}")
    return Receipt(f"r{order.id}")


@charge.compensate  # undoes charge; gets its result, then its arguments
async def refund(receipt: Receipt, order: Order) -> None:
    journal.append(f"refund {order.id} {receipt.id}")


@step
async def reserve(order: Order) -> None:
    journal.append(f"reserve {order.id}")


@step
async def notify(order: Order) -> None:
    journal.append(f"notify {order.id}")


@step
def render_invoice(receipt: Receipt) -> bytes:  # sync: runs in a thread, is awaited like any step
    return f"Invoice {receipt.id}".encode()


@workflow(version="1")
async def checkout(ctx: Context, order: Order) -> Receipt:
    async with ctx.saga():  # if the block fails: undo its completed steps, newest first, then raise
        receipt = await charge(order)  # durable
        async with asyncio.TaskGroup() as tg:  # durable, deterministic
            tg.create_task(reserve(order))
            tg.create_task(notify(order))
        decision = await ctx.receive(approval, timeout="2d", default=None)
        if decision is None:
            raise ApprovalMissing(order.id)
    await render_invoice(receipt)
    await asyncio.sleep(order.cooling_off)  # durable: by default, a day
    return receipt


app = Stepwell("sqlite:///orders.db", include=[__name__])  # decorators only describe; `include` is the registry


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(checkout, Order(id=7, cooling_off=0.1), id="order-7")
        await handle.send(approval, Approval(by="ada"))
        receipt = await handle.result(timeout="1h")
        assert receipt == Receipt("r7")
        assert sorted(journal) == ["charge 7", "notify 7", "reserve 7"]

        poor = await app.start(checkout, Order(id=8, card="0000"), id="order-8")
        try:
            await poor.result()
        except RunError as error:
            print(error)
        else:
            raise AssertionError("the card was declined")


if __name__ == "__main__":
    asyncio.run(main())
