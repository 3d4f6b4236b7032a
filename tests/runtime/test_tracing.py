"""Traces of runs: what spans there are, what they hang from, and that their ids can be derived by anybody."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import StatusCode
from tests.helpers import run, until

from stepwell import Context, DefinitionError, Retry, Signal, Stepwell, step, workflow
from stepwell.model.traceparents import TAG, tags_of, traceparent_of
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.telemetry import tracing_observer
from stepwell.runtime.tracing import Tracing, span_id
from stepwell.testing import StepwellTest

go_on = Signal("go-on", int)
ASKED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Seen:
    """A provider of the SDK, and what came out of it."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def trace_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def said(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(f"stepwell.{name}")


@pytest.fixture
def seen(stepwell: StepwellTest) -> Seen:
    seen = Seen()
    stepwell.app.hub.telemetry.add(tracing_observer(seen.provider))
    _tried.clear()
    return seen


_tried: list[str] = []


@step(retry=Retry(attempts=3, first_delay="1s"))
async def second_time_lucky(name: str) -> str:
    if name not in _tried:
        _tried.append(name)
        raise ValueError("not yet")
    return name


@step
async def fine() -> None: ...


@workflow(id="waits")
async def waits(ctx: Context) -> int:
    await second_time_lucky(ctx.run_id)
    await ctx.sleep("40d")
    return await ctx.receive(go_on)


@workflow(id="doomed")
async def doomed(ctx: Context) -> None:
    await fails()


@step(retry=None)
async def fails() -> None:
    raise ValueError("the number is 4711")


def test_a_run_is_one_trace_and_all_hangs_from_the_run(stepwell: StepwellTest, seen: Seen) -> None:
    stepwell.run_sync(waits, messages=[(go_on, "50d", 1)])

    root = seen.one("run waits")
    assert {trace_of(span) for span in seen.spans} == {trace_of(root)}
    assert root.parent is None
    activations = seen.named("activation waits")
    assert {parent_of(span) for span in [*activations, *seen.named("wait")]} == {id_of(root)}
    assert {parent_of(span) for span in seen.named("step second_time_lucky")} == {id_of(activations[0])}
    assert (said(root, "run.status"), said(root, "workflow.name")) == ("completed", "waits")


def test_a_run_lasts_from_its_creation_to_its_end_and_a_wait_from_park_to_wake(
    stepwell: StepwellTest, seen: Seen
) -> None:
    stepwell.run_sync(waits, messages=[(go_on, "50d", 1)])

    def days(span: ReadableSpan) -> int:
        assert span.end_time is not None
        assert span.start_time is not None
        return (span.end_time - span.start_time) // (86_400 * 10**9)

    assert days(seen.one("run waits")) == 50
    assert [days(span) for span in seen.named("wait")] == [40, 9]
    assert [said(span, "wait.kinds") for span in seen.named("wait")] == [("timer",), ("signal",)]


def test_an_activation_after_a_wait_links_to_the_one_before(stepwell: StepwellTest, seen: Seen) -> None:
    stepwell.run_sync(waits, messages=[(go_on, "50d", 1)])

    first, second, third = seen.named("activation waits")
    assert not first.links
    assert [link.context.span_id for link in [*second.links, *third.links]] == [id_of(first), id_of(second)]
    assert [said(span, "activation.outcome") for span in (first, second, third)] == ["parked", "parked", "ended"]
    events = [event.name for span in (second, third) for event in span.events]
    assert events == ["timer", "message"]


def test_each_attempt_is_told_once_and_nothing_on_replay(stepwell: StepwellTest, seen: Seen) -> None:
    stepwell.run_sync(waits, messages=[(go_on, "50d", 1)])  # nothing is cached in tests: it was replayed twice

    attempts = seen.named("step second_time_lucky")
    assert [(said(span, "step.attempt"), said(span, "step.outcome")) for span in attempts] == [
        (1, "retried"),
        (2, "completed"),
    ]
    assert attempts[0].status.status_code is StatusCode.ERROR
    assert len(seen.spans) == 2 + 3 + 2 + 1


def test_a_failure_is_told_with_its_type_and_its_text(stepwell: StepwellTest, seen: Seen) -> None:
    stepwell.run_sync(doomed)

    for span in (seen.one("step fails"), seen.one("run doomed")):
        assert span.status.status_code is StatusCode.ERROR
        (event,) = span.events
        assert event.name == "exception"
        assert "4711" in str((event.attributes or {})["exception.message"])
    assert (seen.one("step fails").attributes or {})["error.type"] == "ValueError"


def test_texts_may_stay_here(stepwell: StepwellTest) -> None:
    seen = Seen()
    stepwell.app.hub.telemetry.add(tracing_observer(seen.provider, hides_texts=True))

    stepwell.run_sync(doomed)

    assert (seen.one("step fails").attributes or {})["error.type"] == "ValueError"
    assert not [span for span in seen.spans if "4711" in span.to_json()]


# --- spans of users


@step
async def instrumented() -> None:
    with _mine_of().start_as_current_span("call"):
        await asyncio.sleep(0)
        with _mine_of().start_as_current_span("inner"):
            pass


@step
def in_a_thread() -> None:
    with _mine_of().start_as_current_span("from a thread"):
        pass


_provider: list[TracerProvider] = []


def _mine_of() -> trace.Tracer:
    return _provider[-1].get_tracer("mine")


@workflow(id="instruments")
async def instruments(ctx: Context) -> None:
    await asyncio.gather(instrumented(), in_a_thread())


def test_spans_made_in_a_step_hang_from_the_step(stepwell: StepwellTest, seen: Seen) -> None:
    _provider.append(seen.provider)

    stepwell.run_sync(instruments)

    assert parent_of(seen.one("call")) == id_of(seen.one("step instrumented"))
    assert parent_of(seen.one("inner")) == id_of(seen.one("call"))
    assert parent_of(seen.one("from a thread")) == id_of(seen.one("step in_a_thread"))
    assert len({trace_of(span) for span in seen.spans}) == 1
    assert not trace.get_current_span().get_span_context().is_valid


# --- relations


@workflow(id="parent")
async def parent(ctx: Context) -> None:
    await child(None)


@workflow(id="child")
async def child(ctx: Context, _: None) -> None:
    await fine()


def test_a_child_has_a_trace_of_its_own_which_links_to_its_parent(stepwell: StepwellTest, seen: Seen) -> None:
    stepwell.run_sync(parent)

    above, below = seen.one("run parent"), seen.one("run child")
    assert trace_of(above) != trace_of(below)
    for span in (below, seen.one("activation child")):
        (link,) = span.links
        assert (link.context.trace_id, link.context.span_id) == (trace_of(above), id_of(above))
        assert (link.attributes or {})["stepwell.parent.command"] == "child"


def test_a_run_links_to_the_request_that_asked_for_it(stepwell: StepwellTest, seen: Seen) -> None:
    stepwell.run_sync(doomed, tags=tags_of(ASKED))

    (link,) = seen.one("run doomed").links
    assert f"{link.context.trace_id:032x}" == ASKED.split("-")[1]
    assert f"{link.context.span_id:016x}" == ASKED.split("-")[2]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        ASKED.upper(),
        ASKED[:-1],
        f"{ASKED}-more",
        ASKED.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + ASKED[35:],
        ASKED[:36] + "0" * 16 + "-01",
    ],
)
def test_what_is_no_traceparent_is_ignored(text: str | None) -> None:
    assert traceparent_of(text) is None
    assert tags_of(text) == {}


def test_a_traceparent_of_a_later_version_may_say_more() -> None:
    later = ASKED.replace("00-", "01-", 1) + "-more"
    assert tags_of(f" {later} ") == {TAG: later}


# --- ids


@step
async def hangs(path: str) -> str:
    if not await asyncio.to_thread(Path(path).exists):
        await asyncio.Event().wait()
    return "done"


@workflow(id="dies")
async def dies(ctx: Context, path: str) -> str:
    return await hangs(path)


def test_what_is_told_twice_after_a_crash_has_the_same_ids(tmp_path: Path) -> None:
    url, path, seen = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true", tmp_path / "done", Seen()

    async def first() -> None:
        options = WorkerOptions(grace_ms=0)
        async with Stepwell(url, include=[dies], worker_options=options) as app:
            app.hub.telemetry.add(tracing_observer(seen.provider))
            await app.start(dies, str(path), id="r1")
            await until(lambda: _are_running(app))

    async def second() -> None:
        async with Stepwell(url, include=[dies]) as app:
            app.hub.telemetry.add(tracing_observer(seen.provider))
            assert await app.handle("r1", dies).result(timeout="5s") == "done"

    run(first())
    path.touch()
    run(second())

    before, after = seen.named("step hangs")
    assert [said(span, "step.outcome") for span in (before, after)] == ["stopped", "completed"]
    assert (trace_of(before), id_of(before)) == (trace_of(after), id_of(after))
    assert len({trace_of(span) for span in seen.spans}) == 1


async def _are_running(app: Stepwell) -> bool:
    worker = app.client.worker
    return worker is not None and any(step.task for item in worker.active.values() for step in item.running.values())


def test_an_id_of_a_span_is_never_zero_and_says_what_it_stands_for() -> None:
    ids = {span_id(1, "step", 1, "a", 1), span_id(1, "step", 1, "a", 2), span_id(2, "step", 1, "a", 1)}
    assert len(ids) == 3
    assert all(0 < id < 2**64 for id in ids)


# --- providers


def test_a_run_that_the_sampler_does_not_want_is_not_told(stepwell: StepwellTest) -> None:
    for sampler in (ALWAYS_OFF, ParentBased(TraceIdRatioBased(0.0))):
        seen = Seen(sampler)
        observer = tracing_observer(seen.provider)
        stepwell.app.hub.telemetry.add(observer)
        stepwell.run_sync(doomed)
        stepwell.app.hub.telemetry.remove(observer)
        assert seen.spans == ()


def test_without_a_provider_nothing_is_told_and_nothing_goes_wrong(
    stepwell: StepwellTest, caplog: pytest.LogCaptureFixture
) -> None:
    stepwell.app.hub.telemetry.add(tracing_observer(True))

    assert stepwell.run_sync(doomed).status == "failed"
    assert not caplog.records


class Plain(trace.TracerProvider):
    """Of somebody who takes no ids."""

    def __init__(self, seen: Seen) -> None:
        self.inner = seen.provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return _PlainTracer(self.inner.get_tracer(*args, **kwargs))


class _PlainTracer(trace.Tracer):
    def __init__(self, inner: trace.Tracer) -> None:
        self._inner = inner

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._inner.start_span(*args, **kwargs)

    start_as_current_span = None  # type: ignore[assignment]


def test_another_implementation_still_has_one_trace_for_a_run(stepwell: StepwellTest) -> None:
    seen = Seen()
    stepwell.app.hub.telemetry.add(tracing_observer(Plain(seen)))

    stepwell.run_sync(waits, messages=[(go_on, "50d", 1)])

    assert len({trace_of(span) for span in seen.spans}) == 1


def test_what_is_no_provider_is_refused() -> None:
    with pytest.raises(DefinitionError, match="give True, or a TracerProvider"):
        tracing_observer(5)


def test_without_opentelemetry_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stepwell.runtime.tracing", None)

    with pytest.raises(DefinitionError, match=r"pip install 'stepwell\[otel\]'"):
        tracing_observer(True)


def test_nothing_is_kept_of_runs_that_have_been_let_go(stepwell: StepwellTest) -> None:
    tracing = Tracing(Seen().provider)
    stepwell.app.hub.telemetry.add(tracing)

    stepwell.run_sync(waits, messages=[(go_on, "50d", 1)])
    stepwell.run_sync(parent)

    assert (tracing._traces, tracing._attempts) == ({}, {})


def test_the_app_has_an_option_for_it() -> None:
    seen = Seen()

    async def main() -> None:
        async with Stepwell("memory://", include=[instruments], tracing=seen.provider) as app:
            await (await app.start(instruments)).result()

    asyncio.run(main())
    assert seen.named("activation instruments")
