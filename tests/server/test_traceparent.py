"""A run that was asked for over HTTP links to the trace that asked."""

from __future__ import annotations

import pytest
from httpx import ASGITransport, AsyncClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stepwell import Context, Stepwell, workflow
from tests.helpers import run

ASKED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@workflow(id="traced")
async def traced(ctx: Context) -> None:
    """Nothing to do."""


@pytest.mark.parametrize("is_on", [True, False])
def test_the_header_is_kept_if_runs_are_traced_and_no_tag_of_that_system(is_on: bool) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def main() -> tuple[dict[str, str], list[str]]:
        async with Stepwell("memory://", include=[traced], tracing=provider if is_on else False) as app:
            async with AsyncClient(transport=ASGITransport(app.asgi(dev=True)), base_url="http://localhost") as http:
                body = {"workflowId": "traced", "runId": "r"}
                record = (await http.post("/api/runs", json=body, headers={"traceparent": ASKED})).json()
            return (await app.runs.get("r")).tags, record["tags"]

    tags, shown = run(main())
    assert tags == ({"traceparent": ASKED} if is_on else {})
    assert shown == []
    linked = {link.context.trace_id for span in exporter.get_finished_spans() for link in span.links}
    assert (int(ASKED[3:35], 16) in linked) is is_on
