"""The driver: everything that is decided about one run between two writes of its journal.

It holds a claimed run in memory: folds the journal, feeds the program, and turns what has arrived into the next frame
and the effects that may begin once that frame is durable. It is pure; the runtime does the waiting and the writing.

Order of things, which the rest relies on: arrivals are *applied first and committed after*. The program runs ahead to
its next commands, so that one frame can hold a result, what follows from it, and even the end of the run; but nothing
outside of this process is touched before the frame is durable. If the frame is refused, the driver is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Raw

from stepwell.engine.decisions import Arrival, Decision, arrival_order
from stepwell.engine.fold import Fold, Obligation
from stepwell.engine.generations import continued, retried
from stepwell.engine.program import (
    Abandon,
    ActCommand,
    Cancelled,
    Command,
    Completed,
    Continue,
    Failed,
    Line,
    Origin,
    Outcome,
    Program,
    StepCommand,
)
from stepwell.errors import CodecError, SealedError, type_name
from stepwell.model.entries import (
    AttemptFailed,
    CancelChild,
    Confirmed,
    ContinuedAsNew,
    Ended,
    Entry,
    Frame,
    Intended,
    Received,
    StepCompleted,
    StepFailed,
    StepProgressed,
    TimerFired,
)
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import Claim, CommandId
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    PauseRequested,
    ResumeRequested,
    TerminateRequested,
)
from stepwell.model.runs import Head, Wait

RetryPolicy = Callable[[Failure, int], int | None]
"""Given a run's failure and how often it was retried: the delay (ms) until the next try, or None."""


class Driver:
    """One run in memory. Feed it arrivals; write what it decides; tell it when that is durable."""

    __slots__ = (
        "_begun_after",
        "_delayed",
        "_is_repeat",
        "_journal",
        "_make_program",
        "_retry",
        "at",
        "by",
        "claim",
        "continued",
        "ended",
        "fold",
        "program",
        "run",
        "seq",
        "steps",
    )

    def __init__(
        self,
        head: Head,
        frames: Sequence[tuple[int, Frame]],
        claim: Claim,
        make_program: Callable[[Origin], Program],
        *,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.run = head.id
        self.claim = claim
        self.seq = frames[-1][0]
        self.at = frames[-1][1].at
        self.by = frames[-1][1].by
        self.fold = Fold(head.id, frames)
        self.ended = self.fold.ended
        self.steps: dict[CommandId, StepCommand] = {}
        self.program: Program | None = None
        self._make_program = make_program
        self._retry = retry
        self._is_repeat = self.fold.was_parked(head) and head.takes <= 1 and head.seq == self.seq
        self._begun_after = 0
        self._delayed: dict[CommandId, StepCommand] = {}
        self.continued: ContinuedAsNew | None = None
        self._journal = None if retry is None else [*self.fold.kept, *(frame for _, frame in frames)]

    # --- what the runtime reads

    @property
    def mail(self) -> int:
        """The number of the last message that was journaled, or is about to be."""
        return self.fold.mail

    @property
    def origin(self) -> Origin:
        """What the generation starts from."""
        return self.fold.origin

    @property
    def is_paused(self) -> bool:
        """Whether nothing new is to be started."""
        return self.fold.is_paused

    @property
    def impure(self) -> Sequence[str]:
        """Calls of the body that replay cannot repeat, with their places."""
        return () if self.program is None else self.program.impure

    def obligations(self) -> list[Obligation]:
        """What the ended run owes to others."""
        return self.fold.obligations(self.seq)

    def next_wake(self) -> int | None:
        """When the run needs attention by itself: a timer, a retry, the end of a grace; None: only from outside."""
        if self.fold.kill_at is None and not self._delayed and not self.is_paused and self.program is not None:
            return self.program.next_due()
        times = [] if self.fold.kill_at is None else [self.fold.kill_at]
        if not self.is_paused:
            if self.program is None:
                times.append(self.fold.not_before)
            elif (due := self.program.next_due()) is not None:
                times.append(due)
            times.extend(command.not_before for command in self._delayed.values())
        return min(times) if times else None

    def is_time_up(self, now: int) -> bool:
        """Whether a timer is due while the body waits for messages, too: then it matters which came first."""
        return self.program is not None and not self.is_paused and self.program.is_racing(now)

    def waits(self) -> list[Wait]:
        """What the run waits for, for its head."""
        waits = [Wait(kind="retry", name=id, until=command.not_before) for id, command in self._delayed.items()]
        if self.program is None:
            return self.fold.start_waits()
        if self.origin.is_late and self.seq == self._begun_after:
            return []  # who takes the run next must not think that its body began when it could at the earliest
        return waits + self.program.waits()

    # --- what the runtime does

    def feed(self, arrivals: Sequence[Arrival], now: int) -> Decision:
        """Apply what has arrived, and fire what is due. The caller commits the decision before acting on it."""
        decision = Decision()
        if self.ended is not None:
            return decision
        at = self.at = max(now, self.at)
        if self.program is None:
            self._start_if_due(at)
        if len(arrivals) == 1 and (self.program is None or (due := self.program.next_due()) is None or due > at):
            entry = arrivals[0].entry
            if type(entry) is StepCompleted:
                self._take_outcome(decision, entry, at)
            else:
                self._take(decision, entry, at)
        else:
            for arrival in sorted(arrivals, key=arrival_order):
                self._fire_timers(decision, arrival.time - 1, at)
                self._take(decision, arrival.entry, at)
                self._collect_commands(decision)  # acts stand behind what they follow from, or a cut would lose them
            self._fire_timers(decision, at, at)
        if self.fold.kill_at is not None and self.fold.kill_at <= at and self.ended is None:
            self._end(decision, Ended(status="terminated", reason="still running after the grace of its cancel"))
        self._collect(decision, at)
        return decision

    def bury(self, failure: Failure, now: int) -> Decision:
        """End the run without running its code: it has killed too many workers."""
        decision = Decision()
        self.at = max(now, self.at)
        self._end(decision, Ended(status="dead", failure=failure))
        return decision

    def frame(self, decision: Decision) -> Frame:
        """The decision as the frame to write under `seq` + 1."""
        return Frame(self.at, self.claim, tuple(decision.entries))

    def committed(self, decision: Decision) -> None:
        """The frame is durable."""
        self.seq += 1
        self.by = self.claim
        if self._journal is not None:
            self._journal.append(self.frame(decision))
        last = decision.entries[-1]
        if type(last) is ContinuedAsNew:
            self.continued = last

    def successor(self) -> Driver:
        """The driver of the next generation, when the frame that begins it is durable (`continued`)."""
        assert self.continued is not None, "only a generation that has ended has a successor"
        self.evict()
        head = Head(id=self.run, workflow=self.fold.created.workflow, created_at=0)
        frame = Frame(self.at, self.claim, (self.continued,))
        return Driver(head, [(self.seq, frame)], self.claim, self._make_program, retry=self._retry)

    def add_mail(self, decision: Decision, messages: Sequence[Received]) -> None:
        """Put messages that came too late to matter into the frame that ends the run; some may be here twice."""
        fresh = {message.no: message for message in messages if message.no > self.mail}
        decision.entries[-1:-1] = [fresh[no] for no in sorted(fresh)]
        self.fold.mail = max([self.mail, *fresh])

    def is_restarting(self, decision: Decision) -> bool:
        """Whether this decision begins a new generation."""
        return bool(decision.entries) and type(decision.entries[-1]) is ContinuedAsNew

    def evict(self) -> None:
        """Let the program leave memory."""
        if self.program is not None:
            self.program.evict()

    # --- applying what is new

    def _start_if_due(self, at: int) -> None:
        if at >= self.fold.not_before:
            lines = self.fold.begin(at)
            self._begun_after = self.seq
            self.program = program = self._make_program(self.origin)
            program.begin(lines, at=self.origin.started_at, is_repeat=self._is_repeat)
            self._is_repeat = False

    def _take(self, decision: Decision, entry: Entry, at: int) -> None:
        if self.ended is not None:
            return
        match entry:
            case StepCompleted() | StepFailed():
                self._take_outcome(decision, entry, at)
            case AttemptFailed(id=id):
                if (command := self.steps.get(id)) is not None:
                    decision.entries.append(entry)
                    _set_attempt(command, entry)
                    self._delayed[id] = command
            case StepProgressed(id=id):
                if id in self.steps:
                    decision.entries.append(entry)
                    self.fold.progress[id] = entry
            case Received():
                self._take_received(decision, entry, at)
            case Confirmed(id=id, failure=failure):
                if id in self.fold.open_acts:
                    decision.entries.append(entry)
                    self.fold.confirmed(id, failure)
                    self._apply_unheld(entry, at)
            case _:
                raise AssertionError(f"{type(entry).__name__} does not arrive from outside")

    def _take_outcome(self, decision: Decision, entry: StepCompleted | StepFailed, at: int) -> None:
        if entry.via:
            if entry.via in self.steps:  # the invocation that ran it goes on
                decision.entries.append(entry)
                self._apply(entry, at)
        elif self.steps.pop(entry.id, None) is not None:
            if self.fold.attempts:
                self.fold.attempts.pop(entry.id, None)
            decision.entries.append(entry)
            self._apply(entry, at)

    def _take_received(self, decision: Decision, entry: Received, at: int) -> None:
        if entry.no <= self.mail:
            return
        self.fold.mail = entry.no
        decision.entries.append(entry)
        decision.is_guarded = True
        match entry.message:
            case PauseRequested():
                self.fold.is_paused = True
            case ResumeRequested():
                self._resume(decision, at)
            case CancelRequested() as request:
                self._resume(decision, at)
                self.fold.cancelled(request, at)
                self._apply(entry, at)
                if self.program is None:
                    self._cancel_unbegun(decision, at)
            case TerminateRequested(reason=reason):
                self._end(decision, Ended(status="terminated", reason=reason))
            case message:
                if self.fold.is_stale(entry):
                    return
                if isinstance(message, ChildEnded):
                    self.fold.children.pop(message.command, None)
                self._apply(entry, at)

    def _cancel_unbegun(self, decision: Decision, at: int) -> None:
        """A body that has done nothing has nothing to clean up; one that waits for its retry may have."""
        if all(isinstance(line.entry, Received) for line in self.fold.lines):
            self._end(decision, Ended(status="cancelled", reason=self.fold.cancel_reason))
        else:
            self._start_if_due(at)

    def _resume(self, decision: Decision, at: int) -> None:
        if self.fold.held:
            self._collect_commands(decision)  # while it is known which of them have been answered
        decision.resumes = decision.resumes or self.fold.is_paused
        self.fold.is_paused = False
        held, self.fold.held = self.fold.held, []
        for line in held:
            self._apply(line.entry, at)

    def _apply(self, entry: Entry, at: int) -> None:
        if self.is_paused:
            self.fold.held.append(Line(self.seq + 1, at, entry))
        else:
            self._apply_unheld(entry, at)

    def _apply_unheld(self, entry: Entry, at: int) -> None:
        if self.program is None:
            self.fold.lines.append(Line(self.seq + 1, at, entry))
        else:
            self.program.apply(entry, at)

    def _fire_timers(self, decision: Decision, until: int, at: int) -> None:
        program = self.program
        while program is not None and not self.is_paused and self.ended is None and program.outcome is None:
            due = program.due_timers(min(until, at))
            if not due:
                return
            n, when, name = due[0]
            entry = TimerFired(n=n, due=when, name=name)
            decision.entries.append(entry)
            decision.is_guarded = True
            program.apply(entry, at)
            self._collect_commands(decision)

    # --- collecting what follows

    def _collect(self, decision: Decision, at: int) -> None:
        program = self.program
        if program is None:
            return
        if self.ended is None:
            self._collect_commands(decision)
            if self.is_paused:
                decision.start.clear()  # the pause came after what asked for them
            elif decision.resumes:
                # Only now: what arrived after the resume may have answered some of them, or put them off.
                decision.start = [command for id, command in self.steps.items() if id not in self._delayed]
            if decision.start and self.fold.created.seeds:
                self._take_seeds(decision, at)
            if program.outcome is not None and not self.is_paused:
                self._finish(decision, program.outcome)
            elif self._delayed and not self.is_paused:
                self._start_delayed(decision, at)
        if decision.entries or self.ended is not None:
            notes = program.take_notes()
            if notes:
                is_last = self.ended is not None or self.is_restarting(decision)
                decision.add_notes(notes, before_last=is_last)

    def _take_seeds(self, decision: Decision, at: int) -> None:
        """Steps whose results the run was created with are over as soon as they are asked for."""
        seeds = self.fold.created.seeds
        while (command := next((item for item in decision.start if item.id in seeds), None)) is not None:
            decision.start.remove(command)
            self._take_outcome(decision, _seeded(command, seeds[command.id]), at)
            self._collect_commands(decision)

    def _collect_commands(self, decision: Decision) -> None:
        for command in () if self.program is None or self.ended is not None else self.program.take_commands():
            if type(command) is StepCommand:
                self._collect_step(decision, command)
            else:
                self._collect_other(decision, command)

    def _collect_other(self, decision: Decision, command: Command) -> None:
        if isinstance(command, Abandon):
            self._collect_abandon(decision, command.id)
        elif isinstance(command, ActCommand):
            self._collect_act(decision, command)

    def _collect_step(self, decision: Decision, command: StepCommand) -> None:
        id = command.id
        if self.fold.held and self.fold.holds_outcome(id):
            return
        self.steps[id] = command
        if self.fold.attempts and (failed := self.fold.attempts.get(id)) is not None:
            _set_attempt(command, failed)
        if self.fold.progress and (progress := self.fold.progress.get(id)) is not None:
            command.progress = progress.progress
        if command.not_before:
            self._delayed[id] = command
        else:
            decision.start.append(command)

    def _collect_abandon(self, decision: Decision, id: CommandId) -> None:
        command = self.steps.pop(id, None)
        self._delayed.pop(id, None)
        if command is None:
            return
        if command in decision.start:
            decision.start.remove(command)
        else:
            decision.stop.append(id)

    def _collect_act(self, decision: Decision, command: ActCommand) -> None:
        if self.fold.lacks(command):
            decision.entries.append(Intended(id=command.id, act=command.act))
            self.fold.intended(command.id, command.act)
        if command.id in self.fold.open_acts:
            decision.acts.append(command)

    def _start_delayed(self, decision: Decision, at: int) -> None:
        for id in [id for id, command in self._delayed.items() if command.not_before <= at]:
            decision.start.append(self._delayed.pop(id))

    def _finish(self, decision: Decision, outcome: Outcome) -> None:
        match outcome:
            case Completed(value=value):
                self._end(decision, Ended(status="completed", value=value))
            case Cancelled():
                self._end(decision, Ended(status="cancelled", reason=self.fold.cancel_reason))
            case Failed(failure=failure):
                delay = None if self._retry is None else self._retry(failure, self.fold.retries)
                if delay is None:
                    self._end(decision, Ended(status="failed", failure=failure))
                else:
                    self._continue(decision, self.origin.input, retry_in_ms=delay)
            case Continue(input=input, unread=unread):
                self._continue(decision, input, unread=unread)

    def _end(self, decision: Decision, ended: Ended) -> None:
        self.ended = self.fold.ended = ended
        decision.stop.extend(id for id in self.steps if id not in self._delayed)
        self.steps.clear()
        self._delayed.clear()
        decision.start.clear()
        decision.acts.clear()
        decision.entries.append(ended)
        decision.is_guarded = True

    def _continue(
        self, decision: Decision, input: Raw, *, unread: tuple[Received, ...] = (), retry_in_ms: int | None = None
    ) -> None:
        # Children do not pass silently from one generation to the next: those that end with their parent are
        # cancelled now, and the new generation begins when every act is confirmed.
        for id, child in self.fold.children_to_cancel():
            if id not in self.fold.acts:
                reason = "the parent run continued as new"
                self._collect_act(decision, ActCommand(id, CancelChild(child=child.child, reason=reason)))
        if self.fold.open_acts:
            # Also those of an owner before, which the body does not ask for, and whose child may have ended meanwhile.
            decision.acts = [ActCommand(id, act) for id, act in self.fold.open_acts.items()]
            return
        assert self.program is not None, "only a body that has run ends its generation"
        if retry_in_ms is None:
            entry = continued(self.fold, self.program.metadata, input=input, unread=unread)
        else:
            assert self._journal is not None, "a run with a retry policy keeps its journal"
            so_far = [*self._journal, self.frame(decision)] if decision.entries else self._journal
            not_before = self.at + retry_in_ms
            entry = retried(self.fold, so_far, not_before=not_before, base=self.seq + 1)
        decision.entries.append(entry)
        decision.is_guarded = True


def _seeded(command: StepCommand, value: Raw) -> StepCompleted | StepFailed:
    """The outcome of a step that has its result already. One that does not fit fails the step, visibly."""
    try:
        command.answer = command.definition.decode_result(value)
    except SealedError:
        raise
    except CodecError as error:
        text = f"the result of step {command.id} that the run was created with does not fit: {error}"
        return StepFailed(id=command.id, failure=Failure(types=(type_name(CodecError),), message=text))
    return StepCompleted(id=command.id, value=value, args=command.args_sum)


def _set_attempt(command: StepCommand, failed: AttemptFailed) -> None:
    command.attempt = failed.attempt + 1
    command.not_before = failed.retry_at
    if failed.progress != NULL:
        command.progress = failed.progress
