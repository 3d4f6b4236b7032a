"""Children: runs that a run starts. Awaited, held, left alone, cancelled."""

import asyncio

from stepwell import (
    ChildHandle,
    Context,
    RunCancelledError,
    RunError,
    Signal,
    Stepwell,
    Workflow,
    WorkflowRef,
    step,
    workflow,
)

go = Signal("go", int)


@step
async def square(x: int) -> int:
    return x * x


@workflow
async def worker(ctx: Context, x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    return await square(x)


@workflow
async def patient(ctx: Context) -> int:
    return await ctx.receive(go)


async def twice(what: Workflow[int, int], x: int) -> int:
    """Workflows are passed on like functions."""
    return await what(await what(x))


@workflow
async def parent(ctx: Context) -> list[str]:
    seen = [f"awaited: {await worker(3)}, {await twice(worker, 2)}"]
    try:
        await worker(-1)
    except RunError as error:
        seen.append(f"failed: {error.error}")

    held: ChildHandle[int] = await ctx.start(patient, id=f"{ctx.run_id}-patient")
    await held.send(go, 5)
    seen.append(f"held: {await held.result(timeout='1m')}")

    doomed = await ctx.start(patient)
    await doomed.cancel()
    try:
        await doomed.result()
    except RunCancelledError:
        seen.append("cancelled")

    left = await ctx.start(worker, 6, id="left-alone", on_parent_end="abandon")  # lives on when this run ends
    await ctx.start(patient, id="goes-along")  # by default, is cancelled when this run ends
    seen.append(f"left alone: {left.id}")
    by_name: WorkflowRef[int, int] = WorkflowRef("worker")  # without its code
    seen.append(f"by name: {await by_name(4)}")
    return seen


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        result = await (await app.start(parent, id="p")).result()
        assert result == [
            "awaited: 9, 16",
            "failed: ValueError: negative",
            "held: 5",
            "cancelled",
            "left alone: left-alone",
            "by name: 16",
        ], result
        assert await app.handle("left-alone", worker).result() == 36
        try:
            await app.handle("goes-along", patient).result()
        except RunCancelledError as error:
            print(error)
        else:
            raise AssertionError("it was cancelled")


if __name__ == "__main__":
    asyncio.run(main())
