"""Signals, events and streams: names with types."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Context, DefinitionError, Event, Signal, Stream, current_step, step, workflow
from stepwell.testing import StepwellTest

KINDS: list[Any] = [Signal, Event, Stream]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_goes_with_a_type(kind: Any) -> None:
    named = kind("numbers", int)

    assert (named.name, named.type) == ("numbers", int)
    assert repr(named) == f"{kind.__name__}('numbers', int)"


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_type_anything_goes(kind: Any) -> None:
    assert kind("things").type is Any


@pytest.mark.parametrize("name", ["", "x" * 201, 7])
def test_a_name_is_short_text(name: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Signal\(.*give a name of 1 to 200 characters"):
        Signal(name, int)


numbers = Signal("numbers", int)
words = Stream("words", str)


@step
async def say(word: str) -> None:
    current_step().send(words, word)


@workflow
async def tell(ctx: Context) -> int:
    ctx.send(words, "one")
    await say("two")
    ctx.send(words, "three")
    return await ctx.receive(numbers)


async def test_a_stream_holds_what_body_and_steps_send(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(tell)
    await handle.send(numbers, 7)

    assert [word async for word in handle.stream(words)] == ["one", "two", "three"]
    assert [chunk.index async for chunk in handle.stream_chunks(words, start=1)] == [1, 2]


async def test_what_does_not_fit_the_type_is_refused_where_it_is_sent(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(tell)

    with pytest.raises(DefinitionError, match="signal numbers"):
        await handle.send(numbers, "seven")  # type: ignore[misc]
    await handle.send(numbers, 7)
    assert await handle.result() == 7


def test_a_chunk_that_does_not_fit_fails_its_sender(stepwell: StepwellTest) -> None:
    @workflow
    async def mumble(ctx: Context) -> str:
        try:
            ctx.send(words, 7)  # type: ignore[misc]
        except DefinitionError as error:
            return str(error)
        return ""

    assert "a chunk of stream words" in stepwell.run_sync(mumble).result
