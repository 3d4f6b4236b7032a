"""Sagas: undo what was done, newest first: when a block fails, when it is cancelled, or when you say so."""

import asyncio

from stepwell import Context, RunCancelledError, RunError, Stepwell, step, workflow

world: list[str] = []


@step
async def book(what: str) -> str:
    world.append(f"book {what}")
    return f"{what}-1"


@book.compensate
async def unbook(booking: str, what: str) -> None:
    world.append(f"unbook {booking}")


@step(retry=None)
async def pay() -> None:
    raise PermissionError("card declined")


@workflow
async def trip(ctx: Context) -> None:
    async with ctx.saga():
        await book("flight")
        await book("hotel")
        await pay()


@workflow
async def second_thoughts(ctx: Context) -> str:
    async with ctx.saga() as saga:
        await book("car")
        await saga.compensate()
        return await book("train")


@workflow
async def undecided(ctx: Context) -> None:
    async with ctx.saga():
        await book("ship")
        await asyncio.sleep(3600)


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        try:
            await (await app.start(trip)).result()
        except RunError as error:
            print(error)
        assert world == ["book flight", "book hotel", "unbook hotel-1", "unbook flight-1"], world

        world.clear()
        assert await (await app.start(second_thoughts)).result() == "train-1"
        assert world == ["book car", "unbook car-1", "book train"], world

        world.clear()
        handle = await app.start(undecided)
        while not world:
            await asyncio.sleep(0.01)
        await handle.cancel("the customer left")
        try:
            await handle.result()
        except RunCancelledError:
            assert world == ["book ship", "unbook ship-1"], world


if __name__ == "__main__":
    asyncio.run(main())
