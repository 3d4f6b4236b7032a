"""Which streams a run has written to."""

from __future__ import annotations

import asyncio

import pytest
from tests.helpers import run
from tests.runtime.conftest import OpenApp

from stepwell import Context, RunNotFoundError, Stepwell, Stream, current_step, step, workflow
from stepwell.model.ids import Claim, RunId
from stepwell.ports import Chunks
from stepwell.runtime.chunks import StreamWriter, directory_key
from stepwell.runtime.reading import streams_of
from stepwell.testing import StepwellTest

words = Stream("words", str)
numbers = Stream("numbers/all", int)


@step
async def count() -> None:
    current_step().send(numbers, 1)
    current_step().send(numbers, 2)


@workflow
async def talking(ctx: Context) -> None:
    ctx.send(words, "hello")
    await count()
    ctx.send(words, "good bye")


@workflow
async def silent(ctx: Context) -> None:
    pass


def test_streams_of_body_and_steps_are_listed_in_the_order_of_their_first_chunks(app_of: OpenApp) -> None:
    async def go() -> list[str]:
        async with app_of(talking) as app:
            await (await app.start(talking, id="r")).result(timeout=5)
            return await streams_of(app.client, RunId("r"))

    assert sorted(run(go())) == ["numbers/all", "words"]


async def test_a_run_that_sends_nothing_has_no_streams(stepwell: StepwellTest) -> None:
    await stepwell.run(silent, id="r")

    assert await streams_of(stepwell.app.client, RunId("r")) == []


async def test_a_run_that_there_is_not_has_no_list(stepwell: StepwellTest) -> None:
    with pytest.raises(RunNotFoundError, match="no run nobody"):
        await streams_of(stepwell.app.client, RunId("nobody"))


async def test_the_list_goes_with_the_run(stepwell: StepwellTest) -> None:
    await stepwell.run(talking, id="r")
    app = stepwell.app
    await app.runs.delete("r")

    assert await app.backend.streams.read(directory_key(RunId("r")), 0, 10) == Chunks((), 0)


def writer_of(app: Stepwell, name: str, claim: str) -> StreamWriter:
    backend = app.backend
    return StreamWriter(backend.streams, backend.queue, RunId("r"), name, Claim(claim))


async def written(writer: StreamWriter) -> None:
    writer.write(source="s", attempt=1, k=0, value=b"1", base=1)  # type: ignore[arg-type]
    await writer.flush()


async def test_two_owners_list_a_name_once(stepwell: StepwellTest) -> None:
    await stepwell.run(silent, id="r")
    one, other = writer_of(stepwell.app, "words", "a:1"), writer_of(stepwell.app, "words", "b:1")
    await asyncio.gather(written(one), written(other), written(writer_of(stepwell.app, "more", "b:1")))

    assert sorted(await streams_of(stepwell.app.client, RunId("r"))) == ["more", "words"]


async def test_answers_to_requests_are_not_listed(stepwell: StepwellTest) -> None:
    await stepwell.run(silent, id="r")
    await written(writer_of(stepwell.app, "hook answers/123", "a:1"))

    assert await streams_of(stepwell.app.client, RunId("r")) == []
