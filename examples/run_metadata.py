"""Metadata: small values that people see in lists and search for. And what else the context knows."""

import asyncio
import logging
from datetime import timedelta

import msgspec

from stepwell import Context, NotInWorkflowError, RunInfo, RunQuery, Stepwell, current_run, step, workflow


@step
async def work(x: int) -> int:
    return x


def note(text: str) -> None:
    """Helpers at any depth find the run themselves."""
    run = current_run()
    run.metadata.append("notes", text)
    run.log.info("noted %s", text)  # silent on replay


@workflow(tags={"team": "books"})
async def report(ctx: Context) -> int:
    ctx.metadata["phase"] = "begin"
    for x in range(3):
        ctx.metadata.increment("pages", await work(x + 1))
        note(f"page {x}")

    dice = ctx.random.randint(1, 6)  # time, chance and ids that are the same on replay
    before = ctx.now()
    await ctx.sleep_until(before + timedelta(milliseconds=20))
    await ctx.sleep("1ms")
    assert ctx.now() - before >= timedelta(milliseconds=20)
    assert ctx.uuid4() != ctx.uuid4()
    assert not ctx.is_replaying
    ctx.metadata["phase"] = "end"
    assert ctx.metadata["pages"] == 6
    return dice


@workflow
async def chapter(ctx: Context, pages: int) -> None:
    ctx.metadata.parent.increment("pages", by=await work(pages))
    info: RunInfo = ctx.info
    ctx.metadata.root.append("chapters", info.id)
    assert info.parent == info.root  # whoever started it is at the top


@workflow
async def book(ctx: Context) -> int:
    async with asyncio.TaskGroup() as group:
        for pages in (10, 20, 12):
            group.create_task(chapter(pages))
    return int(ctx.metadata["pages"])


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(report, tags={"customer": "acme"}, metadata={"priority": "high"})
        assert 1 <= await handle.result() <= 6
        metadata = (await handle.head()).metadata
        assert msgspec.json.decode(metadata["notes"]) == ["page 0", "page 1", "page 2"]

        page = await app.runs.list(RunQuery(tag=(("team", "books"), ("customer", "acme"))))
        assert [head.id for head in page.runs] == [handle.id]
        page = await app.runs.list(metadata={"phase": "end", "pages": 6})  # the same in keywords, with plain values
        assert [head.id for head in page.runs] == [handle.id]

        handle = await app.start(book)
        assert await handle.result() == 42
        assert len((await handle.metadata())["chapters"]) == 3
    try:
        current_run()
    except NotInWorkflowError as error:
        print(error)


if __name__ == "__main__":
    asyncio.run(main())
