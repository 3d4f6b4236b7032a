"""A small orchestrator for tests: it invokes a workflow of ours over the wire's own bytes, and answers what that waits
for. No HTTP, no store, no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, structs

from stepwell.authoring.bound import BoundStep
from stepwell.authoring.registry import Registry
from stepwell.authoring.wire.answers import outcome_of
from stepwell.authoring.wire.doors import Doors
from stepwell.authoring.wire.errors import step_entry
from stepwell.authoring.wire.sessions import open_session
from stepwell.authoring.workflows import Workflow
from stepwell.codec import Codec, failure_of
from stepwell.engine.program import StepCommand
from stepwell.engine.worker.session import Session
from stepwell.formats.voyant.invocations import (
    Outcome,
    RunMetaIn,
    StepRequest,
    WireChunk,
    WireJournal,
    WireWait,
    outcome_bytes,
    read_outcome,
    read_request,
    request_bytes,
)
from stepwell.model.entries import StepCompleted, StepFailed

START = 1_770_000_000_000
Choice = Callable[[Sequence[Any]], Any]


class Wire:
    """One run. `choose` says which of the running steps ends next. `ran` are all steps that ran, in order."""

    def __init__(
        self,
        flow: Workflow[Any, Any],
        input: Any = UNSET,
        *,
        run: str = "r_test",
        include: Sequence[object] = (),
        codec: Codec | None = None,
        doors: Doors | None = None,
    ) -> None:
        self.flow = flow
        self.registry = Registry([flow, *include], codec or Codec())
        self.doors = doors
        self.now = START
        self.journal = WireJournal()
        self.ran: list[str] = []
        self.chunks: list[WireChunk] = []
        self.invocations = 0
        self.run = run
        self.input = UNSET if input is UNSET else Raw(msgspec.json.encode(input))
        self.outcome: Outcome | None = None

    # --- invocations

    def begin(self, cancel: str | None = None) -> Session:
        """A session, as of the journal."""
        self.invocations += 1
        request = StepRequest(
            run_id=self.run,
            workflow_id=self.flow.id,
            workflow_version="1",
            invocation_count=self.invocations,
            input=self.input,
            journal=self.journal,
            run_meta=RunMetaIn(started_at=START),
        )
        self.request = read_request(request_bytes(request))
        return open_session(self.registry, self.flow, self.request, now=self.now, cancel=cancel, doors=self.doors)

    def invoke(self, *, cancel: str | None = None, step_ms: int = 0, choose: Choice = min) -> Outcome:
        """One invocation, to its end."""
        session = self.begin(cancel)
        try:
            steps = self.work(session, step_ms=step_ms, choose=choose)
            return self.finish(session, steps)
        finally:
            session.close()

    def work(self, session: Session, *, step_ms: int = 0, choose: Choice = min, at_most: int = 10**6) -> dict[str, Raw]:
        """Run steps, and let timers fire meanwhile. Each step takes `step_ms`. Their entries, in order."""
        running: dict[str, StepCommand] = {}
        entries: dict[str, Raw] = {}
        while True:
            running |= {command.id: command for command in session.take_steps()}
            for id in session.take_abandoned():
                del running[id]
            if session.is_idle or len(entries) >= at_most:
                return entries
            due = session.next_due()
            if due is not None and (due <= self.now + step_ms or not running):
                self.now = max(self.now, due)
                session.tick(self.now)
                continue
            self.now += step_ms
            command = running.pop(choose(sorted(running)))
            entry = self.outcome_of(command)
            self.ran.append(command.id)
            place = session.place(entry, self.now)
            if place is not None:
                entries[command.id] = step_entry(entry, place, started_at=self.now, codec=self.registry.codec)
                session.feed(entry, place)

    def outcome_of(self, command: StepCommand) -> StepCompleted | StepFailed:
        """What a step comes to, in one attempt. Steps of tests wait for nothing."""
        bound: Any = command.definition
        assert isinstance(bound, BoundStep)
        try:
            value = _at_once(bound.fn(*command.args, **command.kwargs))
        except Exception as error:
            failure = failure_of(
                error, raises=bound.options.raises, codec=self.registry.codec, step=command.id, attempts=command.attempt
            )
            return StepFailed(id=command.id, failure=failure, attempt=command.attempt)
        return StepCompleted(id=command.id, value=bound.isolate_result(value)[0], attempt=command.attempt)

    def finish(self, session: Session, steps: dict[str, Raw]) -> Outcome:
        """Take the answer over, as an orchestrator does."""
        verdict = session.verdict(self.now)
        chunks = [
            WireChunk(stream_id=sent.stream, seq=sent.seq, chunk=sent.value, final=sent.final, at=sent.at)
            for sent in session.take_chunks()
        ]
        outcome = outcome_of(verdict, self.request, steps, chunks, self.registry.codec)
        self.outcome = outcome = read_outcome(outcome_bytes(outcome))
        assert list(outcome.journal.waitpoints_resolved)[: len(self.journal.waitpoints_resolved)] == list(
            self.journal.waitpoints_resolved
        )
        self.chunks += chunks
        self.journal = outcome.journal
        return outcome

    def keep(self, steps: dict[str, Raw]) -> None:
        """The worker has died, and these steps had been written down by then."""
        self.journal = structs.replace(self.journal, step_results={**self.journal.step_results, **steps})

    # --- answers

    @property
    def waits(self) -> dict[str, WireWait]:
        """What the body waits for."""
        assert self.outcome is not None
        return {wait.client_waitpoint_id: wait for wait in self.outcome.waitpoints}

    def resolve(self, id: str, payload: Any = UNSET, *, error: Any = UNSET, after_ms: int = 0) -> Wire:
        """A wait is over."""
        wait = self.waits[id]
        self.now += after_ms
        entry: dict[str, Any] = {"kind": wait.kind, "resolvedAt": self.now, "source": "live"}
        if payload is not UNSET:
            entry["payload"] = payload
        if error is not UNSET:
            entry["error"] = error
        resolved = {**self.journal.waitpoints_resolved, id: Raw(msgspec.json.encode(entry))}
        self.journal = structs.replace(self.journal, waitpoints_resolved=resolved)
        return self

    @property
    def result(self) -> Any:
        """The output of the run."""
        assert self.outcome is not None
        assert self.outcome.status == "completed", self.outcome
        return msgspec.json.decode(self.outcome.output)


def meta(wait: WireWait) -> dict[str, Any]:
    """What a wait says of itself."""
    return msgspec.json.decode(wait.meta)  # type: ignore[no-any-return]


def error_of(outcome: Outcome) -> dict[str, Any]:
    """Why a run failed."""
    return msgspec.json.decode(outcome.error)  # type: ignore[no-any-return]


def _at_once(value: Any) -> Any:
    if not asyncio.iscoroutine(value):
        return value
    try:
        value.send(None)
    except StopIteration as answer:
        return answer.value
    raise AssertionError("steps of tests wait for nothing")
