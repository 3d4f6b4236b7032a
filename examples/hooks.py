"""Hooks: a URL, or a token, that something outside uses to complete a wait."""

import asyncio
from dataclasses import dataclass

from stepwell import Context, Hook, HookError, Signal, Stepwell, step, workflow


@dataclass
class Approval:
    by: str


sent: list[str] = []
ready = Signal("ready", str)


@step
async def send_mail(link: str) -> None:
    sent.append(link)


async def first_of(hook: Hook[Approval]) -> str:
    return (await hook).by


@workflow
async def approve(ctx: Context) -> list[str]:
    hook = await ctx.create_hook(Approval, timeout="1h")
    await send_mail(hook.url)
    names = [await first_of(hook)]

    meter = await ctx.create_hook(int, token="meter-4711")  # a token of your own; one run at a time holds it
    await send_mail(meter.token)
    async for value in meter:  # one after another
        names.append(str(value))
        if len(names) == 3:
            break
    return names


async def mail(number: int) -> str:
    while len(sent) < number:
        await asyncio.sleep(0.01)
    return sent[number - 1]


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(approve)
        url = await mail(1)
        await app.complete(url.rpartition("/")[2], Approval(by="ada"))
        token = await mail(2)
        await app.complete(token, 1)
        await app.complete(token, 2, id="reading-2")
        assert await handle.result() == ["ada", "1", "2"]
        try:
            await app.complete(token, 3)
        except HookError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
