"""What a reader of a stream gets, whatever happens to the run that writes it."""

from __future__ import annotations

from tests.helpers import run

from stepwell import Context, Stepwell, Stream, current_step, step, workflow

words = Stream("words", str)


@step
async def say(text: str) -> None:
    current_step().send(words, text)


@workflow
async def last_words(ctx: Context) -> None:
    ctx.send(words, "first")
    await say("middle")
    ctx.send(words, "last")


@workflow
async def only_word(ctx: Context) -> None:
    ctx.send(words, "only")


@workflow
async def generations(ctx: Context, count: int) -> None:
    ctx.send(words, f"body {count}")
    await say(f"step {count}")
    if count < 2:
        ctx.send(words, f"end {count}")
        ctx.continue_as_new(count + 1)


async def read_all(workflow_: object, *given: object) -> list[str]:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(workflow_, *given)  # type: ignore[arg-type]
        await handle.result(timeout="10s")
        return [word async for word in handle.stream(words)]


def test_the_last_chunk_before_the_end_is_read() -> None:
    assert run(read_all(last_words)) == ["first", "middle", "last"]


def test_a_chunk_of_a_run_without_steps_is_read() -> None:
    assert run(read_all(only_word)) == ["only"]


def test_chunks_of_all_generations_are_read() -> None:
    expected = ["body 0", "step 0", "end 0", "body 1", "step 1", "end 1", "body 2", "step 2"]
    assert run(read_all(generations, 0)) == expected
