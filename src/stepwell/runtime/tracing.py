"""Traces: a run is one trace, whichever processes it passes through. Needs `stepwell[otel]`.

All ids are derived from what the journal holds: the trace from the run, a span from what it stands for. So processes
need not tell each other anything, and what is told twice, because a process died in between, has the same ids.

    run                        from the creation to the end; told when the run has ended
    ├── activation             while a worker holds the run; links to the one before
    │   └── step               one attempt
    └── wait                   between two activations

A run links to its parent, and to the request that asked for it. Nothing is told on replay, because nothing happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, cast

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags, Tracer

from stepwell.engine.program import StepCommand
from stepwell.model.entries import AttemptFailed, Ended, Entry, Received, StepCompleted, StepFailed, TimerFired
from stepwell.model.failures import Failure
from stepwell.model.ids import RunId, lineage, step_name
from stepwell.model.traceparents import TAG, traceparent_of
from stepwell.runtime.telemetry import Held, LetGo

Attributes = Mapping[str, str | bool | int | Sequence[str]]

_NS_PER_MS = 1_000_000
_SCOPE = "stepwell"


class _IdGenerator(Protocol):
    def generate_trace_id(self) -> int: ...
    def generate_span_id(self) -> int: ...


class _Ids:
    """Hands our ids to a tracer of the SDK, which asks for one when it begins a span."""

    def __init__(self, inner: _IdGenerator) -> None:
        self._inner = inner
        self.trace: int | None = None
        self.span: int | None = None

    def generate_trace_id(self) -> int:
        """Of a span without a parent."""
        return self._inner.generate_trace_id() if self.trace is None else self.trace

    def generate_span_id(self) -> int:
        """Of the next span."""
        id, self.span = self.span, None
        return self._inner.generate_span_id() if id is None else id

    def is_trace_id_random(self) -> bool:
        """They are digests of what is drawn by chance."""
        return True


class _New(NamedTuple):
    """A span to begin: what it stands for, which gives its id, and what it says. `within` None: directly in the run."""

    what: tuple[object, ...]
    name: str
    at: int
    attributes: Attributes
    links: Sequence[Link] = ()
    within: Context | None = None


class _Trace:
    """The trace of one run: its ids, and the span of its activation if it is held here."""

    __slots__ = ("activation", "context", "id", "root")

    def __init__(self, run: RunId, seed_lineage: str, *, is_sampled: bool) -> None:
        self.id = trace_id(run, seed_lineage)
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
        self.root = SpanContext(self.id, span_id(self.id, "run"), is_remote=True, trace_flags=flags)
        self.context = trace.set_span_in_context(NonRecordingSpan(self.root), Context())
        self.activation: Span | None = None


def trace_id(run: RunId, seed_lineage: str) -> int:
    """The trace of a run; `seed_lineage` tells apart two runs that had one id after the other."""
    return _number(f"trace {run} {seed_lineage}", 16)


def span_id(trace: int, *what: object) -> int:
    """A span of it, by what it stands for."""
    return _number(" ".join(["span", f"{trace:032x}", *map(str, what)]), 8)


def _number(text: str, size: int) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:size]) or 1


class Tracing:
    """The observer of one app. `provider` None: the one that is set for the process, as soon as one is."""

    def __init__(self, provider: trace.TracerProvider | None = None, *, hides_texts: bool = False) -> None:
        self._provider = provider
        self._hides_texts = hides_texts
        self._tracer: Tracer | None = None
        self._ids: _Ids | None = None
        self._traces: dict[RunId, _Trace] = {}
        self._attempts: dict[StepCommand, tuple[Span, Any]] = {}

    # --- the observer

    def begun(self, held: Held, mail: Sequence[int], now: int) -> None:  # noqa: ARG002
        """A run is held: an activation begins, and the wait before it is over."""
        if not self._is_ready():
            return
        driver = held.driver
        run = self._trace_of(held)
        self._traces[held.run] = run
        if driver.ended is not None:
            self._run_ended(held, run, driver.ended)  # whose worker may have died before it told
        links = self._links(held, run) if driver.seq == 1 else self._link_to_previous(held, run)
        attributes = {**_attributes_of(held), "stepwell.activation.from_seq": driver.seq}
        name = f"activation {held.head.workflow}"
        run.activation = self._start(run, _New(("activation", driver.claim), name, now, attributes, links))
        if held.head.waiting and driver.at < now:
            waits = held.head.waiting
            told: Attributes = {
                **_attributes_of(held),
                "stepwell.wait.kinds": [wait.kind for wait in waits],
                "stepwell.wait.names": [wait.name for wait in waits],
            }
            what = ("wait", driver.origin.base, driver.seq)
            self._start(run, _New(what, "wait", driver.at, told)).end(now * _NS_PER_MS)

    def committed(self, held: Held, entries: Sequence[Entry]) -> None:
        """A frame is durable."""
        run = self._traces.get(held.run)
        activation = None if run is None else run.activation
        for entry in entries:
            match entry:
                case Received(message=message, at=at) if activation is not None:
                    kind = str(message.__struct_config__.tag)
                    activation.add_event("message", {"stepwell.message.kind": kind}, at * _NS_PER_MS)
                case TimerFired(name=name, due=due) if activation is not None:
                    activation.add_event("timer", {"stepwell.timer.name": name}, due * _NS_PER_MS)
                case Ended() if self._is_ready():
                    self._run_ended(held, run or self._trace_of(held), entry)
                case _:
                    pass

    def attempt_started(self, run: RunId, base: int, command: StepCommand, now: int) -> None:
        """A step is about to run in this context: its span becomes the current one."""
        known = self._traces.get(run)
        if known is None or known.activation is None:
            return
        name = step_name(command.id)
        attributes: Attributes = {
            "stepwell.run.id": run,
            "stepwell.step.name": name,
            "stepwell.step.id": command.id,
            "stepwell.step.attempt": command.attempt,
        }
        within = trace.set_span_in_context(known.activation, Context())
        what = ("step", base, command.id, command.attempt)
        span = self._start(known, _New(what, f"step {name}", now, attributes, within=within))
        self._attempts[command] = span, contexts.attach(trace.set_span_in_context(span, Context()))

    def attempt_ended(self, run: RunId, base: int, command: StepCommand, outcome: Entry | None, now: int) -> None:  # noqa: ARG002
        """It has ended."""
        found = self._attempts.pop(command, None)
        if found is None:
            return
        span, token = found
        contexts.detach(token)
        match outcome:
            case StepCompleted():
                span.set_attribute("stepwell.step.outcome", "completed")
            case AttemptFailed(failure=failure):
                span.set_attribute("stepwell.step.outcome", "retried")
                self._failed(span, failure, now)
            case StepFailed(failure=failure):
                span.set_attribute("stepwell.step.outcome", "failed")
                self._failed(span, failure, now)
            case _:
                span.set_attribute("stepwell.step.outcome", "stopped")
        span.end(now * _NS_PER_MS)

    def let_go(self, held: Held, how: LetGo, now: int, error: str) -> None:
        """The activation is over."""
        run = self._traces.pop(held.run, None)
        if run is None or run.activation is None:
            return
        run.activation.set_attribute("stepwell.activation.to_seq", held.driver.seq)
        run.activation.set_attribute("stepwell.activation.outcome", how)
        if how in ("failed", "taken", "late"):
            run.activation.set_attribute("error.type", f"activation_{how}")
            run.activation.set_status(Status(StatusCode.ERROR, "" if self._hides_texts else error or None))
        run.activation.end(now * _NS_PER_MS)

    def batch(self, name: str, size: int, seconds: float) -> None:
        """Group commits are of many runs, and so of no trace."""

    # --- spans

    def _run_ended(self, held: Held, run: _Trace, ended: Ended) -> None:
        driver = held.driver
        attributes = {**_attributes_of(held), "stepwell.run.status": ended.status}
        if (origin := driver.origin.created.forked_from) is not None:
            attributes["stepwell.run.forked_from"] = origin
        # A tracer that does not take our ids would begin another trace.
        within = None if self._ids is None else Context()
        name = f"run {held.head.workflow}"
        span = self._start(run, _New(("run",), name, driver.origin.born_at, attributes, self._links(held, run), within))
        if ended.failure is not None:
            self._failed(span, ended.failure, driver.at)
        elif ended.status != "completed":
            span.set_attribute("error.type", ended.status)
        span.end(driver.at * _NS_PER_MS)

    def _start(self, run: _Trace, new: _New) -> Span:
        assert self._tracer is not None, "asked before"
        if self._ids is not None:
            self._ids.trace, self._ids.span = run.id, span_id(run.id, *new.what)
        within = run.context if new.within is None else new.within
        at = new.at * _NS_PER_MS
        return self._tracer.start_span(
            new.name, within, attributes=dict(new.attributes), links=new.links, start_time=at
        )

    def _failed(self, span: Span, failure: Failure, now: int) -> None:
        span.set_attribute("error.type", failure.type)
        span.set_status(Status(StatusCode.ERROR, None if self._hides_texts else failure.message))
        told = {"exception.type": failure.type}
        if not self._hides_texts:
            told["exception.message"] = failure.message
            if failure.traceback:
                told["exception.stacktrace"] = failure.traceback
        span.add_event("exception", told, now * _NS_PER_MS)

    def _links(self, held: Held, run: _Trace) -> list[Link]:
        """Of the run, or its first activation: to its parent, and to the request."""
        created = held.driver.origin.created
        links = []
        if (parent := created.parent) is not None:
            id = trace_id(parent.run, parent.lineage)
            there = SpanContext(id, span_id(id, "run"), is_remote=True, trace_flags=run.root.trace_flags)
            links.append(Link(there, {"stepwell.link": "parent", "stepwell.parent.command": parent.command}))
        if (asked := traceparent_of(created.tags.get(TAG))) is not None:
            there = SpanContext(asked.trace, asked.span, is_remote=True, trace_flags=TraceFlags(asked.flags))
            links.append(Link(there, {"stepwell.link": "request"}))
        return links

    def _link_to_previous(self, held: Held, run: _Trace) -> list[Link]:
        driver = held.driver
        if driver.by == driver.claim:
            return []
        there = SpanContext(
            run.id, span_id(run.id, "activation", driver.by), is_remote=True, trace_flags=run.root.trace_flags
        )
        return [Link(there, {"stepwell.link": "previous"})]

    def _trace_of(self, held: Held) -> _Trace:
        seed = lineage(held.driver.origin.seed)
        return _Trace(held.run, seed, is_sampled=self._samples(trace_id(held.run, seed)))

    def _samples(self, id: int) -> bool:
        """What the sampler thinks of the run: the same in each process, if it goes by the id of the trace."""
        sampler = getattr(self._tracer, "sampler", None)
        return sampler is None or bool(sampler.should_sample(None, id, "run").decision.is_sampled())

    def _is_ready(self) -> bool:
        if self._tracer is None:
            provider = self._provider or trace.get_tracer_provider()
            if isinstance(provider, trace.ProxyTracerProvider):
                return False  # nobody has set one yet
            self._tracer = provider.get_tracer(_SCOPE)
            inner = getattr(self._tracer, "id_generator", None)
            if inner is not None:
                self._ids = _Ids(inner)
                cast("Any", self._tracer).id_generator = self._ids
        return True


def _attributes_of(held: Held) -> dict[str, Any]:
    head = held.head
    known = {
        "stepwell.run.id": held.run,
        "stepwell.workflow.name": head.workflow,
        "stepwell.workflow.version": head.version,
        "stepwell.queue": head.queue,
        "stepwell.namespace": head.namespace,
    }
    return {name: value for name, value in known.items() if value}
