"""Seeing what goes on: traces, metrics, logs as JSON, and whether a process still does its work."""

import asyncio
import io
import json
import logging

import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stepwell import Context, Retry, Stepwell, current_step, step, workflow
from stepwell.runtime import logs

exporter = InMemorySpanExporter()  # yours sends spans to a collector
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("shop")
tries: list[int] = []


@step(retry=Retry(attempts=3, first_delay="10ms"))
async def charge(cents: int) -> str:
    tries.append(cents)
    with tracer.start_as_current_span("card"):  # within the span of the step, as an instrumented client's would be
        if len(tries) == 1:
            raise ConnectionError("the bank does not answer")
    current_step().log.info("charged", extra={"cents": cents})
    return "paid"


@workflow
async def order(ctx: Context, cents: int) -> str:
    ctx.log.info("an order")
    return await charge(cents)


async def see_traces(app: Stepwell) -> None:
    handle = await app.start(order, 500, id="order-7")
    assert await handle.result() == "paid"

    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"run order", "activation order", "step charge", "card"}
    traces = {context.trace_id for span in spans.values() if (context := span.get_span_context()) is not None}
    assert len(traces) == 1  # a run is one trace
    assert (spans["step charge"].attributes or {})["stepwell.step.attempt"] == 2
    assert not trace.get_current_span().is_recording()


async def see_metrics_and_health(app: Stepwell) -> None:
    transport = httpx.ASGITransport(app.asgi(metrics_scope="open"))  # or: stepwell serve
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        assert (await client.get("/healthz")).json()["ok"]
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["ok"]) == (200, True)
        assert await (await app.start(order, 700)).result() == "paid"
        text = (await client.get("/metrics")).text
        assert 'stepwell_runs_ended_total{status="completed",workflow="order"} 1.0' in text
        assert 'stepwell_step_duration_seconds_count{step="charge",workflow="order"} 1.0' in text


def see_logs(text: str) -> None:
    lines = [json.loads(line) for line in text.splitlines()]
    first, charged = (next(line for line in lines if line["message"] == said) for said in ("an order", "charged"))
    assert (first["run_id"], first["workflow"]) == ("order-7", "order")
    assert (charged["run_id"], charged["step"], charged["attempt"], charged["cents"]) == ("order-7", "charge", 2, 500)


async def main() -> None:
    text = io.StringIO()  # None: standard error
    logs.configure(level="INFO", stream=text)
    async with Stepwell("memory://", include=[__name__], tracing=provider) as app:
        await see_traces(app)
        await see_metrics_and_health(app)
    see_logs(text.getvalue())
    logging.getLogger().handlers.clear()


if __name__ == "__main__":
    asyncio.run(main())
