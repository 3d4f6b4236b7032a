"""Starting runs: ids, conflicts, keys, delays, time limits."""

import asyncio

from stepwell import (
    Context,
    DefinitionError,
    RunCancelledError,
    RunConflictError,
    RunError,
    RunNotFoundError,
    Signal,
    Stepwell,
    StepwellError,
    workflow,
)

go = Signal("go", str)
mood: list[str] = ["bad"]


@workflow
async def echo(ctx: Context, text: str) -> str:
    return text


@workflow
async def moody(ctx: Context, text: str) -> str:
    if mood[-1] == "bad":
        raise ValueError("bad mood")
    return text


@workflow
async def waits(ctx: Context) -> str:
    return await ctx.receive(go)


async def ids(app: Stepwell) -> None:
    first = await app.start(echo, "a", id="echo-1")
    again = await app.start(echo, "a", id="echo-1")  # the same run: starting is idempotent
    assert again.id == first.id
    try:
        await app.start(echo, "b", id="echo-1")
    except RunConflictError as error:
        print(error)
    try:
        await app.start(echo, "a", id="echo-1", on_conflict="fail")
    except RunConflictError as error:
        print(error)

    keyed = await app.start(echo, "a", key="order/7")  # a key of your own instead of an id
    assert (await app.start(echo, "a", key="order/7")).id == keyed.id


async def restarts(app: Stepwell) -> None:
    failed = await app.start(moody, "fine", id="moody-1")
    try:
        await failed.result()
    except RunError as error:
        print(error)
    mood.append("good")
    again = await app.start(moody, "fine", id="moody-1", on_conflict="restart_if_failed")
    assert await again.result() == "fine"


async def limits(app: Stepwell) -> None:
    later = await app.start(echo, "later", delay="50ms", priority=5, tags={"kind": "test"}, metadata={"n": 1})
    assert await later.status() == "queued"
    assert await later.result(timeout="10s") == "later"

    bounded = await app.start(waits, timeout="50ms")
    try:
        await bounded.result()
    except RunCancelledError as error:
        print("cancelled:", error)
    except RunError as error:
        print("failed:", error)

    patient = await app.start(waits)
    try:
        await patient.result(timeout="20ms")
    except TimeoutError:  # nobody waits any more; the run goes on
        await patient.send(go, "on")
    assert await patient.result() == "on"


async def mistakes(app: Stepwell) -> None:
    try:
        await app.start("ehco", "a")
    except DefinitionError as error:
        print(error)
    try:
        await app.handle("nobody").head()
    except RunNotFoundError as error:
        print(error)
    many = await app.start_many(echo, [f"text {n}" for n in range(100)])
    assert [await handle.result() for handle in many] == [f"text {n}" for n in range(100)]


async def main() -> None:
    app = Stepwell("memory://", include=[__name__])
    async with app:
        await ids(app)
        await restarts(app)
        await limits(app)
        await mistakes(app)
    try:
        await app.start(echo, "a")
    except StepwellError as error:
        print(error)


if __name__ == "__main__":
    asyncio.run(main())
