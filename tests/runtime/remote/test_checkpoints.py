"""What is in the journal while a worker elsewhere is still at work, and what crashes leave of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.runtime.remote.elsewhere import LINES, Reply, Turn, Worker

from stepwell import RemoteWorkflow, Signal, Stepwell
from stepwell.model.entries import StepCompleted
from stepwell.model.traceparents import TAG
from stepwell.testing.fixture import StepwellTest


def line(**member: Any) -> bytes:
    return json.dumps(member).encode() + b"\n"


def pay(turn: Turn) -> Any:
    for n in range(5):
        turn.step(f"s{n}", n)
    turn.sleep(60_000)
    paid = turn.waited(turn.signal("paid"))
    return [turn.step("charge", "charged"), paid]


def test_steps_are_in_the_journal_as_soon_as_they_are_over() -> None:
    def slowly(body: bytes, answer: Any) -> Reply:
        async def lines() -> AsyncIterator[bytes]:
            yield line(speaks=["lines"])
            for id, entry in answer["journal"]["stepResults"].items():
                yield line(step={"id": id, "entry": entry})
                await asyncio.sleep(10)
            yield line(outcome=answer)

        return 200, LINES, lines()

    worker = Worker(pay=pay)
    worker.lies = [slowly]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            await test.app.start("pay", id="r1")
            for count in range(1, 6):
                await test.sleep("10s")
                entries = [event.entry async for event in test.app.runs.events("r1")]
                assert [entry.id for entry in entries if isinstance(entry, StepCompleted)] == [
                    f"s{n}" for n in range(count)
                ]

        test.drive(main())


def test_steps_that_come_together_are_written_together() -> None:
    def at_once(body: bytes, answer: Any) -> Reply:
        async def lines() -> AsyncIterator[bytes]:
            yield line(speaks=["lines"])
            for id, entry in answer["journal"]["stepResults"].items():
                yield line(step={"id": id, "entry": entry})
                await asyncio.sleep(0.005)
            await asyncio.sleep(10)
            yield line(outcome=answer)

        return 200, LINES, lines()

    worker = Worker(pay=pay)
    worker.lies = [at_once]
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            await test.app.start("pay", id="r1")
            await test.sleep("5s")
            frames = [event.seq async for event in test.app.runs.events("r1") if isinstance(event.entry, StepCompleted)]
            assert (len(frames), len(set(frames))) == (5, 1)

        test.drive(main())


def test_a_crash_at_any_write_gives_the_same_result() -> None:
    worker = Worker(pay=pay)
    workflow = RemoteWorkflow[Any, Any]("pay")
    with StepwellTest(include=[workflow], targets=[worker.target()]) as test:
        report = test.drive(test.crash_everywhere(workflow, 1, messages=[(Signal("paid"), "2h", 120)], max_crashes=40))
    assert report.different == []
    assert [bytes(end.value) for end in report.results[:1]] == [b'["charged",120]']
    assert len(report.crashes) > 10


def test_the_trace_goes_on_at_the_worker() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    worker = Worker(pay=lambda turn: None)

    async def main() -> None:
        async with Stepwell("memory://", tracing=provider, targets=[worker.target()]) as app:
            await (await app.start("pay")).result(timeout="20s")

    asyncio.run(main())
    contexts = [span.get_span_context() for span in exporter.get_finished_spans()]
    sent = worker.headers[0]["traceparent"]
    assert sent in [f"00-{item.trace_id:032x}-{item.span_id:016x}-01" for item in contexts if item is not None]


def test_without_traces_the_worker_is_told_what_asked_for_the_run() -> None:
    asked = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    worker = Worker(pay=lambda turn: None)
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            await (await test.app.start("pay", tags={TAG: asked})).result()
            await (await test.app.start("pay", tags={TAG: "x\r\nx-evil: 1"})).result()

        test.drive(main())
    assert [headers.get("traceparent") for headers in worker.headers] == [asked, None]
    assert worker.requests[0]["runMeta"]["tags"] == []
