"""The same with anyio: task groups, cancel scopes and streams."""

import asyncio

import anyio

from stepwell import Context, Stepwell, step, workflow


@step
async def load(x: int) -> int:
    return x * 10


@workflow
async def tour(ctx: Context) -> list[int]:
    results: list[int] = []
    send, receive = anyio.create_memory_object_stream[int](5)

    async def producer() -> None:
        async with send:
            for x in range(3):
                await send.send(await load(x))

    async with anyio.create_task_group() as group:
        group.start_soon(producer)
        async with receive:
            async for value in receive:
                results.append(value)

    with anyio.move_on_after(0.02) as scope:
        await anyio.sleep(3600)
    assert scope.cancelled_caught
    return results


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        assert await (await app.start(tour)).result() == [0, 10, 20]


if __name__ == "__main__":
    asyncio.run(main())
