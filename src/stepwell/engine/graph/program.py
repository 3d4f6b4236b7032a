"""The graph program: a blueprint, driven by journal entries.

It is a reducer: the same entries in the same order give the same visits, commands and result. What a run is about to
do, and where it stands, is plain data (`machine.root`), which the linter's sisters read: `runs show`, time travel, the
stepper.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from msgspec import Raw, Struct

from stepwell.engine.graph import builtin
from stepwell.engine.graph.inbox import Inbox
from stepwell.engine.graph.machine import Machine
from stepwell.engine.graph.outcome import Child, GraphHost, NodeCall, NodeOutcome
from stepwell.engine.graph.plan import Plan
from stepwell.engine.graph.results import space_result
from stepwell.engine.graph.visits import Space, Visit
from stepwell.engine.handles import Timer, Timers
from stepwell.engine.mailbox import Address
from stepwell.engine.mismatch import FAILED, mismatch, unreadable
from stepwell.engine.notes import Notes
from stepwell.engine.prefix import RUN_TIMEOUT
from stepwell.engine.program import (
    UNANSWERED,
    Abandon,
    ActCommand,
    Cancelled,
    Command,
    Completed,
    Failed,
    Line,
    Origin,
    Outcome,
    StepCommand,
)
from stepwell.errors import CodecError, NonDeterminismError
from stepwell.model.entries import (
    Act,
    CancelChild,
    Confirmed,
    Entry,
    Intended,
    Received,
    StartChild,
    StepCompleted,
    StepFailed,
    Subscribe,
    TimerFired,
)
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId, RunId, child_run_id
from stepwell.model.messages import CancelRequested, ChildEnded, MetadataSent
from stepwell.model.runs import Wait


class NodeEvent(Struct, frozen=True):
    """Something that happened in a blueprint, at `at` (ms). `seq` is the frame that brought it about; 0: the one that
    is about to be written."""

    seq: int
    at: int
    type: str
    payload: dict[str, Any]


class Watches(Enum):
    """What of the things that happen is kept in `events`: nothing; what happens from now on, and what the last frame
    brought about, if perhaps nobody was told of that; or all of history, too."""

    NOTHING = "nothing"
    NEWS = "news"
    HISTORY = "history"


class GraphProgram:
    """One generation of a run whose workflow is a blueprint. `snapshot` is that, as a run without one is to have it."""

    __slots__ = (
        "_abandoned",
        "_acts",
        "_commands",
        "_is_watching",
        "_known_children",
        "_seq",
        "_timers",
        "_watches",
        "events",
        "history",
        "host",
        "inbox",
        "machine",
        "notes",
        "now_ms",
        "origin",
        "outcome",
        "plan",
        "snapshot",
    )
    impure: Sequence[str] = ()

    def __init__(
        self, plan: Plan, origin: Origin, host: GraphHost, *, snapshot: Raw = NULL, watches: Watches = Watches.NOTHING
    ) -> None:
        self.plan = plan
        self.origin = origin
        self.host = host
        self.outcome: Outcome | None = None
        self.now_ms = origin.started_at
        self.notes = Notes(origin.created.metadata, bool)
        self.inbox = Inbox()
        self.events: list[NodeEvent] = []
        self.history: Sequence[Line] = ()
        self.snapshot = snapshot
        self._watches = watches
        self._is_watching = False
        self._seq = origin.base
        self._commands: list[Command] = []
        self._abandoned: dict[CommandId, None] = {}
        self._acts: dict[CommandId, Act] = {}
        self._known_children: dict[CommandId, RunId] | None = None
        self._timers = Timers()
        self.machine = Machine(self, self._watch if watches is not Watches.NOTHING else None)

    # --- the Program interface

    def begin(self, history: Sequence[Line], *, at: int, is_repeat: bool) -> None:
        """Begin the run and replay the history."""
        self.notes.read(history)
        self.history = history
        self.now_ms = at
        origin = self.origin
        for received in (*origin.unread, *origin.early):
            self.inbox.put(received)
        if origin.is_late:
            self.notes.started(at)
        if origin.blueprint == NULL and self.snapshot != NULL:
            self.notes.pinned(self.snapshot)
        is_all_news = self._watches is Watches.HISTORY
        self._is_watching = is_all_news or (self._watches is Watches.NEWS and not is_repeat)
        self._watch("workflow:start" if origin.base == 1 else "workflow:resume", {})
        self._start_deadline(at)
        if self.outcome is None:
            self.machine.start(self.machine.root, self.host.plain(origin.input))
            self._settle()
        for line in history:
            self.now_ms, self._seq = line.at, line.seq
            self._feed(line)
        self._commands = [command for command in self._commands if self._is_open(command)]
        if not is_all_news:
            self.events = [event for event in self.events if event.seq == self._seq]
        self._is_watching, self._seq = self._watches is not Watches.NOTHING, 0

    def apply(self, entry: Entry, at: int) -> None:
        """Feed one live entry."""
        self.now_ms = at
        if type(entry) is StepCompleted:
            self._feed_completed(entry, None)
        else:
            self._feed(Line(0, at, entry))

    def take_commands(self) -> list[Command]:
        """The commands issued since last asked."""
        commands = self._commands
        if commands:
            self._commands = []
        return commands

    def take_notes(self) -> list[Entry]:
        """A late start, and by which blueprint; there is nothing else that a blueprint notes."""
        return self.notes.take()

    @property
    def has_urgent_notes(self) -> bool:
        """Whether the journal does not yet say by which blueprint the run goes."""
        return self.notes.is_urgent

    @property
    def metadata(self) -> dict[str, Raw]:
        """The run's metadata."""
        return self.notes.metadata

    def next_due(self) -> int | None:
        """When the earliest timer is due."""
        timer = self._timers.next() if self._timers.pending else None
        return None if timer is None else timer.due

    def is_racing(self, until: int) -> bool:
        """Whether a timer is due by `until`, and a node waits for messages, too."""
        due = self.next_due()
        return due is not None and due <= until and bool(self.inbox)

    def due_timers(self, until: int) -> list[tuple[int, int, str]]:
        """Pending timers due by `until`, in firing order."""
        return [(timer.n, timer.due, timer.name) for timer in self._timers.due(until)]

    def waits(self) -> list[Wait]:
        """What the run waits for, except work that is done in steps."""
        waits = self.inbox.waits()
        waiting = {wait.detail for wait in waits}
        for id, act in self._acts.items():
            if isinstance(act, StartChild) and id in self.machine.visits:
                waits.append(Wait(kind="child", name=id, detail=act.child))
        for timer in self._timers.all():
            if timer.name not in waiting:
                waits.append(Wait(kind="timer", name=timer.name, until=timer.due, n=timer.n, since=timer.since))
        return waits

    def stuck_at(self) -> str | None:
        """The visits that nothing would ever move again."""
        if self.outcome or self._commands or self.inbox or self._timers.pending or self.machine.running:
            return None
        return ", ".join(self.machine.visits) or "nowhere"

    def evict(self) -> None:
        """Leave memory, and let go of all that holds each other: freed now, not by the collector."""
        self.notes.mute()
        self._timers.clear()
        self._commands.clear()
        self.machine.close()

    # --- what the machine asks for

    def start_work(self, visit: Visit) -> None:
        """Have a node's work done: in a step, or by a child run."""
        binding = visit.node.binding
        assert binding is not None, "nodes that are not built in have one"
        if type(binding) is Child:
            self._start_child(visit, binding)
            return
        raw = visit.input
        error = None if visit.stands_for is None else visit.stands_for.error
        state = visit.scope.space.view(is_alone=self.machine.running == 1)
        call = NodeCall(visit.id, visit.node.node, raw, state, error)
        command = StepCommand(visit.id, binding, (call,), {}, self.now_ms)  # type: ignore[arg-type]
        visit.command = command
        self._commands.append(command)

    def stop_work(self, visit: Visit) -> None:
        """Nobody wants the result of this visit any more."""
        self.machine.visits.pop(visit.id, None)
        visit.status = "cancelled"
        self.drop_timer(visit)
        if visit.command is not None:
            self.machine.running -= 1
            self._abandoned[visit.id] = None
            self._commands.append(Abandon(visit.id))
        elif visit.id in self._acts:
            self.machine.running -= 1
            self._abandoned[visit.id] = None
            self._cancel_child(visit.id)

    def set_timer(self, visit: Visit, delay_ms: int) -> None:
        """Wake this visit later."""
        self._add_timer(visit, self.now_ms + delay_ms, visit.id)

    def drop_timer(self, visit: Visit) -> None:
        """Wake it no more."""
        timer = self._timers.pending.pop(visit.timer, None) if visit.timer else None
        if timer is not None:
            visit.until = None

    def subscribe(self, event: str) -> None:
        """Make this run be found by the event's publishers, once."""
        id = CommandId(f"subscribe.{event}")
        if id not in self._acts:
            self._act(id, Subscribe(event=event, since=self.origin.born_at))

    def space_over(self, space: Space) -> None:
        """Nothing is active in the run any more."""
        if space.failures:
            _, first = min(space.failures, key=lambda item: item[0])
            assert first.error is not None, "it failed"
            self._end(Failed(builtin.named(first, first.error)))
            return
        try:
            self._end(Completed(self.host.result(space_result(space))))
        except CodecError as error:
            self._end(Failed(self.host.failure_of(error)))

    # --- feeding

    def _feed(self, line: Line) -> None:
        if self.outcome is not None:
            self._feed_ended(line)
            return
        entry = line.entry
        match entry:
            case StepCompleted():
                self._feed_completed(entry, line)
            case StepFailed():
                self._feed_failed(entry, line)
            case TimerFired():
                self._feed_timer(entry, line)
            case Received():
                self._feed_received(entry)
            case Intended(id=id, act=act):
                known = self._acts.get(id)
                if known is None or type(known) is not type(act):
                    raise self._mismatch(line)
            case Confirmed():
                self._feed_confirmed(entry, line)
            case _:
                pass

    def _feed_ended(self, line: Line) -> None:
        """After the end there is nothing but what the driver does, and steps that nobody waits for."""
        if isinstance(line.entry, StepCompleted | StepFailed) and line.entry.id not in self._abandoned:
            raise self._mismatch(line)

    def _feed_completed(self, entry: StepCompleted, line: Line | None) -> None:
        visit = self.machine.visits.get(entry.id)
        command = None if visit is None else visit.command
        if visit is None or command is None:
            if entry.id not in self._abandoned:
                raise self._mismatch(line or Line(0, self.now_ms, entry))
            return
        outcome = command.answer
        if outcome is UNANSWERED:
            outcome = self._decoded(command, entry, line)
        visit.command = None
        self.machine.work_completed(visit, outcome)
        if self.machine.halted is not None:
            self._settle()

    def _feed_failed(self, entry: StepFailed, line: Line) -> None:
        visit = self.machine.visits.get(entry.id)
        if visit is None or visit.command is None:
            if entry.id not in self._abandoned:
                raise self._mismatch(line)
            return
        visit.command = None
        self.machine.work_failed(visit, entry.failure.opened())
        self._settle()

    def _feed_timer(self, entry: TimerFired, line: Line) -> None:
        try:
            timer = self._timers.take(entry.n, entry.due)
        except LookupError:
            raise self._mismatch(line) from None
        timer._callback(*timer._args)
        self._settle()

    def _feed_received(self, entry: Received) -> None:
        message = entry.message
        if isinstance(message, CancelRequested):
            self._end(Cancelled())
            return
        if isinstance(message, MetadataSent):
            for change in message.ops:
                self.notes.change_metadata(change, self.host.plain, self.host.sealed)
            return
        visit = self.inbox.put(entry)
        if visit is None:
            return
        if isinstance(message, ChildEnded):
            builtin.child_ended(self.machine, visit, message)
        else:
            builtin.answered(self.machine, visit, entry)
        self._settle()

    def _feed_confirmed(self, entry: Confirmed, line: Line) -> None:
        act = self._acts.get(entry.id)
        if act is None:
            raise self._mismatch(line)
        visit = self.machine.visits.get(entry.id)
        if entry.failure is not None and isinstance(act, StartChild) and visit is not None:
            self.inbox.withdraw(visit)
            self.drop_timer(visit)
            self.machine.work_failed(visit, entry.failure.opened())
            self._settle()

    # --- inside

    def _settle(self) -> None:
        self.machine.settle()
        if self.machine.halted is not None:
            self._end(Failed(self.machine.halted))

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        for id, visit in self.machine.visits.items():
            self._abandoned[id] = None
            visit.status = "cancelled"
        self._timers.clear()

    def _decoded(self, command: StepCommand, entry: StepCompleted, line: Line | None) -> NodeOutcome:
        try:
            return command.definition.decode_result(entry.value)  # type: ignore[no-any-return]
        except CodecError as error:
            raise unreadable(self.origin, line or Line(0, self.now_ms, entry), error) from None

    def _start_deadline(self, at: int) -> None:
        deadline = self.origin.created.deadline
        if deadline is None:
            return
        if deadline <= at:
            self._time_is_up()
        else:
            self._timers.add(Timer(0, self._time_is_up, (), None), deadline, RUN_TIMEOUT)  # type: ignore[arg-type]

    def _time_is_up(self) -> None:
        self._end(Failed(self.host.failure_of(TimeoutError("the run took longer than its timeout"))))

    def _add_timer(self, visit: Visit, due: int, name: str) -> None:
        timer = Timer(0, self._wake, (visit,), None)  # type: ignore[arg-type]
        timer.since = self.now_ms
        self._timers.add(timer, due, name)
        visit.timer, visit.until = timer.n, due

    def _wake(self, visit: Visit) -> None:
        visit.timer, visit.until = 0, None
        if visit.id in self._acts:
            self._child_is_late(visit)
        else:
            builtin.timed_out(self.machine, visit)

    def _start_child(self, visit: Visit, binding: Child) -> None:
        try:
            input = binding.encode(NULL if visit.input is None else visit.input)
        except CodecError as error:
            self.machine.running -= 1
            self.machine.fail_with(visit, error)
            return
        child = self._child_id(visit.id)
        act = StartChild(
            child=child,
            workflow=binding.workflow,
            version=binding.version,
            input=input,
            blueprint=binding.blueprint,
        )
        visit.status = "running"
        self._act(visit.id, act)
        timeout = visit.node.node.config.timeout
        if timeout is not None:
            self.set_timer(visit, timeout)
        received = self.inbox.listen(visit, [Address("child", visit.id)])
        if received is not None and isinstance(received.message, ChildEnded):
            self.machine.later(builtin.child_ended, self.machine, visit, received.message)

    def _child_is_late(self, visit: Visit) -> None:
        self.inbox.withdraw(visit)
        self._cancel_child(visit.id)
        limit = visit.node.node.config.timeout or 0
        error = TimeoutError(f"the child run took longer than its {limit / 1000:g} s")
        self.machine.work_failed(visit, self.host.failure_of(error))

    def _cancel_child(self, id: CommandId) -> None:
        act = self._acts[id]
        name = CommandId(f"{id}/cancel")
        if isinstance(act, StartChild) and name not in self._acts:
            self._act(name, CancelChild(child=act.child))

    def _child_id(self, command: CommandId) -> RunId:
        """As the history has it, for that may have been taken from another run."""
        if self._known_children is None:
            acts = (line.entry for line in self.history if isinstance(line.entry, Intended))
            self._known_children = {entry.id: entry.act.child for entry in acts if isinstance(entry.act, StartChild)}
        origin = self.origin
        return self._known_children.get(command) or child_run_id(origin.run, origin.base, command, origin.seed)

    def _act(self, id: CommandId, act: Act) -> None:
        self._acts[id] = act
        self._commands.append(ActCommand(id, act))

    def _is_open(self, command: Command) -> bool:
        if type(command) is not StepCommand:
            return True
        visit = self.machine.visits.get(command.id)
        return visit is not None and visit.command is command

    def _watch(self, type: str, payload: dict[str, Any]) -> None:
        if self._is_watching:
            self.events.append(NodeEvent(self._seq, self.now_ms, type, payload))

    def _mismatch(self, line: Line) -> NonDeterminismError:
        asks: list[tuple[str, str]] = [
            (id, "step") for id, visit in self.machine.visits.items() if visit.command is not None
        ]
        asks += [(wait.name, wait.kind) for wait in self.waits()]
        finished = "has finished" if self.outcome is not None else ""
        if isinstance(self.outcome, Failed):
            finished = f"{FAILED}: {self.outcome.failure}"
        return mismatch(self.origin, line, asks, [f"blueprint {self.plan.graph.id}"], finished=finished)
