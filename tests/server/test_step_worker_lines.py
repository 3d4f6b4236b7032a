"""Answers line by line: what an invocation tells while it goes on, and how that ends."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from stepwell import Context, Retry, Stream, current_step, step, workflow
from stepwell.formats.voyant.invocations import WireChunk
from stepwell.formats.voyant.lines import LineReader, Over, StepOver
from stepwell.runtime.stepworker.lines import Lines
from stepwell.runtime.stepworker.sending import Kept, Live
from stepwell.testing.virtual import VirtualClock
from tests.helpers import run
from tests.server.step_workers import (
    LINES,
    Exchange,
    app_of,
    ask,
    broken_lines_of,
    encoded,
    lines_of,
    request,
    virtually,
)

log = Stream("log", str)
words = Stream("words", str)
told: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    told.clear()


@step
async def work(seconds: float) -> float:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        told.append(("cancelled", seconds))
        raise
    return seconds


@workflow
async def long(ctx: Context) -> list[float]:
    return [await work(1), *await asyncio.gather(work(3), work(12))]


def kinds(lines: list[dict[str, Any]]) -> list[Any]:
    found = []
    for line in lines:
        ((kind, value),) = line.items()
        found.append((kind, value["id"]) if kind == "step" else kind)
    return found


async def answered(workflow: str, *include: object, clock: VirtualClock, **options: Any) -> list[dict[str, Any]]:
    worker = app_of(*include, clock=clock).step_worker(**options)
    reply = await worker.handle(encoded(request(workflow)), LINES)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/x-ndjson"
    return await lines_of(reply)


def test_each_step_is_told_as_soon_as_it_is_over_and_silence_is_broken() -> None:
    clock = VirtualClock()
    lines = virtually(answered("long", long, clock=clock), clock)
    assert kinds(lines) == [
        "speaks",
        ("step", "work"),
        ("step", "work:2"),
        "beat",
        ("step", "work:3"),
        "outcome",
    ]
    assert lines[0] == {"speaks": ["cancel", "lines"]}
    assert lines[-1]["outcome"]["output"] == [1, 3, 12]


def test_the_outcome_holds_what_was_told_before() -> None:
    clock = VirtualClock()
    lines = virtually(answered("long", long, clock=clock), clock)
    steps = {line["step"]["id"]: line["step"]["entry"] for line in lines if "step" in line}
    assert lines[-1]["outcome"]["journal"]["stepResults"] == steps


def test_other_ends_understand_the_lines() -> None:
    clock = VirtualClock()

    async def test() -> list[Any]:
        reply = await app_of(long, clock=clock).step_worker().handle(encoded(request("long")), LINES)
        reader = LineReader(10_000)
        assert isinstance(reply.body, Lines)
        lines = [line async for piece in reply.body for line in reader.feed(piece)]
        reader.close()
        return lines

    lines = virtually(test(), clock)
    assert isinstance(lines[-1], Over)
    assert sum(isinstance(line, StepOver) for line in lines) == 3


def test_without_being_asked_it_answers_at_once_and_says_what_it_speaks() -> None:
    clock = VirtualClock()

    async def test() -> Any:
        return await app_of(long, clock=clock).step_worker().handle(encoded(request("long")), {})

    reply = virtually(test(), clock)
    assert reply.headers["x-stepwell-speaks"] == "cancel,lines"
    assert msgspec.json.decode(reply.body)["status"] == "completed"


def test_refusals_are_no_lines() -> None:
    reply = run(app_of(long).step_worker().handle(encoded(request("nobody")), LINES))
    assert (reply.status, isinstance(reply.body, bytes)) == (404, True)


# --- ends in the middle


def test_to_close_the_answer_stops_the_steps() -> None:
    clock = VirtualClock()

    async def test() -> None:
        reply = await app_of(long, clock=clock).step_worker().handle(encoded(request("long")), LINES)
        assert isinstance(reply.body, Lines)
        await anext(reply.body)
        await asyncio.sleep(2)
        await reply.body.aclose()

    virtually(test(), clock)
    assert told == [("cancelled", 3), ("cancelled", 12)]


def test_a_client_that_leaves_has_got_what_was_over_by_then() -> None:
    clock = VirtualClock()

    async def test() -> Exchange:
        exchange = Exchange(app_of(long, clock=clock).step_worker(), headers=LINES)
        exchange.give(encoded(request("long")))
        await asyncio.sleep(2)
        exchange.leave()
        await exchange.task
        return exchange

    exchange = virtually(test(), clock)
    lines = [msgspec.json.decode(line) for line in exchange.body.splitlines()]
    assert kinds(lines) == ["speaks", ("step", "work")]
    assert exchange.sent[-1]["more_body"]
    assert told == [("cancelled", 3), ("cancelled", 12)]


def test_a_server_that_stops_breaks_the_answer_off() -> None:
    clock = VirtualClock()

    async def test() -> tuple[list[Any], str]:
        worker = app_of(long, clock=clock).step_worker(drain="2s")
        reply = await worker.handle(encoded(request("long")), LINES)
        await worker.aclose()
        return await broken_lines_of(reply)

    lines, why = virtually(test(), clock)
    assert kinds(lines) == ["speaks", ("step", "work")]
    assert "was stopped" in why
    assert told == [("cancelled", 3), ("cancelled", 12)]


def test_a_server_that_stops_lets_end_what_ends_in_time() -> None:
    clock = VirtualClock()

    async def test() -> list[Any]:
        worker = app_of(long, clock=clock).step_worker(drain="1m")
        reply = await worker.handle(encoded(request("long")), LINES)
        await worker.aclose()
        return kinds(await lines_of(reply))

    assert virtually(test(), clock)[-1] == "outcome"


@workflow
async def blocking(ctx: Context) -> None:
    await work(1)
    await asyncio.open_connection("127.0.0.1", 1)


def test_a_body_that_cannot_go_on_breaks_the_answer_off_and_is_told_apart_the_next_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock()

    async def test() -> tuple[int, Any]:
        worker = app_of(blocking, clock=clock).step_worker()
        reply = await worker.handle(encoded(request("blocking")), LINES)
        lines, why = await broken_lines_of(reply)
        assert "run run-1" in why
        steps = {line["step"]["id"]: line["step"]["entry"] for line in lines if "step" in line}
        members = request("blocking", journal={"stepResults": steps}, invocationCount=2)
        return await ask(worker, members, LINES)

    status, body = virtually(test(), clock)
    assert (status, body["error"]) == (500, "executor_error")
    assert "cannot be carried out" in caplog.text


# --- streams


@step(retry=Retry(attempts=2, first_delay="100ms", jitter=0))
async def talking() -> None:
    current_step().send(log, f"try {current_step().attempt}")
    await asyncio.sleep(1)
    if current_step().attempt == 1:
        raise ConnectionError
    current_step().send(log, "done")


@step
async def singing() -> None:
    current_step().send(log, "la")


@workflow
async def streaming(ctx: Context) -> None:
    ctx.send(log, "begin")
    await talking()
    await singing()


def test_chunks_are_sent_as_they_come_and_say_whose_they_are() -> None:
    clock = VirtualClock()
    lines = virtually(answered("streaming", streaming, clock=clock), clock)
    chunks = [line["chunk"] for line in lines if "chunk" in line]
    assert [(chunk["chunk"], chunk.get("step"), chunk.get("stepAttempt"), chunk["seq"]) for chunk in chunks[:5]] == [
        ("begin", None, None, 1),
        ("try 1", "talking", 1, 1),
        ("try 2", "talking", 2, 1),
        ("done", "talking", 2, 2),
        ("la", "singing", 1, 1),
    ]
    assert lines[-1]["outcome"]["streamChunks"] == []


def test_a_plain_answer_holds_the_chunks_that_count() -> None:
    clock = VirtualClock()

    async def test(headers: dict[str, str]) -> list[Any]:
        _, body = await ask(app_of(streaming, clock=clock).step_worker(), request("streaming"), headers)
        return [(chunk["chunk"], chunk.get("step"), chunk["seq"]) for chunk in body["streamChunks"]]

    ours = virtually(test({"x-stepwell-attempt": "1"}), clock)
    assert ours[:4] == [("begin", None, 1), ("try 2", "talking", 1), ("done", "talking", 2), ("la", "singing", 1)]


def test_orchestrators_that_know_no_steps_get_the_chunks_of_a_stream_numbered_through() -> None:
    clock = VirtualClock()

    async def test() -> list[Any]:
        _, body = await ask(app_of(streaming, clock=clock).step_worker(), request("streaming"))
        return [(chunk["chunk"], chunk["seq"], "step" in chunk) for chunk in body["streamChunks"]]

    chunks = virtually(test(), clock)
    assert chunks[:4] == [("begin", 1, False), ("try 2", 2, False), ("done", 3, False), ("la", 4, False)]


@step(retry=None)
async def flooding(count: int) -> str:
    for _ in range(count):
        current_step().send(words, "x" * 1_000_000)
    return "sent"


@workflow
async def flood(ctx: Context) -> str:
    return await flooding(3)


def test_the_result_of_a_step_waits_for_a_reader_of_its_chunks() -> None:
    async def test() -> list[Any]:
        reply = await app_of(flood).step_worker().handle(encoded(request("flood")), LINES)
        assert isinstance(reply.body, Lines)
        for _ in range(100):
            await asyncio.sleep(0)
        first = [msgspec.json.decode(line) for line in (await anext(reply.body)).splitlines()]
        rest = await lines_of(reply)
        return [kinds(first), kinds(rest)]

    assert run(test()) == [["speaks", "chunk", "chunk", "chunk"], [("step", "flooding"), "outcome"]]


def chunk(size: int, *, step: str = "s", seq: int = 1, attempt: int = 1) -> WireChunk:
    return WireChunk(
        stream_id="words", seq=seq, chunk=Raw(b'"%s"' % (b"x" * size)), at=0, step=step, step_attempt=attempt
    )


def test_what_nobody_reads_is_bounded() -> None:
    async def test() -> None:
        live = Live(limit=1000)
        assert live.send(chunk(500))
        assert not live.send(chunk(500))
        assert live.send(chunk(500, step=""))
        await live.take()
        assert live.send(chunk(500))

    run(test())


def test_what_is_kept_is_bounded_and_a_new_attempt_makes_room() -> None:
    kept = Kept(is_ours=True, limit=1000)
    assert kept.send(chunk(500))
    assert not kept.send(chunk(500, seq=2))
    assert kept.send(chunk(600, attempt=2))
    assert [item.step_attempt for item in kept.chunks] == [2]


def test_a_step_whose_chunks_were_lost_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.runtime.stepworker.sending.BUFFER_MAX", 2_000_000)

    _, body = run(ask(app_of(flood).step_worker(), request("flood")))
    assert body["status"] == "failed"
    assert "2 chunks of stream words were lost" in body["error"]["message"]
    assert body["journal"]["stepResults"]["flooding"]["error"]["code"] == "FATAL"
