"""Streams of a worker elsewhere: each chunk once, and what begins again replaces what was there."""

from __future__ import annotations

import json
from typing import Any

from tests.runtime.remote.elsewhere import LINES, Turn, Worker, pieces

from stepwell import Stream
from stepwell.testing.fixture import StepwellTest


def line(**member: Any) -> bytes:
    return json.dumps(member).encode() + b"\n"


def chunk(seq: int, value: Any, **more: Any) -> dict[str, Any]:
    return {"streamId": "log", "seq": seq, "encoding": "json", "chunk": value, "final": False, "at": 100, **more}


def seen(worker: Worker, *, start: str = "talk") -> list[Any]:
    """What a reader of the stream `log` has in the end."""
    found: list[Any] = []
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start(start)
            await handle.result()
            found.extend([value async for value in handle.stream(Stream("log", Any))])

        test.drive(main())
    return found


def test_a_stream_that_failed_and_is_run_again_replaces_what_it_sent() -> None:
    def talk(turn: Turn) -> None:
        turn.stream(
            "log", "one", f"two of {turn.request['invocationCount']}", completes=turn.request["invocationCount"] > 1
        )
        turn.sleep(1000)

    assert seen(Worker(talk=talk)) == ["one", "two of 2"]


def test_a_stream_that_goes_on_in_a_later_invocation_keeps_what_it_has() -> None:
    def talk(turn: Turn) -> None:
        number = turn.request["invocationCount"]
        turn.chunks += [chunk(2 * number - 1, f"a{number}"), chunk(2 * number, f"b{number}")]
        turn.journal["streamsCompleted"]["log"] = {"chunkCount": 2 * number}
        turn.sleep(1000)

    assert seen(Worker(talk=talk)) == ["a1", "b1", "a2", "b2"]


def test_chunks_that_were_sent_live_are_not_written_again_with_the_outcome() -> None:
    def live(body: bytes, answer: dict[str, Any]) -> Any:
        chunks = [line(chunk=item) for item in answer["streamChunks"][:2]]
        return 200, LINES, pieces(line(speaks=["lines"]), *chunks, line(outcome=answer))

    worker = Worker(talk=lambda turn: turn.stream("log", 1, 2, 3))
    worker.lies = [live]

    assert seen(worker) == [1, 2, 3]


def test_chunks_of_an_attempt_that_broke_off_are_replaced_by_those_of_the_next() -> None:
    def broken(body: bytes, answer: dict[str, Any]) -> Any:
        return 200, LINES, pieces(line(speaks=["lines"]), line(chunk=chunk(1, "old")), line(chunk=chunk(2, "older")))

    worker = Worker(talk=lambda turn: turn.stream("log", "new"))
    worker.lies = [broken]

    assert seen(worker) == ["new"]


def test_chunks_of_a_step_whose_end_is_known_stay_when_the_connection_breaks() -> None:
    def broken(body: bytes, answer: dict[str, Any]) -> Any:
        load = {"id": "load", "entry": answer["journal"]["stepResults"]["load"]}
        lines = [line(speaks=["lines"]), line(chunk=chunk(1, "loaded", step="load", stepAttempt=1)), line(step=load)]
        return 200, LINES, pieces(*lines, line(chunk=chunk(1, "half", step="note", stepAttempt=1)))

    def talk(turn: Turn) -> None:
        turn.step("load", 1)
        turn.step("note", 2)
        turn.chunks.append(chunk(1, "noted", step="note", stepAttempt=1))

    worker = Worker(talk=talk)
    worker.lies = [broken]

    assert seen(worker) == ["loaded", "noted"]
    assert [[*request["journal"]["stepResults"]] for request in worker.requests] == [[], ["load"]]


def test_base64_chunks_are_bytes_to_readers() -> None:
    found: list[bytes] = []
    worker = Worker(talk=lambda turn: turn.stream("log", "AAEC", encoding="base64"))
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            handle = await test.app.start("talk")
            await handle.result()
            found.extend([value async for value in handle.stream(Stream("log", bytes))])

        test.drive(main())
    assert found == [b"\0\1\2"]


def test_a_chunk_that_comes_twice_is_written_once() -> None:
    def talk(turn: Turn) -> None:
        turn.stream("log", 1, 2)
        turn.chunks = [*turn.chunks, *turn.chunks]

    assert seen(Worker(talk=talk)) == [1, 2]
