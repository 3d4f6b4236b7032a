"""One invocation of a body of ours: it is fed what the journal answers, then what steps come to, until it can go no
further without the orchestrator. Pure, and synchronous; who drives it runs the steps and knows the time.

The order is everything. What the journal holds goes in as it happened; a wait and a step of the same body may race, and
the one that won must win again. What happens in this invocation gets its place as it happens: a step behind the waits
that were over by then, and a timer that is due while steps run behind all other waits.

An invocation may have died after its steps were written down, but before its timers were. Then steps are known that
were behind more waits than there are: they stay aside until as many are over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Raw

from stepwell.engine.handles import Timer
from stepwell.engine.program import Abandon, Completed, Failed, StepCommand
from stepwell.engine.remote.calls import AnswerStatus
from stepwell.engine.worker.desk import Waiting, Waitpoint
from stepwell.engine.worker.journal import RETRY, TIMER, Delayed, Known, KnownStep, KnownWait, Lineup, Slice
from stepwell.engine.worker.notes import SentChunk
from stepwell.engine.worker.program import WireProgram
from stepwell.engine.worker.verdicts import Place, Resolved, Verdict
from stepwell.errors import NotDurableError
from stepwell.model.entries import AttemptFailed, StepCompleted, StepFailed
from stepwell.model.ids import CommandId


class Session:
    """One invocation. `begin` first, `close` last; see the module for what is in between."""

    def __init__(self, program: WireProgram, slice: Slice) -> None:
        self._program = program
        self._delayed = slice.delayed
        self._lineup = Lineup(slice)
        self._over = len(slice.waits)
        self._now = 0
        self._is_beginning = True
        self._cancel_reason: str | None = None
        self._known: set[CommandId] = set()
        self._fresh: dict[CommandId, StepCommand] = {}
        self._running: dict[CommandId, StepCommand] = {}
        self._parked: dict[CommandId, _Parked] = {}
        self._abandoned: list[CommandId] = []
        self._timers: dict[int, _Named] = {}
        self._resolved: dict[str, Resolved] = {}
        program.is_repeating = lambda: self._is_beginning and self._lineup.left > 0

    def begin(self, *, started_at: int, now: int, cancel: str | None = None) -> None:
        """Run the body through what the journal holds. `cancel`: then cancel it, for this reason."""
        self._now = now
        self._program.begin((), at=started_at, is_repeat=False)
        self._advance()
        self._is_beginning = False
        if cancel is not None:
            self.cancel(cancel, now)

    # --- steps

    def take_steps(self) -> list[StepCommand]:
        """The steps to start now."""
        commands = list(self._fresh.values())
        self._running |= self._fresh
        self._fresh.clear()
        return commands

    def take_abandoned(self) -> list[CommandId]:
        """The steps that nobody waits for any more."""
        abandoned, self._abandoned = self._abandoned, []
        return abandoned

    def place(self, entry: StepCompleted | StepFailed, now: int) -> Place | None:
        """A step is over: where it stands. None: nobody waits for it any more, so it is as if it had never run. Write
        that down before `feed`, after which the body may be unable to go on: the step has been run all the same."""
        if self._running.pop(entry.id, None) is None:
            return None
        self._now = max(now, self._now)
        return Place(after=self._over, finished_at=self._time(now), patches=self._program.wire_notes.take_patches())

    def feed(self, entry: StepCompleted | StepFailed, place: Place) -> None:
        """The body sees what the step came to, and goes on."""
        self._program.apply(entry, place.finished_at)
        self._advance()

    def postpone(self, entry: AttemptFailed, now: int) -> None:
        """An attempt has failed, and the next one is far away: the step becomes a wait."""
        self._now = max(now, self._now)
        command = self._running.pop(entry.id, None)
        if command is not None:
            delayed = Delayed(attempt=entry.attempt, retry_at=entry.retry_at, progress=entry.progress)
            self._park(command, delayed)

    # --- time

    def next_due(self) -> int | None:
        """When to call `tick`; None: no time matters, because all that is left is the orchestrator's."""
        return min((item.due for item in self._times()), default=None) if self._has_time else None

    def tick(self, now: int) -> None:
        """Let fire what is due while steps run, or while a cancelled body cleans up."""
        self._now = max(now, self._now)
        while self._has_time:
            first = min(self._times(), default=None)
            if first is None or first.due > self._now:
                return
            self._fire(first)
            self._advance()

    def cancel(self, reason: str, now: int) -> None:
        """`CancelledError` in the body; what it does to clean up may be steps."""
        self._now = max(now, self._now)
        self._cancel_reason = reason
        self._program.cancel(reason)
        self._advance()

    # --- how it stands

    @property
    def running(self) -> int:
        """How many steps run, or are to be started."""
        return len(self._running) + len(self._fresh)

    @property
    def is_idle(self) -> bool:
        """Whether no step runs: then the body is over, or only the orchestrator can move it. Nobody invokes a cancelled
        body again, so what it waits for while it cleans up is over when its time is."""
        return not self.running and self.next_due() is None

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is being cancelled: then there is no later, so delays of steps are waited for here."""
        return self._cancel_reason is not None

    def take_chunks(self) -> list[SentChunk]:
        """The chunks that the body sent since last asked."""
        return self._program.wire_notes.take_chunks()

    def verdict(self, now: int) -> Verdict:
        """What the invocation comes to. Raises `NotDurableError` if nothing would ever move the body again."""
        self._now = max(now, self._now)
        ended = self._ended()
        notes = self._program.wire_notes
        is_over = ended.status != "waiting"
        return msgspec.structs.replace(
            ended,
            changes=list(notes.changes),
            resolved=dict(self._resolved),
            streams=notes.end_streams() if is_over else {},
            sent={} if is_over else notes.counts,
            delayed={id: parked.delayed for id, parked in self._parked.items()},
            patches=notes.patches,
        )

    def close(self) -> None:
        """Leave memory. Idempotent."""
        if self._program.loop.program is not None:
            self._program.evict()

    # --- the body

    def _advance(self) -> None:
        """Feed the body what the journal has for it, as long as there is anything."""
        while True:
            begun = self._collect()
            known = self._next_known()
            if known is None:
                for item in begun:
                    item.named_at = self._now
                return
            self._feed(known)

    def _collect(self) -> list[Waiting | _Named]:
        """See what the body asks for since last time; the waits and timers among that."""
        program = self._program
        for command in program.take_commands():
            if isinstance(command, StepCommand):
                self._ask(command)
            elif isinstance(command, Abandon):
                self._abandon(command.id)
            else:
                raise AssertionError(f"a body on the wire does nothing to others: {command!r}")
        waits = program.desk.take_fresh()
        for waiting in waits:
            self._lineup.call_wait(waiting.id)
        pending = program.loop.timers_by_number
        timers = [_Named(timer, program.desk.place()) for n, timer in pending.items() if n not in self._timers]
        for named in timers:
            self._timers[named.timer.n] = named
            self._lineup.call_wait(named.id)
        if len(self._timers) > len(pending):
            self._timers = {n: named for n, named in self._timers.items() if n in pending}
        return [*waits, *timers]

    def _ask(self, command: StepCommand) -> None:
        id = command.id
        if self._lineup.call_step(id):
            self._known.add(id)
            return
        done, delayed = self._lineup.attempts(id), self._delayed.get(id)
        if delayed is not None and delayed.attempt > done:
            self._park(command, delayed)
            return
        command.attempt = done + 1
        if delayed is not None:
            command.progress = delayed.progress
        self._fresh[id] = command

    def _abandon(self, id: CommandId) -> None:
        if id in self._known:
            self._known.discard(id)
            self._lineup.give_up(id)
        elif self._running.pop(id, None) is not None:
            self._abandoned.append(id)
        else:
            self._fresh.pop(id, None)
            self._parked.pop(id, None)

    def _next_known(self) -> Known | None:
        # Steps that were undone while the run was cancelled were behind timers that nobody lets fire again.
        known = self._lineup.next(None if self.is_cancelled else self._over)
        if known is None and not self.running and next(self._waits(), None) is None:
            return self._lineup.next(None)
        return known

    def _feed(self, known: Known) -> None:
        program = self._program
        at = self._time(known.at)
        if isinstance(known, KnownStep):
            self._known.discard(known.entry.id)
            program.apply(known.entry, at)
        elif program.desk.has(known.id):
            self._resolve(known, at)
        else:
            self._let_fire(known.id, at)

    def _resolve(self, known: KnownWait, at: int) -> None:
        loop = self._program.loop
        loop.now_ms = at
        self._program.desk.resolve(known)
        loop.pump()

    def _let_fire(self, id: str, at: int) -> None:
        loop = self._program.loop
        loop.now_ms = at
        timer = loop.timers_by_number.get(int(id.removeprefix(TIMER)))
        if timer is not None:  # else what was resolved together with it has made it needless
            loop.fire(timer.n, timer.due)
            loop.pump()

    def _time(self, at: int) -> int:
        """In the run's time, which never runs back."""
        return max(at, self._program.now_ms)

    # --- time

    @property
    def _has_time(self) -> bool:
        return self.running > 0 or (self.is_cancelled and self._program.outcome is None)

    def _park(self, command: StepCommand, delayed: Delayed) -> None:
        self._parked[command.id] = _Parked(command, delayed, self._program.desk.place())

    def _times(self) -> Iterator[_Due]:
        """What has its time, and when that is over."""
        pending = self._program.loop.timers_by_number
        for n, named in self._timers.items():
            if n in pending:
                yield _Due(named.due(), named.no, named.id)
        for waiting in self._program.desk.open_waits():
            if waiting.kind == "DATETIME" and (due := waiting.due()) is not None:
                yield _Due(due, waiting.no, waiting.id)
        for parked in self._parked.values():
            yield _Due(parked.delayed.retry_at, parked.no, parked.id)

    def _fire(self, due: _Due) -> None:
        at = self._time(self._now)
        self._resolved[due.id] = Resolved(at=at)
        self._over += 1
        if due.id.startswith(RETRY):
            parked = next(item for item in self._parked.values() if item.id == due.id)
            command, delayed = self._parked.pop(parked.command.id)[:2]
            command.attempt, command.progress = delayed.attempt + 1, delayed.progress
            self._fresh[command.id] = command
        elif self._program.desk.has(due.id):
            self._resolve(KnownWait(id=due.id, at=at), at)
        else:
            self._let_fire(due.id, at)

    # --- the end

    def _ended(self) -> Verdict:
        program = self._program
        outcome, undone = program.outcome, program.undone
        if self.is_cancelled:
            return Verdict(status="cancelled", compensations=undone)
        waits = [wait for _, wait in sorted(self._waits(), key=lambda item: item[0])]
        if waits:
            return Verdict(status="waiting", waits=waits)
        if isinstance(outcome, Completed):
            plain = program.translator.plain(outcome.value)
            return Verdict(status="completed", output=plain)
        if isinstance(outcome, Failed):
            if not undone:
                return Verdict(status="failed", failure=outcome.failure)
            is_clean = all(item.failure is None for item in undone)
            status: AnswerStatus = "compensated" if is_clean else "compensation_failed"
            return Verdict(status=status, failure=outcome.failure, compensations=undone)
        raise NotDurableError(
            f"run {program.origin.run} waits at {program.where()} for something that only this process could deliver: "
            "no step, timer, message or child would ever wake it. Wait for one of these, or do it in a step"
        )

    def _waits(self) -> Iterator[tuple[int, Waitpoint]]:
        """What the orchestrator has to wait for. Of a body that is over, its children."""
        is_over = self._program.outcome is not None
        for waiting in self._program.desk.open_waits():
            if not is_over or waiting.kind == "RUN":
                yield waiting.no, self._waitpoint(waiting)
        if is_over:
            return
        for named in self._timers.values():
            if named.timer.n in self._program.loop.timers_by_number:
                lasts = named.timer.due - named.timer.since
                yield named.no, self._sleep(named.id, lasts, named.due(), {"name": named.timer.name})
        for parked in self._parked.values():
            due = parked.delayed.retry_at
            meta = {"stepId": parked.command.id, "attempt": parked.delayed.attempt}
            yield parked.no, self._sleep(parked.id, max(0, due - self._now), due, meta)

    def _waitpoint(self, waiting: Waiting) -> Waitpoint:
        due = waiting.due()
        # Of 0 milliseconds, the wire says that there is no limit; but a sleep may be over at once.
        left = None if due is None else max(0 if waiting.kind == "DATETIME" else 1, due - self._now)
        return Waitpoint(id=waiting.id, kind=waiting.kind, meta=Raw(msgspec.json.encode(waiting.meta)), timeout_ms=left)

    def _sleep(self, id: str, lasts: int, due: int, meta: dict[str, object]) -> Waitpoint:
        meta = {"durationMs": lasts, **meta}
        return Waitpoint(
            id=id, kind="DATETIME", meta=Raw(msgspec.json.encode(meta)), timeout_ms=max(0, due - self._now)
        )


class _Due(NamedTuple):
    """When the time of something is over. Sorts as such things fire."""

    due: int
    no: int
    id: str


class _Named:
    """A timer of the loop with the name that the orchestrator knows it by. `named_at` is as that of a `Waiting`."""

    __slots__ = ("id", "named_at", "no", "timer")

    def __init__(self, timer: Timer, no: int) -> None:
        self.timer = timer
        self.no = no
        self.id = f"{TIMER}{timer.n}"
        self.named_at: int | None = None

    def due(self) -> int:
        """When it is due, as far as this process can tell."""
        timer = self.timer
        return timer.due if self.named_at is None else self.named_at + timer.due - timer.since


class _Parked(NamedTuple):
    """A step between two attempts."""

    command: StepCommand
    delayed: Delayed
    no: int

    @property
    def id(self) -> str:
        """The name of its wait."""
        return f"{RETRY}{self.command.id}:{self.delayed.attempt}"
