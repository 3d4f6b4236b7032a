"""Traces of a step worker: they go on where the orchestrator's stop."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stepwell import AesGcm, Codec, Context, Retry, Stepwell, Target, current_step, step, workflow
from tests.helpers import run
from tests.server.step_workers import LINES, app_of, ask, encoded, lines_of, request

ASKED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@step(retry=Retry(attempts=2, first_delay="1ms", jitter=0))
async def flaky() -> str:
    if current_step().attempt == 1:
        raise ConnectionError("hunter2 refused")
    return f"{trace.get_current_span().get_span_context().span_id:016x}"


@workflow
async def trying(ctx: Context) -> str:
    return await flaky()


class Seen:
    """A provider, and the spans that came out of it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def named(self, name: str) -> list[Any]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


def test_invocations_and_steps_hang_from_who_asked() -> None:
    seen = Seen()

    async def test() -> Any:
        worker = app_of(trying, tracing=seen.provider).step_worker()
        return await lines_of(await worker.handle(encoded(request("trying")), {**LINES, "traceparent": ASKED}))

    output = run(test())[-1]["outcome"]["output"]
    (invocation,) = seen.named("invocation trying")
    first, second = seen.named("step flaky")
    assert f"{invocation.parent.trace_id:032x} {invocation.parent.span_id:016x}" == ASKED[3:52].replace("-", " ")
    assert [span.parent.span_id for span in (first, second)] == [invocation.context.span_id] * 2
    assert output == f"{second.context.span_id:016x}"
    assert [span.attributes["stepwell.step.outcome"] for span in (first, second)] == ["retried", "completed"]
    assert invocation.attributes["stepwell.invocation.outcome"] == "completed"


def test_an_invocation_that_cannot_begin_has_a_span_that_says_so() -> None:
    seen = Seen()
    headers = {"x-stepwell-hooks": "http://localhost/hooks/", "x-stepwell-hook-key": "x"}
    assert run(ask(app_of(trying, tracing=seen.provider).step_worker(), request("trying"), headers))[0] == 400
    (invocation,) = seen.named("invocation trying")
    assert (invocation.parent, invocation.attributes["error.type"]) == (None, "Refused")


@pytest.mark.parametrize("hides", [False, True])
def test_what_a_cipher_hides_is_not_in_traces(hides: bool) -> None:
    seen = Seen()
    codec = Codec(AesGcm({"k": bytes(32)}, current="k")) if hides else Codec()
    run(ask(app_of(trying, tracing=seen.provider, codec=codec).step_worker(), request("trying")))
    assert ("hunter2" in str([span.to_json() for span in seen.exporter.get_finished_spans()])) is not hides


def test_a_run_and_its_worker_elsewhere_are_one_trace() -> None:
    seen = Seen()

    async def test() -> None:
        worker = app_of(trying, tracing=seen.provider).step_worker()
        async with Stepwell("memory://", tracing=seen.provider, targets=[Target(worker, workflows=["trying"])]) as app:
            await (await app.start("trying")).result()

    run(test())
    (root,) = seen.named("run trying")
    assert {span.context.trace_id for span in seen.exporter.get_finished_spans()} == {root.context.trace_id}
    (asking,) = seen.named("step @invocation")
    (invocation,) = seen.named("invocation trying")
    assert invocation.parent.span_id == asking.context.span_id
