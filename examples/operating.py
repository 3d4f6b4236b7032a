"""Operating runs: find them, look into them, stop them, start them again from where it went wrong."""

import asyncio
import logging

from stepwell import (
    Context,
    Handle,
    Head,
    Page,
    RunCancelledError,
    RunError,
    RunNotFoundError,
    RunQuery,
    Signal,
    Stepwell,
    step,
    workflow,
)

go = Signal("go", str)
calls: list[str] = []
is_broken = [True]


@step
async def fetch(name: str) -> str:
    calls.append(f"fetch {name}")
    return f"data of {name}"


@step(retry=None)
async def publish(data: str) -> str:
    calls.append("publish")
    if is_broken[0]:
        raise ConnectionError("the site is down")
    return f"published {data}"


@workflow(tags={"team": "web"})
async def report(ctx: Context, name: str) -> str:
    data = await fetch(name)
    await ctx.receive(go)
    return await publish(data)


async def waiting(handle: Handle[str]) -> Head:
    while not (head := await handle.head()).waiting:
        await asyncio.sleep(0.01)
    return head


async def look(app: Stepwell) -> None:
    page: Page = await app.runs.list(workflow="report", status="waiting", tag={"team": "web"}, limit=10)
    assert [head.id for head in page.runs] == ["ada"]
    assert page.cursor is None  # else the next page is list(..., cursor=page.cursor)
    assert [head.id async for head in app.runs.iterate(RunQuery(text="ad"))] == ["ada"]
    assert (await app.runs.get("ada")).workflow == "report"
    print(await app.runs.explain("ada"))  # one answer to "why is this run not moving?"


async def stop(app: Stepwell) -> None:
    await app.runs.pause("ada", "maintenance")
    while await app.handle("ada").status() != "paused":
        await asyncio.sleep(0.01)
    await app.runs.resume("ada")

    doomed = await app.start(report, "bob", id="bob")
    await app.runs.cancel("bob", "not needed", grace="10s")
    try:
        await doomed.result()
    except RunCancelledError as error:
        print(error)
    results = await app.runs.terminate(["nobody", "bob"])  # many at once: an error hides no other
    assert [result.is_ok for result in results] == [False, False]


async def start_again(app: Stepwell) -> None:
    await app.handle("ada").send(go, "on")
    try:
        await app.handle("ada", report).result()
    except RunError as error:
        print(error)

    is_broken[0] = False
    calls.clear()
    again = await app.runs.retry("ada")  # a new run, with everything that was settled before the failure
    assert again == "ada-retry"
    assert await app.handle(again, report).result() == "published data of ada"
    assert calls == ["publish"]

    edited = await app.runs.fork("ada", from_step="publish", edit={"fetch": "better data"})
    assert await app.handle(edited, report).result() == "published better data"


async def inspect(app: Stepwell) -> None:
    kinds = [type(event.entry).__name__ async for event in app.runs.events("ada-retry", follow=True)]
    assert kinds[0] == "Created"
    assert kinds[-1] == "Ended"
    print(*(f"{item.name} {item.status}" for item in (await app.runs.timeline("ada")).steps), sep="\n")
    assert (await app.runs.replay("ada-retry")).is_ok  # would this code go on with that history?

    document = await app.runs.export("ada")  # the whole run as JSON
    async with Stepwell("memory://", include=[__name__], worker=False) as elsewhere:
        copy = await elsewhere.runs.import_(document)
        assert (await elsewhere.runs.get(copy)).status == "failed"

    await app.runs.delete("bob")
    try:
        await app.runs.get("bob")
    except RunNotFoundError as error:
        print(error)


async def main() -> None:
    logging.basicConfig(level=logging.INFO)
    async with Stepwell("memory://", include=[__name__]) as app:
        head = await waiting(await app.start(report, "ada", id="ada"))
        assert [(wait.kind, wait.name) for wait in head.waiting] == [("signal", "go")]
        await look(app)
        await stop(app)
        await start_again(app)
        await inspect(app)


if __name__ == "__main__":
    asyncio.run(main())
