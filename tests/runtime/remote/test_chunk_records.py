"""Chunks of a worker elsewhere: values for readers, and what else the worker wrote, for records."""

from __future__ import annotations

from typing import Any

from tests.runtime.remote.theirs import Theirs, Turn

from stepwell import Stream
from stepwell.runtime.chunks import decode_chunk, stream_key
from stepwell.testing.fixture import StepwellTest


async def talks(turn: Turn) -> None:
    turn.chunks("log", "Hello", "World", encoding="text")
    turn.chunks("data", {"n": 1})


def test_chunks_are_values_to_readers_and_keep_what_the_worker_wrote_beside() -> None:
    worker = Theirs(talks=talks)
    with StepwellTest(include=worker.workflows) as test:
        worker.serve(test.app)

        async def main() -> None:
            handle = await test.start(worker.workflows[0])
            await handle.result()
            values: list[Any] = [chunk async for chunk in handle.stream(Stream("log", str))]
            assert values == ["Hello", "World"]
            for name, record in (("log", b'{"encoding":"text","at":1770000000100}'), ("data", b'{"at":1770000000100}')):
                page = await test.app.backend.streams.read(stream_key(handle.id, name), 0, 10)
                assert {bytes(decode_chunk(item).record) for item in page.items} == {record}

        test.drive(main())
