"""Two customers in one database: the same ids, names and events, and nothing in common; each with a key of its own."""

import asyncio
import tempfile
from pathlib import Path

from stepwell import AesGcm, Codec, CodecError, Context, Event, RunNotFoundError, Stepwell, step, workflow

paid = Event("paid", int)


@step
async def ship(order: str, amount: int) -> str:
    return f"{order} for {amount}"


@workflow
async def checkout(ctx: Context, order: str) -> str:
    return await ship(order, await ctx.receive(paid))


async def main() -> None:
    url = f"sqlite:///{Path(tempfile.mkdtemp()) / 'runs.db'}"
    keys = {"acme": AesGcm.generate_key(), "globex": AesGcm.generate_key()}  # by customer, from your vault

    def codec_of(namespace: str) -> Codec:
        key = keys.get(namespace)
        return Codec() if key is None else Codec(AesGcm({namespace: key}, current=namespace))

    async with Stepwell(url, include=[__name__], codec=codec_of) as app:
        acme, globex = app.in_namespace("acme"), app.in_namespace("globex")
        shelf = await acme.start(checkout, "a shelf", id="order-1")
        chair = await globex.start(checkout, "a chair", id="order-1")

        await acme.publish(paid, 80)  # nobody else hears of it
        assert await shelf.result() == "a shelf for 80"
        assert await chair.status() in ("running", "waiting")
        await globex.publish(paid, 45)
        assert await chair.result() == "a chair for 45"

        assert [head.id for head in (await acme.runs.list()).runs] == ["order-1"]
        assert (await app.runs.list()).runs == ()  # the default namespace has runs of its own, and here it has none
        try:
            await app.handle("order-1").result()
        except RunNotFoundError as error:
            print(error)

    # A process for one customer: it cannot leave the namespace, and works for no other.
    async with Stepwell(url, include=[__name__], codec=codec_of, namespace="globex") as app, app.worker():
        assert await app.handle("order-1", checkout).result() == "a chair for 45"

    # Without its key, all that a customer had is gone, in every backup too.
    del keys["acme"]
    async with Stepwell(url, include=[__name__], codec=codec_of) as app:
        try:
            await app.in_namespace("acme").handle("order-1", checkout).result()
        except CodecError as error:
            print(error)
        else:
            raise AssertionError("it is erased")
        assert await app.in_namespace("globex").handle("order-1", checkout).result() == "a chair for 45"


if __name__ == "__main__":
    asyncio.run(main())
