"""Inside a workflow asyncio is durable: the same names, the same order each time."""

import asyncio
from contextvars import ContextVar

from stepwell import Context, StepError, Stepwell, step, workflow

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@step
async def load(x: int) -> int:
    await asyncio.sleep(0.001 * (10 - x))
    return x


@step(retry=None)
async def fail() -> None:
    raise LookupError("nothing there")


@step
async def whose() -> str:
    return tenant.get()


async def together() -> None:
    one, two, three = await asyncio.gather(load(1), load(2), load(3))
    assert (one, two, three) == (1, 2, 3)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load(x)) for x in range(4)]
    assert [task.result() for task in tasks] == [0, 1, 2, 3]

    first, others = await asyncio.wait(
        [asyncio.create_task(load(x)) for x in (1, 9)], return_when=asyncio.FIRST_COMPLETED
    )
    assert {task.result() for task in first} == {9}
    for task in others:
        task.cancel()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(3600))  # cancelled when its sibling fails
    except* StepError as errors:
        assert len(errors.exceptions) == 1


async def in_time() -> None:
    try:
        async with asyncio.timeout(0.02):
            await asyncio.sleep(3600)
    except TimeoutError:
        pass
    assert await asyncio.wait_for(load(5), timeout=60) == 5
    precious = asyncio.create_task(load(6))
    assert await asyncio.shield(precious) == 6


async def in_turn() -> list[int]:
    lock, queue, is_full = asyncio.Lock(), asyncio.Queue[int](), asyncio.Event()
    order: list[int] = []

    async def produce() -> None:
        for x in range(3):
            async with lock:
                queue.put_nowait(await load(x))
        is_full.set()

    async def consume() -> None:
        await is_full.wait()
        while not queue.empty():
            order.append(queue.get_nowait())

    await asyncio.gather(produce(), consume())
    return order


@workflow
async def tour(ctx: Context) -> list[int]:
    await together()
    await in_time()
    tenant.set("acme")  # context variables reach the steps
    assert await whose() == "acme"
    return await in_turn()


@workflow
async def cleanup(ctx: Context) -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        ctx.metadata["cleaned"] = await load(1)  # cleanup may await steps
        raise


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        assert await (await app.start(tour)).result() == [0, 1, 2]
        handle = await app.start(cleanup)
        await asyncio.sleep(0.05)
        await handle.cancel("enough")
        while await handle.status() != "cancelled":
            await asyncio.sleep(0.01)
        assert "cleaned" in (await handle.head()).metadata


if __name__ == "__main__":
    asyncio.run(main())
