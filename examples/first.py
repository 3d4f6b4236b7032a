"""A first workflow: greet some people, rest after each of them, count the greetings."""

import asyncio

from stepwell import Context, Stepwell, step, workflow


@step
async def greet(name: str) -> str:
    print(f"Hello, {name}!")
    return f"Hello, {name}!"


@workflow
async def greet_all(ctx: Context, names: list[str]) -> int:
    for name in names:
        await greet(name)
        await ctx.sleep("1s")
    return len(names)


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(greet_all, ["Ada", "Grace"], id="greetings")
        assert await handle.result() == 2


if __name__ == "__main__":
    asyncio.run(main())
