"""Traces of a step worker: what it does hangs from the span of the orchestrator that asked. Needs `stepwell[otel]`.

    (the attempt of the orchestrator)
    └── invocation             one request
        └── step               one attempt

What steps call with instruments of their own hangs from their spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags

from stepwell.engine.program import StepCommand
from stepwell.formats.voyant.invocations import StepRequest
from stepwell.model.entries import AttemptFailed, Entry, StepCompleted, StepFailed
from stepwell.model.failures import Failure
from stepwell.model.ids import RunId, step_name
from stepwell.model.traceparents import traceparent_of
from stepwell.runtime.telemetry import Held, LetGo

_NS_PER_MS = 1_000_000
_SCOPE = "stepwell"


class Spans:
    """The observer of a step worker. `provider` None: the one that is set for the process."""

    def __init__(self, provider: trace.TracerProvider | None = None, *, hides_texts: bool = False) -> None:
        self._provider = provider
        self._hides_texts = hides_texts
        self._attempts: dict[StepCommand, tuple[Span, Any]] = {}

    def invocation_started(self, traceparent: str, request: StepRequest, now: int) -> Span:
        """A body is about to run. Without a `traceparent`, its span hangs from what is current here."""
        asked = traceparent_of(traceparent)
        within = None
        if asked is not None:
            there = SpanContext(asked.trace, asked.span, is_remote=True, trace_flags=TraceFlags(asked.flags))
            within = trace.set_span_in_context(NonRecordingSpan(there))
        attributes: dict[str, str | int] = {
            "stepwell.run.id": request.run_id,
            "stepwell.workflow.name": request.workflow_id,
            "stepwell.workflow.version": request.workflow_version,
            "stepwell.invocation": request.invocation_count,
        }
        return self._start(f"invocation {request.workflow_id}", attributes, now, within)

    def enter(self, span: Span, command: StepCommand) -> None:
        """The step belongs to that invocation. Bodies have contexts of their own, in which it is not known."""
        command.context.run(contexts.attach, trace.set_span_in_context(span))

    def invocation_ended(self, span: Span, status: str, error: BaseException | None, now: int) -> None:
        """It has been answered; "": it has not."""
        span.set_attribute("stepwell.invocation.outcome", status or ("stopped" if error is None else "failed"))
        if error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, None if self._hides_texts else str(error)))
        span.end(now * _NS_PER_MS)

    # --- the observer

    def attempt_started(self, run: RunId, base: int, command: StepCommand, now: int) -> None:  # noqa: ARG002
        """A step is about to run in this context."""
        name = step_name(command.id)
        attributes: dict[str, str | int] = {
            "stepwell.run.id": run,
            "stepwell.step.name": name,
            "stepwell.step.id": command.id,
            "stepwell.step.attempt": command.attempt,
        }
        span = self._start(f"step {name}", attributes, now)
        self._attempts[command] = span, contexts.attach(trace.set_span_in_context(span))

    def attempt_ended(self, run: RunId, base: int, command: StepCommand, outcome: Entry | None, now: int) -> None:  # noqa: ARG002
        """It has ended."""
        found = self._attempts.pop(command, None)
        if found is None:
            return
        span, token = found
        contexts.detach(token)
        match outcome:
            case StepCompleted():
                told = "completed"
            case AttemptFailed(failure=failure):
                told = "retried"
                self._failed(span, failure)
            case StepFailed(failure=failure):
                told = "failed"
                self._failed(span, failure)
            case _:
                told = "stopped"
        span.set_attribute("stepwell.step.outcome", told)
        span.end(now * _NS_PER_MS)

    def begun(self, held: Held, mail: Sequence[int], now: int) -> None:
        """Step workers hold no runs."""

    def committed(self, held: Held, entries: Sequence[Entry]) -> None:
        """They write no frames."""

    def let_go(self, held: Held, how: LetGo, now: int, error: str) -> None:
        """They hold none."""

    def batch(self, name: str, size: int, seconds: float) -> None:
        """They have no store."""

    # --- inside

    def _start(
        self, name: str, attributes: dict[str, str | int], now: int, within: contexts.Context | None = None
    ) -> Span:
        provider = self._provider or trace.get_tracer_provider()
        known = {key: value for key, value in attributes.items() if value != ""}
        return provider.get_tracer(_SCOPE).start_span(name, within, attributes=known, start_time=now * _NS_PER_MS)

    def _failed(self, span: Span, failure: Failure) -> None:
        span.set_attribute("error.type", failure.type)
        span.set_status(Status(StatusCode.ERROR, None if self._hides_texts else failure.message))
