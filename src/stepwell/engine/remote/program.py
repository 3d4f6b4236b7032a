"""The remote program: a body behind a dispatcher, driven by journal entries.

An invocation is a step: it has attempts, and a result that is in the journal before anything follows from it. The steps
that the worker elsewhere ran are entries of their own, so that history, forks and retries see them as they see any. In
between the program waits for what the worker said it waits for. While an invocation is under way, nothing is resolved:
messages are kept, and the worker names what it still waits for when it answers. The time at which a wait ends is fixed
when it is first named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from msgspec import UNSET, Raw, structs

from stepwell.engine.handles import Timer, Timers
from stepwell.engine.mismatch import FAILED, mismatch, unreadable
from stepwell.engine.notes import Notes
from stepwell.engine.prefix import RUN_TIMEOUT
from stepwell.engine.program import (
    UNANSWERED,
    Abandon,
    Cancelled,
    Command,
    Completed,
    Failed,
    Line,
    Origin,
    Outcome,
    StepCommand,
    StepDefinition,
)
from stepwell.engine.remote.calls import Answer, RemoteCall, RemoteHost, Resolution, WaitRequest
from stepwell.engine.remote.journal import AFTER, Journal, resolution_of, started
from stepwell.engine.remote.outside import Outside
from stepwell.engine.remote.post import Post, child_command
from stepwell.errors import CodecError, DefinitionError, NonDeterminismError, WorkerError, type_name
from stepwell.model.entries import (
    Confirmed,
    Entry,
    Intended,
    Received,
    StartChild,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import INVOCATION, CommandId
from stepwell.model.messages import CancelRequested, MetadataSent
from stepwell.model.metadata import MetadataOp
from stepwell.model.runs import Wait

IDLE_MAX = 128
"""How many invocations in a row may bring nothing: no step, and nothing from outside that they were for."""
_WAITS = {"DATETIME": "timer", "EVENT": "event", "SIGNAL": "signal", "MANUAL": "token", "RUN": "child"}


class RemoteProgram:
    """One generation of a run whose body lives elsewhere. `definition` is the step that invokes it, and `cleanup` the
    one that asks it to clean up."""

    __slots__ = (
        "_abandoned",
        "_call",
        "_cancel",
        "_cleanup",
        "_commands",
        "_count",
        "_due",
        "_excused",
        "_has_news",
        "_idle",
        "_outside",
        "_pending",
        "_post",
        "_speaks",
        "_steps_before",
        "_timers",
        "definition",
        "host",
        "journal",
        "notes",
        "now_ms",
        "origin",
        "outcome",
        "status",
    )
    impure: Sequence[str] = ()

    def __init__(
        self, definition: StepDefinition, origin: Origin, host: RemoteHost, *, cleanup: StepDefinition
    ) -> None:
        self.definition = definition
        self._cleanup = cleanup
        self.origin = origin
        self.host = host
        self.outcome: Outcome | None = None
        self.status = ""
        self.now_ms = origin.started_at
        self.notes = Notes(origin.created.metadata, bool)
        self.journal = Journal(origin, self.notes)
        self._post = Post(host.plain)
        self._timers = Timers()
        self._commands: list[Command] = []
        self._outside = Outside(origin, host, self._commands)
        self._call: StepCommand | None = None
        self._abandoned: set[CommandId] = set()
        self._count = 0
        self._cancel: str | None = None
        self._speaks: frozenset[str] = frozenset()
        self._pending: dict[str, tuple[WaitRequest, Timer | None]] = {}
        self._due: dict[str, tuple[int, int]] = {}
        self._excused: dict[CommandId, Failure | None] = {}  # children that nobody waits for, and those refused
        self._has_news = False
        self._idle = 0
        self._steps_before = 0

    # --- the Program interface

    def begin(self, history: Sequence[Line], *, at: int, is_repeat: bool) -> None:  # noqa: ARG002
        """Begin the run and replay the history."""
        self.notes.read(history)
        self._outside.history = history
        self.now_ms = at
        origin = self.origin
        for received in (*origin.unread, *origin.early):
            self._post.keep(received)
        if origin.is_late:
            self.notes.started(at)
        self.journal.seed(at)
        self._start_deadline(at)
        self._invoke()
        for line in history:
            self.now_ms = line.at
            self._feed(line)
        self._commands[:] = [
            command for command in self._commands if type(command) is not StepCommand or command is self._call
        ]

    def apply(self, entry: Entry, at: int) -> None:
        """Feed one live entry."""
        self.now_ms = at
        self._feed(Line(0, at, entry))

    def take_commands(self) -> list[Command]:
        """The commands issued since last asked."""
        commands = [*self._commands]
        self._commands.clear()
        return commands

    def take_notes(self) -> list[Entry]:
        """Metadata, and a late start."""
        return self.notes.take()

    @property
    def has_urgent_notes(self) -> bool:
        """Never: chunks go to their streams before the answer that brought them is in the journal."""
        return False

    @property
    def metadata(self) -> dict[str, Raw]:
        """The run's metadata."""
        return self.notes.metadata

    def next_due(self) -> int | None:
        """When the earliest timer is due."""
        timer = self._timers.next() if self._timers.pending else None
        return None if timer is None else timer.due

    def is_racing(self, until: int) -> bool:
        """Whether a timer is due by `until`, and the body waits for messages, too."""
        due = self.next_due()
        return due is not None and due <= until and any(wait.kind != "DATETIME" for wait, _ in self._pending.values())

    def due_timers(self, until: int) -> list[tuple[int, int, str]]:
        """Pending timers due by `until`, in firing order."""
        return [(timer.n, timer.due, timer.name) for timer in self._timers.due(until)]

    def waits(self) -> list[Wait]:
        """What the body waits for; of a child, `detail` is its run."""
        found = []
        for wait, timer in self._pending.values():
            child = self._outside.acts.get(child_command(wait)) if wait.kind == "RUN" else None
            found.append(
                Wait(
                    kind=_WAITS[wait.kind],  # type: ignore[arg-type]
                    name=wait.name if wait.kind not in ("DATETIME", "RUN") else wait.id,
                    detail=child.child if isinstance(child, StartChild) else "",
                    until=None if timer is None else timer.due,
                    n=0 if timer is None else timer.n,
                    since=0 if timer is None else timer.since,
                )
            )
        found += [
            Wait(kind="timer", name=timer.name, until=timer.due, n=timer.n, since=timer.since)
            for timer in self._timers.all()
            if timer.name == RUN_TIMEOUT
        ]
        return found

    @property
    def pending(self) -> list[tuple[WaitRequest, int | None]]:
        """What the body waits for, in the order in which it said so, and until when (ms)."""
        return [(wait, None if timer is None else timer.due) for wait, timer in self._pending.values()]

    @property
    def invocations(self) -> int:
        """How many there have been in this generation, the one under way included."""
        return self._count

    def stuck_at(self) -> str | None:
        """Nowhere: there is always an invocation, or something that the worker waits for."""
        return None

    def evict(self) -> None:
        """Leave memory."""
        self.notes.mute()
        self._timers.clear()
        self._commands.clear()
        self._pending.clear()

    # --- feeding

    def _feed(self, line: Line) -> None:
        entry = line.entry
        match entry:
            case StepCompleted() | StepFailed() if entry.via:
                self.journal.add_step(entry, line.at)
            case StepCompleted() | StepFailed():
                self._feed_answer(entry, line)
            case TimerFired() if self.outcome is None:
                self._feed_timer(entry, line)
            case Received():
                self._feed_received(entry)
            case Intended(id=id, act=act) if self.outcome is None:
                if not self._outside.knows(id, act):
                    raise self._mismatch(line)
            case Confirmed() if self.outcome is None:
                self._feed_confirmed(entry, line)
            case _:
                pass

    def _feed_answer(self, entry: StepCompleted | StepFailed, line: Line) -> None:
        command = self._call
        if command is None or command.id != entry.id:
            if entry.id not in self._abandoned:
                raise self._mismatch(line)
            return
        self._call = None
        if self._cancel is not None:
            self._end(Cancelled())
        elif isinstance(entry, StepFailed):
            self._end(Failed(entry.failure))
        else:
            self._answered(self._decoded(command, entry, line))

    def _feed_timer(self, entry: TimerFired, line: Line) -> None:
        try:
            timer = self._timers.take(entry.n, entry.due)
        except LookupError:
            raise self._mismatch(line) from None
        if timer.name == RUN_TIMEOUT:
            self._time_is_up()
            return
        wait, _ = self._pending[timer.name]
        if timer.due > timer.since:
            self._idle = 0
        self._resolve(wait, Resolution(kind=wait.kind, at=self.now_ms, name=wait.name))
        self._go_on()

    def _feed_received(self, entry: Received) -> None:
        message = entry.message
        if isinstance(message, CancelRequested):
            self._cancelled(message)
        elif isinstance(message, MetadataSent):
            for change in message.ops:
                self.notes.change_metadata(change, self.host.plain, self.host.sealed)
        elif self.outcome is None:
            self._idle = 0
            wait = self._post.addressee((wait for wait, _ in self._pending.values()), entry)
            if wait is None:
                self._post.keep(entry)
            else:
                self._resolve(wait, resolution_of(wait, entry, self.now_ms))
                self._go_on()

    def _feed_confirmed(self, entry: Confirmed, line: Line) -> None:
        act = self._outside.acts.get(entry.id)
        if act is None:
            raise self._mismatch(line)
        if not isinstance(act, StartChild):
            return
        if act.on_parent_end == "abandon" or entry.failure is not None:
            found = self._pending.get(entry.id)
            if found is None:
                self._excused[entry.id] = entry.failure
                return
            wait, _ = found
            self._resolve(wait, started(wait, entry.failure, self.now_ms))
            self._go_on()

    # --- answers

    def _answered(self, answer: Answer) -> None:
        self.status = answer.status
        self._speaks |= set(answer.speaks)
        self.journal.add(answer)
        for change in answer.changes:
            if change.target == "self":
                value = UNSET if change.value is UNSET else self.host.sealed(change.value)
                op = MetadataOp(op=change.op, key=change.key, value=value)
                self.notes.change_metadata(op, self.host.plain, self.host.sealed)
        self._outside.change_above(answer.changes, self._count)
        match answer.status:
            case "completed":
                self._complete(NULL if answer.output is UNSET else answer.output)
            case "waiting":
                self._await_all(answer.waits)
            case "cancelled":
                self._end(Cancelled())
            case "failed" | "compensated" | "compensation_failed":
                self._end(Failed(answer.failure or _undone()))
            case _:
                assert_never(answer.status)

    def _complete(self, output: Raw) -> None:
        try:
            self._end(Completed(self.host.result(output)))
        except CodecError as error:
            self._end(Failed(self.host.failure_of(error)))

    # --- waits

    def _await_all(self, waits: Sequence[WaitRequest]) -> None:
        if not waits:
            self._fail("empty_waitpoint_list", "the worker waits, and does not say for what")
            return
        if len(self.journal.steps) > self._steps_before:
            self._idle = 0
        fresh = {wait.id: wait for wait in waits if wait.id not in self.journal.resolved}
        self._pending = {id: (wait, None) for id, wait in fresh.items()}
        self._has_news = not fresh
        for wait in fresh.values():
            self._await(wait)
            if self.outcome is not None:
                return
        self._go_on()

    def _await(self, wait: WaitRequest) -> None:
        since, due = self._stamp(wait)
        if wait.kind == "RUN":
            self._await_child(wait)
            return
        if wait.kind == "EVENT":
            self._outside.subscribe(wait.name)
        received = None if wait.kind == "DATETIME" else self._post.take(wait, due)
        if received is not None:
            self._idle = 0
            self._resolve(wait, resolution_of(wait, received, self.now_ms))
        elif due is not None:
            timer = Timer(0, _nothing, (), None)  # type: ignore[arg-type]
            timer.since = since
            self._timers.add(timer, due, wait.id)
            self._pending[wait.id] = (wait, timer)

    def _stamp(self, wait: WaitRequest) -> tuple[int, int | None]:
        """Since when, and until when, it waits: as it was when it was first named."""
        known = self._due.get(wait.id)
        if known is not None:
            return known
        due = wait.wake_at
        if due is None and (wait.delay_ms is not None or wait.kind == "DATETIME"):
            due = self.now_ms + (wait.delay_ms or 0)
        if due is None:
            return self.now_ms, None
        self._due[wait.id] = (self.now_ms, due)
        return self.now_ms, due

    def _resolve(self, wait: WaitRequest, resolution: Resolution) -> None:
        _, timer = self._pending.pop(wait.id)
        if timer is not None:
            self._timers.pending.pop(timer.n, None)
        self.journal.resolved[wait.id] = resolution
        self._has_news = True

    def _await_child(self, wait: WaitRequest) -> None:
        id = child_command(wait)
        assert wait.child is not None, "a wait for a run says for which"
        received = self._post.take(wait, None)
        if received is not None:
            self._resolve(wait, resolution_of(wait, received, self.now_ms))
        elif id in self._excused:
            self._resolve(wait, started(wait, self._excused[id], self.now_ms))
        elif id not in self._outside.acts:
            try:
                self._outside.start(id, wait.child)
            except DefinitionError as error:
                self._resolve(wait, started(wait, self.host.failure_of(error), self.now_ms))

    # --- going on, and the end

    def _go_on(self) -> None:
        """Invoke the body again if there is something new for it."""
        if not self._has_news or self._call is not None or self.outcome is not None:
            return
        self._idle += 1
        if self._idle > IDLE_MAX:
            text = f"the worker was invoked {IDLE_MAX} times in a row, and brought nothing new"
            self._fail("max_invocations_exceeded", text)
            return
        self._invoke()

    def _invoke(self) -> None:
        for _, timer in self._pending.values():
            if timer is not None:
                self._timers.pending.pop(timer.n, None)
        self._pending.clear()
        self._has_news = False
        self._steps_before = len(self.journal.steps)
        self._count += 1
        id = CommandId(f"{INVOCATION}[{self._count}]")
        call = RemoteCall(id=id, number=self._count, journal=self.journal, cancel=self._cancel)
        definition = self.definition if self._cancel is None else self._cleanup
        self._call = StepCommand(id, definition, (call,), {}, self.now_ms)
        self._commands.append(self._call)

    def _cancelled(self, request: CancelRequested) -> None:
        """End; but a worker that can clean up is asked to do so first."""
        if self.outcome is not None or self._cancel is not None:
            return
        if self._call is not None:
            self._abandoned.add(self._call.id)
            self._commands.append(Abandon(self._call.id))
            self._call = None
        if self._can_clean_up:
            self._cancel = request.reason
            self._invoke()
        else:
            self._end(Cancelled())

    @property
    def _can_clean_up(self) -> bool:
        """Whether the worker said that it knows cancels, or left a sign of it in a step that it has run."""
        records = (line.entry.record for line in self.journal.steps.values())
        return "cancel" in self._speaks or any(AFTER in bytes(self.host.plain(record)) for record in records)

    def _fail(self, code: str, text: str) -> None:
        error = WorkerError(f"workflow {self.origin.created.workflow}: {text}", code=code)
        self._end(Failed(structs.replace(self.host.failure_of(error), code=code)))

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._pending.clear()
            self._timers.clear()

    # --- inside

    def _start_deadline(self, at: int) -> None:
        deadline = self.origin.created.deadline
        if deadline is not None:
            self._timers.add(Timer(0, _nothing, (), None), max(at, deadline), RUN_TIMEOUT)  # type: ignore[arg-type]

    def _time_is_up(self) -> None:
        if self._call is not None:
            self._abandoned.add(self._call.id)
        self._end(Failed(self.host.failure_of(TimeoutError("the run took longer than its timeout"))))

    def _decoded(self, command: StepCommand, entry: StepCompleted, line: Line) -> Answer:
        if command.answer is not UNANSWERED:
            return command.answer  # type: ignore[no-any-return]
        try:
            return command.definition.decode_result(entry.value)  # type: ignore[no-any-return]
        except CodecError as error:
            raise unreadable(self.origin, line, error) from None

    def _mismatch(self, line: Line) -> NonDeterminismError:
        asks: list[tuple[str, str]] = [] if self._call is None else [(self._call.id, "step")]
        asks += [(wait.name, wait.kind) for wait in self.waits()]
        finished = "has finished" if self.outcome is not None else ""
        if isinstance(self.outcome, Failed):
            finished = f"{FAILED}: {self.outcome.failure}"
        return mismatch(self.origin, line, asks, [f"workflow {self.origin.created.workflow}"], finished=finished)


def _undone() -> Failure:
    """Of a run that undid its steps because its body asked for it."""
    return Failure(types=(type_name(WorkerError),), message="the workflow undid its steps", code="COMPENSATED")


def _nothing() -> None:
    """What a timer does that the program looks after itself."""
