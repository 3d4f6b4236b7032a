"""Streams: what a run says while it works. A failed attempt's words are replaced, not repeated."""

import asyncio

from stepwell import Context, Retry, Stepwell, Stream, current_step, step, workflow

tokens = Stream("tokens", str)


@step(retry=Retry(attempts=2, first_delay="10ms"))
async def generate(prompt: str) -> int:
    words = f"you said {prompt}".split()
    for count, word in enumerate(words, 1):
        current_step().send(tokens, word)
        if count == 2 and current_step().attempt == 1:
            raise ConnectionError("the model went away")
    return len(words)


@workflow
async def answer(ctx: Context, prompt: str) -> int:
    ctx.send(tokens, "<begin>")
    count = await generate(prompt)
    ctx.send(tokens, "<end>")
    return count


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(answer, "good day")
        assert await handle.result() == 4
        words = [word async for word in handle.stream(tokens)]  # also while the run goes on
        assert words == ["<begin>", "you", "said", "good", "day", "<end>"], words


if __name__ == "__main__":
    asyncio.run(main())
