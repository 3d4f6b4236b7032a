"""`ctx.map`: a step for each of many items, a few at a time."""

import asyncio

from stepwell import Context, Outcome, StepError, Stepwell, step, workflow


@step(retry=None)
async def fetch(page: int) -> str:
    await asyncio.sleep(0.001 * (5 - page))
    if page == 3:
        raise LookupError("no such page")
    return f"page {page}"


async def fetch_quietly(page: int) -> str:
    """An async function may do several steps for an item."""
    try:
        return await fetch.options(key=f"quiet-{page}")(page)
    except StepError:
        return "-"


def text(outcome: Outcome[str]) -> str:
    return str(outcome.value) if outcome.is_ok else type(outcome.error).__name__


@workflow
async def tour(ctx: Context) -> list[str]:
    in_order = await ctx.map(fetch, [2, 0, 1], concurrency=2)
    assert in_order == ["page 2", "page 0", "page 1"]

    finished: list[str] = []
    async for result in ctx.map(fetch, [0, 4], key=lambda page: f"p{page}"):  # ids fetch[p0], fetch[p4]
        finished.append(result)
    assert finished == ["page 4", "page 0"]

    settled = await ctx.map(fetch, [1, 3], settle=True, key=lambda page: f"s{page}")  # errors in their place
    assert [text(outcome) for outcome in settled] == ["page 1", "StepError"]

    try:
        await ctx.map(fetch, [3], key=lambda page: f"e{page}")
    except StepError as error:
        assert error.is_(LookupError)
    return await ctx.map(fetch_quietly, range(5))


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        result = await (await app.start(tour)).result()
        assert result == ["page 0", "page 1", "page 2", "-", "page 4"], result


if __name__ == "__main__":
    asyncio.run(main())
