"""Events: typed messages to every run that waits for them."""

import asyncio
from dataclasses import dataclass

from stepwell import Context, Event, Stepwell, workflow


@dataclass
class Paid:
    order: int
    amount: float


paid = Event("paid", Paid)


@workflow
async def ship(ctx: Context, order: int) -> float:
    payment = await ctx.receive(paid, where={"order": order}, timeout="1h")
    return payment.amount


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handles = await app.start_many(ship, [7, 8, 7])
        for handle in handles:
            while await handle.status() == "queued" or not (await handle.head()).waiting:
                await asyncio.sleep(0.01)
        reached = await app.publish(paid, Paid(order=8, amount=1.5))
        print(f"{reached} runs heard of it")
        await app.publish(paid, Paid(order=7, amount=2.5), id="payment-1")
        assert [await handle.result() for handle in handles] == [2.5, 1.5, 2.5]


if __name__ == "__main__":
    asyncio.run(main())
