"""One invocation: the body's session, the steps that it wants, and time.

Nothing is answered while a step runs. Nothing is kept either: what an invocation knows is in the journal that it was
given, and what it adds is in its answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from msgspec import Raw, Struct

from stepwell.authoring.wire.answers import outcome_of
from stepwell.authoring.wire.errors import step_entry
from stepwell.codec import Codec
from stepwell.engine.program import StepCommand
from stepwell.engine.worker.session import Session
from stepwell.errors import FatalError
from stepwell.formats.voyant.invocations import Outcome, StepRequest, WireChunk
from stepwell.model.entries import AttemptFailed, Entry, StepCompleted, StepFailed
from stepwell.model.ids import CommandId, RunId
from stepwell.model.runs import Head
from stepwell.ports import Clock
from stepwell.runtime.steps import RunningStep, StepRunner
from stepwell.runtime.stepworker.options import StepWorkerOptions
from stepwell.runtime.stepworker.sending import Outlet

_STOP_SECONDS = 10.0
"""How long steps that were stopped may take to clean up."""


class DeadlinePassed(Exception):
    """Who asked does not wait any longer."""


class Bench(Struct, frozen=True):
    """What all invocations of a worker share."""

    runner: StepRunner
    options: StepWorkerOptions
    spans: Any = None
    """Who is told, if traces are wanted: `stepwell.runtime.stepworker.spans.Spans`."""

    @property
    def clock(self) -> Clock:
        """Time."""
        return self.runner.clock

    @property
    def codec(self) -> Codec:
        """How values are written down between a step and the wire."""
        return self.runner.registry.codec


class Invocation:
    """Runs a session to the point where only the orchestrator can move it. The owner of its steps.

    Awaits one thing at a time, in one task: sessions are told of everything from there.
    """

    def __init__(self, bench: Bench, session: Session, request: StepRequest, head: Head, outlet: Outlet) -> None:
        self.run = RunId(request.run_id)
        self.base = head.base
        self.head = head
        self.span: Any = None
        self._bench = bench
        self._session = session
        self._request = request
        self._outlet = outlet
        self._entries: dict[str, Raw] = {}
        self._running: dict[CommandId, RunningStep] = {}
        self._commands: dict[CommandId, StepCommand] = {}
        self._started: dict[CommandId, int] = {}
        self._retries: dict[CommandId, asyncio.TimerHandle] = {}
        self._arrived: deque[Entry] = deque()
        self._rung = asyncio.Event()
        self._began_at = bench.clock.now()

    async def outcome(self) -> Outcome:
        """Go on until nothing can. `ActivationError`: the code cannot be driven; `DeadlinePassed`."""
        session, clock = self._session, self._bench.clock
        try:
            self._follow()
            while not session.is_idle:
                await self._wait()
                while self._arrived:
                    self._ended(self._arrived.popleft())
                    self._follow()
                if (due := session.next_due()) is not None and due <= clock.now():
                    session.tick(clock.now())
                    self._follow()
            verdict = session.verdict(clock.now())
            self._tell_chunks()
            return outcome_of(verdict, self._request, self._entries, self._outlet.chunks, self._bench.codec)
        finally:
            await self._stop()

    def close(self) -> None:
        """Let go of the body. Repeating does nothing."""
        self._session.close()

    # --- what steps ask of their owner

    def arrive(self, entry: Entry, time: int, *, before: Iterable[Entry] = ()) -> None:  # noqa: ARG002 - sessions have their own time, and no step notes anything here
        """An attempt has ended, or tells how far it is."""
        if isinstance(entry, StepCompleted | StepFailed | AttemptFailed):
            self._arrived.append(entry)
            self._rung.set()

    def step_ended(self, step: RunningStep) -> None:
        """Its outcome follows, unless it was stopped."""
        if self._running.get(step.id) is step:
            del self._running[step.id]

    def writer(self, stream: str) -> Any:
        """Chunks go the way of the answer."""
        return _Writer(self._outlet, self._bench, stream)

    # --- inside

    def _follow(self) -> None:
        """Do what the session wants now."""
        session = self._session
        self._tell_chunks()
        for id in session.take_abandoned():
            self._forget(id)
        for command in session.take_steps():
            self._begin(command)

    def _begin(self, command: StepCommand) -> None:
        self._retries.pop(command.id, None)
        if self.span is not None:
            self._bench.spans.enter(self.span, command)
        step = self._bench.runner.start(self, command)
        self._commands[command.id] = command
        self._running[command.id] = step
        self._started[command.id] = step.started_at

    def _ended(self, entry: Entry) -> None:
        assert isinstance(entry, StepCompleted | StepFailed | AttemptFailed), "others do not come here"
        command = self._commands.get(entry.id)
        if command is None:
            return  # it was abandoned when its outcome was on its way
        now = self._bench.clock.now()
        if isinstance(entry, AttemptFailed):
            self._retry(entry, command, now)
            return
        del self._commands[entry.id]
        started_at = self._started.pop(entry.id)
        place = self._session.place(entry, now)
        if place is None:
            return  # as if it had never run
        raw = step_entry(entry, place, started_at=started_at, codec=self._bench.codec)
        self._entries[entry.id] = raw
        self._outlet.step_over(entry.id, raw)
        self._session.feed(entry, place)

    def _retry(self, entry: AttemptFailed, command: StepCommand, now: int) -> None:
        """Here, if that is soon. A long wait is the orchestrator's: it holds no worker, and outlives this one."""
        delay_ms = max(0, entry.retry_at - now)
        if delay_ms > self._bench.options.hold_ms and not self._session.is_cancelled:
            del self._commands[entry.id], self._started[entry.id]
            self._session.postpone(entry, now)
            return
        command.attempt, command.progress = entry.attempt + 1, entry.progress
        loop = asyncio.get_running_loop()
        self._retries[command.id] = loop.call_later(delay_ms / 1000, self._begin, command)

    def _forget(self, id: CommandId) -> None:
        self._commands.pop(id, None)
        self._started.pop(id, None)
        if (retry := self._retries.pop(id, None)) is not None:
            retry.cancel()
        if (step := self._running.pop(id, None)) is not None:
            step.stop()

    def _tell_chunks(self) -> None:
        for sent in self._session.take_chunks():
            self._outlet.send(
                WireChunk(
                    stream_id=sent.stream,
                    seq=sent.seq,
                    encoding="json",
                    chunk=sent.value,
                    final=sent.final,
                    at=sent.at,
                )
            )

    async def _wait(self) -> None:
        """Until a step's outcome, the next timer, the next beat or the deadline."""
        now, beat_ms = self._bench.clock.now(), self._bench.options.beat_ms
        deadline = self._request.deadline
        if now >= deadline:
            began = self._began_at < deadline
            cure = "" if began else " before it began: do the clocks of the two differ?"
            raise DeadlinePassed(f"its deadline passed{cure}")
        due = self._session.next_due()
        until = min(deadline, now + beat_ms, deadline if due is None else due)
        try:
            async with asyncio.timeout(max(0, until - now) / 1000):
                await self._rung.wait()
        except TimeoutError:
            if until == now + beat_ms:
                self._outlet.beat(self._bench.clock.now())
        self._rung.clear()

    async def _stop(self) -> None:
        """Nobody wants anything any more. Steps get their `CancelledError`, and some time to clean up."""
        for retry in self._retries.values():
            retry.cancel()
        steps = list(self._running.values())
        tasks = [step.task for step in steps if step.task is not None]
        for step in steps:
            step.stop()
        self.close()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)


class _Writer:
    """Writes chunks of one attempt to one stream, as `StreamWriter` does."""

    def __init__(self, outlet: Outlet, bench: Bench, stream: str) -> None:
        self._outlet = outlet
        self._bench = bench
        self._stream = stream
        self._lost = 0

    def write(self, *, source: str, attempt: int, k: int, value: Raw, base: int) -> None:  # noqa: ARG002 - the orchestrator counts generations
        """Send a chunk."""
        chunk = WireChunk(
            stream_id=self._stream,
            seq=k + 1,
            encoding="json",
            chunk=self._bench.codec.opened(value, where=f"a chunk of stream {self._stream}"),
            final=False,
            at=self._bench.clock.now(),
            step=source,
            step_attempt=attempt,
        )
        self._lost += not self._outlet.send(chunk)

    async def flush(self) -> None:
        """Wait until there is room for more. `FatalError`: there was none, so the stream has a hole."""
        await self._outlet.flush()
        if self._lost:
            raise FatalError(
                f"{self._lost} chunks of stream {self._stream} were lost, because too much waits to be sent: send less "
                f"at a time, or put large data where readers can fetch it"
            )
